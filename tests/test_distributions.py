"""What is installed is called `flowkit-nf` or `flowkit-runtime`: `flowkit` on PyPI is another project."""

from __future__ import annotations

import re
import sys
import tomllib
import warnings
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flowkit.cli.main import app
from flowkit.errors import InstallationWarning
from flowkit.plugin import Registry
from flowkit.plugin.found import warn_of_conflicts
from flowkit.plugin.policy import FIRST_PARTY
from flowkit.spec import lock, read_spec
from flowkit_nf import conflicts
from tests.thirdparty.place import ROOT, Place
from tests.thirdparty.strangers import KINDS

OURS = {
    FIRST_PARTY: tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"],
    "flowkit-runtime": tomllib.loads((ROOT / "runtime" / "pyproject.toml").read_text("utf-8"))["project"],
}
"""Our distributions, as their pyproject.toml describe them."""

KNOWN = {*OURS, "onnxruntime", "onnxruntime-gpu", "pandas", "pyarrow", "pillow", "lightning-fabric"}
KNOWN |= {"fastapi", "uvicorn", "httptools", "prometheus-client", "onnxruntime-openvino", "pyspark"}
"""What messages and docs tell somebody to install."""

PLACES = (
    "*.md",
    "docs/*",
    "flowkit/**/*",
    "plugins/**/*",
    "runtime/**/*",
    "specs/*",
    "Makefile",
    "tests/peers/page.py",
)
SUFFIXES = {".md", ".py", ".toml", ".yaml", ".txt", ".html", ".js", ""}
COMMAND = re.compile(r"\b(?:pip3?|pipx|uv)(?: pip)? (?:install|uninstall|add) +([^\n`]*)")
REQUIREMENT = re.compile(r"(?<![\w./-])(flowkit[\w-]*)\[(\w+(?:, *\w+)*)\]")
"""``flowkit-nf[train,files]``: a distribution of ours and its extras."""
NAME = re.compile(r"[A-Za-z][\w.-]*")


@cache
def texts() -> list[tuple[Path, str]]:
    files = {path for place in PLACES for path in ROOT.glob(place) if path.is_file() and path.suffix in SUFFIXES}
    assert len(files) > 200
    return [(path.relative_to(ROOT), path.read_text("utf-8")) for path in sorted(files)]


def installed_by(command: str) -> Iterator[str]:
    """The names of distributions among the words of a command, which ends where prose goes on."""
    words = re.split(r"\s+", re.split(r"[;)\"]|, | or | for |\s#", command)[0].replace("'", ""))
    for word in words:
        name = NAME.match(word)
        if name and "/" not in word and word not in ("the", "package", "that", "brings", "it"):
            yield name[0].rstrip(".,:")


def test_the_pattern_finds_names() -> None:
    said = "`pip install 'flowkit[train]'`, pip uninstall flowkit onnxruntime, then. pip install -e '.[test]' ./runtime"
    found = [name for command in COMMAND.findall(said) for name in installed_by(command)]
    assert found == ["flowkit", "flowkit", "onnxruntime"]


def test_nothing_tells_to_install_another_project() -> None:
    wrong = [
        (str(path), command)
        for path, text in texts()
        for command in COMMAND.findall(text)
        if "{" not in command and not KNOWN.issuperset(installed_by(command))
    ]
    assert not wrong


def test_extras_are_those_of_our_distributions() -> None:
    for path, text in texts():
        for name, extras in REQUIREMENT.findall(text):
            assert name in OURS, (path, name)
            assert set(re.split(", *", extras)) <= OURS[name]["optional-dependencies"].keys(), (path, name, extras)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_depends_on_ours(tmp_path: Path, kind: str) -> None:
    begun = CliRunner().invoke(app, ["plugins", "new", "sorted", "--kind", kind, "-o", str(tmp_path / "package")])
    assert begun.exit_code == 0, begun.output
    project = tomllib.loads((tmp_path / "package" / "pyproject.toml").read_text("utf-8"))["project"]
    required = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    assert {name for name in required if name.startswith("flowkit")} == {FIRST_PARTY, f"{FIRST_PARTY}[train]"}


@pytest.mark.parametrize("name", ["nf", "runtime"])
def test_a_new_plugin_does_not_take_our_names(tmp_path: Path, name: str) -> None:
    begun = CliRunner().invoke(app, ["plugins", "new", name, "-o", str(tmp_path / "package")])
    assert begun.exit_code == 2 and f"the namespace {name} is taken" in begun.stderr


def test_what_is_installed_and_what_a_run_records_is_ours() -> None:
    assert distribution(FIRST_PARTY).metadata["Name"] == FIRST_PARTY == OURS[FIRST_PARTY]["name"]
    spec = read_spec("flowkit: 1\nevent: {shape: [2]}\nflow: [{use: glow/actnorm}]\n")
    assert lock(spec)["plugins"].keys() == {FIRST_PARTY}


def install(site: Path, name: str, version: str) -> None:
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    warn_of_conflicts.cache_clear()
    yield tmp_path
    warn_of_conflicts.cache_clear()


def test_alone_there_is_nothing_to_say(site: Path) -> None:
    install(site, "flowkit-mine", "1.0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Registry.discover()
    assert list(conflicts()) == []


@pytest.mark.parametrize(
    ("name", "why"),
    [("flowkit", "It is another project"), ("FlowKit", "It is another project"), ("flowkit-runtime", "It is part of")],
)
def test_a_distribution_with_the_same_files_is_named(name: str, why: str, site: Path) -> None:
    install(site, name, "1.4.0")
    for _ in range(2):  # it is said once
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            Registry.discover()
    assert not caught
    (conflict,) = conflicts()
    assert f"{name.lower()} 1.4.0 is installed beside {FIRST_PARTY}" in conflict and why in conflict
    assert f"pip uninstall {name.lower()} {FIRST_PARTY}, then install {FIRST_PARTY} again" in conflict


def test_python_warns_of_it(site: Path) -> None:
    install(site, "flowkit", "1.4.0")
    with pytest.warns(InstallationWarning, match="another project"):
        Registry.discover()


def test_a_command_warns_of_it_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    install(tmp_path / "site", "flowkit", "1.4.0")
    (tmp_path / "spec.yaml").write_text("flowkit: 1\nevent: {shape: [2]}\nflow: [{use: glow/actnorm}]\n")
    result = Place(tmp_path, (tmp_path / "site",)).run("flowkit", "validate", "spec.yaml")
    (line,) = result.stderr.splitlines()
    assert line.startswith("warning: flowkit 1.4.0 is installed beside flowkit-nf")


def test_the_command_says_what_has_overwritten_it(tmp_path: Path) -> None:
    """As where the other project is installed last, and something that it needs is missing."""
    install(tmp_path, "flowkit", "1.4.0")
    (tmp_path / "flowkit").mkdir()
    (tmp_path / "flowkit" / "__init__.py").write_text("import a_module_that_is_nowhere")
    code = "import sys; sys.path.insert(0, sys.argv.pop()); from flowkit_nf.command import main; main()"
    result = Place(tmp_path).run(sys.executable, "-c", code, str(tmp_path), fails_with=2)
    assert result.stderr.startswith("flowkit 1.4.0 is installed beside flowkit-nf") and "Traceback" not in result.stderr
