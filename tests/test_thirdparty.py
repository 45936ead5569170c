"""A plugin package written, installed and found as a stranger's would be, and the tutorial that says how.

Everything runs in processes of its own, with the installed package on the path: discovery is the real one.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SOURCE = TESTS / "thirdparty" / "flowkit-example"
TUTORIAL = TESTS.parent / "docs" / "your-first-plugin.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TUTORIAL.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# (\S+\.(?:py|toml|yaml))\n")
FILES = {found[1]: text[found.end() :] for _, text in BLOCKS if (found := FILE_NAME.match(text))}

GLOW = """\
flowkit: 1
event: {shape: [4]}
flow: [{use: glow/actnorm}]
"""

ROUND_TRIP = """\
import torch
from flowkit.flow import Flow
from flowkit.testing import perturb

flow = Flow.from_spec("example.yaml").double()
perturb(flow, 0.1)
x = torch.rand(5, 1, 8, 8, dtype=torch.float64) * 17
z, log_det = flow.forward_and_log_det(x)
back, inverse_log_det = flow.inverse_and_log_det(z)
assert (back - x).abs().max() < 1e-9 and (log_det + inverse_log_det).abs().max() < 1e-9
"""

REBUILT = """\
from flowkit.flow import Coupling, Flow
from flowkit_example.bend import Bend
from flowkit_example.householder import Householder
from flowkit_glow.mlp import MLP
from flowkit_glow.splits import Channels

coupling = Coupling(Channels((4,)), MLP((2,), (3, 2)), Bend(max_slope=3.0))
spec = Flow([Householder((4,), reflections=3), coupling]).to_spec()
again = Flow.from_spec(spec).layers
assert again[0].reflections == 3 and again[1].transformer.max_slope == 3.0
"""

TORCH_FREE = """\
import sys
from flowkit.spec import read_spec

read_spec("example.yaml")
assert "flowkit_example.plugin" in sys.modules and "torch" not in sys.modules
"""

SAME_SAMPLES = """\
import flowkit_runtime
from flowkit.flow import Flow

