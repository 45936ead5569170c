"""Exported bundles made by a stranger, who can make the checksums fit."""

from __future__ import annotations

import io
import itertools
import json
import os
import zipfile
from ast import literal_eval
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf.message import Message
from onnx import NodeProto, TensorProto, helper, numpy_helper

from flowkit_runtime import load, verification
from tests.security.actions import (
    command,
    count_checks,
    event_shape,
    load_of_few_fields,
    on_a_full_disk,
    printing_to,
    served,
)
from tests.security.bounded import outcome, refused
from tests.security.bundles import W, edit_manifest, encoder, npz, put
from tests.security.files import SECRET, Evil, away, device, fifo, header, loop, outside
from tests.security.full_disk import sampled_on_a_full_disk

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL

Damage = Callable[[Path], Any]


def test_the_bundle_that_is_damaged_below_is_good(bundle: Path) -> None:
    assert outcome(event_shape, bundle) == ("returned", "(2,)")
    assert outcome(count_checks, bundle) == ("returned", "12")


# The manifest

MANIFESTS = {
    "empty": (b"", "not valid JSON"),
    "text": (SECRET.encode(), "not valid JSON"),
    "not UTF-8": (b"\xff{}", "not valid JSON"),
    "nested": (b"[" * 100_000, "nested too deep"),
    "nested objects": (b'{"a":' * 100_000, "nested too deep"),
    "long": (b'{"a": "' + b"x" * 2**21 + b'"}', "longer than"),
    "digits": (b'{"format": ' + b"9" * 10_000 + b"}", "a whole number of more than 4,300 digits"),
    "NaN": (b'{"format": NaN}', "not a finite number"),
    "infinity": (b'{"format": 1e999}', "not a finite number"),
    "a key twice": (b'{"format": 1, "format": 1}', "a key twice"),
    "a list": (b"[1]", "not an object"),
    "another format": (b'{"format": 99}', "has format 99"),
    "a long format": (b'{"format": "' + b"x" * 10**6 + b'"}', "has format 'xxx"),
}


@pytest.mark.parametrize(("content", "message"), MANIFESTS.values(), ids=MANIFESTS)
def test_manifests_that_are_no_manifest(bundle: Path, content: bytes, message: str) -> None:
    (bundle / "manifest.json").write_bytes(content)
    text = refused(load, bundle)
    assert message in text and "manifest.json" in text and "secret" not in text and len(text) < 2000


FIELDS = {
    "event": {"event": {"shape": [2**40], "levels": None}},
    "event of many sizes": {"event": {"shape": [2] * 100_000, "levels": None}},
    "event of another kind": {"event": []},
    "event of much text": {"event": {"shape": "x" * 10**6, "levels": None}},
    "size of much text": {"event": {"shape": ["x" * 10**6], "levels": None}},
    "event that is negative": {"event": {"shape": [-2], "levels": None}},
    "event that is true": {"event": {"shape": [True, 2], "levels": None}},
    "event of the graph's size": {"event": {"shape": [1, 2], "levels": None}},
    "levels": {"event": {"shape": [2], "levels": 10**30}},
    "levels of many digits": {"event": {"shape": [2], "levels": 10**4000}},
    "classes": {"context": {"classes": 10**30}},
    "context": {"context": {"shape": [2**40]}},
    "context of another kind": {"context": [1]},
    "latents": {"latents": [[2**40]]},
    "latents that don't add up": {"latents": [[2], [2]]},
    "many latents": {"latents": [[1]] * 20_000},
    "latents of another kind": {"latents": {"a": 1}},
    "files": {"files": 3},
    "no files": {"files": {}},
    "no bases": {"bases": []},
    "noise of nothing": {"noise": []},
    "too much noise": {"noise": [{"kind": "normal", "shape": [2]}] * 5000},
    "noise of another kind": {"noise": [{"kind": "cauchy", "shape": [2]}]},
    "noise of a negative size": {"noise": [{"kind": "normal", "shape": [-2]}]},
    "noise without a shape": {"noise": [{"kind": "normal"}]},
    "dequantization of another kind": {"dequantization": [{"kind": "cauchy", "shape": [2]}]},
    "dequantization without its graph": {"dequantization": [{"kind": "normal", "shape": [2]}]},
    "no such likelihood": {"likelihood": "guessed"},
    "noise without its graph": {"noise": [{"kind": "normal", "shape": [2]}]},
}


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
def test_manifests_that_lie(bundle: Path, fields: dict[str, Any]) -> None:
    edit_manifest(bundle, lambda manifest: manifest.update(fields))
    assert len(refused(load, bundle)) < 2000


def test_a_base_of_much_text_is_shortened(bundle: Path) -> None:
    edit_manifest(bundle, lambda manifest: manifest.update(bases="x" * 10**6))
    assert len(refused(served, bundle, "sample", 2)) < 2000


HUGE = dict.fromkeys(verification.QUANTITIES, 10**400)
WRONG_ERRORS = [None, [], {}, *(dict.fromkeys(verification.GROUPS, own) for own in (3, {"latents": [1]}, HUGE))]


@pytest.mark.parametrize("own", WRONG_ERRORS)
def test_errors_of_the_fp64_model_are_numbers(bundle: Path, own: Any) -> None:
    edit_manifest(bundle, lambda manifest: manifest.update(torch_errors=own))
    assert "torch_errors" in refused(verification.verify, bundle)


@pytest.mark.parametrize(
    "name", ["../run", "/etc/passwd", "..", ".", "", "a/../../b", "C:\\x", "a\0b", "\x1b[2J", "x" * 10**6]
)
def test_names_stay_inside(bundle: Path, name: str) -> None:
    edit_manifest(bundle, lambda manifest: manifest["files"].update({name: "0" * 64}))
    text = refused(load, bundle)
    assert "manifest.json" in text and len(text) < 2000


