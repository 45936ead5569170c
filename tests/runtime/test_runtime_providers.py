"""A model runs on the providers that were asked for, or there is an error; a GPU is in test_runtime_cuda.py."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner

from flowkit.cli.main import app as flowkit_app
from flowkit_runtime import BundleError, InputError, load, providers, verification
from flowkit_runtime.batch import Scorer
from flowkit_runtime.bundle import DECODER, ENCODER
from flowkit_runtime.cli.main import app
from flowkit_runtime.streaming.scoring import Job

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
REAL = onnxruntime.InferenceSession


def works(name: str) -> bool:
    """Whether this machine has the provider: `load` can't be asked, as it is what is tested."""
    return name == CPU or (name in onnxruntime.get_available_providers() and providers._has_cuda_device())


class Fallen:
    """Sessions as onnxruntime makes them where CUDA's libraries are missing: on the CPU, without an error."""

    fails: Exception | None = None
    fails_on = (CUDA,)

    def __new__(cls, path, options, providers, **others):
        if cls.fails is not None and providers[0][0] in cls.fails_on:
            raise cls.fails
        return REAL(path, options, providers=[(CPU, {})], **others)


@pytest.fixture
def without_cuda(monkeypatch):
    """An onnxruntime built for CUDA on a machine with a device, whose libraries are missing."""
    session = type("Session", (Fallen,), {})
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(providers, "_has_cuda_device", lambda: True)
    monkeypatch.setattr(providers, "_load_nvidia_wheels", lambda: None)
    return session


@pytest.mark.skipif(works(CUDA), reason="CUDA works here: what is said where it doesn't is NOT tested for real")
def test_cuda_that_cannot_be_loaded_here_is_an_error(make_bundle):
    with pytest.raises(InputError, match=f"{CUDA}.*onnxruntime-gpu"):
        load(make_bundle(), providers=[CUDA])


@pytest.mark.parametrize("asked", [[CUDA], [CUDA, CPU], [(CUDA, {"device_id": 0}), CPU]])
def test_a_provider_that_onnxruntime_leaves_out_is_an_error(make_bundle, without_cuda, asked):
    message = rf"couldn't load {CUDA}, and would run on {CPU}: .+; install CUDA and cuDNN.*onnxruntime-gpu\[cuda,"
    for call in (load, lambda bundle, providers: Scorer(bundle, providers=providers)):
        with pytest.raises(InputError, match=message):
            call(make_bundle(), providers=asked)


def test_the_systems_reason_is_told(monkeypatch, tmp_path_factory, make_bundle, without_cuda):
    place = tmp_path_factory.mktemp("onnxruntime")
    (place / "capi").mkdir()
    for name in ("libonnxruntime_providers_cuda.so", "onnxruntime_providers_cuda.dll"):
        (place / "capi" / name).write_bytes(b"no library")
    monkeypatch.setattr(onnxruntime, "__file__", str(place / "__init__.py"))
    with pytest.raises(InputError, match=r"would run on .*: .*onnxruntime_providers_cuda\.\w+.*; install"):
        load(make_bundle(), providers=[CUDA])


def test_a_provider_that_fails_is_told_from_a_graph_that_does(make_bundle, without_cuda):
    without_cuda.fails = RuntimeError("CUDA failure 35: driver version is insufficient\n")
    with pytest.raises(InputError, match=rf"can't use {CUDA}: CUDA failure 35: driver version is .*; install"):
        load(make_bundle(), providers=[CUDA])
    without_cuda.fails_on = (CUDA, CPU)
    for asked in ([CUDA], [CPU], None):
        with pytest.raises(BundleError, match=r"cannot load .*encode\.onnx \(a newer one may\): CUDA failure 35"):
            load(make_bundle(), providers=asked)


@pytest.mark.parametrize("fails", [None, RuntimeError("CUDA failure 35")])
def test_unasked_the_cpu_serves_where_cuda_cannot(make_bundle, without_cuda, fails):
    without_cuda.fails = fails
    model = load(make_bundle())
    assert model.providers == (CPU,) and not model._graphs[ENCODER].on_gpu
    assert model.sample(2, seed=0).shape == (2, 1, 2, 2)


@pytest.mark.parametrize("asked", [None, [CPU], (CPU,), [(CPU, {})]])
def test_the_providers_in_use_are_told(make_bundle, asked):
    model = load(make_bundle(), providers=asked)
    assert model.providers == tuple(model._graphs[DECODER].session.get_providers())
    assert model.providers[-1] == CPU


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([], r"providers must be a list of names, such as \['CPUExecutionProvider'\], got \[\]"),
        ((), "providers must be a list of names"),
        (CPU, "providers must be a list of names"),
        (5, "providers must be a list of names"),
        (["NoSuchProvider"], "no provider 'NoSuchProvider' here; it has .*CPU"),
        ([CPU, "cuda"], "no provider 'cuda' here; it has .*CPU"),
        (["a" * 5000], "no provider 'a+ …"),
        ([CPU, CPU], f"providers has {CPU} twice"),
        ([None], "a provider is a name, or a name and a dict of options; got None"),
        ([(CPU, "device_id")], "a provider is a name, or a name and a dict"),
        ([()], r"a provider is a name, or a name and a dict of options; got \(\)"),
    ],
)
def test_providers_that_are_none_are_refused(make_bundle, asked, message):
    with pytest.raises(InputError, match=message):
        load(make_bundle(), providers=asked)


