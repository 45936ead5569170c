"""Page faults are counted, not timed: of a step that takes and frees large blocks, in a process of its own."""

import os
import platform
import subprocess
import sys

import pytest

from flowkit.allocator import keep_freed_memory

TRAINING = """
import torch
from flowkit.flow import Flow

torch.set_num_threads(1)
coupling = {"coupling": {"use": "glow/affine"}, "conditioner": {"use": "glow/mlp", "hidden": 256}}
flow = Flow.from_spec({"flowkit": 1, "event": {"shape": [64]}, "flow": [{"repeat": 4, "flow": [coupling]}]})

def step():
    flow(torch.randn(2048, 64)).mean().backward()
"""
BLOCKS = """
def step():
    [bytearray(1_000_000) for _ in range(16)]
"""
COUNT = """
import resource, statistics

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(statistics.median([faults() for _ in range(9)][4:]))
"""
KEPT = "from flowkit import allocator\nallocator.keep_freed_memory()\n"

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="there is no glibc")


def faults_a_step(code, **variables):
    unset = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", code + COUNT]
    done = subprocess.run(command, env={**unset, **variables}, capture_output=True, text=True, check=True)
    return float(done.stdout)


@glibc
@pytest.mark.slow
def test_a_step_uses_the_memory_again_that_the_last_one_freed():
    assert faults_a_step(KEPT + TRAINING) < 50 < 1000 < faults_a_step(TRAINING)


@glibc
@pytest.mark.parametrize(
    "variables", [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"}]
)
def test_the_environment_has_the_say(variables):
    assert faults_a_step(KEPT + BLOCKS) < 50 < 1000 < faults_a_step(KEPT + BLOCKS, **variables)


def test_without_glibc_nothing_happens(monkeypatch):
    def nothing_to_load(name):
        raise TypeError("bad argument type")  # Windows

    monkeypatch.setattr("ctypes.CDLL", nothing_to_load)
    assert not keep_freed_memory()
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())  # macOS has no mallopt
    assert not keep_freed_memory()
