"""docs/gallery.md has every spec, the flows as they are now, and figures of the specs as they are now: `make docs`."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from flowkit.spec import read_spec, views
from tests.pages import ROOT

GALLERY = runpy.run_path(str(ROOT / "docs/gallery.py"))
FIGURES = json.loads((ROOT / "docs/gallery/figures.json").read_text("utf-8"))
SPECS = sorted((ROOT / "specs").glob("*.yaml"))


def test_the_gallery_has_every_spec() -> None:
    assert (ROOT / "docs/gallery.md").read_text("utf-8") == GALLERY["page"](), "run `make docs`"


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.stem)
def test_the_flows_are_drawn_as_they_are(spec: Path) -> None:
    assert (ROOT / f"docs/gallery/{spec.stem}.svg").read_text("utf-8") == views.svg(read_spec(spec)), "run `make docs`"


@pytest.mark.parametrize("name", FIGURES)
def test_the_figures_are_those_of_the_spec(name: str) -> None:
    assert FIGURES[name]["content"] == GALLERY["content"](name), f"run `python docs/gallery.py {name}`"


def test_pictures_are_small() -> None:
    assert all(file.stat().st_size < 60_000 for file in (ROOT / "docs/gallery").iterdir())
