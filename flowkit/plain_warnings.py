"""Shows flowkit's own warnings as lines, on the command line and in the processes that it starts."""

from __future__ import annotations

import warnings

from flowkit.errors import FlowkitWarning
from flowkit_runtime.cli.terminal import printable


def show_warnings_plainly() -> None:
    """Show flowkit's own warnings as one line, without the place in the code."""
    default = warnings.formatwarning

    def formatted(message: Warning | str, category: type[Warning], *place: object, **line: object) -> str:
        if issubclass(category, FlowkitWarning):
            return f"warning: {printable(str(message))}\n"
        return default(message, category, *place, **line)  # type: ignore[arg-type]

    warnings.formatwarning = formatted
