"""Damaged specs: each is accepted, or refused with located errors; never another exception, never at great cost."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from flowkit.errors import Problem, SpecError
from flowkit.plugin import Registry
from flowkit.spec import read_spec, walk
from tests.extent import extent
from tests.fuzz.costs import Costs
from tests.fuzz.mutated import Case, cases
from tests.fuzz.running import fuzz
from tests.fuzz.valid import specs

SPECS = [path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parents[2].glob("specs/*.yaml"))]
EXAMPLES = extent(15, 20_000)
ENOUGH = 300
"""Examples among which some must be accepted: one in twenty is."""
UNREADABLE = re.compile(r"can't be read|is longer than|there is no such file|is a directory|this is .*, not a spec$")
"""Problems with a whole file, at no line of it."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "spec.yaml"


def test_damaged_specs(registry: Registry, file: Path) -> None:
    costs, outcomes = Costs(), Counter[str]()

    def holds(case: Case) -> None:
        outcomes[check(case, registry, file, costs)] += 1

    fuzz(cases(specs(registry), SPECS), holds, EXAMPLES)
    print(f"{sum(outcomes.values())} specs, {dict(outcomes)}, 0 failures")
    print(f"at worst {costs.seconds:.2f} s, and {costs.megabytes:.0f} MB above the start")
    assert outcomes["refused"] > outcomes["accepted"]
    assert outcomes["accepted"] or EXAMPLES < ENOUGH


def check(case: Case, registry: Registry, file: Path, costs: Costs) -> str:
    """What became of it. Raises AssertionError, or what should not have been raised."""
    source = case.source
    if isinstance(source, bytes):
        file.write_bytes(source)
        source = file
    try:
        with costs.measured():
            try:
                spec = read_spec(source, case.overrides, registry)
                assert walk(spec)
            except SpecError as error:
                assert str(error)
                raise
    except SpecError as error:
        assert error.problems
        for problem in error.problems:
            check_problem(problem, source)
        return "refused"
    return "accepted"


def check_problem(problem: Problem, source: object) -> None:
    """It says what is wrong, and where, unless there is no text to point into."""
    assert problem.message
    assert str(problem).encode("utf-8", "backslashreplace")
    if UNREADABLE.match(problem.message) or (problem.line is None and isinstance(source, dict)):
        return
    assert problem.line is not None and problem.line >= 1, problem
    assert problem.column is not None and problem.column >= 1, problem
    if problem.source is not None:
        assert problem.column <= len(problem.source) + 1, problem
