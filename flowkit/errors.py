"""Every error that flowkit raises on purpose, in one hierarchy.

Each message says what is wrong, where, and what to do instead. The command line prints it without a traceback
and leaves with the error's ``exit_code``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Path = tuple[str | int, ...]

MAX_SHOWN = 160
"""The most characters of a line that a problem shows."""


class FlowkitError(Exception):
    """The root: catch this one to catch them all."""

    exit_code = 2


class ShapeError(FlowkitError, ValueError):
    """A layer can't take the event shape that reaches it."""


class PluginError(FlowkitError):
    """A plugin is broken, collides with another, or doesn't do what its descriptor says."""


class DataError(FlowkitError):
    """A dataset can't be read, or doesn't fit the flow's event."""


class InputError(FlowkitError, ValueError):
    """A tensor or argument handed to a flow has the wrong shape, type or range."""


class RunError(FlowkitError):
    """A directory of a run, or for a bundle, is missing, unfinished, in the way, or not one at all."""


class TrainingError(FlowkitError):
    """Training can't go on, for example because the loss is no longer finite."""

    exit_code = 1


class ExportError(FlowkitError):
    """A flow can't be written as an ONNX graph."""

    exit_code = 1


class VersionWarning(UserWarning):
    """A run was made with another version of a plugin than the one installed here."""


class InstallationWarning(UserWarning):
    """Two installed distributions bring the same files, so that one has overwritten those of the other."""


class DriftWarning(UserWarning):
    """Under ``memory: reversible`` inputs don't come back well enough for their gradients to be trusted."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a spec, and where: the path of keys, the position (1-based), the line's text."""

    path: Path
    message: str
    suggestion: str | None = None
    file: str = "<spec>"
    line: int | None = None
    column: int | None = None
    source: str | None = None

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        lines = [": ".join(part for part in (where, format_path(self.path), self.message) if part)]
        if self.source is not None and self.column is not None:
            lines += _point(self.source, self.column - 1)
        if self.suggestion:
            lines.append(f"    {self.suggestion}")
        return "\n".join(lines)


def _point(source: str, column: int) -> list[str]:
    """The line and a caret below the 0-based column. Of a long line, as minified JSON is, what is around it."""
    start = max(0, column - MAX_SHOWN // 2) if len(source) > MAX_SHOWN else 0
    before, after = "…" * (start > 0), "…" * (len(source) > start + MAX_SHOWN)
    return [
        f"    {before}{source[start : start + MAX_SHOWN]}{after}",
        f"    {' ' * (len(before) + column - start)}^",
    ]


@dataclass(eq=False)
class SpecError(FlowkitError):
    """A spec is not valid. ``problems`` holds what was found, in the order of the text; ``more`` counts the rest."""

    problems: list[Problem] = field(default_factory=list)
    more: int = 0

    def __str__(self) -> str:
        rest = [f"… and {self.more:,} more problem{'s' * (self.more != 1)}"] if self.more else []
        return "\n".join([*map(str, self.problems), *rest])


def format_path(path: Path) -> str:
    """``("flow", 0, "use")`` -> ``flow[0].use``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")
