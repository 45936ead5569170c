"""Recognizes texts that stand for numbers and times, in formats that are read and in others."""

from __future__ import annotations

import re
from enum import Enum

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_READABLE = re.compile(  # 1,234.50 and 1.234,50 and 1 234,5 and $3 and 3 € and 7% and (5)
    r"\(?[-+−]?\s*[$€£¥]?\s*[-+−]?(\d+|\d{1,3}([,.'’ \u00a0\u202f_]\d{3})+)([.,]\d+)?\s*[$€£¥%‰]?\)?"
)
_TIME = re.compile(  # 31/01/2013 and 1.2.13 and 2013-1-31 and 31 Jan 2013 and January 31, 2013, with or without a time
    r"(\d{1,4}([./-])\d{1,2}\2\d{1,4}|\d{1,2}[ -][^\W\d]{3,9}\.?,?[ -]\d{2,4}|[^\W\d]{3,9}\.? \d{1,2},? \d{4})([T ].*)?"
)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


class Form(Enum):
    """The form of a text."""

    NUMBER = "a number as Python writes it"
    READABLE = "a number as people write it"
    TIME = "a time, in whatever format"
    OTHER = "anything else"


def form_of(text: str) -> Form:
    """Return the form of a text."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return Form.NUMBER
    if _READABLE.fullmatch(text):
        return Form.READABLE
    return Form.TIME if _TIME.fullmatch(text) else Form.OTHER


def has_decimal_comma(text: str) -> bool:
    """Return True for 3,5, and also for 1,000, whose comma may be a decimal one."""
    return _DECIMAL_COMMA.fullmatch(text.strip()) is not None
