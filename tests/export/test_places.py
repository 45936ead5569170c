"""Where a bundle may be put, and that nothing else is left there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flowkit.errors import ExportError, FlowkitError, RunError
from flowkit.export import bundle as bundles
from flowkit.export import export
from flowkit.flow import Flow
from flowkit_glow.actnorm import ActNorm
from flowkit_runtime.bundle import MANIFEST

FLOW = Flow([ActNorm((2,))])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A bundle of two files, filled at once; gives where that was done."""
    filled = []

    def fill(part: Path, flow: Flow, *_: object) -> None:
        filled.append(part)
        name = f"file-{len(filled)}"
        (part / MANIFEST).write_text(json.dumps({"files": {name: ""}}))
        (part / name).write_text("")

    monkeypatch.setattr(bundles, "_fill", fill)
    return filled


def files(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_a_working_directory_is_filled_and_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inode = tmp_path.stat().st_ino
    export(FLOW, ".")
    assert files(tmp_path) == ["file-1", MANIFEST]
    export(FLOW, ".", overwrite=True)
    assert files(tmp_path) == ["file-2", MANIFEST] and tmp_path.stat().st_ino == inode


def test_what_else_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("")
    with pytest.raises(RunError, match="exists: choose another"):
        export(FLOW, tmp_path / "mine", overwrite=True)
    export(FLOW, tmp_path / "b")
    with pytest.raises(RunError, match="b exists: --overwrite replaces it, in Python overwrite=True"):
        export(FLOW, tmp_path / "b")
    (tmp_path / "b" / "scores.csv").write_text("")
    with pytest.raises(RunError, match=r"b holds 'scores\.csv', which is not of the bundle: move it"):
        export(FLOW, tmp_path / "b", overwrite=True)
    assert files(tmp_path) == ["b", "b/file-1", f"b/{MANIFEST}", "b/scores.csv", "mine", "mine/precious.txt"]


def test_what_a_mount_point_gets_is_made_within(tmp_path: Path, quick: list[Path]) -> None:
    """Nothing can be renamed into it from another file system, nor can it be replaced."""
    export(FLOW, tmp_path)
    assert tmp_path in quick[0].parents and files(tmp_path) == ["file-1", MANIFEST]


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "current").symlink_to("v1")
    export(FLOW, tmp_path / "current")
    export(FLOW, tmp_path / "current", overwrite=True)
    assert (tmp_path / "current").is_symlink()
    assert files(tmp_path) == ["current", "v1", "v1/file-2", f"v1/{MANIFEST}"]


@pytest.mark.parametrize(
    ("target", "message"), [("nowhere", "link exists: choose another"), ("link", "a link that leads to itself")]
)
def test_a_link_to_nothing_is_refused_at_once(target: str, message: str, tmp_path: Path, quick: list[Path]) -> None:
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(FlowkitError, match=message):
        export(FLOW, tmp_path / "link", overwrite=True)
    assert files(tmp_path) == ["link"] and not quick


def test_an_export_that_fails_leaves_all_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(FLOW, tmp_path / "b")

    def fail(part: Path, *_: object) -> None:
        (part / MANIFEST).write_text("")
        raise ExportError("no")

    monkeypatch.setattr(bundles, "_fill", fail)
    for directory in ("b", "parent/of/it"):
        with pytest.raises(ExportError):
            export(FLOW, tmp_path / directory, overwrite=True)
    assert files(tmp_path) == ["b", "b/file-1", f"b/{MANIFEST}"]


def test_a_bundle_that_cannot_be_replaced_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(FLOW, tmp_path / "b")
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match=f"Input/output error: '{tmp_path / 'b'}'"):
        export(FLOW, tmp_path / "b", overwrite=True)
    assert files(tmp_path) == ["b", "b/file-1", f"b/{MANIFEST}"]
