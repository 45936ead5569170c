"""The specs that `flowkit new` writes: valid, with the layers that the data asks for, and they train."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flowkit.errors import DataError
from flowkit.flow import Flow
from flowkit.plugin import Arrays
from flowkit.spec import Spec, latent_shapes, read_spec
from flowkit.starting import look, starting_spec, train_section
from flowkit.train import load_data, train
from flowkit.train.baselines import baselines
from flowkit.train.batches import take
from tests.extent import extent

Shape = tuple[int, ...]


def write(path: Path, x: np.ndarray, context: np.ndarray | None = None) -> str:
    """The spec that `flowkit new` writes for these arrays, saved beside it."""
    np.save(path / "x.npy", x)
    if context is None:
        return starting_spec(look(str(path / "x.npy")))
    np.save(path / "c.npy", context)
    return starting_spec(look(str(path / "x.npy"), path / "c.npy"))


def drawn(shape: Shape, dtype: Any, largest: int = 255) -> np.ndarray:
    """Correlated neighbours, so that there is something to learn."""
    smooth = np.random.default_rng(0).normal(size=shape)
    smooth = (smooth + 0.5 * np.roll(smooth, 1, axis=-1)) * 3 + 5  # with all of it two columns would be equal
    if np.issubdtype(dtype, np.floating):
        return smooth.astype(dtype)
    scaled = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return (scaled * largest).round().astype(dtype)


LABELS = np.arange(40) % 3
ARRAYS = np.random.default_rng(1).normal(size=(40, 2)).astype(np.float32)
CASES: dict[str, tuple[np.ndarray, np.ndarray | None, list[Shape]]] = {
    "points": (drawn((40, 2), np.float32), None, [(2,)]),
    "float64": (drawn((40, 5), np.float64), None, [(5,)]),
    "float16": (drawn((40, 3), np.float16), None, [(3,)]),
    "counts": (drawn((40, 3), np.int64, 9), None, [(3,)]),
    "bits": (drawn((40, 4), np.uint8, 1), None, [(4,)]),
    "many columns": (drawn((40, 300), np.float32), None, [(300,)]),
    "points with labels": (drawn((40, 2), np.float32), LABELS, [(2,)]),
    "points with arrays": (drawn((40, 2), np.float32), ARRAYS, [(2,)]),
    "ten rows": (drawn((10, 2), np.float32), None, [(2,)]),
    "8 × 8": (drawn((40, 1, 8, 8), np.uint8, 16), None, [(4, 4, 4)]),
    "8 × 8 with labels": (drawn((40, 1, 8, 8), np.uint8, 16), LABELS, [(4, 4, 4)]),
    "16 × 16 in colour": (drawn((40, 3, 16, 16), np.uint8), None, [(6, 8, 8), (24, 4, 4)]),
    "16 × 12, floats": (drawn((40, 1, 16, 12), np.float32), ARRAYS, [(4, 8, 6)]),
    "15 × 15": (drawn((40, 1, 15, 15), np.uint8), None, [(9, 5, 5)]),
    "one pixel, four channels": (drawn((40, 4, 1, 1), np.uint8), None, [(4, 1, 1)]),
    "one value": (drawn((40, 1), np.float32), None, [(1,)]),
    "one value, given two": (drawn((40, 1), np.float32), ARRAYS, [(1,)]),
    "one integer, given a label": (drawn((40, 1), np.uint8), np.arange(40) % 3, [(1,)]),
    "a row": (drawn((40, 1, 1, 6), np.float32), None, [(1, 1, 6)]),
    "11 × 13 in colour": (drawn((40, 3, 11, 13), np.uint8), None, [(3, 11, 13)]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_few_steps_lower_the_loss(case: str, tmp_path: Path) -> None:
    x, context, latents = CASES[case]
    spec = read_spec(write(tmp_path, x, context))
    assert latent_shapes(spec) == latents
    losses = losses_of_steps(spec, load_data(spec)["train"])
    assert all(map(math.isfinite, losses)) and losses[-1] < losses[0]


def losses_of_steps(spec: Spec, data: Arrays, steps: int = 2) -> list[float]:
    torch.manual_seed(0)
    flow = Flow.from_spec(spec).eval()  # without dropout: the same loss each time
    x, context, _ = take(data, slice(None))
    x, _ = flow.dequantize(x)
    flow.initialize(x, context)
    optimizer = torch.optim.AdamW(flow.parameters(), lr=spec.train.optimizer.lr)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = flow.in_unit(flow(x, context)).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


SQUEEZES = {
    (1, 28, 28): [(2, 14, 14), (8, 7, 7)],
    (3, 32, 32): [(6, 16, 16), (12, 8, 8), (48, 4, 4)],
    (3, 64, 64): [(6, 32, 32), (12, 16, 16), (24, 8, 8), (96, 4, 4)],
    (1, 45, 45): [(4, 15, 15), (45, 5, 5)],
    (1, 7, 7): [(49, 1, 1)],
    (1, 2, 1000): [(4, 1, 500)],
    (2, 31, 31): [(2, 31, 31)],
    (200, 4, 4): [(800, 2, 2)],
}


@pytest.mark.parametrize("shape", SQUEEZES)
def test_images_are_squeezed_while_their_sides_allow(shape: Shape, tmp_path: Path) -> None:
    assert latent_shapes(read_spec(write(tmp_path, drawn((10, *shape), np.uint8)))) == SQUEEZES[shape]


@pytest.mark.parametrize(
    ("shape", "message"),
    [((1, 13, 17), "pad them"), ((1, 1, 1), "pad them")],
)
def test_events_that_nothing_divides(shape: Shape, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        write(tmp_path, drawn((20, *shape), np.float32))


def test_a_matrix_mixes_no_more_channels_than_it_should(tmp_path: Path) -> None:
    assert "glow/conv1x1" in write(tmp_path, drawn((10, 128), np.float32))
    wide = write(tmp_path, drawn((10, 129), np.float32))
    assert "glow/conv1x1" not in wide and "{use: glow/permute, order: random}" in wide


@pytest.mark.parametrize(
    ("rows", "hidden", "epochs"),
    [(100, "32, dropout: 0.2", 200), (10_000, "64, dropout: 0.1", 81), (1_000_000, "256", 3)],
)
def test_more_data_gets_wider_networks_and_fewer_epochs(rows: int, hidden: str, epochs: int, tmp_path: Path) -> None:
    text = write(tmp_path, drawn((rows, 2), np.float16))
    assert f"hidden: {hidden}}}" in text
    assert read_spec(text).train.epochs == epochs


def test_the_text_is_a_pleasure_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("my digits.npy", drawn((100, 3, 16, 16), np.uint8, 16))
    np.save("labels.npy", np.arange(100) % 7)
    assert starting_spec(look("my digits.npy", Path("labels.npy"))) == (
        """\
