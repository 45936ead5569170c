"""docs/explanation/: the code of each page runs as written, and prints what the page shows."""

import pytest
import torch

from tests.pages import ROOT, blocks

pytestmark = pytest.mark.slow
PAGES = sorted(page.relative_to(ROOT).as_posix() for page in (ROOT / "docs/explanation").glob("*.md"))


@pytest.mark.parametrize("page", PAGES)
def test_the_code_prints_what_is_shown(page, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    with torch.random.fork_rng():
        for kind, text in blocks(page):
            if kind == "python":
                exec(compile(text, page, "exec"), names)
            else:
                assert capsys.readouterr().out == text
