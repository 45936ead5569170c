"""The table of bundles on several engines."""

from __future__ import annotations

import pytest

from benchmarks import engines
from tests.bases import FLOWS

pytestmark = pytest.mark.slow


def test_each_engine_that_is_installed_has_a_row_for_each_bundle(bundles_of_bases, capsys, monkeypatch):
    monkeypatch.setattr(engines.onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    engines.main([bundles_of_bases / name for name in FLOWS])
    _, _, *rows = capsys.readouterr().out.splitlines()
    for bundle, row in zip(FLOWS, rows, strict=True):
        name, engine, verified, share, *times = (cell.strip() for cell in row.strip("|").split("|"))
        assert (name, engine, verified, times) == (bundle, "CPUExecutionProvider", "yes", ["1.00", "1.00"])
        assert 0 < float(share) < 1
