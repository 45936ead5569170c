"""Flows that run in one direction only: what they have works, what they lack is said, in torch and when served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import flowkit
import flowkit_runtime
import flowkit_runtime.bundle
from flowkit.bijectors import Bijector, Composition, Inverse
from flowkit.cli.main import app
from flowkit.errors import DirectionError, PluginError
from flowkit.export import Options, export
from flowkit.flow import Flow, FlowDistribution
from flowkit.plugin import BijectorConfig
from flowkit.plugin.registry import REGISTERED
from flowkit.testing import perturb
from flowkit_glow.actnorm import ActNorm
from flowkit_runtime import BundleError, verification
from flowkit_runtime.cli.main import app as runtime_app

FORWARD = {
    "flowkit": 1,
    "event": {"shape": [2]},
    "flow": [{"use": "glow/actnorm"}, {"repeat": 2, "flow": [{"use": "residual/planar"}]}],
}
LABELLED = {
    "flowkit": 1,
    "event": {"shape": [2, 2, 2], "levels": 9},
    "context": {"classes": 3},
    "flow": [
        {"use": "glow/rescale"},
        {"use": "residual/planar", "inverse": True},
        {"coupling": {"use": "glow/affine"}, "conditioner": {"use": "glow/mlp", "hidden": 4}},
        {"factor_out": "channels"},
    ],
}
LACKS_INVERSE = r"layer 1 \(residual/planar at flow\[1\]\.flow\[0\]\) runs forward only .* need the inverse of every"


def built(spec: dict[str, Any]) -> Flow:
    torch.manual_seed(0)
    flow = Flow.from_spec(spec).eval()
    perturb(flow, 0.2)
    return flow


@pytest.fixture
def forward() -> Flow:
    return built(FORWARD)


@pytest.fixture
def sampler() -> Flow:
    return built(LABELLED)


@pytest.mark.parametrize(
    "act",
    [
        lambda flow: flow.sample(3),
        lambda flow: flow.sample(0),
        lambda flow: flow.decode(flow.encode(torch.zeros(1, 2))),
        lambda flow: flow.inverse_and_log_det([torch.zeros(1, 2)]),
        lambda flow: FlowDistribution(flow).sample((2,)),
        lambda flow: setattr(flow, "memory", "reversible"),
    ],
)
def test_what_needs_the_inverse(forward: Flow, act: Any) -> None:
    assert forward.log_prob(torch.zeros(3, 2)).shape == (3,)
    assert FlowDistribution(forward).log_prob(torch.zeros(3, 2)).shape == (3,)
    with pytest.raises(DirectionError, match=LACKS_INVERSE):
        act(forward)


@pytest.mark.parametrize(
    "act",
    [
        lambda flow, x: flow.log_prob(x + 0.5, 0),
        lambda flow, x: flow.bits_per_dim(x, 0),
        lambda flow, x: flow.encode(x, 0),
        lambda flow, x: flow.initialize(x + 0.5, 0),
    ],
)
def test_what_needs_the_forward_direction(sampler: Flow, act: Any) -> None:
    x = sampler.sample(3, torch.tensor(0), seed=0)
    assert x.shape == (3, 2, 2, 2)
    message = r"layer 1 \(inverse of residual/planar at flow\[1\]\) runs its inverse only .* need the forward direction"
    with pytest.raises(DirectionError, match=message):
        act(sampler, x.float() if "log_prob" in str(act) else x)


class Half(Bijector):
    """The identity, forward only."""

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x, x.new_zeros(x.shape[0])


class Refusing(Half):
    """An author's way to say that there is no inverse."""

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


