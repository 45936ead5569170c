"""glow-mnist on the real images: the figures of its ONNX graphs, and every test image back exactly."""

import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

import flowkit_runtime
from flowkit.export import export
from flowkit.flow import Flow
from flowkit.spec import read_spec
from flowkit.train import load_data, train
from flowkit.train.batches import take
from flowkit_data.mnist import read_idx

ROOT = Path(__file__).parents[1]
PLACES = [os.environ.get("FLOWKIT_MNIST"), ROOT / "data" / "mnist", ROOT.parent / "shared" / "data" / "mnist"]
MNIST = next((Path(place) for place in PLACES if place and Path(place).is_dir()), None)

TRAINING = 12_800
"""Images of the 60,000, some of them for validation: 90 steps. All of the test images are kept."""


@pytest.fixture
def fewer(tmp_path: Path) -> Path:
    """A directory like MNIST's, with TRAINING images to train on."""
    assert MNIST is not None
    directory = tmp_path / "mnist"
    directory.mkdir()
    for file in MNIST.glob("t10k-*"):
        shutil.copy(file, directory)
    for name, dimensions in (("train-images-idx3-ubyte", 3), ("train-labels-idx1-ubyte", 1)):
        values = read_idx(next(MNIST.glob(f"{name}*")), dimensions)[:TRAINING]
        head = struct.pack(f">4B{dimensions}I", 0, 0, 8, dimensions, *values.shape)
        (directory / name).write_bytes(head + values.tobytes())
    return directory


@pytest.mark.slow
@pytest.mark.skipif(MNIST is None, reason="MNIST's idx files are not in data/mnist, nor where $FLOWKIT_MNIST says")
def test_the_graphs_give_every_image_back(fewer, tmp_path, monkeypatch):
    monkeypatch.setattr("flowkit.train.runs.TEST_DRAWS", 1)  # the run's own figure is not what this is about
    spec = read_spec(ROOT / "specs" / "glow-mnist.yaml", [f"data.path={fewer}", "train.epochs=1"])
    train(spec, tmp_path / "run")
    test = load_data(spec, ["test"])["test"]
    figures = export(Flow.load(tmp_path / "run"), tmp_path / "bundle", *take(test, slice(64)))
    errors = {figure.quantity: figure.error for figure in figures}
    assert errors["latents"] < 1e-4 and errors["log_prob"] < 1e-5 and errors["round_trip"] < 1e-5
    model = flowkit_runtime.load(tmp_path / "bundle")
    assert len(test.x) == 10_000
    assert np.array_equal(model.decode(model.encode(test.x)), test.x)
