"""The page in a real browser, opened as a file: it does what flowkit_runtime does, and asks the network for nothing."""

import json
import shutil
from pathlib import Path

import matplotlib.image
import numpy as np
import onnxruntime
import pytest

import flowkit_runtime
from flowkit.export.web import PAGE, write_page
from flowkit_runtime.noise import normal
from tests.pages import blocks

pytestmark = pytest.mark.slow
VECTORS = json.loads((Path(__file__).parents[2] / "runtime" / "test_vectors.json").read_text())


def held_out(directory):
    """Events of a bundle that are like the data, and their context or None."""
    with np.load(directory / "reference.npz") as arrays:
        like = arrays["group"] == 0
        return arrays["x"][like], arrays["context"][like] if "context" in arrays else None


class Opened:
    """A page in the browser, and the runtime with the same bundle."""

    def __init__(self, name, directory, browser):
        self.name, self.directory, self.browser = name, directory, browser
        self.runtime = flowkit_runtime.load(directory)
        self.levels = self.runtime.levels
        x, self.contexts = held_out(directory)
        self.examples = np.floor(x) if self.levels else x.astype(np.float32)
        browser.open(f"file://{directory / PAGE}")

    def context(self, n):
        """A context for each of n events, as the runtime takes it."""
        if self.runtime.context is None:
            return None
        return np.arange(n) % 5 if self.runtime.context.classes else self.contexts[:n].astype(np.float32)

    def rows(self, n):
        """The same, as the page's model takes it."""
        return "null" if self.contexts is None else json.dumps(self.context(n).reshape(n, -1).tolist())

    def ask(self, expression):
        """The Float32Array of events that a method of the page's model gives."""
        values = self.browser.evaluate(f"flowkit.model.{expression}.then((x) => Array.from(x))")
        return np.array(values).reshape(-1, *self.runtime.event_shape)

    def score(self):
        """The score that the page shows."""
        return float(self.browser.evaluate("document.getElementById('score').value"))

    def levels_of(self, selector):
        """Integer events as they are painted on canvases; grey pictures are painted in three equal colours."""
        pixels = self.browser.evaluate(
            f"Array.from(document.querySelectorAll({json.dumps(selector)}), (canvas) => Array.from("
            "canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data))"
        )
        channels, height, width = self.runtime.event_shape
        colours = np.array(pixels).reshape(-1, height, width, 4)[..., :channels].transpose(0, 3, 1, 2)
        return np.rint(colours / 255 * (self.levels - 1))


@pytest.fixture(scope="module")
def page(request, exported, chromium):
    return Opened(request.param, exported[request.param], chromium)


def shown_as(*names):
    """Marks a test that is done with the pages of these flows."""
    return pytest.mark.parametrize("page", names, indirect=True, scope="module")


every = shown_as("colours", "labels", "points", "records")
pictures = shown_as("colours", "labels")
points = shown_as("points")


def decoded(page, latents, n):
    """The decoder's own answer, before floor."""
    session = onnxruntime.InferenceSession(str(page.directory / "decode.onnx"), providers=["CPUExecutionProvider"])
    feed = {f"z_{i}": np.asarray(z, np.float32) for i, z in enumerate(latents, 1)}
    if page.contexts is not None:
        feed["context"] = page.context(n)
    return session.run(["x"], feed)[0]


@every
def test_it_starts_and_asks_the_network_for_nothing(page):
    assert page.browser.evaluate("document.body.dataset.state") == "ready"
    assert page.browser.problems() == []
    assert page.browser.requests() == [f"file://{page.directory / PAGE}"]
    assert page.browser.text("h1") == f"tiny <{page.name}>"


@every
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
        its = page.runtime.sample(9, seed, temperature, page.context(9))
        np.testing.assert_allclose(found, its, rtol=0, atol=1e-4)


@pictures
def test_the_pictures_shown_are_the_runtimes_samples(page):
    page.browser.set("temperature", 0.8)
    page.browser.set("seed", 5)
    shown = page.levels_of("#sampled canvas")
    assert len(shown) == 48
    its = page.runtime.sample(48, seed=5, temperature=0.8, context=page.context(48))
    assert (shown == its).mean() > 0.999
    assert page.browser.text("#temperature-shown") == "0.80"


