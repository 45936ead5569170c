"""Defines the exceptions that this package raises on purpose."""

from collections.abc import Sequence

MAX_QUOTED = 500
"""The most characters of foreign text, such as a caller's value or a file's content, in a message."""


class FlowRuntimeError(Exception):
    """The base class of every error raised by flowkit_runtime."""


class BundleError(FlowRuntimeError):
    """The bundle is missing, damaged or unsupported, or it cannot do what was asked of it."""


class InputError(FlowRuntimeError):
    """An argument has the wrong type, shape, range or value."""


class RowError(InputError):
    """A row can't be used. Code that read the row from a file turns this into an InputError that names the file."""


class VerificationError(BundleError):
    """The graphs deviate from the model that they were made from."""


def quoted(value: object) -> str:
    """Return the shortened repr of a caller's value, or the name of its type if it has no repr."""
    try:
        return shortened(repr(value))
    except Exception:  # the value's own code may raise anything
        return f"a value of type {type(value).__name__}"


def shortened(value: object) -> str:
    """Return text from an untrusted file, shortened to MAX_QUOTED characters."""
    try:
        text = str(value)
    except ValueError:
        text = "a number of more digits than Python writes"
    return text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]} …"


def few(texts: Sequence[str], most: int) -> str:
    """Return the first texts of a list for a message, and the number of the others: `a, b and 1,024 more`."""
    return ", ".join(texts[:most]) + (f" and {len(texts) - most:,} more" if len(texts) > most else "")


def expect(is_right: bool, field: str, value: object, wanted: str) -> None:
    """Raise TypeError, which says what is wanted, unless the value of a field in an untrusted file is right."""
    if not is_right:
        raise TypeError(f"{field} is {shortened(repr(value))}, not {wanted}")
