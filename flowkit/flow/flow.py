"""Defines Flow, a density made of bijectors and base distributions."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flowkit.bijectors import Base, Encoder, Noise, full_precision
from flowkit.bijectors.composition import frozen, initialize_through, inverse_through
from flowkit.bijectors.memory import STRATEGIES, Drift, Strategy
from flowkit.bijectors.multiscale import Layer, Through, from_latents, segments, shapes_of_latents, to_latents
from flowkit.directions import Direction, Shared, lacks, shared
from flowkit.errors import DirectionError, InputError
from flowkit.flow import building, inputs, saving
from flowkit.flow.compilation import STRATEGIES_BY_STEPS, Scope, compiled, inverse_by_steps
from flowkit.flow.dequantization import as_context, check_dequantizer, within
from flowkit.flow.sampling import draw_latents, draw_noise
from flowkit.flow.writing import spec_of
from flowkit.plugin.descriptor import Likelihood
from flowkit.shapes import Shape
from flowkit.spec import ContextSpec, Spec, dequantizer, flow_directions, likelihood, read_spec
from flowkit.spec.run import WEIGHTS, read_run
from flowkit_runtime import noise
from flowkit_runtime.bundle import printed_unit
from flowkit_runtime.files import as_path
from flowkit_runtime.inputs import checked_temperature, integer, sample_shape


class Flow(nn.Module):
    """A density over events x, made of layers and base distributions: log p(x) = Σ_l log p(z_l) + Σ_i log|det J_i|.

    (z_1, …, z_L) = f(x) are the latents, and J_i is the Jacobian of layer i. x is [batch, *event_shape] in data units.
    For integer data (``levels`` is set) the value k stands for the interval [k, k + 1). The latents z_1 … z_{L-1} leave
    the flow at factor-outs, and z_L is the output of the last layer. The context of a conditional flow is labels
    [batch] or an array [batch, *shape]. A single label or row serves all events.

    A flow has the directions that all of its layers have. One that runs forward only has densities and latents, and no
    samples. One that runs its inverse only has samples alone. A method that needs the other direction raises
    DirectionError.

    Threads may share a flow. A layer may occur in it twice, and layers may be replaced or changed at any time.

    Args:
        layers: The layers from the data to the latents: bijectors and factor-outs.
        base: The base distribution of z_L, or a list with one for each latent. A latent for which none is given is
            standard normal.
        levels: The number of values of integer data 0 … levels - 1. None for continuous data.
        context: The context as a spec has it: ``{"classes": 10}`` for labels, or ``{"shape": [3]}``. None without one.
        encoder: A network that summarizes the context, once per call. Layers and bases read its output in the place of
            the context.
        dequantizer: A flow of the noise u of integer data k, whose context is k in units of the range, (k + ½) / levels
            - ½. It is fitted together with this flow. Without it u is uniform.

    Raises:
        InputError: If the base, the encoder or the dequantizer is of another type, or doesn't fit the flow.
        ShapeError: If a layer doesn't take the output shape of the layer before it, or a base has another shape than
            its latent.

    References:
        Ho et al. 2019, "Flow++: Improving Flow-Based Generative Models with Variational Dequantization and Architecture
        Design", §3.1, for the dequantizer.

    Examples:
        >>> from flowkit import Flow, presets
        >>> flow = Flow.from_spec(presets.realnvp(2))
        >>> x = flow.sample(5, seed=0)
        >>> flow.log_prob(x).shape
        torch.Size([5])

        A flow of layers:

        >>> from flowkit_glow.actnorm import ActNorm
        >>> from flowkit_glow.conv1x1 import Conv1x1
        >>> flow = Flow([ActNorm((3,)), Conv1x1((3,))])
        >>> (z,) = flow.encode(flow.sample(5))
        >>> z.shape
        torch.Size([5, 3])
    """

    initialized: Tensor
    _precision: Tensor

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        base: Base | Sequence[Base] | None = None,
        levels: int | None = None,
        context: ContextSpec | Mapping[str, Any] | None = None,
        encoder: Encoder | None = None,
        dequantizer: Flow | None = None,
    ) -> None:
        super().__init__()
        building.check_chain(layers)
        if dequantizer is not None:
            if not isinstance(dequantizer, Flow):
                raise InputError(f"the dequantizer is a Flow of the noise, not a {type(dequantizer).__name__}")
            if dequantizer.encoder is not None:
                raise InputError("the dequantizer reads the integers themselves: leave its encoder out")
            domains = None if dequantizer.spec is None else dequantizer.spec.event.domains
            check_dequantizer(dequantizer.event_shape, dequantizer.context, domains, layers[0].event_shape, levels)
        self.layers: Sequence[Layer] = nn.ModuleList(layers)  # type: ignore[assignment]
        self.event_shape: Shape = layers[0].event_shape
        self.bases: Sequence[Base] = nn.ModuleList(building.all_bases(self.latent_shapes, base))  # type: ignore[assignment]
        self.levels = levels
        self.dequantizer = dequantizer
        self.context: ContextSpec | None = building.context_without_encoder(context, encoder)
        self.encoder: Encoder | None = encoder
        self.spec = None
        self.memory = "store"
        self.drift = Drift()
        self.register_buffer("initialized", torch.tensor(False))
        self.register_buffer("_precision", torch.empty(0), persistent=False)
        self._apply(inputs.channels_last)  # this lays out the weights of convolutions

    # The density

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return ``log_prob(x, context)``.

        This is `forward` because DistributedDataParallel synchronises gradients only for calls of forward.

        Args:
            x: Continuous events in data units, [batch, *event_shape].
            context: Labels [batch] or an array [batch, *shape], or a single one for all events.
        """
        x, given = self._events_and_context(x, context)
        latents, log_det = self._forward(x, given)
        return self._latent_log_prob(latents, given) + log_det

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log p(x) in nats, [batch], at continuous x in data units.

        Args:
            x: The events, [batch, *event_shape], in the flow's precision. For integer data these are points k + u.
            context: Labels [batch] or an array [batch, *shape], or a single one for all events. None for a flow without
                a context.

        Raises:
            InputError: If x or the context has the wrong shape or type. Integers have no density at a point: see
                ``nll``.
            DirectionError: If the flow has no forward direction.
        """
        return self(x, context)

    def nll(self, x: Tensor, context: Tensor | None = None, draws: int = 1, seed: int = 0, start: int = 0) -> Tensor:
        """Return the negative log-likelihood of each event in nats, [batch].

        Integer data is scored at x + u with noise u ~ q(u | x), which is U[0, 1) or that of the dequantizer. The result
        is the mean of log q(u | x) - log p(x + u) over ``draws`` draws of u. Its expectation is an upper bound of -log
        P(x). The noise of an event depends only on ``seed`` and the number of its row.

        Args:
            x: The events, [batch, *event_shape]: integers 0 … levels - 1 if the flow has levels, otherwise floats.
            context: Labels [batch] or an array [batch, *shape], or a single one for all events.
            draws: The number of draws of noise. It has no effect on continuous data.
            seed: The seed of the noise.
            start: The number of the first row. Parts of a data set then get the noise that they have in the whole.

        Raises:
            InputError: If an argument is out of range, or has the wrong shape.
            DirectionError: If the flow has no forward direction.

        References:
            - Theis et al. 2016, "A Note on the Evaluation of Generative Models", eq. 1.
            - Ho et al. 2019, "Flow++", eq. 11, for a dequantizer.
        """
        if self.levels is None:
            return -self(x, context)
        nlls = [log_q - self(points, context) for points, log_q in self.dequantizations(x, draws, seed, start)]
        return torch.stack(nlls).mean(0)

    def bits_per_dim(
        self, x: Tensor, context: Tensor | None = None, draws: int = 1, seed: int = 0, start: int = 0
    ) -> Tensor:
        """Return ``nll`` in bits/dim, [batch]: it is divided by log 2 and by D, the number of values in an event.

        Args:
            x: As for ``nll``.
            context: As for ``nll``.
            draws: As for ``nll``.
            seed: As for ``nll``.
            start: As for ``nll``.
        """
        return self.nll(x, context, draws, seed, start) / (math.prod(self.event_shape) * math.log(2))

    def dequantize(self, x: Tensor, seed: int | None = None, draw: int = 0, start: int = 0) -> tuple[Tensor, Tensor]:
        """Return k + u for integers k, in the flow's precision, and log q(u | k) in nats, [batch].

        The noise u is uniform in [0, 1), or drawn from the dequantizer. The same seed and number of the draw give the
        same noise here and in flowkit_runtime. Continuous data is only converted to the flow's precision, and log q is
        0.

        Args:
            x: The events, [batch, *event_shape].
            seed: The seed of the noise. Without one it is drawn from torch's global generator.
            draw: The number of the draw, counted from 0.
            start: The number of the first row, as for ``nll``.

        Raises:
            InputError: If x has the wrong shape.
        """
        inputs.check_shape(x, self.event_shape)
        k = x.to(self.dtype)
        if self.levels is None:
            return k, k.new_zeros(k.shape[0])
        if self.dequantizer is None:
            stream = noise.DEQUANTIZATION_STREAM + draw
            u = draw_noise(Noise("uniform", self.event_shape), k, 1.0, seed, stream, start)
            return within(k, u), k.new_zeros(k.shape[0])
        given, arrays = as_context(k, self.levels), sum(len(base.noise) for base in self.dequantizer.bases)
        stream = noise.DEQUANTIZATION_STREAM + draw * arrays
        latents = draw_latents(self.dequantizer.bases, k, given, 1.0, seed, stream, start)
        u, log_det = self.dequantizer.inverse_and_log_det(latents, given)
        return within(k, u), self.dequantizer.latent_log_prob(latents, given) - log_det

    def dequantizations(
        self, x: Tensor, draws: int = 1, seed: int = 0, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield what ``dequantize`` returns for each draw of noise. Continuous data is yielded once, as it is.

        Args:
            x: As for ``nll``.
            draws: As for ``nll``.
            seed: As for ``nll``.
            start: As for ``nll``.

        Raises:
            InputError: If an argument is out of range, or x has the wrong shape.
        """
        inputs.check_shape(x, self.event_shape)
        if self.levels is None:
            yield x, x.new_zeros(len(x))
            return
        draws = inputs.as_flowkit(integer, "draws", draws, 1, noise.DEQUANTIZATION_STREAM + 1)
        inputs.check_levels(x, self.levels)
        for draw in range(draws):
            yield self.dequantize(x, seed, draw, start)

    # Data <-> latents, samples

    def encode(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the latents (z_1, …, z_L) of x. An integer k is encoded at k + ½, the middle of its interval.

        Args:
            x: The events, [batch, *event_shape]. For a flow with levels, integers by dtype are such k, and floats are
                encoded as they are.
            context: Labels [batch] or an array [batch, *shape], or a single one for all events.

        Raises:
            InputError: If x or the context has the wrong shape or type.
            DirectionError: If the flow has no forward direction.
        """
        inputs.check_tensor("x", x)
        if self.levels is not None and not x.is_floating_point():
            inputs.check_levels(x, self.levels)
            x = x.to(self.dtype) + 0.5
        return self.forward_and_log_det(x, context)[0]

    def decode(self, latents: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        """Return the events of latents, [batch, *event_shape].

        For integer data these are floor(x), clipped to 0 … levels - 1, as an integer tensor.

        Args:
            latents: z_1, …, z_L, each [batch, *shape] (see ``latent_shapes``).
            context: Labels [batch] or an array [batch, *shape], or a single one for all events.

        Raises:
            InputError: If the latents or the context have the wrong shape or type.
            DirectionError: If the flow has no inverse.
        """
        x, _ = self.inverse_and_log_det(latents, context)
        return self._in_data(x)

    def _in_data(self, x: Tensor) -> Tensor:
        """Return continuous x as the data has it."""
        if self.levels is None:
            return x
        return x.floor().clamp(0, self.levels - 1).to(torch.uint8 if self.levels <= 256 else torch.int32)

    @torch.no_grad()
    def sample(
        self,
        n: int | tuple[int, ...],
        context: Tensor | None = None,
        temperature: float = 1.0,
        seed: int | None = None,
    ) -> Tensor:
        """Draw events. The same seed gives the same noise here and in flowkit_runtime.

        Args:
            n: The number of events, or a shape, as numpy's ``size``. The contexts are broadcast to this shape. So
                ``sample((200, 5), context)`` draws 200 events for each of 5 contexts.
            context: Labels [n] or an array [n, *shape], or a single one for all events.
            temperature: The scale of normal noise: below 1 samples are likelier and less varied. Uniform noise, with
                which a mixture chooses a component, isn't scaled.
            seed: The seed of the noise. Without one it is drawn from torch's global generator.

        Returns:
            The events, ``[n, *event_shape]``, or ``[*n, *event_shape]`` if n is a shape.

        Raises:
            InputError: If n, temperature or seed is out of range, the context doesn't fit n, or there isn't enough
                memory.
            DirectionError: If the flow runs forward only.

        References:
            Kingma & Dhariwal 2018, "Glow: Generative Flow with Invertible 1×1 Convolutions", §6, for the temperature.
        """
        scale = inputs.as_flowkit(checked_temperature, temperature)
        inputs.check_scale(scale, self.dtype)
        return self._sample(n, context, scale, seed)

    def rsample(self, n: int | tuple[int, ...], context: Tensor | None = None, seed: int | None = None) -> Tensor:
        """Draw events as ``sample`` does, with pathwise gradients for the parameters and the context.

        Args:
            n: The number of events, or a shape.
            context: Labels [n] or an array [n, *shape], or a single one for all events.
            seed: The seed of the noise.

        Returns:
            The events, ``[n, *event_shape]``, or ``[*n, *event_shape]`` if n is a shape.

        Raises:
            InputError: If there are no such gradients: for integer data, and for a base that chooses among components.
                ``reparametrized`` is False for these. Also where ``sample`` raises it.
            DirectionError: If the flow runs forward only.

        References:
            Kingma & Welling 2014, "Auto-Encoding Variational Bayes".
        """
        if not self.reparametrized:
            self._check_has("inverse")
            raise InputError(f"samples of this flow have no pathwise gradients, because {self._obstacle()}: use sample")
        return self._sample(n, context, 1.0, seed)

    @property
    def reparametrized(self) -> bool:
        """True if samples are differentiable functions of noise, so that ``rsample`` can draw them."""
        return not lacks(self.directions, "inverse") and self._obstacle() is None

    def _obstacle(self) -> str | None:
        """Return why samples aren't differentiable functions of noise, or None if they are."""
        if self.levels is not None:
            return "its data are integers"
        chosen = [type(base).__name__ for base in self.bases if not base.reparametrized]
        return f"its base {chosen[0]} chooses among components" if chosen else None

    def _sample(self, n: int | tuple[int, ...], context: Tensor | None, scale: float, seed: int | None) -> Tensor:
        self._check_has("inverse")
        shape = inputs.as_flowkit(sample_shape, n, self.event_shape, None)
        with inputs.enough_memory():
            given = self._context_of_samples(context, shape)
            x, _ = self._inverse(draw_latents(self.bases, self._empty(math.prod(shape)), given, scale, seed), given)
            return self._in_data(x).reshape(*shape, *self.event_shape)

    @torch.no_grad()
    def sample_latents(
        self, n: int, context: Tensor | None = None, temperature: float = 1.0, seed: int | None = None
    ) -> tuple[Tensor, ...]:
        """Draw latents from the base distributions.

        Each array of noise has a stream of its own, in the order of the latents.

        Args:
            n: The number of events.
            context: Labels [n] or an array [n, *shape], or a single one for all events.
            temperature: The scale of normal noise.
            seed: The seed of the noise. Without one it is drawn from torch's global generator.

        Returns:
            z_1, …, z_L, each [n, *shape].
        """
        like = self._empty(n)
        return draw_latents(self.bases, like, self.encode_context(context, like), temperature, seed)

    # The bijection x <-> (z_1, …, z_L)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the latents of continuous x, and log|det| [batch].

        Args:
            x: The events, [batch, *event_shape].
            context: Labels [batch] or an array [batch, *shape], or a single one for all events.
        """
        return self._forward(*self._events_and_context(x, context))

    def inverse_and_log_det(self, latents: Sequence[Tensor], context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the continuous x of latents, and log|det| [batch] of this inverse map.

        Args:
            latents: z_1, …, z_L, each [batch, *shape].
            context: Labels [batch] or an array [batch, *shape], or a single one for all events.
        """
        self._check_has("inverse")
        inputs.check_latents(latents, self.latent_shapes, self.dtype)
        return self._inverse(list(map(inputs.channels_last, latents)), self.encode_context(context, latents[-1]))

    def latent_log_prob(self, latents: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        """Return Σ_l log p(z_l) in nats, [batch].

        Args:
            latents: z_1, …, z_L, each [batch, *shape].
            context: Labels [batch] or an array [batch, *shape], or a single one for all events.

        Raises:
            InputError: If latents or the context have the wrong shape or type.
        """
        inputs.check_latents(latents, self.latent_shapes, self.dtype)
        return self._latent_log_prob(latents, self.encode_context(context, latents[-1]))

    # The context: methods with an underscore take it as layers and bases read it

    def _events_and_context(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Check continuous x, and return it with the context of each event."""
        if self._declared != "both":  # what isn't declared is found by the layer whose method is missing
            self._check_has("forward")
        inputs.check_events(x, self.event_shape, self.dtype, self.levels)
        return inputs.channels_last(x), self.encode_context(context, x)

    def encode_context(self, context: Tensor | None, like: Tensor) -> Tensor | None:
        """Return the context of each event of a batch as layers and bases read it, [batch, …].

        Labels are one-hot, and the encoder summarizes, if there is one. A single context for all is encoded once.

        Args:
            context: Labels [batch] or an array [batch, *shape], or a single one for all events.
            like: A tensor [batch, …] on the device and in the precision of the events.
        """
        rows = inputs.embed(self.context, context, like)
        return inputs.repeated(self._encoded(rows), like.shape[0])

    def _context_of_samples(self, context: Tensor | None, shape: Shape) -> Tensor | None:
        """Return the encoded context of each sample. A batch of contexts is encoded, then broadcast to the shape."""
        rows, batch = inputs.sample_rows(self.context, context, shape)
        if rows is None:
            return None
        encoded = self._encoded(inputs.embed(self.context, rows, self._empty(len(rows))))
        return None if encoded is None else inputs.broadcast_rows(encoded, batch, shape)

    def _encoded(self, rows: Tensor | None) -> Tensor | None:
        """Return contexts, one-hot if they are labels, through the encoder if there is one."""
        return rows if rows is None or self.encoder is None else self.encoder(rows).to(rows.dtype)

    def _empty(self, n: int) -> Tensor:
        """Return a tensor [n] in the precision and on the device of the flow."""
        return torch.empty(n, dtype=self.dtype, device=self.device)

    def _latent_log_prob(self, latents: Sequence[Tensor], context: Tensor | None) -> Tensor:
        with full_precision(latents[-1].device):
            terms = [base.log_prob(z, context) for base, z in zip(self.bases, latents, strict=True)]
            return torch.stack(terms).sum(0)

    def _forward(
        self, x: Tensor, context: Tensor | None, strategies: Mapping[str, Strategy] = STRATEGIES
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        run = strategies[self.memory if torch.is_grad_enabled() else "store"]
        return to_latents(self.layers, x, context, lambda layers, x, context: run(layers, x, context, self.drift))

    def _inverse(
        self, latents: Sequence[Tensor], context: Tensor | None, through: Through = inverse_through
    ) -> tuple[Tensor, Tensor]:
        return from_latents(self.layers, latents, context, through)

    @property
    def latent_shapes(self) -> list[Shape]:
        """The event shapes of z_1 … z_L."""
        return shapes_of_latents(self.layers)

    # Before and after training

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Initialize the encoder and the layers one after another from a batch of continuous x, and then the bases.

        Only the first call has an effect.

        Args:
            x: The events, [batch, *event_shape].
            context: Labels [batch] or an array [batch, *shape], or a single one for all events.

        Raises:
            InputError: If there is no event, one isn't finite, or x has the wrong shape or type.
            DirectionError: If the flow has no forward direction.
        """
        if self.initialized:
            return
        self._check_has("forward")
        inputs.check_events(x, self.event_shape, self.dtype, self.levels)
        inputs.check_some(x)
        if self.dequantizer is not None and self.levels is not None:
            self.dequantizer.initialize(x - x.floor(), as_context(x.floor(), self.levels))
        with full_precision(x.device):
            if self.encoder is not None and (rows := inputs.embed(self.context, context, x)) is not None:
                self.encoder.initialize(rows)
            context = self.encode_context(context, x)
            latents, _ = to_latents(self.layers, x, context, initialize_through)
            for base, z in zip(self.bases, latents, strict=True):
                base.initialize(z, context)
        self.initialized.fill_(True)

    @property
    def memory(self) -> str:
        """The memory strategy of a forward pass: ``store``, ``checkpoint`` or ``reversible`` (see docs/memory.md).

        Raises:
            InputError: If an unknown strategy is set, or reversible for a compiled flow.
            DirectionError: If reversible is set, and a layer has no inverse.
        """
        return self._memory

    @memory.setter
    def memory(self, strategy: str) -> None:
        inputs.check_memory(strategy)
        if strategy == "reversible":
            self._check_has("inverse")
        if "_forward" in vars(self):
            inputs.check_compilable(strategy)
        self._memory = strategy

    def compile(self, scope: Scope = "flow", **options: Any) -> None:
        """Compile the flow. At its first pass in each direction, torch.compile makes one graph of it.

        Densities, their gradients, encode, decode and sample then run faster, for any batch size. Their results are the
        same up to rounding, except that dropout draws other random numbers. The encoder of the context, which runs once
        per call, isn't compiled. Parameters, state_dict, freeze, export and copies are not affected.

        Args:
            scope: ``"flow"``, or ``"step"`` to compile one step of each kind instead of the whole flow. Deep flows then
                compile much sooner, and run a little slower.
            **options: The options of torch.compile.

        Raises:
            FlowkitError: If there is no C++ compiler.
            InputError: Under ``memory: reversible``, or for an unknown scope.
        """
        inputs.check_compilable(self.memory, scope)
        strategies, through = (
            (STRATEGIES, inverse_through) if scope == "flow" else (STRATEGIES_BY_STEPS, inverse_by_steps)
        )
        forward, inverse = type(self)._forward, type(self)._inverse
        self._forward = compiled(lambda x, c: forward(self, x, c, strategies), scope, **options)  # type: ignore[method-assign]
        self._inverse = compiled(lambda z, c: inverse(self, z, c, through), scope, **options)  # type: ignore[method-assign]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name not in ("_forward", "_inverse")}

    def freeze(self) -> Flow:
        """Return a copy for inference, in which each channel-linear run is one convolution with a constant log-det."""
        own, like = copy.deepcopy(self), torch.empty(0, dtype=self.dtype, device=self.device)
        layers: list[Layer] = []
        with full_precision(self.device):
            for bijectors, factor_out in segments(own.layers):
                layers += [*frozen(bijectors, like), *([factor_out] if factor_out else [])]
            bases = [base.freeze() for base in own.bases]
        dequantizer = None if own.dequantizer is None else own.dequantizer.freeze()
        flow = Flow(
            layers,
            base=bases,
            levels=self.levels,
            context=self.context,
            encoder=own.encoder,
            dequantizer=dequantizer,
        )
        flow.initialized.fill_(True)
        return flow.to(self.device, self.dtype).eval()

    # From and to specs and files

    @classmethod
    def from_spec(cls, spec: Spec | str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Flow:
        """Build a flow from a spec. Its parameters are those before training.

        Args:
            spec: A validated spec, a file's path, a text, or a dict.
            overrides: Changes such as ``"flow[0].use=glow/actnorm"``, as the command line's ``--set`` has them.

        Returns:
            The flow, whose ``spec`` this is.

        Raises:
            SpecError: If the spec isn't valid.
            PluginError: If a plugin is broken.
            ShapeError: If the flow would have too many parameters.
        """
        spec = spec if isinstance(spec, Spec) else read_spec(spec, overrides)
        noise_spec = dequantizer(spec)
        flow = cls(
            building.build_layers(spec),
            base=building.build_bases(spec),
            levels=spec.event.levels,
            context=spec.context,
            encoder=building.build_encoder(spec),
            dequantizer=None if noise_spec is None else cls.from_spec(noise_spec),
        )
        flow.spec = spec
        return flow

    @classmethod
    def load(cls, run: str | Path) -> Flow:
        """Return the trained flow of a finished run, in evaluation mode.

        It warns (VersionWarning) if the run was made with another version of a plugin.

        Args:
            run: The directory of the run.

        Raises:
            InputError: If ``run`` is no path.
            RunError: If it is no finished run, or a file in it is damaged.
            SpecError: If the spec of the run isn't valid with the installed plugins.
            PluginError: If a plugin is missing or broken.
        """
        run = inputs.as_flowkit(as_path, "run", run)
        flow = cls.from_spec(read_run(run))
        saving.read_weights(flow, run / WEIGHTS)
        return flow.eval()

    def save(self, path: str | Path) -> None:
        """Write the weights as safetensors. A flow of the same spec reads them as any module does.

        Args:
            path: The file. One that exists is replaced.

        Raises:
            InputError: If ``path`` is no path.

        Examples:
            >>> from safetensors.torch import load_file
            >>> from flowkit import Flow, presets
            >>> flow = Flow.from_spec(presets.realnvp(2))
            >>> flow.save("weights.safetensors")
            >>> again = Flow.from_spec(flow.to_spec())
            >>> again.load_state_dict(load_file("weights.safetensors"))
            <All keys matched successfully>
        """
        saving.write_tensors(self.state_dict(), inputs.as_flowkit(as_path, "path", path))

    @property
    def spec(self) -> Spec | None:
        """The spec that this flow was built from.

        It is None if the flow was built in Python, or if a part was replaced since.
        """
        return self._spec if self._named_parts() == self._parts else None

    @spec.setter
    def spec(self, spec: Spec | None) -> None:
        self._spec, self._parts = spec, self._named_parts()
        self._declared: Shared = "both" if spec is None else flow_directions(spec)

    def _named_parts(self) -> list[nn.Module]:
        own = building.parts(self.layers, self.bases, self.encoder)
        return own if self.dequantizer is None else own + self.dequantizer._named_parts()

    def to_spec(self) -> Spec:
        """Return the spec that builds this flow.

        Raises:
            PluginError: If no installed plugin registers a layer.
        """
        noise_parts = None if self.dequantizer is None else (self.dequantizer.layers, self.dequantizer.bases)
        if self.spec is not None:
            return self.spec
        return spec_of(self.layers, self.bases, self.levels, self.context, self.encoder, noise_parts)

    # Properties

    @property
    def directions(self) -> Shared:
        """The directions that all layers have: both, forward, inverse or neither.

        A layer of a spec has at most those that its config declares.
        """
        own = shared(layer.directions for layer in self.layers)
        return own if self._declared == "both" or self.spec is None else shared([own, self._declared])

    def _check_has(self, direction: Direction) -> None:
        """Raise DirectionError, naming a layer, if the flow lacks this direction."""
        if not torch.compiler.is_compiling() and lacks(self.directions, direction):
            raise DirectionError(building.without_direction(self.layers, self.spec, direction))

    @property
    def unit(self) -> str:
        """The unit of losses and scores: bits/dim for integer data, nats otherwise."""
        return "nats" if self.levels is None else "bits/dim"

    @property
    def printed_unit(self) -> str:
        """The unit as it is printed beside figures. It says so if they come from a bound of the likelihood."""
        bound: Likelihood = "exact" if self.dequantizer is None else "lower_bound"
        return printed_unit(self.levels, bound if self.spec is None else likelihood(self.spec))

    def in_unit(self, log_prob: Tensor) -> Tensor:
        """Return losses in ``unit`` for log-densities in nats.

        They are negated, and for integer data divided by D log 2, where D is the number of values in an event.

        Args:
            log_prob: Log-densities of events, of any shape.
        """
        return -log_prob if self.levels is None else -log_prob / (math.prod(self.event_shape) * math.log(2))

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the parameters.

        Without parameters, as in a frozen flow, it is what `to` or `double` last set.
        """
        return next((p.dtype for p in self.parameters() if p.is_floating_point()), self._precision.dtype)

    @property
    def device(self) -> torch.device:
        """The device of the flow."""
        return self.initialized.device
