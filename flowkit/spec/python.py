"""Writes Python's dicts as specs. Code is only parsed, never run, and only on the way to an error."""

from __future__ import annotations

import ast
import warnings
from typing import Any

from flowkit.plugin.spelling import line

MAX_CODE = 4000
"""The most characters of code that are parsed."""

FAILURES = (SyntaxError, ValueError, TypeError, RecursionError, MemoryError)
"""The errors of code that is wrong, too deep, or more than literals."""


def as_spec(code: str) -> str | None:
    """Return an expression, or several with commas between them, as a spec writes them.

    None stands for code that is more than literals and calls of dict, list and tuple.
    """
    try:
        body = _parsed(code)[0].value
        return ", ".join(line(_value(each)) for each in (body.elts if isinstance(body, ast.Tuple) else [body]))
    except FAILURES:
        return None


def spec_in(code: str) -> str | None:
    """Return the last dict with a key `flowkit` that Python code assigns or calls, as a spec writes it, or None."""
    try:
        values = [_value(each.value) for each in _parsed(code) if _is_made(each)]
    except FAILURES:
        return None
    specs = [value for value in values if isinstance(value, dict) and "flowkit" in value]
    return line(specs[-1]) if specs else None


def _is_made(statement: ast.stmt) -> bool:
    """Return True for an assignment or a call. A dict alone is YAML, too."""
    return isinstance(statement, ast.Assign) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    )


def _parsed(code: str) -> Any:
    """Return the statements of code."""
    if len(code) > MAX_CODE:
        raise ValueError("too long")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        return ast.parse(code).body


def _value(node: ast.expr) -> Any:
    """Return the value of literals and of calls of dict, list and tuple. Raises one of FAILURES for anything else."""
    match node:
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=entries) if all(entry.arg for entry in entries):
            return {entry.arg: _value(entry.value) for entry in entries}
        case ast.Call(func=ast.Name(id="list" | "tuple"), args=[ast.List() | ast.Tuple() as entries], keywords=[]):
            return _value(entries)
        case ast.Dict(keys=keys, values=values) if all(keys):
            return {_value(key): _value(value) for key, value in zip(keys, values, strict=True) if key}
        case ast.List(elts=entries) | ast.Tuple(elts=entries):
            return [_value(entry) for entry in entries]
    value = ast.literal_eval(node)
    if not isinstance(value, str | int | float | None):
        raise ValueError(f"a spec doesn't write {value!r}")
    return value
