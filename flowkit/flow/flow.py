"""Flow: a density made of bijectors and a base distribution."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flowkit.errors import format_path
from flowkit.flow import conditioning, saving
from flowkit.flow.assembly import assemble, build_plugin, check_chain
from flowkit.flow.base import Base, StandardNormal
from flowkit.flow.compilation import check_strategy
from flowkit.flow.composition import Layer, Plan, flat, frozen, runs
from flowkit.flow.factor_out import FactorOut
from flowkit.flow.inputs import (
    as_flowkit,
    check_events,
    check_latents,
    check_levels,
    check_memory,
    check_scale,
    check_shape,
    check_some,
    check_tensor,
    enough_memory,
)
from flowkit.flow.layout import channels_last
from flowkit.flow.memory import Drift
from flowkit.flow.precision import full_precision, precision_of
from flowkit.plugin.config import Shape
from flowkit.spec import Context, Spec, read_spec, walk
from flowkit_runtime import noise
from flowkit_runtime.inputs import checked_temperature, count, integer
from flowkit_runtime.paths import as_path


class Flow(nn.Module):
    """log p(x) = Σ_l log p(z_l) + Σ_i log|det J_i|, with (z_1, …, z_L) = f(x), f_i the layers.

    x is [batch, *event_shape] in data units. For integer data (``levels`` set) the value k stands for the interval
    [k, k + 1). z_1 … z_{L-1} are what left at factor-outs, standard normal; z_L is what the last layer gives, of the
    base distribution. The context of a conditional flow is labels [batch] or arrays [batch, *shape]; a single one,
    batched or not, serves all events. Threads may share a flow; layers may stand in it twice, be replaced, and be
    changed in tensors, parts and hooks, though a compiled flow sees no hook that comes later.
    """

    initialized: Tensor
    _precision: Tensor

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        base: Base | None = None,
        levels: int | None = None,
        context: Context | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_chain(layers, base)
        self.layers: Sequence[Layer] = nn.ModuleList(layers)  # type: ignore[assignment]
        self.event_shape = layers[0].event_shape
        self.base = base or StandardNormal(layers[-1].output_shape)
        self.levels = levels
        self.context = Context.model_validate(context) if isinstance(context, Mapping) else context
        self.spec = None
        self._plan = Plan(self.layers)
        self.memory = "store"
        self.drift = Drift()
        self.register_buffer("initialized", torch.tensor(False))
        self.register_buffer("_precision", torch.empty(0), persistent=False)
        self._apply(channels_last)  # what convolutions have weights in

    # Making and keeping

    @classmethod
    def from_spec(cls, spec: Spec | str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Flow:
        """Build a flow from a spec: a validated one, a file's path, or a dict. Raises SpecError, PluginError."""
        spec = spec if isinstance(spec, Spec) else read_spec(spec, overrides)
        base = build_plugin(spec.base, walk(spec)[-1].output_shape)
        flow = cls(assemble(spec), base=base, levels=spec.event.levels, context=spec.context)
        flow.spec = spec
        return flow

    @classmethod
    def load(cls, run: str | Path) -> Flow:
        """The trained flow of a finished run, in evaluation mode.

        Raises InputError for what is no path, RunError, SpecError, PluginError.

        Warns (VersionWarning) if the run was made with another version of a plugin.
        """
        run = as_flowkit(as_path, "run", run)
        flow = cls.from_spec(saving.read_run(run))
        saving.read_weights(flow, run / saving.WEIGHTS)
        return flow.eval()

    def save(self, path: str | Path) -> None:
        """Write the weights as safetensors. Raises InputError for what is no path."""
        saving.write_weights(self, as_flowkit(as_path, "path", path))

    @property
    def spec(self) -> Spec | None:
        """What this flow was built from; None for one built in Python, or of which a part was replaced since."""
        return self._spec if saving.parts(self) == self._parts else None

    @spec.setter
    def spec(self, spec: Spec | None) -> None:
        self._spec, self._parts = spec, saving.parts(self)

    def to_spec(self) -> Spec:
        """The spec that builds this flow. Raises PluginError for a layer that no installed plugin registers."""
        return self.spec or saving.describe(self)

    @property
    def memory(self) -> str:
        """What a forward pass keeps for the backward pass: see docs/memory.md. Raises InputError for an unknown one."""
        return self._memory

    @memory.setter
    def memory(self, strategy: str) -> None:
        check_memory(strategy)
        self._memory = strategy

    # The bijection x <-> (z_1, …, z_L)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[tuple[Tensor, ...], Tensor]:
        """The latents of continuous x, and log|det| [batch]."""
        check_events(x, self.event_shape, self.dtype, self.levels)
        context = conditioning.embed(self.context, context, x)
        return self._plan.forward(channels_last(x), context, self.memory, self.drift)

    def inverse_and_log_det(self, latents: Sequence[Tensor], context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Continuous x of latents, and log|det| [batch] of this inverse map."""
        check_latents(latents, self.latent_shapes, self.dtype)
        context = conditioning.embed(self.context, context, latents[-1])
        return self._plan.inverse([channels_last(z) for z in latents], context)

    def latent_log_prob(self, latents: Sequence[Tensor]) -> Tensor:
        """Σ_l log p(z_l) in nats, [batch]."""
        *left, last = latents
        with full_precision(last.device):
            return sum((StandardNormal(z.shape[1:]).log_prob(z) for z in left), self.base.log_prob(last))

    # The density

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log_prob: what DistributedDataParallel wraps is what it synchronises."""
        latents, log_det = self.forward_and_log_det(x, context)
        return self.latent_log_prob(latents) + log_det

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log p(x) in nats, [batch], at continuous x in data units. Raises InputError for integers: see score."""
        return self(x, context)

    def score(self, x: Tensor, context: Tensor | None = None, draws: int = 1, seed: int = 0) -> Tensor:
        """How unlikely each event is, [batch]: bits/dim for integer data, nats otherwise; lower is likelier.

        Integer data is scored at x + u, u ~ U[0, 1), the mean over ``draws`` of u: an upper bound of
        -log₂ P(x) / D (Theis et al. 2016, eq. 1).
        """
        if self.levels is None:
            return self.in_unit(self(x, context))
        draws = as_flowkit(integer, "draws", draws, 1, noise.DEQUANTIZATION_STREAM + 1)
        check_shape(x, self.event_shape)
        check_levels(x, self.levels)
        log_probs = [self(_within(x.to(self.dtype), self._uniform(seed, draw, x)), context) for draw in range(draws)]
        return self.in_unit(torch.stack(log_probs).mean(0))

    @property
    def size(self) -> int:
        """D, the number of values in an event."""
        return math.prod(self.event_shape)

    @property
    def unit(self) -> str:
        """The unit of losses and scores."""
        return "nats" if self.levels is None else "bits/dim"

    def in_unit(self, log_prob: Tensor) -> Tensor:
        """-log_prob / (D log 2) for integer data, -log_prob otherwise."""
        return -log_prob if self.levels is None else -log_prob / (self.size * math.log(2))

    def dequantize(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Integers k -> k + u, u ~ U[0, 1); continuous data as it is. In the flow's precision."""
        check_tensor("x", x)
        x = x.to(self.dtype)
        return x if self.levels is None else _within(x, torch.rand(x.shape, generator=generator, dtype=x.dtype).to(x))

    # Data <-> latents, samples

    def encode(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return (z_1, …, z_L) of x. Integers are encoded at k + ½, so that decode restores them on the data."""
        check_tensor("x", x)
        if self.levels is not None and not x.is_floating_point():
            check_levels(x, self.levels)
            x = x.to(self.dtype) + 0.5
        return self.forward_and_log_det(x, context)[0]

    def decode(self, latents: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        """The event of latents: for integer data floor(x), clipped to 0 … levels - 1, as an integer tensor."""
        x, _ = self.inverse_and_log_det(latents, context)
        if self.levels is None:
            return x
        return x.floor().clamp(0, self.levels - 1).to(torch.uint8 if self.levels <= 256 else torch.int32)

    @torch.no_grad()
    def sample(
        self, n: int, context: Tensor | None = None, temperature: float = 1.0, seed: int | None = None
    ) -> Tensor:
        """n events, [n, *event_shape]. The same seed gives the same noise here and in flowkit_runtime.

        temperature scales the noise: below 1 gives likelier, less varied samples (Kingma & Dhariwal 2018, §6).
        """
        n, scale = as_flowkit(count, n, 0, self.event_shape, None), as_flowkit(checked_temperature, temperature)
        check_scale(scale, self.dtype)
        with enough_memory():
            eps = [self._normal(n, shape, seed, stream) * scale for stream, shape in enumerate(self.latent_shapes)]
            with full_precision(self.device):
                latents = [*eps[:-1], self.base.from_noise(eps[-1])]
            return self.decode(latents, context)

    @property
    def latent_shapes(self) -> list[Shape]:
        """The event shapes of z_1 … z_L."""
        left = [layer.latent_shape for layer in self.layers if isinstance(layer, FactorOut)]
        return [*left, self.layers[-1].output_shape]

    # Before and after training

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Have torch.compile make one graph each way of what the layers do, at the first pass; arguments are its own.

        Densities, their gradients, encode, decode and samples then run faster, for any batch size, and are the same to
        rounding, but for other random numbers in dropout. Parameters, state_dict, freeze, export and copies stay plain.
        Raises FlowkitError without a C++ compiler, and under memory: reversible.
        """
        check_strategy(self.memory)
        self._plan.compile(*args, **kwargs)

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Data-dependent initialization from a batch of continuous x, layer by layer. Only the first call does it."""
        if self.initialized:
            return
        check_events(x, self.event_shape, self.dtype, self.levels)
        check_some(x)
        context = conditioning.embed(self.context, context, x)
        with full_precision(x.device):
            for layer in self.layers:
                if isinstance(layer, FactorOut):
                    x, _ = layer.split(x)
                else:
                    layer.initialize(x, context)
                    x, _ = layer.forward_and_log_det(x, context)
        self.initialized.fill_(True)

    def freeze(self) -> Flow:
        """A copy for inference: each channel-linear run is one convolution, its log-det a constant."""
        own = copy.deepcopy(self)
        with full_precision(self.device):
            layers = frozen(own.layers, self.dtype, self.device)
        flow = Flow(layers, base=own.base, levels=self.levels, context=self.context)
        flow.initialized.fill_(True)
        return flow.to(self.device, self.dtype).eval()

    def frozen_names(self) -> list[str]:
        """What each layer of ``freeze()`` was made of, and where that stands."""
        names = {id(part): name for name, layer in self._named_layers() for part in flat([layer])}
        return [", ".join(names[id(layer)] for layer in run) for run in runs(self.layers)]

    @torch.no_grad()
    def first_nonfinite(self, x: Tensor, context: Tensor | None = None) -> str | None:
        """The first layer whose output or log-det is not finite for this batch, and where it stands; None if none."""
        check_shape(x, self.event_shape)
        context = conditioning.embed(self.context, context, x)
        for name, layer in self._named_layers():
            if isinstance(layer, FactorOut):
                x, _ = layer.split(x)
                continue
            with precision_of(layer, x.device):
                x, log_det = layer.forward_and_log_det(x, context)
            if not (x.isfinite().all() and log_det.isfinite().all()):
                return name
        return None

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the parameters; without any, as in a frozen flow, what `to` or `double` made of the flow."""
        return next((p.dtype for p in self.parameters() if p.is_floating_point()), self._precision.dtype)

    @property
    def device(self) -> torch.device:
        """Where the flow is."""
        return self.initialized.device

    def _named_layers(self) -> Iterator[tuple[str, Layer]]:
        if self.spec is None:
            yield from ((f"layer {i} ({type(layer).__name__})", layer) for i, layer in enumerate(self.layers))
            return
        for index, (step, layer) in enumerate(zip(walk(self.spec), self.layers, strict=True)):
            yield f"layer {index} ({step.name} at {format_path(step.path)})", layer

    def _normal(self, n: int, shape: Shape, seed: int | None, stream: int) -> Tensor:
        if seed is None:
            return torch.randn(n, *shape, dtype=self.dtype, device=self.device)
        return torch.from_numpy(as_flowkit(noise.normal, seed, stream, (n, *shape))).to(self.device, self.dtype)

    def _uniform(self, seed: int, draw: int, x: Tensor) -> Tensor:
        u = as_flowkit(noise.uniform, seed, noise.DEQUANTIZATION_STREAM + draw, tuple(x.shape))
        return torch.from_numpy(u).to(self.device, self.dtype)


def _within(k: Tensor, u: Tensor) -> Tensor:
    """k + u, below k + 1: in fp32 the sum of 255 and the largest u would round up to 256, out of the data's range."""
    return torch.minimum(k + u, torch.nextafter(k + 1, k))
