"""Every file in specs/: valid, buildable with the shapes that validation says, invertible, and what its docs claim."""

from pathlib import Path

import pytest
import torch

from flowkit.export.program import any_context
from flowkit.flow import Flow
from flowkit.flow.building import count_parameters
from flowkit.spec import latent_shapes, read_spec, to_yaml
from flowkit.testing import perturb

SPECS = sorted(Path(__file__).parents[1].glob("specs/*.yaml"))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_the_tensors_have_the_shapes_that_validation_says(path):
    spec = read_spec(path)
    if path.stem == "glow-cifar10":
        spec = read_spec(path, ["flow[2].repeat=1", "flow[6].repeat=1", "flow[10].repeat=1"])
    flow = Flow.from_spec(spec).double().eval()
    perturb(flow, 0.01)
    x = torch.rand(2, *spec.event.shape, dtype=torch.float64) * (spec.event.levels or 1)
    context = any_context(flow, 2)
    latents, log_det = flow.forward_and_log_det(x, context)
    assert [tuple(z.shape[1:]) for z in latents] == latent_shapes(spec)
    if flow.directions == "forward":
        return
    back, inverse_log_det = flow.inverse_and_log_det(latents, context)
    torch.testing.assert_close(back, x, atol=1e-7, rtol=0)
    torch.testing.assert_close(log_det, -inverse_log_det, atol=1e-7, rtol=1e-9)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_written_back_and_read_again(path):
    spec = read_spec(path)
    assert read_spec(to_yaml(spec)) == spec


def test_cifar10_is_the_published_architecture():
    spec = read_spec(SPECS[0].with_name("glow-cifar10.yaml"))
    assert latent_shapes(spec) == [(6, 16, 16), (12, 8, 8), (48, 4, 4)]
    # By hand, a level of 32 steps with c channels, n = 512: actnorm 2c, LU 2c² + c, the network 9·(c/2)·n + n² + 9·n·c
    # and 2n for each of its two norms, c biases and c log-scales; a prior 9·(c/2)·c + 2c.
    c, n = torch.tensor([12, 24, 48]), 512
    steps = 32 * (2 * c + 2 * c**2 + c + 9 * (c // 2) * n + n**2 + 9 * n * c + 4 * n + 2 * c)
    priors = (9 * (c // 2) * c + 2 * c)[:2]
    of_layers, of_bases, of_encoder = count_parameters(spec)
    assert sum(of_layers) == (steps.sum() + priors.sum()).item() and not any(of_bases) and not of_encoder
