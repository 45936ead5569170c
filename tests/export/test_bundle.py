"""Export: both graphs agree with the fp64 flow at every batch size, and nothing half-made is handed out."""

import copy
import errno
import json
import re
from itertools import product

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

import flowkit
import flowkit_runtime
from flowkit.bijectors import Bijector
from flowkit.errors import ExportError, InputError, PluginError
from flowkit.export import Options, export
from flowkit.export import bundle as bundles
from flowkit.export.graphs import Graphs, make_graphs
from flowkit.export.pieces import EXAMPLES
from flowkit.export.program import Program
from flowkit.flow import Flow
from flowkit.plugin import BijectorConfig
from flowkit.testing import BijectorSubject, perturb, run_check
from flowkit_glow.actnorm import ActNorm
from flowkit_runtime import verification
from flowkit_runtime.bundle import ENCODER, sealed
from flowkit_runtime.errors import BundleError, VerificationError
from flowkit_runtime.session import Graph
from tests.flow.specs import PRIOR, SMALL, SPECS, STEP, batch

LABELS = {
    "flowkit": 1,
    "event": {"shape": [1, 4, 4], "levels": 17},
    "context": {"classes": 5},
    "flow": [{"use": "glow/rescale"}, {"use": "glow/squeeze"}, PRIOR, {"factor_out": "channels"}, STEP[0]],
}
"""Levels, two latents and labels."""

ARRAYS = {
    "flowkit": 1,
    "event": {"shape": [3]},
    "context": {"shape": [2]},
    "flow": [
        {
            "coupling": {"use": "glow/affine"},
            "conditioner": {"use": "glow/mlp", "hidden": 4, "layers": 1, "dropout": 0.5},
        }
    ],
}
"""Continuous data, arrays as context, and a network that computes otherwise in training than in evaluation."""


def trained_like(name):
    """A flow in fp32 as training leaves one: initialised from data, parameters moved."""
    torch.manual_seed(0)
    flow = Flow.from_spec(SPECS[name] if isinstance(name, str) else name)
    x, context = batch(flow, 100)
    flow.initialize(x.float(), context if context is None or not context.is_floating_point() else context.float())
    perturb(flow, 0.03)
    return flow.eval()


@pytest.fixture(scope="module", params=[LABELS, ARRAYS], ids=["labels", "arrays"])
def exported(request, tmp_path_factory):
    flow = trained_like(request.param)
    directory = tmp_path_factory.mktemp("exported") / "bundle"
    x, context = batch(flow, 40, seed=2)
    export(
        copy.deepcopy(flow).train(),  # it is exported as it is evaluated
        directory,
        x.floor().long() if flow.levels else x.float(),
        context if context is None or flow.context.classes else context.float(),
    )
    return flow, directory


def as_given(flow, n, seed=3):
    x, context = batch(flow, n, seed=seed)
    x = (x.floor() if flow.levels else x).numpy()
    x = x.astype(np.uint8) if flow.levels else x.astype(np.float32)
    if context is None:
        return x, None
    return x, context.numpy().astype(np.float32 if context.is_floating_point() else np.int64)


def test_the_runtime_does_what_torch_does(exported):
    flow, directory = exported
    model = flowkit_runtime.load(directory)
    exact = Flow.from_spec(flow.to_spec())
    exact.load_state_dict(flow.state_dict())
    exact.double().eval()
    for n in (1, 2, 7, 64):
        assert_the_same(model, flow, exact, *as_given(flow, n))


def assert_the_same(model, flow, exact, x, context):
    tx, tc = torch.from_numpy(x), None if context is None else torch.from_numpy(context)
    for mine, its in zip(exact.encode(tx if flow.levels else tx.double(), tc), model.encode(x, context), strict=True):
        np.testing.assert_allclose(its, mine.detach().numpy(), atol=1e-4)
    figure = exact.bits_per_dim if flow.levels else exact.nll
    score = figure(tx if flow.levels else tx.double(), tc, draws=2, seed=1).detach().numpy()
    np.testing.assert_allclose(model.score(x, context, draws=2, seed=1), score, atol=1e-4)
    back = model.decode(model.encode(x, context), context)
    if flow.levels:
        assert np.array_equal(back, x)
    else:
        np.testing.assert_allclose(back, x, atol=1e-5)


