"""A plugin that fails while it runs is named by the command, without a traceback; flowkit's own faults show theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from flowkit.cli.main import app
from tests.plugin.sites import install

CODE = """\
from flowkit.plugin import BijectorConfig, Descriptor, SplitConfig, hookimpl


class LayerConfig(BijectorConfig):
    '''y = x.'''


class HalfConfig(SplitConfig):
    '''Halves.'''

    def split_shapes(self, event):
        return {shapes}


@hookimpl
def flowkit_register_bijectors():
    return [Descriptor("layer", LayerConfig, "flowkit_bad_layer:Layer")]


@hookimpl
def flowkit_register_splits():
    return [Descriptor("half", HalfConfig, "nowhere:Half")]
"""
LAYER = """\
import torch
from flowkit.bijectors import Bijector


class Layer(Bijector):
    def forward_and_log_det(self, x, context=None):
        return torch.ones(7) @ x, None

    def inverse_and_log_det(self, y, context=None):
        return y, None
"""
TRAINED = """\
flowkit: 1
event: {shape: [2]}
flow: [{use: bad/layer}, {use: glow/actnorm}]
data: {use: data/toy, name: moons, n: 100}
train: {epochs: 1}
"""
SPLIT = """\
flowkit: 1
event: {shape: [4]}
flow:
  - {coupling: {use: glow/affine}, conditioner: {use: glow/mlp}, split: {use: bad/half}}
"""


WORKS = LAYER.replace("torch.ones(7) @ x, None", "x, x.sum(1)")
LEAVES = LAYER.replace("return torch.ones(7) @ x, None", "raise SystemExit")
LEAVES_IN_TRAINING = LAYER.replace("torch.ones(7) @ x, None", "x, exit() if torch.is_grad_enabled() else x.sum(1)")
INITIALIZE = """
    def initialize(self, x, context=None):
        exit(3)
"""


@pytest.mark.parametrize(
    ("layer", "said", "place"),
    [
        (LAYER, "RuntimeError: ", "7, in forward_and_log_det)"),
        (LEAVES, "SystemExit (", "7, in forward_and_log_det)"),
        (LEAVES_IN_TRAINING, "SystemExit", "7, in forward_and_log_det)"),
        (WORKS + INITIALIZE, "SystemExit: 3 (", "13, in initialize)"),
    ],
)
def test_in_a_run(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layer: str, said: str, place: str
) -> None:
    install(site, "bad", code=CODE.format(shapes="event, event"))
    (site / "flowkit_bad_layer.py").write_text(layer, "utf-8")
    (tmp_path / "spec.yaml").write_text(TRAINED, "utf-8")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["train", "spec.yaml", "-o", "run"])
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit)
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"plugin 'bad' (flowkit-bad 1.2) fails: {said}")
    assert line.endswith(f"flowkit_bad_layer.py:{place}")


def test_settings_that_make_no_sense_are_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWKIT_NO_PLUGINS", "maybe")
    done = CliRunner().invoke(app, ["validate", "x.yaml"])
    assert done.exit_code == 2 and "FLOWKIT_NO_PLUGINS" in done.stderr
    assert CliRunner().invoke(app, ["--version"]).exit_code == 0


def test_faults_of_flowkit_show_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr("flowkit.spec.read_spec", fails)
    assert isinstance(CliRunner().invoke(app, ["validate", "spec.yaml"]).exception, RuntimeError)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ("[event]", "it gives [(4,)], not two shapes"),
        ("None", "it gives None, not two shapes"),
        ("(2.0,), (2,)", "it gives (2.0,), which is no shape"),
        ("(-2,), (6,)", "it gives (-2,), which is no shape"),
        ("(), (4,)", "it gives (), which is no shape"),
        ("event[9], event", "IndexError"),
        ("exit(3)", "SystemExit: 3"),
    ],
)
def test_in_a_shape_rule(site: Path, tmp_path: Path, shapes: str, words: str) -> None:
    install(site, "bad", code=CODE.format(shapes=shapes))
    (tmp_path / "spec.yaml").write_text(SPLIT, "utf-8")
    result = CliRunner().invoke(app, ["validate", str(tmp_path / "spec.yaml")])
    assert result.exit_code == 2
    assert "spec.yaml:4:5: flow[0]: plugin bad/half (flowkit-bad 1.2): its shape rule fails on [4]: " in result.stderr
    assert words in result.stderr
