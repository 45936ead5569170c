"""What damage is made with: values, structures and characters that have no place in a spec, or only in some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Draw = Any
Mutation = Callable[[Draw, Any], Any]

SIZES = st.sampled_from([1, 2, 10, 70, 1_000, 20_000])
"""How often something is repeated: a few times, deeper than may be nested, as long as may be."""

NUMBERS = [
    "0", "-1", "1.5", "1e999", "-1e-999", "9" * 90, "9" * 5000, "0x" + "f" * 90, "0o7", ".nan", "-.inf", "1_000", "1e3",
    "2147483648", "9223372036854775808", "1" + "0" * 99, "+1", "0.1e-5000",
]  # fmt: skip
SCALARS = [
    *NUMBERS, "null", "~", "true", "yes", "''", '""', "2024-01-31", "x", "glow/actnorm", "glow/affine", "no/such",
    "/", "glow/", "/x", "a.b:c", "os.system", "../../etc/passwd", "|\n x", ">", "'", '"', "% x", "@", "`", "x" * 3000,
    r"'\ud800'", r'"\ud800"', r'"\uDBFF\uDFFF"', r'"\x00"', r'"\UFFFFFFFF"', "\u2028", "\u202e", "𝛼", "é", "ﬀ",
]  # fmt: skip
STRUCTURES = [
    "[]", "{}", "[[[]]]", "- - -", "{a: 1}", "{use: {}}", "{use: glow/squeeze, factor: 2}", "{use: data/digits}",
    "{repeat: 3, flow: [{use: glow/actnorm}]}", "{repeat: 999999999, flow: [{use: glow/actnorm}]}", "[1, 2, 3]",
    "!!python/object/apply:os.system [x]", "!x 1", "&a 1", "*a", "<<: {a: 1}", "{<<: *a}", "? x", "{? [a]: b}",
    "[a: b]",
]  # fmt: skip
CHARACTERS = [*"\t\0\x1b\x7f:-[]{},&*!|>'\"%@`#? \n\r\\\u0085\ufeff\u202e\u200b\ud800\U0010ffff"]
MANY = [
    "[", "{a: ", "- ", "{", "&a ", "!a ", "x", "1", " ", "\n", "# x\n", "{use: a/b}, ", "1, ", "- 1\n", "k: 1\n", "'",
    "a: ", "? ", "\t", "\r", "\u0085", "\\x", "é", "*a, ", "[]: ", "{}, ",
]  # fmt: skip
"""Pieces to repeat."""
OBJECTS = [
    b"x", 1j, {1, 2}, object(), float("nan"), float("inf"), 10**5000, -1, (1, 2), {1: 2}, {None: None}, "\ud800", "\0",
    True, None, [], {}, "glow/actnorm", frozenset(), range(3), int, "x" * 300_000, [0] * 50_000, 2**63,
]  # fmt: skip
BOMBS = [
    "a: &a [x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\n",
    "base: &base {use: glow/actnorm}\nflow: [{<<: *base}]\n",
    "&a a: *a\n",
    "--- !!python/name:os.system\n",
    "%YAML 1.1\n---\n",
    "%TAG ! tag:example.com,2000:\n---\n",
    "---\n---\n",
    "...\n",
    "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9 if n else ['lol'])}]\n" for n in range(9)),
]
FRAMES = [
    ("\ufeff", ""), ("\ufeff\ufeff", ""), ("{", "}"), ("[", "]"), ("x: ", ""), ("---\n", "\n..."), ("", "\n---\n"),
    ("", "\n...\nx"), ("# ", ""), ("\n\n\n", "\n\n\n"), ("'", "'"), ("|\n ", ""), ("/*", "*/"), ("", ","),
    *((bomb, "") for bomb in BOMBS), *(("", bomb) for bomb in BOMBS),
]  # fmt: skip
"""What stands before and after a whole text."""


def several(draw: Draw, mutations: list[Mutation], value: Any) -> Any:
    """One to three of the mutations, one after another."""
    for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
        value = draw(st.sampled_from(mutations))(draw, value)
    return value


def place(draw: Draw, sized: Any) -> int:
    """An index; 0 if there is none."""
    return draw(st.integers(0, max(0, len(sized) - 1)))
