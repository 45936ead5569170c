"""The groups of measurements that the command line offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from types import ModuleType
from typing import Any

import torch

from benchmarks import autoregressive, deployment, glow, layers, splines
from benchmarks.check import density_error
from benchmarks.glow import Glow
from benchmarks.progress import Progress
from benchmarks.race import Rows, attempt, counted, race, started


@dataclass(frozen=True)
class Run:
    """What the command line asks for."""

    rounds: int
    device: torch.device
    progress: Progress
    only: tuple[str, ...] = ()

    def builders(self, module: ModuleType, setting: Any, names: tuple[str, ...] = ()) -> dict[str, Callable[[], Any]]:
        """Of the module's contenders those named that match one of ``only``, and always the limit."""
        return {
            name: partial(build, setting)
            for name, build in module.CONTENDERS.items()
            if name == "limit" or (self.wants(name) and (not names or name in names))
        }

    def wants(self, name: str) -> bool:
        """Whether a contender of this name is asked for."""
        return not self.only or any(fnmatchcase(name, pattern) for pattern in self.only)


def run_table(module: ModuleType, setting: Any, run: Run) -> Rows:
    """The contenders of glow.py, splines.py or autoregressive.py, timed, and first checked where they are ALIKE."""
    builders = run.builders(module, setting)
    rows = race(builders, module.batches(setting, run.device), module.COLUMNS, run.rounds, run.progress)
    tiny = run.builders(module, module.TINY, module.ALIKE)
    run.progress.begin("checking against the Jacobian", len(tiny))
    for name in tiny.keys() & set(module.ALIKE):
        with attempt(rows[name]):
            rows[name]["error"] = density_error(tiny[name](), module.batches(module.TINY, torch.device("cpu"))(3))
        run.progress.advance()
    return rows


def run_layers(run: Run) -> dict[str, dict[str, Rows]]:
    """Each of the single layers beside the peers', on vectors of each size."""
    return {str(features): {name: _layer(run, name, features) for name in layers.OURS} for features in layers.BATCHES}


def _layer(run: Run, name: str, features: int) -> Rows:
    builders = {peer: build for peer, build in layers.contenders(name, features).items() if run.wants(peer)}
    return race(builders, partial(layers.batch, features), layers.columns(features), run.rounds, run.progress)


DEPTHS = (8, 32)
"""Steps a level in the group ``memory``."""


def run_memory(run: Run) -> dict[str, Rows]:
    """What a training step with batch 16 costs at each of DEPTHS. Compiling the deep one would take minutes."""
    names = tuple(name for name in glow.CONTENDERS if "compiled" not in name)
    results = {}
    for steps in DEPTHS:
        setting = Glow(steps=steps)
        builders = run.builders(glow, setting, names)
        rows: Rows = {name: {} for name in builders}
        x = glow.batches(setting, run.device)(16)
        for name, costs in counted(started(builders, x, rows, run.progress), x, run.progress).items():
            rows[name] |= costs
        results[str(steps)] = rows
    return results


SCALED = ("flowkit", "flowkit, checkpoint", "flowkit, reversible", "normflows, channels_last")
"""The contenders of the scale curves, beside the limit."""

AXES: Mapping[str, Mapping[int, tuple[Glow, int]]] = {
    "steps a level": {k: (Glow(steps=k), 16) for k in (4, 8, 16, 32, 64)},
    "hidden channels": {width: (Glow(hidden=width), 16) for width in (32, 64, 128, 256, 512)},
    "side of the image": {side: (Glow((3, side, side)), 16) for side in (16, 32, 64)},
    "channels, one level of 8×8": {c: (Glow((c // 4, 16, 16), levels=1), 16) for c in (12, 48, 192, 384, 768)},
    "batch": {n: (Glow(), n) for n in (4, 16, 64, 128)},
}
"""Axis -> value -> the setting and the batch size."""


def run_scale(run: Run) -> dict[str, dict[str, Rows]]:
    """Training steps along each axis, a fifth of the rounds at each point."""
    return {axis: {str(at): _point(run, *points[at]) for at in points} for axis, points in AXES.items()}


def _point(run: Run, setting: Glow, n: int) -> Rows:
    builders = run.builders(glow, setting, SCALED)
    rounds = max(1, run.rounds // 5)
    return race(builders, glow.batches(setting, run.device), [("train", n)], rounds, run.progress)


PROCESSES = 10
"""Each of which scores one event."""


def run_onnx(run: Run) -> dict[str, dict[str, Any]]:
    """Graphs and torch side by side on the CPU; files' bytes; from the start of a process to its first score."""
    results = {}
    for name, spec in deployment.SETTINGS.items():
        names = [each for each in deployment.CONTENDERS if each != deployment.UNMERGED or name in deployment.LAYERED]
        built: dict[str, Any] = {}

        def build(contender: str, spec: Any = spec, built: dict[str, Any] = built) -> Any:
            built[contender] = deployment.CONTENDERS[contender](spec)
            return built[contender]

        builders = {each: partial(build, each) for each in names if run.wants(each)}
        rows = race(builders, deployment.events(spec), deployment.COLUMNS, run.rounds, run.progress)
        for contender, graphs in built.items():
            rows[contender]["bytes"] = getattr(graphs, "bytes", {})
        run.progress.begin("starting processes", PROCESSES)
        results[name] = {
            "rows": rows,
            "first score": deployment.seconds_to_first_score(spec, PROCESSES, run.progress.advance),
        }
    return results


GROUPS: dict[str, Callable[[Run], Any]] = {
    "glow": partial(run_table, glow, Glow()),
    "tabular": partial(run_table, splines, splines.Splines()),
    "maf": partial(run_table, autoregressive, autoregressive.MaskedFlow()),
    "nsf-ar": partial(run_table, autoregressive, autoregressive.MaskedFlow(bins=8)),
    "layers": run_layers,
    "memory": run_memory,
    "scale": run_scale,
    "onnx": run_onnx,
}
