"""Checks that a call leaves nothing behind, and that a module is all in its parameters and buffers."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from flowkit.testing.compare import all_close, all_near, failing
from flowkit.testing.perturbation import perturb, seeded
from flowkit.testing.subjects import PERTURBATION, Call, ModuleSubject


def input_untouched(subject: ModuleSubject) -> None:
    """The methods don't write into their inputs."""
    module = subject.module()
    for call in subject.calls(module):
        with inputs_kept(call.method, call.inputs):
            call(module)


@contextmanager
def inputs_kept(what: str, inputs: tuple[Tensor, ...]) -> Iterator[None]:
    """Raise AssertionError if the inputs have other values at the end, or need gradients that they didn't need."""
    before = [t.clone() for t in inputs]
    needed = [t.requires_grad for t in inputs]
    yield
    still = [t.requires_grad for t in inputs] == needed
    assert still, f"{what} sets requires_grad of its input: take x.detach().requires_grad_() instead"
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
            all_close("called again", without_gradients(call, module, subject.seed), kept, 0)
            if not module.training:
                again = without_gradients(call, module, subject.seed + 1)
                all_close("called again: does it draw random numbers in evaluation?", again, kept, 0)


@torch.no_grad()
def without_gradients(call: Call, module: nn.Module, seed: int) -> dict[str, Tensor]:
    with seeded(seed):
        return call(module)


Snapshot = Mapping[str, tuple[Tensor, bool]]


def _snapshot(module: nn.Module) -> Snapshot:
    """Return, for each parameter and buffer, its values and whether it is trained."""
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
    """The constructor and the methods don't seed a global random generator, and change no setting of torch."""
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
"""The settings of torch, with functions that read and set each."""

GENERATORS: Mapping[str, Callable[[], float]] = {
    "torch": lambda: torch.rand(()).item(),
    "numpy": lambda: float(np.random.rand()),
    "random": random.random,
}
"""The global generators, with a function that draws a number from each."""


@contextmanager
def settings_restored() -> Iterator[None]:
    """Set torch's settings back at the end, so that a check finds what a plugin changes, whatever ran before."""
    before = {name: read() for name, (read, _) in SETTINGS.items()}
    try:
        yield
    finally:
        for name, (_, write) in SETTINGS.items():
            write(before[name])


def settings_kept(what: str, act: Callable[[], object]) -> None:
    """Call ``act`` twice. Raise AssertionError if it seeds a generator that others use, or changes torch's settings.

    Drawing is allowed: a generator that was at two places before is at two places afterwards.
    """
    before, draws = {name: read() for name, (read, _) in SETTINGS.items()}, []
    with settings_restored():
        for seed in (1, 2):
            with seeded(seed):
                act()
                draws.append({name: draw() for name, draw in GENERATORS.items()})
        after = {name: read() for name, (read, _) in SETTINGS.items()}
    for name, value in after.items():
        assert value == before[name], f"{what} changes torch's {name} to {value}, for everything else as well"
    for name in GENERATORS:
        assert draws[0][name] != draws[1][name], (
            f"{what} seeds the random generator of {name}, which everything else draws from: make a generator of your "
            "own, as torch.Generator().manual_seed(0) or numpy.random.default_rng(0)"
        )


def state(subject: ModuleSubject) -> None:
    """state_dict, written as safetensors, holds all that decides the outputs, and so does a deep copy.

    The copy depends on its own state alone. What needs gradients is a parameter: optimizers are given no other tensors.
    """
    module = subject.module()
    for call in subject.calls(module):
        leaves = unregistered(module, call)
        assert not leaves, f"{call.method} depends on a tensor {list(leaves[0].shape)} that {NO_PARAMETER}"
    loaded, copied = _loaded(module, subject.module(seed=17)), copy.deepcopy(module)
    advice = "did you forget register_buffer for something that is drawn or computed?"
    for call in subject.calls(module):
        outputs = call(module)
        all_close(f"after load_state_dict: {advice}", call(loaded), outputs, 1e-12)
        all_close("of a deep copy", call(copied), outputs, 0)
    moved(subject, module)
    for call in subject.calls(loaded):
        all_close(f"of a deep copy, after the original has moved: {SHARED}", call(copied), call(loaded), 1e-12)


SHARED = (
    "does an attribute hold a function, such as a lambda, that reads the parameters of the original? Make it a method"
)


NO_PARAMETER = (
    "needs gradients and isn't registered, so that it is neither trained nor saved: make it an nn.Parameter attribute, "
    "or use nn.ParameterList or nn.ModuleList instead of a list, a tuple or a dict"
)


