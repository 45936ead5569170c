"""Checks what every module that a plugin brings must do. The name of each check is its stable id."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter, methodcaller
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.autograd.gradcheck import GradcheckError, gradcheck
from torch.func import functional_call

from flowkit.domains import REALS
from flowkit.export.pieces import FIXED_BATCH
from flowkit.plugin.failure import in_a_line
from flowkit.testing.compare import all_close, all_near, close, equal_shapes, failing, gradients_of
from flowkit.testing.effects import (
    NO_PARAMETER,
    caches,
    input_untouched,
    pure,
    settings,
    state,
    unregistered,
    without_gradients,
)
from flowkit.testing.subjects import Call, ConditionalSubject, ModuleSubject, only_where

LARGE = 65
"""Rows of a large batch: whoever divides it into chunks of a power of 2 has one row left over."""
OTHER_UNITS = 100.0, 50.0
"""The mean and the standard deviation of data that isn't standardized."""
SINGLE_TOLERANCE = 1e-3
"""Relative to the largest value, of fp32 against fp64: four digits above its rounding."""


def shapes(subject: ModuleSubject) -> None:
    """Every output has the shape that it should, for batches of 0, 1 and 3."""
    module = subject.module()
    for n in (0, 1, 3):
        for call in subject.calls(module, n):
            with failing(f"{call.method} fails for a batch of {n}"):
                outputs = call(module)
            for (name, value), shape in zip(outputs.items(), call.returns.values(), strict=True):
                assert value.dim(), f"{name} is a single number: one for each row is wanted, as flatten(1).sum(1) gives"
                equal_shapes(f"{name} for a batch of {n}", value.shape, (n, *shape))


def precision(subject: ModuleSubject) -> None:
    """fp32 in gives fp32 out, fp64 in gives fp64 out."""
    for dtype in (torch.float32, torch.float64):
        module = subject.module().to(dtype)
        for call in subject.calls(subject.module()):
            for name, value in call.map(methodcaller("to", dtype))(module).items():
                assert value.dtype == dtype, f"{name}: given {dtype}, got {value.dtype}"


def single_precision(subject: ModuleSubject) -> None:
    """The outputs in fp32 are those in fp64, to three digits."""
    single, exact = subject.module().float(), subject.module().float().double()
    for call in subject.calls(subject.module()):
        rounded = call.map(Tensor.float)
        given = without_gradients(rounded, single, subject.seed)
        expected = without_gradients(rounded.map(Tensor.double), exact, subject.seed)
        advice = "does it add or subtract numbers of very different sizes?"
        all_near(f"in fp32 - in fp64: {advice}", given, expected, SINGLE_TOLERANCE)


def device(subject: ModuleSubject) -> None:
    """It runs on the device of its inputs: nothing stays behind on the CPU, nothing waits for a value.

    Judged with tensors that have a device and no values; where there is a GPU, also by running and training there.
    """
    module = subject.module()
    calls = subject.calls(module)
    for call in calls:
        _run_without_values(module, call)
    if torch.cuda.is_available():
        there = copy.deepcopy(module).cuda()
        for call in calls:
            given = {name: value.cpu() for name, value in with_gradients(there, call.map(Tensor.cuda)).items()}
            all_near("on the GPU - on the CPU", given, with_gradients(module, call), 1e-9)


def with_gradients(module: nn.Module, call: Call) -> dict[str, Tensor]:
    """Return the outputs, and the gradients of their sum for each input and parameter."""
    inputs = [t.clone().requires_grad_() for t in call.inputs]
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    wanted = trained | {f"input {i}": t for i, t in enumerate(inputs)}
    outputs = call.at(*inputs)(module)
    loss = torch.stack([value.sum() for value in outputs.values()]).sum()
    gradients = {f"the gradient for {name}": g for name, g in gradients_of(loss, wanted).items()}
    return {name: value.detach() for name, value in (outputs | gradients).items()}


