"""The groups of measurements that the command line offers, and how each is reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch

from benchmarks import glow, report
from benchmarks.progress import Progress
from benchmarks.race import race


@dataclass(frozen=True)
class Run:
    """What the command line asks for."""

    rounds: int
    device: torch.device
    progress: Progress
    only: tuple[str, ...] = ()

    def chosen(self, contenders: dict[str, Any]) -> dict[str, Any]:
        """Those that match one of ``only``, and always the limit."""
        return {
            name: value
            for name, value in contenders.items()
            if not self.only or name == report.LIMIT or any(fnmatchcase(name, pattern) for pattern in self.only)
        }


@dataclass(frozen=True)
class Group:
    """A group: how it is run, and its rows as Markdown."""

    run: Callable[[Run], Any]
    text: Callable[[Any], str]


def run_glow(run: Run) -> Any:
    setting = glow.Glow()
    builders = {name: partial(build, setting) for name, build in run.chosen(glow.CONTENDERS).items()}
    return race(builders, glow.images(setting, run.device), glow.COLUMNS, run.rounds, run.progress)


def glow_text(rows: Any) -> str:
    return f"""
### Glow 3×32×32, three levels of eight steps, 128 hidden channels

Time over that of the limit, the coupling networks alone.

{report.table(rows)}

Against the fastest peer whose 1×1 convolution learns, as its users write it, and with channels_last:

{report.fastest(rows, _own(rows), glow.LEARN_1X1)}

{report.fastest(rows, _own(rows), [f"{peer}, channels_last" for peer in glow.LEARN_1X1])}
"""


def _own(rows: Any) -> list[str]:
    return [name for name in ("flowkit", "flowkit, compiled") if name in rows]


GROUPS = {"glow": Group(run_glow, glow_text)}


def text(measured: dict[str, Any]) -> str:
    """All groups, each under what it was measured with."""
    parts = []
    for name, group in GROUPS.items():
        if name in measured:
            with_ = ", ".join(f"{key} {value}" for key, value in measured[name]["environment"].items())
            parts.append(f"{group.text(measured[name]['rows'])}\n{measured[name]['rounds']} rounds. With {with_}.\n")
    return "".join(parts)
