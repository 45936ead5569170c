"""Single steps: the moving average, the schedule, clipping, and the stop at what isn't finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from flowkit.domains import Interval
from flowkit.errors import TrainingError
from flowkit.flow import Flow
from flowkit.spec import Spec, Train, read_spec
from flowkit.train import train
from flowkit.train.batches import Batch
from flowkit.train.optimizer import learning_rate_factor, new_optimizer
from flowkit.train.step import Average, Fitting, derived_seed
from flowkit_base.uniform import Uniform
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.mlp import MLP

MakeSpec = Callable[..., Spec]

pytestmark = pytest.mark.usefixtures("no_pictures")


def test_the_average_against_one_by_hand(make_spec: MakeSpec) -> None:
    flow = Flow.from_spec(make_spec())
    average = Average(flow, 0.15)
    weight = next(flow.parameters())
    values = [weight.detach().clone()]
    for step, value in enumerate((1.0, 2.0, 4.0)):
        weight.data.fill_(value)
        values.append(weight.detach().clone())
        average.update(step)
    expected = values[0]
    for decay, value in zip((1 / 10, 0.15, 0.15), values[1:], strict=True):  # 2/11 and 3/12 are above 0.15
        expected = decay * expected + (1 - decay) * value
    assert torch.allclose(next(average.flow.parameters()), expected, rtol=0, atol=1e-6)


def test_the_average_has_the_buffers_of_the_flow(make_spec: MakeSpec) -> None:
    flow = Flow.from_spec(make_spec())
    average = Average(flow, 0.9)
    flow.initialized.fill_(True)
    average.copy_buffers()
    assert average.flow.initialized


def test_the_schedule() -> None:
    factors = [learning_rate_factor(step, total=11, warmup=3, schedule="cosine") for step in range(11)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[7] == pytest.approx(0.5) and factors == sorted(factors[:4]) + sorted(factors[4:], reverse=True)
    assert learning_rate_factor(11, 11, 3, "cosine") == 0
    assert {learning_rate_factor(step, 11, 0, "constant") for step in range(11)} == {1.0}
    assert learning_rate_factor(4, total=4, warmup=9, schedule="cosine") == 0.5


@pytest.mark.parametrize(("limit", "expected"), [("0.5", 0.5), ("null", 10.0), ("50", 10.0)])
def test_gradients_are_clipped_by_their_global_norm(make_spec: MakeSpec, limit: str, expected: float) -> None:
    spec = make_spec(f"train.clip_norm={limit}")
    flow = Flow.from_spec(spec)
    fitting = Fitting(flow, spec.train, 10)
    count = sum(p.numel() for p in flow.parameters())
    for parameter in flow.parameters():
        parameter.grad = torch.full_like(parameter, 10 / math.sqrt(count))
    fitting.clip_gradients()
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in flow.parameters()))
    assert norm == pytest.approx(expected, rel=1e-4)


def test_derived_seeds_differ() -> None:
    assert len({derived_seed(seed, epoch) for seed in range(20) for epoch in range(20)}) == 400


@pytest.mark.parametrize("name", ["adam", "adamw", "adamax", "sgd"])
def test_every_optimizer(make_spec: MakeSpec, name: str) -> None:
    spec = make_spec(f"train.optimizer={{name: {name}, lr: 0.25, weight_decay: 0.5}}")
    optimizer = new_optimizer(spec.train, Flow.from_spec(spec).parameters())
    assert type(optimizer).__name__.lower() == name
    assert optimizer.defaults["lr"] == 0.25 and optimizer.defaults["weight_decay"] == 0.5


def spoil(monkeypatch: pytest.MonkeyPatch, step: int, spoiled: Callable[[Flow], Any]) -> None:
    """Do something to the flow right before a step."""
    original = Fitting.training_step

    def training_step(self: Fitting, batch: Any) -> None:
        if self.global_step == step:
            spoiled(self.flow)
        original(self, batch)

    monkeypatch.setattr(Fitting, "training_step", training_step)


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_layer(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, 7, lambda flow: next(flow.layers[1].parameters()).data.fill_(math.nan))
    with pytest.raises(TrainingError, match=r"step 7: the loss is nan; .* layer 1 .*try a lower") as caught:
        train(make_spec(), tmp_path / "run")
    assert "flow[1].flow[0]" in str(caught.value)
    assert not (tmp_path / "run" / "results.json").exists()


def test_at_the_first_step_the_learning_rate_is_not_blamed(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, 0, lambda flow: next(flow.layers[1].parameters()).data.fill_(math.nan))
    with pytest.raises(TrainingError, match=r"step 0: the loss is nan; .* layer 1 .*: no weight has been .*the data"):
        train(make_spec(), tmp_path / "run")


def test_a_latent_outside_of_the_support_of_its_base_is_told() -> None:
    flow = Flow([ActNorm((2,))], base=Uniform((2,), Interval(0, 1)))
    flow.initialized.fill_(True)
    fitting = Fitting(flow, Train(), 1)
    with pytest.raises(TrainingError, match=r"the base distribution Uniform with the support \(0, 1\).* from 0.5 to 7"):
        fitting.training_step(Batch(torch.tensor([[0.5, 7.0]]), None, None))


@pytest.mark.parametrize(("part", "named"), [("layers", "layer 0"), ("dequantizer", "the dequantizer")])
def test_with_learned_noise_the_part_that_is_not_finite_is_named(part: str, named: str) -> None:
    network = {"use": "glow/mlp", "hidden": 4}
    coupling = {"coupling": {"use": "glow/affine"}, "conditioner": network}
    spec = read_spec(
        {
            "flowkit": 1,
            "event": {"shape": [2], "levels": 4},
            "flow": [coupling],
            "dequantization": {"flow": [{"use": "map/logit"}, coupling]},
        }
    )
    flow = Flow.from_spec(spec)
    for parameter in getattr(flow, part).parameters():
        parameter.data.fill_(math.nan)
    with pytest.raises(TrainingError, match=rf"step 0: the loss is nan; .* finite is of {named}"):
        Fitting(flow, spec.train, 1).training_step(Batch(torch.tensor([[0, 3]]).byte(), None, None))


def test_a_gradient_that_is_not_finite_stops_before_it_reaches_the_weights(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    flows = []

    def hook(flow: Flow) -> None:
        flows.append(flow)
        next(flow.parameters()).register_hook(lambda gradient: gradient * math.inf)

    spoil(monkeypatch, 3, hook)
    with pytest.raises(TrainingError, match=r"step 3: the gradient is .*; all outputs are finite"):
        train(make_spec(), tmp_path / "run")
    assert all(parameter.isfinite().all() for parameter in flows[0].parameters())


def test_a_validation_figure_that_is_not_finite_stops(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("nll", "bits_per_dim"):
        monkeypatch.setattr(f"flowkit.flow.Flow.{name}", lambda flow, x, *_, **__: flow(x) * math.nan)
    with pytest.raises(TrainingError, match=r"epoch 1: val: 22 of 22 events have no finite score, .*: try a"):
        train(make_spec(), tmp_path / "run")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_networks_train_in_the_precision_of_the_spec_and_are_validated_in_fp32(
    precision: str, tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[bool, set[torch.dtype]] = {True: set(), False: set()}
    forward = MLP.forward

    def watched(self: MLP, *inputs: Tensor) -> Tensor:
        theta = forward(self, *inputs)
        seen[self.training].add(theta.dtype)
        return theta

    monkeypatch.setattr(MLP, "forward", watched)
    train(make_spec(f"train.precision={precision}", "train.epochs=2"), tmp_path / "run")
    assert seen[False] == {torch.float32}
    assert (torch.bfloat16 in seen[True]) == (precision == "bf16")
    weights = load_file(tmp_path / "run" / "weights.safetensors")
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float32}