@every
def test_another_seed_gives_other_samples(page):
    before = page.browser.evaluate(
        "document.getElementById('sampled').innerHTML + document.getElementById('seed').value"
    )
    page.browser.click("#another")
    after = page.browser.evaluate(
        "document.getElementById('sampled').innerHTML + document.getElementById('seed').value"
    )
    assert before != after


@every
@pytest.mark.parametrize("seed", ["-1", "1.5", "", str(2**64)])
def test_a_seed_that_is_none_is_refused(page, seed):
    page.browser.set("seed", seed)
    assert page.browser.text("#samples .complaint").startswith(f"Seed: “{seed}” is not a whole number from 0 to")
    page.browser.set("seed", "3")
    assert page.browser.text("#samples .complaint") == ""


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


@pictures
def test_the_ends_of_the_way_are_those_chosen(page):
    page.browser.click("#from .thumb:nth-child(4) input")
    page.browser.click("#to .thumb:nth-child(6) input")
    for way, example in [("0", 3), ("1", 5)]:
        page.browser.set("way", way)
        left, here, right = page.levels_of("#walked .triple canvas")
        assert np.array_equal(here, page.examples[example])
        assert np.array_equal(left, page.examples[3]) and np.array_equal(right, page.examples[5])
    strip = page.levels_of("#walked .strip canvas")
    assert np.array_equal(strip[0], page.examples[3]) and np.array_equal(strip[-1], page.examples[5])
    assert not np.array_equal(strip[4], page.examples[3])


