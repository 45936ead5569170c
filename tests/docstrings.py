"""Checks docstrings: `make check` runs it, beside ruff's rules for their form.

The first sentence of a docstring must be one: it has a verb, and none of the openings that begin a fragment. Classes,
properties and constants may be named instead ("The event shape of y."), as in Google's style. What flowkit exports, and
the classes of its own plugins, must have the sections Args, Returns and Raises where they apply. ruff (D417) compares
Args with the signature.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from flowkit.plugin import Policy, Registry

ROOT = Path(__file__).parents[1]
PACKAGES = ("flowkit", "flowkit_nf", "plugins", "runtime")
PUBLIC = (
    "flowkit",
    "flowkit.bijectors",
    "flowkit.export",
    "flowkit.flow",
    "flowkit.plugin",
    "flowkit.plugin.rows",
    "flowkit.presets",
    "flowkit.spec",
    "flowkit.testing",
    "flowkit.train",
    "flowkit_runtime",
)
"""The modules whose ``__all__`` is the public API."""

MOST_FRAGMENTS = 0.03
"""The share of docstrings that may look like fragments. No list of words knows every verb."""


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\S+", text))


FRAGMENTS = _words(
    """about and as at behind below beside between but by for from how in of on or that those to under what when whether
    where which who whom whose why with without"""
)
"""The words with which a fragment begins: "Of the inputs, …"."""

IMPERATIVES = _words(
    """add answer apply ask begin bind bring broadcast build call change check choose clamp close collect combine
    compare compile complete compose compute concatenate connect continue convert copy count create cut decide decode
    decorate define derive describe divide do download draw drop encode end enter exchange export fill find fit follow
    forget freeze generate give guess hand hide hold implement import initialize interpolate interrupt join keep leave
    let limit list load locate lock log look make map mark measure merge mix move multiply name note offer open outline
    pack paint parse pickle place plan pop prefix prepare present print provide put raise read recognize record refuse
    register remove rename repeat replace report require reset restore return reverse round run save say scale score
    search seed send serve set shorten show shuffle silence sort split start stop store subtract suggest sum summarize
    take test trace train transform translate try turn unload update validate verify visit wait walk warn watch wrap
    write yield"""
)
"""The verbs with which docstrings begin, in the form that functions have. Those of modules end with s."""

INDICATIVES = _words(
    """are becomes belong belongs builds can changes computes contains cost costs depend depends differ differs do does
    doesn't don't fails follow follows give gives goes had has have hold holds integrates is isn't leaves lose loses map
    maps may must mustn't need needs passes puts reads refuses remain remains returns runs says share shares stand
    stands stays stores take takes trains was were will won't writes yields"""
)
"""Verbs inside of sentences: "inverse(forward(x)) is x"."""

DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Assign | ast.AnnAssign

CLAUSE = re.compile(r"\b(that|which|who|whose|where|when|if|unless|as|than)\b[^,:;=]*")
"""A clause whose verb doesn't make a sentence: "The file that has the rows"."""


class Docstring(NamedTuple):
    """A docstring, and where it is."""

    place: str
    text: str
    names: bool
    """True if it may name a thing, as the docstrings of classes, properties and constants do."""


def docstrings() -> Iterator[Docstring]:
    """Yield the docstrings of all packages, and those below constants and fields."""
    paths = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    for path in (path for path in paths if "template" not in path.parts):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            body = getattr(node, "body", None)
            if not isinstance(body, list):
                continue
            for before, below in pairwise([node, *body]):
                if isinstance(before, DOCUMENTED) and (text := _text_of(below)) is not None:
                    yield Docstring(f"{path.relative_to(ROOT)}:{below.lineno}", text, _names_a_thing(before))


def _text_of(node: ast.stmt) -> str | None:
    value = node.value if isinstance(node, ast.Expr) else None
    return inspect.cleandoc(value.value) if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


def _names_a_thing(node: ast.AST) -> bool:
    decorators = getattr(node, "decorator_list", ())
    named = isinstance(node, ast.ClassDef | ast.Assign | ast.AnnAssign)
    return named or any("property" in ast.unparse(each) for each in decorators)


