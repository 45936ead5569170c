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
from flowkit_runtime.bundle import BASE, DECODER, DEQUANTIZATION, DEQUANTIZER, ENCODER, GRAPHS, LATENT, NOISE, numbered

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
        inputs = [values[name] for name in self.inputs]
        try:
            results: tuple[Tensor, ...] = self.call(*inputs)
        except Exception as error:  # a plugin may raise anything
            finite = all(value.isfinite().all() for value in inputs)
            where = "" if finite else " for values that aren't finite, which extreme events may give"
            raise ExportError(f"{self.name} fails{where}: {in_a_line(error)}") from error
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
    program.sums[LOG_PROB] = [*_add_densities(program, flow, c), *log_dets]
    return program


def decode_program(flow: Flow, names: Sequence[str]) -> Program:
    """Return the program z_1, …, z_L, context -> x, continuous, of a frozen flow."""
    latents = latent_names(flow)
    program = Program([*latents, *context_names(flow)], ["x"])
    _add_inverse(program, flow, names, _embed(program, flow, latents[-1]), "x", log_dets=False)
    return program


def base_program(flow: Flow) -> Program:
    """Return the program noise_1, …, noise_M, context -> z_1, …, z_L of a frozen flow."""
    noise = list(base_noise(flow))
    program = Program([*noise, *context_names(flow)], latent_names(flow))
    _add_samples(program, flow, noise, _embed(program, flow, noise[0]))
    return program


def dequantize_program(flow: Flow) -> Program:
    """Return the program k, noise -> u, log_q of a frozen flow with a flow of the dequantization noise u."""
    of_noise, levels, part = flow.dequantizer, flow.levels, "dequantization: "
    assert of_noise is not None and levels is not None
    noise = list(dequantization_noise(flow))
    program = Program(["k", *noise], ["u", LOG_Q])
    program.add("the event", nn.Identity(), lambda _, k: as_context(k, levels), ["k"], "given")
    _add_samples(program, of_noise, noise, "given", part)
    densities = _add_densities(program, of_noise, "given", part)
    names = [f"{part}layer {index} ({type(layer).__name__})" for index, layer in enumerate(of_noise.layers)]
    program.sums[LOG_Q] = [*densities, *_add_inverse(program, of_noise, names, "given", "u", log_dets=True)]
    return program


def _add_samples(program: Program, flow: Flow, noise: Sequence[str], context: str | None, part: str = "") -> None:
    """Add what makes the latents of a flow from these values of noise. ``part`` begins the names of instructions."""
    left = iter(noise)
    for base, z in zip(flow.bases, latent_names(flow), strict=True):
        program.add(_base_name(part, base, z), base, from_flat_noise, [*islice(left, len(base.noise)), context], z)


def _add_densities(program: Program, flow: Flow, context: str | None, part: str = "") -> list[str]:
    """Add the log-densities of a flow's latents. Return their names."""
    densities = []
    for base, z in zip(flow.bases, latent_names(flow), strict=True):
        densities.append(f"{LOG_PROB}_{z}")
        program.add(_base_name(part, base, z), base, type(base).log_prob, [z, context], densities[-1])
    return densities


def _add_inverse(
    program: Program, flow: Flow, names: Sequence[str], context: str | None, end: str, log_dets: bool
) -> list[str]:
    """Add the inverses of a flow's layers, from its latents to the value ``end``.

    Return the names of the log-dets of the forward map, which are added only if ``log_dets`` is set.
    """
    *left, value = latent_names(flow)
    terms: list[str] = []
    for index in range(len(flow.layers), 0, -1):
        name, layer = names[index - 1], flow.layers[index - 1]
        before = f"h_{index - 1}" if index > 1 else end
        if not isinstance(layer, Bijector):
            program.add(name, layer, type(layer).put_back, [value, left.pop()], before)
        elif log_dets:
            terms.append(f"log_det_{index}")
            program.add(name, layer, _inverse_and_forward_log_det, [value, context], before, terms[-1])
        else:
            program.add(name, layer, _inverse, [value, context], before)
        value = before
    return terms


def base_noise(flow: Flow) -> dict[str, Noise]:
    """Return the noise of all bases, in the order of the latents, by name: noise_1, …, noise_M.

    It is empty if all are standard normals, and if the flow runs forward only.
    """
    if all(type(base) is StandardNormal for base in flow.bases) or lacks(flow.directions, "inverse"):
        return {}
    return _named_noise(NOISE, flow)


def dequantization_noise(flow: Flow) -> dict[str, Noise]:
    """Return the noise that the dequantization noise is made from, by name. It is empty if that noise is uniform."""
    return {} if flow.dequantizer is None else _named_noise(DEQUANTIZATION, flow.dequantizer)


def _named_noise(name: str, flow: Flow) -> dict[str, Noise]:
    arrays = [each for base in flow.bases for each in base.noise]
    return dict(zip(numbered(name, len(arrays)), arrays, strict=True))


def programs_of(flow: Flow, names: Sequence[str], directions: Shared) -> dict[str, Program]:
    """Return the programs of a flow, frozen or not, by the files of their graphs; ``names`` are those of its layers.

    That of the bases is there if samples can be decoded, unless all are standard normals: their samples are the noise.
    That of the dequantization noise is there if it is learned.
    """
    write = {ENCODER: encode_program, DECODER: decode_program}
    programs = {file: write[file](flow, names) for file in GRAPHS[directions]}
    if DECODER in programs and base_noise(flow):
        programs[BASE] = base_program(flow)
    if ENCODER in programs and flow.dequantizer is not None:
        programs[DEQUANTIZER] = dequantize_program(flow)
    return programs


def latent_names(flow: Flow) -> list[str]:
    """Return z_1, …, z_L."""
    return numbered(LATENT, len(flow.latent_shapes))


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


def _base_name(part: str, base: nn.Module, z: str) -> str:
    return f"{part}the base {type(base).__name__} of {z}"


def _embed(program: Program, flow: Flow, like: str) -> str | None:
    if flow.context is None:
        return None

    def embed(_: nn.Module, like: Tensor, context: Tensor) -> Any:
        return inputs.embed(flow.context, context, like)

    program.add("the context", nn.Identity(), embed, [like, "context"], "embedded")
    if flow.encoder is None:
        return "embedded"
    name = f"the encoder of the context ({type(flow.encoder).__name__})"
    program.add(name, flow.encoder, type(flow.encoder).forward, ["embedded"], "encoded")
    return "encoded"


def _inverse(layer: Bijector, y: Tensor, context: Tensor | None = None) -> Tensor:
    return layer.inverse_and_log_det(y, context)[0]


def _inverse_and_forward_log_det(layer: Bijector, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
    x, log_det = layer.inverse_and_log_det(y, context)
    return x, -log_det