# Written by `flowkit new`: 80 events to train on, [3, 16, 16], integers up to 16.
flowkit: 1
event: {shape: [3, 16, 16], levels: 17}            # integers 0 … 16
context: {classes: 7}
flow:
  - use: glow/rescale                              # [0, 17) -> [-1/2, 1/2)
  - use: glow/squeeze                              # [12, 8, 8]
  - repeat: 6
    flow:
      - use: glow/actnorm                          # mean 0 and variance 1 of the first batch, then learned
      - use: glow/conv1x1                          # so that each coupling transforms other values
      - coupling: {use: glow/affine, scale: [0.5, 2]}
        conditioner: {use: glow/convnet, hidden: 32, dropout: 0.2}
  - coupling: {use: glow/affine, scale: [0.5, 2]}  # the learned prior of the half that leaves
    conditioner: {use: glow/convnet, hidden: 0}
  - factor_out: channels                           # [6, 8, 8] leaves
  - use: glow/squeeze                              # [24, 4, 4]
  - repeat: 6
    flow:
      - use: glow/actnorm
      - use: glow/conv1x1
      - coupling: {use: glow/affine, scale: [0.5, 2]}
        conditioner: {use: glow/convnet, hidden: 32, dropout: 0.2}
data: {use: data/npy, path: "my digits.npy", context: labels.npy}
train:
  epochs: 200                                      # 200 steps
  batch_size: 64
  optimizer: {lr: 0.001}
  warmup: 20
  ema: 0.95
  validate_every: 4
  patience: 10                                     # stops after 40 epochs without a better validation