def test_layers_built_in_python() -> None:
    assert [Half((2,)).directions, Refusing((2,)).directions] == ["forward", "both"]
    assert Inverse(Half((2,))).directions == "inverse"
    assert Composition([ActNorm((2,)), Half((2,))]).directions == "forward"
    assert Flow([Half((2,)), Inverse(Half((2,)))]).directions == "neither"
    flow = Flow([ActNorm((2,)), Half((2,))])
    with pytest.raises(DirectionError, match=r"layer 1 \(Half\) runs forward only"):
        flow.sample(2)
    with pytest.raises(DirectionError, match="Half has no inverse"):
        Half((2,)).inverse_and_log_det(torch.zeros(1, 2))
    with pytest.raises(DirectionError, match="Half has no inverse"):
        Flow([Inverse(Half((2,)))]).log_prob(torch.zeros(1, 2))


class OneWay(BijectorConfig):
    """Declares one direction."""

    directions = "forward"


class Careless(BijectorConfig):
    """Declares nothing, so both."""


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(REGISTERED):
        monkeypatch.delitem(REGISTERED, name)
    flowkit.register("half/declared", OneWay, Refusing)
    flowkit.register("half/careless", Careless, Half)
    yield
    for name in ("half/declared", "half/careless"):
        REGISTERED.pop(name, None)


def test_the_config_decides_for_a_layer_of_a_spec(registered: None) -> None:
    spec = {"flowkit": 1, "event": {"shape": [2]}, "flow": [{"use": "half/declared"}]}
    flow = Flow.from_spec(spec)
    assert flow.directions == "forward"
    with pytest.raises(DirectionError, match=r"layer 0 \(half/declared at flow\[0\]\) runs forward only"):
        flow.sample(2)
    inverted = Flow.from_spec({**spec, "flow": [{"use": "half/declared", "inverse": True}]})
    with pytest.raises(DirectionError, match=r"inverse of half/declared at flow\[0\]\) runs its inverse only"):
        inverted.log_prob(torch.zeros(1, 2))


def test_a_layer_has_what_its_config_declares(registered: None) -> None:
    with pytest.raises(PluginError, match=r"half/careless at flow\[0\]: its config says that it runs in both"):
        Flow.from_spec({"flowkit": 1, "event": {"shape": [2]}, "flow": [{"use": "half/careless"}]})


def test_an_export_of_a_forward_flow(forward: Flow, tmp_path: Path) -> None:
    torch.manual_seed(1)
    x = torch.randn(70, 2)
    with pytest.raises(DirectionError, match="draws no samples to be verified on: pass events x"):
        export(forward, tmp_path / "none")
    exported = export(forward, tmp_path / "bundle", x, options=Options(page="planar"))
    files = {path.name for path in (tmp_path / "bundle").iterdir()}
    assert "encode.onnx" in files and "decode.onnx" not in files
    assert exported.manifest["directions"] == "forward" and exported.manifest["restored"] is None
    assert {figure.quantity for figure in exported.figures} == {"latents", "log_prob"}
    assert verification.verify(tmp_path / "bundle") == exported.figures
    page = (tmp_path / "bundle" / "index.html").read_text("utf-8")
    assert 'id="block-encoder"' in page and 'id="block-decoder"' not in page

    model = flowkit_runtime.load(tmp_path / "bundle")
    exact = forward.log_prob(x).detach().numpy()
    np.testing.assert_allclose(model.log_prob(x.numpy()), exact, atol=1e-4)
    np.testing.assert_allclose(model.encode(x.numpy())[0], forward.encode(x)[0].detach().numpy(), atol=1e-4)
    assert model.directions == "forward" and model.anomalous(model.score(x.numpy())).sum() <= 2
    lacking = [
        lambda: model.sample(2),
        lambda: model.decode(model.encode(x.numpy())),
        lambda: model.interpolate(x[0].numpy(), x[1].numpy(), 3),
        lambda: model.reconstruction_error(x.numpy()),
    ]
    for act in lacking:
        with pytest.raises(BundleError, match=r"holds encode\.onnx alone, because its flow runs data -> latent only"):
            act()
    assert_a_damaged_manifest_is_refused(tmp_path / "bundle")


