"""Plugin packages begun, installed and found as a stranger's would be: one of each kind, from `flowkit plugins new`.

What depends on what is imported runs in a process of its own with the installed packages on the path.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from flowkit.cli.main import app
from flowkit.export.program import any_context
from flowkit.flow import Flow
from flowkit.spec import latent_shapes, lock, read_spec, to_yaml
from flowkit.testing import BijectorSubject, check, perturb
from tests.extent import extent
from tests.pages import obey
from tests.thirdparty.place import ROOT, Place, install, lint
from tests.thirdparty.strangers import KINDS, announce, begin_all, importable, namespace

GLOW = """\
flowkit: 1
event: {shape: [4]}
flow: [{use: glow/actnorm}]
"""

TORCH_FREE = """\
import sys
from collections.abc import Iterator
from pathlib import Path
from flowkit.spec import read_spec, walk

for path in Path().glob("*/example.yaml"):
    walk(read_spec(path))
    assert f"{path.parent.name.replace('-', '_')}.plugin" in sys.modules
assert not {"torch", "numpy"} & set(sys.modules)
"""

TRAIN_AND_EXPORT = """\
flowkit train example.yaml --set train.epochs=1 -o runs/example
flowkit sample runs/example -n 4 -o samples.npy
flowkit export runs/example -o exports/example
"""


def of(kind: str, place: Place) -> Place:
    """The directory of the package of this kind."""
    return Place(place.directory / f"flowkit-{namespace(kind)}", place.sites)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Where a package of each kind has been begun, and can be imported; and with them one with a nested plugin.

    Building all of them takes seconds, and is left to the slow tests.
    """
    place = Place(tmp_path_factory.mktemp("strangers"), (tmp_path_factory.mktemp("site"),))
    begin_all(place)
    return place


