"""Turns the text of a spec into a validated spec. This package doesn't import torch."""

from flowkit.errors import SpecError
from flowkit.spec.directions import directions, flow_directions
from flowkit.spec.identity import canonical, lock, model_hash, to_yaml, uses
from flowkit.spec.model import (
    AutoregressiveSpec,
    ContextSpec,
    CouplingSpec,
    ElementwiseSpec,
    EventSpec,
    Optimizer,
    Repeat,
    Spec,
    Train,
    context_shape,
    dequantizer,
)
from flowkit.spec.read import read_spec
from flowkit.spec.walk import LatentBase, Step, count_layers, latent_bases, latent_shapes, likelihood, walk

__all__ = [
    "AutoregressiveSpec",
    "ContextSpec",
    "CouplingSpec",
    "ElementwiseSpec",
    "EventSpec",
    "LatentBase",
    "Optimizer",
    "Repeat",
    "Spec",
    "SpecError",
    "Step",
    "Train",
    "canonical",
    "context_shape",
    "count_layers",
    "dequantizer",
    "directions",
    "flow_directions",
    "latent_bases",
    "latent_shapes",
    "likelihood",
    "lock",
    "model_hash",
    "read_spec",
    "to_yaml",
    "uses",
    "walk",
]
