from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from flowkit.plugin import Registry

MODULES = {
    "toy": "toy_plugins",
    "glow": "toy_defaults",
    "base": "toy_defaults",
    "broken": "a_module_that_is_nowhere",
}

GOOD = """\
flowkit: 1
event: {shape: [2, 4, 4], levels: 256}
context: {classes: 10}
flow:
  - repeat: 2  # twice
    flow:
      - use: toy/scale
        factor: 3
      - repeat: 3
        flow:
          - coupling: {use: toy/affine, scale: [0.5, 2]}
            conditioner: {use: toy/net, hidden: 16}
      - factor_out: channels
      - use: toy/squeeze
  - use: toy/elementwise
    map: {use: toy/affine, scale: sigmoid}
data: {use: toy/points, path: "some: where"}
train: {epochs: 3, optimizer: {lr: 1e-3}, ema: null}
"""


@pytest.fixture(scope="session")
def registry() -> Registry:
    return Registry({name: [EntryPoint(name, module, "flowkit")] for name, module in MODULES.items()})


@pytest.fixture(scope="session")
def installed() -> Registry:
    return Registry.discover()


@pytest.fixture
def good() -> str:
    """A spec that has everything."""
    return GOOD
