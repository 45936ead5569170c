"""Defines encoders, the summary networks that a flow's context passes through before the layers read it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Encoder(nn.Module, ABC):
    """A network that summarizes a context: [batch, *context_shape] -> [batch, *output_shape].

    It is trained with the flow. All layers and base distributions read its output instead of the context. A flow runs
    it once per call, under autocast if that is enabled. The summary of a context must not depend on the rest of the
    batch.
    """

    @abstractmethod
    def forward(self, context: Tensor) -> Tensor:
        """Return the summary, [batch, *output_shape].

        Args:
            context: The contexts, [batch, *context_shape]. Labels are one-hot.
        """

    def initialize(self, context: Tensor) -> None:
        """Set parameters and buffers from the first batch.

        A flow calls it once, before training, without gradients.

        Args:
            context: The contexts of the batch, [batch, *context_shape].
        """
