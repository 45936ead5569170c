"""Under DistributedDataParallel two processes compute what one does with the whole batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed import TCPStore

from tests.flow.specs import batch
from tests.flow.two_processes import CASES, PATIENCE, ROWS, own

TOLERANCE = 1e-10
SECONDS = 2 * PATIENCE.total_seconds()
"""Until both are killed."""

Results = list[dict[tuple[str, str], dict[str, torch.Tensor]]]
"""Of each process, by case and name."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Of both processes. They meet here, so that neither misses a store that left with the other."""
    directory = tmp_path_factory.mktemp("processes")
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    with _running([[str(rank), str(store.port), str(directory)] for rank in range(2)], directory) as processes:
        deadline = time.monotonic() + SECONDS
        while (codes := [process.poll() for process in processes]) != [0, 0]:
            output = "\n".join(path.read_text() for path in sorted(directory.glob("*.txt")))
            assert not any(codes), f"they left with {codes}\n{output}"
            assert time.monotonic() < deadline, f"not done in {SECONDS} s\n{output}"
            time.sleep(0.05)
    return [torch.load(directory / f"{rank}.pt") for rank in range(2)]


@contextmanager
def _running(arguments: list[list[str]], directory: Path) -> Iterator[list[subprocess.Popen[Any]]]:
    """The processes, each writing what it says to a file there; killed at the end."""
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": loopback}  # whatever the machine's own name leads to
    processes = []
    try:
        for rank, each in enumerate(arguments):
            with (directory / f"{rank}.txt").open("w") as said:
                command = [sys.executable, "-X", "faulthandler", "-m", "tests.flow.two_processes", *each]
                processes.append(subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment))
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_two_processes_have_the_gradients_of_the_whole_batch(results: Results, case: tuple[str, str]) -> None:
    """Those of a flow that is initialized as the first one's, before it was wrapped."""
    flow, *_ = own(0, *case)
    expected = {name: tensor.clone() for name, tensor in flow.state_dict().items()}
    flow(*batch(flow, ROWS)).mean().backward()
    expected |= {f"gradient of {name}": p.grad for name, p in flow.named_parameters()}
    for given in (result[case] for result in results):
        assert given.keys() == expected.keys()
        for name, tensor in expected.items():
            torch.testing.assert_close(
                given[name], tensor, rtol=0, atol=TOLERANCE * (1 + tensor.double().norm().item())
            )
