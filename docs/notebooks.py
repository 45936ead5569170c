"""Executes the tutorials while mkdocs builds the site, and shows their output. Each becomes a notebook, too.

A tutorial is a Markdown page. Its blocks of Python and bash are the cells of a notebook, and run in this order in an
empty directory. A block of YAML that begins with the name of a file, ``# NAME.yaml``, is written to this file. A cell
that fails ends the build.
"""

from __future__ import annotations

import base64
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import jupytext
import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient
from nbformat import NotebookNode

EXECUTED = re.compile(r"getting-started\.md|tutorials/[\w-]+\.md")
FILE = re.compile(r"^```yaml\n# (\S+\.yaml)\n", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:)[^)]*\)")
MAGIC = re.compile(r"%%(?:(bash) -e|writefile (\S+\.yaml))\n")
SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "TTY_COMPATIBLE": "0",  # else rich would draw bars, because ipykernel sets FORCE_COLOR
}
QUIET = ["--log-level=ERROR"]  # else the kernel warns that messages between processes of this machine aren't encrypted


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put what is made of a tutorial in its place. mkdocs calls this before it reads the pages."""
    for file in list(files):
        if EXECUTED.fullmatch(file.src_uri):
            files.remove(file)
            for name, content in made_of(Path(file.src_dir or "", file.src_uri)).items():
                files.append(File.generated(config, str(Path(file.src_uri).with_name(name)), content=content))
    return files


def made_of(page: Path) -> dict[str, str | bytes]:
    """Execute a tutorial. Return files by their names: the page with its output, the pictures, and the notebook."""
    notebook = execute(as_notebook(page.read_text("utf-8")))
    pictures: dict[str, str | bytes] = {}
    shown = "\n\n".join(as_markdown(cell, page.stem, pictures) for cell in notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":  # from the folder of a download, links to other pages lead nowhere
            cell.source = LINK.sub(r"\1", cell.source)
    heading, _, text = shown.partition("\n")
    link = f"[This page as a notebook]({page.stem}.ipynb)"
    return pictures | {
        page.name: f"{heading}\n\n{link}\n{text}\n",
        f"{page.stem}.ipynb": nbformat.writes(notebook),
    }


def as_notebook(text: str) -> NotebookNode:
    notebook = jupytext.reads(FILE.sub(r"```python\n%%writefile \1\n", text), "md")
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for cell in notebook.cells:
        cell.source = re.sub(r"\A%%bash\n", "%%bash -e\n", cell.source)  # the first command that fails ends it
    return notebook


def execute(notebook: NotebookNode) -> NotebookNode:
    with tempfile.TemporaryDirectory() as directory:
        resources = {"metadata": {"path": directory}}
        client = NotebookClient(notebook, timeout=900, resources=resources, extra_arguments=QUIET)
        return client.execute(env=os.environ | SETTINGS | {"IPYTHONDIR": directory})


def as_markdown(cell: NotebookNode, stem: str, pictures: dict[str, str | bytes]) -> str:
    """Return a cell with its output. The pictures in it are added to ``pictures``."""
    if cell.cell_type == "markdown":
        return str(cell.source)
    magic, code = MAGIC.match(cell.source), MAGIC.sub("", cell.source, count=1)
    if magic and magic[2]:
        return f"```yaml title='{magic[2]}'\n{code}\n```"
    shown = ["```bash" if magic else "```python", code, "```"]
    for kind, outputs in groupby(cell.outputs, lambda output: output.output_type):
        if kind == "stream":
            shown += ["", "```text", "".join(output.text for output in outputs).rstrip(), "```"]
        else:
            for output in outputs:
                shown += ["", *rich(output.data, stem, pictures)]
    return "\n".join(shown)


def rich(data: dict[str, str], stem: str, pictures: dict[str, str | bytes]) -> Iterator[str]:
    """Yield lines that show a result: a picture, a table, or text."""
    if "image/png" in data:
        name = f"{stem}-{len(pictures) + 1}.png"
        pictures[name] = base64.b64decode(data["image/png"])
        yield f"![What the code above draws]({name})"
    elif "text/html" in data:
        yield re.sub(r"<style.*?</style>| class=\"dataframe\"| border=\"1\"", "", data["text/html"], flags=re.DOTALL)
    else:
        yield from ("```text", data["text/plain"], "```")