@pytest.fixture(scope="module")
def picture_file(page, tmp_path_factory):
    """An event as a PNG of four times its size, and the event."""
    event = np.random.default_rng(1).integers(0, page.levels, page.runtime.event_shape)
    colours = np.rint(event / (page.levels - 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    path = tmp_path_factory.mktemp("picture") / "mine.png"
    matplotlib.image.imsave(path, np.broadcast_to(colours, (4, 4, 3)).repeat(4, axis=0).repeat(4, axis=1))
    return path, event


@pictures
def test_a_picture_file_is_scored_as_the_runtime_scores_it(page, picture_file):
    path, event = picture_file
    page.browser.choose_file("file", path)
    assert np.array_equal(page.levels_of("#seen canvas")[0], event)
    label = None
    if page.contexts is not None:
        page.browser.set("example-context-input", "4", "change")
        label = 4
    expected = page.runtime.score(event[None], label, seed=0)[0]
    assert page.score() == pytest.approx(expected, abs=1e-5)
    rank = (np.array(page.browser.evaluate("flowkit.about.scores")) > expected).sum()
    assert page.browser.text("#scored").count(f"Likelier than {rank} of {len(page.examples)} pictures")
    assert page.browser.evaluate("document.querySelector('#examples :checked')") is None


@pictures
def test_noise_keeps_a_level_in_its_cell(page):
    almost = np.nextafter(1.0, 0.0)
    draws = [float(almost), 0.25, float(almost)]
    found = page.browser.evaluate(f"Array.from(flowkit.model.dequantized(Float32Array.of(16, 3, 0), {draws}))")
    assert found == [np.nextafter(np.float32(17), np.float32(0)), 3.25, np.nextafter(np.float32(1), np.float32(0))]


@pictures
def test_light_and_dark_can_be_swapped(page, picture_file):
    path, event = picture_file
    page.browser.choose_file("file", path)
    page.browser.click("#inverted")
    assert np.array_equal(page.levels_of("#seen canvas")[0], page.levels - 1 - event)
    page.browser.click("#inverted")


@pictures
def test_the_middle_of_a_large_picture_is_averaged(page, tmp_path):
    tall, wide = 10, 13  # a pixel of the event covers 2.5 by 2.5 of these
    colours = np.random.default_rng(2).integers(0, 256, (tall, wide, 3)).astype(np.uint8)
    matplotlib.image.imsave(tmp_path / "large.png", colours)
    page.browser.choose_file("file", tmp_path / "large.png")
    middle = colours.astype(float).repeat(2, axis=0).repeat(2, axis=1)[:, 3:-3]
    means = middle.reshape(4, 5, 4, 5, 3).mean(axis=(1, 3)) / 255
    if page.runtime.event_shape[0] == 1:
        means = (means @ [0.299, 0.587, 0.114])[..., None]
    expected = np.rint(means.transpose(2, 0, 1) * (page.levels - 1))
    assert np.array_equal(page.levels_of("#seen canvas")[0], expected)


@pictures
def test_a_file_that_is_no_picture_is_refused(page, tmp_path):
    (tmp_path / "notes.png").write_text("no picture")
    page.browser.choose_file("file", tmp_path / "notes.png")
    assert page.browser.text("#example .complaint").startswith("notes.png is no picture that this browser can read")
    page.browser.click("#examples .thumb:nth-child(3) input")
    assert page.browser.text("#example .complaint") == ""


def raised(number):
    """As the page writes a number of less than 0.001."""
    digits, power = f"{number:.1e}".split("e")
    return f"{digits} × 10{str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


@pictures
def test_the_map_shows_where_the_errors_are(page):
    page.browser.click("#examples .thumb:nth-child(2) input")
    label = "null" if page.contexts is None else f"[[{page.contexts[1]}]]"
    points = "flowkit.model.points(flowkit.examples[1])"
    back = page.ask(f"encode({points}, {label}).then(({{latents}}) => flowkit.model.decode(latents, {label}))")[0]
    errors = np.abs(back - page.examples[1] - 0.5)
    assert 0 < errors.max() < 1e-3
    assert page.browser.text("#largest") == raised(errors.max())
    heat = np.array(
        page.browser.evaluate(
            "Array.from(document.querySelector('#returned > canvas').getContext('2d').getImageData(0, 0, 4, 4).data)"
        )
    ).reshape(16, 4)[:, 1]
    assert heat.argmax() == errors.max(axis=0).ravel().argmax()
    assert f"{errors.size} of {errors.size} values come back exactly" in page.browser.text("#returned")


@points
def test_typed_numbers_are_scored_as_the_runtime_scores_them(page):
    page.browser.set("numbers", "0.5; -0.25", "change")
    expected = page.runtime.score(np.array([[0.5, -0.25]], np.float32))[0]
    assert page.score() == pytest.approx(expected, abs=1e-5)
    assert page.browser.evaluate("document.querySelectorAll('#returned tbody tr').length") == 2


@points
def test_what_is_too_far_has_no_score(page):
    page.browser.set("numbers", "1e38, -1e38", "change")
    assert not np.isfinite(page.runtime.score(np.array([[1e38, -1e38]], np.float32))[0])
    assert page.browser.text("#scored") == "none\n\nThis is too far from anything the model has seen."
    assert page.browser.text("#example .complaint") == ""


@points
def test_a_click_on_the_map_chooses_that_point(page):
    page.browser.set("examples-input", "0", "change")
    before = page.score()
    page.browser.evaluate(
        """(() => {
            const map = document.querySelector("#seen svg");
            const box = map.querySelectorAll("circle.real")[2].getBoundingClientRect();
            const middle = {clientX: box.left + box.width / 2, clientY: box.top + box.height / 2, bubbles: true};
            map.dispatchEvent(new MouseEvent("click", middle));
        })()"""
    )
    page.browser.settle()
    typed = [float(number) for number in page.browser.evaluate("document.getElementById('numbers').value").split(", ")]
    np.testing.assert_allclose(typed, page.examples[2], atol=0.01)
    assert page.score() != before


@shown_as("records")
def test_typed_levels_and_context_are_scored_as_the_runtime_scores_them(page):
    page.browser.set("numbers", "0 8 3", "change")
    page.browser.set("example-context-input", "0.5, -1", "change")
    expected = page.runtime.score(np.array([[0, 8, 3]]), np.array([[0.5, -1]], np.float32), seed=0)[0]
    assert page.score() == pytest.approx(expected, abs=1e-5)
    assert page.browser.text("#scored .figure").split() == [f"{page.score():.3f}", "bits", "per", "value"]
    page.browser.set("numbers", "0 9 3", "change")
    assert page.browser.text("#example .complaint") == "Your numbers: 9 is not a whole number from 0 to 8."
    page.browser.set("example-context-input", "0.5", "change")
    page.browser.set("numbers", "0 1 3", "change")
    assert page.browser.text("#example .complaint") == "What the model is given: 2 numbers are wanted, not 1."
    page.browser.set("example-context-input", "0.5, -1", "change")
    assert page.browser.text("#example .complaint") == ""


@shown_as("records")
def test_an_examples_own_context_comes_with_it(page):
    page.browser.set("examples-input", "4", "change")
    shown = page.browser.evaluate("document.getElementById('example-context-input').value").split(", ")
    np.testing.assert_allclose([float(number) for number in shown], page.contexts[4], rtol=1e-6)
    expected = page.runtime.score(page.examples[4:5].astype(int), page.contexts[4:5], seed=0)[0]
    assert page.score() == pytest.approx(expected, abs=1e-5)


@points
@pytest.mark.parametrize(
    "text, complaint",
    [
        ("0.5", "Your numbers: 2 numbers are wanted, not 1."),
        ("0.5, blue", "Your numbers: “blue” is not a number, or too large for one."),
        ("1e39 1", "Your numbers: “1e39” is not a number, or too large for one."),
    ],
)
def test_numbers_that_are_none_are_refused(page, text, complaint):
    page.browser.set("numbers", text, "change")
    assert page.browser.text("#example .complaint") == complaint


@points
def test_invented_points_are_shown_beside_real_ones(page):
    page.browser.set("temperature", 1)
    invented, real = (
        page.browser.evaluate(f"document.querySelectorAll('#sampled circle.{kind}').length")
        for kind in ("invented", "real")
    )
    assert real == len(page.examples)
    assert 400 < invented <= 500  # those outside of the map are not drawn


@every
def test_it_fits_a_phone(page):
    page.browser.look(390, 844, whole=False)
    wide, window = page.browser.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= window == 390
    page.browser.look(1200, 900, whole=False)


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


@points
def test_what_the_documentation_types_into_the_console_works(page):
    texts = [text for kind, text in blocks("docs/web.md") if kind == "js"]
    assert texts
    for text in texts:
        assert page.browser.evaluate(f"(async () => {{ {text}; return typeof score }})()") == "number"


def copied(directory, to, **fields):
    """A copy of a bundle, its page made anew with these fields in the manifest."""
    shutil.copytree(directory, to)
    write_page(to, json.loads((to / "manifest.json").read_text()) | fields, "again")
    return f"file://{to / PAGE}"


def test_the_threshold_is_shown(exported, chromium, tmp_path):
    for name, score, verdict in [("low", -50.0, "Unusual"), ("high", 50.0, "Not unusual")]:
        threshold = {"quantile": 0.99, "score": score, "events": 360}
        chromium.open(copied(exported["points"], tmp_path / name, threshold=threshold))
        shown = f"{verdict}: 99 % of 360 such points stay below {score:.0f}."
        assert shown in chromium.text("#scored")


def test_another_base_has_no_samples(exported, chromium, tmp_path):
    chromium.open(copied(exported["points"], tmp_path / "other", base="mine/student"))
    assert chromium.evaluate("[document.body.dataset.state, document.getElementById('samples')]") == ["ready", None]
    assert chromium.text("#score")


def test_a_page_that_cannot_start_says_so(exported, chromium, tmp_path):
    shutil.copytree(exported["points"], tmp_path / "broken")
    (tmp_path / "broken" / "decode.onnx").write_bytes(b"no graph")
    write_page(tmp_path / "broken", json.loads((tmp_path / "broken" / "manifest.json").read_text()), "broken")
    chromium.open(f"file://{tmp_path / 'broken' / PAGE}")
    assert chromium.evaluate("document.body.dataset.state") == "failed"
    assert chromium.text("#state").startswith("This page can't start here: ")
