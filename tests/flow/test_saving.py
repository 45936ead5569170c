"""Flows on disk and as specs."""

import pytest
import torch
from safetensors.torch import load_file

from flowkit.errors import PluginError, RunError
from flowkit.flow import Flow
from flowkit.spec import model_hash, read_spec
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.affine import Affine
from tests.flow.specs import SPECS, batch, perturbed
from tests.plugins.cases import coupling


@pytest.mark.parametrize("name", SPECS)
def test_weights_survive_safetensors(name, tmp_path):
    flow, other = perturbed(name), perturbed(name, seed=9)
    flow.save(tmp_path / "w.safetensors")
    other.load_state_dict(load_file(tmp_path / "w.safetensors"))
    x, context = batch(flow)
    assert torch.equal(other.log_prob(x, context), flow.log_prob(x, context))
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize("name", SPECS)
def test_a_flow_gives_its_spec_back(name):
    spec = read_spec(SPECS[name])
    assert Flow.from_spec(spec).to_spec() == spec


@pytest.mark.parametrize("name", SPECS)
def test_a_flow_built_of_layers_describes_itself(name):
    built = perturbed(name)
    by_hand = Flow(list(built.layers), levels=built.levels, context=built.context)
    again = Flow.from_spec(by_hand.to_spec()).double().eval()
    again.load_state_dict(built.state_dict())
    x, context = batch(built)
    assert torch.equal(again.log_prob(x, context), built.log_prob(x, context))


def test_fields_come_through():
    flow = Flow([ActNorm((3,)), coupling((3,), Affine((0.5, 8.0)), swap=True, layers=3, dropout=0.1)])
    again = Flow.from_spec(flow.to_spec())
    assert again.layers[1].transformer.scale == (0.5, 8.0)
    assert again.layers[1].split.swap
    assert again.layers[1].conditioner.dropout == 0.1
    assert model_hash(again.to_spec()) == model_hash(flow.to_spec())


def test_an_unregistered_layer_is_named():
    class Mine(ActNorm):
        pass

    with pytest.raises(PluginError, match="Mine is not the target of any installed plugin"):
        Flow([Mine((3,))]).to_spec()


def test_load_wants_a_finished_run(tmp_path):
    with pytest.raises(RunError, match=r"no spec\.yaml"):
        Flow.load(tmp_path)
    (tmp_path / "spec.yaml").write_text("flowkit: 1\n")
    with pytest.raises(RunError, match="not finished"):
        Flow.load(tmp_path)
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / "spec.yaml").write_text("flowkit: 1\nevent: {shape: [2]}\nflow: [{use: glow/actnorm}]\n")
    with pytest.raises(RunError, match="weights"):
        Flow.load(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(RunError, match="weights"):
        Flow.load(tmp_path)


def test_weights_of_another_flow(tmp_path):
    perturbed("vector").save(tmp_path / "weights.safetensors")
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / "spec.yaml").write_text("flowkit: 1\nevent: {shape: [4]}\nflow: [{use: glow/actnorm}]\n")
    with pytest.raises(
        RunError, match=r"bias is float64 \[3\] there and float32 \[4\] in the flow, one of 9 that differ"
    ) as caught:
        Flow.load(tmp_path)
    assert "weights.safetensors is of another flow than spec.yaml" in str(caught.value)