@pytest.mark.parametrize("digest", [None, 3, "", "0" * 64, ["x"], {"a": "b"}])
def test_checksums_of_any_kind_are_compared(bundle: Path, digest: Any) -> None:
    edit_manifest(bundle, lambda manifest: manifest["files"].update({"lock.json": digest}))
    assert "lock.json does not match" in refused(load, bundle)


FILES = ["manifest.json", "encode.onnx", "decode.onnx", "reference.npz", "lock.json", "spec.yaml"]


@pytest.mark.parametrize("make", [fifo, device, loop, outside, away, Path.mkdir])
@pytest.mark.parametrize("name", FILES)
def test_only_regular_files_of_the_bundle_are_read(bundle: Path, name: str, make: Damage) -> None:
    (bundle / name).unlink()
    make(bundle / name)
    assert str(bundle) in refused(load, bundle)


def test_files_without_end_are_not_hashed(bundle: Path) -> None:
    os.truncate(bundle / "encode.onnx", 2**40)
    assert "encode.onnx has more than" in refused(load, bundle)


# What any copy may suffer, and what whoever swaps files can make of the manifest: by API and by command


def truncate(name: str, bytes_left: int) -> Damage:
    return lambda bundle: os.truncate(bundle / name, bytes_left)


def flip(name: str) -> Damage:
    """One bit, in the middle."""

    def damage(bundle: Path) -> None:
        content = bytearray((bundle / name).read_bytes())
        content[len(content) // 2] ^= 1
        (bundle / name).write_bytes(content)

    return damage


def swap(bundle: Path) -> None:
    encoder, decoder = bundle / "encode.onnx", bundle / "decode.onnx"
    first, second = encoder.read_bytes(), decoder.read_bytes()
    encoder.write_bytes(second), decoder.write_bytes(first)


def swap_and_say_so(bundle: Path) -> None:
    swap(bundle)

    def exchange(manifest: dict[str, Any]) -> None:
        files = manifest["files"]
        files["encode.onnx"], files["decode.onnx"] = files["decode.onnx"], files["encode.onnx"]

    edit_manifest(bundle, exchange)


def of_another_flow(bundle: Path) -> None:
    """A graph of the same shapes, its checksum with it: only the reference tells."""
    put(bundle, "encode.onnx", encoder(initializers=[numpy_helper.from_array(np.ones(2, np.float32), "w")]))


def edit_and_leave_the_checksum(change: Callable[[dict[str, Any]], Any]) -> Damage:
    """Change the manifest, but not its own checksum."""

    def damage(bundle: Path) -> None:
        path = bundle / "manifest.json"
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest, indent=2) + "\n")

    return damage


THRESHOLD = {"score": -1e9, "quantile": 0.99, "events": 40}
HIGH_LIMITS = dict.fromkeys(verification.GROUPS, dict.fromkeys(verification.QUANTITIES, 1e9))
NO_MATCH = "manifest.json does not match its own SHA-256"

DAMAGE: dict[str, tuple[Damage, str]] = {
    "truncated encode.onnx": (truncate("encode.onnx", 50), "encode.onnx does not match its SHA-256"),
    "truncated decode.onnx": (truncate("decode.onnx", 50), "decode.onnx does not match its SHA-256"),
    "truncated manifest": (truncate("manifest.json", 50), "manifest.json is not valid JSON"),
    "another threshold": (edit_and_leave_the_checksum(lambda m: m.update(threshold=THRESHOLD)), NO_MATCH),
    "limits of 1e9": (edit_and_leave_the_checksum(lambda m: m.update(torch_errors=HIGH_LIMITS)), NO_MATCH),
    "no checksum of the manifest": (edit_and_leave_the_checksum(lambda m: m.pop("sha256")), NO_MATCH),
    "truncated reference": (truncate("reference.npz", 50), "reference.npz does not match its SHA-256"),
    "empty encode.onnx": (truncate("encode.onnx", 0), "encode.onnx does not match its SHA-256"),
    "a bit of encode.onnx": (flip("encode.onnx"), "encode.onnx does not match its SHA-256"),
    "a bit of decode.onnx": (flip("decode.onnx"), "decode.onnx does not match its SHA-256"),
    "a bit of reference.npz": (flip("reference.npz"), "reference.npz does not match its SHA-256"),
    "a bit of spec.yaml": (flip("spec.yaml"), "spec.yaml does not match its SHA-256"),
    "graphs exchanged": (swap, ".onnx does not match its SHA-256"),
    "graphs exchanged, checksums too": (
        swap_and_say_so,
        "encode.onnx is no graph of a flow: it takes z_1, where the manifest implies x",
    ),
}


