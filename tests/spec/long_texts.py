"""Specs as long as they may be, each of a kind that could take long to read. As a program: reads them all, with the
plugins installed here, and prints as JSON what the worst cost.
"""

from __future__ import annotations

import json
import resource
import time

from flowkit.errors import SpecError
from flowkit.plugin import Registry
from flowkit.spec import read_spec
from flowkit.spec.text import MAX_BYTES

HEAD = "flowkit: 1\n"
EVENT = "event: {shape: [1, 8, 8]}\n"


def flow(step: str, times: int | None = None) -> str:
    """A spec of this step over and over, up to the length that is allowed."""
    times = times or (MAX_BYTES - len(HEAD + EVENT) - 10) // (len(step) + 1)
    return f"{EVENT}flow: [{','.join([step] * times)}]"


def nested(inner: str, times: str = "1", extra: str = "") -> str:
    """Repeats in repeats, as deep as may be."""
    for _ in range(30):
        inner = f"{{repeat: {times}, {extra}flow: [{inner}]}}"
    return inner


def numbered(text: str, n: int, join: str = ", ") -> str:
    """``text`` n times, with a number in it."""
    return join.join(text.replace("#", str(i)) for i in range(n))


TEXTS = {
    "unknown namespace": flow("{use: a/b}"),
    "unknown namespaces": f"flow: [{numbered('{use: a#/b}', 8_000)}]",
    "unknown names that are near": f"flow: [{numbered('{use: glow/actnor#}', 4_400)}]",
    "unknown fields": f"train: {{{numbered('epochs#: 1', 8_500)}}}",
    "unknown sections": numbered("epochs#: 1", 8_500, "\n"),
    "unknown fields of a plugin": f"{EVENT}flow: [{{use: glow/rescale, {numbered('low#: 1', 9_000)}}}]",
    "steps that are numbers": flow("1", 19_000),
    "steps that are text": flow("glow/actnrm"),
    "steps that are empty": flow("{}", 9_000),
    "steps of nothing": "flow:\n" + "-\n" * 19_000,
    "wrong values in plugins": flow("{use: glow/rescale, low: x}"),
    "wrong words": flow("{use: glow/permute, order: revers}"),
    "wrong bounds": flow("{coupling: {use: glow/affine, scale: [1, 2, 3]}, conditioner: {use: glow/mlp, hidden: x}}"),
    "couplings of numbers": flow("{coupling: 1}", 9_000),
    "splits that are text": flow("{coupling: {use: glow/affine}, conditioner: {use: glow/mlp}, split: channel}"),
    "missing fields": flow("{repeat: 2}", 9_000),
    "errors at each level": flow(nested("{use: glow/actnrm}", extra="zz: 1, ")),
    "errors far inside": flow(nested(",".join(["{use: glow/rescale}"] * 5_500)), 1),
    "a wide flow far inside": flow(nested(",".join(["{use: glow/actnorm}"] * 4_000)), 1),
    "repeats of repeats": flow(nested("{use: glow/actnorm}", times="9" * 90), 1),
    "a large repeat after another": flow(f"{{repeat: {'9' * 90}, flow: [{{use: glow/actnorm}}]}}"),
    "the most layers": flow("{use: glow/actnorm}", 4096),
    "the most layers, repeated": flow("{repeat: 4096, flow: [{use: glow/actnorm}]}", 1),
    "a break after the most layers": flow(
        "{repeat: 4095, flow: [{use: glow/actnorm}]}, {use: glow/squeeze, factor: 3}", 1
    ),
    "a long shape": f"event: {{shape: [{'1,' * 19_000}]}}",
    "a shape of long numbers": f"event: {{shape: [{('9' * 99 + ',') * 1_200}]}}",
    "values": f"a: [{'1,' * 60_000}]",
    "pairs of brackets": f"flow: [{'[],' * 40_000}]",
    "brackets": "[" * 120_000,
    "braces": "{a: " * 30_000,
    "dashes": "- " * 60_000,
    "question marks": "? " * 60_000,
    "colons": f"a{':' * 120_000}",
    "digits": f"flow: {'9' * 120_000}",
    "text": f"flow: {'x' * 120_000}",
    "a long name": f"{EVENT}flow: [{{use: glow/{'x' * 120_000}}}]",
    "a long key": f"{{{'k' * 120_000}: 1}}",
    "a long word": f"data: {{use: data/toy, name: {'moon' * 30_000}}}",
    "a long line": f"{EVENT}flow: [{{use: glow/actnorm, {' ' * 120_000}x: 1}}]",
    "escapes": 'a: "' + r"\u0041" * 20_000 + '"',
    "quotes": f"a: '{chr(39) * 120_000}'",
    "comments": "# x\n" * 30_000,
    "empty lines": "\n" * 120_000,
    "a long paragraph": "a: x\n" + " x\n" * 40_000,
    "a long block": "a: >\n" + " x\n" * 40_000,
    "JSON on one line": '{"a": [' + '{"b": 1},' * 13_000 + "]}",
}

QUICK = list(TEXTS)[::6]
"""Enough of them for a quick test."""


def read(name: str, registry: Registry) -> float:
    """CPU seconds that reading took, and writing down what is wrong."""
    text = TEXTS[name]
    text = text if text.startswith("{") else HEAD + text
    assert len(text.encode()) <= MAX_BYTES
    start = time.process_time()
    try:
        read_spec(text + "\n", registry=registry)
    except SpecError as error:
        assert len(str(error)) < 100_000
    return time.process_time() - start


def main() -> None:
    registry = Registry.discover()
    registry.installed()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = {name: read(name, registry) for name in TEXTS}
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"megabytes": (after - before) / 1024, "seconds": seconds}))


if __name__ == "__main__":
    main()
