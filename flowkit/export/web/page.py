"""Writes one HTML file that runs the graphs of a bundle in a browser, and asks the network for nothing.

The page holds everything: its own script and style as text, and onnxruntime-web, the graphs and some held-out events
as gzip in base64. Its Content-Security-Policy names the digests of its scripts and allows no connection whatever.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import math
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.errors import ExportError, InputError
from flowkit.export.web import vendored
from flowkit_runtime.atomic import replacing
from flowkit_runtime.bundle import BASE, DECODER, DEQUANTIZER, ENCODER, GRAPHS, REFERENCE
from flowkit_runtime.columns import parsed

PAGE = "index.html"
_SAID = ("flowkit", "model", "event", "context", "latents", "directions", "noise", "dequantization", "likelihood")
"""The entries of the manifest that the page takes as they are."""
SOURCES = Path(__file__).parent / "page"
SCRIPTS = (
    "dom.js",
    "noise.js",
    "model.js",
    "table.js",
    "unpack.js",
    "images.js",
    "plots.js",
    "form.js",
    "context.js",
    "event.js",
    "samples.js",
    "between.js",
    "own.js",
    "example.js",
    "app.js",
)
"""The modules, in an order in which each follows those that it uses."""
MAX_BYTES = 2**28
"""The most bytes of graphs and weights: browsers hold no text of more than 512 MB, and base64 adds a third."""


def check_page(precision: str, with_events: bool, title: str) -> None:
    """Raise InputError if no page can be made.

    It can't be made of a bundle in bfloat16, without held-out events, or with a title that is no text, as a directory's
    name may be.
    """
    if precision == "bfloat16":
        raise InputError("onnxruntime-web has no operators for bfloat16: export the page in float32 or float16")
    if not with_events:
        raise InputError("the page shows held-out events: pass x")
    if not title.isprintable():
        raise InputError(f"the page's title, {title!r}, can't be printed: give the run's directory another name")


def write_page(directory: Path, manifest: dict[str, Any], title: str) -> None:
    """Write index.html beside the graphs and reference.npz of the bundle in ``directory``.

    Raises ExportError if it would be too large for a browser.
    """
    blocks = {ENCODER: "encoder", DECODER: "decoder", BASE: "base", DEQUANTIZER: "dequantizer"}
    further = {BASE: manifest["noise"], DEQUANTIZER: manifest["dequantization"]}
    graphs = [*GRAPHS[manifest["directions"]], *(file for file, noise in further.items() if noise)]
    names = {blocks[file]: file for file in graphs}
    if weights := manifest.get("weights_file"):
        names["weights"] = weights
    files = {block: (directory / name).read_bytes() for block, name in names.items()}
    if (size := sum(map(len, files.values()))) > MAX_BYTES:
        raise ExportError(
            f"graphs and weights are {size:,} bytes, and a page holds at most {MAX_BYTES:,}: see --shared-weights"
        )
    with np.load(directory / REFERENCE) as arrays:
        held_out = arrays["group"] == 0  # the others are unlike the data
        reference = {name: arrays[name][held_out] for name in ("x", "log_prob", "log_q", "context") if name in arrays}
    with replacing(directory / PAGE) as temporary:
        temporary.write_text(
            _page(_about(manifest, reference, title), reference["x"], files), encoding="utf-8", newline="\n"
        )


def _page(about: dict[str, Any], examples: np.ndarray, files: dict[str, bytes]) -> str:
    runtime, app = _runtime(), _app()
    style = (SOURCES / "style.css").read_text("utf-8")
    blocks = {
        **files,
        "wasm": vendored.read(vendored.BINARY),
        "examples": examples.astype("<f4").tobytes(),
        "notices": vendored.notices(),
    }
    return _filled(
        (SOURCES / PAGE).read_text("utf-8"),
        title=html.escape(about["title"]),
        policy=_policy([runtime, app], style),
        style=style,
        about=json.dumps(about).replace("<", "\\u003c"),  # no value can end the script that it stands in
        blocks="\n".join(map(_block, blocks, blocks.values())),
        runtime=runtime,
        app=app,
    )


def _about(manifest: dict[str, Any], reference: dict[str, np.ndarray], title: str) -> dict[str, Any]:
    """Return what the page says of its model, as JSON. Scores of held-out events are in the units of `Model.score`."""
    event, x, table = manifest["event"], reference["x"], manifest.get("preprocessing")
    contexts = reference.get("context")
    unit = math.prod(event["shape"]) * math.log(2.0) if event["levels"] else 1.0
    return {
        "title": title,
        **{name: manifest[name] for name in _SAID},
        "threshold": manifest.get("threshold"),
        "weights_file": manifest.get("weights_file"),
        "range": [float(x.min()), float(x.max())],
        "scores": _digits((reference.get("log_q", 0.0) - reference["log_prob"]) / unit),
        "contexts": None if contexts is None else _digits(contexts.reshape(len(x), -1), 9 if table else 7),
        "preprocessing": asdict(parsed(table, tuple((manifest["context"] or {}).get("names", ())))) if table else None,
    }


def _digits(array: np.ndarray, digits: int = 7) -> list[Any]:
    """Return numbers as JSON. Seven digits are about what fp32 holds, and nine tell all of its numbers apart."""
    return [[float(f"{v:.{digits}g}") for v in row] if row.ndim else float(f"{row:.{digits}g}") for row in array]


def _filled(template: str, **values: str) -> str:
    """Return the template with each {{name}} replaced; values are not looked into."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], template)


def _runtime() -> str:
    """Return onnxruntime-web as a script that leaves `ort` behind, as other inline scripts can't import from it."""
    script = vendored.read(vendored.SCRIPT).decode("utf-8")
    script, exports = re.subn(r"export\{([^{}]*\bas default\b[^{}]*)\};.*\Z", _as_global, script, flags=re.DOTALL)
    assert exports == 1 and "</script" not in script
    # It would look beside itself for more of it, which the page holds; Firefox stumbles over the URL of a file.
    return script.replace("import.meta.url", '"blob:page"')


def _as_global(found: re.Match[str]) -> str:
    pairs = (name.split(" as ") for name in found[1].split(","))
    return f"globalThis.ort={{{','.join(f'{theirs}:{mine}' for mine, theirs in pairs)}}};\n"


def _app() -> str:
    """Return our modules as one script, without the lines that import them from each other and without `export`."""
    modules = [(SOURCES / name).read_text("utf-8") for name in SCRIPTS]
    joined = re.sub(r"^(import [^;]*;\n+|export (default )?)", "", "\n".join(modules), flags=re.MULTILINE)
    assert "</script" not in joined
    return joined


def _policy(scripts: list[str], style: str) -> str:
    """Return a policy under which only these scripts and this style run, and nothing is fetched, sent or framed."""
    hashes = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {hashes} 'wasm-unsafe-eval'; style-src {_hash(style)}; img-src data:; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


def _block(name: str, data: bytes) -> str:
    packed = base64.b64encode(gzip.compress(data, compresslevel=5, mtime=0)).decode("ascii")
    return f'<script type="application/gzip;base64" id="block-{name}">{packed}</script>'