def is_fragment(text: str, names: bool) -> bool:
    """Return True if the first sentence of a docstring has no verb, or begins as a fragment does."""
    sentence = re.split(r"[.:;](?:\s|$)", " ".join(text.partition("\n\n")[0].split()))[0].lower()
    words = re.findall(r"[\w'’]+", CLAUSE.sub("", sentence))
    if sentence.split()[0].strip(",") in FRAGMENTS:
        return True
    return not (names or "=" in sentence or (words and words[0] in OPENINGS) or INDICATIVES & {*words})


def _in_third_person(verb: str) -> str:
    if verb.endswith(("sh", "ss", "ch", "x", "o")):
        return f"{verb}es"
    return re.sub(r"(?<![aeiou])y$", "ie", verb) + "s"


OPENINGS = IMPERATIVES | {_in_third_person(verb) for verb in IMPERATIVES}


def public() -> dict[str, Any]:
    """Return the classes and functions that flowkit exports, and those that its own plugins name, by full name."""
    found = [getattr(module, name) for module in map(import_module, PUBLIC) for name in module.__all__]
    for plugin in Registry.discover(Policy(no_plugins=True)).load_all()[0]:
        module, _, name = str(plugin.descriptor.target).partition(":")
        found.append(getattr(import_module(module), name))
    own = [each for each in found if inspect.isclass(each) or inspect.isfunction(each)]
    return {f"{each.__module__}.{each.__qualname__}": each for each in own if each.__module__.startswith("flowkit")}


def lacking(thing: Any) -> Iterator[str]:
    """Yield what the docstring of a public class or function lacks, and those of the methods that a class defines."""
    if inspect.isfunction(thing):
        yield from _lacks(thing)
        return
    if not thing.__doc__:
        yield "a docstring"
    elif _has_arguments(thing) and not re.search(r"^(Args|Attributes):$", inspect.getdoc(thing) or "", re.MULTILINE):
        yield "Args or Attributes"
    for name, member in list(vars(thing).items()):
        method = getattr(member, "__func__", member)
        inherits = not method.__doc__ and any(hasattr(base, name) for base in thing.__bases__)
        if inspect.isfunction(method) and not name.startswith("_") and not inherits:
            yield from (f"{each} of {name}" for each in _lacks(method))


def _has_arguments(thing: Any) -> bool:
    """Return True if a class adds arguments to those of its base.

    Errors, configs and protocols don't count: their fields are described one by one.
    """
    if issubclass(thing, BaseException | BaseModel) or getattr(thing, "_is_protocol", False):
        return False
    if is_dataclass(thing):
        return any("ClassVar" not in str(hint) for hint in inspect.get_annotations(thing).values())
    return "__init__" in vars(thing) and bool(_parameters(thing.__init__))


def _parameters(function: Callable[..., Any]) -> set[str]:
    return {*inspect.signature(function).parameters} - {"self", "cls"}


def _lacks(function: Callable[..., Any]) -> Iterator[str]:
    doc, gives = inspect.getdoc(function) or "", inspect.get_annotations(function).get("return")
    sections = set(re.findall(r"^(\w+):$", doc, re.MULTILINE))
    if not doc:
        yield "a docstring"
    elif _parameters(function) and "Args" not in sections:
        yield "Args"
    if gives not in (None, "None") and not re.match(r"(Return|Yield)\b", doc) and "Returns" not in sections:
        yield "Returns"
    body = ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function))))
    if any(isinstance(node, ast.Raise) and node.exc for node in body) and "Raises" not in sections:
        yield "Raises"


def main() -> int:
    """Print what is wrong, and return the exit code."""
    every = list(docstrings())
    fragments = [each for each in every if is_fragment(each.text, each.names)]
    missing = [f"{name} lacks {each}" for name, thing in public().items() for each in lacking(thing)]
    share = len(fragments) / len(every)
    if share > MOST_FRAGMENTS:
        missing += [f"{each.place}: not a sentence: {each.text.splitlines()[0]}" for each in fragments]
    print(*missing, f"{share:.1%} of {len(every)} docstrings look like fragments", sep="\n")
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main())
