"""Plugins of this process: registered, used in specs, built, written back, trained, exported."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import Field, ValidationInfo, field_validator
from typer.testing import CliRunner

import flowkit
from flowkit.bijectors import Bijector
from flowkit.cli.main import app
from flowkit.errors import PluginError, SpecError
from flowkit.flow import Flow
from flowkit.plugin import Arrays, BijectorConfig, Dataset, DatasetConfig, Registry, event_of
from flowkit.spec import lock, read_spec
from flowkit.spec.schema import json_schema
from flowkit.train.data import load_data
from tests.plugin import mine
from tests.plugin.sites import install

SHORT = "flowkit: 1\nevent: {shape: [3]}\nflow: [{use: mine/scale}]\n"


def test_every_kind_is_used_in_a_spec_and_trained_a_step() -> None:
    mine.register()
    spec = read_spec(mine.SPEC)
    assert lock(spec)["plugins"]["this process"] == "0"
    flow = Flow.from_spec(spec)
    part = load_data(spec)["train"]
    x, context = torch.from_numpy(part.x[:]), torch.from_numpy(part.context[:])
    optimizer = torch.optim.SGD(flow.parameters(), 1e-2)
    before = -flow.log_prob(x, context).mean()
    before.backward()
    optimizer.step()
    assert -flow.log_prob(x, context).mean() < before
    z, log_det = flow.forward_and_log_det(x, context)
    back, inverse_log_det = flow.inverse_and_log_det(z, context)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(inverse_log_det, -log_det)


def test_a_flow_built_in_python_is_written_as_a_spec() -> None:
    mine.register()
    built = Flow.from_spec(mine.SPEC)
    parts = {"base": list(built.bases), "context": built.context, "encoder": built.encoder}
    spec, expected = Flow(list(built.layers), **parts).to_spec(), built.to_spec()
    assert (spec.context, spec.flow, spec.base) == (expected.context, expected.flow, expected.base)


def test_they_are_listed_and_in_the_schema() -> None:
    mine.register()
    assert "mine.wide" in json_schema(Registry.discover())["definitions"]
    listed = CliRunner().invoke(app, ["plugins"]).stdout
    assert next(line.split()[:5] for line in listed.splitlines() if line.startswith("mine ")) == [
        "mine",
        "this",
        "process",
        "0",
        "available",
    ]
    every = CliRunner().invoke(app, ["plugins", "list", "--all"]).stdout
    assert "mine/last" in every
    shown = CliRunner().invoke(app, ["plugins", "show", "mine/scale"]).stdout
    assert "log|det| = D (log factor + t)." in shown and "{use: mine/scale}" in shown


def scale(default: float) -> tuple[type[BijectorConfig], type]:
    """As a cell defines them, each time anew."""

    class ScaleConfig(BijectorConfig):
        factor: float = default

    class Scale(mine.Scale):
        pass

    return ScaleConfig, Scale


def test_running_the_cell_again_replaces_it() -> None:
    for default in (2.0, 3.0):
        config, target = scale(default)
        flowkit.register("mine/scale", config, target)
        flow = Flow.from_spec(SHORT)
        assert type(flow.layers[0]) is target and flow.layers[0].factor == default
        assert Flow(list(flow.layers)).to_spec().flow[0].config == config()
    flowkit.register("mine/scale", mine.ShiftConfig, mine.Shift)
    with pytest.raises(SpecError, match="mine/scale is a transformer, not a bijector"):
        read_spec(SHORT)


def test_two_classes_of_one_name_stay_apart() -> None:
    (first, one), (second, two) = scale(2.0), scale(3.0)
    flowkit.register("mine/one", first, one)
    flowkit.register("mine/two", second, two)
    layers = [two((3,), factor=5.0), one((3,), factor=7.0)]
    assert [step.name for step in Flow(layers).to_spec().flow] == ["mine/two", "mine/one"]
    definitions = json_schema(Registry.discover())["definitions"]
    defaults = [definitions[name]["properties"]["factor"]["default"] for name in ("mine.one", "mine.two")]
    assert defaults == [2.0, 3.0]


def test_a_target_may_be_named_like_that_of_a_package() -> None:
    flowkit.register("mine/scale", mine.ScaleConfig, "tests.plugin.mine:Scale")
    assert type(Flow.from_spec(SHORT).layers[0]) is mine.Scale
    assert Flow([mine.Scale((3,))]).to_spec().flow[0].name == "mine/scale"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("scale", mine.ScaleConfig, mine.Scale), "'scale' is not a plugin name: write namespace/name"),
        (("Mine/scale", mine.ScaleConfig, mine.Scale), "is not a plugin name"),
        (("mine/Scale", mine.ScaleConfig, mine.Scale), "the name 'Scale' must be lower case"),
        (("mine/a/b", mine.ScaleConfig, mine.Scale), "the name 'a/b' must be lower case"),
        (("glow/scale", mine.ScaleConfig, mine.Scale), "'glow' is that of flowkit-nf .*: choose another, such as mine"),
        (("mine/scale", mine.Scale, mine.Scale), "must be a class that derives from one of flowkit.plugin's Bijector"),
        (("mine/scale", mine.ScaleConfig(), mine.Scale), "must be a class that derives"),
        (("mine/scale", mine.ScaleConfig, mine.Scale((3,))), "the target of scale must read"),
        (("mine/scale", mine.ScaleConfig, mine.Scale, "roughly"), "must be one of exact, lower_bound, estimate"),
    ],
)
def test_the_checks_of_installed_plugins(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(PluginError, match=words):
        flowkit.register(*arguments)
    assert "mine" not in Registry.discover().namespaces


def test_a_namespace_that_is_installed_later_collides(site: Path) -> None:
    flowkit.register("mine/scale", mine.ScaleConfig, mine.Scale)
    install(site, "mine")
    with pytest.raises(SpecError, match=r"claimed by flowkit-mine 1\.2 and this process"):
        read_spec(SHORT)


def test_a_process_that_has_not_registered_it() -> None:
    with pytest.raises(SpecError) as caught:
        read_spec(SHORT)
    (problem,) = caught.value.problems
    assert problem.path == ("flow", 0, "use")
    assert "no plugin namespace 'mine' is installed" in problem.message
    assert problem.suggestion and "flowkit.register" in problem.suggestion


def test_a_target_of_the_wrong_kind() -> None:
    flowkit.register("mine/scale", mine.ScaleConfig, mine.Shift)
    with pytest.raises(PluginError, match=r"^flow\[0\]: plugin mine/scale \(this process\) can't be built: TypeError"):
        Flow.from_spec(SHORT)
    flowkit.register("mine/scale", type("Empty", (BijectorConfig,), {}), tuple)
    with pytest.raises(PluginError, match=r"mine/scale .*must derive from flowkit\.bijectors\.Bijector"):
        Flow.from_spec(SHORT)


def test_a_layer_that_leaves_the_constructor_of_modules_out() -> None:
    class Bare(Bijector):
        def __init__(self, event_shape: tuple[int, ...]) -> None:
            self.event_shape = event_shape

    flowkit.register("mine/scale", type("Empty", (BijectorConfig,), {}), Bare)
    with pytest.raises(PluginError, match=r"mine/scale .*its __init__ must call super\(\).__init__ first"):
        Flow.from_spec(SHORT)


@pytest.mark.parametrize("n_params", [None, "2", 0, -1])
def test_a_conditioner_is_not_blamed_for_the_transformer(n_params: Any) -> None:
    flowkit.register("mine/shift", mine.ShiftConfig, type("Odd", (mine.Shift,), {"n_params": n_params}))
    with pytest.raises(PluginError, match=r"plugin mine/shift \(this process\): its n_params must be .* not "):
        Flow.from_spec(SHORT.replace("use: mine/scale", "coupling: {use: mine/shift}, conditioner: {use: glow/mlp}"))


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (lambda self, split: [][0], r"can't load its train part: IndexError: .*test_register\.py:\d+"),
        (lambda self, split: exit(4), r"can't load its train part: SystemExit: 4"),
        (lambda self, split: None, "load must return flowkit.plugin.Arrays of numpy arrays"),
        (lambda self, split: Arrays([[0.0] * 3]), "load must return flowkit.plugin.Arrays of numpy arrays"),
        (lambda self, split: Arrays(np.ma.masked_array(np.zeros((9, 3)), mask=True)), "its arrays have masks"),
        (None, "its target must derive from flowkit.plugin.Dataset"),
    ],
)
def test_a_dataset_that_misbehaves(load: Any, words: str) -> None:
    target = type("Blob", (Dataset,), {"load": load}) if load else dict
    flowkit.register("mine/blob", type("Config", (DatasetConfig,), {}), target)
    spec = read_spec("flowkit: 1\nevent: {shape: [3]}\nflow: [{use: glow/actnorm}]\ndata: {use: mine/blob}\n")
    with pytest.raises(PluginError, match=rf"plugin mine/blob \(this process\).*{words}"):
        load_data(spec)


class Seen(BijectorConfig):
    """Takes notes of the event."""

    note: str = Field(default="", validate_default=True)

    @field_validator("note")
    @classmethod
    def _look(cls, note: str, info: ValidationInfo) -> str:
        event = event_of(info)
        return note or ("no event" if event is None else f"{event.shape}, {event.levels}")


@pytest.mark.parametrize(
    ("event", "note"), [("{shape: [3]}", "(3,), None"), ("{shape: [4, 2, 2], levels: 8}", "(4, 2, 2), 8")]
)
def test_validators_see_the_event(event: str, note: str) -> None:
    flowkit.register("mine/seen", Seen, mine.Scale)
    (first, _, second) = read_spec(
        f"flowkit: 1\nevent: {event}\nflow: [{{use: mine/seen}}, {{factor_out: channels}}, {{use: mine/seen}}]\n"
    ).flow
    assert first.config.note == second.config.note == note
    assert Seen().note == "no event"


NOTEBOOK = """\
import flowkit
from flowkit.plugin import BijectorConfig
from flowkit.flow import Flow
from tests.plugin import mine

