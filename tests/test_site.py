"""The documentation site: it builds, its links lead somewhere, and it loads nothing from a network."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
from filelock import FileLock

from tests.built_site import Page, is_outside, loaded_by, target
from tests.pages import ROOT
from tests.web.chromium import FOUND, Chromium

HOOKS = runpy.run_path(str(ROOT / "docs/hooks.py"))


@pytest.mark.parametrize(
    ("page", "link", "wanted"),
    [
        ("specs.md", "[Security](../SECURITY.md#limits)", "[Security](security.md#limits)"),
        ("api/flowkit.md", "[Security](../../SECURITY.md)", "[Security](../security.md)"),
        ("index.md", "[Specs](docs/specs.md#steps)", "[Specs](specs.md#steps)"),
        ("specs.md", "[Tables](tables.md)", "[Tables](tables.md)"),
        ("specs.md", "[the demo](../Makefile)", "the demo (`Makefile` in the repository)"),
        ("specs.md", "[Makefile](../Makefile)", "Makefile"),
        ("contributing.md", "[docs/hooks.py](docs/hooks.py)", "docs/hooks.py"),
        ("specs.md", "`checks[0](x)`", "`checks[0](x)`"),
        ("specs.md", "```python no-run\n1\n```", "```python\n1\n```"),
        ("specs.md", "[a paper](https://arxiv.org/abs/1807.03039)", "[a paper](https://arxiv.org/abs/1807.03039)"),
    ],
)
def test_links_between_files_become_links_between_pages(page: str, link: str, wanted: str) -> None:
    assert HOOKS["on_page_markdown"](link, page=SimpleNamespace(file=SimpleNamespace(src_uri=page))) == wanted


def test_formulas_become_mathml() -> None:
    html = HOOKS["on_page_content"]('<p><span class="arithmatex">\\(a &lt; b\\)</span></p>')
    assert html.startswith("<p><math>") and "&lt;" in html and "arithmatex" not in html


@dataclass(frozen=True)
class Site:
    directory: Path
    pages: dict[Path, Page]


@pytest.fixture(scope="module")
def site(common: Path) -> Site:
    """The site, built as `make site` builds it, once for all processes that run tests."""
    directory = common.resolve() / "site"
    with FileLock(f"{directory}.lock"):
        if not directory.exists():
            build(directory.with_name("unfinished-site")).rename(directory)
    return Site(directory, {file: Page(file) for file in directory.rglob("*.html") if file.name != "404.html"})


def build(directory: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(directory)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


@pytest.mark.slow
def test_links_lead_somewhere(site: Site) -> None:
    for file, page in site.pages.items():
        for address in [*page.links, *page.loads]:
            if not is_outside(address):
                there, name = target(file, address)
                assert there.is_file(), f"{file.name} links to {address}"
                assert not name or there not in site.pages or name in site.pages[there].names, f"{file.name}: {address}"


@pytest.mark.slow
def test_nothing_is_loaded_from_a_network(site: Site) -> None:
    styles = {file: loaded_by(file.read_text("utf-8")) for file in site.directory.rglob("*.css")}
    assert len(styles) >= 3
    for file, loads in [*((page.file, page.loads) for page in site.pages.values()), *styles.items()]:
        assert not [address for address in loads if is_outside(address)], file.name
    assert not [file for file in site.pages if 'class="mermaid"' in file.read_text("utf-8")]  # it would load a script


@pytest.mark.slow
def test_every_formula_is_mathml(site: Site) -> None:
    assert not [file.name for file in site.pages if 'class="arithmatex"' in file.read_text("utf-8")]


@pytest.mark.slow
def test_blocks_and_lists_are_rendered(site: Site) -> None:
    """A block or a list that the parser takes for text leaves its marks in a paragraph."""
    marks = re.compile(r"```|\n\s*- (?=[A-Za-z`<])")
    for file in site.pages:
        paragraphs = re.findall(r"<p>((?:(?!</p>).)*)</p>", file.read_text("utf-8"), re.DOTALL)
        assert not [text[:100] for text in paragraphs if marks.search(text)], file.name


@pytest.mark.slow
@pytest.mark.parametrize("package", ["bijectors", "plugin", "presets", "testing"])
def test_the_api_reference_has_every_public_name(site: Site, package: str) -> None:
    names = set().union(*(page.names for file, page in site.pages.items() if file.parent.name == "api"))
    full = f"flowkit.{package}"
    public = import_module(full).__all__  # a function may have the name of its module
    assert not [name for name in public if not {f"{full}.{name}", f"{full}.{name}.{name}"} & names]


@pytest.mark.slow
@pytest.mark.skipif(FOUND is None, reason="needs Chromium: apt-get install chromium")
def test_a_browser_finds_a_class_and_asks_only_the_server(site: Site, tmp_path: Path) -> None:
    handler = partial(QuietHandler, directory=site.directory)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, closing(Chromium(tmp_path)) as browser:
        Thread(target=server.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{server.server_port}/"
        browser.open(f"{root}index.html?q=FactorOut", ready="document.querySelector('.md-search-result__item')")
        found = browser.evaluate("[...document.querySelectorAll('.md-search-result__link')].map(link => link.href)")
        assert any(link.startswith(f"{root}api/bijectors.html") for link in found)
        browser.open(f"{root}explanation/change-of-variables.html", ready="document.fonts.check('16px STIX Two Math')")
        assert not [url for url in browser.requests() if not url.startswith(root)]
        server.shutdown()


@pytest.mark.slow
@pytest.mark.skipif(FOUND is None, reason="needs Chromium: apt-get install chromium")
def test_search_works_from_the_disk(site: Site, tmp_path: Path) -> None:
    root = f"{site.directory.as_uri()}/"
    with closing(Chromium(tmp_path)) as browser:
        browser.open(f"{root}index.html?q=FactorOut", ready="document.querySelector('.md-search-result__item')")
        found = browser.evaluate("[...document.querySelectorAll('.md-search-result__link')].map(link => link.href)")
        assert any(link.startswith(f"{root}api/bijectors.html") for link in found)
        assert not [url for url in browser.requests() if not url.startswith(root)]


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Log nothing."""