def by_command(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout, stderr; within the bounds."""
    code, out, err = literal_eval(outcome(command, "flowkit-runtime", *arguments)[1])
    return code, out, err


def refused_by_command(*arguments: object) -> str:
    code, out, err = by_command(*arguments)
    assert (code, out) == (2, ""), err
    return err


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_bundles_are_refused_and_the_file_named(bundle: Path, damage: Damage, message: str) -> None:
    damage(bundle)
    assert message in refused(load, bundle)
    np.save(bundle.parent / "x.npy", np.zeros((3, 2), np.float32))
    for arguments in (["verify", bundle], ["score", bundle, bundle.parent / "x.npy", "-o", bundle.parent / "s.npy"]):
        assert message in refused_by_command(*arguments)
    assert {path.name for path in bundle.parent.iterdir()} == {"bundle", "x.npy"}


def test_a_graph_of_another_flow_is_found_by_verify(bundle: Path) -> None:
    of_another_flow(bundle)
    assert "deviates from its fp64 model" in refused(verification.verify, bundle)
    assert "too large" in refused_by_command("verify", bundle)


INPUTS: dict[str, tuple[Any, str]] = {
    "another shape": (np.zeros((3, 3)), "[3, 3]"),
    "no batch": (np.zeros(2), "[2]"),
    "text": (np.array([["a", "b"]]), "real numbers"),
    "complex": (np.zeros((3, 2), complex), "real numbers"),
    "NaN": (np.array([[0.0, 0.0], [0.0, np.nan]]), "in row 1, x[1, 1] is nan"),
    "infinity": (np.array([[np.inf, 0.0]]), "in row 0, x[0, 0] is inf"),
    "larger than float32": (np.array([[0.0, 1e39]]), "in row 0, x[0, 1] is 1e+39"),
}


@pytest.mark.parametrize(("x", "message"), INPUTS.values(), ids=INPUTS)
def test_inputs_that_are_no_events(bundle: Path, x: Any, message: str) -> None:
    assert message in refused(served, bundle, "score", x)
    np.save(bundle.parent / "x.npy", x)
    for name, output in (("score", "s.npy"), ("encode", "z.npz")):
        said = refused_by_command(name, bundle, bundle.parent / "x.npy", "-o", bundle.parent / output)
        assert message in said and "x.npy" in said
    assert {path.name for path in bundle.parent.iterdir()} == {"bundle", "x.npy"}


def test_no_events_are_no_error(bundle: Path) -> None:
    assert outcome(served, bundle, "score", np.zeros((0, 2))) == ("returned", "array([], dtype=float64)")
    np.save(bundle.parent / "x.npy", np.zeros((0, 2)))
    for name, output in (("score", "s.npy"), ("encode", "z.npz")):
        assert by_command(name, bundle, bundle.parent / "x.npy", "-o", bundle.parent / output)[0] == 0


def test_a_full_disk_is_a_message_and_leaves_the_old_file(bundle: Path, tmp_path: Path) -> None:
    message = sampled_on_a_full_disk("flowkit-runtime", bundle, tmp_path / "x.npy")
    assert message == f"{tmp_path / 'x.npy'}: File too large\n"


def test_a_disk_that_is_full_of_latents_is_a_message(bundle: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((5000, 2)))
    arguments = "encode", bundle, tmp_path / "x.npy", "-o", tmp_path / "z.npz"
    code, _, message = literal_eval(outcome(on_a_full_disk, command, "flowkit-runtime", *arguments)[1])
    assert (code, message) == (2, f"{tmp_path / 'z.npz'}: File too large\n")
    assert not (tmp_path / "z.npz").exists() and not list(tmp_path.glob(".*"))


# Graphs


def external(location: str, flag: int = 1) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=flag)
    tensor.external_data.add(key="location", value=location)
    return tensor


def as_constant(tensor: TensorProto) -> bytes:
    return encoder(helper.make_node("Constant", [], ["w"], value=tensor), initializers=())


def sparse(location: str) -> bytes:
    value = helper.make_sparse_tensor(external(location), numpy_helper.from_array(np.array([0, 1])), [2])
    return encoder(helper.make_node("Constant", [], ["w"], sparse_value=value), initializers=())


def constants(**arrays: Any) -> list[TensorProto]:
    return [W, *(numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items())]


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    """A node whose names are separated by spaces; `_` is an input that is left out."""
    names = ["" if name == "_" else name for name in inputs.split()]
    return helper.make_node(operator, names, outputs.split(), **attributes)


def loop_of(
    steps: str, *body: NodeProto, takes: str = "v", gives: str = "c", attributes: Any = None, **arrays: Any
) -> bytes:
    """A Loop that carries v, at first x, from step to step, and what its body makes of it."""
    loop = loop_node(steps, *body, takes=takes, gives=gives, **attributes or {})
    return encoder(loop, initializers=constants(true=True, **arrays))


def loop_node(
    steps: str, *body: NodeProto, takes: str = "v", gives: str = "c", of: str = "x", last: str = "last", **others: Any
) -> NodeProto:
    scalars = [helper.make_tensor_value_info("i", INT64, []), helper.make_tensor_value_info("go", BOOL, [])]
    shaped = [helper.make_tensor_value_info(name, FLOAT, None) for name in (takes, *gives.split())]
    inputs, outputs = [*scalars, shaped[0]], [helper.make_tensor_value_info("on", BOOL, []), *shaped[1:]]
    graph = helper.make_graph([node("Identity", "go", "on"), *body], "body", inputs, outputs)
    return node("Loop", f"{steps} true {of}", last, body=graph, **others)


def loops_of(*steps: int) -> bytes:
    """A Loop for each number of steps, each of what the one before gives."""
    numbers = {f"n{i}": n for i, n in enumerate(steps)}
    names = ["x", *(f"last_{name}" for name in numbers)]
    loops = (
        loop_node(n, node("Neg", "v", "c"), of=a, last=b)
        for n, (a, b) in zip(numbers, itertools.pairwise(names), strict=True)
    )
    return encoder(*loops, initializers=constants(true=True, **numbers))


def loop_of_two_numbers() -> bytes:
    """onnxruntime takes the last of two constants with one name."""
    numbers = [*constants(true=True, n=3), *constants(n=10**9)[1:]]
    return encoder(loop_node("n", node("Neg", "v", "c")), initializers=numbers)


def loop_of_a_number_outside(bundle: Path) -> None:
    number = TensorProto(name="n", data_type=INT64, dims=[], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": "weights.bin", "offset": "0", "length": "8"}.items():
        number.external_data.add(key=key, value=value)
    (bundle / "weights.bin").write_bytes(np.int64(3).tobytes())
    put(bundle, "weights.bin", np.int64(3).tobytes())
    graph = encoder(loop_node("n", node("Neg", "v", "c")), initializers=[*constants(true=True), number])
    put(bundle, "encode.onnx", graph)
    edit_manifest(bundle, lambda manifest: manifest.update(weights_file="weights.bin"))


def doubled(times: int) -> list[NodeProto]:
    """The event, and itself again, so many times."""
    names = ["x", *(f"x{i}" for i in range(times))]
    return [node("Concat", f"{a} {a}", b, axis=1) for a, b in itertools.pairwise(names)]


def products(n: int, times: int) -> bytes:
    """Products of matrices of ones, of constants alone."""
    names = ["m", *(f"m{i}" for i in range(times))]
    each = [node("MatMul", f"{a} m", b) for a, b in itertools.pairwise(names)]
    return encoder(node("Expand", "one n", "m"), *each, initializers=constants(one=np.float32([1]), n=[n, n]))


def identities(times: int) -> bytes:
    names = ["x", *(f"x{i}" for i in range(times))]
    return encoder(*(node("Identity", a, b) for a, b in itertools.pairwise(names)))


def of_integers(operator: str, a: Any, b: Any, dtype: Any = np.int64) -> bytes:
    """An operator of two constants."""
    return encoder(node(operator, "a b", "c"), initializers=constants(a=dtype(a), b=dtype(b)))


def by_integers_of_the_event(operator: str) -> bytes:
    return encoder(node("Cast", "x", "k", to=INT64), node(operator, "a k", "c"), initializers=constants(a=[7]))


def wrapped() -> bytes:
    """A divisor that is 256, which is 0 as an uint8."""
    cast = [node("Cast", name, f"{name}8", to=TensorProto.UINT8) for name in "ab"]
    return encoder(*cast, node("Div", "a8 b8", "c"), initializers=constants(a=[7], b=[256]))


def by_a_stored(tensor: TensorProto, *nodes: NodeProto, **arrays: Any) -> bytes:
    """The smallest integer, divided by what the nodes make of a stored tensor `s`, their output `d`."""
    tensor.name = "s"
    return encoder(*nodes, node("Div", "a d", "c"), initializers=[*constants(**arrays), tensor])


def stored(kind: int, *numbers: int) -> TensorProto:
    """A tensor with its numbers in the field for small integers, which holds more bits than the type."""
    return TensorProto(data_type=kind, dims=[len(numbers)], int32_data=numbers)


def by_the_size(*nodes: NodeProto, **arrays: Any) -> bytes:
    """An integer divided by the size of the last dimension of `p`, less one."""
    size = node("Shape", "p", "s", start=-1), node("Sub", "s one", "d"), node("Div", "one d", "c")
    return encoder(*nodes, *size, initializers=constants(one=[1], **arrays))


def opset_23(graph: bytes) -> bytes:
    model = onnx.load_model_from_string(graph)
    model.opset_import[0].version = 23
    return model.SerializeToString()


def conditional_node(x: str) -> NodeProto:
    y = helper.make_tensor_value_info("y", FLOAT, None)
    branch = helper.make_graph([node("Identity", x, "y")], "branch", [], [y])
    return node("If", "true", "c", then_branch=branch, else_branch=branch)


def conditional() -> bytes:
    return encoder(conditional_node("x"), initializers=constants(true=True))


def nested() -> bytes:
    inner = onnx.load_model_from_string(loop_of("n", node("Neg", "v", "c"), n=3)).graph.node[0]
    inner.output[0] = "c"
    return loop_of("n", inner, n=3)


def deep() -> bytes:
    """A graph in a graph in a graph, and so on, 2,000 deep: each is the body of a Loop."""
    graph = b""
    for _ in range(2_000):
        attribute = b"\x0a\x04body" + _field(6, graph) + b"\xa0\x01\x05"
        graph = _field(1, b"\x22\x04Loop" + _field(5, attribute))
    return _field(7, graph)


def _field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer whose value is bytes."""
    length, encoded = len(content), b""
    while length >= 128:
        encoded += bytes([length % 128 + 128])
        length //= 128
    return bytes([number * 8 + 2]) + encoded + bytes([length]) + content


def by_sizes_of_the_event() -> bytes:
    """Sizes of a shape are constants, too: 2 * 2000 squared, multiplied ten times."""
    more = [node(*each) for each in (("Shape", "x", "s"), ("Gather", "s one", "d"), ("Mul", "d k", "n"))]
    names = ["m", *(f"m{i}" for i in range(10))]
    each = [node("MatMul", f"{a} m", b) for a, b in itertools.pairwise(names)]
    made = node("ConstantOfShape", "nn", "m"), *each
    return encoder(*more, node("Concat", "n n", "nn", axis=0), *made, initializers=constants(one=[1], k=[1000]))


def with_many(field: int, part: Message, times: int) -> bytes:
    """The same part of a graph, in this field of it, so many times."""
    return encoder() + _field(7, _field(field, part.SerializeToString()) * times)


def with_attribute(operator: str, name: str, *fields: bytes) -> bytes:
    """An operator of the event with an attribute of these fields."""
    attribute = _field(1, name.encode()) + b"".join(fields)
    names = _field(1, b"x") + _field(1, b"x") + _field(2, b"y") + _field(4, operator.encode())
    return encoder() + _field(7, _field(1, names + _field(5, attribute)))


ONE_AS_INTEGER, TYPE_OF_INTEGER, TYPE_OF_FLOAT = b"\x18\x01", b"\xa0\x01\x02", b"\xa0\x01\x01"


def headless() -> bytes:
    """An Attention of no heads, by which its sizes are divided."""
    a = constants(a=np.ones((1, 2, 4), np.float32))
    return opset_23(encoder(node("Attention", "a a a", "c", q_num_heads=0, kv_num_heads=0), initializers=a))


ONE = {"one": np.float32([1])}
DIVIDES, MUCH = "divides integers by what isn't a constant greater than 0", "more of its constants than any flow"
ATTACKS: dict[str, tuple[Callable[[], bytes], str]] = {
    "the smallest integer by -1": (lambda: of_integers("Div", [-(2**63)], [-1]), DIVIDES),
    "an integer by zero": (lambda: of_integers("Div", [1], [0]), DIVIDES),
    "the smallest integer modulo -1": (lambda: of_integers("Mod", [-(2**63)], [-1]), DIVIDES),
    "bytes by zero": (lambda: of_integers("Div", [1], [0], np.uint8), DIVIDES),
    "a Constant by zero": (
        lambda: encoder(node("Constant", "", "z", value_ints=[0]), node("Div", "z z", "c")),
        DIVIDES,
    ),
    "a divisor that wraps to zero": (wrapped, DIVIDES),
    "a byte that wraps to zero": (
        lambda: by_a_stored(stored(TensorProto.UINT8, 256), node("Identity", "s", "d"), a=np.uint8([7])),
        "integers that its type can't hold",
    ),
    "a truth value of 5, less 2": (
        lambda: by_a_stored(
            stored(TensorProto.BOOL, 5),
            *(node("Cast", "s", "k", to=INT64), node("Sub", "k two", "d")),
            a=[-(2**63)], two=[2],
        ),
        "integers that its type can't hold",
    ),
    "a computed divisor": (
        lambda: encoder(node("Mul", "k k", "d"), node("Div", "k d", "c"), initializers=constants(k=[2])),
        DIVIDES,
    ),
    "the number of events": (
        lambda: encoder(
            node("Shape", "x", "s", end=1), node("Div", "one s", "c"), initializers=constants(one=[1])
        ),
        DIVIDES,
    ),
    "the windows that onnxruntime leaves out": (
        lambda: by_the_size(
            node("MaxPool", "w2", "p", kernel_shape=[1], strides=[3], ceil_mode=1), w2=np.ones((1, 1, 2), np.float32)
        ),
        DIVIDES,
    ),
    "integers by those of the event": (lambda: by_integers_of_the_event("Div"), DIVIDES),
    "integers modulo those of the event": (lambda: by_integers_of_the_event("Mod"), DIVIDES),
    "a sum of an input that is left out": (lambda: encoder(node("Sum", "x _", "c")), "leaves an input out"),
    "a transform without an axis": (
        lambda: encoder(
            node("Unsqueeze", "x two", "u"), node("DFT", "u n _", "c"), initializers=constants(two=[2], n=np.int64(2))
        ),
        "leaves an input out",
    ),
    "a recurrent network of no rows": (
        lambda: encoder(
            node("LSTM", "a b r", "c", hidden_size=5, direction="bidirectional"),
            initializers=constants(
                a=np.ones((3, 0, 4), np.float32), b=np.ones((2, 20, 4), np.float32), r=np.ones((2, 20, 5), np.float32)
            ),
        ),
        "LSTM doesn't fit its inputs",
    ),
    "an event that is a constant, too": (
        lambda: encoder(initializers=constants(x=np.ones((1, 1), np.float32))),
        "its input x is a constant, too",
    ),
    "no heads": (headless, "Attention has 0 in"),
    "no groups": (
        lambda: encoder(
            node("ConvTranspose", "a b", "c", group=0),
            initializers=constants(a=np.ones((1, 2, 4, 4), np.float32), b=np.ones((2, 2, 3, 3), np.float32)),
        ),
        "ConvTranspose has 0 in 'group'",
    ),
    "a normalization of nothing": (
        lambda: encoder(
            node("InstanceNormalization", "a s s", "c"),
            initializers=constants(a=np.ones((1, 4, 0), np.float32), s=np.ones(4, np.float32)),
        ),
        "InstanceNormalization doesn't fit its inputs",
    ),
    "a normalization of what may be nothing": (
        lambda: encoder(
            *(node("ReduceMax", "x", "m"), node("Reshape", "m one", "k"), node("Cast", "k", "n", to=INT64)),
            *(node("Slice", "a n two two", "b"), node("InstanceNormalization", "b s s", "c")),
            initializers=constants(a=np.ones((1, 4, 2), np.float32), s=np.ones(4, np.float32), one=[1], two=[2]),
        ),
        "InstanceNormalization doesn't fit its inputs",
    ),
    "attention to nothing": (
        lambda: opset_23(
            encoder(node("Attention", "a a a", "c"), initializers=constants(a=np.ones((4, 0, 5, 4), np.float32)))
        ),
        "Attention doesn't fit its inputs",
    ),
    "attention of 11,000 to each other": (
        lambda: opset_23(
            encoder(node("Attention", "a a a", "c"), initializers=constants(a=np.ones((1, 1, 11_000, 1), np.float32)))
        ),
        MUCH,
    ),
    "the products of a transposed convolution": (
        lambda: encoder(
            node("ConvTranspose", "a b", "c"),
            initializers=constants(a=np.ones((1, 1, 200_000), np.float32), b=np.ones((1, 1, 1_300), np.float32)),
        ),
        MUCH,
    ),
    "the products inside an Einsum": (
        lambda: encoder(
            node("Einsum", "m m m m", "c", equation="ab,cd,bc,da->"),
            initializers=constants(m=np.ones((120, 120), np.float32)),
        ),
        MUCH,
    ),
    "a size of 16 bits": (
        lambda: encoder(
            node("Cast", "s", "n", to=INT64), node("ConstantOfShape", "n", "c"),
            initializers=[W, TensorProto(name="s", data_type=TensorProto.BFLOAT16, dims=[1], raw_data=b"\x00\x4e")],
        ),
        "a shape that depends on values",
    ),
    "six products of 9000×9000": (lambda: products(9000, 6), MUCH),
    "a hundred products of 1000×1000": (lambda: products(1000, 100), MUCH),
    "too many operators": (lambda: with_many(1, node("Identity", "x", "y"), 50_001), "more than 50,000 operators"),
    "too many descriptions of values": (
        lambda: with_many(13, helper.make_tensor_value_info("v", FLOAT, []), 250_001),
        "more than 250,000 operators, constants and descriptions",
    ),
    "too many operators that read the event": (
        lambda: encoder(*(node("LeakyRelu", "x", f"x{i}", alpha=float(i)) for i in range(1_001))),
        "more than 1,000 of its operators read the same value",
    ),
    "too many constants": (lambda: with_many(5, W, 20_001), "more than 20,000 constants"),
    "too many operators on constants": (
        lambda: encoder(*(node("Neg", f"w{i}" if i else "w", f"w{i + 1}") for i in range(10_001))),
        MUCH,
    ),
    "a large constant of a small one": (
        lambda: encoder(node("Expand", "one n", "c"), initializers=constants(n=[2**30], **ONE)),
        MUCH,
    ),
    "a large constant of nothing": (
        lambda: encoder(node("ConstantOfShape", "n", "c"), initializers=constants(n=[2**20, 2**10])),
        MUCH,
    ),
    "a large range": (
        lambda: encoder(node("Range", "a b d", "c"), initializers=constants(a=0, b=2**30, d=1)),
        MUCH,
    ),
    "a large tile": (
        lambda: encoder(node("Tile", "one n", "c"), initializers=constants(n=[2**30], **ONE)),
        MUCH,
    ),
    "large padding": (
        lambda: encoder(node("Pad", "one n", "c"), initializers=constants(n=[2**29, 2**29], **ONE)),
        MUCH,
    ),
    "a million numbers as texts": (
        lambda: encoder(
            node("Expand", "one n", "m"), node("Cast", "m", "t", to=TensorProto.STRING),
            initializers=constants(n=[10**6], **ONE),
        ),
        "its operator Cast gives values that are no numbers",
    ),
    "the event as texts": (
        lambda: encoder(node("Cast", "x", "t", to=TensorProto.STRING), node("Cast", "t", "c", to=FLOAT)),
        "its operator Cast gives values that are no numbers",
    ),
    "an integer, and then bytes in its field": (
        lambda: with_attribute("Gemm", "transA", ONE_AS_INTEGER, _field(3, b""), TYPE_OF_INTEGER), "not an ONNX model"
    ),
    "a type of attributes, and then another that isn't one": (
        lambda: with_attribute("Gemm", "transA", ONE_AS_INTEGER, TYPE_OF_INTEGER, b"\xa0\x01\x63"),
        "not an ONNX model",
    ),
    "a float that is an integer": (
        lambda: with_attribute("LeakyRelu", "alpha", b"\x10\x05", TYPE_OF_FLOAT), "not an ONNX model"
    ),
    "constants of the event's sizes": (by_sizes_of_the_event, MUCH),
    "an event that doubles": (lambda: encoder(*doubled(40)), "values for one event"),
    "an event that is repeated": (
        lambda: encoder(node("Tile", "x n", "c"), initializers=constants(n=[1, 2**30])),
        "values for one event",
    ),
    "a product of all events": (
        lambda: encoder(node("Transpose", "x", "t"), node("MatMul", "x t", "c")),
        "grows faster than the batch",
    ),
    "a shape that the event says": (
        lambda: encoder(
            *(node(*each) for each in (("ReduceMax", "x", "m"), ("Reshape", "m one", "k"))),
            node("Cast", "k", "n", to=INT64),
            node("ConstantOfShape", "n", "c"),
            initializers=constants(one=[1]),
        ),
        "a shape that depends on values",
    ),
    "an operator that flows don't have": (lambda: encoder(node("NonZero", "x", "c")), "its operator NonZero is none"),
    "a condition": (conditional, "its operator If is none of those"),
    "a Loop without an end": (lambda: loop_of("_", node("Neg", "v", "c")), "no constant number of steps"),
    "a Loop that the event ends": (
        lambda: encoder(
            node("ReduceMax", "x", "m", keepdims=0),
            node("Cast", "m", "n", to=INT64),
            *onnx.load_model_from_string(loop_of("n", node("Neg", "v", "c"), n=3)).graph.node[:1],
            initializers=constants(true=True),
        ),
        "no constant number of steps",
    ),
    "a Loop of many steps": (lambda: loop_of("n", node("Neg", "v", "c"), n=10**9), "1000000000 steps, not 1 to 4,096"),
    "a Loop of more steps": (lambda: loop_of("n", node("Neg", "v", "c"), n=4_097), "4097 steps, not 1 to 4,096"),
    "a Loop of no steps": (lambda: loop_of("n", node("Neg", "v", "c"), n=0), "0 steps, not 1 to 4,096"),
    "a Loop of two numbers of steps": (loop_of_two_numbers, "'n' is the name of two values"),
    "a Loop of a list of steps": (lambda: loop_of("n", node("Neg", "v", "c"), n=[3, 4]), "no constant number of steps"),
    "a Loop of 32 bits": (lambda: loop_of("n", node("Neg", "v", "c"), n=np.int32(3)), "no constant number of steps"),
    "a Loop of a computed number of steps": (
        lambda: encoder(
            node("Mul", "a a", "n"), loop_node("n", node("Neg", "v", "c")), initializers=constants(true=True, a=2)
        ),
        "no constant number of steps",
    ),
    "many Loops of many steps": (lambda: loops_of(*[4_096] * 16, 1), "more than 65,536 steps together"),
    "many Loops": (lambda: loops_of(*[1] * 1_025), "more than 1,024 Loops"),
    "a Loop that collects": (
        lambda: loop_of("n", node("Neg", "v", "c"), gives="c c", attributes={"last": "last all"}, n=3),
        "collects values of all its steps",
    ),
    "a Loop of another graph": (
        lambda: loop_of("n", node("Neg", "v", "c"), attributes={"other": helper.make_graph([], "g", [], [])}, n=3),
        "a Loop of anything but one body",
    ),
    "a Loop that hides a value": (
        lambda: loop_of("n", node("Neg", "w", "c"), takes="w", n=3), "'w' is the name of two values"
    ),
    "a Loop that hides a value inside": (
        lambda: loop_of("n", node("Neg", "v", "w"), node("Neg", "w", "c"), n=3), "'w' is the name of two values"
    ),
    "a condition in a Loop": (
        lambda: loop_of("n", conditional_node("v"), n=3), "a graph inside a graph inside a graph",
    ),
    "a value twice": (
        lambda: encoder(node("Neg", "x", "a"), node("Abs", "x", "a")), "'a' is the name of two values"
    ),
    "Loops that read one value": (
        lambda: encoder(
            *(loop_node("n", *(node("LeakyRelu", "x", f"x{k}_{i}", alpha=float(i)) for i in range(400)),
                        gives=f"x{k}_0", last=f"last{k}") for k in range(3)),
            initializers=constants(true=True, n=3),
        ),
        "more than 1,000 of its operators read the same value",
    ),
    "a Loop that grows": (
        lambda: loop_of("n", node("Concat", "v v", "c", axis=1), n=40),
        "changes the shape of what it carries",
    ),
    "a Loop in a Loop": (nested, "a graph inside a graph inside a graph"),
    "graphs in graphs without end": (deep, "a graph inside a graph inside a graph"),
    "a Loop that draws": (lambda: loop_of("n", node("RandomNormalLike", "v", "c"), n=3), "draws random numbers"),
    "a Loop that divides": (
        lambda: loop_of("n", node("Mod", "i i", "k"), node("Neg", "v", "c"), n=3),
        DIVIDES,
    ),
    "a Loop of much work": (
        lambda: loop_of(
            "n",
            node("Concat", "v v", "d", axis=1),
            node("Tile", "d t", "u"),
            *(node("MatMul", f"{a} m", b) for a, b in itertools.pairwise(["u", *(f"u{i}" for i in range(19)), "a"])),
            node("Slice", "a zero two one", "c"),
            n=4_000, t=[1, 500], m=np.ones((2000, 2000), np.float32), zero=[0], two=[2], one=[1],
        ),
        "computes more for each event than any flow",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "message"), ATTACKS.values(), ids=ATTACKS)
def test_graphs_that_crash_or_block_are_refused(bundle: Path, make: Callable[[], bytes], message: str) -> None:
    put(bundle, "encode.onnx", make())
    text = refused(load, bundle)
    assert message in text and "encode.onnx is no graph of a flow" in text


def test_a_number_of_steps_outside_the_graph_is_refused(bundle: Path) -> None:
    loop_of_a_number_outside(bundle)
    assert "its Loop has no constant number of steps" in refused(load, bundle)


GOOD: dict[str, Callable[[], bytes]] = {
    "integers by a positive constant": lambda: of_integers("Div", [-(2**63)], [3]),
    "integers of the event by a positive constant": lambda: encoder(
        node("Cast", "x", "k", to=INT64), node("Mod", "k b", "c"), initializers=constants(b=[3, 4])
    ),
    "real numbers by zero": lambda: of_integers("Div", [1], [0], np.float32),
    "real numbers modulo real numbers": lambda: encoder(node("Mod", "x x", "c", fmod=1)),
    "integers by a Constant": lambda: encoder(node("Constant", "", "d", value_ints=[3]), node("Div", "d d", "c")),
    "truth values as integers": lambda: encoder(
        node("Cast", "s", "k", to=INT64),
        initializers=[W, TensorProto(name="s", data_type=TensorProto.BOOL, dims=[2], int32_data=[0, 1])],
    ),
    "half of the batch's size": lambda: encoder(
        *(node(*each) for each in (("Size", "x", "n"), ("Div", "n two", "h"))), initializers=constants(two=2)
    ),
    "a small constant of nothing": lambda: encoder(
        node("ConstantOfShape", "n", "c"), initializers=constants(n=[2**10, 2**10])
    ),
    "a Loop": lambda: loop_of("n", node("Neg", "v", "c"), n=3),
    "1,000 Loops": lambda: loops_of(*[1] * 1_000),
    "a Loop of as many steps as may be": lambda: loop_of("n", node("Neg", "v", "c"), n=4_096),
    "2,000 operators that leave an input out": lambda: encoder(
        *(node("Clip", f"x{i} _ m" if i else "x _ m", f"x{i + 1}") for i in range(2_000)),
        initializers=constants(m=np.float32(1)),
    ),
    "5,000 operators": lambda: identities(5_000),
}


@pytest.mark.parametrize("make", GOOD.values(), ids=GOOD)
def test_graphs_that_flows_may_have_are_taken(bundle: Path, make: Callable[[], bytes]) -> None:
    put(bundle, "encode.onnx", make())
    kind, text = outcome(served, bundle, "encode", np.ones((3, 2), np.float32))
    assert kind == "returned", text


def with_function() -> bytes:
    opsets = [helper.make_opsetid("", 20)]
    function = helper.make_function("evil", "F", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], opsets)
    return encoder(functions=[function])


