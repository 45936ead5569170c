"""The graph of a learned dequantization noise, in a bundle, the runtime and the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import flowkit_runtime
from flowkit.export.bundle import Options, export
from flowkit.flow import Flow
from flowkit_runtime.errors import BundleError
from flowkit_runtime.verification import verify
from tests.flow.test_dequantization import NOISE, perturbed, spec

pytestmark = pytest.mark.slow

K = torch.randint(4, (80, 2), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Flow, Path]:
    """A flow whose noise has a mixture as base, which takes uniform and normal noise, and its bundle with a page."""
    mixture = {"use": "base/gaussian_mixture", "components": 3}
    event, noise = {"shape": [2], "levels": 4}, {"flow": NOISE, "base": mixture}
    flow = perturbed(spec(event=event, dequantization=noise))  # no coupling: its graphs are known
    directory = tmp_path_factory.mktemp("bundle") / "exported"
    export(flow.float(), directory, K, options=Options(page="noise"))
    return flow.double(), directory


def test_scores_are_those_of_torch(exported: tuple[Flow, Path]) -> None:
    flow, directory = exported
    model = flowkit_runtime.load(directory)
    for draws, seed in ((1, 0), (3, 7)):
        with torch.no_grad():
            wanted = flow.bits_per_dim(K, draws=draws, seed=seed).numpy()
        assert np.abs(model.score(K.numpy(), draws=draws, seed=seed) - wanted).max() < 2e-6
    assert np.abs(model.score(K.numpy()[5:], start=5) - model.score(K.numpy())[5:]).max() < 1e-6
    assert model.printed_unit == "bits/dim (from a lower bound of the likelihood)"


def test_the_graph_is_verified_and_declared(exported: tuple[Flow, Path]) -> None:
    _, directory = exported
    assert {"u", "log_q"} <= {figure.quantity for figure in verify(directory)}
    manifest = json.loads((directory / "manifest.json").read_text())
    assert [each["kind"] for each in manifest["dequantization"]] == ["uniform", "normal"]
    assert manifest["likelihood"] == "lower_bound"
    assert "dequantize.onnx" in manifest["files"]


def test_a_bundle_without_the_graph_is_refused(exported: tuple[Flow, Path], tmp_path: Path) -> None:
    from flowkit_runtime.bundle import sealed

    _, directory = exported
    for path in directory.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    manifest: dict[str, Any] = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["files"]["dequantize.onnx"]
    (tmp_path / "manifest.json").write_bytes(sealed(manifest))
    with pytest.raises(BundleError, match=r"lists no dequantize\.onnx"):
        flowkit_runtime.load(tmp_path)


def test_the_page_holds_the_graph_and_scores_of_the_runtime(exported: tuple[Flow, Path]) -> None:
    _, directory = exported
    page = (directory / "index.html").read_text()
    assert 'id="block-dequantizer"' in page
    about = json.loads(page.split('id="about">')[1].split("</script>")[0])
    wanted = flowkit_runtime.load(directory).score(K.numpy()[:64])
    assert np.abs(np.array(about["scores"]) - wanted).max() < 1e-5
