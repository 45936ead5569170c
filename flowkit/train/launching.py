"""Starts the processes of a training on several devices, and waits for them.

The processes are spawned: they get nothing but their arguments, and import the main script again.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from multiprocessing import reduction
from typing import Any

import torch.multiprocessing as multiprocessing
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from torch.multiprocessing.spawn import ProcessContext, ProcessException

from flowkit.errors import FlowkitError, TrainingError
from flowkit.plain_warnings import show_warnings_plainly
from flowkit.spec import Train
from flowkit.train.devices import launched_by_others, layout
from flowkit_runtime.cli.terminal import OutputClosed, Stdout

GRACE = 10.0
"""The seconds in which processes may end by themselves before they are killed."""


def needs_launch(settings: Train) -> bool:
    """Return True if the settings ask for several processes, and nothing else has started them.

    Raises FlowkitError if there are not enough devices.
    """
    devices, nodes = layout(settings)
    return devices * nodes > 1 and not launched_by_others()


def launch(settings: Train, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of a module in one process for each device of this node. Return the result of the first process.

    A FlowkitError of a process is raised here. If a process fails or is killed, the others are ended. Raises
    TrainingError if one was killed, and RuntimeError with the traceback of one that failed. Ctrl-C ends all of them.
    """
    answers = multiprocessing.get_context("spawn").SimpleQueue()
    given = (_variables(settings), answers, _Stdout(), function, arguments)
    context = multiprocessing.start_processes(_process, given, nprocs=settings.devices, join=False)
    try:
        answer = _answer(context, answers)
        _wait(context)
        return answer
    finally:
        _end(context)


def _variables(settings: Train) -> dict[str, str]:
    """Return the environment variables that torchrun would set, except for the ranks."""
    here = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port())}
    return (here if settings.num_nodes == 1 else {}) | {
        "GROUP_RANK": "0" if settings.num_nodes == 1 else os.environ["NODE_RANK"],
        "LOCAL_WORLD_SIZE": str(settings.devices),
        "WORLD_SIZE": str(settings.devices * settings.num_nodes),
    }


def _process(
    local_rank: int,
    variables: Mapping[str, str],
    answers: Any,
    stdout: _Stdout,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    """Run one of the processes. The first one of the node puts its result into ``answers``; each may put an error."""
    rank = int(variables["GROUP_RANK"]) * int(variables["LOCAL_WORLD_SIZE"]) + local_rank
    os.environ |= {**variables, "LOCAL_RANK": str(local_rank), "RANK": str(rank)}
    threading.Thread(target=end_with_the_parent, daemon=True).start()
    show_warnings_plainly()
    if rank > 0:
        warnings.simplefilter("ignore")  # the first process gives the same ones
    try:
        result = function(*arguments)
    except (FlowkitError, OutputClosed) as error:
        answers.put(pickle.dumps(error))
        sys.exit(1)
    if local_rank == 0:
        answers.put(pickle.dumps(result))


def end_with_the_parent() -> None:
    """Wait for the end of the process that launched this one, and end this one at once.

    torch asks Linux for a signal instead. It asks too late for a parent that is killed while its processes start.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _answer(context: ProcessContext, answers: Any) -> Any:
    """Wait for the answer of the first process, and return it. If the answer is an error, raise it."""
    ended = False
    while answers.empty() and not ended:
        try:
            ended = context.join(timeout=0.1, grace_period=GRACE)
        except ProcessException as error:
            if answers.empty():
                _explain(context, error)
                raise
    if answers.empty():
        raise KeyboardInterrupt  # torch reports interrupted processes as ended
    answer = pickle.loads(answers.get())
    if isinstance(answer, FlowkitError | OutputClosed):
        raise answer
    return answer


def _explain(context: ProcessContext, error: ProcessException) -> None:
    """Raise TrainingError if a process was killed, or ended before it could begin."""
    codes = [process.exitcode or 0 for process in context.processes]
    killed = {rank: -code for rank, code in enumerate(codes) if code < 0 and code != -signal.SIGTERM}
    if codes[error.error_index] < 0:
        killed = {error.error_index: -codes[error.error_index]}
    for rank, number in killed.items():
        raise TrainingError(
            f"process {rank} of {len(codes)}, counted from 0, was killed by {signal.Signals(number).name}, and the "
            "others were ended. A run goes on with `flowkit train --resume RUN`"
        ) from None
    if not os.path.exists(context.error_files[error.error_index]):
        raise TrainingError(
            f"process {error.error_index} of {len(codes)} ended before it began. Each process imports the main script "
            'again: put what trains below `if __name__ == "__main__":`'
        ) from None


def _wait(context: ProcessContext) -> None:
    end = time.monotonic() + GRACE
    for process in context.processes:
        process.join(max(0.0, end - time.monotonic()))


def _end(context: ProcessContext) -> None:
    """End the processes that are still there as Ctrl-C does, and kill those that don't end."""
    for process in context.processes:
        if process.is_alive() and sys.platform != "win32":  # where os.kill would kill it at once
            os.kill(process.pid, signal.SIGINT)
    _wait(context)
    for process in context.processes:
        process.kill()
    _wait(context)


class _Stdout:
    """Hands standard output to a process that is spawned.

    File descriptor 1 of a `flowkit` command leads to stderr, so that only what flowkit writes comes to stdout.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            return _use_as_stdout, (reduction.DupFd(sys.stdout.fileno()),)
        except (AttributeError, OSError, ValueError):  # stdout is a notebook's or closed, or this is Windows
            return _Stdout, ()


def _use_as_stdout(handle: Any) -> _Stdout:
    sys.stdout = Stdout(os.fdopen(handle.detach(), "wb"), "utf-8")
    return _Stdout()
