"""Flow -> a verified bundle: a directory that flowkit_runtime serves without torch."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from flowkit.errors import ExportError
from flowkit.export.graphs import OPSET, make_graphs
from flowkit.export.web import write_page
from flowkit.flow import Flow
from flowkit.flow.lock import LOCK
from flowkit.flow.saving import SPEC
from flowkit.spec import canonical, likelihood, lock, model_hash, to_yaml
from flowkit.version import __version__
from flowkit_runtime import verification
from flowkit_runtime.bundle import DECODER, ENCODER, MANIFEST, REFERENCE

FORMAT = 1
REFERENCE_ROWS = 64


def export(
    flow: Flow,
    directory: str | Path,
    x: Tensor | None = None,
    context: Tensor | None = None,
    weights: str = "raw",
    overwrite: bool = False,
    page: str | None = None,
) -> list[verification.Figure]:
    """Write ``flow`` as a bundle, verified in onnxruntime against the flow in fp64. Returns the figures.

    ``x`` are held-out events on which to verify, integers for integer data; without them, samples of the flow are
    used. ``page`` is the title of a page that shows the flow in a browser; without one, none is written. The
    directory appears only when all is verified. Raises ExportError, and flowkit_runtime's
    VerificationError if a graph deviates.
    """
    directory = Path(directory)
    if directory.exists() and not (overwrite and (directory / MANIFEST).is_file()):
        hint = "pass --overwrite to replace it" if (directory / MANIFEST).is_file() else "choose another"
        raise ExportError(f"{directory} exists: {hint}")
    if page is not None and x is None:
        raise ExportError("the page shows held-out events: pass x")
    directory.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        part.chmod(0o755)
        figures = _fill(part, flow, x, context, weights, page)
        _put(part, directory)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return figures


def _fill(
    part: Path, flow: Flow, x: Tensor | None, context: Tensor | None, weights: str, page: str | None
) -> list[verification.Figure]:
    spec = flow.to_spec()
    exact = copy.deepcopy(flow).cpu().double().eval()
    for name, graph in zip((ENCODER, DECODER), make_graphs(exact), strict=True):
        onnx.save_model(graph, part / name)
    events, context = _rows(exact, x, context)
    reference = _answers(exact, events, context)
    np.savez(part / REFERENCE, allow_pickle=False, **reference)
    (part / SPEC).write_text(to_yaml(canonical(spec)), encoding="utf-8")
    (part / LOCK).write_text(_json(lock(spec)), encoding="utf-8")
    manifest = {
        "format": FORMAT,
        "flowkit": __version__,
        "model": model_hash(spec),
        "event": {"shape": list(flow.event_shape), "levels": flow.levels},
        "context": flow.context and flow.context.model_dump(mode="json", exclude_none=True),
        "latents": [list(shape) for shape in flow.latent_shapes],
        "base": spec.base.name,
        "likelihood": likelihood(spec),
        "weights": weights,
        "opset": OPSET,
        "torch_fp32": _own_errors(exact, reference),
    }
    if page is not None:
        write_page(part, manifest, page)
    manifest["files"] = {path.name: _sha256(path) for path in sorted(part.iterdir())}
    (part / MANIFEST).write_text(_json(manifest), encoding="utf-8")
    figures = verification.verify(part)
    manifest["verification"] = {figure.quantity: asdict(figure) for figure in figures}
    (part / MANIFEST).write_text(_json(manifest), encoding="utf-8")
    return figures


def _rows(exact: Flow, x: Tensor | None, context: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Continuous events to verify on, exactly representable in fp32, and their context."""
    if x is None:
        context = None if exact.context is None else _any_context(exact)
        x = exact.sample(REFERENCE_ROWS, context, seed=0)
    x, context = x[:REFERENCE_ROWS], None if context is None else context[:REFERENCE_ROWS]
    events = exact.dequantize(x, torch.Generator().manual_seed(0)).float().double()
    return events, context if context is None or not context.is_floating_point() else context.float().double()


def _any_context(flow: Flow) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    assert flow.context is not None
    if flow.context.classes is not None:
        return torch.randint(flow.context.classes, (REFERENCE_ROWS,), generator=generator)
    return torch.randn(REFERENCE_ROWS, *(flow.context.shape or ()), generator=generator)


@torch.no_grad()
def _answers(flow: Flow, events: Tensor, context: Tensor | None) -> dict[str, np.ndarray]:
    """What the flow gives for these events, in its own precision: latents, log_prob, and x of the fp32 latents."""
    events = events.to(flow.dtype)
    latents, log_det = flow.forward_and_log_det(events, context)
    answers = {f"z_{i}": z for i, z in enumerate(latents, 1)}
    answers["log_prob"] = flow.latent_log_prob(latents) + log_det
    rounded = [z.float().to(flow.dtype) for z in latents]
    answers["decoded"] = flow.inverse_and_log_det(rounded, context)[0]
    answers["x"] = events
    if context is not None:
        answers["context"] = context
    return {name: tensor.numpy() for name, tensor in answers.items()}


def _own_errors(exact: Flow, reference: dict[str, np.ndarray]) -> dict[str, float]:
    """The errors of the same flow in fp32 torch: the yardstick for those of onnxruntime."""
    flow = copy.deepcopy(exact).float()
    tensors = {name: torch.from_numpy(array) for name, array in reference.items()}
    names = [name for name in reference if name.startswith("z_")]
    own = _answers(flow, tensors["x"], tensors.get("context"))
    own["round_trip"] = own["decoded"]  # fp32 latents are decoded as they are
    with torch.no_grad():
        of_reference = flow.inverse_and_log_det([tensors[name].float() for name in names], tensors.get("context"))[0]
    own["decoded"] = of_reference.numpy()
    return verification.compare(names, exact.levels, reference, own)


def _put(part: Path, directory: Path) -> None:
    """Move the finished bundle to its place; one that was there before is gone only once the new one stands."""
    old = part.with_name(f"{part.name}.old")
    if directory.exists():
        os.rename(directory, old)
    os.rename(part, directory)
    shutil.rmtree(old, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"
