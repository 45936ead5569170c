"""Reads the texts of ``--set``: ``train.epochs=3``, ``flow[0].use=glow/actnorm``, ``data={use: data/digits}``."""

from __future__ import annotations

import re
from typing import Any

from flowkit.errors import Path
from flowkit.spec.document import MAX_DEPTH, OVERRIDES, Document, Place, enter
from flowkit.spec.text import parse

PART = re.compile(r"\.?([\w-]+)|\[([0-9]{1,9})\]")
TARGET = re.compile(r"[\w-]+(\.[\w-]+|\[[0-9]{1,9}\])*")


def override(document: Document, text: str) -> None:
    """Set in ``document`` what ``text`` says, data and places. Raises SpecError, located in ``text``."""
    target, equals, _ = text.partition("=")
    if not equals or not TARGET.fullmatch(target):
        _place(text, 0).fail("must read path=value, for example train.epochs=3 or flow[0].use=glow/actnorm")
    branch = parse(text, OVERRIDES, start=len(target) + 1)
    if () not in branch.values:
        _place(text, len(target)).fail("has no value: write null for none")
    parts = list(PART.finditer(target))
    if len(parts) + max(map(len, branch.values)) > MAX_DEPTH:
        _place(text, 0).fail(f"would nest more than {MAX_DEPTH} levels deep")
    holder: Any = document.data
    path: Path = ()
    for match, below in zip(parts, [*parts[1:], None], strict=True):
        key = match[1] or int(match[2])
        place = _place(text, match.start(1) if match[1] else match.start())
        _check_holder(holder, key, path, place)
        path = (*path, key)
        if below is None:
            _set(document, holder, path, place, branch)
        elif below[1] and isinstance(key, str) and holder.get(key) is None:  # train.epochs=3 where there is no train
            _set(document, holder, path, place, Document({}, values={(): place}))
        holder = enter(holder, key)


def _set(document: Document, holder: Any, path: Path, place: Place, branch: Document) -> None:
    holder[path[-1]] = branch.data
    document.graft(path, branch)
    document.keys[path] = place


def _check_holder(holder: Any, key: str | int, path: Path, place: Place) -> None:
    if isinstance(key, str) and not isinstance(holder, dict):
        place.fail(f"is not a mapping: it has no {key}", path)
    if isinstance(key, int) and not isinstance(holder, list):
        place.fail(f"is not a list: it has no [{key}]", path)
    if isinstance(key, int) and key >= len(holder):
        place.fail(f"has {len(holder)} entries, counted from 0: there is no [{key}]", path)


def _place(text: str, column: int) -> Place:
    return Place(OVERRIDES, 1, column + 1, text)
