"""`flowkit-runtime serve` as a process: thousands of malformed requests, and a stop under load."""

from __future__ import annotations

import http.client
import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from flowkit_runtime import load
from tests.runtime.conftest import write_bundle
from tests.serving.asking import NPY, npy, npz

pytestmark = pytest.mark.slow

X = np.random.default_rng(0).integers(0, 17, (5, 1, 2, 2))


class Process:
    """A server of one bundle. What it logs is collected."""

    def __init__(self, bundle: Path) -> None:
        command = [sys.executable, "-c", "from flowkit_runtime.cli.main import main; main()"]
        command += ["serve", f"tiny={bundle}", "--port", "0", "--client-timeout", "2"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().split(":")[3].split("/")[0])

    def stop(self, number: int) -> tuple[int, str, str]:
        """Return the exit code, and what was written to both streams."""
        self.process.send_signal(number)
        output, log = self.process.communicate(timeout=60)
        return self.process.returncode, output, log


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    made = Process(write_bundle(tmp_path))
    yield made
    made.process.kill()
    made.process.wait()


def request(path: str, body: bytes, form: str, method: str = "POST", version: str = "1.1", extra: str = "") -> bytes:
    head = f"{method} {path} HTTP/{version}\r\nHost: x\r\nConnection: close\r\nContent-Type: {form}\r\n{extra}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body


FORMS = ("application/json", NPY, "application/x-npz", "text/csv")
GOOD = {FORMS[0]: json.dumps({"x": X.tolist()}).encode(), NPY: npy(X), FORMS[2]: npz(x=X), FORMS[3]: b"a,b\n1,2\n"}
SCORE, SAMPLE, DECODE = (f"/bundles/tiny/{name}" for name in ("score", "sample", "decode"))
JSONS = [None, 1, "x", [], {"x": {}}, {"x": [[]]}, {"y": 1}]
LATENTS = [1, [], [1, 2], "zz", [[], []]]
NAMES, VALUES = ["seed", "draws", "x", "y"], ["-1", "x", "%00", "[]", "1e9"]
HEADERS = ["no colon\r\n", "Content-Length: 1\r\n", ": x\r\n", "a b: c\r\n"]
MALFORMED: list[Callable[[random.Random], bytes]] = [
    lambda r: request(SCORE, r.randbytes(r.randrange(1, 300)), r.choice(FORMS)),
    lambda r: request(SCORE, (good := GOOD[form := r.choice(FORMS[:3])])[: r.randrange(1, len(good) - 1)], form),
    lambda r: request(SCORE, GOOD[form := r.choice(FORMS)], r.choice([each for each in FORMS if each != form])),
    lambda r: request(SCORE, npy(X.astype(r.choice("SUcMm") if r.random() < 0.5 else "V8")), NPY),
    lambda r: request(SCORE, npy(np.zeros([r.randrange(3) for _ in range(r.choice([0, 1, 2, 3, 5]))])), NPY),
    lambda r: request(SCORE, npy(r.choice([np.inf, -1, 17, 0.5, np.nan, 1e300]) * np.ones((2, 1, 2, 2))), NPY),
    lambda r: request(f"{SCORE}?{r.choice(NAMES)}={r.choice(VALUES)}", npy(X), NPY),
    lambda r: request(SCORE, json.dumps(r.choice(JSONS)).encode(), FORMS[0]),
    lambda r: request(SCORE, r.choice([b"[", b'{"x":']) * r.randrange(1, 20_000), FORMS[0]),
    lambda r: request("/" + "".join(r.choices("ab%/.?&=~", k=r.randrange(1, 50))), b"", FORMS[0]),
    lambda r: request(SCORE, npy(X), NPY, method=r.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])),
    lambda r: request(SCORE, npy(X), r.choice(["", "text/html", "a", "image/png", ";", "application/json/"])),
    lambda r: request(SCORE, npy(X), NPY, extra="Content-Encoding: gzip\r\n"),
    lambda r: request(SCORE, npy(X), NPY, extra=f"Accept: {r.choice(['text/html', 'a', ';', 'image/*'])}\r\n"),
    lambda r: request(f"{SAMPLE}?{r.choice(['n', 'temperature'])}={r.choice(['-1', '1e999', 'n'])}", b"", FORMS[0]),
    lambda r: request(DECODE, json.dumps({"latents": r.choice(LATENTS)}).encode(), FORMS[0]),
    lambda r: request(SCORE, npy(X), NPY, version=r.choice(["9.9", "x", "11", ""])),
    lambda r: request(SCORE, npy(X), NPY, extra=r.choice(HEADERS)),
    lambda r: bytes(r.randrange(128, 256) for _ in range(r.randrange(1, 99))) + b"\r\n\r\n",
    lambda r: request(SCORE, b"", NPY, extra="Transfer-Encoding: chunked\r\n"),
]  # fmt: skip


