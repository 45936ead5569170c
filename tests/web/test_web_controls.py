"""What is typed into the page, clicked or chosen, in a real browser."""

import numpy as np
import pytest

from tests.web.opened import every, points, shown_as

pytestmark = pytest.mark.slow


DRAWN = """Array.from(document.querySelectorAll("#sampled > *"), (each) => each.toDataURL?.() ?? each.innerHTML)"""


@every
def test_another_seed_gives_other_samples(page):
    before = page.browser.evaluate(DRAWN)
    page.browser.click("#another")
    assert page.browser.evaluate(DRAWN) != before


@points
@pytest.mark.parametrize("seed", ["-1", "1.5", "", str(2**64)])
def test_a_seed_that_is_none_is_refused(page, seed):
    page.browser.set("seed", seed)
    assert page.browser.text("#samples .complaint").startswith(f"Seed: “{seed}” is not a whole number from 0 to")
    page.browser.set("seed", "3")
    assert page.browser.text("#samples .complaint") == ""


@points
def test_typed_numbers_are_scored_as_the_runtime_scores_them(page):
    page.browser.set("numbers", "0.5; -0.25", "change")
    expected = page.runtime.score(np.array([[0.5, -0.25]], np.float32))[0]
    assert page.score() == pytest.approx(expected, abs=1e-5)
    assert page.browser.evaluate("document.querySelectorAll('#returned tbody tr').length") == 2


@points
def test_what_is_too_far_has_no_score(page):
    page.browser.set("numbers", "3e38, -3e38", "change")
    assert not np.isfinite(page.runtime.score(np.array([[3e38, -3e38]], np.float32))[0])
    assert page.browser.text("#scored") == "no score\n\nThis is too far from anything that the model has learned from."
    assert page.browser.text("#largest") in ("NaN", "Infinity")
    assert page.browser.text("#example .complaint") == ""


@points
def test_a_click_on_the_map_chooses_that_point(page):
    page.browser.set("examples-input", "0", "change")
    before = page.score()
    page.click_example(2)
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


@shown_as("sets")
def test_a_set_is_typed_with_a_vector_in_each_line(page):
    shown = page.browser.evaluate("document.getElementById('example-context-input').value").split("\n")
    np.testing.assert_allclose([[float(x) for x in row.split(", ")] for row in shown], page.contexts[0], rtol=1e-6)
    page.browser.set("numbers", "0 8 3", "change")
    typed = [[0.5, -1], [2, 0], [1, 1], [0, 3]]
    for rows in (typed, typed[::-1]):  # a set in another order is the same
        page.browser.set("example-context-input", "\n".join(f"{a}, {b}" for a, b in rows), "change")
        expected = page.runtime.score(np.array([[0, 8, 3]]), np.array([typed], np.float32), seed=0)[0]
        assert page.score() == pytest.approx(expected, abs=1e-5)
    page.browser.set("example-context-input", "0.5, -1", "change")
    assert page.browser.text("#example .complaint") == "What the model is given: 8 numbers are wanted, not 2."


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
