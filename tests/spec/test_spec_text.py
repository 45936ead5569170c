"""What text may be, and where errors in it are."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import os
import pickle
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import safetensors.torch
import torch
from PIL import Image
from typer.testing import CliRunner

from flowkit.cli.main import app
from flowkit.errors import MAX_SHOWN, Problem, SpecError
from flowkit.spec import read_spec
from flowkit.spec.document import MAX_DEPTH
from flowkit.spec.text import MAX_BYTES, MAX_VALUES, parse, read_file, read_text

SCALARS = [
    ("1", 1),
    ("-12", -12),
    ("012", 12),
    ("0o17", 15),
    ("0x1F", 31),
    ("1e-3", 0.001),
    ("1E5", 100000),  # as in JSON, a number is whole or not, however it is written
    ("-0.0", 0),
    ("9007199254740992.0", 2.0**53),
    (".5", 0.5),
    ("5.", 5),
    ("+1.5", 1.5),
    (".inf", math.inf),
    ("-.Inf", -math.inf),
    ("true", True),
    ("False", False),
    ("null", None),
    ("~", None),
    ("", None),
    ("yes", "yes"),
    ("off", "off"),
    ("1_000", "1_000"),
    ("2024-01-31", "2024-01-31"),
    ("12:30", "12:30"),
    ("0b11", "0b11"),
    ("1e", "1e"),
    ("inf", "inf"),
    ("\u0663", "\u0663"),  # a digit, but not one of YAML's
    ("'1'", "1"),
    ('"a\\tb"', "a\tb"),
    ("|\n  12\n", "12\n"),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    found = parse(f"x: {text}", "f").data["x"]
    assert found == value and type(found) is type(value)


def test_nan_is_a_float() -> None:
    assert math.isnan(parse("[.nan]", "f").data[0])


def test_json_is_yaml() -> None:
    assert parse('{"a": [1, 2.5, null, true, "x"]}', "f").data == {"a": [1, 2.5, None, True, "x"]}


def test_a_quoted_merge_key_is_text() -> None:
    assert parse('{"<<": 1}', "f").data == {"<<": 1}


def test_places_of_keys_and_values() -> None:
    document = parse("a: 1\nbee:\n  - {c: x}\n", "f")
    found = {path: (place.line, place.column) for path, place in document.values.items()}
    assert found == {
        (): (1, 1),
        ("a",): (1, 4),
        ("bee",): (3, 3),
        ("bee", 0): (3, 5),
        ("bee", 0, "c"): (3, 9),
    }
    assert {path: (place.line, place.column) for path, place in document.keys.items()} == {
        ("a",): (1, 1),
        ("bee",): (2, 1),
        ("bee", 0, "c"): (3, 6),
    }
    assert document.values["bee", 0, "c"].source == "  - {c: x}"


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_line_ends(line_end: str) -> None:
    place = parse(f"a: 1{line_end}b: 2", "f").values["b",]
    assert (place.line, place.column, place.source) == (2, 4, "b: 2")


REFUSED = {
    "anchor": ("a: &x 1", "1:4", "anchors"),
    "anchor on a mapping": ("a: &x {b: 1}", "1:4", "anchors"),
    "anchor on a key": ("&x a: 1", "1:1", "anchors"),
    "alias": ("a: *x", "1:4", "aliases"),
    "tag": ("a: !!python/object:os.system 1", "1:4", "tags"),
    "tag on a list": ("a: !x [1]", "1:4", "tags"),
    "the tag !": ("a: ! 1", "1:4", "tags"),
    "merge key": ("a: 1\n<<: {b: 1}", "2:1", "merge"),
    "duplicate key": ("a: 1\nb:\n  c: 1\n  c: 2", "4:3", "line 3"),
    "number as key": ("1: a", "1:1", "key must be text"),
    "thousands between brackets": ("{a: 1_000, b: 1,000}", "1:15", "a number has no commas"),
    "null as key": ("{~: a}", "1:2", "key must be text"),
    "list as key": ("? [a]\n: b", "1:3", "key must be text"),
    "long key": (f"a: {{{'k' * 201}: 1}}", "1:5", "a key of 201 characters"),
    "control character in a key": ('"a\\u001b": 1', "1:1", "printable"),
    "blank that does not break": ("a: 1\nb:\u00a0{c: 1}", "2:3", "U+00A0 isn't an ordinary space"),
    "two documents": ("a: 1\n---\nb: 1", "2:1", "second document"),
    "directive": ("%YAML 1.1\n---\na: yes", "2:1", "directives"),
    "directive without end": (f"%YAML 1.{'9' * 5000}\n---\na: 1", "1:1", "out of range"),
    "escape out of range": ('a: "\\UFFFFFFFF"', "1:1", "out of range"),
    "tab": ("a:\n\t- 1", "2:1", "a tab"),
    "unclosed list": ("a: [1, 2", "1:4", "bracket that opens here"),
    "unclosed quote": ("a: 'x", "1:4", "quote that opens here"),
    "two colons": ("a: b: c", "1:1", "each key has a line of its own"),
    "a list behind a key": ("a: - b", "1:4", "a list can't begin here"),
    "text behind the end": ("{a: 1}\nb: 2", "2:1", "the text goes on after its end"),
    "a line without a key": ("a: 1\n'b'\nc: 3", "2:1", "no key and value"),
    "what has no words of its own": ("a: |x\n b", "1:4", "is not YAML: while scanning a block scalar"),
    "half of a surrogate pair": ('a: "\\ud83d"', "1:4", "half of a surrogate pair"),
    "halves in the wrong order": ('{"a": "\\ude00\\ud83d"}', "1:7", "half of a surrogate pair"),
    "half of a surrogate pair in a key": ('{"\\ud83d": 1}', "1:2", "half of a surrogate pair"),
    "too many values": ("a: [" + "1," * MAX_VALUES, f"1:{5 + 2 * (MAX_VALUES - 2)}", "more than 32,000 values"),
    "NUL": ("a: 1\nb: x\0", "2:5", "U+0000"),
    "lone surrogate": ("a: \ud800", "1:4", "U+D800"),
    "huge integer": (f"a: {'9' * 5000}", "1:4", "5000 characters"),
    "huge float": (f"a: 1.{'9' * 5000}", "1:4", "5002 characters"),
    "deep list": ("a: " + "[" * (MAX_DEPTH + 1), f"1:{3 + MAX_DEPTH + 1}", "levels deep"),
    "deep block": ("- " * 70, f"1:{2 * MAX_DEPTH + 3}", "levels deep"),
    "deepest of all": ("[" * 100_000, f"1:{MAX_DEPTH + 2}", "levels deep"),
}


@pytest.mark.parametrize(("text", "where", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(text: str, where: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text, "f")
    (problem,) = caught.value.problems
    assert (problem.file, f"{problem.line}:{problem.column}") == ("f", where)
    assert words in problem.message
    assert problem.source is None or problem.source == text.splitlines()[(problem.line or 1) - 1].replace("\t", " ")


def test_the_deepest_that_is_allowed() -> None:
    assert parse("[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH, "f").data


def saved(save: Callable[[Any, io.BytesIO], object], value: object) -> bytes:
    """Return the content of a file that a function writes."""
    file = io.BytesIO()
    save(value, file)
    return file.getvalue()


FILES = {
    "a number": (b"42", "1:1", "a spec is a mapping that begins with flowkit: 1"),
    "null": (b"~", "1:1", "a spec is a mapping that begins with flowkit: 1"),
    "empty": (b"", "1:1", "begins with flowkit: 1"),
    "only comments": (b"# nothing\n", "1:1", "is empty"),
    "a list": (b"\n- a\n", "2:1", "is a mapping"),
    "a scalar": (b"flowkit", "1:1", "is a mapping"),
    "Latin-1": (b"a: 1\nb: caf\xe9\n", "2:7", "UTF-8"),
    "a mark of the order of bytes": (b"\xef\xbb\xbf# \xe2\x82\xac\xe2\x82\xaca\xff\n", "1:6", "UTF-8"),
    "too long": (b"a: " + b"x" * MAX_BYTES, "None:None", "longer than 1 MB"),
    "too long, cut within a character": (b"a: x" + "é".encode() * (MAX_BYTES // 2), "None:None", "longer than 1 MB"),
}


def problem_of(file: Path) -> Problem:
    """Return the only problem of a file that isn't a spec."""
    with pytest.raises(SpecError) as caught:
        read_file(file)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(("content", "where", "words"), FILES.values(), ids=FILES)