def assert_a_damaged_manifest_is_refused(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    for given, message in (("both", "files lists no decode.onnx"), ("up", "directions is 'up'"), ([], "directions is")):
        (bundle / "manifest.json").write_bytes(flowkit_runtime.bundle.sealed(manifest | {"directions": given}))
        with pytest.raises(BundleError, match=message):
            flowkit_runtime.load(bundle)


def test_an_export_of_a_flow_that_samples_only(sampler: Flow, tmp_path: Path) -> None:
    with pytest.raises(DirectionError, match="it encodes no events: leave out x"):
        export(sampler, tmp_path / "none", torch.zeros(3, 2, 2, 2), torch.zeros(3).long())
    exported = export(sampler, tmp_path / "bundle")
    files = {path.name for path in (tmp_path / "bundle").iterdir()}
    assert "decode.onnx" in files and "encode.onnx" not in files
    assert {figure.quantity for figure in exported.figures} == {"decoded"}
    assert {figure.rows for figure in exported.figures} >= {"held-out", "off-data"}
    assert verification.verify(tmp_path / "bundle") == exported.figures

    model = flowkit_runtime.load(tmp_path / "bundle")
    context = np.arange(6) % 3
    wanted = sampler.sample(6, torch.from_numpy(context), seed=4)
    assert (model.sample(6, context, seed=4) == wanted.numpy()).mean() > 0.99
    lacking = [
        lambda: model.score(np.zeros((2, 2, 2, 2), int), 0),
        lambda: model.log_prob(np.zeros((2, 2, 2, 2)), 0),
        lambda: model.encode(np.zeros((2, 2, 2, 2), int), 0),
        lambda: model.reconstruction_error(np.zeros((2, 2, 2, 2), int), 0),
    ]
    for act in lacking:
        with pytest.raises(BundleError, match=r"holds decode\.onnx alone, because its flow runs latent -> data only"):
            act()


def test_a_run_without_samples(tmp_path: Path) -> None:
    """It trains, says that there is no picture of samples, and is evaluated and exported; sampling it is refused."""
    run, bundle, events = tmp_path / "run", tmp_path / "bundle", tmp_path / "x.npy"
    source = {**FORWARD, "data": {"use": "data/toy", "name": "moons", "n": 200}, "train": {"epochs": 1}}
    (tmp_path / "spec.yaml").write_text(json.dumps(source))
    np.save(events, np.zeros((3, 2), np.float32))

    def flowkit_says(*arguments: Any, code: int = 0, command: Any = app) -> str:
        result = CliRunner().invoke(command, list(map(str, arguments)))
        assert result.exit_code == code, result.output
        return result.output

    assert "forward only" in flowkit_says("validate", tmp_path / "spec.yaml")
    assert "forward only, exact likelihood" in flowkit_says("show", tmp_path / "spec.yaml")
    assert "has no samples.png" in flowkit_says("train", tmp_path / "spec.yaml", "-o", run)
    assert not (run / "samples.png").exists() and (run / "results.json").exists()
    assert "flow" in flowkit_says("evaluate", run)
    assert "runs forward only" in flowkit_says("sample", run, "-o", tmp_path / "s.npy", code=2)
    assert f"{bundle}: encode.onnx\n" in flowkit_says("export", run, "-o", bundle)
    assert "forward only: it draws no samples" in flowkit_says("info", bundle, command=runtime_app)
    assert "3 events scored" in flowkit_says("score", bundle, events, command=runtime_app)
    assert "3 events encoded" in flowkit_says("encode", bundle, events, "-o", tmp_path / "z.npz", command=runtime_app)
    for arguments in (
        ("sample", bundle, "-o", tmp_path / "s.npy"),
        ("decode", bundle, tmp_path / "z.npz", "-o", tmp_path / "s.npy"),
        ("interpolate", bundle, events, 0, 1, "-o", tmp_path / "s.npy"),
        ("encode", bundle, events, "-o", tmp_path / "again.npz", "--check"),
    ):
        assert "draws no samples" in flowkit_says(*arguments, code=2, command=runtime_app)
    assert not (tmp_path / "s.npy").exists() and not (tmp_path / "again.npz").exists()
