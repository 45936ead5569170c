"""The docstrings' examples run as written, and the lint of docstrings tells sentences from fragments."""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from flowkit.plugin import Policy, Registry
from tests.docstrings import ROOT, is_fragment, lacking

OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def modules() -> Iterator[str]:
    """Yield the modules with examples."""
    for top in ("flowkit", "plugins", "runtime"):
        for path in sorted((ROOT / top).rglob("*.py")):
            if ">>> " in path.read_text("utf-8") and "template" not in path.parts:
                yield name_of(path.relative_to(ROOT))


def name_of(path: Path) -> str:
    """Return the name of the module in a file: plugins/ and runtime/ are on Python's path."""
    parts = path.with_suffix("").parts
    return ".".join(part for part in parts if part not in ("plugins", "runtime", "__init__"))


@pytest.mark.parametrize("name", list(modules()))
def test_examples_run_as_written(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = doctest.DocTestFinder(exclude_empty=True).find(import_module(name))
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    for example in examples:
        example.globs = {}  # an example imports all that it uses
        runner.run(example)
    assert runner.tries and not runner.failures


def test_the_api_has_the_classes_of_all_plugins():
    found, _ = Registry.discover(Policy(no_plugins=True)).load_all()
    listed = re.findall(r"^::: (\S+)$", (ROOT / "docs/api/layers.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(each.descriptor.place.replace(":", ".") for each in found)


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("Return the sum, [batch].", False, False),
        ("Defines the planar flow.", False, False),
        ("inverse(forward(x)) is x.", False, False),
        ("The event shape of y.", True, False),
        ("The event shape of y.", False, True),
        ("Of the inputs, of those of the outputs.", False, True),
        ("Whether the value is missing.", True, True),
        ("What a dataset gives.", False, True),
        ("The file that has the rows.", False, True),
    ],
)
def test_fragments_are_told_from_sentences(text, names, expected):
    assert is_fragment(text, names) is expected


class Documented:
    """A class with a section for its argument.

    Args:
        size: The size.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def double(self, times: int) -> int:
        """Double the size."""
        if times < 0:
            raise ValueError(times)
        return self.size * 2**times

    def halve(self, times: int) -> int:
        """Return the half of the size.

        Args:
            times: How often it is halved.
        """
        return self.size // 2**times


def test_public_methods_have_sections():
    assert list(lacking(Documented)) == ["Args of double", "Returns of double", "Raises of double"]
    assert list(lacking(type("Bare", (), {"__doc__": None}))) == ["a docstring"]
