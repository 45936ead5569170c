"""Specs with a mistake, and what is said about it.

A block is part of a spec, with ¦ before the mistake, then ``=> path: words of the message``, and perhaps ``=> words of
the suggestion``.
"""

from __future__ import annotations

import pytest

from flowkit.errors import SpecError, format_path
from flowkit.plugin import Registry
from flowkit.spec import read_spec


def complete(part: str, step: str = "toy/scale") -> str:
    """A spec with this part in it; what it needs besides stands in front."""
    rest = {
        "flowkit:": "flowkit: 1",
        "event:": "event: {shape: [2, 4, 4]}",
        "flow:": f"flow: [{{use: {step}}}]",
    }
    return "".join(f"{line}\n" for key, line in rest.items() if key not in part.replace("¦", "")) + part


def check(block: str, registry: Registry, step: str = "toy/scale") -> None:
    """One problem, at its place, in these words."""
    part, expected, *hint = block.split("\n=> ")
    before, _, after = complete(part, step).partition("¦")
    with pytest.raises(SpecError) as caught:
        read_spec(before + after + "\n", registry=registry)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1)
    assert problem.source == (before + after).splitlines()[before.count("\n")].replace("\t", " ")
    path, _, words = expected.partition(": ")
    assert format_path(problem.path) == path
    assert words in problem.message
    assert not hint or hint[0] in (problem.suggestion or "")
