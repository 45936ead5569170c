"""Writes docs/gallery.md and the pictures of its flows: `make docs`.

`python docs/gallery.py SPEC …` trains specs first, in a temporary directory, for their samples and figures.
"""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from ruamel.yaml import YAML

from flowkit.spec import Spec, read_spec, views

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/gallery.md"
PICTURES = ROOT / "docs/gallery"
FIGURES = PICTURES / "figures.json"
"""By the name of a spec: the number of parameters, the score on the test part, and a hash of the spec's content."""

HEAD = """\
# Gallery

All specs of the repository's folder `specs`, with their flows, the samples of a training run, and its score on the test
part of the data. Lower scores are better. A score in nats is the mean of `-log p(x)`, which may be negative for
continuous data. Scores in bits/dim are those of integer data. The scores of different data sets can't be compared.

`flowkit train specs/NAME.yaml` trains one of them, on a CPU or a GPU. In each picture, held-out data are on the left
and samples on the right. This page is generated: `make docs`.
"""


def page() -> str:
    """The whole page, as Markdown."""
    specs = {path.stem: path for path in sorted((ROOT / "specs").glob("*.yaml"))}
    figures = json.loads(FIGURES.read_text("utf-8"))
    groups: dict[str, list[str]] = {"Points in the plane": [], "Tables and inference": [], "Images": []}
    for name, path in specs.items():
        groups[group(read_spec(path))].append(name)
    parts = [HEAD, overview([name for names in groups.values() for name in names], figures)]
    for title, names in groups.items():
        parts += [f"## {title}", *(entry(specs[name], name in figures) for name in names)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def group(spec: Spec) -> str:
    if len(spec.event.shape) == 3:
        return "Images"
    return "Points in the plane" if spec.data and spec.data.plugin.name == "data/toy" else "Tables and inference"


def overview(names: list[str], figures: dict[str, dict[str, str]]) -> str:
    lines = ["| spec | event | parameters | test score |", "| --- | --- | --- | --- |"]
    for name in names:
        event = list(read_spec(ROOT / f"specs/{name}.yaml").event.shape)
        run = figures.get(name, {"parameters": "", "test": "not trained here"})
        lines.append(f"| [{name}](#{name}) | `{event}` | {run['parameters']} | {run['test']} |")
    return "\n".join(lines)


def entry(path: Path, trained: bool) -> str:
    name, text = path.stem, path.read_text("utf-8")
    parts = [
        f"### {name}",
        about(text),
        samples(name) if trained else "This spec was not trained for this page.",
        folded("The spec", f"```yaml\n{text}```"),
        folded("The flow", f"![The flow of {name}](gallery/{name}.svg)"),
    ]
    return "\n\n".join(parts)


def folded(title: str, content: str) -> str:
    """Markdown that a click shows, on the site and on GitHub."""
    return f'<details markdown="1"><summary>{title}</summary>\n\n{content}\n\n</details>'


def about(text: str) -> str:
    """The comment at the top of a spec, without its commands."""
    lines = text.split("flowkit: 1")[0].splitlines()
    return "\n".join(line.removeprefix("# ") for line in lines if not line.startswith("#   "))


def samples(name: str) -> str:
    if not (PICTURES / f"{name}.png").exists():
        return "The flow has one direction, from data to latent, so it draws no samples."
    return f"![Data and samples of {name}](gallery/{name}.png)"


def run(name: str) -> None:
    """Train a spec; keep its figures and a small picture of its samples."""
    from flowkit.train import train  # imports torch, which the page doesn't need

    with TemporaryDirectory() as directory:
        results = train(read_spec(ROOT / f"specs/{name}.yaml"), Path(directory) / name)
        drawn = Path(directory) / name / "samples.png"
        if drawn.exists():
            small(Image.open(drawn)).save(PICTURES / f"{name}.png", optimize=True)
    figures = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    test = f"{results.test:.2f} {results.printed_unit}"
    figures[name] = {"content": content(name), "parameters": f"{results.parameters:,}", "test": test}
    FIGURES.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n", "utf-8")


def content(name: str) -> str:
    """A short hash of what a spec says, comments left out. A change of it makes the figures those of another spec."""
    plain = YAML(typ="safe").load(ROOT / f"specs/{name}.yaml")
    return sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


def small(picture: Image.Image) -> Image.Image:
    """In 32 colours."""
    return picture.convert("RGB").quantize(32, dither=Image.Dither.NONE)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        run(name)
    for path in (ROOT / "specs").glob("*.yaml"):
        (PICTURES / f"{path.stem}.svg").write_text(views.svg(read_spec(path)), "utf-8")
    PAGE.write_text(page(), "utf-8")