def test_files_that_are_no_specs(content: bytes, where: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(content)
    problem = problem_of(file)
    assert (problem.file, f"{problem.line}:{problem.column}") == (str(file), where)
    assert words in problem.message


NEW = "write a spec for it first: flowkit new 'a b.yaml'"
FORMATS = {
    "gzip": (gzip.compress(b"a: 1"), "a compressed file", "unpack it"),
    "bzip2": (bz2.compress(b"a: 1"), "a compressed file", "unpack it"),
    "xz": (lzma.compress(b"a: 1"), "a compressed file", "unpack it"),
    "zip": (b"PK\x03\x04" + bytes(26) + b"a.yaml", "a compressed file", "unpack it"),
    "xlsx": (b"PK\x03\x04" + bytes(26) + b"[Content_Types].xml", "a compressed file", "flowkit new FILE.csv"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0", "a binary file", "flowkit new DATA"),
    "torch": (saved(torch.save, {"a": torch.ones(2)}), "a pickle", "pickles are never loaded"),
    "pickle": (pickle.dumps({"a": 1}), "a pickle", "pickles are never loaded"),
    "npy": (saved(lambda x, file: numpy.save(file, x), numpy.ones(3)), "a file of data", NEW),
    "npz": (saved(lambda x, file: numpy.savez(file, x), numpy.ones(3)), "a compressed file", "unpack it"),
    "parquet": (b"PAR1\x15\x04\xff", "a file of data", NEW),
    "arrow": (b"ARROW1\0\0\xff", "a file of data", NEW),
    "hdf5": (b"\x89HDF\r\n\x1a\n\0", "a binary file", "flowkit new DATA"),
    "sqlite": (b"SQLite format 3\0\x10", "a binary file", "flowkit new DATA"),
    "safetensors": (safetensors.torch.save({"a": torch.ones(2)}), "a file of weights", "flowkit evaluate RUN"),
    "onnx": (b"\x08\x0a\x12\x07flowkit:", "an ONNX graph", "flowkit verify BUNDLE"),
    "a web page": (b"\n<!DOCTYPE html>\n<html>", "a web page", "download the file itself"),
    "elf": (b"\x7fELF\x02\x01\x01\0", "a binary file", "flowkit new DATA"),
    "UTF-16": ("a: 1".encode("utf-16"), "UTF-16 text", "save it as UTF-8"),
} | {
    kind: (saved(lambda x, file, kind=kind: x.save(file, kind), Image.new("RGB", (9, 9))), "a binary file", "new DATA")
    for kind in ("png", "jpeg", "gif", "webp", "tiff", "bmp")
}
"""Files of other formats, what is said that they are, and what to do with them."""


@pytest.mark.parametrize(("content", "what", "advice"), FORMATS.values(), ids=FORMATS)
def test_files_of_other_formats(content: bytes, what: str, advice: str, tmp_path: Path) -> None:
    file = tmp_path / "a b.yaml"
    file.write_bytes(content)
    problem = problem_of(file)
    assert problem.message.startswith("this is ") and what in problem.message
    assert advice in (problem.suggestion or "").replace(f"{tmp_path}/", "")


def test_the_advice_on_a_table_and_an_array_gives_a_valid_spec(tmp_path: Path) -> None:
    rows = numpy.random.default_rng(0).normal(size=(200, 2))
    numpy.savetxt(tmp_path / "a.csv", rows, delimiter=",", header="a,b", comments="")
    numpy.save(tmp_path / "a.npy", rows)
    for file in (tmp_path / "a.csv", tmp_path / "a.npy"):
        *_, command = (problem_of(file).suggestion or "").partition("first: flowkit ")
        spec = file.with_suffix(".yaml")
        assert CliRunner().invoke(app, [*shlex.split(command), "-o", str(spec), "--overwrite"]).exit_code == 0
        assert read_spec(spec).event.shape == (2,)


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_file(tmp_path / "a.yaml").data == {"a": 1}


@pytest.mark.parametrize(
    ("name", "words"),
    [("missing", "no such file"), (".", "is a directory: name a spec file"), ("a\0", "can't be read")],
)
def test_files_that_cannot_be_read(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=words):
        read_file(f"{tmp_path}/{name}")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").touch(mode=0)
    with pytest.raises(SpecError, match="Permission denied"):
        read_file(tmp_path / "a.yaml")


def test_a_long_text_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(SpecError, match="longer than 1 MB"):
        read_text("{" * (MAX_BYTES + 1))


@pytest.mark.parametrize(("before", "after"), [(0, 1000), (1000, 1000), (1000, 0)])
def test_of_a_long_line_what_is_around_the_place_is_shown(before: int, after: int) -> None:
    with pytest.raises(SpecError) as caught:
        parse(f"a: [{'1, ' * before}&x 1{', 1' * after}]", "f")
    _, line, caret, *_ = str(caught.value).splitlines()
    assert len(line) <= 4 + MAX_SHOWN + 2
    assert line[caret.index("^")] == "&"
    assert (line.startswith("    …"), line.endswith("…")) == (before > 0, after > 0)
