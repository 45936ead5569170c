"""Bundles in other precisions, with shared weights; the same bytes each time, and nothing of the machine in them."""

from __future__ import annotations

import copy
import getpass
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import flowkit
import flowkit_runtime
from flowkit.bijectors import Bijector
from flowkit.errors import ExportError
from flowkit.export import Options, bundle, export, figures, yardstick
from flowkit.export.any_size import smallest_steps
from flowkit.flow import Flow
from flowkit.plugin import BijectorConfig
from flowkit_runtime import verification
from flowkit_runtime.errors import BundleError, InputError, VerificationError
from tests.export.test_bundle import trained_like
from tests.extent import extent
from tests.flow.specs import PRIOR, SMALL, SPECS, STEP, batch

SPEC = {
    "flowkit": 1,
    "event": {"shape": [1, 4, 4], "levels": 17},
    "flow": [{"use": "glow/rescale"}, {"use": "glow/squeeze"}, PRIOR],
}
ALTERNATING = {
    "coupling": {"use": "glow/additive"},
    "conditioner": {"use": "glow/convnet", "hidden": 0},
    "split": {"use": "glow/checkerboard"},
}


BFLOAT16 = [("bfloat16", onnx.TensorProto.BFLOAT16)]
"""Another type takes the same way: test_loops.py has float16."""


@pytest.fixture(scope="module")
def flow():
    return trained_like(SPEC)


@pytest.fixture(scope="module")
def held_out(flow):
    return batch(flow, 80, seed=2)[0].floor().long()


@pytest.fixture(scope="module")
def plain(flow, held_out, tmp_path_factory):
    directory = tmp_path_factory.mktemp("plain") / "bundle"
    export(flow, directory, held_out)
    return directory


@pytest.mark.slow
@pytest.mark.parametrize("precision, kind", extent(BFLOAT16, [*BFLOAT16, ("float16", onnx.TensorProto.FLOAT16)]))
def test_networks_in_16_bits(tmp_path, precision, kind):
    flow, held_out = trained_like(SMALL), torch.rand(80, 2, generator=torch.Generator().manual_seed(0)) * 2
    exported = export(flow, tmp_path / "b", held_out, options=Options(precision=precision))
    assert all(figure.passed for figure in verification.verify(tmp_path / "b"))
    assert exported.manifest["precision"] == precision and 1e-6 < exported.manifest["change"] < 2e-3
    model = onnx.load(tmp_path / "b" / "encode.onnx")
    kinds = {t.name: t.data_type for t in model.graph.initializer if t.dims}
    networks = [name for name in kinds if "conditioner" in name]
    assert networks and all(kinds[name] == kind for name in networks)
    assert all(kinds[name] == onnx.TensorProto.FLOAT for name in kinds if "FrozenChannels" in name)
    assert any("FrozenChannels" in name for name in kinds)
    mine, its = flowkit_runtime.load(tmp_path / "b").score(held_out.numpy()), flow.nll(held_out).detach().numpy()
    np.testing.assert_allclose(mine, its, atol=5e-3)
    assert abs(mine - its).max() > 1e-6  # it is another precision


def test_a_precision_that_costs_too_much_is_refused(plain, monkeypatch):
    monkeypatch.setattr(figures, "MOST_CHANGE", 0.0)  # even of float32, which the graphs have
    model, answers = flowkit_runtime.load(plain), dict(np.load(plain / "reference.npz"))
    with pytest.raises(ExportError, match=r"in bfloat16 the log-density .* off by 0\.0\d+ bits/dim.*wider --precision"):
        figures.measured(model, answers, None, None, "bfloat16", 0.99)


def test_networks_that_overflow_in_16_bits_are_refused(held_out, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "Graphs", lambda *_: None)  # torch in fp16 tells
    flow = trained_like(SPEC)
    with torch.no_grad():
        flow.layers[2].conditioner.convs[0].bias.fill_(1e5)  # beyond fp16's 65504
    with pytest.raises(ExportError, match="in float16 the flow is not finite on held-out events"):
        export(flow, tmp_path / "b", held_out, options=Options(precision="float16"))


def test_the_quantile_of_the_threshold_is_chosen(flow, held_out, plain, tmp_path):
    quantile = np.float32(0.25)
    exported = export(flow, tmp_path / "b", held_out, options=Options(quantile=quantile))
    scores = flowkit_runtime.load(plain).score(held_out)
    expected = {"quantile": float(quantile), "score": pytest.approx(np.quantile(scores, quantile)), "events": 80}
    assert exported.manifest["threshold"] == expected
    model = flowkit_runtime.load(tmp_path / "b")
    assert model.threshold.quantile == quantile
    assert model.anomalous(scores).sum() == pytest.approx(80 * (1 - quantile), abs=1)


