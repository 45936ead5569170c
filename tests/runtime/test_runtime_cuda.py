"""On a GPU. Each call takes numpy arrays and gives numpy arrays: what goes to the device and back goes once."""

from __future__ import annotations

import numpy as np
import pytest

from flowkit_runtime import load, providers, session
from flowkit_runtime.bundle import DECODER, ENCODER
from flowkit_runtime.errors import BundleError

CUDA = "CUDAExecutionProvider"


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
