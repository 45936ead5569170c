"""A package of each kind, as `flowkit plugins new` begins it, and one with a plugin inside of a plugin, installed.

Their metadata is written as pip would write it.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flowkit.cli.main import app
from tests.thirdparty.place import ROOT, Place

KINDS = {
    "bijector": "scale/layer",
    "channel-linear": "mirror/layer",
    "transformer": "bend/transformer",
    "split": "some/split",
    "conditioner": "sine/conditioner",
    "masked-conditioner": "each/masked",
    "order": "stride/order",
    "base": "tails/base",
    "encoder": "crowd/encoder",
    "dataset": "figure_8/dataset",
}
"""What is begun of each kind, and the plugin that it brings."""


def begin_all(place: Place) -> None:
    """Begin each in the directory of ``place``, and put it on the first of its sites."""
    site = place.sites[0]
    for kind in KINDS:
        name = namespace(kind)
        output = place.directory / f"flowkit-{name}"
        begun = CliRunner().invoke(app, ["plugins", "new", name, "--kind", kind, "-o", str(output)])
        assert begun.exit_code == 0, begun.output
        shutil.copytree(output / f"flowkit_{name}", site / f"flowkit_{name}")
        announce(site, name, "0.1.0")
    shutil.copytree(ROOT / "tests" / "thirdparty" / "flowkit_elementwise", site / "flowkit_elementwise")
    announce(site, "elementwise", "0.1")


@contextmanager
def importable(site: Path) -> Iterator[None]:
    """The packages of ``site`` can be imported in this process, and are forgotten afterwards."""
    packages = {path.name for path in site.glob("flowkit_*")}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        yield
    for name in [name for name in sys.modules if name.split(".")[0] in packages]:
        del sys.modules[name]


def namespace(kind: str) -> str:
    return KINDS[kind].partition("/")[0]


def announce(site: Path, name: str, version: str) -> None:
    """The metadata of an installed distribution flowkit-name, whose plugin module is flowkit_name.plugin."""
    info = site / f"flowkit_{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: flowkit-{name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[flowkit]\n{name} = flowkit_{name}.plugin\n")
