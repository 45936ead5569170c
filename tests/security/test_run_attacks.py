"""Run directories made by a stranger, loaded and resumed."""

from __future__ import annotations

import json
import math
import pickle
import re
import shutil
import struct
import warnings
from ast import literal_eval
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save as to_safetensors
from safetensors.torch import load_file, save_file

from flowkit.errors import VersionWarning
from flowkit.flow import Flow
from flowkit.spec import read_spec, to_yaml
from flowkit.train import read_results, resume
from tests.security.actions import command
from tests.security.bounded import outcome, refused
from tests.security.conftest import SPEC
from tests.security.files import SECRET, Evil, away, device, fifo, loop, outside

Damage = Callable[[Path], Any]


def tensors(**replace: np.ndarray | None) -> bytes:
    good = {name: tensor.numpy() for name, tensor in Flow.from_spec(read_spec(SPEC)).state_dict().items()}
    return to_safetensors({name: array for name, array in (good | replace).items() if array is not None})


def raw(header: bytes | dict[str, Any], data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(name: str, start: int, stop: int, shape: Any = (2,), dtype: str = "F32") -> dict[str, Any]:
    return {name: {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}}


WEIGHTS = {
    "empty": (b"", "can't be read"),
    "text": (SECRET.encode(), "header is too long"),
    "pickle": (pickle.dumps(Evil(Path("owned"))), "header is too long"),
    "header of 2^63": (raw(b"{}", length=2**63), "header is too long"),
    "header of 2^64 - 1": (raw(b"{}", length=2**64 - 1), "header is too long"),
    "header of 90 MB": (lambda: raw(b" " * (90 << 20)), "header is too long"),
    "header longer than the file": (raw(b"{}", length=2**23), "can't be read"),
    "header that is no JSON": (raw(b"os.system()"), "can't be read"),
    "nested header": (raw(b"[" * 100_000), "can't be read"),
    "overlapping tensors": (raw(entry("a", 0, 8) | entry("b", 0, 8), bytes(8)), "can't be read"),
    "offsets behind the end": (raw(entry("a", 0, 2**40, (2**38,)), bytes(8)), "can't be read"),
    "shape that overflows": (raw(entry("a", 0, 8, (2**40, 2**40)), bytes(8)), "can't be read"),
    "metadata that is no text": (raw({"__metadata__": {"a": 1}}), "can't be read"),
    "nothing": (raw({}), "is missing there and .* one of 3 that differ"),
    "tensor missing": (lambda: tensors(**{"layers.0.bias": None}), "layers.0.bias is missing there"),
    "tensor too many": (lambda: tensors(more=np.zeros(3)), r"more is float64 \[3\] there and missing in the flow"),
    "other shape": (
        lambda: tensors(**{"layers.0.bias": np.zeros(3, np.float32)}),
        r"layers.0.bias is float32 \[3\] there",
    ),
    "broadcastable shape": (
        lambda: tensors(**{"layers.0.bias": np.zeros((), np.float32)}),
        r"bias is float32 \[\] there",
    ),
    "NaN": (lambda: tensors(**{"layers.0.bias": np.full(2, np.nan, np.float32)}), "holds NaN"),
    "infinity": (lambda: tensors(**{"layers.0.bias": np.full(2, np.inf, np.float32)}), "holds NaN"),
    "complex": (lambda: tensors(**{"layers.0.bias": np.zeros(2, np.complex64)}), "is complex64"),
    "doubles": (lambda: tensors(**{"layers.0.bias": np.full(2, 1e300)}), r"float64 \[2\] there and float32"),
    "a byte each": (raw(entry("a", 0, 2, dtype="F8_E4M3"), bytes(2)), "a is float8_e4m3fn"),
    "half a byte each": (raw(entry("layers.0.bias", 0, 1, dtype="F4"), bytes(1)), "doesn't fit|can't be read"),
    "a type that there isn't": (raw(entry("a", 0, 8, dtype="F99"), bytes(8)), "can't be read"),
    "a name of a megabyte": (lambda: tensors(**{"a" * 10**6: np.zeros(2)}), "aaa … is float64"),
    "a million dimensions": (lambda: raw(entry("a", 0, 4, (1,) * 10**6), bytes(4)), "doesn't fit|can't be read"),
}


@pytest.mark.parametrize(("content", "message"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights_that_lie(run: Path, monkeypatch: pytest.MonkeyPatch, content: Any, message: str) -> None:
    monkeypatch.chdir(run)
    (run / "weights.safetensors").write_bytes(content if isinstance(content, bytes) else content())
    text = refused(Flow.load, run)
    assert re.search(message, text), text
    assert "weights.safetensors" in text and "secret" not in text and len(text) < 1000
    assert not Path("owned").exists()


FILES = ["spec.yaml", "weights.safetensors", "results.json", "lock.json"]


@pytest.mark.parametrize("make", [fifo, device, loop, outside, away, Path.mkdir])
@pytest.mark.parametrize("name", FILES)
def test_only_regular_files_of_the_run_are_read(run: Path, name: str, make: Damage) -> None:
    (run / name).unlink()
    make(run / name)
    assert "root:" not in refused(Flow.load, run)


@pytest.mark.parametrize("make", [fifo, device, loop, outside, away, Path.mkdir])
def test_only_the_spec_in_the_run_is_compared(run: Path, make: Damage) -> None:
    (run / "spec.yaml").unlink()
    make(run / "spec.yaml")
    code, out, err = literal_eval(outcome(command, "flowkit", "diff", run, run)[1])
    assert (code, out) == (2, "") and str(run / "spec.yaml") in err and "root:" not in err


RESUMED = ["spec.yaml", "lock.json", "checkpoints/last.ckpt"]


@pytest.mark.parametrize(
    ("name", "make"),
    [(name, make) for name in RESUMED for make in (fifo, device, loop, outside, away, Path.mkdir)]
    + [(name, make) for name in ("metrics.csv", "checkpoints") for make in (loop, outside, away)],
)
def test_only_regular_files_of_the_run_are_resumed(unfinished: Path, name: str, make: Damage) -> None:
    target = unfinished / name
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    make(target)
    assert "root:" not in refused(resume, unfinished)


def test_a_link_to_a_run_is_followed(run: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(run)
    assert Flow.load(tmp_path / "link").event_shape == (2,)


TEMPORARY = [
    *(f"{name}.0123abcd.part" for name in (".metrics.csv", ".results.json", "checkpoints/.last.ckpt")),
    ".training",
]


def test_links_laid_under_temporary_names_are_not_followed(unfinished: Path, tmp_path: Path) -> None:
    precious = [tmp_path / f"precious{n}" for n in range(len(TEMPORARY))]
    checkpoint(unfinished).unlink()  # it begins anew
    for name, file in zip(TEMPORARY, precious, strict=True):
        file.write_text("precious")
        (unfinished / name).symlink_to(file)
    resume(unfinished)
    assert [file.read_text() for file in precious] == ["precious"] * len(TEMPORARY)
    assert not any((unfinished / name).is_symlink() for name in TEMPORARY)


@pytest.mark.parametrize("use", [Flow.load, resume])
def test_a_bundle_is_no_run(bundle: Path, use: Damage) -> None:
    before = {path.name for path in bundle.iterdir()}
    assert f"{bundle} is a bundle, which `flowkit export` wrote: name the run" in refused(use, bundle)
    assert {path.name for path in bundle.iterdir()} == before


# JSON

JSON = {
    "empty": "",
    "text": SECRET,
    "list": "[]",
    "nothing": "{}",
    "nested": "[" * 100_000,
    "nested objects": '{"a":' * 100_000,
    "long": '{"a": "' + "x" * 2**21 + '"}',
    "digits": '{"weights": ' + "9" * 10_000 + "}",
    "not UTF-8": b"\xff\xfe",
    "plugins of another kind": '{"plugins": 3, "weights": "ema"}',
    "versions of another kind": '{"plugins": {"flowkit": []}, "weights": ["ema"]}',
}


@pytest.mark.parametrize("read", [read_results, Flow.load])
@pytest.mark.parametrize("content", JSON.values(), ids=JSON)
def test_damaged_json_is_named(run: Path, read: Damage, content: str | bytes) -> None:
    name = "results.json" if read is read_results else "lock.json"
    (run / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    text = refused(read, run)
    assert name in text and "secret" not in text and len(text) < 1000


# The lock


def write_lock(run: Path, **plugins: str) -> None:
    content = json.loads((run / "lock.json").read_text())
    (run / "lock.json").write_text(json.dumps(content | {"plugins": plugins}))


@pytest.mark.parametrize("read", [Flow.load, resume])
def test_a_plugin_that_is_missing_is_named(run: Path, read: Damage) -> None:
    write_lock(run, **{"flowkit-nowhere": "1.2.3"})
    if read is resume:
        (run / "results.json").unlink()
    assert "made with the plugins of flowkit-nowhere 1.2.3, which isn't installed" in refused(read, run)


@pytest.mark.parametrize("lock", [{"x" * 10**6: "1"}, {"flowkit-nowhere": "1" * 10**6}])
def test_a_lock_of_much_text_is_shortened(run: Path, lock: dict[str, str]) -> None:
    write_lock(run, **lock)
    text = refused(Flow.load, run)
    assert "isn't installed" in text and len(text) < 2000


def test_another_version_of_a_plugin_is_a_warning(run: Path) -> None:
    write_lock(run, **{"flowkit-nf": "99.0.0"})
    with pytest.warns(VersionWarning, match=r"made with flowkit-nf 99\.0\.0; .* is installed"):
        Flow.load(run)


def test_the_same_versions_are_no_warning(run: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Flow.load(run)


# Checkpoints


def checkpoint(run: Path) -> Path:
    return run / "checkpoints" / "last.ckpt"


def edited(**replace: torch.Tensor | None) -> Damage:
    """The run's own checkpoint with some tensors replaced or, None, left out; ``__`` stands for a slash."""

    def damage(file: Path) -> None:
        content = load_file(file) | {name.replace("__", "/"): tensor for name, tensor in replace.items()}
        save_file({name: tensor for name, tensor in content.items() if tensor is not None}, file)

    return damage


def without(part: str) -> Damage:
    def damage(file: Path) -> None:
        save_file({name: tensor for name, tensor in load_file(file).items() if not name.startswith(part)}, file)

    return damage


def row(column: int, value: float) -> Damage:
    def damage(file: Path) -> None:
        rows = load_file(file)["rows"]
        rows[1, column] = value
        edited(rows=rows)(file)

    return damage


def pickled(file: Path) -> None:
    """What a checkpoint used to be, of torch's."""
    torch.save({"state_dict": {}, "callbacks": Evil(file.parent / "owned")}, file)


NOT_OF_THIS_RUN = "isn't one of this run"
CHECKPOINTS: dict[str, tuple[Damage, str]] = {
    "pickle": (lambda file: file.write_bytes(pickle.dumps(Evil(file.parent / "owned"))), "can't be read"),
    "torch's pickle": (pickled, "can't be read"),
    "truncated": (lambda file: file.write_bytes(file.read_bytes()[:1000]), "can't be read"),
    "empty": (lambda file: file.write_bytes(b""), "can't be read"),
    "nothing": (lambda file: file.write_bytes(raw({})), "no rows"),
    "no weights": (without("weights"), NOT_OF_THIS_RUN),
    "no average": (without("average"), NOT_OF_THIS_RUN),
    "no best weights": (without("best"), NOT_OF_THIS_RUN),
    "weights of another flow": (edited(weights__x=torch.zeros(3)), "weights/x is float32 [3] there and missing"),
    "weights of another shape": (edited(**{"weights/layers.0.bias": torch.zeros(1)}), NOT_OF_THIS_RUN),
    "weights that are not finite": (edited(**{"best/layers.0.bias": torch.full((2,), math.nan)}), "holds NaN"),
    "half of the optimizer": (edited(optimizer__0__exp_avg=None), "optimizer/0/exp_avg is missing"),
    "another optimizer": (edited(optimizer__0__exp_inf=torch.zeros(2)), NOT_OF_THIS_RUN),
    "a state that is too short": (edited(optimizer__0__exp_avg=torch.zeros(1)), "float32 [1] there and float32 [2]"),
    "a state of a parameter too many": (edited(optimizer__2__step=torch.ones(())), NOT_OF_THIS_RUN),
    "a step before the first": (edited(optimizer__0__step=torch.tensor(-1.0)), "is not a step of its epochs"),
    "a step after the last": (edited(optimizer__0__step=torch.tensor(5.0)), "is not a step of its epochs"),
    "a step that is no number": (edited(optimizer__0__step=torch.tensor(math.nan)), "is not a step of its epochs"),
    "no rows": (edited(rows=None), "no rows"),
    "rows of none": (edited(rows=torch.zeros(0, 7, dtype=torch.float64)), "no rows"),
    "rows that are a number": (edited(rows=torch.tensor(1.0, dtype=torch.float64)), "no rows"),
    "rows in float32": (edited(rows=torch.ones(2, 7)), "no rows"),
    "rows of other columns": (edited(rows=torch.ones(2, 5, dtype=torch.float64)), "no rows"),
    "a row of another epoch": (row(0, 1e300), "its row 2: epoch: "),
    "a row of another step": (row(1, 5), "its row 2 is not that of an epoch of 2 steps"),
    "a row without an epoch": (row(0, math.nan), "its row 2: epoch: Input should be"),
    "a row that is not finite": (row(3, math.nan), "its row 2: train: Input should be"),
    "a validation that is not finite": (row(4, -math.inf), "its row 2: val: Input should be a finite number"),
    "a negative drift": (row(6, -1.0), "its row 2: drift: Input should be"),
    "a name of a megabyte": (edited(**{"x" * 10**6: torch.zeros(1)}), NOT_OF_THIS_RUN),
}


@pytest.mark.parametrize(("damage", "message"), CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_checkpoints_that_lie(unfinished: Path, monkeypatch: pytest.MonkeyPatch, damage: Damage, message: str) -> None:
    monkeypatch.chdir(unfinished)
    damage(checkpoint(unfinished))
    text = refused(resume, unfinished)
    assert message in text and "last.ckpt" in text and len(text) < 2000, text
    assert not list(unfinished.rglob("owned"))


def test_a_run_of_a_strangers_spec_is_held_to_it(run: Path) -> None:
    other = SPEC | {"event": {"shape": [3]}}
    (run / "spec.yaml").write_text(to_yaml(read_spec(other)))
    assert "~ event.shape: [2] -> [3]" in refused(Flow.load, run)
    (run / "lock.json").unlink()
    assert "doesn't fit spec.yaml" in refused(Flow.load, run)


LOCKS: dict[str, tuple[dict[str, Any], str]] = {
    "no spec": ({"spec": None}, "spec: "),
    "a spec of another kind": ({"spec": [[]]}, "spec: "),
    "a spec that isn't valid": ({"spec": {"flowkit": 1, "x" * 10**5: "x" * 10**5}}, "holds no valid spec"),
    "a spec nested too deep": ({"spec": {"a": json.loads("[" * 900 + "]" * 900)}}, "holds no valid spec"),
    "a spec of another event": ({"spec": SPEC | {"event": {"shape": [3]}}}, "event.shape: [3] -> [2]"),
    "no data": ({"data": None}, "data: "),
    "data of another kind": ({"data": {"train": {"events": {"shape": {}}}}}, "data.train.events"),
    "data of another run": (
        {"data": {"train": {"events": {"dtype": "x" * 10**5, "shape": [40, *[1] * 10**4], "sha256": ""}}}},
        "the data has changed",
    ),
    "a shape without rows": (
        {"data": {"train": {"events": {"dtype": "float32", "shape": [], "sha256": ""}}}},
        "data.train.events.shape",
    ),
}


@pytest.mark.parametrize(("replace", "message"), LOCKS.values(), ids=LOCKS)
def test_locks_that_lie(unfinished: Path, replace: dict[str, Any], message: str) -> None:
    content = json.loads((unfinished / "lock.json").read_text())
    (unfinished / "lock.json").write_text(json.dumps(content | replace))
    text = refused(resume, unfinished)
    assert message in text and str(unfinished) in text and len(text) < 2000, text
