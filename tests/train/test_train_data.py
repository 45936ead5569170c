"""The dataset against the spec: what fits comes through, what doesn't says what was expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowkit.errors import DataError
from flowkit.spec import Spec, read_spec
from flowkit.train import load_data

Given = dict[str, Any]


def spec_of(tmp_path: Path, x: np.ndarray, contexts: np.ndarray | None = None, **sections: Any) -> Spec:
    """A spec with one layer, which reads the context where there is one, on arrays written to files."""
    layer = {"use": "glow/actnorm"}
    if "context" in sections:
        layer = {"coupling": {"use": "glow/affine"}, "conditioner": {"use": "glow/mlp"}}
    data = {"use": "data/npy", "path": str(tmp_path / "x.npy")}
    np.save(tmp_path / "x.npy", x)
    if contexts is not None:
        data["context"] = str(tmp_path / "c.npy")
        np.save(tmp_path / "c.npy", contexts)
    return read_spec({"flowkit": 1, "flow": [layer], "data": data, **sections})


def test_integers_come_as_they_are_and_floats_as_float32(tmp_path: Path) -> None:
    integers = spec_of(tmp_path, np.full((20, 3), 4, np.uint8), event={"shape": [3], "levels": 5})
    assert load_data(integers, ["val"])["val"].x.dtype == np.uint8
    floats = spec_of(tmp_path, np.zeros((20, 3)), event={"shape": [3]})
    assert load_data(floats, ["val"])["val"].x.dtype == np.float32


def test_all_parts_or_those_asked_for(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, np.zeros((20, 3)), event={"shape": [3]})
    assert [len(part.x) for part in load_data(spec).values()] == [16, 2, 2]
    assert list(load_data(spec, ["test"])) == ["test"]


def test_a_flow_without_context_gets_no_labels(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, np.zeros((20, 3)), np.arange(20), event={"shape": [3]})
    assert load_data(spec)["train"].context is None


def test_labels_become_int64_and_other_contexts_float32(tmp_path: Path) -> None:
    x, event = np.zeros((20, 3)), {"shape": [3]}
    labels = spec_of(tmp_path, x, np.ones(20, np.uint8), event=event, context={"classes": 2})
    assert load_data(labels)["train"].context.dtype == np.int64
    arrays = spec_of(tmp_path, x, np.ones((20, 4)), event=event, context={"shape": [4]})
    assert load_data(arrays)["train"].context.dtype == np.float32


X = np.zeros((20, 3))
EVENT = {"shape": [3]}
REFUSED: dict[str, tuple[np.ndarray, np.ndarray | None, Given, str]] = {
    "shape": (
        X,
        None,
        {"event": {"shape": [2]}},
        r"the spec's event is \[2\]: write event: {shape: \[3\]}",
    ),
    "integers without levels": (
        X.astype(int),
        None,
        {"event": EVENT},
        "are int64, up to 0; .* set event.levels",
    ),
    "floats with levels": (X, None, {"event": {"shape": [3], "levels": 2}}, "are float64; .* needs integers"),
    "too large": (
        np.full((20, 3), 17),
        None,
        {"event": {"shape": [3], "levels": 17}},
        "from 17 to 17; .* levels: 17 allows 0 to 16; write levels: 18",
    ),
    "negative": (
        np.full((20, 3), -1),
        None,
        {"event": {"shape": [3], "levels": 17}},
        "from -1 to -1; .* 0 to 16",
    ),
    "NaN": (
        np.where(np.arange(20)[:, None] == 17, np.nan, X),
        None,
        {"event": EVENT},
        r"part: row 17 \(counted from 0\) holds NaN or infinity in float32: leave such rows out",
    ),
    "infinity in a context": (
        X,
        np.where(np.arange(20)[:, None] == 17, np.inf, X),
        {"event": EVENT, "context": {"shape": [3]}},
        r"part: the context of row 17 \(counted from 0\) holds NaN or infinity",
    ),
    "outside of the domain": (
        np.stack([np.linspace(0.1, 0.9, 20), np.full(20, -3.0), np.arange(20.0)], 1),
        None,
        {"event": {"shape": [3], "domain": [[0, 1], "real", [None, 19]]}, "flow": [{"use": "map/to_reals"}]},
        r"row 19 \(counted from 0\) has 19.0 as value 2; event.domain allows \(\(0, 1\), the reals, \(-∞, 19\)\)",
    ),
    "outside of the domain in float32": (
        np.full((20, 3), 2 - 1e-8),
        None,
        {"event": {"shape": [3], "domain": [0, 2]}, "flow": [{"use": "map/to_reals"}]},
        r"has 1.99999999 as value 0, which is 2.0 in float32; event.domain allows \(0, 2\)",
    ),
    "no context": (
        X,
        None,
        {"event": EVENT, "context": {"classes": 2}},
        "no context; .* Leave out the section context",
    ),
    "label range": (
        X,
        np.full(20, 2),
        {"event": EVENT, "context": {"classes": 2}},
        "are int64 from 2 to 2; .* labels 0 to 1",
    ),
    "labels of more classes": (
        X,
        np.arange(20) % 5,
        {"event": EVENT, "context": {"classes": 2}},
        "from 0 to 4; .* labels 0 to 1: write context: {classes: 5}",
    ),
    "a context of another shape": (
        X,
        np.zeros((20, 5)),
        {"event": EVENT, "context": {"shape": [4]}},
        r"arrays of shape \[4\], one for each: write context: {shape: \[5\]}",
    ),
    "label type": (
        X,
        np.zeros(20),
        {"event": EVENT, "context": {"classes": 2}},
        "are float64 .* labels 0 to 1",
    ),
    "labels for arrays": (
        X,
        np.zeros(20),
        {"event": EVENT, "context": {"shape": [4]}},
        r"have shape \[16\] for 16 events; .* arrays of shape \[4\]",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_says_what_came_and_what_was_expected(tmp_path: Path, case: str) -> None:
    x, contexts, sections, message = REFUSED[case]
    with pytest.raises(DataError, match=message) as caught:
        load_data(spec_of(tmp_path, x, contexts, **sections))
    assert str(caught.value).startswith("data/npy, ")


def test_a_spec_without_data_says_what_to_add() -> None:
    spec = read_spec({"flowkit": 1, "event": {"shape": [3]}, "flow": [{"use": "glow/actnorm"}]})
    with pytest.raises(DataError, match="add a section like `data:"):
        load_data(spec)
