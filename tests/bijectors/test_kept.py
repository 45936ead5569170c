"""A coupling may transform its kept part, too, with parameters of its own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from flowkit.bijectors import Bijector, Coupling, Elementwise, Transformer
from flowkit.errors import PluginError, SpecError
from flowkit.flow import Flow
from flowkit.spec import canonical, read_spec
from flowkit.spec.views import dot, svg
from flowkit.testing import perturb
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.affine import Affine
from flowkit_glow.mlp import MLP
from flowkit_glow.splits import Channels
from flowkit_spline.rational_quadratic import RationalQuadratic
from tests.plugins.cases import coupling

SPEC = {
    "flowkit": 1,
    "event": {"shape": [5]},
    "context": {"shape": [2]},
    "flow": [
        {
            "coupling": {"use": "glow/affine"},
            "conditioner": {"use": "glow/mlp", "hidden": 4},
            "kept": {"use": "spline/rational_quadratic", "bins": 4},
        }
    ],
}


def perturbed(layer: Bijector) -> Bijector:
    torch.manual_seed(0)
    layer.double().eval()
    perturb(layer, 0.5)
    return layer


def test_it_is_its_formula() -> None:
    layer = perturbed(coupling((5,), Affine(), kept=RationalQuadratic(bins=4)))
    x = torch.randn(3, 5, dtype=torch.float64)
    kept, transformed = x[:, :3], x[:, 3:]
    y, first = layer.transformer(transformed, layer.conditioner(kept))  # the network reads the kept part as it came
    of_kept, second = layer.kept.transformer(kept, layer.kept.theta.expand(3, -1, -1))
    given, log_det = layer.forward_and_log_det(x)
    torch.testing.assert_close(given, torch.cat([of_kept, y], 1))
    torch.testing.assert_close(log_det, first.sum(1) + second.sum(1))
    assert not torch.equal(given[:, :3], kept)


def test_a_reversible_pass_runs_the_network_once(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = perturbed(coupling((5,), Affine(), kept=Affine()))
    x = torch.randn(3, 5, dtype=torch.float64)
    y, _ = layer.forward_and_log_det(x)
    calls, run = [], MLP.forward
    monkeypatch.setattr(MLP, "forward", lambda *args: (calls.append(1), run(*args))[1])
    back, again, _ = layer.recompute(y)
    assert len(calls) == 1
    torch.testing.assert_close(back, x, atol=1e-12, rtol=0)
    torch.testing.assert_close(again, y, atol=1e-12, rtol=0)


def test_a_spec_has_a_key_for_it() -> None:
    spec = read_spec(SPEC)
    flow = Flow.from_spec(spec)
    (layer,) = flow.layers
    assert isinstance(layer.kept, Elementwise) and layer.kept.theta.shape == (4 * 3 - 1, 3)
    flow.spec = None
    assert canonical(flow.to_spec())["flow"] == canonical(spec)["flow"]
    assert canonical(spec)["flow"][0]["kept"]["bins"] == 4
    assert "kept" not in canonical(read_spec({**SPEC, "flow": [{**SPEC["flow"][0], "kept": None}]}))["flow"][0]
    assert "kept [3], spline/rational_quadratic, bins 4" in svg(spec)
    assert "kept spline/rational_quadratic: bins 4" in dot(spec)


def test_the_spec_of_a_flow_goes_with_a_replaced_part() -> None:
    flow = Flow.from_spec(SPEC)
    assert flow.spec is not None
    flow.layers[0].kept.transformer = RationalQuadratic(bins=4, bound=2.0)
    assert flow.spec is None
    assert flow.to_spec().flow[0].kept.config.bound == 2.0


def test_a_spec_has_transformers_for_it_alone() -> None:
    layer = Coupling(Channels((5,)), MLP((3,), (2, 2), hidden=4), Affine(), ActNorm((3,)))
    assert Flow([layer]).log_prob(torch.zeros(2, 5)).shape == (2,)
    with pytest.raises(PluginError, match="the kept part of a coupling goes through ActNorm: it takes a transformer"):
        Flow([layer]).to_spec()


CIRCLE = {"use": "spline/circular", "bounds": {"circle": [0, 1]}}


@pytest.mark.parametrize(
    ("event", "transformer", "kept"),
    [({"shape": [2]}, {"use": "glow/affine"}, CIRCLE), ({"shape": [2], "domain": {"circle": [0, 1]}}, CIRCLE, None)],
)
def test_both_parts_have_one_domain(event: dict, transformer: dict, kept: dict | None) -> None:
    kept = kept or {"use": "glow/affine"}
    step = {"coupling": transformer, "conditioner": {"use": "glow/mlp"}, "kept": kept}
    with pytest.raises(SpecError, match=rf"flow\[0\]: the kept part of coupling .*: {kept['use']} takes .* reaches it"):
        read_spec({"flowkit": 1, "event": event, "flow": [step], "base": {"use": "base/uniform", "bounds": [0, 1]}})


class ForwardOnly(Transformer):
    """A bend without an inverse."""

    n_params = 1

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        return x + x.tanh() / 2, (1 + (1 - x.tanh().square()) / 2).log()


def test_it_has_the_directions_of_both_parts() -> None:
    assert coupling((5,), Affine(), kept=Affine()).directions == "both"
    assert coupling((5,), Affine(), kept=ForwardOnly()).directions == "forward"
    assert coupling((5,), ForwardOnly(), kept=Affine()).directions == "forward"
