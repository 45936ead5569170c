"""The rows of the comparison: flowkit's layers, and a peer's layer with the weights of one. No flowkit is imported."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Direction = Callable[[Tensor], tuple[Tensor, Tensor]]
Directions = tuple[Direction, Direction | None]
AFFINE = ("affine-image", "affine-vector")
SIGMOID = ("sigmoid-image", "sigmoid-vector")
SPLINE = ("spline-image", "spline-vector", "spline-context")
MIN_SHARE = MIN_SLOPE = 1e-3  # of flowkit's spline


class Subject:
    """One of flowkit's layers: its weights, and its answers."""

    def __init__(self, archive: Any, name: str) -> None:
        self.name, prefix = name, f"{name}/"
        self.values = {
            key.removeprefix(prefix): torch.from_numpy(archive[key]) for key in archive if key.startswith(prefix)
        }

    def __getitem__(self, key: str) -> Tensor:
        return self.values[key]

    def weight(self, key: str) -> Tensor:
        return self.values[f"weights/{key}"]

    @property
    def event(self) -> tuple[int, ...]:
        return tuple(self["x"].shape[1:])

    @property
    def context(self) -> Tensor | None:
        return self.values.get("context")

    @property
    def matrix(self) -> Tensor:
        """W of a 1×1 convolution."""
        if "weights/matrix.weight" in self.values:
            return self.weight("matrix.weight")
        p, lower, upper, s = self.lu
        return p @ lower @ (upper + s.diag())

    @property
    def lu(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """P, L, U and s of W = P L (U + diag(s))."""
        s = self.weight("matrix.sign") * self.weight("matrix.log_abs_s").exp()
        lower = self.weight("matrix.lower").tril(-1) + torch.eye(len(s))
        return self.weight("matrix.permutation"), lower, self.weight("matrix.upper").triu(1), s


class Conditioner(nn.Module):
    """flowkit's network with its weights, and its parameters θ [batch, n_params, c, …] as the peer wants them."""

    def __init__(self, subject: Subject, n_params: int, arrange: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.subject, self.n_params, self.arrange = subject, n_params, arrange

    def forward(self, kept: Tensor, context: Tensor | None = None) -> Tensor:
        h = kept if context is None else torch.cat([kept, context], 1)
        h = self._convolved(h) if h.dim() == 4 else self._mlp(h)
        return self.arrange(h.unflatten(1, (self.n_params, -1)))

    def _mlp(self, h: Tensor) -> Tensor:
        w = self.subject.weight
        for layer in ("linears.0", "linears.1"):
            h = F.linear(h, w(f"conditioner.{layer}.weight"), w(f"conditioner.{layer}.bias")).relu()
        return F.linear(h, w("conditioner.last.weight"), w("conditioner.last.bias"))

    def _convolved(self, h: Tensor) -> Tensor:
        w = self.subject.weight
        for layer, padding in (("convs.0", 1), ("convs.1", 0)):
            h = F.conv2d(h, w(f"conditioner.{layer}.weight"), w(f"conditioner.{layer}.bias"), padding=padding).relu()
        return F.conv2d(h, w("conditioner.convs.2.weight"), w("conditioner.convs.2.bias"), padding=1)


def load_made(subject: Subject, linears: Sequence[nn.Linear], n_params: int) -> None:
    """Give flowkit's weights to a peer's masked layers, which have θ as [values, n_params] and masks of their own."""
    for linear, name in zip(linears, ("linears.0", "linears.1", "last"), strict=True):
        weight, bias = (subject.weight(f"conditioner.{name}.{part}") for part in ("weight", "bias"))
        if name == "last":
            weight, bias = (part.unflatten(0, (n_params, -1)).transpose(0, 1).flatten(0, 1) for part in (weight, bias))
        linear.weight.data, linear.bias.data = weight, bias


def log_scale(t: Tensor) -> Tensor:
    """log s of flowkit's affine, bounds [1/4, 4]: L tanh(t / L), L = log 4."""
    return math.log(4) * torch.tanh(t / math.log(4))


@dataclass(frozen=True)
class Row:
    """A peer's layer that is one of flowkit's with its weights."""

    peer: str
    layer: str
    subject: str
    carry: Callable[[Subject], Directions]

    def __str__(self) -> str:
        return f"{self.peer} {self.layer} {self.subject}"

    def measure(self, subject: Subject) -> dict[str, Any]:
        forward, inverse = self.carry(subject)
        measured: dict[str, Any] = {"version": version(self.peer)}
        with torch.no_grad():
            z, log_det = forward(subject["x"])
            measured |= {"z": _distance(z, subject["z"]), **_log_det("log_det", log_det, subject)}
            if inverse is not None:
                x, log_det = inverse(subject["z"])
                measured |= {"x": _distance(x, subject["x"]), **_log_det("inverse_log_det", log_det, subject)}
        return measured


def _log_det(name: str, value: Tensor, subject: Subject) -> dict[str, Any]:
    truth = subject[f"autodiff/{name}"]
    return {
        name: _distance(value, subject[name]),
        f"{name}: from autodiff": _distance(value, truth),
        f"{name}: flowkit from autodiff": _distance(subject[name], truth),
        f"{name}: times autodiff": (value.double() / truth).mean().item(),
        f"{name}: dtype": str(value.dtype),
    }


def _distance(a: Tensor, b: Tensor) -> float:
    """The largest |a - b|. Some peers give one log-det for the whole batch."""
    return (a.expand(b.shape) - b).abs().max().item()


ROWS: list[Row] = []


def carries(peer: str, layer: str, *subjects: str) -> Callable[[Any], Any]:
    """Adds a row for each of the subjects."""

    def register(carry: Any) -> Any:
        ROWS.extend(Row(peer, layer, subject, carry) for subject in subjects)
        return carry

    return register


def piecewise(coupling: Any, subject: Subject) -> Directions:
    """Theirs of nflows and of normflows: at least MIN_SHARE / K for each bin, softplus without our offset."""

    def arrange(theta: Tensor) -> Tensor:
        return arranged(theta).transpose(1, 2).flatten(1, 2)  # parameters of one channel side by side

    floors = {"min_bin_width": MIN_SHARE / 4, "min_bin_height": MIN_SHARE / 4, "min_derivative": MIN_SLOPE}
    network = Conditioner(subject, 11, arrange)
    layer = coupling(mask(subject), lambda i, o: network, num_bins=4, tails="linear", tail_bound=3.0, **floors)
    return partial(layer.forward, context=subject.context), partial(layer.inverse, context=subject.context)


def arranged(theta: Tensor) -> Tensor:
    """Return θ [batch, 11, c] of a spline of four bins with softplus's argument as nflows and normflows have it."""
    return torch.cat([theta[:, :8], theta[:, 8:] + math.log(math.expm1(1 - MIN_SLOPE))], 1)


def mask(subject: Subject) -> Tensor:
    """1 for the channels that are transformed."""
    c = subject.event[0]
    return (torch.arange(c) >= c - c // 2).int()


def channels_last(direction: Direction) -> Direction:
    """The direction of a layer whose channels are the last dimension."""

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        value, log_det = direction(x.movedim(1, -1))
        return value.movedim(-1, 1), log_det

    return run
