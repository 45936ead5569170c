"""On a GPU. Each call takes numpy arrays and gives numpy arrays: what goes to the device and back goes once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flowkit_runtime import load, providers, session
from flowkit_runtime.bundle import DECODER, ENCODER
from flowkit_runtime.errors import BundleError, InputError

CUDA = "CUDAExecutionProvider"
X = torch.linspace(0, 16, 1200).reshape(300, 1, 2, 2)
Z = torch.linspace(-1, 1, 600).reshape(300, 1, 1, 2)


def available() -> bool:
    onnxruntime = pytest.importorskip("onnxruntime")
    return CUDA in onnxruntime.get_available_providers() and providers._has_cuda_device()


@pytest.mark.skipif(not available(), reason="there is no CUDA device here: the runtime on CUDA is NOT tested")
def test_cuda_gives_what_the_cpu_gives(make_bundle):
    bundle = make_bundle(levels=None)
    there, here = load(bundle), load(bundle, providers=["CPUExecutionProvider"])
    assert there._graphs[ENCODER].session.get_provider_options()[CUDA]["use_tf32"] == "0"
    x = (8 + 4 * np.random.default_rng(0).normal(size=(300, 1, 2, 2))).astype(np.float32)
    np.testing.assert_allclose(there.score(x), here.score(x), rtol=1e-5)
    np.testing.assert_allclose(there.sample(300, seed=1), here.sample(300, seed=1), rtol=1e-5)


@pytest.mark.skipif(not available(), reason="there is no CUDA device here: tensors on CUDA are NOT tested")
def test_tensors_on_cuda_stay_there(make_bundle):
    model = load(make_bundle(levels=None, context={"classes": 3}))
    x, context = X.to("cuda"), torch.arange(300, device="cuda") % 3
    torch.cuda.synchronize()
    found = model.on_device(x=x, context=context)
    assert {value.device_name() for value in found.values()} == {"cuda"}
    np.testing.assert_allclose(
        torch.from_dlpack(found["log_prob"]).cpu(), model.log_prob(X.numpy(), context.cpu().numpy()), rtol=1e-5
    )
    latents = {name: value for name, value in found.items() if name != "log_prob"}
    back = torch.from_dlpack(model.on_device(**latents, context=context)["x"])
    assert back.is_cuda and torch.allclose(back, x, rtol=1e-5, atol=1e-4)


def test_tensors_are_shared_and_give_what_arrays_give(make_bundle):
    model = load(make_bundle(levels=None, context={"shape": [2]}), providers=["CPUExecutionProvider"])
    context = torch.linspace(-1, 1, 600).reshape(300, 2)
    arrays = X.numpy(), context.numpy()
    found = model.on_device(x=X, context=context)
    latents = model.encode(*arrays, batch_size=300)
    for name, wanted in zip(("z_1", "z_2"), latents, strict=True):
        np.testing.assert_array_equal(torch.from_dlpack(found[name]), wanted)
    np.testing.assert_array_equal(
        found.pop("log_prob").numpy(), model.log_prob(X.numpy(), context.numpy(), batch_size=300)
    )
    back = model.on_device(**found, context=context)["x"]
    np.testing.assert_array_equal(back.numpy(), model.decode(latents, arrays[1], batch_size=300))
    assert torch.from_dlpack(back).data_ptr() == back.data_ptr()
    assert session._shared("x", X, "tensor(float)", (1, 2, 2)).data_ptr() == X.data_ptr()


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"x": Z}, r"x must be tensor\(float\) \[n, 1, 2, 2\], got tensor\(float\) \[300, 1, 1, 2\]"),
        ({"x": X.double()}, "x must be tensor.* got tensor.double. "),
        ({"x": X.transpose(2, 3)}, "x can't be shared as a contiguous DLPack tensor"),
        ({"x": X.clone().requires_grad_()}, "x can't be shared.*detach"),
        ({"x": [[1.0]]}, "x can't be shared"),
        ({"x": X, "y": X}, "the tensors must be x; 'y' is missing or too many"),
        ({"z_1": X[:, :, :1].contiguous()}, "the tensors must be z_1, z_2; 'z_2' is missing or too many"),
        ({"z_1": Z, "z_2": Z[:2]}, r"differ in their number of rows: \[300, 2\]"),
        ({}, "the tensors must be z_1, z_2; 'z_1' is missing"),
    ],
)
def test_tensors_that_cant_be_used(make_bundle, tensors, message):
    with pytest.raises(InputError, match=message):
        load(make_bundle(levels=None), providers=["CPUExecutionProvider"]).on_device(**tensors)


@pytest.mark.parametrize("rows", [1, 2, 3, 256, 300])
def test_bound_and_padded_as_on_a_gpu_the_rows_are_the_same(make_bundle, rows, monkeypatch):
    bundle = make_bundle(levels=None, context={"shape": [2]})
    there, here = load(bundle), load(bundle)
    sizes, right = set(), session._run_bound

    def recorded(bound, names, feed):
        sizes.update(len(array) for array in feed.values())
        return right(bound, names, feed)

    monkeypatch.setattr(session, "_run_bound", recorded)
    there._graphs[ENCODER].on_gpu = there._graphs[DECODER].on_gpu = True
    generator = np.random.default_rng(0)
    x, context = generator.normal(8, 4, (rows, 1, 2, 2)), generator.normal(size=(rows, 2))
    latents = [model.encode(x, context, batch_size=128) for model in (there, here)]
    np.testing.assert_array_equal(*map(np.stack, latents))
    np.testing.assert_array_equal(*(model.score(x, context, batch_size=128) for model in (there, here)))
    np.testing.assert_array_equal(*(model.decode(latents[0], context) for model in (there, here)))
    assert sizes <= {1, 2, 4, 64, 128, 256, 512}


def test_what_fails_on_a_gpu_is_told_of(make_bundle):
    model = load(make_bundle(levels=None))
    model._graphs[ENCODER].on_gpu = True
    with pytest.raises(BundleError, match=r"encode\.onnx fails in onnxruntime: .*x"):
        model._graphs[ENCODER].run(["log_prob"], {"x": np.zeros((3, 7), np.float32)})