ours = Flow.load("runs/example").sample(64, seed=3).numpy()
theirs = flowkit_runtime.load("exports/example").sample(64, seed=3)
difference = abs(ours.astype(int) - theirs)
assert ours.dtype == theirs.dtype and ours.std() > 1
assert difference.max() <= 1 and difference.mean() < 1e-3  # what lies between two levels may fall either way
"""


@dataclass(frozen=True)
class Place:
    """A directory to run commands in, and what is installed there beside this environment."""

    directory: Path
    sites: tuple[Path, ...] = ()

    def run(self, *command: str | Path, fails_with: int = 0) -> subprocess.CompletedProcess[str]:
        scripts = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
        paths = [*map(str, self.sites), *filter(None, [os.environ.get("PYTHONPATH")])]
        result = subprocess.run(
            [shutil.which(command[0], path=scripts) or command[0], *command[1:]],
            cwd=self.directory,
            env={**os.environ, "PATH": scripts, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"},
            capture_output=True,
            text=True,
        )
        assert result.returncode == fails_with, result.stdout + result.stderr
        return result

    def python(self, code: str) -> None:
        self.run(sys.executable, "-c", code)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A copy of the package's sources, with the package installed from it."""
    directory, site = tmp_path_factory.mktemp("stranger") / "flowkit-example", tmp_path_factory.mktemp("site")
    shutil.copytree(SOURCE, directory, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    Place(directory).run(*pip, "--no-deps", "--no-build-isolation", "--target", site, ".")
    return Place(directory, (site,))


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another installed package, whose plugin module raises when it is imported."""
    site = tmp_path_factory.mktemp("broken")
    (site / "flowkit_sad.py").write_text("raise RuntimeError('sad since noon')")
    info = site / "flowkit_sad-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flowkit-sad\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[flowkit]\nsad = flowkit_sad\n")
    return site


@pytest.fixture(scope="module")
def tutorial(stranger: Place) -> Place:
    """Where every command and every snippet of the tutorial has run, in order."""
    said = ""
    for language, text in BLOCKS:
        if language == "bash":
            said = "".join(_obey(stranger, line) for line in text.splitlines())
        elif language == "text":
            for line in text.splitlines():
                assert " ".join(line.split()) in " ".join(said.split())
        elif not FILE_NAME.match(text):
            stranger.python(text)
    return stranger


def _obey(place: Place, line: str) -> str:
    return "" if line == "pip install -e ." else place.run(*shlex.split(line)).stdout  # the fixture's work


def test_plugins_are_listed_with_their_distribution(stranger):
    lines = [line.split() for line in stranger.run("flowkit", "plugins", "list", "--all").stdout.splitlines()]
    assert [line[:5] for line in lines if line[0].startswith("example/")] == [
        ["example/householder", "bijector", "exact", "flowkit-example", "0.1.0"],
        ["example/sinh_arcsinh", "bijector", "exact", "flowkit-example", "0.1.0"],
        ["example/bend", "transformer", "exact", "flowkit-example", "0.1.0"],
    ]


def test_its_own_tests_pass(stranger):
    assert "9 passed" in stranger.run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider").stdout


def test_its_spec_is_valid(stranger):
    assert "15 layers" in stranger.run("flowkit", "validate", "example.yaml").stdout


def test_its_spec_is_read_without_torch(stranger):
    stranger.python(TORCH_FREE)


def test_a_flow_of_its_layers_round_trips(stranger):
    stranger.python(ROUND_TRIP)


def test_a_flow_built_in_python_is_written_as_a_spec(stranger):
    stranger.python(REBUILT)


def test_a_field_out_of_range_is_an_error_at_its_place(stranger):
    text = (SOURCE / "example.yaml").read_text(encoding="utf-8").replace("max_slope: 4", "max_slope: 0.5")
    (stranger.directory / "steep.yaml").write_text(text, encoding="utf-8")
    error = stranger.run("flowkit", "validate", "steep.yaml", fails_with=2).stderr
    assert "steep.yaml:11:" in error and "flow[2].flow[2].coupling.max_slope" in error


def test_without_the_distribution(stranger):
    error = Place(stranger.directory).run("flowkit", "validate", "example.yaml", fails_with=2).stderr
    assert "no plugin namespace 'example' is installed" in error


def test_a_broken_neighbour_is_reported_and_the_rest_works(stranger, broken):
    result = Place(stranger.directory, (*stranger.sites, broken)).run("flowkit", "plugins", "list", "--all")
    assert "example/bend" in result.stdout and "glow/affine" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("broken: plugin 'sad' (flowkit-sad 0.3, flowkit_sad)") and "sad since noon" in line


def test_a_spec_that_does_not_name_the_broken_one_is_unaffected(stranger, broken):
    result = Place(stranger.directory, (*stranger.sites, broken)).run("flowkit", "validate", "example.yaml")
    assert result.stderr == ""


def test_a_spec_that_names_the_broken_one_says_whose_it_is(broken, tmp_path):
    (tmp_path / "sad.yaml").write_text(GLOW.replace("glow/actnorm", "sad/layer"))
    error = Place(tmp_path, (broken,)).run("flowkit", "validate", "sad.yaml", fails_with=2).stderr
    assert "flowkit-sad 0.3" in error and "sad since noon" in error


@pytest.mark.parametrize("name", FILES)
def test_the_tutorial_shows_the_tested_file(name):
    assert FILES[name] == (SOURCE / name).read_text(encoding="utf-8")


def test_the_tutorial_shows_every_file():
    files = [path for path in SOURCE.rglob("*") if path.suffix in {".py", ".toml", ".yaml"}]
    assert set(FILES) == {path.relative_to(SOURCE).as_posix() for path in files if path.stat().st_size}


@pytest.mark.slow
def test_the_tutorial_runs_as_written(tutorial):
    assert (tutorial.directory / "runs/example/results.json").is_file()
    assert (tutorial.directory / "exports/example/decode.onnx").is_file()


@pytest.mark.slow
def test_the_exported_model_gives_the_same_samples(tutorial):
    tutorial.python(SAME_SAMPLES)
