"""A check that can't be finished is a finding, not the end of the others."""

from __future__ import annotations

import pytest
from torch import Tensor

from flowkit.bijectors import Bijector
from flowkit.testing import BijectorSubject, run_check


class Leaves(Bijector):
    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise SystemExit(3)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise KeyboardInterrupt


def test_a_plugin_that_leaves_has_failed() -> None:
    result = run_check(BijectorSubject(lambda: Leaves((2,))), "round_trip")
    assert result.outcome == "failed" and result.reason.startswith("SystemExit: 3 (") and "in forward_" in result.reason


def test_a_user_may_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Leaves, "forward_and_log_det", Leaves.inverse_and_log_det)
    with pytest.raises(KeyboardInterrupt):
        run_check(BijectorSubject(lambda: Leaves((2,))), "round_trip")
