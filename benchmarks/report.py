"""Results as Markdown: ratios to the limit, medians with quartiles, and the figures that they come down to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import autoregressive, deployment, glow, layers, splines
from benchmarks.measure import Spread, ratios
from benchmarks.race import title

LIMIT = "limit"
BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"
Rows = Mapping[str, Mapping[str, Any]]


def report(measured: Mapping[str, Any]) -> str:
    """All groups that were measured, each with what it was measured with."""
    present = {name: measured[name] for name in TEXTS if name in measured}
    return "\n\n".join(f"{TEXTS[name](group['rows'])}\n\n{_conditions(group)}" for name, group in present.items())


def glow_text(rows: Rows) -> str:
    fast = [f"{peer}, channels_last" for peer in glow.LEARN_1X1]
    return f"""### Glow 3×32×32: three levels of eight steps, 128 hidden channels

{table(rows)}

flowkit's time over that of the fastest peer whose 1×1 convolution learns (FrEIA's is fixed: less work):

{fastest(rows, glow.LEARN_1X1)}

The same with the peers' weights and data in channels_last, which they leave to their users:

{fastest(rows, fast)}"""


def tabular_text(rows: Rows) -> str:
    return f"""### Spline couplings: 63 features, ten couplings of eight bins, MLPs 2×256

{table(rows)}

flowkit's time over that of the fastest peer:

{fastest(rows, splines.PEERS)}"""


def autoregressive_text(layers: str, rows: Rows) -> str:
    return f"""### {layers}: 10 features, five layers in orders that take turns, MADE 2×128

{table(rows)}

The limit runs each network once; sampling takes ten passes of each. flowkit's time over that of the fastest peer:

{fastest(rows, autoregressive.PEERS)}"""


def layers_text(sizes: Mapping[str, Mapping[str, Rows]]) -> str:
    """flowkit's time over that of the fastest peer, for each size, each layer and each of its tasks."""
    parts = []
    for size, measured in sizes.items():
        titles = [title(column) for column in layers.columns(int(size))]
        lines = [[name, *(_beside(rows, layers.PEERS, column) for column in titles)] for name, rows in measured.items()]
        parts.append(f"Vectors of {size} values:\n\n{_grid(titles, lines)}")
    introduction = """### Single layers and bases on vectors

flowkit's time over that of the fastest peer that has the layer. A layer of few values takes as long as it has
operators, some tens of microseconds. The first six are channel-linear: flowkit merges adjacent ones to one map, which
it converts to the precision of the event. normflows' linear layers return one number as their log-det, flowkit's one
for each event. Beyond the domain of the logarithm and the logit (sampling of exp, softplus and sigmoid) the density is
0, and it is NaN in the peers. The scales of normflows' affine coupling have no bounds. The uniform distribution
converts its bounds to the precision of the event at each call."""
    return "\n\n".join([introduction, *parts])


def _beside(rows: Rows, peers: Iterable[str], column: str) -> str:
    """The time of flowkit over that of the fastest of the peers, and which that is."""
    found = _fastest(rows, peers, column)
    return f"{found[0]}: {_ratio(found[1].get('flowkit'))}" if found else "–"


def memory_text(depths: Mapping[str, Rows]) -> str:
    """A training step's bytes and operators at each depth."""
    keys = {"saved": ("saved, MB", ".1f"), "peak": ("peak, MB", ".1f"), "operators": ("operators", ",.0f")}
    heads = [f"{head}, K={depth}" for head, _ in keys.values() for depth in depths]
    names = next(iter(depths.values()))
    lines = [
        [name, *(_number(rows[name].get(key), form) for key, (_, form) in keys.items() for rows in depths.values())]
        for name in names
    ]
    failures = _failures({name: row for rows in depths.values() for name, row in rows.items()})
    return f"### Memory of a training step of this Glow, B=16, against its depth\n\n{_grid(heads, lines)}{failures}"


def scale_text(axes: Mapping[str, Mapping[str, Rows]]) -> str:
    """For each axis the ratio to the limit, and the peak memory, of a training step."""
    parts = []
    for axis, points in axes.items():
        names = next(iter(points.values()))
        lines = []
        for name in names:
            measured = [against(rows, columns(rows)[0]).get(name) for rows in points.values()]
            peaks = [_number(rows[name].get("peak"), ",.0f") for rows in points.values()]
            cells = [f"{_ratio(time)}; {peak} MB" for time, peak in zip(measured, peaks, strict=True)]
            lines.append([name, *cells])
        failures = _failures({name: row for rows in points.values() for name, row in rows.items()})
        parts.append(f"Against {axis}:\n\n{_grid(list(points), lines)}{failures}")
    title = "### A training step as sizes grow: time over the limit's, in a fifth of the rounds, and peak memory"
    return "\n\n".join([title, *parts])


