"""Programs say what a graph computes: instructions that are traced one by one, and whose values have names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from flowkit.bijectors import Bijector, Noise, StandardNormal
from flowkit.bijectors.base_distribution import from_flat_noise
from flowkit.directions import Shared, lacks
from flowkit.errors import ExportError
from flowkit.flow import Flow, inputs
from flowkit.flow.dequantization import as_context
from flowkit.plugin.failure import in_a_line
from flowkit_runtime.bundle import BASE, DECODER, DEQUANTIZER, ENCODER, GRAPHS

LOG_PROB, LOG_Q = "log_prob", "log_q"


class Operation(nn.Module):
    """A function of a module, as a module whose tensors are that module's."""

    def __init__(self, module: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.module, self.function = module, function

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        result = self.function(self.module, *inputs)
        return (result,) if isinstance(result, Tensor) else tuple(result)


@dataclass(frozen=True)
class Instruction:
    """``outputs`` = ``call(*inputs)``, names of values; ``name`` says where in the flow that is."""

    name: str
    call: Operation
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @torch.no_grad()
    def run(self, values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the outputs, by torch. Raises ExportError naming the instruction if it fails."""
        try:
            results: tuple[Tensor, ...] = self.call(*(values[name] for name in self.inputs))
        except Exception as error:  # a plugin may raise anything
            raise ExportError(f"{self.name} fails: {in_a_line(error)}") from error
        return results


@dataclass
class Program:
    """Instructions in order, from the values named ``inputs`` to those named ``outputs``.

    Each of ``sums`` is a further value: the sum of others, [batch].
    """

    inputs: list[str]
    outputs: list[str]
    instructions: list[Instruction] = field(default_factory=list)
    sums: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of_function(
        cls, name: str, module: nn.Module, function: Callable[..., Any], n_inputs: int, n_outputs: int
    ) -> Program:
        """Return a program of one instruction, a function of a module and tensors."""
        program = cls([f"input_{i}" for i in range(n_inputs)], [f"output_{i}" for i in range(n_outputs)])
        program.add(name, module, function, program.inputs, *program.outputs)
        return program

    @classmethod
    def of_method(cls, module: nn.Module, method: str, n_inputs: int, n_outputs: int) -> Program:
        """Return a program of one instruction, a method of a module."""
        name = f"{type(module).__name__}.{method}"
        return cls.of_function(name, module, getattr(type(module), method), n_inputs, n_outputs)

    def add(self, name: str, module: nn.Module, function: Any, inputs: Sequence[str | None], *outputs: str) -> None:
        given = tuple(i for i in inputs if i is not None)
        self.instructions.append(Instruction(name, Operation(module, function), given, outputs))

    def run(self, feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return all values, by torch. Raises ExportError naming the instruction that fails."""
        values = dict(feed)
        for instruction in self.instructions:
            values.update(zip(instruction.outputs, instruction.run(values), strict=True))
        return values | {name: torch.stack([values[t] for t in terms]).sum(0) for name, terms in self.sums.items()}


def encode_program(flow: Flow, names: Sequence[str]) -> Program:
    """Return the program x, context -> z_1, …, z_L, log_prob of a frozen flow; ``names`` are those of its layers."""
    latents = latent_names(flow)
    program = Program(["x", *context_names(flow)], [*latents, LOG_PROB])
    c = _embed(program, flow, "x")
    value, left, log_dets = "x", iter(latents), []
    for index, (name, layer) in enumerate(zip(names, flow.layers, strict=True), 1):
        after = f"h_{index}" if index < len(flow.layers) else latents[-1]
        if isinstance(layer, Bijector):
            log_dets.append(f"log_det_{index}")
            program.add(name, layer, type(layer).forward_and_log_det, [value, c], after, log_dets[-1])
        else:
            program.add(name, layer, type(layer).take_out, [value], after, next(left))
        value = after
    densities = [f"{LOG_PROB}_{z}" for z in latents]
    for base, z, density in zip(flow.bases, latents, densities, strict=True):
        program.add(_base_name(base, z), base, type(base).log_prob, [z, c], density)
    program.sums[LOG_PROB] = [*densities, *log_dets]
    return program


def decode_program(flow: Flow, names: Sequence[str]) -> Program:
    """Return the program z_1, …, z_L, context -> x, continuous, of a frozen flow."""
    latents = latent_names(flow)
    program = Program([*latents, *context_names(flow)], ["x"])
    c = _embed(program, flow, latents[-1])
    *left, value = latents
    for index in range(len(flow.layers), 0, -1):
        name, layer = names[index - 1], flow.layers[index - 1]
        before = f"h_{index - 1}" if index > 1 else "x"
        if isinstance(layer, Bijector):
            program.add(name, layer, _inverse, [value, c], before)
        else:
            program.add(name, layer, type(layer).put_back, [value, left.pop()], before)
        value = before
    return program


def base_program(flow: Flow) -> Program:
    """Return the program noise_1, …, noise_M, context -> z_1, …, z_L of a frozen flow."""
    names = noise_names(flow)
    program = Program([*names, *context_names(flow)], latent_names(flow))
    c, left = _embed(program, flow, names[0]), iter(names)
    for base, z in zip(flow.bases, program.outputs, strict=True):
        program.add(_base_name(base, z), base, from_flat_noise, [*islice(left, len(base.noise)), c], z)
    return program


def dequantize_program(flow: Flow) -> Program:
    """Return the program k, noise -> u, log_q of a frozen flow with a flow of the dequantization noise u."""
    noise_flow, levels = flow.dequantizer, flow.levels
    assert noise_flow is not None and levels is not None
    noise = list(dequantization_noise(flow))
    program, left = Program(["k", *noise], ["u", LOG_Q]), iter(noise)
    program.add("the event", nn.Identity(), lambda _, k: as_context(k, levels), ["k"], "given")
    latents, terms = latent_names(noise_flow), []
    for base, z in zip(noise_flow.bases, latents, strict=True):
        name = f"dequantization: {_base_name(base, z)}"
        program.add(name, base, from_flat_noise, [*islice(left, len(base.noise)), "given"], z)
        terms.append(f"{LOG_PROB}_{z}")
        program.add(name, base, type(base).log_prob, [z, "given"], terms[-1])
    *rest, value = latents
    for index in range(len(noise_flow.layers), 0, -1):
        layer = noise_flow.layers[index - 1]
        name, before = f"dequantization: layer {index - 1} ({type(layer).__name__})", f"h_{index - 1}"
        before = before if index > 1 else "u"
        if isinstance(layer, Bijector):
            terms.append(f"log_det_{index}")
            program.add(name, layer, _inverse_and_forward_log_det, [value, "given"], before, terms[-1])
        else:
            program.add(name, layer, type(layer).put_back, [value, rest.pop()], before)
        value = before
    program.sums[LOG_Q] = terms
    return program


def dequantization_noise(flow: Flow) -> dict[str, Noise]:
    """Return the noise that the dequantization noise is made from, by name. It is empty if that noise is uniform."""
    if flow.dequantizer is None:
        return {}
    arrays = [each for base in flow.dequantizer.bases for each in base.noise]
    return {f"dequantization_noise_{i}": each for i, each in enumerate(arrays, 1)}


def programs_of(flow: Flow, names: Sequence[str], directions: Shared) -> dict[str, Program]:
    """Return the programs of a flow, frozen or not, by the files of their graphs; ``names`` are those of its layers.

    That of the bases is there if samples can be decoded, unless all are standard normals: their samples are the noise.
    That of the dequantization noise is there if it is learned.
    """
    write = {ENCODER: encode_program, DECODER: decode_program}
    programs = {file: write[file](flow, names) for file in GRAPHS[directions]}
    if DECODER in programs and noise_of(flow):
        programs[BASE] = base_program(flow)
    if ENCODER in programs and flow.dequantizer is not None:
        programs[DEQUANTIZER] = dequantize_program(flow)
    return programs


def noise_of(flow: Flow) -> list[Noise]:
    """Return the noise of all bases, in the order of the latents.

    It is empty if all are standard normals, and if the flow runs forward only.
    """
    if all(type(base) is StandardNormal for base in flow.bases) or lacks(flow.directions, "inverse"):
        return []
    return [each for base in flow.bases for each in base.noise]


def noise_names(flow: Flow) -> list[str]:
    """Return noise_1, …, noise_M. There are none if all bases are standard normals."""
    return [f"noise_{i}" for i in range(1, len(noise_of(flow)) + 1)]


def latent_names(flow: Flow) -> list[str]:
    """Return z_1, …, z_L."""
    return [f"z_{i}" for i in range(1, len(flow.latent_shapes) + 1)]


def context_names(flow: Flow) -> list[str]:
    """Return the name of the context, if the flow has one."""
    return ["context"] if flow.context else []


def any_context(flow: Flow, n: int) -> Tensor | None:
    """Return a context for n events, random and always the same. None if the flow has no context."""
    generator = torch.Generator().manual_seed(0)
    if flow.context is None:
        return None
    if flow.context.classes is not None:
        return torch.randint(flow.context.classes, (n,), generator=generator)
    return torch.randn(n, *(flow.context.shape or ()), generator=generator)


def _base_name(base: nn.Module, z: str) -> str:
    return f"the base {type(base).__name__} of {z}"


def _embed(program: Program, flow: Flow, like: str) -> str | None:
    if flow.context is None:
        return None

    def embed(_: nn.Module, like: Tensor, context: Tensor) -> Any:
        return inputs.embed(flow.context, context, like)

    program.add("the context", nn.Identity(), embed, [like, "context"], "embedded")
    return "embedded"


def _inverse(layer: Bijector, y: Tensor, context: Tensor | None = None) -> Tensor:
    return layer.inverse_and_log_det(y, context)[0]


def _inverse_and_forward_log_det(layer: Bijector, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
    x, log_det = layer.inverse_and_log_det(y, context)
    return x, -log_det
