"""The dearest texts that may be read, each within the limits."""

from __future__ import annotations

import pytest

from flowkit.errors import SpecError
from flowkit.plugin import Registry
from flowkit.spec import read_spec
from flowkit.spec.text import MAX_BYTES
from tests.fuzz.costly import COSTLY
from tests.fuzz.costs import Costs

SOON = {
    *("unknown plugins", "pairs of a wrong type", "steps of nothing", "the most layers"),
    *("a long list where two belong", "empty lines", "braces", "keys that stand twice"),
}
"""Those that the fast suite tries."""


@pytest.mark.parametrize(
    "text",
    [pytest.param(text, id=name, marks=[] if name in SOON else [pytest.mark.slow]) for name, text in COSTLY.items()],
)
def test_costs_little(text: str, registry: Registry) -> None:
    text = f"{text}\n"  # of one line it would be the name of a file
    assert len(text.encode()) <= MAX_BYTES
    registry.load_all()  # importing the plugins is no part of it
    with Costs().measured():
        try:
            read_spec(text, registry=registry)
        except SpecError as error:
            assert 0 < len(str(error)) < 100_000