def onnx_text(settings: Mapping[str, Mapping[str, Any]]) -> str:
    """For each flow times over torch's, what merging gains, and how soon a process has scored."""
    titles = {"glow": "this Glow", "tabular": "these spline couplings"}
    parts = ["### ONNX graphs in onnxruntime: time over torch's, not compiled, without gradients"]
    for name, measured in settings.items():
        rows, first = measured["rows"], Spread.of(measured["first score"])
        parts += [f"Of {titles[name]}:", _deployed(rows)]
        if deployment.UNMERGED in rows:
            gains = [f"{c} {_ratio(against(rows, c, deployment.UNMERGED).get('onnxruntime'))}" for c in columns(rows)]
            parts.append(f"Time with runs of channel-linear layers merged over time without: {', '.join(gains)}.")
        n = len(measured["first score"])
        parts.append(f"From the start of a process to its first score: {_ratio(first)} s, of {n} processes.")
    return "\n\n".join(parts)


def _deployed(rows: Rows) -> str:
    times = {column: against(rows, column, "torch") for column in columns(rows)}
    lines = []
    for name, row in rows.items():
        sizes = [row.get("bytes", {}).get(task) for task in ("encode", "decode")]
        megabytes = [_number(size and size / 1e6, ".1f") for size in sizes]
        cells = [_ratio(time.get(name)) for time in times.values()]
        lines.append([name, *cells, _number(row.get("first"), ".2f"), *megabytes])
    heads = [*times, "first step, s", "encode.onnx, MB", "decode.onnx, MB"]
    torch = rows["torch"]["seconds"] if "torch" in rows else {}
    milliseconds = ", ".join(f"{column} {1e3 * Spread.of(torch[column]).median:.1f} ms" for column in torch)
    return f"{_grid(heads, lines)}\n\ntorch's times: {milliseconds}.{_failures(rows)}"


TEXTS = {
    "glow": glow_text,
    "tabular": tabular_text,
    "maf": partial(autoregressive_text, "Affine autoregressive layers (MAF)"),
    "nsf-ar": partial(autoregressive_text, "Autoregressive splines of eight bins (NSF)"),
    "layers": layers_text,
    "memory": memory_text,
    "scale": scale_text,
    "onnx": onnx_text,
}


def columns(rows: Rows) -> list[str]:
    """The columns that any row has, in order."""
    return list(dict.fromkeys(column for row in rows.values() for column in row["seconds"]))


def against(rows: Rows, column: str, to: str = LIMIT) -> dict[str, Spread]:
    """Each contender's time over that of ``to`` in the same rounds, where both ran."""
    seconds = {name: row["seconds"][column] for name, row in rows.items() if column in row["seconds"]}
    return ratios(seconds, to) if to in seconds else {}


def table(rows: Rows) -> str:
    """One line a contender: its time over the limit's, then what a training step costs."""
    times = {column: against(rows, column) for column in columns(rows)}
    forms = {"operators": ",.0f", "saved": ".1f", "peak": ".1f", "first": ".1f", "parameters": ",", "error": ".0e"}
    lines = [
        [
            name,
            *(_ratio(time.get(name)) for time in times.values()),
            *(_number(row.get(key), form) for key, form in forms.items()),
        ]
        for name, row in rows.items()
    ]
    heads = [*times, "operators", "saved, MB", "peak, MB", "first step, s", "parameters", "density error, nats"]
    limit = rows[LIMIT]["seconds"]
    milliseconds = ", ".join(f"{column} {1e3 * Spread.of(limit[column]).median:.1f} ms" for column in limit)
    return f"{_grid(heads, lines)}\n\nThe limit's times: {milliseconds}.{_failures(rows)}"


def fastest(rows: Rows, peers: Iterable[str]) -> str:
    """For each column the fastest of the peers, and the time of flowkit over its."""
    own = [name for name in ("flowkit", "flowkit, compiled") if name in rows]
    lines = []
    for column in columns(rows):
        if found := _fastest(rows, peers, column):
            best, to_best = found
            lines.append([column, best, *(_ratio(to_best.get(name)) for name in own)])
    return _grid(["fastest", *own], lines) if lines else "None of them ran."


def _fastest(rows: Rows, peers: Iterable[str], column: str) -> tuple[str, dict[str, Spread]] | None:
    """The fastest of the peers that ran, and each contender's time over its."""
    seconds = {peer: rows[peer]["seconds"].get(column) for peer in peers if peer in rows}
    present = {peer: Spread.of(own).median for peer, own in seconds.items() if own}
    if not present:
        return None
    best = min(present, key=present.__getitem__)
    return best, against(rows, column, best)


def _conditions(group: Mapping[str, Any]) -> str:
    conditions = ", ".join(f"{key} {value}" for key, value in group["environment"].items())
    return f"{group['rounds']} rounds. {conditions}."


def _ratio(spread: Spread | None) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f}–{spread.high:.2f})" if spread else "–"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _failures(rows: Rows) -> str:
    failed = [f"- {name}: {row['failed']}" for name, row in rows.items() if "failed" in row]
    return "\n".join(["\n\nDid not run:\n", *failed]) if failed else ""


def _grid(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [["", *heads], ["---", *(["---:"] * len(heads))], *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def write_section(page: Path, text: str) -> None:
    """Put the text between the markers of the page; a page without them gets both at its end."""
    old = page.read_text("utf-8") if page.exists() else "# Speed\n"
    if BEGIN not in old:
        old += f"\n{BEGIN}\n{END}\n"
    before, rest = old.split(BEGIN, 1)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END, 1)[1]}", "utf-8")
