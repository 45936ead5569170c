"""Pages of bundles that lack something, or have something more, in a real browser."""

import json
import shutil

import pytest

from flowkit.export.web import PAGE, write_page

pytestmark = pytest.mark.slow


def copied(directory, to, **fields):
    """A copy of a bundle, its page made anew with these fields in the manifest."""
    shutil.copytree(directory, to)
    write_page(to, json.loads((to / "manifest.json").read_text()) | fields, "again")
    return f"file://{to / PAGE}"


def test_the_threshold_is_shown(exported, chromium, tmp_path):
    threshold = {"quantile": 0.99, "score": 50.0, "events": 360}
    chromium.open(copied(exported["points"], tmp_path / "calibrated", threshold=threshold))
    assert "Not unusual: 99 % of 360 points that the model has not learned from score below 50." in chromium.text(
        "#scored"
    )
    chromium.set("numbers", "30, -30", "change")
    assert "Unusual: 99 % of 360 points that the model has not learned from score below 50." in chromium.text("#scored")
    assert "Not" not in chromium.text("#scored .unusual")
    assert "Only a high score is called unusual. Simple points can score lower" in chromium.text("#scored")


def test_the_threshold_has_the_quantile_of_the_export(exported, chromium, tmp_path):
    threshold = {"quantile": 0.99995, "score": 50.0, "events": 360}
    chromium.open(copied(exported["colours"], tmp_path / "calibrated", threshold=threshold))
    assert "99.995 % of 360 pictures that the model has not learned from score below 50." in chromium.text("#scored")
    assert "Simple pictures, such as blank ones, can score" in chromium.text("#scored")


def test_a_page_that_cannot_start_says_so(exported, chromium, tmp_path):
    shutil.copytree(exported["points"], tmp_path / "broken")
    (tmp_path / "broken" / "decode.onnx").write_bytes(b"no graph")
    write_page(tmp_path / "broken", json.loads((tmp_path / "broken" / "manifest.json").read_text()), "broken")
    chromium.open(f"file://{tmp_path / 'broken' / PAGE}")
    assert chromium.evaluate("document.body.dataset.state") == "failed"
    assert chromium.text("#state").startswith("This page can't start here: ")
