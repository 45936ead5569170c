"""Reads the pages of a built site: what they load, where they link to, and which places in them have names."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

LOADING = {"src", "srcset", "data", "poster"}
"""Attributes whose address a browser loads at once."""
LOADED_BY_CSS = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")


@dataclass
class Page(HTMLParser):
    """The addresses in the HTML of one page."""

    file: Path
    loads: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if (value or "").startswith("data:"):  # the page itself has what is loaded
                continue
            if name == "id" or (tag == "a" and name == "name"):
                self.names.add(value or "")
            elif name in LOADING or (tag == "link" and name == "href"):
                self.loads.append(value or "")
            elif tag == "a" and name == "href":
                self.links.append(value or "")
            elif name == "style":
                self.loads += loaded_by(value or "")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "style":
            self.loads += loaded_by(data)


def loaded_by(css: str) -> list[str]:
    return [first or second for first, second in LOADED_BY_CSS.findall(css)]


def is_outside(address: str) -> bool:
    """Whether the address names a host, as `https://…` and `//…` do."""
    return bool(re.match(r"(?!data:)[a-z][a-z+.-]*:|//", address, re.IGNORECASE))


def target(page: Path, address: str) -> tuple[Path, str]:
    """The file and the name in it to which a page's address leads."""
    path, _, name = unquote(address).partition("#")
    return (page.parent / path.partition("?")[0]).resolve() if path else page, name
