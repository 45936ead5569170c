"""docs/notebooks.py executes pages, and shows what they print and draw."""

import runpy

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from tests.pages import ROOT

NOTEBOOKS = runpy.run_path(str(ROOT / "docs/notebooks.py"))

PAGE = """\
# A page

```yaml
# some.yaml
flowkit: 1
```

```bash
cat some.yaml
echo "$0 in $(which flowkit)" | tr -d '\\n'
```

```python
import matplotlib.pyplot as plt

plt.plot([1, 2])
plt.show()
{"a": 1}
```

    not a cell

[Another
page](../other.md#part) has a [paper](https://arxiv.org/abs/1505.05770) and a ![picture](x.png).
"""


@pytest.mark.slow
def test_a_page_becomes_one_with_output_and_a_notebook(tmp_path):
    (tmp_path / "page.md").write_text(PAGE, "utf-8")
    made = NOTEBOOKS["made_of"](tmp_path / "page.md")
    assert set(made) == {"page.md", "page.ipynb", "page-1.png"}
    shown, picture = made["page.md"], made["page-1.png"]
    assert shown.startswith(
        "# A page\n\n[This page as a notebook](page.ipynb)\n\n```yaml title='some.yaml'\nflowkit: 1\n```\n"
    )
    assert "```text\nflowkit: 1\n" in shown and "/bin/flowkit" in shown
    assert "(page-1.png)" in shown and "```text\n{'a': 1}\n```\n" in shown and picture.startswith(b"\x89PNG")
    assert "    not a cell\n\n[Another\npage](../other.md#part) has a [paper](https" in shown
    notebook = nbformat.reads(made["page.ipynb"], 4)
    assert [cell.source.split("\n")[0] for cell in notebook.cells if cell.cell_type == "code"] == [
        "%%writefile some.yaml",
        "%%bash -e",
        "import matplotlib.pyplot as plt",
    ]
    assert notebook.cells[-1].source.endswith(
        "Another\npage has a [paper](https://arxiv.org/abs/1505.05770) and a ![picture](x.png)."
    )


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["```python\nassert 1 > 2\n```\n", "```bash\nfalse\ntrue\n```\n"])
def test_a_cell_that_fails_ends_the_build(tmp_path, cell):
    (tmp_path / "page.md").write_text(f"# A page\n\n```python\n1 + 1\n```\n\n{cell}", "utf-8")
    with pytest.raises(CellExecutionError):
        NOTEBOOKS["made_of"](tmp_path / "page.md")
