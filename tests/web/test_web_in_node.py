"""The page's own noise and model, run by Node with the onnxruntime-web that the page holds: the samples of the runtime.

The tests in Chromium open the page itself. These need no browser, and compare many draws.
"""

import json
from itertools import product

import numpy as np
import pytest
import torch

import flowkit_runtime
from flowkit import Flow
from flowkit.export import Options, export
from flowkit.export.web import page
from flowkit.testing import perturb
from flowkit_base.class_conditional_normal import ClassConditionalNormal
from flowkit_base.gaussian_mixture import GaussianMixture
from flowkit_glow.actnorm import ActNorm
from tests.bases import FLOWS
from tests.pages import blocks
from tests.web.node import said, with_modules
from tests.web.test_web_model import VECTORS

pytestmark = pytest.mark.slow

SCRIPT = """
import { existsSync, readFileSync } from "node:fs";
import * as ort from "./ort.mjs";

globalThis.ort = ort;
const { Model } = await import("./model.js");
const noise = await import("./noise.js");
const wasm = readFileSync("ort.wasm");
const open = (bundle) => {
  const read = (name) => readFileSync(`${bundle}/${name}.onnx`);
  const files = { wasm, encoder: read("encode"), decoder: read("decode") };
  if (existsSync(`${bundle}/base.onnx`)) files.base = read("base");
  return Model.open(JSON.parse(readFileSync(`${bundle}/manifest.json`)), files);
};
const given = [];
"""

CASES = [(kind, vector) for kind in ("uniform", "normal") for vector in VECTORS[kind]]
NOISE = ", ".join(f"...noise.{kind}({v['seed']}n, {v['stream']}, 7, {v['first']})" for kind, v in CASES)
TEMPERATURES = (1.0, 0.6)
EVENT = (1, 2)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with the page's modules, onnxruntime-web, and bundles of flows with every kind of base."""
    directory = with_modules(tmp_path_factory.mktemp("node"), ("noise.js", "model.js", "dom.js"))
    export(_mixture(), directory / "mixture")
    for name, levels in (("classes", None), ("levels", 4)):
        export(_of_classes(levels), directory / name, options=Options(classes={"a": 0.25, "b": 0, "c": 0.75}))
    return directory


def _of_classes(levels) -> Flow:
    flow = Flow([ActNorm((2,))], base=ClassConditionalNormal((2,), (3,)), levels=levels, context={"classes": 3})
    perturb(flow, 0.5)
    flow.initialized.fill_(True)
    return flow.eval().requires_grad_(False)


def _mixture() -> Flow:
    """A flow whose base has components that are far apart."""
    torch.manual_seed(0)
    flow = Flow([ActNorm((1,))], base=GaussianMixture((1,), 100))
    perturb(flow, 0.5)
    flow.bases[0].mean.data = 20 * torch.arange(100.0)[:, None]
    flow.initialized.fill_(True)
    return flow.eval().requires_grad_(False)


def contexts(name):
    shape = FLOWS[name]().context.shape
    if shape is None:
        return np.arange(500) % 3
    return np.random.default_rng(0).normal(size=(500, *shape)).astype(np.float32)


@pytest.fixture(scope="module")
def given(place, bundles_of_bases):
    """What the modules give, by what it is. One process gives all, because it takes long to start."""
    expressions = {"noise": f"[{NOISE}]"}
    own = {name: place / name for name in ("mixture", "classes", "levels")}
    opened = {**own, **{name: bundles_of_bases / name for name in FLOWS}}
    models = ", ".join(f"{name}: await open({json.dumps(str(path))})" for name, path in opened.items())
    for name in ("classes", "levels"):
        expressions[name] = f"models.{name}.joint(Float32Array.of({EVENT[0]}, {EVENT[1]}))"
    expressions["mixture"] = "models.mixture.sample(100000, 5n, 0.5)"
    for name, temperature in product(FLOWS, TEMPERATURES):
        rows = contexts(name).reshape(500, -1).tolist()
        expressions[name, temperature] = f"models.{name}.sample(500, 3n, {temperature}, {rows})"
    pushed = "".join(f"given.push(Array.from(await ({each})));\n" for each in expressions.values())
    script = f"{SCRIPT}const models = {{ {models} }};\n{pushed}console.log(JSON.stringify(given));\n"
    return dict(zip(expressions, map(np.array, said(place, script)), strict=True))


