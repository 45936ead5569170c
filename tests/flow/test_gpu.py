"""A flow on a GPU is the flow on the CPU. Runs where there is a CUDA device."""

import pytest
import torch

from tests.flow.specs import SPECS, batch, perturbed

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.mark.parametrize("name", SPECS)
def test_values_and_gradients(name):
    results = []
    for device in ("cpu", "cuda"):
        flow = perturbed(name).to(device)
        x, context = (None if t is None else t.to(device) for t in batch(flow))
        log_prob = flow(x, context)
        log_prob.sum().backward()
        back = flow.inverse_and_log_det(flow.forward_and_log_det(x, context)[0], context)[0]
        results.append([log_prob, back, *(p.grad for p in flow.parameters())])
    for on_cpu, on_gpu in zip(*results, strict=True):
        torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SPECS)
def test_samples_of_a_seed(name):
    flow = perturbed(name)
    _, context = batch(flow)
    here = flow.sample(4, context, seed=1)
    there = flow.cuda().sample(4, None if context is None else context.cuda(), seed=1)
    torch.testing.assert_close(there.cpu(), here, rtol=0, atol=1e-9 if flow.levels is None else 0)
