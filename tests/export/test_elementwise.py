"""Elementwise layers in graphs: onnxruntime computes what the fp64 flow does, and the runtime serves it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import flowkit_runtime
from flowkit.export import export
from flowkit.export.precision import in_precision
from tests.flow.specs import batch, perturbed


@pytest.mark.slow
def test_a_density_of_one_value_given_two_is_served(tmp_path: Path) -> None:
    flow = perturbed("values", scale=0.3)
    x, context = batch(flow, 7)
    export(flow.float(), tmp_path / "bundle", x.float(), context.float())
    model, exact = flowkit_runtime.load(tmp_path / "bundle"), flow.double()
    with torch.no_grad():
        log_prob, (z,) = exact.log_prob(x, context), exact.encode(x, context)
    given = context.float().numpy()
    np.testing.assert_allclose(model.log_prob(x.float().numpy(), given), log_prob, atol=1e-5)
    np.testing.assert_allclose(model.encode(x.float().numpy(), given)[0], z, atol=1e-5)
    assert np.abs(model.sample(7, context=given, seed=0) - flow.sample(7, context, seed=0).numpy()).max() < 1e-5


def test_its_network_computes_in_the_precision_of_the_graphs() -> None:
    flow = perturbed("values").float()
    x, context = (t.float() for t in batch(flow))
    with torch.no_grad():
        single = flow.log_prob(x, context)
        half = in_precision(flow, "float16").log_prob(x, context)
    assert {p.dtype for p in flow.layers[1].conditioner.parameters()} == {torch.float16}
    assert flow.layers[2].theta.dtype == half.dtype == torch.float32
    assert 0 < (half - single).abs().max() < 1e-2
