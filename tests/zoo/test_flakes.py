"""Right layers pass whatever the seed; half a minute each. Left out is what no seed changes: tracing, and datasets."""

import pytest

from flowkit.testing import CHECKS
from flowkit.testing.run import run_check
from tests.extent import extent
from tests.plugins.cases import subjects

SEEDS = range(1000, extent(1000, 1200))
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