def test_samples_of_a_seed_are_torchs(exported):
    flow, directory = exported
    _, context = as_given(flow, 9)
    mine = flow.sample(9, None if context is None else torch.from_numpy(context), 0.7, 11).numpy()
    its = flowkit_runtime.load(directory).sample(9, context, 0.7, 11)
    assert its.dtype == mine.dtype
    np.testing.assert_allclose(its.astype(float), mine.astype(float), atol=1 if flow.levels else 1e-4)
    assert (its == mine).mean() > 0.98 or not flow.levels


def test_the_graphs_are_standard_dynamic_and_clean(exported):
    flow, directory = exported
    for name in ("encode.onnx", "decode.onnx"):
        model = onnx.load(directory / name)
        assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
        for value in (*model.graph.input, *model.graph.output):
            assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
        data = (directory / name).read_bytes()
        assert b"site-packages" not in data and b".py" not in data
    if flow.levels:
        convs = [node.op_type for node in onnx.load(directory / "encode.onnx").graph.node].count("Conv")
        assert convs == 3  # rescale, the network's, actnorm


def test_the_manifest_says_what_it_is(exported):
    flow, directory = exported
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["event"] == {"shape": list(flow.event_shape), "levels": flow.levels, "domain": None}
    assert manifest["latents"] == [list(shape) for shape in flow.latent_shapes]
    assert manifest["likelihood"] == "exact"
    assert set(manifest["files"]) == {"encode.onnx", "decode.onnx", "spec.yaml", "lock.json", "reference.npz"}
    measured = {(figure["rows"], figure["quantity"]) for figure in manifest["verification"]}
    assert measured >= set(product(("held-out", "off-data"), ("latents", "log_prob", "decoded", "round_trip")))
    assert manifest["change"] < 1e-6
    scores = flowkit_runtime.load(directory).score(*as_given(flow, 40, seed=2))
    assert manifest["threshold"] == {"quantile": 0.99, "score": pytest.approx(np.quantile(scores, 0.99)), "events": 40}
    restored = {"off-data": {"events": 23, "exact": 23}, "held-out": {"events": 40, "exact": 40}}
    assert manifest["restored"] == (restored if flow.levels else None)
    assert Flow.from_spec(directory / "spec.yaml").to_spec().event == flow.to_spec().event


def test_one_context_of_all_held_out_events(tmp_path):
    flow = trained_like(ARRAYS)
    x, one = batch(flow, 20, seed=2)[0], torch.tensor([0.5, -1.0])
    done = export(flow, tmp_path / "one", x, one, weights="ema")
    assert repr(done) == f"Exported({len(done.figures)} figures, all within their limits)"
    assert json.loads((tmp_path / "one" / "manifest.json").read_text())["weights"] == "ema"
    export(flow, tmp_path / "each", x, one.expand(20, 2), weights="ema")
    for name in ("manifest.json", "reference.npz"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "each" / name).read_bytes()


def test_verify_repeats_it(exported):
    _, directory = exported
    assert all(figure.passed for figure in verification.verify(directory))


@pytest.mark.parametrize("size", verification.BATCH_SIZES)
def test_verify_finds_graphs_that_deviate_in_batches_of_one_size(exported, monkeypatch, size):
    honest = Graph.run

    def run(graph, names, feed):
        results = honest(graph, names, feed)
        return [result + 1 for result in results] if len(results[0]) == size else results

    monkeypatch.setattr(Graph, "run", run)
    assert not any(figure.passed for figure in verification.measure(exported[1]) if figure.rows == "held-out")


