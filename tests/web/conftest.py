"""Tiny flows, exported once with their pages, and browsers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
import torch

from flowkit.export import Options, export
from flowkit.flow import Flow
from flowkit.testing import perturb
from tests.flow.specs import SPECS, VECTOR, batch
from tests.web.chromium import FOUND, Chromium
from tests.web.opened import Opened

POINTS = {**copy.deepcopy(VECTOR), "event": {"shape": [2]}}
COLOURS = {**copy.deepcopy(SPECS["image"]), "event": {"shape": [3, 4, 4], "levels": 256}}
LABELS = {**copy.deepcopy(SPECS["labels"]), "event": {"shape": [1, 4, 4], "levels": 256}}
RECORDS = {**copy.deepcopy(SPECS["arrays"]), "event": {"shape": [3], "levels": 9}}
SETS = {**copy.deepcopy(SPECS["sets"]), "event": {"shape": [3], "levels": 9}}
FLOWS = {"colours": COLOURS, "points": POINTS, "labels": LABELS, "records": RECORDS, "sets": SETS}
ROWS = 20


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The bundle of each flow, exported on first use."""
    directory = tmp_path_factory.mktemp("web")

    class Bundles(dict[str, Path]):
        def __missing__(self, name: str) -> Path:
            self[name] = directory / name
            flow = _trained_like(FLOWS[name])
            x, context = batch(flow, ROWS, seed=2)
            events = x.floor().long() if flow.levels else x
            options = Options(page=f"tiny <{name}>", shared_weights=name == "colours")
            export(flow, self[name], events, context, options=options)
            return self[name]

    return Bundles()


def _trained_like(spec: dict[str, object]) -> Flow:
    torch.manual_seed(0)
    flow = Flow.from_spec(spec)
    x, context = batch(flow, 100)
    flow.initialize(x.float(), context)
    perturb(flow, 0.1)
    return flow.eval()


@pytest.fixture(scope="session")
def page(request: pytest.FixtureRequest, exported: dict[str, Path], pages_browser: Chromium) -> Opened:
    """The page of the flow that the test names."""
    return Opened(request.param, exported[request.param], pages_browser)


@pytest.fixture(scope="session")
def pages_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with _browser(tmp_path_factory) as browser:
        yield browser


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A browser of the module's own, for pages that it makes itself."""
    with _browser(tmp_path_factory) as browser:
        yield browser


def _browser(tmp_path_factory: pytest.TempPathFactory) -> AbstractContextManager[Chromium]:
    if FOUND is None:
        pytest.skip("no Chromium here: `apt-get install chromium`")
    return closing(Chromium(tmp_path_factory.mktemp("profile")))
