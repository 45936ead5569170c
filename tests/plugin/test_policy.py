"""Which installed plugins may be used, and how that is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flowkit.cli.main import app
from flowkit.errors import PluginError, SpecError
from flowkit.plugin import Policy, Registry
from flowkit.spec import read_spec
from tests.plugin.sites import PLUGIN, install

SPEC = "flowkit: 1\nevent: {shape: [2]}\nflow: [{use: glow/actnorm}, {use: mine/shift}]\n"
VARIABLES = ("FLOWKIT_NO_PLUGINS", "FLOWKIT_ALLOW_PLUGINS", "FLOWKIT_DENY_PLUGINS", "FLOWKIT_STRICT")


@pytest.fixture
def two(site: Path) -> Path:
    """Two distributions that are in order, and a spec that names one of them."""
    install(site, "mine")
    install(site, "other")
    (site / "mine.yaml").write_text(SPEC)
    return site


@pytest.mark.parametrize(
    ("policy", "usable"),
    [
        (Policy(), "glow mine other"),
        (Policy(no_plugins=True), "glow"),
        (Policy(allow=frozenset({"mine"})), "glow mine"),
        (Policy(allow=frozenset({"nothing"})), "glow"),
        (Policy(deny=frozenset({"mine"})), "glow other"),
        (Policy(deny=frozenset({"glow"})), "mine other"),
        (Policy(allow=frozenset({"mine", "other"}), deny=frozenset({"mine"})), "glow other"),
        (Policy(no_plugins=True, allow=frozenset({"mine"})), "glow"),
    ],
)
def test_what_may_be_used(policy: Policy, usable: str, two: Path) -> None:
    found, broken = Registry.discover(policy).load_all()
    others = {"autoregressive", "base", "data", "encoder", "map", "mixture", "residual", "spline"}
    assert {each.name.partition("/")[0] for each in found} - others == set(usable.split())
    assert not broken
    imported = {name.removeprefix("flowkit_") for name in sys.modules}
    assert all(name in usable or name not in imported for name in ("mine", "other"))


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("FLOWKIT_NO_PLUGINS", "1", "leave that out"),
        ("FLOWKIT_ALLOW_PLUGINS", "other, glow", "add it to that list"),
        ("FLOWKIT_ALLOW_PLUGINS", "", "add it to that list"),
        ("FLOWKIT_DENY_PLUGINS", "other mine", "take it off that list"),
    ],
)
def test_a_spec_that_names_a_denied_one(
    variable: str, value: str, words: str, two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SpecError) as caught:
        read_spec(two / "mine.yaml")
    (problem,) = caught.value.problems
    assert (problem.line, problem.path) == (3, ("flow", 1, "use"))
    option = variable.lower().replace("flowkit_", "--").replace("_", "-")
    assert problem.message == f"plugin namespace 'mine' (flowkit-mine 1.2) is denied by {option}"
    assert problem.suggestion and words in problem.suggestion and variable in problem.suggestion
    assert "flowkit_mine" not in sys.modules


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"FLOWKIT_STRICT": "maybe"}, "FLOWKIT_STRICT must be 1 or 0, not 'maybe'"),
        ({"FLOWKIT_DENY_PLUGINS": "a, mine/shift"}, "takes namespaces, such as mine, not 'mine/shift'"),
    ],
)
def test_settings_that_make_no_sense(variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PluginError, match=words):
        Policy.from_environment()


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Policy.from_environment() == Policy()
    for name, value in zip(VARIABLES, ("yes", " a,b  c ,", "d", "ON"), strict=True):
        monkeypatch.setenv(name, value)
    assert Policy.from_environment() == Policy(True, frozenset("abc"), frozenset("d"), True)
    for name in VARIABLES:
        monkeypatch.setenv(name, "0" if name in (VARIABLES[0], VARIABLES[3]) else " ")
    assert Policy.from_environment() == Policy(allow=frozenset())


@pytest.mark.parametrize(
    ("options", "denied"),
    [
        (["--no-plugins"], "--no-plugins"),
        (["--allow-plugins", "other"], "--allow-plugins"),
        (["--allow-plugins", ""], "--allow-plugins"),
        (["--allow-plugins", ","], "--allow-plugins"),
        (["--deny-plugins", "other,mine"], "--deny-plugins"),
    ],
)
def test_options_of_the_command(options: list[str], denied: str, two: Path) -> None:
    before = dict(os.environ)
    result = CliRunner().invoke(app, [*options, "validate", str(two / "mine.yaml")])
    assert result.exit_code == 2 and f"is denied by {denied}" in result.stderr
    assert dict(os.environ) == before
    assert CliRunner().invoke(app, ["validate", str(two / "mine.yaml")]).exit_code == 0


def test_options_win_over_the_environment_and_reach_child_processes(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWKIT_DENY_PLUGINS", "other")
    monkeypatch.setattr(Registry, "discover", lambda: print(subprocess.check_output(["env"], text=True)) or Registry())
    result = CliRunner().invoke(app, ["--deny-plugins", "mine", "--no-plugins", "plugins"])
    assert "FLOWKIT_DENY_PLUGINS=mine\n" in result.stdout and "FLOWKIT_NO_PLUGINS=1\n" in result.stdout


STRANGE = {
    "broken": {"code": "raise RuntimeError('sad')"},
    "colliding": {"namespace": "mine", "distribution": "another", "module": "flowkit_another"},
    "of the future": {"code": PLUGIN.replace('"nowhere:Shift"', '"nowhere:Shift", api=2')},
}


@pytest.mark.parametrize("strange", STRANGE)
def test_strict(strange: str, two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["validate", str(two / "mine.yaml")]
    assert CliRunner().invoke(app, ["--strict", *command]).exit_code == 0
    install(two, **{"namespace": "sad", **STRANGE[strange]})
    result = CliRunner().invoke(app, ["--strict", *command])
    assert (result.exit_code, result.stdout) == (2, "")
    heading, message = result.stderr.splitlines()
    assert "--strict" in heading and ("'sad' (flowkit-sad 1.2" in message or "another 1.2" in message)
    assert CliRunner().invoke(app, ["--strict", "--deny-plugins", "sad,mine", "plugins"]).exit_code == 0
    monkeypatch.setenv("FLOWKIT_STRICT", "1")
    with pytest.raises(PluginError, match="--strict"):
        read_spec("flowkit: 1\nevent: {shape: [2]}\nflow: [{use: glow/actnorm}]\n")
