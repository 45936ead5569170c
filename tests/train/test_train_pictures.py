"""Grids of images, and histograms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

from flowkit.plugin import Arrays
from flowkit.train import pictures
from flowkit.train.checkpoint import Row
from flowkit.train.pictures import _grid, loss_figure, save_samples


def test_a_grid_reads_like_a_page() -> None:
    images = torch.arange(5.0)[:, None, None, None].expand(5, 1, 2, 3)  # image k is all k
    grid = _grid(images, levels=6)
    assert grid.shape == (6, 12, 3)  # two rows of three, a line between them
    assert np.allclose(grid[[0, 0, 0, 3, 3, 3], [0, 4, 8, 0, 4, 8], 0] * 5, [0, 1, 2, 3, 4, 5])  # the last is blank
    assert (grid[2] == 1).all() and (grid[:, 3] == 1).all()


def test_colours_and_clipping() -> None:
    colours = torch.tensor([0.0, 100.0, 300.0]).reshape(1, 3, 1, 1)
    assert np.allclose(_grid(colours, levels=256)[0, 0], [0, 100 / 255, 1])


def test_continuous_images_are_shown_over_their_range() -> None:
    images = torch.tensor([-3.0, 0.0, 3.0, 1.0]).reshape(1, 1, 2, 2)
    assert np.allclose(_grid(images, levels=None)[:2, :2, 0], [[0, 0.5], [1, 2 / 3]])


def test_a_histogram_is_of_the_finite_samples(tmp_path: Path) -> None:
    samples, lost = torch.linspace(0, 1, 100)[:, None], torch.tensor([[torch.inf], [-torch.inf], [torch.nan]])
    save_samples(samples, None, None, tmp_path / "finite.png")
    save_samples(torch.cat([samples, lost]), None, None, tmp_path / "lost.png")
    assert np.array_equal(imread(tmp_path / "finite.png"), imread(tmp_path / "lost.png"))
    save_samples(lost, None, None, tmp_path / "none.png")


def test_a_histogram_of_large_values_that_are_close_together(tmp_path: Path) -> None:
    """Float32 has no numbers for the edges of so narrow bins."""
    save_samples(1.7e9 + 3600 * torch.rand(300, 1), None, None, tmp_path / "times.png")
    save_samples(torch.full((3, 1), 1.7e9), None, None, tmp_path / "one.png")


@pytest.mark.parametrize("kind", ["labels", "arrays", None])
def test_events_are_drawn_at_random_and_samples_have_their_contexts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str | None
) -> None:
    """The file is sorted by its values: its first rows are unlike the others."""
    x = np.arange(5000, dtype=np.float32).repeat(64).reshape(5000, 1, 8, 8)
    given = {"labels": np.arange(5000) // 500, "arrays": np.arange(10_000.0, dtype=np.float32).reshape(5000, 2)}
    context = None if kind is None else given[kind]
    drawn: dict[str, Any] = {}

    class Copies:
        """A flow whose samples are their contexts."""

        event_shape, levels, device = (1, 8, 8), None, torch.device("cpu")

        def sample(self, n: int, context: torch.Tensor | None, seed: int) -> torch.Tensor:
            drawn.setdefault("asked", []).append(context)
            drawn.setdefault("seeds", []).append((n, seed))
            return torch.zeros(n, 1, 8, 8)

    monkeypatch.setattr(pictures, "_save", lambda parts, shown, *_: drawn.update(parts, shown=shown))
    pictures.draw_samples(Copies(), Arrays(x, context), 60, tmp_path / "x.png")  # type: ignore[arg-type]
    assert drawn["seeds"] == [(60, 0), (40, 1)]
    rows = drawn["data"][:, 0, 0, 0].long()
    assert len(set(rows.tolist())) == 100 and rows.min() < 500 and rows.max() > 4500
    if context is not None:
        assert torch.cat(drawn["asked"]).equal(drawn["shown"])
        assert np.array_equal(drawn["shown"], context[rows])
    first = rows
    pictures.draw_samples(Copies(), Arrays(x, context), 60, tmp_path / "x.png")  # type: ignore[arg-type]
    assert drawn["data"][:, 0, 0, 0].long().equal(first)
    heavy = Arrays(x[:50], None if context is None else context[:50], weights=np.array([1.0] * 49 + [1e6]))
    pictures.draw_samples(Copies(), heavy, 60, tmp_path / "x.png")  # type: ignore[arg-type]
    assert (drawn["data"] == 49).all()


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axis in figure.axes for text in axis.texts]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are to be saved. They are not drawn."""
    seen: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: seen.append(self))
    return seen


