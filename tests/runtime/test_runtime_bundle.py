import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import flowkit_runtime
from flowkit_runtime import BundleError, InputError, load
from flowkit_runtime.bundle import read_bundle, resized
from tests.extent import extent
from tests.security.bundles import edit_manifest, put


def refusal(directory):
    with pytest.raises(BundleError) as caught:
        load(directory)
    return str(caught.value)


def test_a_model_describes_its_data(make_bundle):
    model = load(make_bundle(context={"shape": [3]}))
    assert model.event_shape == (1, 2, 2)
    assert model.levels == 17
    assert (model.context.shape, model.context.classes) == ((3,), None)
    assert model.latent_shapes == ((1, 1, 2), (1, 1, 2))
    assert model.manifest["weights"] == "ema"


def test_a_missing_directory_is_told_what_a_bundle_is(tmp_path):
    message = refusal(tmp_path / "nowhere")
    assert "nowhere is not a directory" in message
    assert "flowkit export RUN -o DIR" in message


def test_a_directory_without_manifest_is_told_what_a_bundle_is(tmp_path):
    assert "has no manifest.json; a bundle is a directory with" in refusal(str(tmp_path))


def test_a_training_run_is_told_to_export_first(tmp_path):
    (tmp_path / "spec.yaml").write_text("")
    assert f"export it first with `flowkit export {tmp_path} -o DIR`" in refusal(tmp_path)


def test_a_manifest_that_is_no_json_is_refused(make_bundle):
    directory = make_bundle()
    (directory / "manifest.json").write_text("{")
    assert "manifest.json is not valid JSON" in refusal(directory)


def test_a_manifest_that_cannot_be_read_says_why(make_bundle, monkeypatch):
    def denied(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    directory = make_bundle()
    monkeypatch.setattr("flowkit_runtime.bundle.read_short", denied)
    assert refusal(directory) == f"{directory / 'manifest.json'} can't be read: Permission denied"


def test_an_unknown_format_names_the_known_ones(make_bundle):
    known = "this flowkit-runtime reads format 4"
    assert f"has format 2; {known}: export the run again" in refusal(make_bundle(format=2))
    assert f"has format 5; {known}: upgrade flowkit-runtime" in refusal(make_bundle(format=5))
    assert f"has format '4'; {known}: export the run again" in refusal(make_bundle(format="4"))


def test_a_bundle_without_its_manifest_is_no_run(make_bundle):
    directory = make_bundle()
    (directory / "manifest.json").unlink()
    assert f"{directory} has ONNX graphs, but manifest.json is missing; copy the bundle again" in refusal(directory)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"event": {"shape": [1, 0], "levels": None}}, "event.shape is 0, not an integer from 1 to 16777216"),
        ({"event": {"shape": 4, "levels": None}}, "event.shape is 4, not a list"),
        ({"event": {"shape": [4]}}, "lacks the field 'levels'"),
        ({"event": {"shape": [4], "levels": 1}}, "event.levels is 1, not an integer from 2 to 65536"),
        ({"latents": []}, "latents is [], not a list of shapes"),
        ({"files": []}, "files is [], not an object"),
        ({"context": {"classes": "ten"}}, "context.classes is 'ten', not an integer"),
        ({"context": {"kind": 1}}, "lacks the field 'shape'"),
    ],
)
def test_a_malformed_manifest_is_refused(make_bundle, fields, message):
    directory = make_bundle()
    edit_manifest(directory, lambda manifest: manifest.update(fields))
    assert message in refusal(directory)


