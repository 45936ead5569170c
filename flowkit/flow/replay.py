"""Running a step again as it ran before: with the random numbers that it drew, and under the autocast that was on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

State = tuple[Tensor, ...]
"""Of the random number generators: the CPU's, and that of the accelerator in use."""


class Surroundings:
    """What a pass takes from around it, beside its inputs."""

    def __init__(self, device: torch.device) -> None:
        self.device, self._last = device, ()  # type: tuple[torch.device, State]
        kind = device.type
        self._autocast: dict[str, Any] = {
            "device_type": kind,
            "enabled": torch.is_autocast_enabled(kind),
            "dtype": torch.get_autocast_dtype(kind),
        }

    def generators(self) -> State:
        """Where the generators stand. The same object as last time, if nothing was drawn."""
        state = _generators(self.device)
        if not self._last or not all(map(torch.equal, state, self._last)):
            self._last = state
        return self._last

    @contextmanager
    def again(self, state: State) -> Iterator[None]:
        """As it was when the generators stood so. They are then put back to where they stand now."""
        with ExitStack() as stack:
            stack.enter_context(torch.autocast(**self._autocast))
            stack.enter_context(kept_generators(self.device))
            _set_generators(self.device, state)
            yield


@contextmanager
def kept_generators(device: torch.device) -> Iterator[None]:
    """What is drawn within is drawn again after it."""
    state = _generators(device)
    try:
        yield
    finally:
        _set_generators(device, state)


def _generators(device: torch.device) -> State:
    here = torch.get_rng_state()
    return (here,) if device.type == "cpu" else (here, torch.get_device_module(device).get_rng_state(device))


def _set_generators(device: torch.device, state: State) -> None:
    torch.set_rng_state(state[0])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state[1], device)
