"""What an installed plugin is checked on."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest
import torch

import flowkit
from flowkit.errors import PluginError, ShapeError, SpecError
from flowkit.plugin import BijectorConfig, Registry
from flowkit.testing import check, plugin_subjects, run, run_check
from flowkit_glow.permute import Permute
from tests.zoo.test_right import Bound

PARTS = {
    "glow/actnorm": {"plugin": 5, "bijector": 5},
    "glow/squeeze": {"plugin": 1, "bijector": 1},
    "glow/rescale": {"plugin": 5, "bijector": 5},
    "glow/affine": {"plugin": 3, "transformer": 3, "bijector": 3},
    "glow/checkerboard": {"plugin": 1, "split": 1, "bijector": 1},
    "glow/mlp": {"plugin": 4, "conditioner": 4, "bijector": 4},
    "base/standard_normal": {"plugin": 6, "base": 6},
    "encoder/mlp": {"plugin": 4, "encoder": 4},
    "encoder/gru": {"plugin": 1, "encoder": 1},
    "data/digits": {"plugin": 1, "dataset": 1},
}


@pytest.mark.parametrize("name", PARTS)
def test_what_is_checked(name):
    assert Counter(subject.kind for subject in plugin_subjects(name).values()) == PARTS[name]


PLUGINS = sorted(each.name for each in Registry.discover().load_all()[0])
FIELDS = {
    "data/images": ["path=data"],
    "data/mnist": ["path=data"],
    "data/npy": ["path=x.npy"],
    "data/table": ["path=x.csv", "event=[{column: a}]"],
}


@pytest.mark.parametrize("name", PLUGINS)
def test_as_a_plugin_each_of_flowkits_own_is_right(name):
    subjects = plugin_subjects(name, FIELDS.get(name, ()))
    wholes = {title: each for title, each in subjects.items() if each.kind == "plugin"}
    assert wholes
    for subject in wholes.values():
        check(subject, skip=("light",))


def test_the_module_of_each_namespace_is_light():
    modules = {each.module for each in Registry.discover().load_all()[0]}
    code = f"import sys, {', '.join(modules)}; print({{'torch', 'numpy', 'sklearn'}} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_an_encoder_is_checked_on_the_context_that_is_named():
    (title, encoder) = list(plugin_subjects("encoder/gru", ["features=2"], context=(7, 3)).items())[-1]
    assert title == "encoder/gru, [7, 3]" and (encoder.context_shape, encoder.output_shape) == ((7, 3), (2,))
    with pytest.raises(SpecError, match="reads sequences"):
        plugin_subjects("encoder/gru", context=(7,))


def test_fields_and_event():
    (whole, layer) = plugin_subjects("glow/squeeze", ["factor=3"], (1, 3, 6), seed=5).values()
    assert layer.make().factor == 3 and layer.make().event_shape == (1, 3, 6)
    assert whole.seed == layer.seed == 5


def test_the_integral_of_a_base_is_taken():
    subjects = plugin_subjects("base/standard_normal").values()
    outcomes = {run_check(each, "normalized").outcome for each in subjects if each.kind == "base"}
    assert outcomes == {"skipped", "passed"}


def test_context():
    conditional = plugin_subjects("glow/affine", context=(2,)).values()
    assert {each.context_shape for each in conditional if each.kind == "bijector"} == {(2,)}
    networks = plugin_subjects("glow/mlp").values(), plugin_subjects("glow/mlp", context=(2,)).values()
    shapes = [{each.context_shape for each in subjects if each.kind == "conditioner"} for subjects in networks]
    assert shapes == [{None, (3,)}, {(2,)}]


@pytest.mark.parametrize(
    ("name", "fields", "event", "error", "words"),
    [
        ("glow/squeze", [], None, PluginError, "did you mean glow/squeeze"),
        ("glow/squeeze", [], (1, 3, 3), SpecError, "divisible by 2"),
        ("glow/squeeze", ["factor=0"], None, SpecError, "flow[0].factor: must be"),
        ("glow/squeeze", ["facto=2"], None, SpecError, "did you mean factor"),
        ("data/npy", [], None, PluginError, "requires path: --set path="),
    ],
)
def test_what_cannot_be_checked(name, fields, event, error, words):
    with pytest.raises(error) as caught:
        plugin_subjects(name, fields, event)
    assert words in str(caught.value)


def vectors_only(self, event):
    if len(event) != 1:
        raise ShapeError("takes vectors")
    return event


def test_what_takes_vectors_alone_is_checked_on_odd_and_even_ones() -> None:
    flowkit.register("mine/vectors", type("VectorsConfig", (BijectorConfig,), {"output_shape": vectors_only}), Permute)
    events = {each.make().event_shape for each in plugin_subjects("mine/vectors").values() if each.kind == "bijector"}
    assert events == {(5,), (1,), (4,)}


class TakesOneChannelAway(Permute):
    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x)
        return y.squeeze(1) if y.dim() == 4 else y, log_det


def test_an_image_of_one_channel_is_tried() -> None:
    flowkit.register("mine/squeezes", type("SqueezesConfig", (BijectorConfig,), {}), TakesOneChannelAway)
    layers = {title: each for title, each in plugin_subjects("mine/squeezes").items() if each.kind == "bijector"}
    wrong = [title for title, layer in layers.items() if run_check(layer, "shapes").is_error]
    assert wrong == ["mine/squeezes, [1, 1, 1]"]


class ChangesASetting(Permute):
    def forward_and_log_det(self, x, context=None):
        torch.set_default_dtype(torch.float64)
        return super().forward_and_log_det(x)


def test_a_setting_is_found_whatever_check_ran_before() -> None:
    flowkit.register("mine/setting", type("SettingConfig", (BijectorConfig,), {}), ChangesASetting)
    whole, layer = plugin_subjects("mine/setting", event=(2,)).values()
    run_check(whole, "builds")
    assert torch.get_default_dtype() == torch.float32
    assert "changes torch's default dtype" in run_check(layer, "settings").reason


class Draws(Permute):
    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x)
        return y, log_det + torch.randn(len(x))


def test_random_numbers_are_not_taken_for_a_context() -> None:
    flowkit.register("mine/draws", type("DrawsConfig", (BijectorConfig,), {}), Draws, likelihood="estimate")
    whole, layer = plugin_subjects("mine/draws", event=(2,)).values()
    assert not run_check(whole, "declared").is_error
    assert "does it draw random numbers in evaluation?" in run_check(layer, "pure").reason


def test_log_dets_that_are_declared_to_be_bounds_are_not_compared() -> None:
    flowkit.register("mine/bound", BijectorConfig, Bound, likelihood="lower_bound")
    for title, subject in plugin_subjects("mine/bound", event=(2,)).items():
        failures = [f"{title}: {each.check}: {each.reason}" for each in run(subject) if each.is_error]
        assert not failures, "\n".join(failures)
