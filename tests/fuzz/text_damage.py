"""Damage to the text of a spec, and to the bytes of its file."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from tests.fuzz.pieces import BOMBS, CHARACTERS, FRAMES, MANY, SCALARS, SIZES, STRUCTURES, Draw, Mutation, place

LONGEST = 200_000
"""Characters, of what is repeated: more than a spec may have."""


def _delete(draw: Draw, text: str) -> str:
    start = place(draw, text)
    return text[:start] + text[start + draw(st.integers(1, 40)) :]


def _insert(draw: Draw, text: str) -> str:
    at = place(draw, text)
    return text[:at] + draw(st.sampled_from([*CHARACTERS, *SCALARS, *STRUCTURES, *BOMBS])) + text[at:]


def _insert_many(draw: Draw, text: str) -> str:
    at, piece = place(draw, text), draw(st.sampled_from(MANY))
    return text[:at] + piece * draw(SIZES) + text[at:]


def _replace_token(draw: Draw, text: str) -> str:
    """What stands between two separators."""
    start = place(draw, text)
    ends = [found for found in (text.find(end, start) for end in (" ", ",", "\n", "}", "]")) if found >= 0]
    return text[:start] + draw(st.sampled_from([*SCALARS, *STRUCTURES])) + text[min(ends, default=len(text)) :]


def _many_keys(draw: Draw, text: str) -> str:
    """Keys that differ, at some place where a mapping or a list begins."""
    n = draw(SIZES) // 4
    places = [at for at, character in enumerate(text) if character in "{["] or [0]
    at = places[draw(st.integers(0, len(places) - 1))] + 1
    entry = draw(st.sampled_from(["k{}: 1, ", "{{use: a/b{}}}, ", "{{repeat: {}}}, ", "{{use: glow/k{}, a: 1}}, "]))
    return text[:at] + "".join(entry.format(number) for number in range(n)) + text[at:]


def _lines(change: Callable[[Draw, list[str]], None]) -> Callable[[Draw, str], str]:
    def mutation(draw: Draw, text: str) -> str:
        lines = text.splitlines(keepends=True) or [""]
        change(draw, lines)
        return "".join(lines)

    return mutation


def _move_line(draw: Draw, lines: list[str]) -> None:
    line = lines.pop(place(draw, lines))
    lines.insert(place(draw, lines), " " * draw(st.integers(0, 4)) + line)


def _double_block(draw: Draw, lines: list[str]) -> None:
    start = place(draw, lines)
    block = lines[start : start + draw(st.integers(1, 8))]
    at = place(draw, lines)
    lines[at:at] = block * min(draw(SIZES), 3000 // len(block), LONGEST // max(1, len("".join(block))))


def _indent(draw: Draw, lines: list[str]) -> None:
    at = place(draw, lines)
    lines[at] = draw(st.sampled_from(["\t", " ", "   ", "\t\t", "\u00a0", "- "])) + lines[at]


def _truncate(draw: Draw, text: str) -> str:
    return text[: place(draw, text)]


def _line_ends(draw: Draw, text: str) -> str:
    return text.replace(
        "\n", draw(st.sampled_from(["\r\n", "\r", "\n\n", " \n", "\u2028", "\u0085", "", "\t\n", "#\n"]))
    )


def _enclose(draw: Draw, text: str) -> str:
    before, after = draw(st.sampled_from(FRAMES))
    return before + text + after


TEXT: list[Mutation] = [
    _delete, _insert, _insert_many, _replace_token, _many_keys, _lines(_move_line), _lines(_double_block),
    _lines(_indent), _truncate, _line_ends, _enclose,
]  # fmt: skip


# Bytes


def _random_bytes(draw: Draw, raw: bytes) -> bytes:
    at = place(draw, raw)
    return raw[:at] + draw(st.binary(min_size=1, max_size=8)) + raw[at + draw(st.integers(0, 8)) :]


def _encode(draw: Draw, raw: bytes) -> bytes:
    text = raw.decode("utf-8", "replace")
    return text.encode(
        draw(st.sampled_from(["utf-16", "utf-16-be", "utf-32", "utf-8-sig", "latin-1", "utf-7"])), "replace"
    )


def _truncate_bytes(draw: Draw, raw: bytes) -> bytes:
    return raw[: place(draw, raw)]


def _noise(draw: Draw, raw: bytes) -> bytes:
    return draw(st.binary(max_size=300))


def _unchanged(draw: Draw, raw: bytes) -> bytes:
    return raw


def _pad(draw: Draw, raw: bytes) -> bytes:
    return raw + draw(st.sampled_from([b" ", b"\n", b"\0", b"\xff", b"#", "é".encode()])) * draw(SIZES)


BYTES: list[Mutation] = [
    _random_bytes,
    _encode,
    _truncate_bytes,
    _noise,
    _unchanged,
    _unchanged,
    _pad,
]