def unregistered(module: nn.Module, call: Call) -> list[Tensor]:
    """Return the leaves of the outputs' autograd graphs that are neither inputs nor parameters."""
    known = {id(t) for t in (*module.parameters(), *call.inputs)}
    nodes = {get_gradient_edge(value).node for value in call(module).values() if value.requires_grad}
    reached = set(nodes)
    while nodes:
        nodes = {node for each in nodes for node, _ in each.next_functions if node is not None} - reached
        reached |= nodes
    leaves: list[Any] = [node for node in reached if node.name() == "torch::autograd::AccumulateGrad"]
    return [leaf.variable for leaf in leaves if id(leaf.variable) not in known]


def _loaded(module: nn.Module, other: nn.Module) -> nn.Module:
    """Return another module with the state of this one, which was written and read as files are."""
    apart = {name: t.clone(memory_format=torch.contiguous_format) for name, t in module.state_dict().items()}  # tied
    other.load_state_dict(load(save(apart)))
    return other


def caches(subject: ModuleSubject) -> None:
    """No result of an earlier call is used after parameters, or their precision, have changed."""
    for what, change in CHANGES.items():
        module = subject.module()
        _call_everything(subject, module)
        change(subject, module)
        unused = subject.module()
        unused.load_state_dict(module.state_dict())
        for run in (partial(without_gradients, seed=subject.seed), Call.__call__):
            for call in subject.calls(module):
                all_close(f"after calls, and then {what}: {KEPT}", run(call, module), run(call, unused), 1e-9)


KEPT = (
    "is something kept from an earlier call? Compute it from the parameters each time; freeze is for what may be kept"
)


def _call_everything(subject: ModuleSubject, module: nn.Module, dtype: torch.dtype = torch.float64) -> None:
    for call in subject.calls(subject.module()):
        typed = call.map(lambda t: t.to(dtype))
        typed(module)
        without_gradients(typed, module, subject.seed)


def _convert(subject: ModuleSubject, module: nn.Module) -> None:
    module.float()
    with failing(f"after calls in fp64 it fails in fp32: {KEPT}"):
        _call_everything(subject, module, torch.float32)
    module.double()


def moved(subject: ModuleSubject, module: nn.Module, scale: float = 0.1) -> None:
    """Move the parameters, as a step of an optimizer does."""
    with seeded(subject.seed + 5):
        perturb(module, scale)


CHANGES: Mapping[str, Callable[[ModuleSubject, nn.Module], object]] = {
    "a step of the optimizer": moved,
    "load_state_dict": lambda subject, module: module.load_state_dict(subject.module(seed=17).state_dict()),
    "float() and double()": _convert,
}
"""The changes that a module undergoes between calls."""


FREEZE_TOLERANCE = 1e-10
"""Relative to the largest value, of a frozen module against the one that was frozen, fp64."""


def compare_with_frozen(subject: ModuleSubject, freeze: Callable[[Any], Any]) -> None:
    """Raise AssertionError unless what ``freeze`` makes of a module does the same, and the module stays as it was.

    It is frozen a second time after its parameters have moved, because ``freeze`` may have kept something.
    """
    module = subject.module()
    _freeze_once(subject, module, freeze, "frozen - as it is trained")
    moved(subject, module)
    what = "frozen again, after the parameters have moved: does freeze keep something?"
    _freeze_once(subject, module, freeze, what)


def _freeze_once(subject: ModuleSubject, module: nn.Module, freeze: Callable[[Any], Any], what: str) -> None:
    calls, before, training = subject.calls(module), _snapshot(module), module.training
    expected = [call(module) for call in calls]
    frozen = freeze(module)
    assert module.training == training, "freeze changes the mode, training or evaluation: change a copy"
    for name, (value, trained) in _snapshot(module).items():
        same = trained == before[name][1] and torch.equal(value, before[name][0])
        assert same, f"freeze changes {name}, or whether it is trained: change a copy"
    for call, outputs in zip(calls, expected, strict=True):
        all_near(what, call(frozen), outputs, FREEZE_TOLERANCE)
        all_close("of the module that was frozen", call(module), outputs, 0)


def initialize_saved(subject: ModuleSubject) -> None:
    """The values that initialize sets are in the state_dict, and the parameters are the same objects as before."""
    module = subject.fresh()
    inputs = subject.calls(module, 8)[0].inputs
    before = dict(module.named_parameters())
    with torch.no_grad(), inputs_kept("initialize", inputs):
        module.initialize(*inputs)
    for name, parameter in module.named_parameters():
        assert parameter is before.get(name), (
            f"initialize makes another {name}, which an optimizer that was made before does not know: use copy_"
        )
    moved(subject, module, PERTURBATION)  # a conditioner's θ is 0 until it has moved
    loaded = _loaded(module, subject.fresh())
    advice = "does initialize keep something that is neither parameter nor buffer?"
    for call in subject.calls(module):
        all_close(f"after load_state_dict: {advice}", call(loaded), call(module), 1e-12)
