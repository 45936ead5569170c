"""Damage to a spec as data: keys, types, sizes, nesting; things that no text can hold; overrides."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.pieces import OBJECTS, SCALARS, SIZES, STRUCTURES, Draw, Mutation, place, several
from tests.fuzz.text_damage import TEXT


def _places(data: Any) -> list[tuple[Any, Any]]:
    """(mapping or list, key or index) of everything that a spec holds."""
    found, todo = [], [data]
    while todo and len(found) < 5_000:
        holder = todo.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else []
        found += [(holder, key) for key in keys]
        todo += [holder[key] for key in keys]
    return found


def _anywhere(change: Callable[[Draw, Any, Any], None]) -> Callable[[Draw, Any], Any]:
    """A mutation of one entry, wherever it is."""

    def mutation(draw: Draw, data: Any) -> Any:
        if places := _places(data):
            change(draw, *places[place(draw, places)])
        return data

    return mutation


def _delete_entry(draw: Draw, holder: Any, key: Any) -> None:
    del holder[key]


def _swap_type(draw: Draw, holder: Any, key: Any) -> None:
    values = [
        None,
        True,
        0,
        -1,
        1.5,
        1e300,
        10**60,
        "",
        "x",
        [],
        {},
        [[]],
        {"use": "glow/actnorm"},
        {"use": 3},
        {"x": []},
    ]
    swapped = [[holder[key]], {"a": holder[key]}, str(holder[key])]
    holder[key] = draw(st.sampled_from([*values, *swapped]))


def _rename(draw: Draw, holder: Any, key: Any) -> None:
    if isinstance(key, str):
        names = [
            f"{key}s",
            key[:-1],
            key.upper(),
            f"{key}\u200b",
            "",
            "<<",
            "use",
            "flow",
            "1",
            f" {key}",
            "é" * 50,
            ".",
        ]
        holder[draw(st.sampled_from(names))] = holder.pop(key)


def _repeat_entry(draw: Draw, holder: Any, key: Any) -> None:
    if isinstance(holder, list):
        holder.extend([holder[key]] * min(draw(SIZES), 500))


def _add_keys(draw: Draw, holder: Any, key: Any) -> None:
    if isinstance(holder, dict):
        holder.update({f"{key}{number}": number for number in range(min(draw(SIZES), 3000))})


def _nest(draw: Draw, holder: Any, key: Any) -> None:
    for _ in range(draw(st.sampled_from([1, 5, 55, 70, 100]))):
        holder[key] = draw(st.just([holder[key]])) if isinstance(holder, list) else {"repeat": 2, "flow": [holder[key]]}


def _nest_flow(draw: Draw, data: Any) -> Any:
    """Repeats in repeats."""
    for _ in range(draw(st.sampled_from([1, 3, 10, 20, 35]))):
        data["flow"] = [{"repeat": draw(st.sampled_from([1, 2, 10, 10**9])), "flow": data.get("flow")}]
    return data


def _swap_entries(draw: Draw, data: Any) -> Any:
    if places := _places(data):
        (one, key), (other, index) = (places[place(draw, places)] for _ in range(2))
        one[key] = copy.deepcopy(other[index])
    return data


DATA: list[Mutation] = [
    *map(_anywhere, [_delete_entry, _delete_entry, _swap_type, _swap_type, _rename, _repeat_entry, _add_keys, _nest]),
    _nest_flow, _swap_entries,
]  # fmt: skip


# Data that no text can hold


def _swap_object(draw: Draw, holder: Any, key: Any) -> None:
    holder[key] = draw(st.sampled_from(OBJECTS))


def _key_object(draw: Draw, holder: Any, key: Any) -> None:
    if isinstance(holder, dict):
        holder[draw(st.sampled_from([1, None, 1.5, (1,), b"x", True, "\0", "\ud800", "x" * 5000]))] = holder[key]


def _cycle(draw: Draw, holder: Any, key: Any) -> None:
    holder[key] = holder


PYTHON = [*map(_anywhere, [_swap_object, _swap_object, _swap_object, _key_object, _cycle])]


# Overrides


@st.composite
def overrides(draw: Draw, data: Any) -> str:
    path = _path(draw, data)
    value = draw(st.sampled_from([*SCALARS, *STRUCTURES, "[" * 70, "{a: " * 70, "glow/actnorm", "3", "[2]", "\n", ""]))
    text = f"{path}={value}"
    return several(draw, TEXT, text) if draw(st.integers(0, 3)) == 0 else text


def _path(draw: Draw, data: Any) -> str:
    """A path into the spec, or beside it."""
    parts = ""
    while isinstance(data, dict | list) and data and draw(st.integers(0, 4)):
        key = list(data)[place(draw, data)] if isinstance(data, dict) else place(draw, data)
        parts, data = parts + (f"[{key}]" if isinstance(key, int) else f".{key}"), data[key]
    more = draw(
        st.sampled_from(["", "", "", ".x", "[0]", "[999999999]", "[-1]", ".train", ".x.y.z" * 30, "..", "é", "[x]"])
    )
    return (parts + more).removeprefix(".")
