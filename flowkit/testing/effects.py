"""What a call may leave behind: nothing. Shared by the checks of every kind."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from flowkit.testing.compare import all_close
from flowkit.testing.perturbation import seeded
from flowkit.testing.subjects import Call, ModuleSubject


def input_untouched(subject: ModuleSubject) -> None:
    """Nothing writes into its input."""
    module = subject.module()
    for call in subject.calls(module):
        with inputs_kept(call.method, call.inputs):
            call(module)


@contextmanager
def inputs_kept(what: str, inputs: tuple[Tensor, ...]) -> Iterator[None]:
    """Raises AssertionError if the inputs have other values at the end."""
    before = [t.clone() for t in inputs]
    yield
    same = all(torch.equal(t, old) for t, old in zip(inputs, before, strict=True))
    assert same, f"{what} changes its input in place: write x = x + … instead of x += …"


def pure(subject: ModuleSubject) -> None:
    """A call changes no parameter and no buffer, and the same input gives the same output again."""
    for module in (subject.fresh().train(), subject.module()):
        before = _snapshot(module)
        calls, others = subject.calls(module), subject.calls(module, seed=2)
        given = [without_gradients(call, module, subject.seed) for call in calls]
        first = [{name: value.clone() for name, value in outputs.items()} for outputs in given]
        for other in others:
            without_gradients(other, module, subject.seed)
        _compare_snapshots(before, _snapshot(module))
        for call, outputs, kept in zip(calls, given, first, strict=True):
            all_close("has changed since: is it a tensor that every call writes into?", outputs, kept, 0)
            again = without_gradients(call, module, subject.seed)
            all_close("called again", again, kept, 0)
            if not module.training:
                again = without_gradients(call, module, subject.seed + 1)
                all_close("called again: does it draw random numbers in evaluation?", again, kept, 0)


@torch.no_grad()
def without_gradients(call: Call, module: nn.Module, seed: int) -> dict[str, Tensor]:
    with seeded(seed):
        return call(module)


Snapshot = Mapping[str, tuple[Tensor, bool]]


def _snapshot(module: nn.Module) -> Snapshot:
    """Of each parameter and buffer its values, and whether it is trained."""
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: (t.detach().clone(), t.requires_grad) for name, t in named.items()}


def _compare_snapshots(before: Snapshot, after: Snapshot) -> None:
    made, lost = sorted(set(after) - set(before)), sorted(set(before) - set(after))
    assert not made, f"a call makes {', '.join(made)}: make it in __init__, or load_state_dict and optimizers miss it"
    assert not lost, f"a call removes {', '.join(lost)}"
    for name, (value, trained) in after.items():
        assert torch.equal(value, before[name][0]), (
            f"a call changes {name}: what depends on data belongs into initialize, which is called once"
        )
        assert trained == before[name][1], f"a call sets requires_grad of {name} to {trained}"


def settings(subject: ModuleSubject) -> None:
    """Neither making nor calling it seeds a global random generator, or changes a setting of torch."""
    settings_kept("__init__", subject.make)
    module = subject.module()
    for call in subject.calls(module):
        settings_kept(call.method, partial(call, module))


SETTINGS: Mapping[str, tuple[Callable[[], object], Callable[..., object]]] = {
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "gradient mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "number of threads": (torch.get_num_threads, torch.set_num_threads),
    "anomaly detection": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
}
"""How each is read, and how it is set."""

GENERATORS: Mapping[str, Callable[[], float]] = {
    "torch": lambda: torch.rand(()).item(),
    "numpy": lambda: float(np.random.rand()),
    "random": random.random,
}


def settings_kept(what: str, act: Callable[[], object]) -> None:
    """Do it twice. Raises AssertionError if it seeds a generator that others draw from, or changes torch's settings.

    Drawing is allowed: a generator that was at two places before is at two places afterwards.
    """
    before = {name: read() for name, (read, _) in SETTINGS.items()}
    one, other = (_draws_after(act, seed) for seed in (1, 2))
    after = {name: read() for name, (read, _) in SETTINGS.items()}
    for name, (_, write) in SETTINGS.items():
        write(before[name])
    for name, value in after.items():
        assert value == before[name], f"{what} changes torch's {name} to {value}, for everything else as well"
    for name in GENERATORS:
        assert one[name] != other[name], (
            f"{what} seeds the random generator of {name}, which everything else draws from: make a generator of your "
            "own, as torch.Generator().manual_seed(0) or numpy.random.default_rng(0)"
        )


def _draws_after(act: Callable[[], object], seed: int) -> dict[str, float]:
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        with seeded(seed):
            np.random.seed(seed)
            random.seed(seed)
            act()
            return {name: draw() for name, draw in GENERATORS.items()}
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
