"""glow-mnist on the real images: the figures of its ONNX graphs, and test images back exactly."""

import os
import struct
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import flowkit_runtime
from flowkit.errors import ScheduleWarning
from flowkit.export import export
from flowkit.flow import Flow
from flowkit.spec import read_spec
from flowkit.train import load_data, train
from flowkit.train.batches import take
from flowkit_data.mnist import read_idx
from tests.extent import extent

ROOT = Path(__file__).parents[1]
PLACES = [os.environ.get("FLOWKIT_MNIST"), ROOT / "data" / "mnist", ROOT.parent / "shared" / "data" / "mnist"]
MNIST = next((Path(place) for place in PLACES if place and Path(place).is_dir()), None)

IMAGES = {"train": 3_200, "t10k": extent(1_000, 10_000)}
"""How many of the 60,000 and of the 10,000: 22 steps of training, and those that must come back."""


@pytest.fixture
def fewer(tmp_path: Path) -> Path:
    """A directory like MNIST's, with the first IMAGES."""
    assert MNIST is not None
    directory = tmp_path / "mnist"
    directory.mkdir()
    for split, (kind, dimensions) in product(IMAGES, (("images", 3), ("labels", 1))):
        name = f"{split}-{kind}-idx{dimensions}-ubyte"
        values = read_idx(next(MNIST.glob(f"{name}*")), dimensions)[: IMAGES[split]]
        head = struct.pack(f">4B{dimensions}I", 0, 0, 8, dimensions, *values.shape)
        (directory / name).write_bytes(head + values.tobytes())
    return directory


@pytest.mark.slow
@pytest.mark.skipif(MNIST is None, reason="MNIST's idx files are not in data/mnist, nor where $FLOWKIT_MNIST says")
def test_the_graphs_give_every_image_back(fewer, tmp_path, monkeypatch):
    monkeypatch.setattr("flowkit.train.here.TEST_DRAWS", 1)  # the run's own figure is not what this is about
    spec = read_spec(ROOT / "specs" / "glow-mnist.yaml", [f"data.path={fewer}", "train.epochs=1"])
    with pytest.warns(ScheduleWarning):  # an epoch of these few images is all warm-up
        train(spec, tmp_path / "run")
    test = load_data(spec, ["test"])["test"]
    exported = export(Flow.load(tmp_path / "run"), tmp_path / "bundle", *take(test, slice(64))[:2])
    errors = {figure.quantity: figure.error for figure in exported.figures if figure.rows == "held-out"}
    assert errors["latents"] < 1e-4 and errors["log_prob"] < 1e-5 and errors["round_trip"] < 1e-5
    model = flowkit_runtime.load(tmp_path / "bundle")
    assert len(test.x) == IMAGES["t10k"]
    assert np.array_equal(model.decode(model.encode(test.x)), test.x)
