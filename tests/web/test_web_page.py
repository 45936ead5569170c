"""What the page is put together from: nothing in it comes from elsewhere, and what can't run is not written."""

import base64
import gzip
import hashlib
import io
import json
import lzma
import re
import subprocess
import tarfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from flowkit.errors import ExportError, InputError
from flowkit.export import Options, export
from flowkit.export.web import PAGE, page, vendored, write_page
from flowkit.flow import Flow
from tests.flow.specs import SPECS

MANIFEST = {
    "flowkit": "0.1.0",
    "model": "a" * 64,
    "event": {"shape": [1, 2, 2], "levels": 17},
    "context": {"shape": [3]},
    "latents": [[4, 1, 1]],
    "noise": None,
    "dequantization": None,
    "directions": "both",
    "likelihood": "lower_bound",
}
TITLE = "</script><script>alert(1)</script> & {{app}}"


class Elements(HTMLParser):
    """Each element's attributes and text, in order."""

    def __init__(self, text):
        super().__init__()
        self.found, self.inside = [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs), ""))
        self.inside = True

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            tag, attributes, text = self.found[-1]
            self.found[-1] = tag, attributes, text + data

    def all(self, tag):
        return [(attributes, text) for name, attributes, text in self.found if name == tag]


def bundle(directory):
    """The files of a bundle that a page is made from; the graphs are any bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "encode.onnx").write_bytes(b"encoder")
    (directory / "decode.onnx").write_bytes(b"decoder" * 1000)
    x = np.concatenate([np.arange(8.0), np.full(4, np.nan)]).reshape(3, 1, 2, 2) + 0.25
    log_prob, context = np.array([-8 * np.log(2.0), -1.0, np.nan]), np.ones((3, 3))
    np.savez(directory / "reference.npz", x=x, log_prob=log_prob, context=context, group=np.array([0, 0, 1]))
    return directory


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    directory = bundle(tmp_path_factory.mktemp("page") / "bundle")
    write_page(directory, MANIFEST, TITLE)
    return (directory / PAGE).read_bytes().decode("utf-8")


def test_it_allows_its_own_scripts_and_style_and_nothing_else(made):
    elements = Elements(made)
    (policy,) = [meta["content"] for meta, _ in elements.all("meta") if "http-equiv" in meta]
    scripts = [text for attributes, text in elements.all("script") if attributes["type"] == "module"]
    styles = [text for _, text in elements.all("style")]
    assert (len(scripts), len(styles)) == (2, 1)
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (*scripts, *styles)]
    assert set(re.findall(r"'sha256-([^']+)'", policy)) == set(digests)
    assert "default-src 'none'" in policy and "connect-src 'none'" in policy and "unsafe-inline" not in policy
    for tag, attributes, _ in elements.found:
        assert "src" not in attributes and attributes.get("href", "data:,") == "data:,", tag


def test_no_script_asks_for_its_own_url(made):
    """Of a file it is one that Firefox can't complete, and onnxruntime-web does so while it starts."""
    assert not any("import.meta" in text for _, text in Elements(made).all("script"))


def test_a_title_is_text(made):
    elements = Elements(made)
    assert [text for _, text in elements.all("title")] == [TITLE]
    assert len(elements.all("script")) == 2 + 1 + 5  # two that run, the JSON, and five blocks
    (about,) = [json.loads(text) for attributes, text in elements.all("script") if attributes.get("id") == "about"]
    assert about["title"] == TITLE
    assert about["scores"] == [2.0, pytest.approx(1 / (4 * np.log(2.0)))]
    assert about["contexts"] == [[1.0, 1.0, 1.0]] * 2
    assert about["range"] == [0.25, 7.25] and about["threshold"] is None


def test_it_holds_the_files(made):
    blocks = {
        attributes["id"]: gzip.decompress(base64.b64decode(text))
        for attributes, text in Elements(made).all("script")
        if attributes.get("id", "").startswith("block-")
    }
    assert blocks["block-encoder"] == b"encoder" and blocks["block-decoder"] == b"decoder" * 1000
    assert hashlib.sha256(blocks["block-wasm"]).hexdigest() == vendored.SHA256[vendored.BINARY]
    assert np.array_equal(np.frombuffer(blocks["block-examples"], "<f4"), np.arange(8.0) + 0.25)
    assert b"Copyright (c) Microsoft Corporation" in blocks["block-notices"] and b"protobuf" in blocks["block-notices"]