def test_noise_equals_the_test_vectors(given):
    for found, (kind, vector) in zip(given["noise"].reshape(-1, 7), CASES, strict=True):
        tolerance = 0 if kind == "uniform" else 1e-14
        np.testing.assert_allclose(found, vector["values"], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("name", FLOWS)
def test_samples_are_the_runtimes(given, bundles_of_bases, name, temperature):
    """Of every base: the runtime's are those of torch, as tests/export/test_bases.py shows."""
    expected = flowkit_runtime.load(bundles_of_bases / name).sample(500, contexts(name), temperature, 3)
    np.testing.assert_allclose(given[name, temperature].reshape(500, -1), expected, rtol=2e-6, atol=5e-6)


def test_no_component_is_another_in_a_hundred_thousand_draws(place, given):
    """The means of the 100 components are 20 apart."""
    expected = flowkit_runtime.load(place / "mixture").sample(100_000, temperature=0.5, seed=5)[:, 0]
    np.testing.assert_allclose(given["mixture"], expected, rtol=2e-6, atol=5e-6)
    assert len(np.unique(np.rint(expected / np.ptp(expected) * 99))) > 90


@pytest.mark.parametrize("name", ["classes", "levels"])
def test_classes_are_as_probable_as_the_runtime_says(place, given, name):
    model = flowkit_runtime.load(place / name)
    joint = np.nan_to_num(given[name].astype(float), nan=-np.inf)  # JSON has no infinity
    x = np.array([EVENT], np.uint8 if name == "levels" else np.float32)
    total = np.logaddexp.reduce(joint)
    np.testing.assert_allclose(-total / (1 if name == "classes" else 2 * np.log(2)), model.score(x)[0], rtol=1e-5)
    np.testing.assert_allclose(np.exp(joint - total), model.posterior(x)[0], atol=1e-6)


ONE = """
const any = () => new Proxy(function () {}, {
  get: (target, name) => (name in target ? target[name] : typeof name === "symbol" ? undefined : any()),
  apply: () => any(),
  construct: () => any(),
});
globalThis.document = any(); // no element does anything
globalThis.ImageData = any();
const { startBetween } = await import("./between.js");
const asked = [];
const interpolate = async (a, b) => (asked.push([a[0], b[0]]), new Float32Array(40));
const model = { size: 4, values: (x) => x, interpolate };
const page = { about: { event: { shape: [1, 2, 2], levels: 2 } }, model, examples: [new Float32Array(4)] };
await startBetween(page);
console.log(JSON.stringify(asked));
"""


def test_a_page_with_one_example_starts(tmp_path):
    """It shows the way from the example to itself."""
    modules = [path.name for path in page.SOURCES.glob("*.js")]
    assert said(with_modules(tmp_path, modules), ONE) == [[0, 0]]


def test_the_program_of_the_documentation_gives_the_runtimes_scores(tmp_path):
    """It runs with the onnxruntime-web of the page in place of onnxruntime-node."""
    flow = Flow([ActNorm((2,))])
    flow.initialized.fill_(True)
    with_modules(tmp_path, ())
    export(flow, tmp_path / "exports" / "moons", torch.randn(200, 2, generator=torch.Generator().manual_seed(0)))
    (text,) = [text for kind, text in blocks("docs/export.md") if kind == "js"]
    wasm = 'from "./ort.mjs";\nort.env.wasm.numThreads = 1;\nort.env.wasm.wasmBinary = readFileSync("ort.wasm");'
    found = said(tmp_path, text.replace('from "onnxruntime-node";', wasm))
    model = flowkit_runtime.load(tmp_path / "exports" / "moons")
    expected = model.score([[0.5, 0.5], [-0.5, 0.75]])
    np.testing.assert_allclose(found["scores"], expected, rtol=1e-6)
    assert found["anomalous"] == model.anomalous(expected).tolist()
