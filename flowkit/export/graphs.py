"""Frozen flow -> ONNX graphs."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from flowkit.errors import ExportError
from flowkit.flow import Bijector, Coupling, Flow, conditioning
from flowkit.flow.tracing import untraceable_direction
from flowkit_runtime.bundle import DECODER, ENCODER

OPSET = 20
"""The version of the ONNX operators. 18 to 24 work; 17 and 27 give invalid graphs."""


class Encode(nn.Module):
    """x, context -> z_1, …, z_L, log_prob."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        latents, log_det = self.flow.forward_and_log_det(x, context)
        return (*latents, self.flow.latent_log_prob(latents) + log_det)


class Decode(nn.Module):
    """(z_1, …, z_L), context -> x, continuous."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, latents: tuple[Tensor, ...], context: Tensor | None = None) -> Tensor:
        return self.flow.inverse_and_log_det(latents, context)[0]


def write_graphs(flow: Flow, directory: Path) -> None:
    """Write encode.onnx and decode.onnx of a frozen fp32 flow. Raises ExportError naming what can't be exported."""
    x = torch.zeros(3, *flow.event_shape)  # any batch but 0 and 1, which torch.export takes for constants
    latents = tuple(torch.zeros(3, *shape) for shape in flow.latent_shapes)
    names = [f"z_{i}" for i in range(1, len(latents) + 1)]
    context = _example_context(flow)
    context_name = ["context"] if context else []
    try:
        _write(Encode(flow), (x, *context), ["x", *context_name], [*names, "log_prob"], directory / ENCODER)
        _write(Decode(flow), (latents, *context), [*names, *context_name], ["x"], directory / DECODER)
    except ExportError as error:
        with _quiet():
            blame = _blame(flow)
        raise ExportError(f"this flow can't be exported to ONNX: {blame or error}") from error


def _blame(flow: Flow) -> str | None:
    """The first layer that can't be exported by itself, and why; None if each can."""
    example = _example_context(flow)
    context = conditioning.embed(flow.context, example[0] if example else None, torch.zeros(3, 1))
    for index, layer in enumerate(flow.layers):
        if isinstance(layer, Bijector) and (reason := untraceable_direction(layer, context, torch.float32)):
            parts = [layer.transformer, layer.conditioner] if isinstance(layer, Coupling) else [layer]
            return f"frozen layer {index} ({', '.join(type(part).__name__ for part in parts)}), {reason}"
    return None


def _example_context(flow: Flow) -> tuple[Tensor, ...]:
    if flow.context is None:
        return ()
    if flow.context.classes is not None:
        return (torch.zeros(3, dtype=torch.int64),)
    return (torch.zeros(3, *(flow.context.shape or ())),)


def _write(module: nn.Module, args: tuple[Any, ...], inputs: list[str], outputs: list[str], path: Path) -> None:
    onnx.save_model(to_onnx(module.eval(), args, inputs, outputs), path)


def to_onnx(module: nn.Module, args: tuple[Any, ...], inputs: list[str], outputs: list[str]) -> onnx.ModelProto:
    """A checked graph of the standard domain, with an open batch size. ``args`` have 3 rows. Raises ExportError."""
    model = _trace(module, args, inputs, outputs)
    _strip(model)
    onnx.checker.check_model(model, full_check=True)
    foreign = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    if foreign or model.functions:
        raise ExportError(f"needs operators outside the standard domain: {', '.join(foreign)}")
    return model


def _trace(module: nn.Module, args: tuple[Any, ...], inputs: list[str], outputs: list[str]) -> onnx.ModelProto:
    batch = {0: "batch"}
    dynamic = tuple(tuple(batch for _ in arg) if isinstance(arg, tuple) else batch for arg in args)
    try:
        with _quiet():
            program = torch.onnx.export(
                module, args, dynamo=True, opset_version=OPSET, input_names=inputs, output_names=outputs,
                dynamic_shapes=dynamic, external_data=False, verbose=False,
            )  # fmt: skip
    except Exception as error:  # the exporter's errors share no narrower base
        cause = error.__cause__ or error
        raise ExportError(f"{type(cause).__name__}: {cause}") from error
    assert program is not None
    return program.model_proto


def _strip(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes of the machine and the code: stack traces with file paths, module names."""
    for entry in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input,
                  *model.graph.output, *model.graph.initializer):  # fmt: skip
        entry.ClearField("doc_string")
        del entry.metadata_props[:]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's own chatter. Warnings from flowkit and its plugins get through."""
    threshold = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            for module in ("torch", "onnxscript", "onnx_ir", "copyreg"):
                warnings.filterwarnings("ignore", module=rf"{module}(\.|$)")
            yield
    finally:
        logging.disable(threshold)
