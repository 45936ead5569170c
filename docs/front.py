"""Trains README's first spec and draws docs/moons.png from the run: `python docs/front.py`."""

from __future__ import annotations

import io
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from flowkit.flow import Flow
from flowkit.spec import read_spec
from flowkit.train import load_run_data, train

README = Path(__file__).parents[1] / "README.md"
PICTURE = Path(__file__).with_name("moons.png")
RANGES = (-2.0, 2.0), (-1.2, 1.2)
"""The part of the plane that is shown."""
FINENESS = 400
QUANTILE = 0.99


def draw(run: Path) -> Figure:
    """Draw the training data, the density with the threshold of anomalies, and samples, side by side."""
    flow = Flow.load(run)
    data = load_run_data(run, flow.to_spec())
    figure = Figure(figsize=(12, 3.2), layout="constrained")
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    train = data["train"].x
    axes[0].scatter(*train.T, s=0.5)
    axes[0].set(title=f"data: {len(train):,} points", xlabel="x1", ylabel="x2")
    draw_density(axes[1], flow, torch.from_numpy(data["test"].x))
    axes[2].scatter(*flow.sample(2000, seed=0).T, s=0.5)
    axes[2].set(title="2,000 samples", xlabel="x1", xlim=RANGES[0], ylim=RANGES[1])
    return figure


@torch.no_grad()
def draw_density(axis: Axes, flow: Flow, held_out: torch.Tensor) -> None:
    """Draw p(x), and the contour outside of which 1% of the held-out events lie."""
    across, up = (np.linspace(*ends, FINENESS, dtype=np.float32) for ends in RANGES)
    grid = torch.from_numpy(np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2))
    log_prob = flow.log_prob(grid).reshape(FINENESS, FINENESS)
    threshold = np.quantile(flow.log_prob(held_out), 1 - QUANTILE)
    image = axis.imshow(log_prob.exp(), origin="lower", extent=(*RANGES[0], *RANGES[1]), aspect="auto", cmap="Blues")
    axis.contour(across, up, log_prob, levels=[threshold], colors="C3", linewidths=0.8, linestyles="solid")
    axis.plot([], [], color="C3", linewidth=0.8, label="99% of held-out points are inside")
    axis.set(title="the density that the flow has learned", xlabel="x1")
    axis.legend(loc="upper right", fontsize=7)
    axis.figure.colorbar(image, ax=axis, label="p(x)", fraction=0.05, pad=0.01)


def save(figure: Figure) -> None:
    """Save the picture in 128 colours."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100)
    Image.open(buffer).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(PICTURE, optimize=True)


if __name__ == "__main__":
    spec = re.findall(r"```yaml\n(.*?)```", README.read_text("utf-8"), re.DOTALL)[0]
    with TemporaryDirectory() as directory:
        train(read_spec(spec), Path(directory) / "moons")
        save(draw(Path(directory) / "moons"))
