"""The exceptions this package raises on purpose."""

MAX_QUOTED = 500
"""The most characters of somebody else's text in a message."""


class FlowRuntimeError(Exception):
    """Base of every error raised by flowkit_runtime."""


class BundleError(FlowRuntimeError):
    """The bundle is missing, damaged or unsupported, or it cannot do what was asked of it."""


class InputError(FlowRuntimeError):
    """An argument has the wrong type, shape, range or value."""


class RowError(InputError):
    """A row can't be used; who read it from a file says from which."""


class VerificationError(BundleError):
    """The graphs deviate from the model that they were made from."""


def quoted(value: object) -> str:
    """The shortened repr of a caller's value; where it has none, the name of its type."""
    try:
        return shortened(repr(value))
    except Exception:  # whatever the value's own code raises
        return f"a value of type {type(value).__name__}"


def shortened(value: object) -> str:
    """The text of what a stranger's file says, as much of it as a message has room for."""
    try:
        text = str(value)
    except ValueError:
        text = "a number of more digits than Python writes"
    return text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]} …"
