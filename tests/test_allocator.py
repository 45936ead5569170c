"""Page faults are counted, not timed: a training step with large tensors in it, in a process of its own."""

import os
import platform
import subprocess
import sys

import pytest

from flowkit.allocator import keep_freed_memory

CODE = """if True:
    import resource, statistics, sys
    from flowkit import allocator
    sys.argv[1] == "kept" and allocator.keep_freed_memory()

    import torch
    from flowkit.flow import Flow

    torch.set_num_threads(1)
    coupling = {"coupling": {"use": "glow/affine"}, "conditioner": {"use": "glow/mlp", "hidden": 256}}
    flow = Flow.from_spec({"flowkit": 1, "event": {"shape": [64]}, "flow": [{"repeat": 4, "flow": [coupling]}]})

    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        flow(torch.randn(2048, 64)).mean().backward()
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    print(statistics.median([faults() for _ in range(9)][4:]))
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="there is no glibc")


def faults_a_step(mode, **variables):
    unset = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", CODE, mode]
    done = subprocess.run(command, env={**unset, **variables}, capture_output=True, text=True, check=True)
    return float(done.stdout)


@glibc
@pytest.mark.slow
def test_a_step_uses_the_memory_again_that_the_last_one_freed():
    assert faults_a_step("kept") < 50 < 1000 < faults_a_step("as it is")


@glibc
@pytest.mark.slow
@pytest.mark.parametrize(
    "variables", [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"}]
)
def test_the_environment_has_the_say(variables):
    assert faults_a_step("kept", **variables) > 1000


def test_without_glibc_nothing_happens(monkeypatch):
    def nothing_to_load(name):
        raise TypeError("bad argument type")  # Windows

    monkeypatch.setattr("ctypes.CDLL", nothing_to_load)
    assert not keep_freed_memory()
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())  # macOS has no mallopt
    assert not keep_freed_memory()
