"""The conformance kit: what a plugin author runs on a bijector or transformer of their own.

from flowkit.testing import check_bijector, check_transformer

def test_my_layer():
    check_bijector(lambda: MyLayer((4, 6, 6)))
    check_transformer(lambda: MyTransformer())
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

from flowkit.flow import Bijector, Transformer
from flowkit.plugin import Shape
from flowkit.testing.checks import CHECKS
from flowkit.testing.subject import Elementwise, Subject, perturb

__all__ = ["CHECKS", "Elementwise", "Subject", "check_bijector", "check_transformer", "perturb"]


def check_bijector(make: Callable[[], Bijector], context_shape: Shape | None = None, seed: int = 0) -> None:
    """Run every check on what ``make`` builds. Raises AssertionError listing all that fail, each with its reason.

    Keep the event small, at most some 60 values: the Jacobian is computed in full.
    """
    failures = []
    for name, check in CHECKS.items():
        try:
            check(Subject(make, context_shape, seed))
        except Exception as error:  # whatever a layer raises is a finding, and must not hide the others
            failures.append(f"{name}: {error if isinstance(error, AssertionError) else _located(error)}")
    assert not failures, "\n".join(failures)


def check_transformer(make: Callable[[], Transformer], event_shape: Shape = (2, 3, 2), seed: int = 0) -> None:
    """The same for a transformer, with free parameters of its own for each element."""
    check_bijector(lambda: Elementwise(make(), event_shape), seed=seed)


def _located(error: Exception) -> str:
    """The error, and the innermost line of code that it came from."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({frame.filename}:{frame.lineno}, in {frame.name})"