def test_verify_finds_graphs_that_deviate(exported, tmp_path):
    _, directory = exported
    for file in directory.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with np.load(tmp_path / "reference.npz") as arrays:
        changed = {**arrays, "log_prob": arrays["log_prob"] + 1e-2}
    np.savez(tmp_path / "reference.npz", **changed)
    with pytest.raises(BundleError, match=r"reference\.npz"):
        verification.verify(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["files"]["reference.npz"] = bundles._sha256(tmp_path / "reference.npz")
    (tmp_path / "manifest.json").write_bytes(sealed(manifest))
    with pytest.raises(VerificationError, match=r"log_prob .* too large"):
        verification.verify(tmp_path)


def test_a_flow_that_deviates_is_not_handed_out(tmp_path, monkeypatch):
    flow = trained_like(SMALL)
    honest = bundles.Graphs

    def tampering(*args):
        graphs = honest(*args)
        graphs.models = copy.deepcopy(graphs.models)
        bias = next(t for t in graphs.models[ENCODER].graph.initializer if t.name.endswith("conditioner.last.bias"))
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(0.01), bias.name))
        return graphs

    monkeypatch.setattr(bundles, "Graphs", tampering)
    layer = r"layer 1 \(coupling glow/affine at flow\[1\]\)"
    with pytest.raises(VerificationError, match=rf"(?s)deviates.*encode\.onnx begins to deviate in {layer}"):
        export(flow, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_event_without_a_finite_score_is_named(tmp_path):
    """It is none of the first, on which graphs are verified; the threshold comes of all."""
    x = torch.randn(200, 2)
    x[100:110] = 1e25
    says = r"10 of 200 held-out events have no finite score, first event 100 .* of values from 1e\+25 to 1e\+25"
    with pytest.raises(ExportError, match=says):
        export(trained_like(SMALL), tmp_path / "b", x)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_names_the_bundle_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bundles.np, "savez", full)
    with pytest.raises(OSError) as caught:
        export(trained_like(SMALL), tmp_path / "b")
    assert caught.value.filename == str(tmp_path / "b") and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "of, given, says",
    {
        "none": (SMALL, {"x": torch.zeros(0, 2)}, "x holds no events"),
        "another shape": (SMALL, {"x": torch.zeros(4, 3)}, r"x has shape \[4, 3\]; this flow takes \[batch, 2\]"),
        "an array": (SMALL, {"x": np.zeros((4, 2))}, "x is a numpy.ndarray; a flow takes tensors"),
        "no levels": (LABELS, {"x": torch.full((4, 1, 4, 4), 0.5)}, "x holds 0.5, and integer data are whole"),
        "beyond levels": (LABELS, {"x": torch.full((4, 1, 4, 4), 17)}, "this flow's levels are 0 … 16"),
        "no context": (ARRAYS, {"x": torch.zeros(4, 3)}, "this flow is conditional: pass context"),
        "a context alone": (ARRAYS, {"context": torch.zeros(4, 2)}, "a context belongs to events: give x too"),
        "a precision": (SMALL, {"options": Options(precision="fp16")}, "precision must be .*float16.* not 'fp16'"),
        "a page's title": (
            SMALL,
            {"x": torch.zeros(4, 2), "options": Options(page="bad\udcff")},
            r"the page's title, 'bad\\udcff', can't be printed",
        ),
    }.values(),
)
def test_what_cannot_be_verified_on_is_refused_before_all_that_takes_long(of, given, says, tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "Graphs", None)
    with pytest.raises(InputError, match=says):
        export(trained_like(of), tmp_path / "b", **given)
    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_no_plugin_registers_is_refused_before_all_that_takes_long(tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "Graphs", None)
    monkeypatch.setattr(bundles, "reference_events", None)
    with pytest.raises(PluginError, match="Branches is not the target of any installed plugin: register it"):
        export(Flow([Branches((3,))]), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong, says",
    {
        "Branches": "Could not guard on data-dependent expression.*branch on values",
        "OneBatchSize": "a size of 3 whatever the size of the batch",
        "Silent": "NotImplementedError$",
        "NoOperator": "No ONNX function found.*bessel_j0.*if it is of weights alone, compute it in freeze",
    }.items(),
)
def test_what_cannot_be_exported_is_explained(wrong, says, capfd):
    layer = globals()[wrong]((3,))
    program = Program.of_function(wrong, layer, type(layer).forward_and_log_det, 1, 2)
    with pytest.raises(ExportError, match=rf"(?s)^{wrong}.* can't be exported to ONNX: .*{says}"):
        make_graphs([program], [[torch.ones(EXAMPLES, 3)]])
    assert capfd.readouterr() == ("", "")


def test_the_layer_that_cannot_be_exported_is_named():
    with pytest.raises(ExportError, match=r"^layer 1 \(Branches\) can't be exported to ONNX: "):
        Graphs(Flow([Right((3,)), Branches((3,))]).double())


def test_a_layer_that_fails_is_named():
    with pytest.raises(ExportError, match=r"^layer 1 \(NoInverse\) fails: KeyError: 'inverse'"):
        Graphs(Flow([ActNorm((3,)), NoInverse((3,))]).double())


