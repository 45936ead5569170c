"""Bases other than N(0, I) are exported as a graph, which the runtime feeds with the same noise as torch."""

import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import flowkit_runtime
from flowkit import Flow
from flowkit.bijectors import FactorOut, StandardNormal
from flowkit.export import export
from flowkit.export.graphs import Graphs
from flowkit.plugin import Registry
from flowkit.testing import perturb
from flowkit_base.gaussian_mixture import GaussianMixture
from flowkit_base.student_t import StudentT
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.permute import Permute
from flowkit_runtime.noise import uniform
from flowkit_runtime.verification import measure
from tests.bases import FLOWS, moved
from tests.extent import extent
from tests.security.bundles import put

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def made(bundles_of_bases):
    """Flows with moved parameters, and their bundles."""
    return {name: (moved(name), bundles_of_bases / name) for name in FLOWS}


def test_every_base_is_in_one_of_the_flows():
    """The standard normal has no graph. Its samples are its noise."""
    there = {type(base) for make in FLOWS.values() for base in make().bases}
    installed, _ = Registry.discover().load_all()
    assert there | {StandardNormal} >= {each.load() for each in installed if each.kind == "base"}


def contexts(flow: Flow, n: int) -> np.ndarray:
    if flow.context.classes:
        return np.arange(n) % flow.context.classes
    return np.random.default_rng(0).normal(size=(n, *flow.context.shape)).astype(np.float32)


@pytest.mark.parametrize("name", FLOWS)
def test_the_graph_of_the_bases_is_verified(made, name):
    flow, bundle = made[name]
    manifest = json.loads((bundle / "manifest.json").read_text())
    drawn = [each for base in flow.bases for each in base.noise]
    assert manifest["noise"] == [{"kind": each.kind, "shape": list(each.shape)} for each in drawn]
    assert len(manifest["bases"]) == len(flow.bases) and "base.onnx" in manifest["files"]
    figures = [each for each in measure(bundle) if each.quantity == "sampled"]
    assert {each.rows for each in figures} == {"held-out", "off-data", "extremes"} and all(f.passed for f in figures)
    session = onnxruntime.InferenceSession(bundle / "base.onnx", providers=["CPUExecutionProvider"])
    noise = [f"noise_{i}" for i in range(1, len(drawn) + 1)]
    assert [each.name for each in session.get_inputs()] == [*noise, "context"]
    assert [each.name for each in session.get_outputs()] == [f"z_{i}" for i in range(1, len(flow.bases) + 1)]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("name", FLOWS)
def test_torch_and_the_runtime_draw_the_same_samples(made, name, temperature):
    flow, bundle = made[name]
    model, n = flowkit_runtime.load(bundle), 3000
    context = contexts(flow, n)
    x = flow.sample(n, torch.from_numpy(context), temperature, seed=11)
    np.testing.assert_allclose(model.sample(n, context, temperature, 11), x, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("name", FLOWS)
def test_latents_of_torch_and_the_runtime_are_the_same(made, name):
    """They agree to 5e-6 of the scale of a component. That of a t-distribution grows with the value."""
    flow, bundle = made[name]
    model, n = flowkit_runtime.load(bundle), 3000
    context = contexts(flow, n)
    with torch.no_grad():
        wanted = flow.sample_latents(n, torch.from_numpy(context), 1.0, 11)
    given = model._flow.sample_latents(11, 1.0, context, slice(0, n))
    for base, theirs, ours in zip(flow.bases, given, wanted, strict=True):
        scale = 1 + abs(ours.numpy()) if isinstance(base, StudentT) else 0.5
        assert (abs(theirs - ours.numpy()) <= 5e-6 * scale).all(), type(base).__name__


def test_no_component_is_flipped():
    """Torch in fp32, and a frozen mixture in onnxruntime, choose the same component of 100."""
    torch.manual_seed(0)
    flow = Flow([ActNorm((1,))], base=GaussianMixture((1,), 100))
    perturb(flow, 1.0)
    flow.bases[0].mean.data = torch.arange(100.0)[:, None]
    flow.initialized.fill_(True)
    flow.eval().requires_grad_(False)
    n = extent(10**5, 10**6)
    graph = Graphs(flow.double()).models["base.onnx"]
    flow.float()
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    u = uniform(5, 0, (n,)).astype(np.float32)
    eps = np.zeros((n, 1), np.float32)
    (given,) = session.run(None, {"noise_1": u, "noise_2": eps})
    wanted = flow.bases[0].from_noise([torch.from_numpy(u), torch.from_numpy(eps)])
    assert np.array_equal(given.round(), wanted.round().numpy()) and len(np.unique(given.round())) > 90


def test_standard_normals_have_no_graph_of_their_own(tmp_path):
    flow = Flow([FactorOut((4,)), Permute((2,))])
    export(flow, tmp_path / "plain")
    manifest = json.loads((tmp_path / "plain" / "manifest.json").read_text())
    assert manifest["noise"] is None and not (tmp_path / "plain" / "base.onnx").exists()
    assert manifest["bases"] == 2 * ["base/standard_normal"]


def test_a_graph_of_the_bases_that_deviates_fails_verification(made, tmp_path):
    shutil.copytree(made["bounded"][1], tmp_path / "bad")
    model = onnx.load(tmp_path / "bad" / "base.onnx")
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 1.001, tensor.name))
    put(tmp_path / "bad", "base.onnx", model.SerializeToString())
    wrong = {each.quantity for each in measure(tmp_path / "bad") if not each.passed}
    assert wrong == {"sampled"}


def test_log_prob_of_the_runtime_reads_the_context_of_every_base(made):
    flow, bundle = made["labelled"]
    model, x = flowkit_runtime.load(bundle), np.random.default_rng(0).normal(size=(9, 16)).astype(np.float32)
    context = contexts(flow, 9)
    expected = flow.log_prob(torch.from_numpy(x), torch.from_numpy(context))
    np.testing.assert_allclose(model.log_prob(x, context), expected, rtol=1e-5, atol=1e-4)