def answer(port: int, raw: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        found = b""
        try:
            client.sendall(raw)
            while part := client.recv(2**16):
                found += part
        except ConnectionError:
            pass
        return found


def test_two_thousand_malformed_requests(process, tmp_path):
    """Each is told what is wrong, and the server goes on."""
    requests = [MALFORMED[i % len(MALFORMED)](random.Random(i)) for i in range(2000)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda raw: answer(process.port, raw), requests))
    wrong = [
        (i, requests[i][:300], found[:300])
        for i, found in enumerate(answers)
        if not found.startswith(b"HTTP/1.1 4") or str(tmp_path).encode() in found or b"Traceback" in found
    ]
    assert not wrong, (len(wrong), wrong[:5])
    print(Counter(found.split()[1].decode() for found in answers))
    assert answer(process.port, request(SCORE, npy(X), NPY)).startswith(b"HTTP/1.1 200")
    code, _, log = process.stop(signal.SIGINT)
    assert code == 0 and "Traceback" not in log


def test_none_is_lost_when_the_server_stops_under_load(process, tmp_path):
    """64 clients compare what they get with the runtime, until each is told that its connection ends."""
    wanted = load(tmp_path).score(X, seed=1)
    asked, answered = Counter[int](), Counter[int]()

    def ask(client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=30)
        connection.connect()
        while True:
            asked[client] += 1
            connection.request("POST", f"{SCORE}?seed=1", npy(X), {"Content-Type": NPY, "Accept": NPY})
            reply = connection.getresponse()
            body = reply.read()
            assert reply.status == 200
            np.testing.assert_allclose(np.frombuffer(body[128:]), wanted, rtol=1e-6)
            answered[client] += 1
            if reply.headers.get("Connection") == "close":
                return

    with ThreadPoolExecutor(64) as pool:
        clients = [pool.submit(ask, client) for client in range(64)]
        time.sleep(3)
        code, output, log = process.stop(signal.SIGTERM)
        for each in clients:
            each.result(30)
    assert asked == answered and asked.total() > 64
    print(asked.total(), "requests, all answered")
    assert code == 0 and output.endswith("stopped; all requests were answered\n") and not log


def test_a_second_signal_ends_the_server_at_once(process, tmp_path):
    """The request would take half a minute."""
    with socket.create_connection(("127.0.0.1", process.port), timeout=30) as client:
        client.sendall(f"POST {SCORE} HTTP/1.1\r\nHost: x\r\nContent-Type: {NPY}\r\n".encode())
        client.sendall(b"Content-Length: 99999\r\n\r\n")
        time.sleep(0.3)
        process.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        begun = time.monotonic()
        code, output, log = process.stop(signal.SIGTERM)
    assert time.monotonic() - begun < 1.5 and code == 128 + signal.SIGTERM
    assert "requests in progress were not answered" in log and "all requests" not in output and "Traceback" not in log


def test_memory_stays_where_it_is(process):
    """Clients that come and go, with bodies that are taken and bodies that aren't."""

    def rounds(count: int) -> int:
        with ThreadPoolExecutor(8) as pool:
            sent = [request(SCORE, npy(X), NPY), MALFORMED[1](random.Random(1)), request(SCORE, b"x" * 10**6, NPY)]
            list(pool.map(lambda i: answer(process.port, sent[i % 3]), range(count)))
        status = Path(f"/proc/{process.process.pid}/status")
        return int(status.read_text().partition("VmRSS:")[2].split()[0]) // 1024 if status.exists() else 0

    first = rounds(600)
    assert rounds(1500) < first + 20  # MB
