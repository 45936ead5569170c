"""Dequantization with a learned flow of the noise, beside uniform noise."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from flowkit.errors import InputError, ShapeError, SpecError
from flowkit.flow import Flow
from flowkit.spec import likelihood, model_hash, read_spec
from flowkit.testing.perturbation import perturb, seeded

COUPLING: dict[str, Any] = {"coupling": {"use": "glow/affine"}, "conditioner": {"use": "glow/mlp", "hidden": 8}}
ELEMENTWISE: dict[str, Any] = {"elementwise": {"use": "glow/affine"}, "conditioner": {"use": "glow/mlp", "hidden": 8}}
NOISE: list[dict[str, Any]] = [{"use": "map/logit"}, {"use": "glow/actnorm"}, ELEMENTWISE]


def spec(size: int = 1, levels: int | None = 4, **sections: Any) -> dict[str, Any]:
    flow = [{"use": "glow/rescale"}, {"use": "glow/actnorm"}, *([COUPLING] if size > 1 else [])]
    event = {"shape": [size]} | ({} if levels is None else {"levels": levels})
    return {"flowkit": 1, "event": event, "flow": flow, "dequantization": {"flow": NOISE}} | sections


def perturbed(source: dict[str, Any]) -> Flow:
    flow = Flow.from_spec(source).double().eval()
    with seeded(2):  # q has heavy tails: weights of small variance show an error of 1%
        perturb(flow, 0.3)
    return flow


def test_the_weighted_density_of_the_noise_is_the_probability_of_the_integer() -> None:
    """E_q[p(k + u) / q(u | k)] = ∫ p(k + u) du, the probability of k, for whatever q."""
    flow = perturbed(spec())
    grid = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    for k in range(4):
        wanted = flow.log_prob(k + grid[:, None]).exp().mean()
        draws = torch.full((200_000, 1), k, dtype=torch.float64)
        found = (-flow.nll(draws, seed=1)).exp()
        error = found.std() / math.sqrt(len(found))
        assert abs(found.mean() - wanted) < 5 * error and error < 0.01 * wanted


def test_the_noise_has_the_density_that_is_subtracted() -> None:
    """q is normalized: its density, taken through the forward direction, is the one that a draw comes with."""
    flow = perturbed(spec())
    k = torch.full((64, 1), 2.0, dtype=torch.float64)
    points, log_q = flow.dequantize(k, seed=0)
    assert flow.dequantizer is not None
    given = torch.full((64, 1), 2.5 / 4 - 0.5, dtype=torch.float64)
    assert torch.allclose(flow.dequantizer.log_prob(points - 2, given), log_q, atol=1e-8)


def test_uniform_noise_has_density_one() -> None:
    plain = spec(levels=2)
    del plain["dequantization"]
    _, log_q = Flow.from_spec(plain).dequantize(torch.zeros(3, 1, dtype=torch.long))
    assert torch.equal(log_q, torch.zeros(3))


def test_it_is_learned_with_the_density() -> None:
    """Gradients reach the flow of the noise, and fitting it alone lowers the bound."""
    torch.manual_seed(0)
    flow = Flow.from_spec(spec(size=2, levels=3))
    k = torch.randint(3, (256, 2))
    points, _ = flow.dequantize(k)
    flow.initialize(points)
    assert flow.dequantizer is not None and flow.dequantizer.initialized
    optimizer = torch.optim.Adam(flow.dequantizer.parameters(), 0.01)
    before = flow.nll(k, draws=8).mean()
    for _ in range(150):
        points, log_q = flow.dequantize(k)
        loss = (log_q - flow(points)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert flow.nll(k, draws=8).mean() < before - 0.02


def test_points_stay_in_the_cell_of_their_integer() -> None:
    flow = perturbed(spec(levels=256)).float()
    k = torch.full((4096, 1), 255)
    points, _ = flow.dequantize(k)
    assert (points >= 255).all() and (points < 256).all()


def test_a_frozen_flow_and_a_flow_read_again_dequantize_alike(tmp_path: Any) -> None:
    flow = perturbed(spec(size=2))
    k = torch.randint(4, (16, 2))
    wanted = flow.nll(k, seed=3)
    assert torch.allclose(flow.freeze().nll(k, seed=3), wanted)
    again = Flow.from_spec(flow.to_spec()).double()
    again.load_state_dict(flow.state_dict())
    assert torch.equal(again.nll(k, seed=3), wanted)


def test_a_flow_built_in_python_is_written_as_a_spec() -> None:
    flow = perturbed(spec(size=2))
    rebuilt = Flow(list(flow.layers), levels=4, dequantizer=flow.dequantizer)
    assert model_hash(rebuilt.to_spec()) == model_hash(flow.to_spec())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"event": {"shape": [2]}}, "continuous data isn't dequantized"),
        ({"dequantization": {"flow": [{"use": "glow/actnorm"}]}}, "the domain that reaches it is (0, 1)"),
        ({"dequantization": {"flow": [{"use": "map/logit"}, {"use": "glow/squeeze"}]}}, "dequantization.flow[1]"),
        ({"dequantization": {"flow": []}}, "dequantization.flow"),
        (
            {"dequantization": {"flow": [{"use": "map/logit"}], "base": {"use": "base/class_conditional_normal"}}},
            "dequantization.base",
        ),
    ],
)
def test_a_mistake_is_located(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        read_spec(spec(size=2) | changed)
    assert message in str(error.value) and "dequantization" in str(error.value)


def test_a_dequantizer_that_does_not_fit_is_refused() -> None:
    flow = Flow.from_spec(spec(size=2))
    layers = list(flow.layers)
    noise = flow.dequantizer
    with pytest.raises(InputError, match="give levels"):
        Flow(layers, dequantizer=noise)
    with pytest.raises(ShapeError, match="noise of this flow's data"):
        Flow(layers, levels=4, dequantizer=Flow.from_spec(spec(size=1)).dequantizer)
    on_the_reals = Flow.from_spec(
        {"flowkit": 1, "event": {"shape": [2]}, "context": {"shape": [2]}, "flow": [ELEMENTWISE]}
    )
    with pytest.raises(InputError, match=r"noise in \[0, 1\]"):
        Flow(layers, levels=4, dequantizer=on_the_reals)
    with pytest.raises(InputError, match="not a ActNorm"):
        Flow(layers, levels=4, dequantizer=layers[1])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="reads the integers"):
        Flow(layers, levels=4, dequantizer=Flow(list(noise.layers)[:1]))


def test_the_likelihood_is_a_lower_bound_and_the_hash_tells_the_two_apart() -> None:
    plain = spec()
    with_flow = read_spec(plain)
    del plain["dequantization"]
    assert likelihood(with_flow) == "lower_bound" and likelihood(read_spec(plain)) == "exact"
    assert model_hash(with_flow) != model_hash(read_spec(plain))
    assert "dequantization" not in read_spec(plain).model_dump(mode="json")


def test_noise_of_a_row_is_of_its_seed() -> None:
    flow = perturbed(spec(size=2))
    k: Tensor = torch.randint(4, (16, 2))
    assert torch.equal(flow.nll(k, seed=3), flow.nll(k, seed=3))
    assert not torch.equal(flow.nll(k, seed=3), flow.nll(k, seed=4))
