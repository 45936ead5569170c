"""Files and directories that appear whole: what is there before, between and after."""

from __future__ import annotations

import errno
import fcntl
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout

from flowkit_runtime.atomic import locked, making, replacing


def fill(directory: Path, **files: str) -> None:
    for name, text in files.items():
        (directory / name).write_text(text, "utf-8")


def held(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in directory.iterdir() if path.is_file()}


def works(directory: Path) -> list[str]:
    """The names of the work directories."""
    return [path.name for path in directory.iterdir() if path.suffix == ".part"]


def rename_failing_at(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name == name and path.parent.name == "new":
            raise OSError("no more")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)


@pytest.mark.parametrize("here", [True, False], ids=["the working directory", "another"])
def test_what_is_overwritten_is_gone_and_only_that(here: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "place"
    place.mkdir()
    fill(place, old="1", both="1")
    monkeypatch.chdir(place if here else tmp_path)
    with making(place, last="both", overwrite=True) as new:
        fill(new, both="2", more="2")
        assert held(place)["both"] == "1" if not here else (place / "both").read_text("utf-8") == "1"
    assert held(place) == {"both": "2", "more": "2"}
    assert list(tmp_path.iterdir()) == [place]
    assert not here or Path.cwd().samefile(place)


@pytest.mark.parametrize("before", [{}, {"both": "1", "old": "1"}], ids=["empty", "full"])
def test_what_was_there_comes_back(before: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, **before)
    monkeypatch.chdir(tmp_path)
    rename_failing_at("last", monkeypatch)
    with pytest.raises(OSError, match="no more"), making(Path(), last="last", overwrite=True) as new:
        fill(new, both="2", more="2", last="2")
    assert held(tmp_path) == before


def test_a_directory_that_takes_no_other_place_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    fill(place, old="1")
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda path, to: [][1] if path.name == "new" else rename(path, to))
    with pytest.raises(IndexError), making(place, overwrite=True) as new:
        fill(new, new="2")
    assert held(place) == {"old": "1"} and list(tmp_path.iterdir()) == [place]


def test_what_cannot_be_brought_back_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, old="1")
    monkeypatch.chdir(tmp_path)
    rename = Path.rename
    monkeypatch.setattr(
        Path, "rename", lambda path, to: rename(path, to) if path.name == "old" and to.parent.name == "old" else [][1]
    )
    with pytest.raises(IndexError), making(Path(), overwrite=True) as new:
        fill(new, new="2")
    (kept,) = tmp_path.rglob("old/old")
    assert kept.read_text("utf-8") == "1"


def test_two_may_overwrite_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for where in (tmp_path, tmp_path / "elsewhere"):
        where.mkdir(exist_ok=True)
        monkeypatch.chdir(where)
        place = tmp_path if where == tmp_path else tmp_path / "place"
        with making(place, overwrite=True) as first:
            with making(place, overwrite=True) as second:
                fill(second, who="second")
            fill(first, who="first")
        assert (place / "who").read_text("utf-8") == "first"


@pytest.mark.parametrize("there", [True, False])
def test_what_appears_meanwhile_is_left_alone(there: bool, tmp_path: Path) -> None:
    place = tmp_path / "place"
    if there:
        place.mkdir()
    taken = pytest.raises(FileExistsError, match="another process has made something there meanwhile")
    with taken, making(place) as first:
        with making(place) as second:
            fill(second, who="second")
        fill(first, who="first")
    assert held(place) == {"who": "second"} and list(tmp_path.iterdir()) == [place]


def test_two_may_write_one_file(tmp_path: Path) -> None:
    with replacing(tmp_path / "out.txt") as first:
        first.write_text("half of the first", "utf-8")
        with replacing(tmp_path / "out.txt") as second:
            second.write_text("second", "utf-8")
        assert held(tmp_path) == {"out.txt": "second"} and first.read_text("utf-8") == "half of the first"
        first.write_text("first", "utf-8")
    assert held(tmp_path) == {"out.txt": "first"} and not works(tmp_path)


