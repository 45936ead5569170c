"""What a module keeps, and where: parameters and buffers are all that it is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from flowkit.testing.compare import all_close
from flowkit.testing.effects import inputs_kept, without_gradients
from flowkit.testing.perturbation import perturb, seeded
from flowkit.testing.subjects import PERTURBATION, Call, ModuleSubject


def state(subject: ModuleSubject) -> None:
    """state_dict, written as safetensors, holds all that decides the outputs; so does a deep copy."""
    module, other = subject.module(), subject.module(seed=17)
    other.load_state_dict(_written(module))
    copied = copy.deepcopy(module)
    for call in subject.calls(module):
        outputs = call(module)
        all_close(
            "after load_state_dict: did you forget register_buffer for something that is drawn or computed?",
            call(other), outputs, 1e-12,
        )  # fmt: skip
        all_close("of a deep copy", call(copied), outputs, 0)


def _written(module: nn.Module) -> dict[str, Tensor]:
    return load(save({name: t.contiguous() for name, t in module.state_dict().items()}))


def caches(subject: ModuleSubject) -> None:
    """What earlier calls have computed is not used after parameters, or their precision, have changed."""
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


def _step(subject: ModuleSubject, module: nn.Module) -> None:
    with seeded(subject.seed + 5):
        perturb(module, 0.1)


def _load(subject: ModuleSubject, module: nn.Module) -> None:
    module.load_state_dict(subject.module(seed=17).state_dict())


def _convert(subject: ModuleSubject, module: nn.Module) -> None:
    module.float()
    try:
        _call_everything(subject, module, torch.float32)
    except RuntimeError as error:
        raise AssertionError(f"after calls in fp64 it fails in fp32: {KEPT} ({error})") from error
    module.double()


CHANGES: Mapping[str, Callable[[ModuleSubject, nn.Module], None]] = {
    "a step of the optimizer": _step,
    "load_state_dict": _load,
    "float() and double()": _convert,
}
"""What happens to a module between calls."""


def initialize_saved(subject: ModuleSubject) -> None:
    """What initialize sets is saved: state_dict holds it, and the parameters are those that there were before."""
    module, loaded = subject.fresh(), subject.fresh()
    inputs = subject.calls(module, 8)[0].inputs
    before = dict(module.named_parameters())
    with torch.no_grad(), inputs_kept("initialize", inputs):
        module.initialize(*inputs)
    for name, parameter in module.named_parameters():
        assert parameter is before.get(name), (
            f"initialize makes another {name}, which an optimizer that was made before does not know: use copy_"
        )
    with seeded(subject.seed + 5):
        perturb(module, PERTURBATION)  # a conditioner's θ is 0 until it has moved
    loaded.load_state_dict(_written(module))
    for call in subject.calls(module):
        all_close(
            "after load_state_dict: does initialize keep something that is neither parameter nor buffer?",
            call(loaded), call(module), 1e-12,
        )  # fmt: skip
