from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor

from flowkit.export import bundle
from flowkit.export.graphs import OPSET, Graphs, make_graphs
from flowkit.export.pieces import EXAMPLES
from flowkit.export.program import any_context, decode_program, encode_program
from flowkit.flow import Flow
from flowkit.flow.layer_names import frozen_names
from flowkit.spec import model_hash


def encoder_of(flow: Flow, x: Tensor) -> onnx.ModelProto:
    """The graph of the encoder alone, of a flow in fp32 that is not frozen; x are EXAMPLES events."""
    program = encode_program(flow, [type(layer).__name__ for layer in flow.layers])
    return make_graphs([program], [[x]])[0]


def decoder_of(flow: Flow, opset: int = OPSET) -> onnx.ModelProto:
    """The graph of the decoder alone, of a flow in fp64."""
    program, context = decode_program(flow.freeze().float(), frozen_names(flow)), any_context(flow, EXAMPLES)
    given = [torch.zeros(EXAMPLES, *shape) for shape in flow.latent_shapes]
    return make_graphs([program], [given if context is None else [*given, context]], opset)[0]


@pytest.fixture(autouse=True, scope="session")
def same_graphs() -> Iterator[None]:
    """Graphs of a flow that was exported before are those of then; most tests are of what is done with them."""
    made: dict[Any, Graphs] = {}

    def graphs(flow: Flow, *options: Any) -> Graphs:
        weights = hashlib.sha256(b"".join(value.numpy().tobytes() for value in flow.state_dict().values()))
        key = (model_hash(flow.to_spec()), weights.digest(), options)
        if key not in made:
            made[key] = Graphs(flow, *options)
        return copy.copy(made[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle, "Graphs", graphs)
        yield