def _run_without_values(module: nn.Module, call: Call) -> None:
    method = call.on(module)
    state = dict([*method.named_parameters(), *method.named_buffers()])
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            away = {name: torch.empty_like(t, device="meta") for name, t in state.items()}
            inputs = tuple(torch.empty_like(t, device="meta") for t in call.inputs)
            outputs = functional_call(method, away, inputs)
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise AssertionError(
            f"{call.method} asks for a value ({error}), and a GPU would wait: does it branch on values, or use "
            ".item() or float()? torch.where does neither"
        ) from error
    except RuntimeError as error:
        if "device" not in str(error):
            raise
        forgotten = "did you forget register_buffer, or device=x.device where it makes a tensor?"
        advice = f"one of its tensors {NO_PARAMETER}" if unregistered(module, call) else forgotten
        raise AssertionError(f"{call.method} mixes the device of its input with the CPU: {advice} ({error})") from error
    for name, value in zip(call.returns, outputs, strict=True):
        assert value.device.type == "meta", f"{name} of {call.method} is on the {value.device}, not where the input is"


def batch_independence(subject: ModuleSubject) -> None:
    """Each row comes out as it does alone, and in training mode whatever the other rows are."""
    module = subject.module()
    for n, at_once in ((3, 1), (LARGE, 3)):
        for call in subject.calls(module, n):
            whole = call(module)
            for name, value in whole.items():
                assert value.dim() and len(value) == n, f"{name} has no batch dimension"
            for start in range(0, n, at_once):
                rows = slice(start, start + at_once)
                part, expected = (
                    call.map(itemgetter(rows))(module),
                    {name: value[rows] for name, value in whole.items()},
                )
                all_near(f"of rows {start} to {start + at_once - 1} - in a batch of {n}", part, expected, 1e-9)
    module.train()
    for call, other in zip(subject.calls(module), subject.calls(module, seed=3), strict=True):
        mixed = (torch.cat([t[:1], o[1:]]) for t, o in zip(call.inputs, other.inputs, strict=True))
        changed = call.at(*mixed)
        first, again = (without_gradients(each, module, subject.seed) for each in (call, changed))
        for name, value in again.items():
            close(f"{name}: row 0 in training, when the other rows change", value[0], first[name][0], 1e-9)


def layout(subject: ModuleSubject) -> None:
    """Inputs may have any memory layout that other layers give: channels_last, sliced, transposed."""
    module = subject.module()
    for call in subject.calls(module):
        expected = call(module)
        for name, arrange in LAYOUTS.items():
            with failing(f"{call.method} fails on {name} inputs: does it use view?"):
                given = call.map(arrange)(module)
            all_close(f"of {name} inputs: does it use as_strided, or the order in memory?", given, expected, 1e-9)


LAYOUTS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "channels_last": lambda t: t.movedim(1, -1).contiguous().movedim(-1, 1) if t.dim() > 1 else t,
    "sliced": lambda t: torch.stack([t, -t], -1)[..., 0],
    "transposed": lambda t: t.movedim(0, -1).contiguous().movedim(-1, 0),
}
"""The same values, with other strides."""


def modes(subject: ModuleSubject) -> None:
    """train() and eval() give the same, unless training draws random numbers, as dropout does."""
    module = subject.module()
    for call in subject.calls(module):
        evaluated = call(module.eval())
        module.train()
        trained, again = (without_gradients(call, module, seed) for seed in (1, 2))
        if all(torch.equal(value, again[name]) for name, value in trained.items()):
            all_close("in training - in evaluation", trained, evaluated, 1e-10)


def gradients(subject: ModuleSubject) -> None:
    """Gradients of each output, for each input and parameter, are those of finite differences.

    A wrong gradient is wrong everywhere, but a finite difference may straddle the kink of a ReLU, once in some ten
    thousand draws: what fails is tried at one other point.
    """
    module = subject.module()
    for call, other in zip(subject.calls(module, 2), subject.calls(module, 2, seed=3), strict=True):
        try:
            _gradcheck(module, call)
        except GradcheckError:
            try:
                _gradcheck(module, other)
            except GradcheckError as error:
                raise AssertionError(_in_names(error, module, other)) from None


def _gradcheck(module: nn.Module, call: Call) -> None:
    method = call.on(module)
    parameters, n = dict(method.named_parameters()), len(call.inputs)

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        outputs = functional_call(method, dict(zip(parameters, values[n:], strict=True)), values[:n])
        tie = sum(value.sum() for value in values) * 0  # gradcheck passes over outputs that need no gradient
        return tuple(value + tie for value in outputs)

    inputs = [t.clone().requires_grad_() for t in call.inputs]
    assert gradcheck(run, (*inputs, *parameters.values()), fast_mode=True, atol=1e-5)


