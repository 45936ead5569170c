"""Hooks of the site's build: pages from the repository's root, links that leave docs/, and formulas as MathML."""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path

from math_core import LatexToMathML
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
ROOT_PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")
NOT_RUN = re.compile(r"^(```\w+) no-run$", re.MULTILINE)
"""The head of a block that no test runs. The site's parser doesn't know the mark."""
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie beside docs/."""
    for name, page in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn links between the repository's files into links between the site's pages."""
    source = {site: name for name, site in ROOT_PAGES.items()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def linked(found: re.Match[str]) -> str:
        text, heading = found[1], found[3] or ""
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[2]))
        there = ROOT_PAGES.get(target) or target.removeprefix("docs/")
        if not (ROOT / target).exists():  # it may be code; if it is a link, the build refuses it
            return found[0]
        if there == target or there.endswith(".py"):  # a file that the site doesn't have
            return text if target in text else f"{text} (`{target}` in the repository)"
        return f"[{text}]({posixpath.relpath(there, posixpath.dirname(page.file.src_uri) or '.')}{heading})"

    return NOT_RUN.sub(r"\1", LINK.sub(linked, markdown))


def on_page_content(content: str, **_: object) -> str:
    """Replace each formula in TeX by MathML, which browsers draw without a script. TeX that isn't known is an error."""
    convert = LatexToMathML().convert_with_local_state
    return FORMULA.sub(lambda found: convert(html.unescape(found[3]), displaystyle=found[2] == "["), content)
