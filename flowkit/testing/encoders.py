"""Checks what an encoder must do beside what every module must."""

from __future__ import annotations

from torch import Tensor

from flowkit.testing.couplings import autocast, depends, initialize
from flowkit.testing.effects import initialize_saved
from flowkit.testing.subjects import EncoderSubject

FAR = 1000
"""The distance at which contexts are tried, in standard deviations."""


def summary(subject: EncoderSubject) -> None:
    """Every parameter has a gradient that is not all zero, and the summary depends on the context."""
    depends(subject, "the summary", "the context")


def finite(subject: EncoderSubject) -> None:
    """The summary is finite in fp32 with the weights of a long training, for contexts of ±1 and of ±1000."""
    for encoder in subject.modules():
        for distance in (1, FAR):
            for call in subject.calls(encoder, distance=distance):
                (value,) = call.map(Tensor.float)(encoder.float()).values()
                assert value.isfinite().all(), f"the summary is not finite in fp32 for contexts of about ±{distance}"


CHECKS = (summary, finite, initialize, initialize_saved, autocast)
