"""The page in a real browser, opened as a file: its model is the runtime's, and it asks the network for nothing."""

import json
from pathlib import Path

import numpy as np
import pytest

from flowkit.export.web import PAGE
from flowkit_runtime.noise import normal
from tests.pages import blocks
from tests.web.opened import decoded, every, points, shown_as

pytestmark = pytest.mark.slow
VECTORS = json.loads((Path(__file__).parents[2] / "runtime" / "test_vectors.json").read_text())


@every
def test_it_starts_and_asks_the_network_for_nothing(page):
    assert page.browser.evaluate("document.body.dataset.state") == "ready"
    assert page.browser.problems() == []
    assert page.browser.requests() == [f"file://{page.directory / PAGE}"]
    assert page.browser.text("h1") == f"tiny <{page.name}>"


@points
def test_the_browser_would_tell_of_a_request(page):
    with pytest.raises(RuntimeError, match="fetch"):
        page.browser.evaluate("fetch('http://127.0.0.1:9/')")
    assert any("connect-src 'none'" in json.dumps(problem) for problem in page.browser.problems())
    page.browser.seen.clear()


@every
@pytest.mark.parametrize("temperature, seed", [(1.0, 0), (0.7, 11), (1.3, 2**64 - 1)])
def test_samples_are_the_runtimes(page, temperature, seed):
    found = page.ask(f"sample(9, {seed}n, {temperature}, {page.rows(9)})")
    shapes = page.runtime.latent_shapes
    latents = [temperature * normal(seed, i, (9, *shape)) for i, shape in enumerate(shapes)]
    np.testing.assert_allclose(found, decoded(page, latents, 9), rtol=0, atol=1e-4)
    if page.levels is None:
        its = page.runtime.sample(9, page.context(9), temperature, seed)
        np.testing.assert_allclose(found, its, rtol=0, atol=1e-4)


@points
def test_noise_keeps_a_level_in_its_cell(page):
    almost = float(np.nextafter(1.0, 0.0))
    found = page.browser.evaluate(
        f"Array.from(flowkit.model.dequantized(Float32Array.of(16, 3, 0), [{almost}, 0.25, {almost}]))"
    )
    assert found == [np.nextafter(np.float32(17), np.float32(0)), 3.25, np.nextafter(np.float32(1), np.float32(0))]


@every
def test_the_way_between_two_examples_is_an_arc(page):
    a, b = page.examples[:2]
    found = page.ask(f"interpolate(flowkit.examples[0], flowkit.examples[1], [0, 0.25, 1], {page.rows(1)})")
    context = page.context(1)
    given = [x[None].astype(int) if page.levels else x[None] for x in (a, b)]
    z0, z1 = ([z.astype(float) for z in page.runtime.encode(x, context)] for x in given)
    flat0, flat1 = (np.concatenate([each.ravel() for each in z]) for z in (z0, z1))
    angle = np.arccos(flat0 @ flat1 / np.linalg.norm(flat0) / np.linalg.norm(flat1))
    weights = [np.sin((1 - t) * angle) / np.sin(angle) for t in (0, 0.25, 1)]
    others = [np.sin(t * angle) / np.sin(angle) for t in (0, 0.25, 1)]
    for x, p, q in zip(found, weights, others, strict=True):
        np.testing.assert_allclose(
            x[None], decoded(page, [p * u + q * v for u, v in zip(z0, z1, strict=True)], 1), rtol=0, atol=2e-4
        )
    half = 0.5 if page.levels else 0
    np.testing.assert_allclose(found[[0, 2]], [a + half, b + half], rtol=0, atol=1e-3)


@points
@pytest.mark.parametrize("vector", VECTORS["philox4x32-10"])
def test_philox_gives_the_known_answers(page, vector):
    words = [f"[{', '.join(f'0x{word}' for word in vector[name])}]" for name in ("counter", "key")]
    found = page.browser.evaluate(f"flowkit.noise.philox4x32({', '.join(words)})")
    assert [f"{word:08x}" for word in found] == vector["words"]


@points
@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_noise_equals_the_test_vectors(page, kind):
    for vector in VECTORS[kind]:
        found = page.browser.evaluate(
            f"Array.from(flowkit.noise.{kind}({vector['seed']}n, {vector['stream']}, 7, {vector['first']}))"
        )
        tolerance = {"uniform": 0, "normal": 1e-14}[kind]
        np.testing.assert_allclose(found, vector["values"], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("page", "example"), [("points", 0), ("labels", 1), ("records", 1)], indirect=["page"], scope="session"
)
def test_what_the_documentation_types_into_the_console_works(page, example):
    text = [text for kind, text in blocks("docs/web.md") if kind == "js"][example]
    assert page.browser.evaluate(f"(async () => {{ {text}; return typeof score }})()") == "number"


@shown_as("labels")
def test_a_class_may_be_its_number_alone(page):
    np.testing.assert_array_equal(page.ask("sample(3, 0n, 1, 2)"), page.ask("sample(3, 0n, 1, [[2], [2], [2]])"))


NO_CONTEXT = "null", "'red'", "[1, 2]", "[5]", "[0.5]", "-1"


@shown_as("labels", "records")
@pytest.mark.parametrize("context", NO_CONTEXT)
def test_a_context_that_is_none_is_refused_with_what_is_wanted(page, context):
    row = "the number of a class, from 0 to 4" if page.runtime.context.classes else "a list of"
    said = page.browser.evaluate(f"flowkit.model.sample(3, 0n, 1, {context}).catch((error) => error.message)")
    assert said.startswith(f"this flow needs a context: a list of 3 rows, or of one row for all. A row is {row}")