@pytest.mark.parametrize("quantile", [0, 1, -0.5, 99, float("nan"), "0.9", None, True])
def test_a_quantile_that_is_none_is_refused(flow, tmp_path, quantile):
    with pytest.raises(flowkit.errors.InputError, match="quantile must be a number above 0 and below 1, "):
        export(flow, tmp_path / "b", options=Options(quantile=quantile))
    assert list(tmp_path.iterdir()) == []


def test_weights_are_shared_by_both_graphs(flow, held_out, plain, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "_SMALL", 8)
    export(flow, tmp_path / "b", held_out, options=Options(shared_weights=True))
    sizes, before = ({p.name: p.stat().st_size for p in d.iterdir()} for d in (tmp_path / "b", plain))
    assert "weights.bin" in json.loads((tmp_path / "b" / "manifest.json").read_text())["files"]
    graphs = [onnx.load(tmp_path / "b" / name, load_external_data=False) for name in ("encode.onnx", "decode.onnx")]
    places = [entry for graph in graphs for tensor in graph.graph.initializer for entry in tensor.external_data]
    in_both = sum(int(entry.value) for entry in places if entry.key == "length")
    network = flow.layers[2].conditioner.convs[0].weight.numel() * 4
    assert network <= in_both - sizes["weights.bin"]  # once, though both graphs have it
    assert sizes["encode.onnx"] < before["encode.onnx"]
    mine, its = flowkit_runtime.load(tmp_path / "b"), flowkit_runtime.load(plain)
    np.testing.assert_array_equal(mine.score(held_out), its.score(held_out))
    np.testing.assert_array_equal(mine.decode(mine.encode(held_out)), held_out)
    content = bytearray((tmp_path / "b" / "weights.bin").read_bytes())
    content[100] ^= 1
    (tmp_path / "b" / "weights.bin").write_bytes(content)
    with pytest.raises(BundleError, match=r"weights\.bin does not match its SHA-256"):
        flowkit_runtime.load(tmp_path / "b")


EXPORT = """
import sys, torch
from flowkit.export import Options, export
from tests.export.test_bundle import trained_like
from tests.export.test_options import SPEC
from tests.flow.specs import batch
flow = trained_like(SPEC)
export(flow, sys.argv[1], batch(flow, 80, seed=2)[0].floor().long())
"""


@pytest.mark.slow
def test_the_same_flow_gives_the_same_bytes_and_nothing_of_the_machine(plain, tmp_path):
    """In another process, from another directory, with another seed of Python's hashes."""
    root = Path(__file__).parents[2]
    path = os.pathsep.join(map(str, [root, root / "plugins", root / "runtime"]))
    environment = os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", EXPORT, str(tmp_path / "b")], check=True, cwd=tmp_path, env=environment)
    names = sorted(p.name for p in plain.iterdir())
    assert names == sorted(p.name for p in (tmp_path / "b").iterdir())
    machine = [socket.gethostname(), str(Path.home()), str(tmp_path), str(root), sys.prefix, getpass.getuser() + "@"]
    for name in names:
        content = (plain / name).read_bytes()
        assert content == (tmp_path / "b" / name).read_bytes(), name
        assert not [text for text in machine if len(text) > 4 and text.encode() in content], name


def test_graphs_say_what_they_are_of(plain):
    manifest = json.loads((plain / "manifest.json").read_text())
    for name in ("encode.onnx", "decode.onnx"):
        stamp = {entry.key: entry.value for entry in onnx.load(plain / name).metadata_props}
        assert stamp == {key: manifest[key] for key in ("flowkit", "model", "weights", "precision")}


def test_what_is_far_off_the_data_is_finite_or_left_out(plain):
    with np.load(plain / "reference.npz") as reference:
        groups, judged, x = reference["group"], reference["judged"], reference["x"]
    excluded = json.loads((plain / "manifest.json").read_text())["excluded"]
    assert [group["events"] for group in excluded.values()] == [64, 23, 8]
    assert [group["excluded"] for group in excluded.values()] == [0, 0, (judged[groups == 2] == 0).sum()]
    assert judged[groups < 2].all()  # held out, and constants, noise, checkerboards in the range of the data
    assert not judged[np.isnan(x).any((1, 2, 3))].any() and np.isnan(x).any()
    assert np.abs(x[np.isfinite(x)]).max() > 1e6


