"""Describes a flow as plain data, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowkit.domains import Domains
from flowkit.errors import format_path
from flowkit.plugin.domain_field import written_domain
from flowkit.spec.directions import directions, flow_directions
from flowkit.spec.domains import reached_domains
from flowkit.spec.identity import model_hash
from flowkit.spec.model import ContextSpec, Spec, context_shape
from flowkit.spec.walk import Step, latent_bases, latent_shapes, likelihood, walk


def as_dict(
    spec: Spec,
    parameters: Sequence[int],
    of_bases: Sequence[int],
    of_encoder: int,
    dequantization: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what `flowkit show --format json` prints.

    ``parameters`` has the number of each step of `walk`, ``of_bases`` that of each latent's base, ``of_encoder`` that
    of the context's encoder, and ``dequantization`` the same description of the flow of the dequantization noise.

    - event: {shape, levels, domain}; context: {classes, shape, encoder} or null
    - encoder: of the context: name, input_shape, output_shape, parameters; or null
    - dequantization: the same description of the flow of the noise, or null
    - steps: each layer from data to latent, repeats expanded: its name; its path in the spec; input_shape,
      output_shape; latent_shape, of what leaves there, or null; domain, that reaches it; directions; parameters
    - latents: the shapes of z_1 … z_L; bases: their base distributions, each with name, path and parameters
    - directions of the flow: both, forward or inverse; likelihood: exact, lower_bound or estimate
    - parameters: of all steps, bases and the encoder; model: the hash of the canonical form
    """
    steps = walk(spec)
    return {
        "event": spec.event.model_dump(mode="json"),
        "context": spec.context and spec.context.model_dump(mode="json"),
        "encoder": _encoder(spec.context, of_encoder),
        "dequantization": dequantization,
        "steps": [_step(*each) for each in zip(steps, reached_domains(spec, steps), parameters, strict=True)],
        "latents": [list(shape) for shape in latent_shapes(spec)],
        "bases": [
            {"name": base.name, "path": format_path(base.path), "parameters": count}
            for base, count in zip(latent_bases(spec, steps), of_bases, strict=True)
        ],
        "directions": flow_directions(spec),
        "parameters": sum([*parameters, *of_bases, of_encoder, (dequantization or {"parameters": 0})["parameters"]]),
        "likelihood": likelihood(spec),
        "model": model_hash(spec),
    }


def _encoder(context: ContextSpec | None, parameters: int) -> dict[str, Any] | None:
    if context is None or context.encoder is None:
        return None
    return {
        "name": context.encoder.name,
        "input_shape": list(context.own_shape),
        "output_shape": list(context_shape(context) or ()),
        "parameters": parameters,
    }


def _step(step: Step, domain: Domains, parameters: int) -> dict[str, Any]:
    return {
        "name": step.name,
        "path": format_path(step.path),
        "input_shape": list(step.input_shape),
        "output_shape": list(step.output_shape),
        "latent_shape": list(step.latent_shape) if step.latent_shape else None,
        "domain": written_domain(domain),
        "directions": directions(step.item),
        "parameters": parameters,
    }