def test_it_holds_the_columns_of_a_table_with_their_defaults(made, tmp_path):
    column, category = {"column": "<x>", "offset": 3}, {"column": "c", "kind": "category", "categories": ["a", None]}
    table = {"event": [column], "context": [category], "missing": "drop"}
    write_page(bundle(tmp_path), {**MANIFEST, "preprocessing": table}, "any")
    texts = ((tmp_path / PAGE).read_text("utf-8"), made)
    abouts = [
        json.loads(text)
        for page_ in texts
        for attributes, text in Elements(page_).all("script")
        if attributes.get("id") == "about"
    ]
    assert [about["preprocessing"] for about in abouts] == [
        {
            "event": [
                {
                    "column": "<x>",
                    "kind": "number",
                    "offset": 3,
                    "scale": 1.0,
                    "fill": None,
                    "period": None,
                    "categories": [],
                }
            ],
            "context": [
                {
                    "column": "c",
                    "kind": "category",
                    "offset": 0.0,
                    "scale": 1.0,
                    "fill": None,
                    "period": None,
                    "categories": ["a", None],
                }
            ],
            "missing": "drop",
            "label": None,
        },
        None,
    ]


def test_the_same_bundle_gives_the_same_bytes(made, tmp_path):
    write_page(bundle(tmp_path / "elsewhere"), MANIFEST, TITLE)
    assert (tmp_path / "elsewhere" / PAGE).read_bytes() == made.encode("utf-8")


def test_what_is_too_large_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "MAX_BYTES", 7006)
    before = sorted(bundle(tmp_path).iterdir())
    with pytest.raises(ExportError, match="are 7,007 bytes, and a page holds at most 7,006"):
        write_page(tmp_path, MANIFEST, "any")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "precision, x, message",
    [
        ("bfloat16", torch.zeros(2, 3), "no operators for bfloat16: export the page in float32 or float16"),
        ("float32", None, "the page shows held-out events: pass x"),
    ],
)
def test_a_page_that_cannot_be_is_refused_at_once(precision, x, message, tmp_path):
    flow = Flow.from_spec(SPECS["vector"])
    with pytest.raises(InputError, match=message):
        export(flow, tmp_path / "bundle", x, options=Options(precision=precision, page="any"))
    assert list(tmp_path.iterdir()) == []


def test_scripts_name_what_is_there():
    assert sorted(page.SCRIPTS) == sorted(path.name for path in page.SOURCES.glob("*.js"))
    sources = {name: (page.SOURCES / name).read_text("utf-8") for name in page.SCRIPTS}
    exported = {
        name: set(re.findall(r"^export (?:async )?(?:function|const|class) ([\w$]+)", text, re.MULTILINE))
        for name, text in sources.items()
    }
    for name, text in sources.items():
        for names, file in re.findall(r'^import \{ ([^}]*) \} from "\./([^"]+)";$', text, re.MULTILINE):
            assert set(names.split(", ")) <= exported[file], f"{name} imports from {file}"
            assert all(text.count(each) > 1 for each in names.split(", ")), f"{name}: unused"
        assert len(re.findall(r"\bimport\b", text)) == len(re.findall(r"^import \{ [^}]* \} from ", text, re.MULTILINE))
    own = [
        re.findall(r"^(?:export )?(?:async )?(?:function|const|class) (\w+)", text, re.M) for text in sources.values()
    ]
    names = [name for each in own for name in each]
    assert len(names) == len(set(names)), "they become one script, in which a name stands once"


@pytest.fixture
def another_vendor(tmp_path, monkeypatch):
    monkeypatch.setattr(vendored, "VENDOR", tmp_path)
    return tmp_path


@pytest.mark.parametrize("damage", [None, b"no xz", lzma.compress(b"another script")])
def test_a_runtime_that_is_not_the_pinned_one_is_refused(damage, another_vendor):
    if damage:
        (another_vendor / f"{vendored.SCRIPT}.xz").write_bytes(damage)
    with pytest.raises(ExportError, match=r"ort\.wasm\.bundle\.min\.mjs.*install flowkit again"):
        vendored.read(vendored.SCRIPT)


def npm_has(files, monkeypatch):
    """Let `npm pack` write an archive with these files."""

    def pack(command, cwd, check):
        assert command[:2] == ["npm", "pack"] and command[-1] == f"onnxruntime-web@{vendored.VERSION}" and check
        with tarfile.open(Path(cwd) / "onnxruntime-web.tgz", "w:gz") as archive:
            for name, data in files.items():
                entry = tarfile.TarInfo(f"package/dist/{name}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))

    monkeypatch.setattr(subprocess, "run", pack)


def test_renewing_takes_the_pinned_files_alone(another_vendor, monkeypatch):
    files = {vendored.SCRIPT: b"script", vendored.BINARY: b"binary"}
    npm_has(files, monkeypatch)
    with pytest.raises(ExportError, match=f"has SHA-256 {hashlib.sha256(b'script').hexdigest()}, not"):
        vendored.renew()
    assert list(another_vendor.iterdir()) == []
    pinned = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    monkeypatch.setattr(vendored, "SHA256", pinned)
    vendored.renew()
    assert {name: vendored.read(name) for name in files} == files
