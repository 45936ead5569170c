"""What a plugin owes is checked before a run has a directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import flowkit
from flowkit.bijectors import Base, Bijector, log_normal
from flowkit.errors import PluginError
from flowkit.plugin import BaseConfig, BijectorConfig
from flowkit.train import train

SPEC = {
    "flowkit": 1,
    "event": {"shape": [2]},
    "flow": [{"use": "glow/actnorm"}, {"use": "mine/layer"}],
    "base": {"use": "mine/base"},
    "data": {"use": "data/toy", "name": "moons", "n": 100},
    "train": {"epochs": 1},
}


class Layer(Bijector):
    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        self.log_scale = nn.Parameter(torch.zeros(event_shape))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> Any:
        return self.given(x * self.log_scale.exp(), self.log_scale.sum().expand(x.shape[0]))

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return y * (-self.log_scale).exp(), -self.log_scale.sum().expand(y.shape[0])

    def given(self, y: Tensor, log_det: Tensor) -> Any:
        return y, log_det


class Normal(Base):
    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return log_normal(z)

    def from_noise(self, noise: Any, context: Tensor | None = None) -> Any:
        return noise[0]


class Dictionary(Layer):
    def get_extra_state(self) -> dict[str, int]:
        return {"steps": 3}

    def set_extra_state(self, state: dict[str, int]) -> None: ...


class Complex(Layer):
    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        self.phase = nn.Parameter(torch.zeros(1, dtype=torch.complex64))


class InitializesWithoutContext(Layer):
    def initialize(self, x: Tensor) -> None: ...  # type: ignore[override]


LAYER = r"^layer 1 \(mine/layer at flow\[1\]\)"
LOG_DET = rf"{LAYER}: log_det of forward_and_log_det must be a tensor \[5\] float32 for a batch of 5, not "

WRONG = [
    (lambda y, log_det: y, rf"{LAYER}: forward_and_log_det must return two tensors, y and log_det, not \[5, 2\]"),
    (lambda y, log_det: None, "not a NoneType"),
    (lambda y, log_det: (y, log_det, 1), "not 3 values"),
    (lambda y, log_det: (y, 0.0), LOG_DET + "a float"),
    (lambda y, log_det: (y, log_det[0]), LOG_DET + r"\[\] float32"),
    (lambda y, log_det: (y, log_det[:, None]), LOG_DET + r"\[5, 1\] float32"),
    (lambda y, log_det: (y, log_det.double()), LOG_DET + r"\[5\] float64"),
    (lambda y, log_det: (y[:, :1], log_det), rf"{LAYER}: y of .* must be a tensor \[5, 2\] float32 .*not \[5, 1\]"),
    (lambda y, log_det: 1 // 0, rf"{LAYER} fails: ZeroDivisionError"),
]


def refused(words: str, directory: Path, layer: type[Bijector] = Layer, base: type[Base] = Normal) -> None:
    flowkit.register("mine/layer", type("LayerConfig", (BijectorConfig,), {}), layer)
    flowkit.register("mine/base", type("NormalConfig", (BaseConfig,), {}), base)
    with pytest.raises(PluginError, match=words):
        train(SPEC, directory / "run")
    assert not list(directory.iterdir())


@pytest.mark.parametrize(("given", "words"), WRONG)
def test_what_a_layer_returns(given: Any, words: str, tmp_path: Path) -> None:
    refused(words, tmp_path, type("Wrong", (Layer,), {"given": lambda self, y, log_det: given(y, log_det)}))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Dictionary, r"layers.1._extra_state in the state_dict is a dict"),
        (Complex, r"the parameter layers.1.phase is complex"),
        (InitializesWithoutContext, rf"{LAYER}: initialize must take x and context"),
    ],
)
def test_what_a_layer_has(layer: type[Bijector], words: str, tmp_path: Path) -> None:
    refused(words, tmp_path, layer)


def test_what_a_base_returns(tmp_path: Path) -> None:
    def of_each_value(self: Base, z: Tensor, context: Tensor | None = None) -> Tensor:
        return -z.square() / 2

    words = r"the base distribution Wrong: what log_prob returns must be a tensor \[5\] float32 .*, not \[5, 2\]"
    refused(words, tmp_path, base=type("Wrong", (Normal,), {"log_prob": of_each_value}))


def test_a_right_plugin_is_trained(tmp_path: Path) -> None:
    flowkit.register("mine/layer", type("LayerConfig", (BijectorConfig,), {}), Layer)
    flowkit.register("mine/base", type("NormalConfig", (BaseConfig,), {}), Normal)
    train(SPEC, tmp_path / "run")
    assert (tmp_path / "run/results.json").exists()
