"""Paths that callers pass in."""

import errno
import os
from pathlib import Path
from typing import Any

from flowkit_runtime.errors import InputError, quoted


def as_path(name: str, value: Any) -> Path:
    """`value` as a path that the system can look up, whether or not something is there.

    Raises:
        InputError: it is no path, or one that no system call takes: too long, or with a NUL character.
    """
    try:
        path = Path(value)
        os.stat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"{name} is longer than a path can be: {quoted(value)}") from None
    except Exception as error:  # also whatever the value's own code raises
        raise InputError(f"{name} must be a path, got {quoted(value)} ({error})") from error
    return path
