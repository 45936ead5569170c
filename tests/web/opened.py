"""A page that is open in the browser, beside the runtime with the same bundle."""

import json

import numpy as np
import onnxruntime
import pytest

import flowkit_runtime
from flowkit.export.web import PAGE


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

    def click_example(self, index):
        """Click on a held-out example in the map of the plane."""
        self.browser.evaluate(
            f"""(() => {{
                const map = document.querySelector("#seen svg");
                const box = map.querySelectorAll("circle.real")[{index}].getBoundingClientRect();
                const middle = {{clientX: box.left + box.width / 2, clientY: box.top + box.height / 2, bubbles: true}};
                map.dispatchEvent(new MouseEvent("click", middle));
            }})()"""
        )
        self.browser.settle()

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


def shown_as(*names):
    """Marks a test that is done with the pages of these flows."""
    return pytest.mark.parametrize("page", names, indirect=True, scope="session")


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
