"""The same bundles on several engines: each engine's errors as a share of what verification allows, and its times.

    python -m venv .venv-openvino
    .venv-openvino/bin/pip install onnxruntime-openvino ./runtime
    .venv-openvino/bin/python -m benchmarks.engines exports/digits exports/moons

An engine is an execution provider of onnxruntime. Those of the installed wheel are compared: `onnxruntime-openvino`
has OpenVINO, and `onnxruntime-gpu` CUDA and TensorRT. This module needs only the runtime.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import onnxruntime
import typer

from flowkit_runtime.bundle import DECODER, ENCODER, REFERENCE, read_bundle
from flowkit_runtime.errors import FlowRuntimeError
from flowkit_runtime.session import Graph, open_graphs
from flowkit_runtime.verification import measure

OWN = "CPUExecutionProvider"
NOT_HERE = {"AzureExecutionProvider"}
"""Runs models of another machine."""
ROWS = 64
ROUNDS = 15
CALLS = 5


def main(bundles: Annotated[list[Path], typer.Argument(help="Bundles that `flowkit export` wrote.")]) -> None:
    """Verify bundles on each engine that is installed, and time them side by side.

    `error` is the largest error of any quantity on held-out events, as a share of its limit. The times are CPU times of
    a batch of 64 rows, relative to onnxruntime's own engine, CPUExecutionProvider.

    For example: python -m benchmarks.engines exports/digits exports/moons
    """
    engines = sorted(set(onnxruntime.get_available_providers()) - NOT_HERE, key=lambda engine: engine != OWN)
    print("| bundle | engine | verified | error | encode | decode |\n| --- | --- | --- | ---: | ---: | ---: |")
    for path in bundles:
        bundle = read_bundle(path)
        graphs = {}
        for engine in engines:
            try:
                graphs[engine] = open_graphs(bundle, [engine])
            except FlowRuntimeError:
                print(f"| {path.name} | {engine} | can't open it | – | – | – |", flush=True)
        with np.load(path / REFERENCE) as reference:
            times = {file: _times(file, graphs, reference) for file in (ENCODER, DECODER) if file in bundle.graphs}
        for engine in graphs:
            verified, error = _verified(path, engine)
            ratios = [f"{times[file][engine]:.2f}" if file in times else "–" for file in (ENCODER, DECODER)]
            print(f"| {path.name} | {engine} | {verified} | {error:.2f} | {' | '.join(ratios)} |", flush=True)


def _verified(bundle: Path, engine: str) -> tuple[str, float]:
    """Return whether all figures are within their limits, and the largest share of a limit on held-out events."""
    try:
        figures = measure(bundle, [engine])
    except FlowRuntimeError as error:
        return f"fails: {error}", math.nan
    shares = [figure.error / figure.limit for figure in figures if figure.rows == "held-out"]
    return "yes" if all(figure.passed for figure in figures) else "no", max(shares)


def _times(file: str, graphs: Mapping[str, Mapping[str, Graph]], reference: Mapping[str, Any]) -> dict[str, float]:
    """Return the CPU time of a graph on each engine, relative to onnxruntime's own. The engines take turns."""
    held_out = np.resize(np.flatnonzero(reference["group"] == 0), ROWS)
    sessions = {engine: of_bundle[file].session for engine, of_bundle in graphs.items()}
    types = {each.name: np.int64 if each.type == "tensor(int64)" else np.float32 for each in sessions[OWN].get_inputs()}
    feed = {name: reference[name][held_out].astype(dtype) for name, dtype in types.items()}
    taken: dict[str, list[float]] = {engine: [] for engine in sessions}
    for _ in range(ROUNDS):
        for engine, session in sessions.items():
            start = time.process_time()
            for _ in range(CALLS):
                session.run(None, feed)
            taken[engine].append(time.process_time() - start)
    own = median(taken[OWN])
    return {engine: median(each) / own for engine, each in taken.items()}


if __name__ == "__main__":
    typer.run(main)