GRAPHS = {
    "external data, absolute": (encoder(initializers=[external("/etc/passwd")]), "data outside"),
    "external data, upwards": (encoder(initializers=[external("../w.bin")]), "data outside"),
    "external data, in the bundle": (encoder(initializers=[external("lock.json")]), "data outside"),
    "external data, a device": (encoder(initializers=[external("/dev/zero")]), "data outside"),
    "external data, in memory": (encoder(initializers=[external("*/_ORT_MEM_ADDR_/*")]), "data outside"),
    "external data, unflagged": (encoder(initializers=[external("lock.json", 0)]), "data outside"),
    "external data, a constant": (as_constant(external("lock.json")), "data outside"),
    "external data, sparse": (sparse("lock.json"), "sparse tensors"),
    "function": (with_function(), "functions"),
    "operator of another domain": (
        encoder(helper.make_node("Evil", ["x"], ["y"], domain="evil")),
        "outside the standard domain",
    ),
    "operator of onnxruntime's own": (
        encoder(helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")),
        "outside the standard domain",
    ),
    "truncated": (encoder()[:-3], "truncated"),
    "empty": (b"", "empty"),
    "text": (SECRET.encode(), "no graph of a flow"),
    "zeros": (bytes(1000), "not an ONNX model"),
    "endless numbers": (b"\xff" * 1000, "not an ONNX model"),
    "format of onnxruntime's own": (b"\x20\x00\x00\x00ORTM" + bytes(100), "no graph of a flow"),
    "dims that overflow": (
        encoder(initializers=[TensorProto(name="w", data_type=1, dims=[2**40, 2**40], raw_data=bytes(8))]),
        "data don't fit its shape",
    ),
    "dims that are too large": (
        encoder(initializers=[TensorProto(name="w", data_type=1, dims=[2**40], raw_data=bytes(8))]),
        "data don't fit its shape",
    ),
    "negative dims": (
        encoder(initializers=[TensorProto(name="w", data_type=1, dims=[-2], raw_data=bytes(8))]),
        "no array of numbers",
    ),
    "a missing input": (encoder(initializers=()), "'w' is read, and nothing gives it"),
    "names of a megabyte": (encoder(helper.make_node("x" * 10**6, ["x"], ["y"])), "its operator xxx"),
    "names that are no UTF-8": (encoder().replace(b"batch", b"bat\xffh"), "cannot load"),
}


@pytest.mark.parametrize(("content", "message"), GRAPHS.values(), ids=GRAPHS)
def test_graphs_that_are_no_flow(bundle: Path, content: bytes, message: str) -> None:
    put(bundle, "encode.onnx", content)
    text = refused(load, bundle)
    assert message in text and "encode.onnx" in text and "secret" not in text and len(text) < 2000


def test_a_graph_of_endlessly_many_fields_is_left(bundle: Path) -> None:
    put(bundle, "encode.onnx", b"\x08\x01" * 10_001)
    assert "encode.onnx is no graph of a flow: it has more than 10,000 fields" in refused(load_of_few_fields, bundle)


def test_a_plain_graph_passes(bundle: Path) -> None:
    put(bundle, "encode.onnx", encoder())
    assert outcome(event_shape, bundle) == ("returned", "(2,)")


def test_a_graph_that_fails_when_it_runs_is_named(bundle: Path) -> None:
    shape = numpy_helper.from_array(np.array([3, 2]), "shape")
    reshape = helper.make_node("Reshape", ["x", "shape"], ["w"])
    put(bundle, "encode.onnx", encoder(reshape, initializers=[shape]))
    text = refused(served, bundle, "encode", np.zeros((5, 2), np.float32))
    assert "encode.onnx fails in onnxruntime" in text


def test_onnxruntime_prints_no_names_of_a_graph(bundle: Path, tmp_path: Path) -> None:
    unused = numpy_helper.from_array(np.zeros(2, np.float32), "\x1b[2J")
    shape = numpy_helper.from_array(np.array([3, 2]), "shape")
    reshape = helper.make_node("Reshape", ["x", "shape"], ["w"], name="\x1b[2J")
    put(bundle, "encode.onnx", encoder(reshape, initializers=[shape, unused]))
    refused(printing_to, tmp_path / "printed", served, bundle, "encode", np.zeros((5, 2), np.float32))
    assert (tmp_path / "printed").read_text() == ""


def test_a_graph_that_gives_another_shape_is_named(bundle: Path) -> None:
    five = numpy_helper.from_array(np.zeros((5, 2), np.float32), "w")
    put(bundle, "encode.onnx", encoder(initializers=[five]))
    text = refused(served, bundle, "encode", np.zeros((1, 2), np.float32))
    assert "encode.onnx gives z_1 of shape [5, 2], not [1, 2]" in text


# The reference


def pickled(owned: Path) -> bytes:
    np.save(content := io.BytesIO(), np.array([[Evil(owned)] * 2] * 8), allow_pickle=True)
    return content.getvalue()


def lying_sizes() -> bytes:
    """The directory of the archive says that a member has 1 TB."""
    content = bytearray(npz())
    at = content.index(b"PK\x01\x02")
    content[at + 20 : at + 28] = b"\xfe\xff\xff\xff" * 2
    return bytes(content)


REFERENCES = {
    "empty": (b"", "reference.npz"),
    "text": (SECRET.encode(), "not an .npz"),
    "pickle": (npz(x=pickled(Path("owned"))), "Python objects"),
    "header of 2^40": (npz(x=header((2**40, 2), "<f8")), "truncated or damaged"),
    "header of 2^40 columns": (npz(x=header((8, 2**40), "<f8")), "truncated or damaged"),
    "too many rows": (npz(x=header((2000, 2), "<f8") + bytes(32000)), "is of shape"),
    "no rows": (npz(x=header((0, 2), "<f8")), "is of shape"),
    "other rows": (npz(x=header((7, 2), "<f8") + bytes(112)), "number of rows"),
    "truncated": (npz(x=header((8, 2), "<f8") + bytes(100)), "truncated"),
    "records": (npz(x=header((8, 2), [("a", "<f8")]) + bytes(128)), "records"),
    "text array": (npz(x=header((8, 2), "<U4") + bytes(256)), "reference.npz"),
    "missing": (npz()[:-200], "not an .npz"),
    "compressed": (npz(zipfile.ZIP_DEFLATED), "is compressed"),
    "lying sizes": (lying_sizes(), "reference.npz"),
    "bzip2": (npz(zipfile.ZIP_BZIP2), "is compressed"),
}


@pytest.mark.parametrize(("content", "message"), REFERENCES.values(), ids=REFERENCES)
def test_references_that_lie(bundle: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str) -> None:
    monkeypatch.chdir(bundle)
    put(bundle, "reference.npz", content)
    text = refused(verification.verify, bundle)
    assert message in text and "reference.npz" in text and "secret" not in text
    assert not Path("owned").exists()


def test_members_with_paths_are_not_unpacked(bundle: Path) -> None:
    put(bundle, "reference.npz", npz(**{"../owned": b"x", "/tmp/owned-by-a-bundle": b"x"}))
    outcome(verification.verify, bundle)
    assert not (bundle.parent / "owned").exists() and not Path("/tmp/owned-by-a-bundle").exists()
