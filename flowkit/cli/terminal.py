"""What others wrote, names of files among it, made safe to print on a terminal."""

from __future__ import annotations

import warnings

from flowkit.errors import DriftWarning, VersionWarning
from flowkit_runtime.cli.terminal import echo as echo
from flowkit_runtime.cli.terminal import printable as printable


def show_warnings_plainly() -> None:
    """flowkit's own warnings as one line, without the place in the code."""
    default = warnings.formatwarning

    def formatted(message: Warning | str, category: type[Warning], *place: object, **line: object) -> str:
        if issubclass(category, VersionWarning | DriftWarning):
            return f"warning: {printable(str(message))}\n"
        return default(message, category, *place, **line)  # type: ignore[arg-type]

    warnings.formatwarning = formatted