def test_a_layer_that_fails_for_what_is_not_finite_is_told_so():
    layer = Looks((3,))
    program = Program.of_function("Looks", layer, Looks.forward_and_log_det, 1, 2)
    program.run({"input_0": torch.ones(2, 3)})
    with pytest.raises(
        ExportError, match=r"^Looks fails for values that aren't finite, which extreme events may give: "
    ):
        program.run({"input_0": torch.full((2, 3), torch.nan)})


def test_an_operator_that_onnxruntime_lacks_is_named(tmp_path):
    flowkit.register("mine/doubled", DoubledConfig, Doubled)
    spec = {"flowkit": 1, "event": {"shape": [3]}, "flow": [{"use": "glow/actnorm"}, {"use": "mine/doubled"}]}
    named = r"^layer 1 \(mine/doubled at flow\[1\]\) can't be exported to ONNX: onnxruntime has no Sinh"
    with pytest.raises(ExportError, match=named):
        export(Flow.from_spec(spec), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("layer", "operator"), [("Filtered", "DFT"), ("CountsValues", "NonZero")])
def test_an_operator_that_the_runtime_refuses_is_named(layer, operator, tmp_path):
    name = f"mine/{layer.lower()}"
    flowkit.register(name, DoubledConfig, globals()[layer])
    spec = {"flowkit": 1, "event": {"shape": [3]}, "flow": [{"use": "glow/actnorm"}, {"use": name}]}
    named = rf"^layer 1 \({name} at flow\[1\]\) can't be exported to ONNX: flowkit_runtime .* operator {operator}"
    with pytest.raises(ExportError, match=named):
        export(Flow.from_spec(spec), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []
    result = run_check(BijectorSubject(lambda: globals()[layer]((3,)), directions="forward"), "onnx")
    assert result.outcome == "failed"
    assert re.search(f"flowkit_runtime refuses the graph: its operator {operator}", result.reason)


def test_ctrl_c_is_no_error_of_a_layers(monkeypatch):
    def interrupted(*_, **__):
        try:
            raise KeyboardInterrupt
        finally:
            raise AttributeError("module 'torch._dynamo' has no attribute 'exc'")

    monkeypatch.setattr(torch.onnx, "export", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Graphs(Flow([ActNorm((3,))]).double())


class Branches(Bijector):
    """Right in torch, and impossible to trace. The others are this one but for ..."""

    def forward_and_log_det(self, x, context=None):
        return (x if x.max() > 3 else x * 1), x.new_zeros(x.shape[0])

    def inverse_and_log_det(self, y, context=None):
        return y, y.new_zeros(y.shape[0])


class Right(Branches):
    """... nothing."""

    def forward_and_log_det(self, x, context=None):
        return x * 1, x.new_zeros(x.shape[0])


class OneBatchSize(Branches):
    """... a batch size made a number: a log-det of as many rows as the example."""

    def forward_and_log_det(self, x, context=None):
        return x, torch.zeros(int(x.shape[0]))


class DoubledConfig(BijectorConfig):
    """No fields."""


class Doubled(Branches):
    """... an operator that onnxruntime has in fp32 alone."""

    def forward_and_log_det(self, x, context=None):
        return x, 0 * x.double().sinh().sum(1).to(x.dtype)


class Looks(Branches):
    """... an index that is none for NaN."""

    def forward_and_log_det(self, x, context=None):
        return x.new_zeros(3, 4).gather(1, x.long())[: len(x), :3], x.new_zeros(x.shape[0])


class Filtered(Branches):
    """... an operator in a form that flowkit_runtime refuses."""

    def forward_and_log_det(self, x, context=None):
        return torch.fft.irfft(torch.fft.rfft(x), n=3), x.new_zeros(x.shape[0])


class Silent(Branches):
    """... an error without a message."""

    def forward_and_log_det(self, x, context=None):
        if torch.compiler.is_exporting():
            raise NotImplementedError
        return x, x.new_zeros(x.shape[0])


class NoInverse(Branches):
    """... that it has none."""

    def inverse_and_log_det(self, y, context=None):
        raise KeyError("inverse")


class NoOperator(Branches):
    """... a function that ONNX has no operator for."""

    def forward_and_log_det(self, x, context=None):
        return torch.special.bessel_j0(x), x.new_zeros(x.shape[0])


class CountsValues(Branches):
    """An operator whose output has a size that only its input tells."""

    def forward_and_log_det(self, x, context=None):
        return x + 0 * (x > 0).nonzero().sum(), x.new_zeros(x.shape[0])
