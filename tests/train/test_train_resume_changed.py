"""Runs that are resumed, loaded and evaluated with other data, or another spec, than they began with."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flowkit.errors import RunError
from flowkit.flow import Flow
from flowkit.plugin import Arrays
from flowkit.spec import Spec, read_spec, to_yaml
from flowkit.train import load_data, load_run_data, resume, train
from flowkit.train.fingerprint import changes, fingerprint
from tests.train.conftest import SPEC

MakeSpec = Callable[..., Spec]
Change = Callable[[NDArray[Any]], NDArray[Any]]

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """A directory with 200 events and as many labels."""
    random = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", random.normal(size=(200, 2)).astype(np.float32))
    np.save(tmp_path / "labels.npy", random.integers(3, size=200))
    return tmp_path


def on_arrays(arrays: Path) -> Spec:
    data = f"data={{use: data/npy, path: '{arrays / 'x.npy'}', context: '{arrays / 'labels.npy'}'}}"
    return read_spec(SPEC, [data, "context={classes: 3}"])


@pytest.fixture
def interrupted(arrays: Path, killed_at: Any) -> Path:
    """A run on the arrays that was killed in its third epoch."""
    run = arrays / "run"
    with killed_at(9):
        train(on_arrays(arrays), run)
    return run


def rewrite(file: Path, change: Change) -> None:
    np.save(file, change(np.load(file)))


def row_of(part: str, arrays: Path) -> int:
    """A row of the file that is in this part."""
    event = load_data(on_arrays(arrays))[part].x[0]
    return int((np.load(arrays / "x.npy") == event).all(axis=1).argmax())


def contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


# The data


def other_value(row: int) -> Change:
    def change(array: NDArray[Any]) -> NDArray[Any]:
        array[row, 0] += 1
        return array

    return change


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_value_that_changed_is_found_in_its_part(arrays: Path, interrupted: Path, part: str) -> None:
    before = contents(interrupted)
    rewrite(arrays / "x.npy", other_value(row_of(part, arrays)))
    with pytest.raises(RunError) as caught:
        resume(interrupted)
    head, change, advice = str(caught.value).splitlines()
    assert head == f"{interrupted}: the data has changed since the run began:"
    then, here = re.fullmatch(rf"  {part}: events were (\S+ \S+, 2\].*), and are (\S+ \S+, 2\].*)", change).groups()
    assert then != here and then.partition("SHA")[0] == here.partition("SHA")[0]
    assert advice.startswith("Put the data back") and f"flowkit train {interrupted / 'spec.yaml'} -o DIR" in advice
    assert contents(interrupted) == before


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("both", lambda array: array[:-20], r"train: events were float32 \[160, 2\] .*, and are float32 \[144, 2\]"),
        ("labels.npy", lambda array: 2 - array, r"train: contexts were int64 \[160\] .*, and are int64 \[160\]"),
        ("x.npy", lambda array: array[:, :1], r"can't be used as it is now: .*events have shape \[1\]"),
        ("labels.npy", lambda array: array + 1, "can't be used as it is now: .*contexts are int64 from 1 to 3"),
    ],
)
def test_what_changed_is_said(arrays: Path, interrupted: Path, file: str, change: Change, message: str) -> None:
    for name in ("x.npy", "labels.npy"):
        if file in (name, "both"):
            rewrite(arrays / name, change)
    with pytest.raises(RunError, match=message):
        resume(interrupted)


def test_a_class_with_another_name_is_another_class() -> None:
    x, labels = np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])
    before, now = (
        {"train": fingerprint(Arrays(x, labels, classes=names))} for names in (("cat", "dog"), ("cat", "dot"))
    )
    assert changes(before, now) == ["train: classes were cat, dog, and are cat, dot"]
    assert changes(before, before) == []


def test_data_that_was_removed_is_told_of_and_a_copy_elsewhere_will_do(
    arrays: Path, interrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (arrays / "x.npy").rename(arrays / "moved.npy")
    with pytest.raises(RunError, match=r"there is no file .*x\.npy\n.*where it was moved, change `data`"):
        resume(interrupted)
    monkeypatch.chdir(arrays)
    resume(interrupted, ["data.path=moved.npy"])
    monkeypatch.chdir("/")
    assert load_run_data(interrupted, Flow.load(interrupted).to_spec()).keys() == {"train", "val", "test"}


def test_a_finished_run_is_not_evaluated_on_other_data(arrays: Path, interrupted: Path) -> None:
    resume(interrupted)
    spec = Flow.load(interrupted).to_spec()
    rewrite(arrays / "x.npy", other_value(row_of("train", arrays)))
    with pytest.raises(RunError, match="the data has changed since the run began:\n  train: events"):
        load_run_data(interrupted, spec)
    assert load_run_data(interrupted, spec, ["test"])["test"].x.shape == (20, 2)  # this part is as it was


def test_a_run_without_a_record_of_its_data_is_refused(interrupted: Path) -> None:
    file = interrupted / "lock.json"
    content = json.loads(file.read_text())
    del content["data"]
    file.write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"lock\.json can't be read \(data: Field required\): train anew"):
        resume(interrupted)


def test_fingerprints_depend_on_type_shape_and_values_and_not_on_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.arange(24, dtype=np.float32).reshape(6, 4)
    expected = fingerprint(Arrays(x)).events
    same = [np.asfortranarray(x), x[::-1][::-1], x.astype(">f4"), np.repeat(x, 2, axis=0)[::2]]
    assert all(fingerprint(Arrays(each)).events == expected for each in same)
    other = [x.astype(np.float64), x.reshape(4, 6), x + 1, x[::-1]]
    assert all(fingerprint(Arrays(each)).events != expected for each in other)
    monkeypatch.setattr("flowkit.plugin.rows.CHUNK", 5)  # one row and a bit
    assert fingerprint(Arrays(x)).events == expected


def test_a_mapped_file_is_hashed_without_being_in_memory(tmp_path: Path) -> None:
    file = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (2**20, 16))  # 64 MB
    read: list[int] = []

    class Watched(np.ndarray):
        def __getitem__(self, rows: Any) -> Any:
            taken = np.asarray(self.view(np.ndarray)[rows])
            read.append(taken.nbytes)
            return taken

    fingerprint(Arrays(file.view(Watched)))
    assert len(read) > 4 and max(read) <= 2**24


# The spec


@pytest.mark.parametrize(
    ("override", "change"),
    [
        ("train.optimizer.lr=0.1", "~ train.optimizer.lr: 0.01 -> 0.1"),
        ("train.seed=1", "~ train.seed: 0 -> 1"),
        ("flow[1].repeat=2", "~ flow[1].repeat: 1 -> 2"),
        ("flow[1].flow[0].coupling={use: glow/affine, scale: [0.5, 2]}", "flow[1].flow[0].coupling.scale"),
    ],
)
@pytest.mark.parametrize("by_hand", [False, True])
def test_fields_that_were_edited_are_named(
    tmp_path: Path, make_spec: MakeSpec, killed_at: Any, override: str, change: str, by_hand: bool
) -> None:
    run = tmp_path / "run"
    with killed_at(7):
        train(make_spec(), run)
    overrides = [override]
    if by_hand:
        (run / "spec.yaml").write_text(to_yaml(read_spec(run / "spec.yaml", overrides)))
        overrides = []
    before = contents(run)
    with pytest.raises(RunError) as caught:
        resume(run, overrides)
    assert change in str(caught.value) and "Put the other fields back" in str(caught.value)
    assert "may change in a run" in str(caught.value)
    assert contents(run) == before


def test_a_finished_run_with_another_spec_is_not_loaded(tmp_path: Path, make_spec: MakeSpec) -> None:
    """The weights fit: only the bounds of the scales differ, and so would all that the flow computes."""
    run = tmp_path / "run"
    train(make_spec("train.epochs=1"), run)
    edited = read_spec(run / "spec.yaml", ["flow[1].flow[0].coupling={use: glow/affine, scale: [0.5, 2]}"])
    (run / "spec.yaml").write_text(to_yaml(edited))
    with pytest.raises(RunError, match=r"was trained with another spec:\n  ~ flow\[1\]\.flow\[0\]\.coupling\.scale"):
        Flow.load(run)


def test_how_a_spec_is_written_does_not_matter(tmp_path: Path, make_spec: MakeSpec, killed_at: Any) -> None:
    run = tmp_path / "run"
    with killed_at(7):
        train(make_spec(), run)
    (run / "spec.yaml").write_text(f"# my notes\n{json.dumps(SPEC)}\n")
    assert resume(run).epochs == 4
