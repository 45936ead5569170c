"""The page of a flow that was trained on a table, in a real browser."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.web.chromium import Chromium
from tests.web.opened import Opened
from tests.web.tables import exported

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, chromium: Chromium) -> Opened:
    return Opened("table", exported(tmp_path_factory.mktemp("table")), chromium)


def filled(page: Opened, **texts: str) -> None:
    """Type into the fields of the card for one record."""
    places = {"x": "own-columns", "k": "own-columns", "c": "example-context", "y": "example-context"}
    number = {"x": 0, "k": 1, "c": 0, "y": 1, "t": 2}
    for name, text in texts.items():
        page.browser.set(f"{places.get(name, 'example-context')}-input-{number[name]}", text, "change")


def fields(page: Opened, place: str) -> list[str]:
    return page.browser.evaluate(
        f"Array.from(document.querySelectorAll('#{place} :is(input, select)'), (field) => field.value)"
    )


def test_it_starts_and_asks_the_network_for_nothing(table: Opened) -> None:
    assert table.browser.evaluate("document.body.dataset.state") == "ready"
    assert table.browser.problems() == []
    assert len(table.browser.requests()) == 1
    assert not any(table.browser.evaluate("Array.from(document.querySelectorAll('.complaint'), (p) => p.textContent)"))


def test_fields_have_the_names_of_the_columns(table: Opened) -> None:
    labels = "Array.from(document.querySelectorAll('#example .fields label > span'), (label) => label.textContent)"
    assert table.browser.evaluate(labels) == ["x", "k", "c", "y", "t"]
    options = "Array.from(document.getElementById('example-context-input-0').options, (option) => option.text)"
    assert table.browser.evaluate(options) == ["a", "b", "missing"]


def test_typed_values_are_scored_as_the_runtime_scores_them(table: Opened) -> None:
    for row in (
        {"x": "0.5", "k": "3", "c": "b", "y": "2.5", "t": "2020-01-05"},
        {"x": "-0.25", "k": "6", "c": "", "y": "", "t": "2020-01-05T12:00"},
    ):
        filled(table, **row)
        numbers = {name: [float(row[name])] if row[name] else [None] for name in ("x", "k", "y")}
        given = {**{name: [text or None] for name, text in row.items()}, **numbers}
        expected = table.runtime.score(*table.runtime.from_table(given))[0]
        assert table.score() == pytest.approx(expected, abs=1e-5)
        assert table.browser.text("#example .complaint") == ""


def test_an_error_stands_in_the_card_until_it_is_corrected(table: Opened) -> None:
    filled(table, k="2.5")
    assert table.browser.text("#example .complaint") == "k: “2.5” isn't a whole number."
    filled(table, k="2", t="soon")
    assert table.browser.text("#example .complaint").startswith("t: “soon” is not a time such as 2013-01-31")
    filled(table, t="2020-01-05")
    assert table.browser.text("#example .complaint") == ""


def test_a_held_out_example_fills_the_form(table: Opened) -> None:
    table.browser.set("examples-input", "3", "change")
    x, k = fields(table, "own-columns-input")
    assert np.float32(x) == np.float32(table.examples[3][0]) and int(k) == np.floor(table.examples[3][1])
    c, y, t = fields(table, "example-context-input")
    context = table.contexts[3]
    assert (c, np.float32((float(y) - 3) / 2)) == ("ab"[int(context[1])], pytest.approx(context[3], rel=1e-6))
    assert (np.datetime64(t) - np.datetime64("1970-01-01")).astype(float) == pytest.approx(18270 + 10 * context[5])
    expected = table.runtime.score(table.examples[3:4], table.contexts[3:4])[0]
    assert table.score() == pytest.approx(expected, abs=1e-5)


def test_tables_have_names_and_whole_numbers(table: Opened) -> None:
    for place in ("#sampled", "#walked", "#returned"):
        text = table.browser.evaluate(f"document.querySelector('{place} table').textContent")
        assert "x1" not in text and "k" in text
    rows = "Array.from(document.querySelectorAll('#sampled tbody tr'), (row) => row.cells[1].textContent)"
    assert all(text.lstrip("-").isdigit() for text in table.browser.evaluate(rows))
    sampled = table.browser.evaluate(
        "(async () => Array.from(await flowkit.model.sample(1, 0n, 1, [flowkit.about.contexts[0]])))()"
    )
    first = table.browser.evaluate(
        "Array.from(document.querySelector('#sampled tbody tr').cells, (c) => c.textContent)"
    )
    assert [float(first[0]), int(first[1])] == [pytest.approx(sampled[0], rel=1e-5), np.floor(sampled[1])]


def test_samples_take_what_the_model_is_told(table: Opened) -> None:
    before = table.browser.text("#sampled tbody")
    table.browser.set("samples-context-input-2", "2020-01-25", "change")
    assert table.browser.text("#sampled tbody") != before


def test_it_fits_a_phone(table: Opened) -> None:
    table.browser.look(390, 844, whole=False)
    wide, window = table.browser.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= window == 390
    table.browser.look(1200, 900, whole=False)


def test_two_numbers_are_a_map_in_their_own_units(tmp_path: Path, chromium: Chromium) -> None:
    event = [{"column": "x", "offset": 1, "scale": 2}, {"column": "y", "offset": 3, "scale": 100}]
    context = [{"column": "c", "kind": "category", "categories": ["a", "b", None]}]
    context += [{"column": "k", "fill": 3}, {"column": "t", "kind": "time", "offset": 18270, "scale": 10}]
    page = Opened("map", exported(tmp_path, event=event, context=context), chromium)
    texts = page.browser.evaluate("Array.from(document.querySelectorAll('#seen svg text'), (text) => text.textContent)")
    assert {"x →", "↑ y"} < set(texts)
    page.click_example(2)
    expected = page.examples[2] * [2, 100] + [1, 3]
    np.testing.assert_allclose(np.array(fields(page, "own-columns-input"), float), expected, atol=0.05)
    assert page.browser.text("#example .complaint") == ""
    assert json.loads(page.browser.evaluate("JSON.stringify(flowkit.about.preprocessing.event[0].scale)")) == 2
