"""The hooks that a plugin module may implement. Each returns a list of descriptors of one kind."""

from __future__ import annotations

import pluggy

from flowkit.plugin.descriptor import Descriptor

hookspec = pluggy.HookspecMarker("flowkit")
hookimpl = pluggy.HookimplMarker("flowkit")


@hookspec
def flowkit_register_bijectors() -> list[Descriptor]:  # type: ignore[empty-body]
    """Layers that stand on their own in a flow."""


@hookspec
def flowkit_register_transformers() -> list[Descriptor]:  # type: ignore[empty-body]
    """Elementwise maps for couplings."""


@hookspec
def flowkit_register_splits() -> list[Descriptor]:  # type: ignore[empty-body]
    """Ways to divide an event for a coupling."""


@hookspec
def flowkit_register_conditioners() -> list[Descriptor]:  # type: ignore[empty-body]
    """Networks that give couplings their parameters."""


@hookspec
def flowkit_register_bases() -> list[Descriptor]:  # type: ignore[empty-body]
    """Base distributions."""


@hookspec
def flowkit_register_datasets() -> list[Descriptor]:  # type: ignore[empty-body]
    """Sources of training data."""


HOOKS = {
    "bijector": "flowkit_register_bijectors",
    "transformer": "flowkit_register_transformers",
    "split": "flowkit_register_splits",
    "conditioner": "flowkit_register_conditioners",
    "base": "flowkit_register_bases",
    "dataset": "flowkit_register_datasets",
}
"""The hook that registers each kind."""
