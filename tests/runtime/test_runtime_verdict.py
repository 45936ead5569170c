"""The verdict on a bundle, and the table of all figures."""

from __future__ import annotations

from flowkit_runtime.verdict import Figure, table, verdict

GOOD = Figure("held-out", "log_prob", "bits/dim", 7e-7, 1.4e-6, 7e-6)
FAR = Figure("extremes", "log_prob", "bits/dim", 4e6, 2e7, 1e8)
EXACT = Figure("off-data", "latents", "", 0.0, 0.0, 0.0)


def test_the_verdict_has_the_errors_on_the_data_and_only_shares_of_limits_elsewhere() -> None:
    first, _, held_out, others = verdict([GOOD, EXACT, FAR]).splitlines()
    assert first.startswith("verified")
    assert held_out.split() == ["log-density,", "bits/dim", "7.0e-07", "7.0e-06"]
    assert others.strip() == "on constants, noise and extreme values, errors reach 4% of what is allowed"


def test_what_fits_a_screen_is_never_wider() -> None:
    figures = [Figure("held-out", "u", "of range", 1e-7, 1e-7, 1e-6), GOOD, FAR]
    assert max(map(len, f"{verdict(figures)}\n{table(figures)}".splitlines())) <= 80


def test_the_table_marks_what_is_too_large_and_nothing_else() -> None:
    bad = Figure("held-out", "latents", "", float("inf"), 1.0, 3.0)
    rows = table([GOOD, EXACT, FAR, bad]).splitlines()[1:5]
    assert [row.split()[-2:] for row in rows] == [
        ["7.00e-06", "10%"],
        ["0.00e+00", "0%"],
        ["1.00e+08", "4%"],
        ["too", "large"],
    ]
