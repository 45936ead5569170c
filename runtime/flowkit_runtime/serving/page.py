"""Writes the page `/docs`, which lists the addresses of a server. It has no script, and loads nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from flowkit_runtime.serving.bodies import JSON

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>body {{ font-family: sans-serif; margin: 2em auto; max-width: 50em }} td {{ padding-right: 1em }}</style>
<h1>{title}</h1>
<p><a href="openapi.json">openapi.json</a> describes these addresses for programs.</p>
{operations}
"""


def docs_page(openapi: Mapping[str, Any]) -> str:
    """Return the operations of an OpenAPI description as HTML: their addresses, what they do, and what they take."""
    lines = (
        line
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
        for line in _operation(method.upper(), path, operation)
    )
    return PAGE.format(title=escape(openapi["info"]["title"]), operations="\n".join(lines))


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2><code>{method} {escape(path)}</code></h2>"
    yield f"<p>{escape(operation['summary'])}</p>"
    forms = operation.get("requestBody", {}).get("content", {})
    if forms:
        yield f"<p>A body is <code>{'</code>, <code>'.join(map(escape, forms))}</code>.</p>"
    fields = {each["name"]: each for each in operation.get("parameters", ())}
    fields |= forms.get(JSON, {}).get("schema", {}).get("properties", {})
    if fields:
        yield "<table>"
        for name, field in fields.items():
            yield f"<tr><td><code>{escape(name)}</code><td>{escape(field.get('description', ''))}"
        yield "</table>"
