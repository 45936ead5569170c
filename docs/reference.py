"""Writes docs/reference.md from the configs of the spec language and of flowkit's own plugins: `make docs`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from textwrap import dedent

from flowkit.plugin import Found, Policy, Registry
from flowkit.plugin.config import Documented
from flowkit.plugin.description import FieldRow, example_config, field_rows, mappings_in, target_doc
from flowkit.plugin.kinds import KINDS
from flowkit.plugin.shape_rules import shape_rule
from flowkit.spec import Spec, model, to_yaml
from flowkit.spec.example import example_spec

PAGE = Path(__file__).with_name("reference.md")

HEAD = """\
# Reference

Every field of a spec, and every plugin that flowkit brings. [Specs](specs.md) says how they go together; `flowkit
plugins show NAME` prints the same of any plugin that is installed. This page is generated: `make docs`.
"""


def page(registry: Registry) -> str:
    """The whole page, as Markdown."""
    found, _ = registry.load_all()
    kinds = [
        (f"## {kind.plural.replace('-', ' ').capitalize()}", [each for each in found if each.kind == kind.name])
        for kind in KINDS.values()
    ]
    parts = [HEAD, "## Sections", *map(section, sections())]
    for title, plugins in kinds:
        parts += [title, *(plugin(each, registry) for each in plugins)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def sections() -> list[type[Documented]]:
    """The mappings that the language itself has: Spec, then the others in the order of their definition."""
    own = [each for each in vars(model).values() if inspect.isclass(each) and each.__module__ == model.__name__]
    return [Spec, *(each for each in own if issubclass(each, Documented) and each is not Spec)]


def key(config: type[Documented]) -> str:
    """Return the key of a spec whose mapping this is, such as factor_out."""
    words = re.findall("[A-Z][a-z]*", config.__name__.removesuffix("Spec"))
    return {Spec: "spec", model.UseDirection: "use"}.get(config) or "_".join(words).lower()


def section(config: type[Documented]) -> str:
    return f"### {key(config)}\n\n{inspect.getdoc(config)}\n\n{table(field_rows(config))}"


def plugin(found: Found, registry: Registry) -> str:
    descriptor = found.descriptor
    config, example = example_config(found, registry), example_spec(found, registry)
    shapes = shape_rule(config) if config else []
    rows = field_rows(descriptor.config)
    blocks = [
        f"### {found.name}",
        inspect.getdoc(descriptor.config) or "",
        "" if descriptor.directions == "both" else f"Directions: {descriptor.directions}.",
        table(rows) if rows else "No fields.",
        *map(mapping, mappings_in(descriptor.config)),
        "\n".join(["Takes:", "", *(f"- {shapes_as_code(line)}" for line in shapes)]) if shapes else "",
        f"`{descriptor.target}`:\n\n{quoted(described(target_doc(descriptor.target)))}",
        f"```yaml\n{to_yaml(example)}```" if example else "",
    ]
    return "\n\n".join(block.strip() for block in blocks if block)


def mapping(config: type[Documented]) -> str:
    return f"{config.__name__}: {inspect.getdoc(config)}\n\n{table(field_rows(config))}"


def table(rows: Iterable[FieldRow]) -> str:
    lines = ["| field | type | default | |", "| --- | --- | --- | --- |"]
    for row in rows:
        cells = (f"`{row.name}`", linked(row.type), row.default, row.meaning)
        lines.append(f"| {' | '.join(map(escaped, cells))} |")
    return "\n".join(lines)


def linked(kind: str) -> str:
    """A field's type, the sections that it names as links."""
    keys = {each.__name__: key(each) for each in sections()}
    return re.sub(rf"\b({'|'.join(keys)})\b", lambda found: f"[{keys[found[0]]}](#{keys[found[0]]})", kind)


def shapes_as_code(line: str) -> str:
    """Without the backquotes, `[2]: refused` could be read as the definition of a link."""
    return re.sub(r"(\[\d[\d, ]*\])", r"`\1`", line)


def described(doc: str) -> str:
    """Return a layer's docstring without its arguments, which the table of fields has, and without its examples.

    The sources become text of the page, which is otherwise code, because it is indented.
    """
    doc = re.sub(r"\n*^(Args|Raises|Examples):\n(?:(?: {4}.*)?(?:\n|\Z))*", "\n\n", doc, flags=re.MULTILINE).strip()
    return re.sub(r"(?<=^References:\n)(?: {4}.*\n?)+", lambda found: f"\n{dedent(found[0])}", doc, flags=re.MULTILINE)


def quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.replace("``", "`").splitlines())


def escaped(text: str) -> str:
    return re.sub(r"([|*])", r"\\\1", text)


if __name__ == "__main__":
    PAGE.write_text(page(Registry.discover(Policy(no_plugins=True))), "utf-8")
