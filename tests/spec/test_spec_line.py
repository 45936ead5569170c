from __future__ import annotations

import pytest

from flowkit.plugin.spelling import line
from flowkit.spec.text import parse

HIDDEN = ["\x00", "\x1b", "\x7f", "\x85", "\xa0", "\u200b", "\u2028", "\u202e", "\ufeff", "\uffff", "\U000e0001"]


@pytest.mark.parametrize("hidden", HIDDEN, ids=map(ascii, HIDDEN))
def test_what_can_not_be_seen_is_written_as_an_escape(hidden: str) -> None:
    text = line({"path": f"a{hidden}b"})
    assert text.isprintable() and hidden not in text
    assert parse(text, "f").data == {"path": f"a{hidden}b"}


def test_what_can_be_seen_stays() -> None:
    assert line(["é", "日本", "a b", "😀", "null", "1"]) == '[é, 日本, "a b", "😀", "null", "1"]'
