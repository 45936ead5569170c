"""glow-mnist on the real images: the figures of its ONNX graphs, and every test image back exactly."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import flowkit_runtime
from flowkit.export import export
from flowkit.flow import Flow
from flowkit.spec import read_spec
from flowkit.train import load_data
from flowkit.train.batches import take

ROOT = Path(__file__).parents[1]
PLACES = [os.environ.get("FLOWKIT_MNIST"), ROOT / "data" / "mnist", ROOT.parent / "shared" / "data" / "mnist"]
MNIST = next((Path(place) for place in PLACES if place and Path(place).is_dir()), None)


@pytest.mark.slow
@pytest.mark.skipif(MNIST is None, reason="MNIST's idx files are not in data/mnist, nor where $FLOWKIT_MNIST says")
def test_the_graphs_give_every_image_back(tmp_path):
    spec = read_spec(ROOT / "specs" / "glow-mnist.yaml", [f"data.path={MNIST}"])
    data = load_data(spec)
    flow = trained_a_little(Flow.from_spec(spec), data["train"])
    figures = export(flow, tmp_path / "bundle", *take(data["test"], slice(64)))
    errors = {figure.quantity: figure.error for figure in figures}
    assert errors["latents"] < 1e-4 and errors["log_prob"] < 1e-5 and errors["round_trip"] < 1e-5
    model, images = flowkit_runtime.load(tmp_path / "bundle"), data["test"].x
    assert len(images) == 10_000
    assert np.array_equal(model.decode(model.encode(images)), images)


def trained_a_little(flow, train, steps=40, batch_size=64):
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(flow.parameters(), lr=1e-3)
    for step in range(steps):
        x = flow.dequantize(take(train, slice(step * batch_size, (step + 1) * batch_size))[0])
        flow.initialize(x)
        optimizer.zero_grad()
        flow.in_unit(flow(x)).mean().backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 50)
        optimizer.step()
    return flow.eval()
