"""Checks what a plugin must do as a whole, as specs name it: its config, its class and its module together."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from unittest import mock

import torch
from torch import Tensor, nn

from flowkit.directions import lacks
from flowkit.export.program import any_context
from flowkit.flow import Flow
from flowkit.plugin import BijectorConfig
from flowkit.plugin.failure import in_a_line
from flowkit.plugin.kinds import KINDS
from flowkit.plugin.reference import Use
from flowkit.spec import Spec, latent_shapes, model
from flowkit.spec.conditioning import reads_context
from flowkit.spec.example import CONTEXTS
from flowkit.testing.compare import equal_shapes
from flowkit.testing.perturbation import perturb, seeded
from flowkit.testing.subjects import Call, PluginSubject, inside, only_where

GIVEN = model.ContextSpec.model_validate(CONTEXTS[0])


def _in_flow(subject: PluginSubject) -> bool:
    return KINDS[subject.plugin.kind].in_flow


def builds(subject: PluginSubject) -> None:
    """A spec that names the plugin builds a dataset, or a flow whose latents have the shapes that validation says."""
    if not _in_flow(subject):
        subject.make().data.build()
        return
    spec = subject.make()
    try:
        latents = _latents(spec, subject.seed)
    except Exception as error:  # whatever a plugin raises
        if spec.context is not None or not _takes_context(subject, spec):
            _call_the_part(subject)
            raise
        raise AssertionError(
            f"without a context it raises {in_a_line(error)}, and with one it doesn't: if it can't do without, "
            'write reads_context = "required" into its config'
        ) from error
    shapes, said = [tuple(z.shape[1:]) for z in latents], latent_shapes(spec)
    assert shapes == said, f"the latents have the shapes {shapes}, and output_shape in the config says {said}"


def _call_the_part(subject: PluginSubject) -> None:
    """Raise AssertionError if a call of the part by itself shows what is wrong: values too many, or another shape."""
    if subject.part is None:
        return
    try:
        module = subject.part.module()
        for call in subject.part.calls(module):
            for (name, value), shape in zip(call(module).items(), call.returns.values(), strict=True):
                equal_shapes(name, value.shape[1:], shape)
    except AssertionError:
        raise
    except Exception:  # what the flow raised says more
        return


def _latents(spec: Spec, seed: int) -> list[Tensor]:
    flow = _flow(spec, seed)
    with seeded(seed):
        perturb(flow, 0.1)
        context = any_context(flow, 2)
        if lacks(flow.directions, "forward"):
            flow.sample(2, context)
            return list(flow.sample_latents(2, context))
        x = inside(spec.event.domains, torch.randn(2, *spec.event.shape))
        return list(flow.forward_and_log_det(x, context)[0])


def _takes_context(subject: PluginSubject, spec: Spec) -> bool:
    """Return True if the plugin works with a context, built as its config declares or as if it declared to read one."""
    config, conditional = subject.plugin.descriptor.config, spec.model_copy(update={"context": GIVEN})
    for declared in (config.reads_context, "required"):
        with suppress(Exception), mock.patch.object(config, "reads_context", declared):  # whatever a plugin raises
            _latents(conditional, subject.seed)
            return True
    return False


@only_where(_in_flow, "no part of a flow")
def written_back(subject: PluginSubject) -> None:
    """A flow that was built in Python is written as the spec that builds it: each field is kept as an attribute."""
    spec = subject.make()
    flow = _flow(spec, subject.seed)
    flow.spec = None  # as if its layers had been put together by hand
    written = flow.to_spec()
    for section in ("context", "flow", "base"):
        given, expected = (each.model_dump(mode="json").get(section) for each in (written, spec))
        assert given == expected, f"written back as {given}; it was built from {expected}"


@only_where(lambda subject: subject.part is not None, "no part of a flow")
def declared(subject: PluginSubject) -> None:
    """A plugin that declares to read no context does the same with one; one that takes any domain only moves values."""
    spec, part, kind = subject.make(), subject.part, KINDS[subject.plugin.kind]
    assert part is not None
    item = spec.base if kind.name == "base" else spec.flow[0]
    reads_none = kind.given_context and reads_context(item) == "no"
    config = item.config if isinstance(item, Use) else None
    only_moves = isinstance(config, BijectorConfig) and config.domain(spec.event.shape) is None
    module = part.module()
    for call in part.calls(module):
        if reads_none:
            _reads_none(call, module, part.normal(len(call.inputs[0]), *(GIVEN.shape or ())), subject.seed)
        if only_moves:
            moved, given = (t.flatten(1).sort().values for t in (next(iter(call(module).values())), call.inputs[0]))
            assert torch.equal(moved, given), f"{call.method} gives other values than it is given: {ONLY_MOVES}"


ONLY_MOVES = "domain returns None in the config, which is for layers that only move values"


def _reads_none(call: Call, module: nn.Module, context: Tensor, seed: int) -> None:
    """Raise AssertionError if a call fails with a context, or gives something else with the same random numbers."""
    advice = 'in a flow with a context every part is given it; write reads_context = "optional" into the config'
    try:
        with seeded(seed):
            outputs = call.at(*call.inputs, context)(module)
    except Exception as error:  # whatever a plugin raises
        raise AssertionError(f"{call.method} fails with a context ({in_a_line(error)}): {advice}") from error
    with seeded(seed):
        same = all(map(torch.equal, outputs.values(), call(module).values()))
    assert same, f"{call.method} reads a context, and the config says that it reads none: {advice}, or don't read it"


TORCH = 77
"""The exit code of a process that has imported torch."""


@only_where(lambda subject: subject.plugin.module is not None, "registered in this process")
def light(subject: PluginSubject) -> None:
    """The plugin module doesn't import torch, so reading a spec doesn't wait for it."""
    module = subject.plugin.module
    code = f"import sys, {module}; sys.exit({TORCH} * ('torch' in sys.modules))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != TORCH, f"{module} imports torch: only the module that the target names may"
    assert done.returncode == 0, f"{module} can't be imported on its own: {done.stderr.strip().rpartition(chr(10))[2]}"


def _flow(spec: Spec, seed: int) -> Flow:
    with seeded(seed):
        return Flow.from_spec(spec).eval()


CHECKS = (builds, declared, written_back, light)