def _in_names(error: GradcheckError, module: nn.Module, call: Call) -> str:
    """Return what gradcheck found with names in place of its numbers, which count what needs gradients."""
    numbers = re.search(r"Jacobian mismatch for output (\d+) with respect to input (\d+)", str(error))
    if numbers is None:
        return in_a_line(error)
    arguments = list(inspect.signature(call.function(module)).parameters.values())[1:]
    of_one = [each.name for each in arguments if each.kind is not inspect.Parameter.VAR_POSITIONAL]
    inputs = [*of_one, *(f"input {i}" for i in range(len(of_one), len(call.inputs)))][: len(call.inputs)]
    trained = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    output, source = list(call.returns)[int(numbers[1])], [*inputs, *trained][int(numbers[2])]
    return (
        f"the gradient of {output} of {call.method} for {source} isn't that of finite differences: is something "
        "detached, or rounded to fp32?"
    )


def export(subject: ModuleSubject) -> None:
    """torch.export takes everything with a batch size left open, as ONNX graphs need."""
    module, batch = subject.module(), torch.export.Dim("batch")
    for call in subject.calls(module):  # it has 3 rows, because torch.export takes 0 and 1 for constants
        try:
            torch.export.export(call.on(module), call.inputs, dynamic_shapes=(({0: batch},) * len(call.inputs),))
        except Exception as error:  # the exporter's errors share no narrower base
            reason = f"{in_a_line(error)} ({FIXED_BATCH})"
            raise AssertionError(f"{call.method} can't be exported with a batch size left open: {reason}") from None


COMMON = (
    settings, shapes, precision, single_precision, device, batch_independence, layout, input_untouched, pure, modes,
    state, caches, gradients, export,
)  # fmt: skip


def directions(subject: ModuleSubject) -> None:
    """It has the directions that it declares: both, unless its config says otherwise."""
    module = subject.module()
    for call in subject.calls(module):
        try:
            call(module)
        except NotImplementedError as error:  # a method that isn't written raises DirectionError, which is one
            other = "inverse" if call.method.startswith("forward") else "forward"
            raise AssertionError(
                f"{call.method} isn't there ({in_a_line(error)}): write it, or say directions = {other!r} in the "
                "config, and pass that to the kit"
            ) from error


@only_where(lambda subject: subject.context_shape is not None, "takes no context")
def context(subject: ConditionalSubject) -> None:
    """Every direction reads the context: with another one the output is another."""
    for call in subject.calls(subject.fresh(), n=32):  # of a few rows, none may be where the context matters
        *rest, given = call.inputs
        changed = call.at(*rest, subject.other_context(given))
        same = (all(map(torch.equal, call(m).values(), changed(m).values())) for m in subject.draws())
        assert not all(same), f"{call.method} ignores its context"


def _constant(x: Tensor) -> Tensor:
    """Return data without variance: the same event in each row, and for images the same value in each position."""
    return x[:1].expand_as(x) if x.dim() == 2 else torch.full_like(x, x.flatten()[0].item())


def _in_other_units(subject: ModuleSubject, call: Call) -> dict[str, Call]:
    """Return the call with data that isn't standardized, by what it is: for bijectors on the reals only."""
    if getattr(subject, "domain", None) != REALS:
        return {}
    x, *rest = call.inputs
    return {"data in other units": call.at(OTHER_UNITS[0] + OTHER_UNITS[1] * x, *rest)}


def initialized(subject: ModuleSubject) -> Iterator[Any]:
    """Yield modules that are initialized on a usual batch, on data in other units, on constant data and on one event.

    Raises AssertionError if their outputs aren't finite.
    """
    usual = subject.calls(subject.fresh(), 8)[0]
    batches = {
        "a batch": usual,
        **_in_other_units(subject, usual),
        "constant data": usual.map(_constant),
        "a batch of one": usual.map(itemgetter(slice(1))),
    }
    for what, batch in batches.items():
        module = subject.fresh()
        with torch.no_grad():
            module.initialize(*batch.inputs)
            outputs = batch(module)
        for name, value in outputs.items():
            assert value.isfinite().all(), f"{name} is not finite after initialize on {what}"
        yield module