@pytest.fixture
def imported(strangers: Place) -> Iterator[Place]:
    """The same, importable in this process."""
    with importable(strangers.sites[0]):
        yield strangers


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another installed package, whose plugin module raises when it is imported."""
    site = tmp_path_factory.mktemp("broken")
    (site / "flowkit_sad").mkdir()
    (site / "flowkit_sad" / "plugin.py").write_text("raise RuntimeError('sad since noon')")
    announce(site, "sad", "0.3")
    return site


def test_plugins_are_listed_with_their_distribution(strangers):
    lines = [line.split() for line in strangers.run("flowkit", "plugins").stdout.splitlines()]
    found = {tuple(line[:4]) for line in lines if line}
    assert {(namespace(kind), f"flowkit-{namespace(kind)}", "0.1.0", "available") for kind in KINDS} <= found


def test_their_specs_are_read_without_torch(strangers):
    strangers.python(TORCH_FREE)


@pytest.mark.parametrize("kind", KINDS)
def test_they_please_the_linter(strangers, kind):
    lint(of(kind, strangers), f"flowkit_{namespace(kind)}", "tests")


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_template_shows(strangers, kind):
    files = [path for path in of(kind, strangers).directory.rglob("*") if path.is_file()]
    text = "".join(f"{path}\n{path.read_text(encoding='utf-8')}" for path in files)
    assert not re.search(r"NAME|PLUGIN|\bName[A-Z]", text)
    assert f"flowkit_{namespace(kind)}" in text and KINDS[kind] in text


@pytest.mark.parametrize("kind", KINDS)
def test_a_flow_with_it_round_trips_and_has_the_shapes_of_its_spec(imported, kind):
    spec = read_spec(of(kind, imported).directory / "example.yaml")
    flow = Flow.from_spec(spec).double().eval()
    perturb(flow, 0.1)
    x = torch.rand(3, *spec.event.shape, dtype=torch.float64) * (spec.event.levels or 1)
    context = any_context(flow, 3)
    latents, log_det = flow.forward_and_log_det(x, context)
    assert [tuple(z.shape[1:]) for z in latents] == latent_shapes(spec)
    back, inverse_log_det = flow.inverse_and_log_det(latents, context)
    torch.testing.assert_close(back, x, atol=1e-9, rtol=0)
    torch.testing.assert_close(log_det, -inverse_log_det, atol=1e-9, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_flow_built_in_python_is_written_as_a_spec(imported, kind):
    source = of(kind, imported).directory / "example.yaml"
    assert f"{namespace(kind)}/" in source.read_text(encoding="utf-8")
    spec = read_spec(source)
    flow = Flow.from_spec(spec)
    flow.spec = None  # as if its layers had been put together by hand
    written = flow.to_spec()
    assert written.flow == read_spec(to_yaml(written)).flow == _unrolled(spec.flow)
    assert written.base == spec.base and written.context == spec.context


def _unrolled(flow):
    steps = (_unrolled(item.flow) * item.repeat if hasattr(item, "repeat") else [item] for item in flow)
    return list(chain.from_iterable(steps))


def test_a_layer_with_a_plugin_in_a_field(imported):
    nested = {"use": "elementwise/layer", "transformer": {"use": "bend/transformer", "max_slope": 3}}
    spec = read_spec({"flowkit": 1, "event": {"shape": [2]}, "flow": [nested]})
    flow = Flow.from_spec(spec)
    check(BijectorSubject(lambda: Flow.from_spec(spec).layers[0]), only=("round_trip", "log_det", "state", "freeze"))
    flow.spec = None
    assert flow.to_spec().flow == read_spec(to_yaml(spec)).flow == spec.flow
    assert lock(spec)["plugins"].keys() >= {"flowkit-elementwise", "flowkit-bend"}


def refused(spec: Path) -> str:
    """The message of `flowkit validate`, in this process."""
    result = CliRunner().invoke(app, ["validate", str(spec)])
    assert result.exit_code == 2
    return result.stderr


def test_a_field_out_of_range_is_an_error_at_its_place(imported):
    directory = of("transformer", imported).directory
    text = (directory / "example.yaml").read_text(encoding="utf-8").replace("max_slope: 8", "max_slope: 0.5", 1)
    (directory / "steep.yaml").write_text(text, encoding="utf-8")
    error = refused(directory / "steep.yaml")
    assert "steep.yaml:8:" in error and "flow[0].flow[1].coupling.max_slope" in error


def test_without_the_distribution(strangers):
    assert "no plugin namespace 'scale' is installed" in refused(of("bijector", strangers).directory / "example.yaml")


def test_a_broken_neighbour_is_reported_and_the_rest_works(strangers, broken):
    result = Place(strangers.directory, (*strangers.sites, broken)).run("flowkit", "plugins", "list", "--all")
    assert {*KINDS.values(), "glow/affine"} <= {line.split()[0] for line in result.stdout.splitlines() if line}
    (line,) = result.stderr.splitlines()
    assert line.startswith("broken: plugin 'sad' (flowkit-sad 0.3, flowkit_sad.plugin)") and "sad since noon" in line


def test_a_spec_that_does_not_name_the_broken_one_is_unaffected(imported, broken):
    with importable(broken):
        result = CliRunner().invoke(app, ["validate", str(of("bijector", imported).directory / "example.yaml")])
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_spec_that_names_the_broken_one_says_whose_it_is(broken, tmp_path):
    (tmp_path / "sad.yaml").write_text(GLOW.replace("glow/actnorm", "sad/layer"))
    with importable(broken):
        error = refused(tmp_path / "sad.yaml")
    assert "flowkit-sad 0.3" in error and "sad since noon" in error


@pytest.mark.slow
@pytest.mark.parametrize("kind", extent(["channel-linear"], list(KINDS)))
def test_installed_by_pip_it_passes_its_tests_trains_and_exports(strangers, tmp_path, kind):
    place = Place(of(kind, strangers).directory, (tmp_path,))
    install(place, tmp_path)
    place.run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
    np.save(place.directory / "contexts.npy", np.zeros((4, 10, 1)))  # what the example of an encoder reads
    obey(place, TRAIN_AND_EXPORT.replace("-n 4", "-n 1 --context contexts.npy" if kind == "encoder" else "-n 4"))
    assert (place.directory / "exports/example/decode.onnx").is_file()


@pytest.mark.slow
def test_they_please_the_type_checker(strangers):
    """In the repository, so that what `make check` has found of flowkit and torch isn't computed again."""
    packages = [part for kind in KINDS for part in ("-p", f"flowkit_{namespace(kind)}")]
    paths = os.pathsep.join(map(str, strangers.sites))
    Place(ROOT).run("env", f"MYPYPATH={paths}", sys.executable, "-m", "mypy", *packages)


@pytest.mark.slow
def test_the_wheel_of_flowkit_brings_what_is_no_code(tmp_path):
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, tmp_path)
    for part in ("flowkit", "flowkit_nf", "plugins", "runtime"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    install(Place(tmp_path), tmp_path / "site")
    for part in (Path("flowkit", "cli", "plugins", "template"), Path("flowkit", "export", "web")):
        brought, ours = (
            {path.relative_to(root / part) for path in (root / part).rglob("*") if "__pycache__" not in path.parts}
            for root in (tmp_path / "site", ROOT)
        )
        assert brought == ours
