"""Right layers pass whatever the seed.

By hand: ``FLOWKIT_FLAKE_SEEDS=200 pytest tests/zoo/test_flakes.py`` runs 200 seeds one after another, from
``FLOWKIT_FLAKE_START`` on; half a minute each. Left out is what no seed changes: tracing, and datasets.
"""

import os

import pytest

from flowkit.testing import CHECKS
from flowkit.testing.run import run_check
from tests.plugins.cases import subjects

START = int(os.environ.get("FLOWKIT_FLAKE_START", "1000"))
SEEDS = range(START, START + int(os.environ.get("FLOWKIT_FLAKE_SEEDS", "0")))
WITHOUT_DRAWS = {"device", "export"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_no_right_layer_fails(seed):
    failures = [
        f"{name}: {result.check}: {result.reason}"
        for name, subject in subjects(seed).items()
        if subject.kind != "dataset"
        for result in (run_check(subject, check) for check in CHECKS[subject.kind] if check not in WITHOUT_DRAWS)
        if result.is_error
    ]
    assert not failures, "\n".join(failures)
