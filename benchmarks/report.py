"""Results as Markdown: ratios to the limit, medians with quartiles, and the figures that they come down to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import Spread, ratios

LIMIT = "limit"
BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"
Rows = Mapping[str, Mapping[str, Any]]


def columns(rows: Rows) -> list[str]:
    """The columns that any row has, in order."""
    return list(dict.fromkeys(column for row in rows.values() for column in row["seconds"]))


def against(rows: Rows, column: str, to: str = LIMIT) -> dict[str, Spread]:
    """Each contender's time over that of ``to`` in the same rounds, where both ran."""
    seconds = {name: row["seconds"][column] for name, row in rows.items() if column in row["seconds"]}
    return ratios(seconds, to) if to in seconds else {}


def table(rows: Rows) -> str:
    """One line a contender: its ratios, then what a training step costs."""
    heads = columns(rows)
    measured = {column: against(rows, column) for column in heads}
    lines = [_line(["", *heads, "operators", "saved, MB", "peak, MB", "parameters"])]
    lines.append(_line(["---", *["---:"] * (len(heads) + 4)]))
    for name, row in rows.items():
        cells = [_ratio(measured[column].get(name)) for column in heads]
        costs = [_number(row.get("operators"), ",.0f"), *(_number(row.get(k), ".1f") for k in ("saved", "peak"))]
        lines.append(_line([name, *cells, *costs, _number(row.get("parameters"), ",")]))
    milliseconds = [f"{1e3 * Spread.of(rows[LIMIT]['seconds'][column]).median:.1f} ms for {column}" for column in heads]
    return "\n".join([*lines, "", f"The limit: {', '.join(milliseconds)}.", *_failures(rows)])


def fastest(rows: Rows, own: Iterable[str], peers: Iterable[str]) -> str:
    """For each column the fastest of the peers, and flowkit's time over its."""
    lines = [_line(["", "fastest peer", *own]), _line(["---", "---", *["---:" for _ in own]])]
    for column in columns(rows):
        to_limit = against(rows, column)
        present = [peer for peer in peers if peer in to_limit]
        if not present:
            continue
        best = min(present, key=lambda peer: to_limit[peer].median)
        to_best = against(rows, column, best)
        lines.append(_line([column, best, *(_ratio(to_best.get(name)) for name in own)]))
    return "\n".join(lines)


def _ratio(spread: Spread | None) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f}–{spread.high:.2f})" if spread else "–"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _failures(rows: Rows) -> list[str]:
    failed = [f"- {name}: {row['failed']}" for name, row in rows.items() if "failed" in row]
    return ["", "Did not run:", "", *failed] if failed else []


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write_section(path: Path, text: str) -> None:
    """Put the text between the markers of the file; a file without them gets both at its end."""
    page = path.read_text("utf-8") if path.exists() else "# Speed\n"
    if BEGIN not in page:
        page += f"\n{BEGIN}\n{END}\n"
    before, rest = page.split(BEGIN, 1)
    path.write_text(f"{before}{BEGIN}\n{text.strip()}\n{END}{rest.split(END, 1)[1]}", "utf-8")
