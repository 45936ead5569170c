"""The zoo: how a wrong plugin is put into it, and the table of all of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flowkit
from flowkit.plugin import Descriptor, Found, PluginConfig
from flowkit.plugin.found import IN_PROCESS
from flowkit.spec import Spec, read_spec
from flowkit.testing import (
    BaseSubject,
    BijectorSubject,
    ConditionerSubject,
    DatasetSubject,
    EncoderSubject,
    MaskedConditionerSubject,
    OrderSubject,
    PluginSubject,
    SplitSubject,
    Subject,
    TransformerSubject,
)
from flowkit_autoregressive.orders import Random

IMAGE = (4, 3, 2)
PLAUSIBLE = "easily written"


@dataclass(frozen=True)
class Wrong:
    """One bug: what the kit is run on, the check that must fail, what its message says, where the bug was seen."""

    subject: Subject
    check: str
    says: str
    bug: str
    seen: str


ZOO: dict[str, Wrong] = {}

SUBJECTS: dict[str, Callable[..., Subject]] = {
    "bijector": lambda cls, event=IMAGE, context=None, **domains: BijectorSubject(
        lambda: cls(event), context, **domains
    ),
    "transformer": lambda cls, event=(2, 3, 2), **domain: TransformerSubject(cls, event, **domain),
    "split": lambda cls, event=(4, 2, 2), shapes=None: SplitSubject(lambda: cls(event), shapes),
    "conditioner": lambda cls, context=None: ConditionerSubject(
        lambda: cls((3,), (2, 2), context, hidden=6), (3,), (2, 2), context
    ),
    "masked-conditioner": lambda cls, context=None, event=(4,), **fields: MaskedConditionerSubject(
        lambda: cls(Random(event), (2, *event), context, **{"hidden": 8, **fields}), Random(event), (2, *event), context
    ),
    "order": lambda cls, event=(4,): OrderSubject(lambda: cls(event)),
    "base": lambda cls, event=(2,), **more: BaseSubject(lambda: cls(event), **more),
    "encoder": lambda cls, context=(4, 2): EncoderSubject(lambda: cls(context, features=3, hidden=6), context, (3,)),
    "dataset": lambda cls: DatasetSubject(cls),
    "plugin": lambda cls, config, module=None: _plugin(cls, config, module),
}


def _plugin(cls: type, config: type[PluginConfig], module: str | None) -> PluginSubject:
    """A plugin of this class, which ``make`` registers in this process."""
    name = cls.__name__.lower()

    def make() -> Spec:
        flowkit.register(f"zoo/{name}", config, cls)
        return read_spec({"flowkit": 1, "event": {"shape": [4, 2, 2]}, "flow": [{"use": f"zoo/{name}"}]})

    found = Found(f"zoo/{name}", "bijector", Descriptor(name, config, cls), IN_PROCESS, module)
    return PluginSubject(make, found, BijectorSubject(lambda: cls((4, 2, 2))))


def wrong(kind: str, check: str, says: str = "", seen: str = PLAUSIBLE, **options: Any) -> Callable[[type], type]:
    """Put a class into the zoo; its docstring says what the bug is."""

    def register(cls: type) -> type:
        bug = " ".join((inspect.getdoc(cls) or "").split())
        ZOO[cls.__name__] = Wrong(SUBJECTS[kind](cls, **options), check, says, bug, seen)
        return cls

    return register


HEAD = """\
# The zoo

Wrong plugins, each with a bug that was shipped somewhere or is easily written. The conformance kit catches every one,
by the check that should; `tests/zoo/test_zoo.py` holds it to that, and this table to the code.
"""


def table() -> str:
    """All of them in markdown, by kind and name."""
    lines = [HEAD]
    for kind in SUBJECTS:
        rows = sorted((name, case) for name, case in ZOO.items() if case.subject.kind == kind)
        lines += [
            f"## {kind.replace('-', ' ').capitalize()}s\n",
            "| name | the bug | seen | caught by |",
            "| --- | --- | --- | --- |",
        ]
        lines += [f"| {name} | {case.bug} | {_links(case.seen)} | `{case.check}` |" for name, case in rows]
        lines.append("")
    return "\n".join(lines)


def _links(seen: str) -> str:
    """``owner/name#12`` as a link."""
    if "#" not in seen:
        return seen
    return ", ".join(f"[{place}](https://github.com/{place.replace('#', '/issues/')})" for place in seen.split(", "))
