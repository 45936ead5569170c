"""Defines every error that flowkit raises on purpose, in one hierarchy.

Each message says what is wrong, where, and what to do instead. The command line prints it without a traceback and exits
with the error's ``exit_code``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Path = tuple[str | int, ...]

MAX_SHOWN = 160
"""The most characters of a source line that a message shows."""


class FlowkitError(Exception):
    """The base class of all flowkit errors. Catch it to catch any of them."""

    exit_code = 2


class ShapeError(FlowkitError, ValueError):
    """A layer can't take the event shape of its input."""


class PluginError(FlowkitError):
    """A plugin is broken, collides with another, or doesn't do what its descriptor says."""


class DataError(FlowkitError):
    """A dataset can't be read, or doesn't fit the flow's event."""


class InputError(FlowkitError, ValueError):
    """A tensor or argument handed to a flow has the wrong shape, type or range."""


class DirectionError(FlowkitError, NotImplementedError):
    """A layer has only one direction, and the other one is needed."""


class RunError(FlowkitError):
    """The directory of a run or a bundle can't be used, for example because it is missing, unfinished or occupied."""


class TrainingError(FlowkitError):
    """Training can't go on, for example because the loss is no longer finite."""

    exit_code = 1


class ExportError(FlowkitError):
    """A flow can't be written as an ONNX graph."""

    exit_code = 1


class FlowkitWarning(UserWarning):
    """The base class of all warnings of flowkit. The command line prints them as one line."""


class VersionWarning(FlowkitWarning):
    """The version of a plugin with which a run was made isn't the installed one."""


class InstallationWarning(FlowkitWarning):
    """Two installed distributions contain the same files, or the fields of an installed plugin have no JSON Schema."""


class DataWarning(FlowkitWarning):
    """Data may not be what was meant, or needs preparation."""


class InterruptedWarning(FlowkitWarning):
    """A training in Python was interrupted, and the result has the best weights so far."""


class ScheduleWarning(FlowkitWarning):
    """The learning rate never reaches its peak, because the warm-up is longer than the training."""


class LoggerWarning(FlowkitWarning):
    """The experiment tracker fails while a run is trained. The run goes on, and its metrics.csv has all metrics."""


class PictureWarning(FlowkitWarning):
    """A picture of a run can't be drawn. The run is finished without it."""


class DriftWarning(FlowkitWarning):
    """The reconstruction error under ``memory: reversible`` is so large that the gradients can't be trusted."""


@dataclass(frozen=True)
class Problem:
    """One problem in a spec. Its text has the place, the message, the line with a caret, and the suggestion.

    Attributes:
        path: The keys that lead to the value.
        message: The mistake.
        suggestion: The advice, if there is one.
        file: The name of the file.
        line: The line, counted from 1. None for data that comes from Python.
        column: The column, counted from 1.
        source: The text of the line.
    """

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
    """Return the source line, and a caret below the 0-based column.

    A long line, as in minified JSON, is cut to the text around the column.
    """
    start = max(0, column - MAX_SHOWN // 2) if len(source) > MAX_SHOWN else 0
    before, after = "…" * (start > 0), "…" * (len(source) > start + MAX_SHOWN)
    return [
        f"    {before}{source[start : start + MAX_SHOWN]}{after}",
        f"    {' ' * (len(before) + column - start)}^",
    ]


@dataclass(eq=False)
class SpecError(FlowkitError):
    """A spec is not valid.

    Attributes:
        problems: The problems, in the order of the text.
        more: The number of problems that are not listed.
    """

    problems: list[Problem] = field(default_factory=list)
    more: int = 0

    def __str__(self) -> str:
        rest = [f"… and {self.more:,} more problem{'s' * (self.more != 1)}"] if self.more else []
        return "\n".join([*map(str, self.problems), *rest])


def format_path(path: Path) -> str:
    """Return a path of keys as text.

    Args:
        path: The keys: names, and indices of lists.

    Examples:
        >>> from flowkit.errors import format_path
        >>> format_path(("flow", 0, "use"))
        'flow[0].use'
    """
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")
