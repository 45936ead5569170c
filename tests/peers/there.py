"""Makes the mistakes with the peers and prints what comes of each: ``python -m tests.peers.there``, JSON."""

from __future__ import annotations

import ast
import json
import warnings
from importlib.metadata import version
from typing import Any

import FrEIA.framework
import FrEIA.modules
import nflows.distributions
import nflows.flows
import nflows.transforms
import normflows
import torch
import zuko
from torch import Tensor, nn

from tests.peers.mistakes import MISTAKES

PEERS = ("nflows", "normflows", "FrEIA", "zuko")


class Net(nn.Module):
    """A network of one layer, with the argument that nflows passes."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.layer(x)


NAMES = {
    "torch": torch,
    "transforms": nflows.transforms,
    "flows": nflows.flows,
    "distributions": nflows.distributions,
    "nf": normflows,
    "Ff": FrEIA.framework,
    "Fm": FrEIA.modules,
    "zuko": zuko,
    "net": lambda i, o: Net(nn.Linear(i, o)),
    "conv": lambda i, o: Net(nn.Conv2d(i, o, 3, padding=1)),
    "x": torch.ones(5, 3),
    "k": torch.tensor([[0, 128, 255], [3, 3, 3]], dtype=torch.uint8),
    "with_nan": torch.tensor([[0.0, 1, 2], [3, torch.nan, 5], [6, 7, 8]]),
}


def outcome(code: str) -> str:
    """What the last expression of the code gives, or the error, as one line."""
    *statements, last = ast.parse(code).body
    names = dict(NAMES)
    torch.manual_seed(0)
    try:
        exec(compile(ast.Module(statements, []), "<mistake>", "exec"), names)
        return str(_plain(eval(compile(ast.Expression(last.value), "<mistake>", "eval"), names)))
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _plain(value: Any) -> Any:
    """Without gradients, and tuples inside out."""
    if isinstance(value, tuple) and not isinstance(value, torch.Size):
        return ", ".join(str(_plain(part)) for part in value)
    return " ".join(str(value.detach()).split()) if isinstance(value, Tensor) else value


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_printoptions(precision=2)
    outcomes = {m.title: [p.code and outcome(p.code) for p in m.peers] for m in MISTAKES}
    print(json.dumps({"versions": {peer: version(peer) for peer in PEERS}, "outcomes": outcomes}, indent=1))


if __name__ == "__main__":
    main()
