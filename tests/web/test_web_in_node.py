"""The page's own noise and model, run by Node with the onnxruntime-web that the page holds: the samples of the runtime.

The tests in Chromium open the page itself. These need no browser, and compare many draws.
"""

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch

import flowkit_runtime
from flowkit import Flow
from flowkit.export import export
from flowkit.export.web import page, vendored
from flowkit.testing import perturb
from flowkit_base.gaussian_mixture import GaussianMixture
from flowkit_glow.actnorm import ActNorm
from tests.bases import FLOWS, moved
from tests.web.test_web_model import VECTORS

SCRIPT = """
import { readFileSync } from "node:fs";
import * as ort from "./ort.mjs";
globalThis.ort = ort;
const { Model } = await import("./model.js");
const noise = await import("./noise.js");
const read = (name) => readFileSync(`BUNDLE/${name}.onnx`);
const about = JSON.parse(readFileSync("BUNDLE/manifest.json"));
const files = { wasm: readFileSync("ort.wasm"), encoder: read("encode"), decoder: read("decode"), base: read("base") };
const model = await Model.open(about, files);
console.log(JSON.stringify(Array.from(await (EXPRESSION))));
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with the page's modules, onnxruntime-web, and bundles of flows with every kind of base."""
    if shutil.which("node") is None:
        pytest.skip("no Node here: `apt-get install nodejs`; the page's noise and model are NOT run without a browser")
    directory = tmp_path_factory.mktemp("node")
    for name in ("noise.js", "model.js", "dom.js"):
        shutil.copy(page.SOURCES / name, directory)
    (directory / "package.json").write_text('{"type": "module"}')
    (directory / "ort.mjs").write_bytes(vendored.read(vendored.SCRIPT))
    (directory / "ort.wasm").write_bytes(vendored.read(vendored.BINARY))
    export(_mixture(), directory / "mixture")
    for name in FLOWS:
        export(moved(name), directory / name)
    return directory


def _mixture() -> Flow:
    """A flow whose base has components that are far apart."""
    torch.manual_seed(0)
    flow = Flow([ActNorm((1,))], base=GaussianMixture((1,), 100))
    perturb(flow, 0.5)
    flow.bases[0].mean.data = 20 * torch.arange(100.0)[:, None]
    flow.initialized.fill_(True)
    return flow.eval().requires_grad_(False)


def ask(place, expression, bundle="mixture"):
    (place / "run.js").write_text(SCRIPT.replace("EXPRESSION", expression).replace("BUNDLE", bundle))
    done = subprocess.run(["node", "run.js"], cwd=place, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return np.array(json.loads(done.stdout))


def test_noise_equals_the_test_vectors(place):
    vectors = [(kind, vector) for kind in ("uniform", "normal") for vector in VECTORS[kind]]
    calls = [f"...noise.{kind}({v['seed']}n, {v['stream']}, 7, {v['first']})" for kind, v in vectors]
    for found, (kind, vector) in zip(ask(place, f"[{', '.join(calls)}]").reshape(-1, 7), vectors, strict=True):
        tolerance = 0 if kind == "uniform" else 1e-14
        np.testing.assert_allclose(found, vector["values"], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("name", FLOWS)
def test_samples_are_the_runtimes(place, name, temperature):
    """Of every base: the runtime's are those of torch, as tests/export/test_bases.py shows."""
    n, shape = 500, FLOWS[name]().context.shape
    context = np.arange(n) % 3 if shape is None else np.random.default_rng(0).normal(size=(n, *shape))
    rows = context.reshape(n, -1).tolist()
    found = ask(place, f"model.sample({n}, 3n, {temperature}, {rows})", name).reshape(n, -1)
    given = context if shape is None else context.astype(np.float32)
    expected = flowkit_runtime.load(place / name).sample(n, 3, temperature, given)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=5e-6)


def test_no_component_is_another_in_a_hundred_thousand_draws(place):
    """The means of the 100 components are 20 apart."""
    found = ask(place, "model.sample(100000, 5n, 0.5)")
    expected = flowkit_runtime.load(place / "mixture").sample(100_000, 5, 0.5)[:, 0]
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=5e-6)
    assert len(np.unique(np.rint(expected / np.ptp(expected) * 99))) > 90
