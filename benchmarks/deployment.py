"""A flow's ONNX graphs in onnxruntime beside the flow itself in torch: the way to latents and density, and back."""

from __future__ import annotations

import copy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from benchmarks.contender import perturb
from benchmarks.glow import Glow
from benchmarks.splines import Splines
from flowkit.bijectors import FactorOut
from flowkit.bijectors.composition import flat, frozen
from flowkit.export import export
from flowkit.export.graphs import Graphs
from flowkit.flow import Flow
from flowkit_runtime.bundle import DECODER, ENCODER

Spec = Mapping[str, Any]
"""``event`` and ``flow``."""

SETTINGS: dict[str, Spec] = {"glow": Glow().spec(normalization="none"), "tabular": Splines().spec()}
TINY: dict[str, Spec] = {
    "glow": Glow((1, 4, 4), levels=2, steps=1, hidden=4).spec(normalization="none"),
    "tabular": Splines(features=3, couplings=2, hidden=4).spec(),
}
LAYERED = {"glow"}
"""Those that have channel-linear layers to merge."""
COLUMNS = tuple((task, n) for task in ("encode", "decode") for n in (1, 16, 64))


def started_flow(spec: Spec) -> Flow:
    """The same flow for all: initialized, its parameters moved, in evaluation mode."""
    torch.manual_seed(0)
    flow = Flow.from_spec({"flowkit": 1, **spec})
    flow.initialize(events(spec)(64))
    perturb(flow)
    return flow.eval()


def events(spec: Spec) -> Callable[[int], Tensor]:
    """n events of noise."""
    shape = spec["event"]["shape"]
    return lambda n: torch.randn(n, *shape, generator=torch.Generator().manual_seed(0))


@dataclass
class InTorch:
    """The flow, compiled or not, without gradients."""

    flow: Flow
    compiled: bool = False
    module: nn.Module | None = None
    """No training step is counted."""

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.flow.parameters())

    def start(self, x: Tensor) -> None:
        if self.compiled:
            self.flow.compile()

    def step(self, task: str, x: Tensor) -> Callable[[], Any]:
        """Images come in channels_last, which is what torch is fastest with."""
        x, *latents = map(_channels_last, [x, *latents_of(self.flow, x)])
        return torch.no_grad()(lambda: self._encode(x) if task == "encode" else self.flow.decode(latents))

    def _encode(self, x: Tensor) -> tuple[Tensor, ...]:
        latents, log_det = self.flow.forward_and_log_det(x)
        return (*latents, self.flow.latent_log_prob(latents) + log_det)


@dataclass
class InOnnxruntime:
    """Both graphs of the flow, on as many threads as torch has."""

    flow: Flow
    merged: bool = True
    """Whether runs of channel-linear layers are one convolution, as in an export, or each layer one of its own."""
    module: nn.Module | None = None
    sessions: dict[str, Any] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.flow.parameters())

    def start(self, x: Tensor) -> None:
        exact = copy.deepcopy(self.flow).double()
        graphs = Graphs(exact if self.merged else layer_by_layer(exact))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.force_spinning_stop", "1")  # while it is torch's turn
        for task, graph in {"encode": graphs.models[ENCODER], "decode": graphs.models[DECODER]}.items():
            data = graph.SerializeToString()
            self.bytes[task] = len(data)
            self.sessions[task] = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def step(self, task: str, x: Tensor) -> Callable[[], Any]:
        session = self.sessions[task]
        given = [x] if task == "encode" else latents_of(self.flow, x)
        feed = {node.name: t.contiguous().numpy() for node, t in zip(session.get_inputs(), given, strict=True)}
        return lambda: session.run(None, feed)


def _channels_last(t: Tensor) -> Tensor:
    return t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t


@torch.no_grad()
def latents_of(flow: Flow, x: Tensor) -> list[Tensor]:
    """What there is to decode."""
    return list(flow.encode(x))


def layer_by_layer(exact: Flow) -> Flow:
    """An fp64 flow with every layer frozen by itself: no two are merged, log-dets are constants all the same."""
    like = torch.empty(0, dtype=exact.dtype)
    apart = ([layer] if isinstance(layer, FactorOut) else frozen([layer], like) for layer in flat(exact.layers))
    parts = [part for layers in apart for part in layers]
    return Flow(parts, base=list(exact.bases)).double().eval()


UNMERGED = "onnxruntime, layers not merged"
CONTENDERS: dict[str, Callable[[Spec], InTorch | InOnnxruntime]] = {
    "torch": lambda spec: InTorch(started_flow(spec)),
    "torch, compiled": lambda spec: InTorch(started_flow(spec), compiled=True),
    "onnxruntime": lambda spec: InOnnxruntime(started_flow(spec)),
    UNMERGED: lambda spec: InOnnxruntime(started_flow(spec), merged=False),
}

FIRST_SCORE = """if True:
    import sys
    import numpy
    import flowkit_runtime
    model = flowkit_runtime.load(sys.argv[1])
    model.score(numpy.load(sys.argv[2]))
    print("scored", flush=True)
    sys.stdin.read()
"""


def seconds_to_first_score(spec: Spec, processes: int, advance: Callable[[], None]) -> list[float]:
    """From the start of a process to the score of one event by the exported flow, of new processes one by one."""
    with tempfile.TemporaryDirectory() as directory:
        bundle, file = Path(directory, "bundle"), Path(directory, "x.npy")
        export(started_flow(spec), bundle)
        np.save(file, events(spec)(1).numpy())
        command = [sys.executable, "-c", FIRST_SCORE, str(bundle), str(file)]
        return [_until_it_speaks(command, advance) for _ in range(processes)]


def _until_it_speaks(command: list[str], advance: Callable[[], None]) -> float:
    start = perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        seconds = perf_counter() - start
        process.communicate()
    if said != b"scored\n":
        raise RuntimeError(f"the process left with {process.returncode}, without a score")
    advance()
    return seconds