def test_a_manifest_with_any_bit_changed_is_refused(make_bundle):
    directory = make_bundle(threshold={"score": 1.5, "quantile": 0.99, "events": 40})
    path = directory / "manifest.json"
    content = path.read_bytes()
    for at in range(0, 8 * len(content), extent(7, 1)):  # at least one bit of each byte, not always the same
        changed = bytearray(content)
        changed[at // 8] ^= 1 << at % 8
        path.write_bytes(changed)
        with pytest.raises(BundleError, match=r"manifest\.json"):
            read_bundle(directory)
    path.write_bytes(content)
    assert read_bundle(directory).threshold.score == 1.5


def test_a_manifest_that_is_no_object_is_refused(make_bundle):
    directory = make_bundle()
    (directory / "manifest.json").write_text("[]")
    assert "it is not an object" in refusal(directory)


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", "C:x", "..", ".", "", "/etc/hosts", "a\0b"])
def test_only_plain_file_names_are_accepted(make_bundle, name):
    directory = make_bundle()
    edit_manifest(directory, lambda manifest: manifest["files"].update({name: "0"}))
    assert "which is not a plain file name" in refusal(directory)


def test_a_link_that_leaves_the_bundle_is_refused(make_bundle, tmp_path_factory):
    directory = make_bundle()
    outside = tmp_path_factory.mktemp("outside") / "lock.json"
    (directory / "lock.json").replace(outside)
    (directory / "lock.json").symlink_to(outside)
    assert "lock.json is a link that leaves the bundle" in refusal(directory)


def test_a_link_to_the_bundle_is_followed(make_bundle, tmp_path_factory):
    link = tmp_path_factory.mktemp("links") / "bundle"
    link.symlink_to(make_bundle())
    assert load(link).levels == 17


def test_a_missing_file_is_named(make_bundle):
    directory = make_bundle()
    (directory / "reference.npz").unlink()
    assert "reference.npz is missing, though manifest.json lists it" in refusal(directory)


def test_a_changed_file_is_named(make_bundle):
    directory = make_bundle()
    (directory / "spec.yaml").write_text("flow: [x]\n")
    assert "spec.yaml does not match its SHA-256" in refusal(directory)


def test_both_graphs_must_be_listed(make_bundle):
    directory = make_bundle()
    edit_manifest(directory, lambda manifest: manifest["files"].pop("decode.onnx"))
    assert "files lists no decode.onnx" in refusal(directory)


def test_a_graph_onnxruntime_cannot_read_is_named(make_bundle):
    directory = make_bundle()
    put(directory, "encode.onnx", b"not a graph")
    assert "encode.onnx is no graph of a flow: it is not an ONNX model" in refusal(directory)


def test_a_graph_that_contradicts_the_manifest_is_refused(make_bundle):
    directory = make_bundle()
    edit_manifest(directory, lambda manifest: manifest.update(context={"classes": 3}))
    message = refusal(directory)
    assert "encode.onnx maps x [n, 1, 2, 2] to" in message and "implies x [n, 1, 2, 2], context [n]" in message


@pytest.mark.parametrize(
    "size", [5, None, "ab", (4.0, 8.0), (4,), (4, 3), (0, 4), (4, 4, 4), (4, 10**5000), (4, 2**24)]
)
def test_sizes_that_are_none_are_refused(make_bundle, size):
    bundle = read_bundle(make_bundle(sizes_are_multiples_of=[2, 2]))
    assert resized(bundle, (4, 8)).event_shape == (1, 4, 8)
    with pytest.raises(InputError, match="size must be a height and a width"):
        resized(bundle, size)


def run_python(program, *arguments):
    environment = os.environ | {"PYTHONPATH": str(Path(flowkit_runtime.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def test_the_runtime_imports_no_training_stack_and_is_silent(make_bundle):
    program = (
        "import sys, flowkit_runtime.noise\n"
        "flowkit_runtime.noise.normal(0, 0, (2,))\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "assert flowkit_runtime.load(sys.argv[1]).sample(2, seed=0).shape == (2, 1, 2, 2)\n"
        "print({'torch', 'pydantic', 'flowkit', 'onnx'} & set(sys.modules))\n"
    )
    done = run_python(program, str(make_bundle()))
    assert (done.stdout, done.stderr) == ("set()\n", "")
