"""Running a step again as it ran before: with the random numbers that it drew, and under the autocast that was on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

State = tuple[Tensor, ...]
"""Of the random number generators: the CPU's, and that of the accelerator in use."""


class Surroundings:
    """What the steps of a pass take from around them, beside their inputs."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._first = device, _generators(device)
        self._before: dict[int, State] = {}  # each step, if any of them drew random numbers
        self._autocast = _autocast(device)

    def step_begins(self, index: int) -> None:
        """To be told before each step that may draw random numbers."""
        self._before[index] = _generators(self._device)

    def pass_ends(self) -> None:
        """To be told after the last step."""
        if all(map(torch.equal, self._first, _generators(self._device))):
            self._before.clear()

    @contextmanager
    def again(self, index: int) -> Iterator[None]:
        """As it was when that step began. What it draws is not put back: see kept_generators."""
        if (state := self._before.get(index)) is not None:
            _set_generators(self._device, state)
        unchanged = self._autocast == _autocast(self._device)
        with nullcontext() if unchanged else torch.autocast(**self._autocast):
            yield


@contextmanager
def kept_generators(device: torch.device) -> Iterator[None]:
    """What is drawn within is drawn again after it."""
    state = _generators(device)
    try:
        yield
    finally:
        _set_generators(device, state)


def _autocast(device: torch.device) -> dict[str, Any]:
    """What torch.autocast takes to be as it is now."""
    return {
        "device_type": device.type,
        "enabled": torch.is_autocast_enabled(device.type),
        "dtype": torch.get_autocast_dtype(device.type),
    }


def _generators(device: torch.device) -> State:
    here = torch.get_rng_state()
    return (here,) if device.type == "cpu" else (here, torch.get_device_module(device).get_rng_state(device))


def _set_generators(device: torch.device, state: State) -> None:
    torch.set_rng_state(state[0])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state[1], device)
