"""Checks what the orders and masked conditioners of autoregressive layers must do beside what every module must."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.autograd.functional import jacobian

from flowkit.bijectors import MaskedConditioner, Order
from flowkit.testing.common import context
from flowkit.testing.compare import close
from flowkit.testing.couplings import autocast, depends, initialize, start
from flowkit.testing.effects import compare_with_frozen, initialize_saved, settings
from flowkit.testing.perturbation import seeded
from flowkit.testing.subjects import MaskedConditionerSubject, OrderSubject, only_where


def permutation(subject: OrderSubject) -> None:
    """The sequence has each of 0 … D - 1 once, for an event of D values."""
    order: Order = subject.module()
    sequence, size = list(order.sequence()), math.prod(order.event_shape)
    assert sorted(sequence) == list(range(size)), (
        f"the sequence is {sequence}, and must have each index of the flattened event once, 0 … {size - 1}"
    )


def deterministic(subject: OrderSubject) -> None:
    """The sequence is the same at each call, and in each order that is built with the same fields."""
    first = subject.fresh(0)
    sequence = list(first.sequence())
    with _other_hashes(type(first).__module__):
        other = subject.fresh(1)  # torch, numpy and Python have other seeds
        elsewhere = list(other.sequence())
    again = "draw it from a field `seed`, by a generator of its own: a saved model must find its order again"
    with seeded(subject.seed + 2):
        assert list(first.sequence()) == sequence, f"a second call gives another sequence: {again}"
    assert elsewhere == sequence, f"built again, it has another sequence: {again}"


def _other_hashes(module: str) -> AbstractContextManager[object]:
    """Give hash() of texts, called by this module, other values inside the block, as in a new process."""

    def other(value: Any) -> int:
        return hash(value) if not isinstance(value, str | bytes) else hash((value, 1))

    return mock.patch.object(sys.modules[module], "hash", other, create=True)


ORDER_CHECKS = (settings, permutation, deterministic)


def autoregressive(subject: MaskedConditionerSubject) -> None:
    """θ of each value depends on no value that isn't before it in the order: exactly, for every parameter."""
    rank = subject.order.ranks().flatten()
    later = rank[None, :] > rank[:, None]  # [of θ, of x]
    for matrix in _dependences(subject, subject.modules()):
        wrong = (matrix & later).nonzero()
        assert not len(wrong), (
            f"θ of the value at place {int(rank[wrong[0, 0]])} of the order depends on the value at place "
            f"{int(rank[wrong[0, 1]])}, which comes later: do the masks follow the order that the network is given?"
        )

        own = matrix.diagonal()
        assert not own.any(), f"θ_i depends on x_i itself, {_place(rank, own)}: is a mask off by one, >= where it is >?"
    _later_values_changed(subject, rank)


def _later_values_changed(subject: MaskedConditionerSubject, rank: Tensor) -> None:
    """Raise AssertionError if a θ changes with the values from its own on: a step has no derivative to show it."""
    for network in subject.modules():
        (call,) = subject.calls(network, 16)
        x, *given = call.inputs
        theta = network(x, *given).flatten(2)
        for place in range(len(rank)):
            changed = torch.where((rank >= place).reshape(x.shape[1:]), -x, x)
            same = (network(changed, *given).flatten(2) == theta)[..., rank == place]
            assert same.all(), f"θ of the value at place {place} of the order changes with values from there on"


def _place(rank: Tensor, at: Tensor) -> str:
    return f"at place {int(rank[at].min())} of the order"


@only_where(lambda subject: math.prod(subject.order.event_shape) > 1, "a single value has none before it")
def earlier_values(subject: MaskedConditionerSubject) -> None:
    """θ of each value but the first depends on values before it, and each value but the last is read."""
    rank = subject.order.ranks().flatten()
    alone, unread = rank > 0, rank < len(rank) - 1
    for matrix in _dependences(subject, subject.draws()):
        alone, unread = alone & ~matrix.any(1), unread & ~matrix.any(0)
        if not (alone | unread).any():
            return
    assert not alone.any(), f"θ depends on none of the values before it, {_place(rank, alone)}: do masks block all?"
    assert not unread.any(), (
        f"no θ depends on the value at place {int(rank[unread].min())} of the order: does a mask lose a connection, "
        "or has a hidden layer too few units for all degrees?"
    )


def _dependences(subject: MaskedConditionerSubject, networks: Iterable[MaskedConditioner]) -> Iterator[Tensor]:
    """Yield for each network which θ_i depend on which x_j, [D, D], by autodiff."""
    for seed, network in enumerate(networks):
        (call,) = subject.calls(network, 16, seed=seed + 1)
        x, *given = call.inputs
        matrix = jacobian(lambda v, network=network, given=given: network(v, *given).sum(0), x)
        n_params, size = matrix.shape[0], math.prod(subject.order.event_shape)
        yield (matrix.reshape(n_params, size, len(x), size) != 0).any(2).any(0)


@only_where(
    lambda subject: math.prod(subject.order.event_shape) > 1 or subject.context_shape is not None,
    "there is nothing to read for a single value without a context",
)
def reach(subject: MaskedConditionerSubject) -> None:
    """Every parameter has a gradient that is not all zero."""
    depends(subject, "θ")


@only_where(lambda subject: subject.context_shape is not None, "takes no context")
def context_for_each(subject: MaskedConditionerSubject) -> None:
    """θ of every value depends on the context, that of the first value too."""
    rank = subject.order.ranks().flatten()
    reached = torch.zeros(len(rank), dtype=torch.bool)
    for network in subject.draws():
        (call,) = subject.calls(network)
        x, given = call.inputs
        change = (network(x, subject.other_context(given)) - network(x, given)).flatten(2)  # [batch, n_params, D]
        reached |= (change != 0).any(0).any(0)
        if reached.all():
            return
    raise AssertionError(
        f"θ doesn't depend on the context {_place(rank, ~reached)}: the first value has no values before it, so that "
        "units must be free to read the context alone"
    )


def by_value(subject: MaskedConditionerSubject) -> None:
    """by_value gives the θ of each value that a call gives of all, frozen too."""
    for network in subject.modules():
        for each in (network, network.freeze()):
            (call,) = subject.calls(network)
            (theta,) = call(network).values()
            x, *context = call.inputs
            of_one = each.by_value(*context)
            for index, expected in enumerate(theta.flatten(2).split(1, 2)):
                close(f"θ by by_value, of index {index}", of_one(x, torch.tensor([index])), expected, 1e-10)


def freeze(subject: MaskedConditionerSubject) -> None:
    """freeze gives a masked conditioner with the same θ, and leaves the network as it was."""
    compare_with_frozen(subject, _frozen)


def _frozen(network: MaskedConditioner) -> MaskedConditioner:
    frozen = network.freeze()
    assert isinstance(frozen, MaskedConditioner), f"freeze gives a {type(frozen).__name__}, no MaskedConditioner"
    return frozen


MASKED_CHECKS = (
    autoregressive, earlier_values, context, context_for_each, start, reach, initialize, initialize_saved, by_value,
    freeze, autocast,
)  # fmt: skip