def test_a_flow_that_is_not_finite_is_refused(tmp_path, held_out, monkeypatch):
    monkeypatch.setattr(bundle, "Graphs", lambda *_: None)
    flow = trained_like(SPEC)
    with torch.no_grad():
        flow.layers[2].conditioner.convs[0].bias.fill_(float("nan"))
    with pytest.raises(
        ExportError, match=r"in float32 the flow is not finite on held-out events: see layer \d+ \(coupling glow/aff"
    ):
        export(flow, tmp_path / "b", held_out)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_graphs_for_images_of_any_size(held_out, tmp_path):
    spec = {**SPEC, "flow": [{"use": "glow/rescale"}, {"use": "glow/squeeze"}, *STEP, ALTERNATING]}
    flow = trained_like(spec)
    exported = export(flow, tmp_path / "b", held_out, options=Options(any_size=True))
    assert exported.manifest["sizes_are_multiples_of"] == [2, 4]
    model = onnx.load(tmp_path / "b" / "encode.onnx")
    sizes = [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    assert sizes == ["batch", 1, "x_height", "x_width"]
    images = [info for info in model.graph.value_info if len(info.type.tensor_type.shape.dim) == 4]
    assert len(images) > 12 and all(info.type.tensor_type.shape.dim[2].dim_param for info in images)
    large = flowkit_runtime.load(tmp_path / "b", size=(6, 8))
    assert large.event_shape == (1, 6, 8) and large.latent_shapes == ((4, 3, 4),)
    other = Flow.from_spec({**spec, "event": {"shape": [1, 6, 8], "levels": 17}}).double().eval()
    other.load_state_dict(flow.state_dict())
    x = torch.randint(17, (5, 1, 6, 8), generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(large.score(x), other.bits_per_dim(x).detach(), atol=1e-5)
    np.testing.assert_array_equal(large.decode(large.encode(x)), x)
    assert large.sample(2, seed=0).shape == (2, 1, 6, 8)
    for size in ((3, 4), (6, 2), (4,), (0, 4), (2**20, 2**20)):
        with pytest.raises(InputError, match=r"multiples of \[2, 4\]"):
            flowkit_runtime.load(tmp_path / "b", size=size)


def test_other_graphs_are_of_one_size(plain):
    with pytest.raises(InputError, match=r"events of shape \[1, 4, 4\] alone.*--any-size"):
        flowkit_runtime.load(plain, size=(8, 8))


class NothingConfig(BijectorConfig):
    """No fields."""


class Shift(Bijector):
    """y = x + b, with a b for each pixel."""

    def __init__(self, event_shape):
        super().__init__(event_shape)
        self.shift = nn.Parameter(torch.zeros(event_shape))

    def forward_and_log_det(self, x, context=None):
        return x + self.shift, x.new_zeros(x.shape[0])

    def inverse_and_log_det(self, y, context=None):
        return y - self.shift, y.new_zeros(y.shape[0])


class ShortFarAway(Bijector):
    """y = x; a graph's inverse is 0.1% short where |y| > 20, as a series that was cut off would be."""

    def forward_and_log_det(self, x, context=None):
        return x * 1, x.new_zeros(x.shape[0])

    def inverse_and_log_det(self, y, context=None):
        short = torch.where(y.abs() > 20, 0.999 * y, y) if torch.compiler.is_exporting() else y * 1
        return short, y.new_zeros(y.shape[0])


class Sized(Bijector):
    """y = x; a log-det that counts the positions of the event that it was built for."""

    def forward_and_log_det(self, x, context=None):
        return x, x.sum((1, 2, 3)) * 0 + self.event_shape[1]

    def inverse_and_log_det(self, y, context=None):
        return y, y.sum((1, 2, 3)) * 0 - self.event_shape[1]


@pytest.fixture
def mine():
    flowkit.register("mine/shift", NothingConfig, Shift)
    flowkit.register("mine/sized", NothingConfig, Sized)
    flowkit.register("mine/short_far_away", NothingConfig, ShortFarAway)


def test_sizes_are_those_that_every_layer_takes():
    """The latents alone would be whole at half of that width."""
    flows = [
        trained_like({**SPEC, "event": {"shape": [1, 4, 8], "levels": 17}, "flow": [*squeezed, ALTERNATING]})
        for squeezed in ([], [{"use": "glow/squeeze"}])
    ]
    assert [smallest_steps(flow) for flow in flows] == [[1, 2], [2, 4]]


def test_any_size_is_refused_where_the_flow_is_of_one(tmp_path, mine):
    of_one_size = {
        "only a flow of images": SPECS["vector"],
        "another base than base/standard_normal": {**SPEC, "base": {"use": "base/diagonal_normal"}},
        "dequantization noise is learned": {**SPEC, "dequantization": {"flow": [{"use": "map/logit"}]}},
        r"of one image size: at \[1, 8, 12\] size mismatch.*shift": {**SPEC, "flow": [{"use": "mine/shift"}]},
    }
    for says, spec in of_one_size.items():
        with pytest.raises((ExportError, flowkit.errors.InputError), match=says):
            export(Flow.from_spec(spec), tmp_path / "b", options=Options(any_size=True))
    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_counts_its_events_positions_is_found_out(tmp_path, mine):
    """Right at the size of the data, and wrong at any other."""
    spec = {**SPEC, "flow": [{"use": "mine/sized"}]}
    export(trained_like(spec), tmp_path / "right")
    with pytest.raises(VerificationError, match=r"begins to deviate in layer 0 \(mine/sized"):
        export(trained_like(spec), tmp_path / "wrong", options=Options(any_size=True))


def own_errors(flow, x, precision="float32"):
    exact = copy.deepcopy(flow).double()
    return yardstick.judge(exact, precision, yardstick.reference_events(exact, x, None))


def test_torchs_error_is_the_largest_of_eight_roundings(flow, held_out, monkeypatch):
    """Where a flow magnifies roundings, the error of a single one is luck."""
    answers, errors = own_errors(flow, held_out)
    monkeypatch.setattr(yardstick, "N_ROUNDINGS", 1)
    of_one, own = own_errors(flow, held_out)
    assert (answers["judged"] <= of_one["judged"]).all()
    for rows in ("held-out", "off-data"):
        assert errors[rows]["latents"] > own[rows]["latents"] > 0


@pytest.mark.parametrize(("precision", "network"), [("float32", 2**-23), ("float16", 2**-10), ("bfloat16", 2**-23)])
def test_weights_and_inputs_are_rounded_in_the_type_that_they_are_computed_with(flow, precision, network, monkeypatch):
    """Before they are converted to that type. All of them, buffers among them, and either way."""
    monkeypatch.setattr(yardstick, "in_precision", lambda flow, precision: flow)
    monkeypatch.setattr(Flow, "float", lambda flow: flow)
    frozen = copy.deepcopy(flow).double().freeze()
    ones = {"x": torch.ones(4, *flow.event_shape, dtype=torch.float64)}
    roundings = list(yardstick._roundings(frozen, precision, ones))
    assert len(roundings) == 8
    for other, _ in roundings:
        tensors = dict(other.named_parameters()) | dict(other.named_buffers())
        for name, tensor in (dict(frozen.named_parameters()) | dict(frozen.named_buffers())).items():
            if tensor.is_floating_point():
                eps = network if "conditioner" in name else 2**-23
                expected = tensor.abs() * eps / 2
                torch.testing.assert_close((tensors[name] - tensor).abs(), expected, rtol=1e-3, atol=0)
    assert {float(value) for _, feed in roundings for value in feed["x"].unique()} == {1.0, 1 - 2**-24}  # 1 + ε/2 is 1


def test_a_decoder_that_is_wrong_far_from_the_data_is_refused(tmp_path, mine):
    spec = {**SPEC, "event": {"shape": [1, 4, 4]}, "flow": [{"use": "mine/short_far_away"}, *STEP[:1]]}
    with pytest.raises(VerificationError) as caught:
        export(trained_like(spec), tmp_path / "b")
    wrong = [line.split()[:2] for line in str(caught.value).splitlines() if line.endswith("too large")]
    assert wrong == [["extremes", "decoded"], ["extremes", "round_trip"]]
    assert "layer 0 (mine/short_far_away" in str(caught.value)


class BelowOne(Bijector):
    """y = -log(1 - x), for x < 1."""

    def forward_and_log_det(self, x, context=None):
        y = -torch.log1p(-x)
        return y, y.sum(1)

    def inverse_and_log_det(self, y, context=None):
        return -torch.expm1(-y), -y.sum(1)


def below_one(x):
    return own_errors(Flow([BelowOne((2,))]), x)


def test_events_that_torch_loses_when_rounded_are_excluded_and_counted():
    """A rounding beyond the edge of what a flow takes is no fault: the flow is finite on the events as they are."""
    x = torch.rand(8, 2) / 2
    x[2, 0] = 1 - 2**-24
    answers, errors = below_one(x)
    assert figures.excluded(answers)["held-out"] == {"events": 8, "excluded": 1}
    assert answers["judged"][:8].tolist() == [1, 1, 0, 1, 1, 1, 1, 1] and 0 < errors["held-out"]["latents"] < 1e-5


def test_a_flow_of_which_torch_keeps_no_event_is_refused():
    with pytest.raises(ExportError, match="in float32 the flow can't be verified: a rounding of its weights or inputs"):
        below_one(torch.tensor([1 - 2**-24, 0.5]).expand(8, 2))
