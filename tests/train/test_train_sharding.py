"""Training with train.strategy: fsdp: the steps of one process, on a part of the weights in each of two processes."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from flowkit.errors import FlowkitError, InputError, SpecError
from flowkit.spec import Spec, read_spec
from flowkit.train import resume, train
from flowkit.train.building import new_flow
from flowkit.train.launching import launch
from tests.extent import extent
from tests.train import side_by_side
from tests.train.conftest import SPEC

MakeSpec = Callable[..., Spec]

FSDP = ("train.devices=2", "train.strategy=fsdp")


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    extent(
        [(*FSDP, "train.accumulate=3", "train.memory=reversible")],
        [
            FSDP,
            (*FSDP, "train.accumulate=3"),
            (*FSDP, "train.accumulate=3", "train.memory=reversible"),
            (*FSDP, "train.memory=checkpoint"),
        ],
    ),
    ids=",".join,
)
def test_sharded_flows_take_the_steps_of_one_process_on_half_of_all_that_is_kept(overrides: tuple[str, ...]) -> None:
    """100 steps in fp64, with clipped gradients and a moving average, on batches of 41 events."""
    *differences, shares = side_by_side.compared(overrides, 100)
    assert max(differences) < 1e-9
    assert shares == pytest.approx(dict.fromkeys(shares, 0.5), rel=0.2)  # parts of 3 rows have 2 and 1
    assert len(shares) == 4


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_a_run_goes_on_with_other_strategies_and_numbers_of_devices(tmp_path: Path) -> None:
    """The metrics are those of one process, with Adam's state and the moving average taken over each time."""
    flow: list[Any] = [
        {"use": "glow/actnorm"},
        {"coupling": {"use": "glow/affine"}, "conditioner": {"use": "glow/mlp", "hidden": 8}},
    ]
    spec = SPEC | {"flow": flow, "train": SPEC["train"] | {"schedule": "constant", "ema": 0.9}}
    train(read_spec(spec), tmp_path / "one")
    train(read_spec(spec, ["train.epochs=1"]), tmp_path / "more")
    resume(tmp_path / "more", [*FSDP, "train.epochs=3"])
    resume(tmp_path / "more", ["train.devices=1", "train.strategy=ddp", "train.epochs=4"])
    one, more = (list(csv.DictReader((tmp_path / run / "metrics.csv").open())) for run in ("one", "more"))
    for expected, found in zip(one, more, strict=True):
        for column in ("train", "val"):
            assert float(found[column]) == pytest.approx(float(expected[column]), abs=1e-4)


def test_one_device_has_nothing_to_divide(tmp_path: Path, make_spec: MakeSpec) -> None:
    with pytest.raises(FlowkitError, match=r"train.strategy: fsdp .* there is one: set train.devices to 2 or more, or"):
        train(make_spec("train.strategy=fsdp"), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_compiled_flows_are_not_sharded(make_spec: MakeSpec) -> None:
    with pytest.raises(SpecError, match=r"train.compile: can't be combined with strategy: fsdp; use strategy: ddp"):
        make_spec(*FSDP, "train.compile=true")


def test_a_parameter_without_axes_is_named() -> None:
    with pytest.raises(InputError, match=r"fsdp divides .*, and layers.1.b is a single number without axes: set"):
        new_flow(read_spec("specs/planar-moons.yaml", FSDP))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are no two CUDA devices")
def test_sharded_steps_take_less_memory_on_gpus() -> None:
    peaks = {}
    for strategy in ("ddp", "fsdp"):
        overrides = ("train.devices=2", f"train.strategy={strategy}", "flow[1].flow[0].conditioner.hidden=2000")
        peaks[strategy] = launch(read_spec(side_by_side.SPEC, overrides).train, side_by_side.peak, overrides)
    assert peaks["fsdp"] < 0.7 * peaks["ddp"]
