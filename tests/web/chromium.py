"""A headless Chromium, spoken to over a pipe by its DevTools protocol: pages, clicks, and all that it logs."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

FOUND = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 60.0
"""Seconds after which the browser counts as hung."""
EVENTS = ("Network.requestWillBeSent", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
READY = "document.body?.dataset.state && !document.querySelector('[aria-busy]')"
"""An exported page says that it is ready, or failed."""
FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # it refuses to run as root with one, and the pages are ours
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
)


class Chromium:
    """One browser with one page. ``seen`` is what the page asked of the network and what it logged."""

    def __init__(self, profile: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # Chromium reads from descriptor 3 and writes to 4, whatever numbers the pipes have here.
        command = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, "bash", str(FOUND), *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer = b""
        self._calls = 0
        self._session: str | None = None
        self.seen: list[dict[str, Any]] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self._call(f"{domain}.enable")

    def open(self, url: str, ready: str = READY) -> None:
        """Load a page, and wait until the JavaScript expression ``ready`` is true."""
        self.seen.clear()
        self._call("Page.navigate", url=url)
        self.wait(ready)

    def wait(self, condition: str) -> None:
        """Until a JavaScript expression is true."""
        limit = time.monotonic() + PATIENCE
        while not self.evaluate(f"Boolean({condition})"):
            if time.monotonic() > limit:
                raise TimeoutError(f"{condition} did not come true; the page logged {self.problems()}")
            time.sleep(0.02)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited, as JSON has it."""
        answer = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", answer["exceptionDetails"]))
        return answer["result"].get("value")

    def set(self, element: str, value: object, event: str = "input") -> None:
        """Give a form's element a value, as a user does, and wait until the page has obeyed."""
        self.evaluate(
            f"Object.assign(document.getElementById({json.dumps(element)}), {{value: {json.dumps(value)}}})"
            f".dispatchEvent(new Event({json.dumps(event)}, {{bubbles: true}}))"
        )
        self.settle()

    def click(self, selector: str) -> None:
        """Click the first element that matches, and wait until the page has obeyed."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")
        self.settle()

    def choose_file(self, element: str, file: Path) -> None:
        """Choose a file in a file input, and wait until the page has obeyed."""
        root = self._call("DOM.getDocument")["root"]["nodeId"]
        node = self._call("DOM.querySelector", nodeId=root, selector=f"#{element}")["nodeId"]
        self._call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is being worked on."""
        self.wait("!document.querySelector('[aria-busy]')")

    def text(self, selector: str) -> str:
        """What a reader sees of an element."""
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")

    def requests(self) -> list[str]:
        """The URLs that were asked for, beside blobs and data that the page itself holds."""
        urls = [event["params"]["request"]["url"] for event in self.seen if event["method"].startswith("Network.")]
        return [url for url in urls if not url.startswith(("data:", "blob:"))]

    def problems(self) -> list[Any]:
        """Exceptions, and whatever was logged."""
        return [event["params"] for event in self.seen if not event["method"].startswith("Network.")]

    def look(self, width: int, height: int, dark: bool = False, whole: bool = True) -> bytes:
        """A PNG of the page in a window of this size; ``whole`` to its end."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        tall = self._call("Page.getLayoutMetrics")["cssContentSize"]["height"] if whole else height
        clip = {"x": 0, "y": 0, "width": width, "height": tall, "scale": 1}
        shot = self._call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=whole)
        return base64.b64decode(shot["data"])

    def close(self) -> None:
        """End the browser."""
        try:
            self._session = None
            self._call("Browser.close")
            self._process.wait(10)
        except (OSError, TimeoutError, EOFError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        finally:
            os.close(self._out)
            os.close(self._in)

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("method") in EVENTS:
                self.seen.append(answer)
            if answer.get("id") == self._calls:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], PATIENCE)[0]:
                raise TimeoutError("Chromium does not answer")
            read = os.read(self._in, 1 << 20)
            if not read:
                raise EOFError("Chromium has ended")
            self._buffer += read
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)