"""
    )


@pytest.mark.parametrize("name", ["true", "1e3", "a: b", "{x}", "# x", "é", "a'b\"c", "null.npy", "~", "0x1F"])
def test_any_path_comes_back(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open(name, "wb") as file:
        np.save(file, drawn((20, 2), np.float32))
    spec = read_spec(starting_spec(look(name)) if not name.startswith("{") else starting_spec(look(f"./{name}")))
    assert spec.data is not None
    assert spec.data.dump()["path"] == name


def test_labels_of_a_dataset_are_offered() -> None:
    text = starting_spec(look("{use: data/digits}"))
    assert "\n# context: {classes: 10}" in text and read_spec(text).context is None
    assert read_spec(text.replace("# context:", "context:")).context is not None


def test_arrays_of_a_dataset_are_offered_and_taken_for_events_of_one_value(tmp_path: Path) -> None:
    x = drawn((40, 2), np.float32)
    for name, array in {"x": x, "y": x[:, :1], "c": drawn((40, 3), np.float32)}.items():
        np.save(tmp_path / f"{name}.npy", array)
    data = f"{{use: data/npy, path: {tmp_path}/%s.npy, context: {tmp_path}/c.npy}}"
    assert "\n# context: {shape: [3]}" in starting_spec(look(data % "x"))
    assert read_spec(starting_spec(look(data % "y"))).context is not None


def spirals(n: int = 5000) -> np.ndarray:
    random = np.random.default_rng(0)
    turn, arm = 3 * np.pi * np.sqrt(random.random(n)), random.integers(2, size=n)
    points = turn[:, None] * np.stack([np.cos(turn + np.pi * arm), np.sin(turn + np.pi * arm)], 1)
    return 100 + points + random.normal(size=(n, 2)) / 4


def digits() -> np.ndarray:
    from sklearn.datasets import load_digits

    return load_digits().images[:, None].astype(np.uint8)


@pytest.mark.parametrize(("rows", "epochs", "ema"), [(6_400, None, 0.995), (6_400, 2, 0.9), (10, 1, 0.5)])
def test_weights_are_averaged_over_a_tenth_of_the_steps_at_most(rows: int, epochs: int | None, ema: float) -> None:
    assert train_section(rows, 128, epochs)["ema"] == ema


@pytest.mark.slow
@pytest.mark.parametrize(
    ("draw", "margin"),
    [pytest.param(spirals, 0.3, id="spirals"), *extent([], [pytest.param(digits, 0.0, id="digits")])],
)
def test_a_fifth_of_the_run_beats_a_density_without_a_flow(
    draw: Callable[[], np.ndarray], margin: float, tmp_path: Path
) -> None:
    x = draw()
    spec = read_spec(write(tmp_path, x))
    fifth = [f"train.{name}={getattr(spec.train, name) // 5}" for name in ("epochs", "warmup")]
    results = train(read_spec(write(tmp_path, x), fifth), tmp_path / "run")
    data = load_data(spec)
    assert results.test < min(baselines(data["train"], data["test"], spec.event.levels).values()) - margin


def test_positive_columns_are_offered_a_domain(tmp_path: Path) -> None:
    """Data can't tell whether its values must be positive: the domain is a comment, and valid if it is taken."""
    rng = np.random.default_rng(0)
    columns = [rng.beta(2, 3, 2000), rng.normal(size=2000), rng.gamma(2.0, size=2000)]
    np.save(tmp_path / "x.npy", np.stack(columns, 1).astype(np.float32))
    text = starting_spec(look(str(tmp_path / "x.npy")))
    assert "# event: {shape: [3], domain: [[0, 1], real, positive]}" in text
    plain = [line for line in text.splitlines() if not line.startswith("event:")]
    taken = "\n".join(line.replace("# event:", "event:", 1).replace("# - use", "- use", 1) for line in plain)
    assert read_spec(taken).flow[0].name == "map/to_reals"
    np.save(tmp_path / "real.npy", columns[1][:, None].astype(np.float32))
    assert "domain" not in starting_spec(look(str(tmp_path / "real.npy")))
    np.save(tmp_path / "tiny.npy", np.append(rng.random(99), 1e-60)[:, None])
    assert "domain" not in starting_spec(look(str(tmp_path / "tiny.npy")))  # 1e-60 is 0 in float32
