"""What the command line prints of what others wrote, and where it writes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from flowkit.cli.main import app
from flowkit.cli.terminal import printable
from flowkit.errors import DataWarning, FlowkitWarning, LoggerWarning, VersionWarning
from flowkit.plain_warnings import show_warnings_plainly
from flowkit.spec import read_spec, to_yaml
from flowkit_runtime.atomic import replacing
from tests.security.bundles import edit_manifest
from tests.security.conftest import SPEC
from tests.security.full_disk import sampled_on_a_full_disk

EVIL = "\x1b]0;owned\x07\x1b[2J\u202egnp.exe\x9b31m"
CONTROL = set("\x1b\x07\u202e\x9b")


def flowkit(*arguments: object) -> Any:
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_what_terminals_obey_is_escaped() -> None:
    assert printable(EVIL) == r"\x1b]0;owned\x07\x1b[2J\u202egnp.exe\x9b31m"
    assert printable("a\rb\x00\ud8ff") == r"a\rb\x00\ud8ff"
    assert printable("lines\n\tand ≤ × é 日本 stay") == "lines\n\tand ≤ × é 日本 stay"


def test_names_of_files(tmp_path: Path) -> None:
    good, bad = tmp_path / f"{EVIL}.yaml", tmp_path / f"bad {EVIL}.yaml"
    good.write_text(to_yaml(read_spec(SPEC)))
    bad.write_text("flowkit: 2\n")
    result = flowkit("validate", good, bad)
    assert result.exit_code == 2
    assert r"\x1b]0;owned\x07" in result.stdout and r"bad \x1b]0;owned\x07" in result.stderr
    assert not set(result.output) & CONTROL


def test_names_of_files_that_are_begun_and_drawn(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(20, 2)))
    for arguments in (["new", tmp_path / "x.npy"], ["show", tmp_path / f"{EVIL}.yaml"]):
        result = flowkit(*arguments, "-o", tmp_path / f"{EVIL}{'.yaml' if arguments[0] == 'new' else '.svg'}")
        assert result.exit_code == 0 and r"\x1b]0;owned\x07" in result.stdout
        assert not set(result.output) & CONTROL


def test_texts_that_differ(tmp_path: Path) -> None:
    for name, path in (("a", "x"), ("b", EVIL)):
        (tmp_path / name).write_text(json.dumps(SPEC | {"data": {"use": "data/npy", "path": path}}))
    result = flowkit("diff", tmp_path / "a", tmp_path / "b")
    assert result.exit_code == 1 and "data.path: x -> " in result.stdout
    assert not set(result.output) & CONTROL


def test_names_of_files_that_are_no_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.yaml"
    command = [sys.executable, "-c", "from flowkit.cli.main import main; main()", "validate", path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and r"\udcff.yaml: there is no such file" in done.stderr


TEXTS = {
    "plugin name": {"flow": [{"use": f"glow/{EVIL}"}]},
    "namespace": {"flow": [{"use": f"{EVIL}/x"}]},
    "field": {"flow": [{"use": "glow/actnorm", EVIL: 1}]},
    "key": {EVIL: 1},
    "value": {"train": {"optimizer": {"name": EVIL}}},
    "number": {"train": {"epochs": EVIL}},
    "list": {"event": {"shape": [EVIL]}},
}


@pytest.mark.parametrize("fields", TEXTS.values(), ids=TEXTS)
def test_texts_of_specs(tmp_path: Path, fields: dict[str, Any]) -> None:
    (tmp_path / "spec.yaml").write_text(json.dumps(SPEC | fields))
    assert_clean(flowkit("validate", tmp_path / "spec.yaml"))


def test_paths_of_data(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(json.dumps(SPEC | {"data": {"use": "data/npy", "path": f"/{EVIL}.npy"}}))
    assert_clean(flowkit("train", tmp_path / "spec.yaml", "-o", tmp_path / "run"))
    assert [path.name for path in tmp_path.iterdir()] == ["spec.yaml"]


@pytest.mark.parametrize("fields", [{"bases": [EVIL]}, {"format": EVIL}, {"files": {EVIL: "0"}}, {EVIL: EVIL}])
def test_texts_of_manifests(bundle: Path, fields: dict[str, Any]) -> None:
    edit_manifest(bundle, lambda manifest: manifest.update(fields))
    np.save(bundle / "x.npy", np.zeros((3, 2), np.float32))
    result = flowkit("score", bundle, bundle / "x.npy")
    assert not set(result.output) & CONTROL


@pytest.mark.parametrize("lock", [{EVIL: "1"}, {"flowkit-x": EVIL}])
def test_texts_of_locks(run: Path, lock: dict[str, str]) -> None:
    there = json.loads((run / "lock.json").read_text())
    (run / "lock.json").write_text(json.dumps(there | {"plugins": lock}))
    result = flowkit("sample", run, "-n", "2", "-o", run.parent / "samples.npy")
    assert result.exit_code == (2 if "flowkit-x" in lock else 0)
    assert not set(result.output) & CONTROL


@pytest.mark.parametrize("kind", [VersionWarning, DataWarning, LoggerWarning])
def test_a_warning_is_one_line(kind: type[FlowkitWarning], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    show_warnings_plainly()
    text = warnings.formatwarning(kind(f"made with {EVIL}"), kind, "flow.py", 1)
    assert text.startswith("warning: made with \\x1b") and text.count("\n") == 1
    assert "flow.py:1" in warnings.formatwarning(UserWarning("other"), UserWarning, "flow.py", 1)


def assert_clean(result: Any) -> None:
    assert result.exit_code == 2, result.output
    assert not set(result.output) & CONTROL


# Outputs


def test_an_output_that_is_a_link_is_replaced_itself(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "out").symlink_to("precious")
    with replacing(tmp_path / "out") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "out").read_text() == "new" and not (tmp_path / "out").is_symlink()


def test_a_link_under_the_temporary_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "lock").write_text("precious")
    (tmp_path / ".out.npy.0123abcd.part").symlink_to("precious")
    with replacing(tmp_path / "out.npy") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "precious" / "lock").read_text() == "precious"


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_files_have_the_permissions_that_the_user_asks_for(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "out") as temporary:
            assert stat.S_IMODE(temporary.stat().st_mode) == 0o666 & ~umask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o666 & ~umask


def test_nothing_stays_of_what_fails(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "out") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"out": "old"}


def directory(path: Path) -> Path:
    path.mkdir()
    return path


def below_a_file(path: Path) -> Path:
    path.write_text("")
    return path / "deeper.npy"


def below_a_loop(path: Path) -> Path:
    path.symlink_to(path)
    return path / "deeper.npy"


OUTPUTS = {
    "a directory": directory,
    "below a file": below_a_file,
    "below a loop": below_a_loop,
    "a long name": lambda path: path.with_name("x" * 300 + ".npy"),
    "in /proc": lambda path: Path("/proc/samples.npy"),
}


@pytest.mark.parametrize("make", OUTPUTS.values(), ids=OUTPUTS)
def test_outputs_that_can_not_be_written(run: Path, tmp_path: Path, make: Any) -> None:
    output = make(tmp_path / "samples.npy")
    result = flowkit("sample", run, "-n", "2", "-o", output)
    assert result.exit_code == 2 and result.stderr.startswith(f"{output}: "), result.output
    assert not list(tmp_path.rglob(".*"))


def test_a_full_disk_leaves_the_old_file(run: Path, tmp_path: Path) -> None:
    message = sampled_on_a_full_disk("flowkit", run, tmp_path / "samples.npy")
    assert message.startswith(f"{tmp_path / 'samples.npy'}: ")
