"""glow-mnist on the real images: the figures of its ONNX graphs, and every test image back exactly."""

import os
from pathlib import Path

import numpy as np
import pytest

import flowkit_runtime
from flowkit.export import export
from flowkit.flow import Flow
from flowkit.spec import read_spec
from flowkit.train import load_data, train
from flowkit.train.batches import take

ROOT = Path(__file__).parents[1]
PLACES = [os.environ.get("FLOWKIT_MNIST"), ROOT / "data" / "mnist", ROOT.parent / "shared" / "data" / "mnist"]
MNIST = next((Path(place) for place in PLACES if place and Path(place).is_dir()), None)


@pytest.mark.slow
@pytest.mark.skipif(MNIST is None, reason="MNIST's idx files are not in data/mnist, nor where $FLOWKIT_MNIST says")
def test_the_graphs_give_every_image_back(tmp_path):
    spec = read_spec(ROOT / "specs" / "glow-mnist.yaml", [f"data.path={MNIST}", "train.epochs=1"])
    train(spec, tmp_path / "run")
    test = load_data(spec, ["test"])["test"]
    figures = export(Flow.load(tmp_path / "run"), tmp_path / "bundle", *take(test, slice(64)))
    errors = {figure.quantity: figure.error for figure in figures}
    assert errors["latents"] < 1e-4 and errors["log_prob"] < 1e-5 and errors["round_trip"] < 1e-5
    model = flowkit_runtime.load(tmp_path / "bundle")
    assert len(test.x) == 10_000
    assert np.array_equal(model.decode(model.encode(test.x)), test.x)
