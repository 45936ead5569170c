"""On a GPU. Each call takes numpy arrays and gives numpy arrays: what goes to the device and back goes once."""

from __future__ import annotations

import numpy as np
import pytest

from flowkit_runtime import load, session

CUDA = "CUDAExecutionProvider"


def available() -> bool:
    onnxruntime = pytest.importorskip("onnxruntime")
    return CUDA in onnxruntime.get_available_providers() and session._has_cuda_device()


@pytest.mark.skipif(not available(), reason="there is no CUDA device here: the runtime on CUDA is NOT tested")
def test_cuda_gives_what_the_cpu_gives(make_bundle):
    bundle = make_bundle(levels=None)
    there, here = load(bundle), load(bundle, providers=["CPUExecutionProvider"])
    assert there._encoder.session.get_provider_options()[CUDA]["use_tf32"] == "0"
    x = (8 + 4 * np.random.default_rng(0).normal(size=(300, 1, 2, 2))).astype(np.float32)
    np.testing.assert_allclose(there.score(x), here.score(x), rtol=1e-5)
    np.testing.assert_allclose(there.sample(300, seed=1), here.sample(300, seed=1), rtol=1e-5)
