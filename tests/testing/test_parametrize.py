"""One test for each pair of a subject and a check that has something to check there."""

from __future__ import annotations

import pytest

from flowkit.bijectors import StandardNormal
from flowkit.domains import Interval
from flowkit.testing import CHECKS, BaseSubject, BijectorSubject, Subject, parametrize_with_checks
from flowkit_base.uniform import Uniform
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.squeeze import Squeeze


def fail() -> ActNorm:
    raise ZeroDivisionError


CASES: dict[str, tuple[Subject, set[str]]] = {
    "channel-linear": (BijectorSubject(lambda: ActNorm((3,))), {"context"}),
    "not channel-linear": (BijectorSubject(lambda: Squeeze((1, 2, 2))), {"context", "merge"}),
    "with a context": (BijectorSubject(lambda: ActNorm((3,)), context_shape=(2,)), set()),
    "a large base": (BaseSubject(lambda: StandardNormal((3,))), {"context", "normalized", "samples", "reparametrized"}),
    "a small base": (BaseSubject(lambda: StandardNormal((2,))), {"context", "samples", "reparametrized"}),
    "a base of uniform noise": (
        BaseSubject(lambda: Uniform((2,), Interval(0, 1))),
        {"context", "samples", "reparametrized"},
    ),
    "what can't be made": (BijectorSubject(fail), {"context"}),
}


@pytest.mark.parametrize(("subject", "left_out"), CASES.values(), ids=CASES)
def test_what_has_nothing_to_check_makes_no_test(subject: Subject, left_out: set[str]) -> None:
    _, parameters = parametrize_with_checks({"it": subject}).args
    assert [each.id for each in parameters] == [
        f"it-{check}" for check in CHECKS[subject.kind] if check not in left_out
    ]


def test_expected_failures_are_strict_and_slow_checks_marked() -> None:
    subject = BijectorSubject(lambda: ActNorm((3,)), expected_failures={"far": "for now"})
    _, parameters = parametrize_with_checks({"it": subject}, slow=pytest.mark.slow).args
    marked = {each.id: [mark.name for mark in each.marks] for each in parameters if each.marks}
    assert marked == {"it-far": ["xfail"], "it-onnx": ["slow"], "it-compile": ["slow"]}
    (far,) = [each.marks[0] for each in parameters if each.id == "it-far"]
    assert far.kwargs == {"reason": "for now", "strict": True}