def test_images_are_labelled_with_their_contexts(tmp_path: Path, figures: list[Figure]) -> None:
    images = torch.zeros(3, 1, 4, 4)
    save_samples(images, torch.tensor([7, 0, 12]), None, tmp_path / "x.png")
    save_samples(images, torch.tensor([[0.5, -1, 2], [0, 1, 2], [10, 0.123, 2]]), None, tmp_path / "x.png")
    save_samples(images, None, None, tmp_path / "x.png")
    assert [texts(figure) for figure in figures] == [["7", "0", "12"], ["0.5 -1 …", "0 1 …", "10 0.12 …"], []]


def test_points_are_coloured_by_their_contexts(tmp_path: Path, figures: list[Figure]) -> None:
    points = torch.randn(20, 2)
    save_samples(points, torch.arange(20) % 3, None, tmp_path / "x.png")
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == ["0", "1", "2"]
    for context in (torch.arange(20), torch.randn(20, 2)):
        save_samples(points, context, None, tmp_path / "x.png")
        assert len(figures[-1].axes) == 2 and figures[-1].axes[1].get_ylabel().startswith("context")  # a colour bar
    save_samples(points[:, :1], torch.randn(20, 1), None, tmp_path / "x.png")
    assert figures[-1].axes[0].get_xlabel() == "context"


def test_classes_have_their_names(tmp_path: Path, figures: list[Figure]) -> None:
    """Dollar signs in a name enclose no formula."""
    labels, names = torch.tensor([2, 0, 1]), ("cat", "dog", r"$\nothing$")
    for x in (torch.zeros(3, 1, 4, 4), torch.randn(3, 2), torch.randn(3, 1)):
        save_samples(x, labels, None, tmp_path / "x.png", names)
    images, points, values = figures
    assert texts(images) == [r"\$\nothing\$", "cat", "dog"]
    assert [text.get_text() for text in points.legends[0].get_texts()] == ["cat", "dog", r"\$\nothing\$"]
    assert [text.get_text() for text in values.axes[0].get_xticklabels()] == ["cat", "dog", r"\$\nothing\$"]
    for figure in figures:
        figure.canvas.draw()


def test_names_of_classes_may_be_empty(tmp_path: Path, figures: list[Figure]) -> None:
    save_samples(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]), None, tmp_path / "x.png", ("", ""))
    assert texts(figures[0]) == ["", ""]


def test_each_plot_says_what_it_shows_and_in_which_unit(tmp_path: Path, figures: list[Figure]) -> None:
    save_samples(torch.randn(20, 3), None, None, tmp_path / "x.png")
    save_samples(torch.randn(20, 1), None, None, tmp_path / "x.png")
    rows = [Row(epoch=k, step=k, lr=0.1, train=3.0 - k, val=v, seconds=1, drift=None) for k, v in ((1, 2.5), (2, None))]
    figures.append(loss_figure(rows, "bits/dim"))
    axes = [figure.axes[0] for figure in figures]
    assert [(axis.get_title(), axis.get_xlabel(), axis.get_ylabel()) for axis in axes] == [
        ("samples of the flow", "x1", "x2"),
        ("samples of the flow", "x", "density"),
        ("Negative log-likelihood: lower is better", "epoch", "bits/dim"),
    ]
    words = [text.get_text() for text in axes[-1].get_legend().get_texts()]
    assert words == ["training", "validation", "best: 2.5000 after epoch 1"]
