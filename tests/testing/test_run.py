"""A check that can't be finished is a finding, not the end of the others."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from flowkit.bijectors import Bijector
from flowkit.errors import InputError
from flowkit.testing import BijectorSubject, check, parametrize_with_checks, run, run_check
from flowkit_glow.actnorm import ActNorm


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


class Sleeps(ActNorm):
    """Takes its time, until it has caught what is raised meanwhile."""

    caught = False

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        try:
            time.sleep(0 if self.caught else 5)
        except BaseException:
            self.caught = True
        return super().forward_and_log_det(x, context)


def test_what_catches_the_interruption_has_failed_too() -> None:
    result = run_check(BijectorSubject(lambda: Sleeps((2,))), "shapes", timeout=0.1)
    assert result.outcome == "failed" and result.reason.startswith("stopped after 0.1 s (") and result.seconds < 10
    assert "test_run.py" in result.reason and "in forward_and_log_det" in result.reason


class TrainsOnTheCPUAlone(ActNorm):
    """Its backward pass fails, as cuDNN's may where the forward pass works."""

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, log_det = super().forward_and_log_det(x, context)
        if y.requires_grad:
            y.register_hook(self.refuse)
        return y, log_det

    def refuse(self, gradient: Tensor) -> None:
        raise RuntimeError("cudnn RNN backward can only be called in training mode")


def test_a_gpu_is_trained_on_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU is played by the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for cls in (Tensor, torch.nn.Module):
        monkeypatch.setattr(cls, "cuda", lambda self: self)
    assert run_check(BijectorSubject(lambda: ActNorm((2,))), "device").outcome == "passed"
    result = run_check(BijectorSubject(lambda: TrainsOnTheCPUAlone((2,))), "device")
    assert result.outcome == "failed" and "cudnn RNN backward" in result.reason


def test_a_time_limit_leaves_no_timer_behind() -> None:
    before = signal.getsignal(signal.SIGALRM)
    assert run_check(BijectorSubject(lambda: ActNorm((2,))), "shapes", timeout=60).outcome == "passed"
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0) and signal.getsignal(signal.SIGALRM) is before


def test_no_time_limit_outside_of_the_main_thread() -> None:
    raised: list[BaseException] = []

    def body() -> None:
        try:
            run_check(BijectorSubject(lambda: ActNorm((2,))), "shapes", timeout=60)
        except InputError as error:
            raised.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert "main thread" in str(raised[0])


def test_checks_are_chosen_by_their_ids() -> None:
    subject = BijectorSubject(lambda: ActNorm((2,)))
    assert [each.check for each in run(subject, only=("log_det", "shapes"))] == ["shapes", "log_det"]
    check(BijectorSubject(lambda: Leaves((2,))), only=("context", "merge"))  # neither has anything to check there
    _, parameters = parametrize_with_checks({"it": subject}, only=("far", "memory"), skip=("memory",)).args
    assert [each.id for each in parameters] == ["it-far"]


def test_a_check_that_does_not_apply_is_skipped_though_it_is_expected_to_fail() -> None:
    subject = BijectorSubject(lambda: ActNorm((2,)), expected_failures={"context": "reads none yet", "shapes": "no"})
    assert [each.outcome for each in run(subject, only=("context", "shapes"))] == ["unexpected pass", "skipped"]
    assert not run_check(subject, "context").is_error


@pytest.mark.parametrize(
    "use",
    [
        lambda subject: list(run(subject, only=("log_dt",))),
        lambda subject: check(subject, skip=("log_dt",)),
        lambda subject: parametrize_with_checks({"it": subject}, only=("log_dt",)),
    ],
)
def test_an_unknown_id(use: Callable[[BijectorSubject], object]) -> None:
    with pytest.raises(InputError, match="no check is called log_dt: did you mean log_det"):
        use(BijectorSubject(lambda: ActNorm((2,))))
