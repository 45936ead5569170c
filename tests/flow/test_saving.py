"""Flows on disk and as specs."""

import copy

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.utils import parametrizations

from flowkit.bijectors import Coupling, StandardNormal
from flowkit.errors import PluginError, RunError
from flowkit.flow import Flow
from flowkit.flow.layer_names import frozen_names
from flowkit.flow.saving import read_weights
from flowkit.spec import model_hash, read_spec
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.affine import Affine
from flowkit_glow.mlp import MLP
from flowkit_glow.permute import Permute
from flowkit_map.interval import Logit, Sigmoid
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
    by_hand = Flow(list(built.layers), levels=built.levels, context=built.context, encoder=built.encoder)
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


@pytest.mark.parametrize("part", ["layer", "conditioner", "base", "one more"])
def test_a_flow_of_which_a_part_was_replaced_describes_itself_anew(part):
    """Or a bundle's spec, hash and lock were those of another model."""
    flow = Flow.from_spec(SPECS["vector"])
    shape, coupled = flow.event_shape, next(layer for layer in flow.layers if isinstance(layer, Coupling))
    match part:
        case "layer":
            flow.layers[0] = Permute(shape)
        case "conditioner":
            kept = coupled.split.split(torch.zeros(2, *shape))[0].shape[1:]
            coupled.conditioner = MLP(kept, coupled.conditioner(torch.zeros(2, *kept)).shape[1:], None, hidden=3)
        case "base":
            flow.bases[0] = Logistic(shape)
        case "one more":
            flow.layers.append(ActNorm(shape))
    if part == "base":
        with pytest.raises(PluginError, match="Logistic is not the target"):
            flow.to_spec()
        return
    assert model_hash(flow.to_spec()) != model_hash(read_spec(SPECS["vector"]))
    again = Flow.from_spec(flow.to_spec())
    again.load_state_dict(flow.state_dict())
    x, _ = batch(perturbed("vector"))
    assert torch.equal(again.log_prob(x.float()), flow.log_prob(x.float()))
    assert len(frozen_names(flow)) == len(flow.freeze().layers)


def test_a_layer_that_stands_at_two_places_has_a_name_for_each():
    layer = Sigmoid((3,))
    names = ["layer 0 (Sigmoid)", "layer 1 (Logit)", "layer 2 (Sigmoid)"]
    assert frozen_names(Flow([layer, Logit((3,)), layer])) == names


def test_a_copy_keeps_its_spec():
    flow = Flow.from_spec(SPECS["image"])
    parametrizations.weight_norm(flow.layers[2], "bias", dim=None)
    assert copy.deepcopy(flow).double().to_spec() is not None and copy.deepcopy(flow).spec == flow.spec is not None


class Logistic(StandardNormal):
    """Of no plugin."""


class Masked(ActNorm):
    """With a mask as attention has it."""

    def __init__(self, event_shape):
        super().__init__(event_shape)
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf, 0.0]))


def test_weights_may_be_infinite_where_the_flow_is_built_so(tmp_path):
    flow, path = Flow([Masked((3,))]), tmp_path / "w.safetensors"
    flow.save(path)
    read_weights(Flow([Masked((3,))]), path)
    flow.layers[0].mask.neg_()
    flow.layers[0].bias.data[1] = torch.nan
    flow.save(path)
    with pytest.raises(RunError, match=r"doesn't fit spec\.yaml: layers\.0\.bias holds NaN or infinity"):
        read_weights(Flow([Masked((3,))]), path)


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


def test_load_of_weights_names_what_reads_them(tmp_path):
    flow = Flow.from_spec(read_spec(SPECS["vector"]))
    flow.save(tmp_path / "own")
    with pytest.raises(RunError, match=r"a run is a directory.*flow.load_state_dict\(.*own'\)\) reads it"):
        Flow.load(tmp_path / "own")


def test_weights_of_another_flow(tmp_path):
    perturbed("vector").save(tmp_path / "weights.safetensors")
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / "spec.yaml").write_text("flowkit: 1\nevent: {shape: [4]}\nflow: [{use: glow/actnorm}]\n")
    with pytest.raises(
        RunError, match=r"bias is float64 \[3\] there and float32 \[4\] in the flow, one of 9 that differ"
    ) as caught:
        Flow.load(tmp_path)
    assert "weights.safetensors doesn't fit spec.yaml" in str(caught.value)


def test_weights_without_permission(tmp_path, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    flow = Flow([ActNorm((3,))])
    flow.save(tmp_path / "w.safetensors")
    monkeypatch.setattr("flowkit.flow.saving.open_file", refused)
    with pytest.raises(RunError, match=r"w\.safetensors can't be read: Permission denied$"):
        read_weights(flow, tmp_path / "w.safetensors")