WRITE = """
import os, pathlib, signal, sys
from flowkit_runtime.atomic import replacing
with replacing(pathlib.Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print(temporary.parent.name, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITE, tmp_path / "[out].txt"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().rstrip()
        try:
            for text in ("1", "2"):
                with replacing(tmp_path / "[out].txt") as temporary:
                    temporary.write_text(text, "utf-8")
                assert held(tmp_path) == {"[out].txt": text} and works(tmp_path) == [name]
        finally:
            process.kill()
    with replacing(tmp_path / "out.txt") as temporary:  # another file's: none of its business
        temporary.write_text("3", "utf-8")
    assert held(tmp_path / name)["[out].txt"] == "half"
    with replacing(tmp_path / "[out].txt") as temporary:
        temporary.write_text("4", "utf-8")
    assert held(tmp_path) == {"[out].txt": "4", "out.txt": "3"} and not works(tmp_path)


def test_a_file_that_is_swept_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, swept = fcntl.flock, []

    def late(file: Any, flags: int) -> None:
        if not swept:
            swept.extend(tmp_path.iterdir())
            shutil.rmtree(swept[0])
        flock(file, flags)

    monkeypatch.setattr(fcntl, "flock", late)
    with replacing(tmp_path / "out.txt") as temporary:
        temporary.write_text("1", "utf-8")
    assert len(swept) == 1 and held(tmp_path) == {"out.txt": "1"} and not works(tmp_path)


def test_where_files_cannot_be_locked_they_are_written_and_nothing_is_swept(tmp_path: Path, no_locks: None) -> None:
    with replacing(tmp_path / "out.txt") as first:
        first.write_text("first", "utf-8")
        with replacing(tmp_path / "out.txt") as second:
            second.write_text("second", "utf-8")
    assert held(tmp_path) == {"out.txt": "first"}


MAKE = """
import pathlib, sys
from flowkit_runtime.atomic import making
with making(pathlib.Path(sys.argv[1]), overwrite=True) as new:
    (new / "half").write_text("half")
    print(new.parent.name, flush=True)
    sys.stdin.read()
"""


def make(place: Path, text: str) -> None:
    with making(place, overwrite=True) as new:
        fill(new, who=text)


@pytest.mark.parametrize("there", [True, False], ids=["inside", "beside"])
def test_a_directory_that_a_killed_process_left_is_removed_and_that_of_a_living_one_is_not(
    there: bool, tmp_path: Path
) -> None:
    place = tmp_path / "not yet" / "[pl]ace"
    work = place if there else tmp_path
    work.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-c", MAKE, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().rstrip()
        try:
            make(place, "1")
            assert (place / "who").exists() and (work / name / "new" / "half").exists()
        finally:
            process.kill()
    make(tmp_path / "place", "3")  # another's name: none of its business
    assert (work / name).exists()
    make(place, "4")
    assert held(place) == {"who": "4"} and not list(tmp_path.rglob("*.part"))


def test_the_only_copy_of_what_was_to_be_overwritten_is_kept_until_there_is_another(tmp_path: Path) -> None:
    place, work = tmp_path / "place", tmp_path / ".place.01234567.part"
    (work / "old").mkdir(parents=True)  # killed after it had moved the old one, before it moved the new one
    fill(work / "old", who="old")
    with pytest.raises(IndexError), making(place) as new:
        fill(new, who=[][1])
    assert held(work / "old") == {"who": "old"}
    make(place, "new")
    assert held(place) == {"who": "new"} and list(tmp_path.iterdir()) == [place]


def test_what_a_killed_process_left_in_an_empty_directory_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / f".{tmp_path.name}.01234567.part" / "new").mkdir(parents=True)
    with making(tmp_path) as new:
        fill(new, who="me")
    assert held(tmp_path) == {"who": "me"}


def test_where_no_lock_can_be_made_the_error_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """filelock reports a directory that takes no new file, such as /proc, as if the lock was held."""
    attempts: list[int] = []

    def refused(self: FileLock, **settings: Any) -> None:
        attempts.append(1)
        assert len(attempts) < 1000
        raise Timeout(str(tmp_path / "lock"))

    monkeypatch.setattr(FileLock, "acquire", refused)
    with pytest.raises(FileNotFoundError, match="none"), locked(tmp_path / "none" / "lock"):
        pass
    with pytest.raises(BlockingIOError), locked(tmp_path / "lock"):
        pass


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a", None, "b"), "No space left on device"),
        (OSError("9 requested and 4 written"), "not all could be written (9 requested and 4 written): the disk may"),
    ],
)
def test_errors_name_the_file_that_was_asked_for_and_no_other(error: OSError, words: str, tmp_path: Path) -> None:
    with pytest.raises(OSError) as raised, replacing(tmp_path / "asked"):
        raise error
    assert raised.value.filename == str(tmp_path / "asked") and raised.value.strerror.startswith(words)
    assert "->" not in str(raised.value) and not list(tmp_path.iterdir())