class ScaleConfig(BijectorConfig):
    "y = factor x."
    factor: float = 2.0

class Scale(mine.Scale):
    "Mine."

flowkit.register("mine/scale", ScaleConfig, Scale)
flow = Flow.from_spec({"flowkit": 1, "event": {"shape": [3]}, "flow": [{"use": "mine/scale", "factor": 4}]})
assert type(flow.layers[0]) is Scale and Scale.__module__ == "__main__"
assert Flow(list(flow.layers)).to_spec().flow == flow.to_spec().flow
"""


def test_to_import_flowkit_or_its_register_imports_no_torch() -> None:
    code = "import flowkit, sys; early = set(sys.modules); flowkit.register; print(*early, '|', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    early, late = (part.split() for part in done.stdout.split("|"))
    assert not {"torch", "pydantic"} & set(early) and "torch" not in late


def test_classes_of_a_notebook(tmp_path: Path) -> None:
    (tmp_path / "notebook.py").write_text(NOTEBOOK)
    runpy.run_path(str(tmp_path / "notebook.py"), run_name="__main__")


@pytest.mark.slow
def test_it_is_trained_loaded_and_exported(tmp_path: Path) -> None:
    from flowkit.export import export
    from flowkit.train import train

    mine.register()
    train(read_spec(mine.SPEC), tmp_path / "run")
    flow = Flow.load(tmp_path / "run")
    export(flow, tmp_path / "bundle")
    assert (tmp_path / "bundle" / "decode.onnx").is_file()