def test_cuda_of_the_other_wheel_says_which(make_bundle, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    with pytest.raises(InputError, match="CUDA is in the wheel onnxruntime-gpu: uninstall onnxruntime, whose place"):
        load(make_bundle(), providers=[CUDA])


@pytest.mark.parametrize("available", [True, False])
@pytest.mark.parametrize("device", [True, False])
def test_cuda_is_chosen_only_where_it_can_run(monkeypatch, tmp_path, available, device):
    driver = tmp_path / "nvidiactl"
    if device:
        driver.touch()
    monkeypatch.setattr(providers, "_DRIVER_FILES", (str(driver),))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU] if available else [CPU])
    cuda, cpu = (CUDA, {"use_tf32": 0}), (CPU, {})
    assert providers.default() == ([cuda, cpu] if available and device else [cpu])


def test_cuda_computes_without_tf32_unless_told(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    assert providers.checked_providers([CUDA, CPU]) == [(CUDA, {"use_tf32": 0}), (CPU, {})]
    asked = [(CUDA, {"device_id": 1, "use_tf32": 1})]
    assert providers.checked_providers(asked) == asked


def test_cudas_libraries_are_looked_for_in_wheels_once_and_silently(make_bundle, monkeypatch, capsys):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Fallen)
    calls = []
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: calls.append(print("Failed to load")), raising=False)
    providers._load_nvidia_wheels.cache_clear()
    for _ in range(2):
        with pytest.raises(InputError):
            load(make_bundle(), providers=[CUDA])
    load(make_bundle(), providers=[CPU])
    assert calls == [None] and capsys.readouterr().out == ""
    providers._load_nvidia_wheels.cache_clear()


COMMANDS = {
    "info": "info bundle",
    "verify": "verify bundle",
    "score": "score bundle x.npy",
    "sample": "sample bundle -n 2 -o y.npy",
    "encode": "encode bundle x.npy -o z.npz",
    "decode": "decode bundle z.npz -o y.npy",
    "interpolate": "interpolate bundle x.npy 0 1 -o y.npy",
}


@pytest.fixture
def place(make_bundle, tmp_path_factory, monkeypatch):
    """A directory with a bundle, events and latents. `verify` takes its reference, which it lacks, for read."""
    monkeypatch.setattr(verification, "_read_reference", lambda bundle: {})
    monkeypatch.setattr(verification, "_own_errors", lambda bundle, quantities: {})
    directory = tmp_path_factory.mktemp("place")
    monkeypatch.chdir(directory)
    make_bundle(levels=None).rename(directory / "bundle")
    np.save("x.npy", np.zeros((2, 1, 2, 2), np.float32))
    np.savez("z.npz", z_1=np.zeros((2, 1, 1, 2)), z_2=np.zeros((2, 1, 1, 2)))
    return directory


@pytest.mark.parametrize(
    ("program", "command"), [*((app, name) for name in COMMANDS), (flowkit_app, "score"), (flowkit_app, "verify")]
)
def test_every_command_that_runs_a_model_takes_providers(place, without_cuda, program, command):
    before = sorted(place.iterdir())
    for given, message in ((CUDA, f"couldn't load {CUDA}"), (f"{CPU},x", "no provider 'x' here"), ("", "got []")):
        result = CliRunner().invoke(program, [*COMMANDS[command].split(), "--providers", given])
        assert result.exit_code == 2 and message in result.stderr, result.output
    assert sorted(place.iterdir()) == before
    if command != "verify":
        result = CliRunner().invoke(program, [*COMMANDS[command].split(), "--providers", CPU])
        assert result.exit_code == 0, result.output


def test_info_says_on_what_a_bundle_runs(place):
    lines = CliRunner().invoke(app, ["info", "bundle", "--providers", CPU]).stdout.splitlines()
    assert lines[-1].split() == ["providers", CPU]


def test_scores_of_another_provider_are_not_gone_on_with(place):
    model, source = load("bundle"), SimpleNamespace(identity=[])
    job = Job(model, source, place / "x.npy")
    before = job.made_from
    model.providers = (CUDA, CPU)
    assert job.made_from != before


def test_a_scorer_takes_its_providers_along(make_bundle):
    scorer = Scorer(make_bundle(), providers=[CPU])
    make, arguments = scorer.__reduce__()
    assert arguments[-1] == [CPU] and make(*arguments)._model.providers == (CPU,)
