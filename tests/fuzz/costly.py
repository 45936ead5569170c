"""Texts of up to 1 MB, or of the most values, made to be dear: what mutations don't find by chance."""

from __future__ import annotations

from flowkit.spec.document import MAX_VALUES

HEAD = "flowkit: 1\nevent: {shape: [4, 4, 4]}\n"
GOOD = f"{HEAD}flow: [{{use: glow/actnorm}}]\n"
STEP = "{coupling: {use: glow/affine}, conditioner: {use: glow/convnet}}, "
LONG = "x" * 960_000
MANY = MAX_VALUES - 200
"""So many values, and what they need around them, are read; a spec with more is refused before its fields are read."""


def _flow(*steps: str) -> str:
    return f"{HEAD}flow: [{''.join(steps)}]\n"


def _nested(inner: str, times: str = "1", extra: str = "") -> str:
    """Repeats in repeats, as deep as may be."""
    return f"{{repeat: {times}, {extra}flow: [" * 30 + inner + "]}" * 30


COSTLY = {
    "unknown fields of a section": GOOD + "train:\n" + "".join(f"  epochs{n}: 1\n" for n in range(MANY)),
    "unknown fields of a plugin": _flow("{use: glow/actnorm, " + "".join(f"k{n}: 1, " for n in range(MANY)) + "}"),
    "unknown fields, like known ones": GOOD + "train: {" + "".join(f"optimizer{n}: 1, " for n in range(MANY)) + "}",
    "unknown fields of a plugin, like known ones": _flow(
        "{use: glow/rescale, " + "".join(f"low{n}: 1, " for n in range(MANY)) + "}"
    ),
    "unknown sections, like a known field": GOOD + "".join(f"epochs{n}: 1\n" for n in range(MANY)),
    "unknown sections, and a missing one": "flowkit: 1\nevent: {shape: [2]}\n"
    + "".join(f"epochs{n}: 1\n" for n in range(MANY)),
    "columns whose field has another name": GOOD
    + f"data: {{use: data/table, path: x.csv, event: [{', '.join(['{kolumn: a}'] * (MANY // 2))}]}}",
    "unknown plugins, like a known one": _flow(*(f"{{use: glow/actnor{n}}}, " for n in range(MANY // 2))),
    "many namespaces that are unknown": _flow(*(f"{{use: a{n}/b}}, " for n in range(MANY // 2))),
    "unknown plugins": _flow(*(f"{{use: glow/x{n}}}, " for n in range(MANY // 2))),
    "unknown namespaces": _flow("{use: a/b}, " * (MANY // 2)),
    "names that are no plugin's": _flow("{use: actnorm}, " * (MANY // 2)),
    "steps that are none": _flow("1, " * MANY),
    "steps without the rest": _flow("{repeat: 1}, " * (MANY // 2)),
    "couplings without a network": _flow("{coupling: {use: glow/affine}}, " * (MANY // 3)),
    "steps that are text": _flow("glow/actnrm, " * MANY),
    "steps that are empty": _flow("{}, " * MANY),
    "steps of nothing": f"{HEAD}flow:\n" + "-\n" * MANY,
    "couplings of numbers": _flow("{coupling: 1}, " * (MANY // 2)),
    "splits that are text": _flow(
        "{coupling: {use: glow/affine}, conditioner: {use: glow/mlp}, split: channel}, " * (MANY // 6)
    ),
    "errors at each level": _flow(f"{_nested('{use: glow/actnrm}', extra='zz: 1, ')}, " * 100),
    "errors far inside": _flow(_nested("{use: glow/rescale}, " * (MANY // 2))),
    "repeats of nothing": _flow("{repeat: 2, flow: []}, " * (MANY // 3)),
    "values of a wrong type": _flow("{use: glow/squeeze, factor: x}, " * (MANY // 3)),
    "pairs of a wrong type": _flow(
        "{coupling: {use: glow/affine, scale: x}, conditioner: {use: glow/mlp, hidden: x}}, " * (MANY // 7)
    ),
    "values that are no numbers": _flow("{use: glow/rescale, low: x}, " * (MANY // 3)),
    "words that are nearly right": _flow("{use: glow/permute, order: revers}, " * (MANY // 3)),
    "the most layers, far inside": _flow(_nested("{use: glow/actnorm}, " * 4_000)),
    "the most layers, repeated": _flow("{repeat: 4096, flow: [{use: glow/actnorm}]}"),
    "a break after the most layers": _flow(
        "{repeat: 4095, flow: [{use: glow/actnorm}]}, {use: glow/squeeze, factor: 3}"
    ),
    "repeats of repeats, endlessly": _flow(_nested("{use: glow/actnorm}", times="9" * 90)),
    "endless repeats, one after another": _flow(
        f"{{repeat: {'9' * 90}, flow: [{{use: glow/actnorm}}]}}, " * (MANY // 5)
    ),
    "the most layers": _flow("{use: glow/actnorm}, " * 4_096),
    "too many layers": _flow("{use: glow/actnorm}, " * (MANY // 2)),
    "couplings": _flow(STEP * 4_096),
    "couplings, repeated": _flow("{repeat: 64, flow: [{repeat: 64, flow: [", STEP, "]}]}"),
    "a repeat that is too long": _flow("{repeat: 999999999, flow: [", STEP, "]}"),
    "repeats in repeats": _flow("{repeat: 9, flow: [" * 29, "{use: glow/actnorm}", "]}" * 29),
    "a long shape": f"flowkit: 1\nevent: {{shape: [{'1, ' * MANY}]}}\nflow: [{{use: glow/actnorm}}]\n",
    "a shape of long numbers": f"flowkit: 1\nevent: {{shape: [{('9' * 99 + ', ') * 9_600}]}}\nflow: []\n",
    "a long list where two belong": _flow(
        f"{{coupling: {{use: glow/affine, scale: [{'1, ' * MANY}]}}, conditioner: {{use: glow/convnet}}}}"
    ),
    "a long key": f"{GOOD}{LONG}: 1\n",
    "a long quoted key": f'{GOOD}? "{LONG}"\n: 1\n',
    "a long plugin name": _flow(f"{{use: glow/{LONG}}}"),
    "a long namespace": _flow(f"{{use: {LONG}/x}}"),
    "a long choice": _flow(f"{{use: glow/permute, order: {LONG}}}"),
    "a long number": _flow(f"{{use: glow/squeeze, factor: {'9' * 960_000}}}"),
    "a long text": f"{GOOD}data: {{use: data/npy, path: '{LONG}'}}\n",
    "a long list of lists": f"{GOOD}data: [{'[1], ' * (MANY // 2)}]\n",
    "too many values": f"flow: [{'1, ' * 320_000}]\n",
    "pairs of brackets": f"flow: [{'[], ' * MANY}]\n",
    "a long line": _flow("{use: glow/actnorm, " + " " * 960_000 + "x: 1}"),
    "a long paragraph": f"{GOOD}data: x\n" + " x\n" * 320_000,
    "JSON on one line": '{"a": [' + '{"b": 1}, ' * (MANY // 2) + "]}\n",
    "colons in a row": f"a{':' * 960_000}\n",
    "brackets": "[" * 960_000,
    "braces": "{a: " * 240_000,
    "dashes": "- " * 480_000,
    "questions": "? " * 480_000,
    "anchors": "&a " * 320_000,
    "tags": "!a " * 320_000,
    "quotes": "'" * 960_000,
    "a quote that is never closed": f"{GOOD}data: '" + "x\n" * 400_000,
    "quotes that are escaped": "a: [ " + '\\"' * 400_000,
    "tabs": "x:\n\t- 1\n" + "".join(f"a{n}: 1\n" for n in range(90_000)),
    "blanks": GOOD + " " * 960_000,
    "empty lines": GOOD + "\n" * 960_000,
    "comments": GOOD + "# x\n" * 240_000,
    "carriage returns": GOOD.replace("\n", "\r") + "\r" * 960_000,
    "escapes": f'{GOOD}data: "{chr(92) + "x41"}' + "\\x41" * 240_000 + '"\n',
    "a block": f"{GOOD}data: |\n" + "  x\n" * 240_000,
    "a folded block": f"{GOOD}data: >\n" + "  x\n\n" * 160_000,
    "documents": GOOD + "---\n" * 240_000,
    "directives": "%YAML 1.2\n" * 96_000,
    "keys that stand twice": GOOD + "train: {}\n" * 80_000,
    "characters of four bytes": f"{GOOD}data: {'𝛼' * 240_000}\n",
    "colons": GOOD + ": " * 480_000,
    "commas": _flow("," * 960_000),
}
