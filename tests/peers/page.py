"""Writes docs/mistakes.md: flowkit's messages as they are now, the peers' from mistakes.json.

``python -m tests.peers.page`` writes the page. What the peers say is taken down, in their environment, by
``python -m tests.peers.there > tests/peers/mistakes.json``.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import chdir
from pathlib import Path

import numpy
import torch

from flowkit.errors import FlowkitError
from flowkit.flow import Flow
from flowkit.spec import read_spec, walk
from flowkit.train.data import load_data
from flowkit.train.directory import create
from flowkit_glow.actnorm import ActNorm
from tests.peers.mistakes import MISTAKES, Mistake, Peer

RECORDED = Path(__file__).parent / "mistakes.json"
PAGE = Path(__file__).parents[2] / "docs" / "mistakes.md"
LONGEST = 120

HEAD = """\
# Ten mistakes, and what five libraries say

This page shows ten mistakes: how each is made with flowkit, what flowkit says, and the most similar code in
{versions}. [Scripts](../tests/peers/mistakes.py) ran every line of code, and
recorded its output. Long messages are cut off, and end in …. A test compares flowkit's messages with this page.

The libraries have different purposes. nflows, normflows, FrEIA and zuko are used from Python, and Python itself finds a
class or a keyword that doesn't exist. flowkit reads specs, and knows every shape before it builds anything, so its
messages can come earlier and say more. The other libraries have strengths of their own. FrEIA also infers shapes while
it builds a flow. zuko's flows are distributions of torch with batches of any shape. nflows checks the features and
contexts of its couplings.

In the code of the others, `net` and `conv` make networks of one layer. `with_nan` is 3 events of 3 values with one NaN,
and `k` is 2 events of 3 integers in uint8. `nf` is normflows, and `Ff` and `Fm` are FrEIA's framework and modules.
"""


def page() -> str:
    """The whole page."""
    recorded = json.loads(RECORDED.read_text("utf-8"))
    versions = [f"{name} {version}" for name, version in recorded["versions"].items()]
    head = HEAD.format(versions=f"{', '.join(versions[:-1])} and {versions[-1]}")
    sections = [_section(i, m, recorded["outcomes"][m.title]) for i, m in enumerate(MISTAKES, 1)]
    return "\n".join([head, *sections])


def message(mistake: Mistake) -> str:
    """What flowkit says, in a directory with a finished run whose spec was changed afterwards."""
    with tempfile.TemporaryDirectory() as directory, chdir(directory):
        run, spec = Path("runs/moons"), "flowkit: 1\nevent: {shape: [3]}\nflow: [{use: glow/actnorm}]\n"
        create(read_spec(spec), run, {})
        Flow([ActNorm((3,))]).save(run / "weights.safetensors")
        (run / "spec.yaml").write_text(spec.replace("[3]", "[4]"), "utf-8")
        (run / "results.json").write_text("{}", "utf-8")
        try:
            _make(mistake)
        except FlowkitError as error:
            return str(error) if mistake.spec else f"{type(error).__name__}: {error}"
    raise AssertionError(f"flowkit accepts this: {mistake.title}")


def _make(mistake: Mistake) -> None:
    if mistake.spec:
        Path("spec.yaml").write_text(mistake.spec, "utf-8")
        walk(read_spec(Path("spec.yaml")))
    else:
        exec(mistake.python, {"Flow": Flow, "ActNorm": ActNorm, "torch": torch, "numpy": numpy, **READING})


READING = {"load_data": load_data, "read_spec": read_spec}


def _section(number: int, mistake: Mistake, outcomes: list[str | None]) -> str:
    code = f"```yaml\n{mistake.spec}```" if mistake.spec else f"```python\n{mistake.python}```"
    rows = [_row(peer, outcome) for peer, outcome in zip(mistake.peers, outcomes, strict=True)]
    return "\n".join(
        [
            f"## {number}. {mistake.title}\n\n{mistake.text}\n\n{code}\n\n```text\n{message(mistake)}\n```\n",
            "| | code | what comes of it | |\n| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _row(peer: Peer, outcome: str | None) -> str:
    if peer.code is None or outcome is None:
        return f"| {peer.name} | | | {peer.remark} |"
    short = outcome if len(outcome) <= LONGEST else outcome[:LONGEST].rsplit(" ", 1)[0] + " …"
    return f"| {peer.name} | `{peer.code}` | `{short}` | {peer.remark} |"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
