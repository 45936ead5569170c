"""What the page shows of pictures, in a real browser, is what the runtime gives."""

import base64
import struct
import zlib

import matplotlib.image
import numpy as np
import pytest

from tests.web.opened import pictures

pytestmark = pytest.mark.slow


@pictures
def test_the_pictures_shown_are_the_runtimes_samples(page):
    page.browser.set("temperature", 0.8)
    page.browser.set("seed", 5)
    shown = page.levels_of("#sampled canvas")
    assert len(shown) == 48
    its = page.runtime.sample(48, seed=5, temperature=0.8, context=page.context(48))
    assert (shown == its).mean() > 0.999
    assert page.browser.text("#temperature-shown") == "0.80"


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
    assert page.browser.text("#scored").count(f"More usual than {rank} of the {len(page.examples)} pictures")
    assert page.browser.evaluate("document.querySelector('#examples :checked')") is None


@pictures
def test_a_picture_may_be_dropped(page, picture_file):
    path, event = picture_file
    page.browser.click("#examples .thumb:nth-child(2) input")
    text = base64.b64encode(path.read_bytes()).decode()
    page.browser.evaluate(
        f"""(() => {{
            const bytes = Uint8Array.from(atob("{text}"), (character) => character.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], "dropped.png"));
            document.body.dispatchEvent(new DragEvent("drop", {{dataTransfer, bubbles: true}}));
        }})()"""
    )
    page.browser.settle()
    assert np.array_equal(page.levels_of("#seen canvas")[0], event)


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


@pictures
def test_a_picture_of_900_megapixels_is_refused_with_its_size(page, tmp_path):
    header = struct.pack(">2I5B", 30_000, 30_000, 1, 0, 0, 0, 0)  # one bit a pixel
    pixels = zlib.compress(bytes(30_000 * (1 + 30_000 // 8)), 1)
    chunks = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    page.browser.choose_file("file", tmp_path / "huge.png")
    assert "huge.png is too large, 30000 × 30000 pixels: at most 100 million" in page.browser.text(
        "#example .complaint"
    )


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
