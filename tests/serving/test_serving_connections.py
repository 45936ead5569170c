"""Clients that are slow or send too much are cut off; no request is lost when the server stops."""

from __future__ import annotations

import http.client
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from flowkit_runtime.cli.main import app as commands
from flowkit_runtime.errors import BundleError, InputError
from flowkit_runtime.serving import starting
from flowkit_runtime.serving.app import app_of
from flowkit_runtime.serving.limits import Limits
from flowkit_runtime.session import Graph
from tests.runtime.conftest import write_bundle
from tests.serving.asking import NPY, ask, npy, serving

LIMITS = Limits(body=200_000, client_seconds=0.3, requests=1)
SAMPLE = b"POST /bundles/tiny/sample?n=1 HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("tiny"))


class Running:
    """A server in a thread."""

    def __init__(self, tiny: Path) -> None:
        self.service = starting.load_service({"tiny": tiny}, LIMITS, None, 1)
        self.listening = starting.bound("127.0.0.1", 0)
        self.server: Any = starting.made_server(self.service, LIMITS, access_log=False)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listening]}, daemon=True)
        self.address = self.listening.getsockname()
        self.thread.start()

    def connected(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=10)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def running(tiny: Path) -> Iterator[Running]:
    made = Running(tiny)
    yield made
    made.stop()


def until(condition: Callable[[], Any]) -> None:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < 10
        time.sleep(0.001)


def status(answer: bytes) -> int:
    return int(answer.split()[1]) if answer else 0


def all_of(client: socket.socket) -> bytes:
    """What a client is sent until it is cut off, which must be within a second or two."""
    answer = b""
    begun = time.monotonic()
    try:
        while part := client.recv(2**16):
            answer += part
    except ConnectionError:
        pass
    assert time.monotonic() - begun < 5
    return answer


SLOW = {
    "nothing": (b"", 0),
    "half a head": (b"POST /bundles/tiny/sample HT", 0),
    "empty lines": (b"\r\n\r\n", 0),
    "no body": (SAMPLE + b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n", 408),
    "half a body": (SAMPLE + b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{", 408),
    "half a chunk": (SAMPLE + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{", 408),
    "no HTTP": (b"HELO there\r\n\r\n", 400),
    "long head": (b"GET /" + 70_000 * b"a", 400),
}
"""What a client sends before it stops, and the status of the answer; 0 is none."""


def test_slow_clients_are_cut_off(running):
    clients = {name: running.connected() for name in SLOW}
    for name, client in clients.items():
        client.sendall(SLOW[name][0])
    for name, client in clients.items():
        with client:
            assert status(all_of(client)) == SLOW[name][1], name


def test_a_head_is_that_of_get(running):
    connection = http.client.HTTPConnection(*running.address, timeout=10)
    for method in ("GET", "HEAD", "HEAD", "GET"):
        connection.request(method, "/health/ready")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["content-length"]) == (200, "19")
        assert answer.read() == (b"" if method == "HEAD" else b'{"status":"ready"}\n')


def test_a_huge_body_is_refused_before_it_is_read(running):
    with running.connected() as client:
        client.sendall(SAMPLE + b"Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{")
        assert status(client.recv(1000)) == 413
    with running.connected() as client:
        client.sendall(SAMPLE + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        try:
            while sent < 10**9:
                client.sendall(b"10000\r\n" + 2**16 * b" " + b"\r\n")
                sent += 2**16
        except ConnectionError:
            pass
        assert sent < 10**9


def test_an_answer_that_nobody_takes_is_dropped(running, monkeypatch):
    """The answers are more than what the system keeps for the client."""
    monkeypatch.setattr("flowkit_runtime.serving.limits.SLOWEST", 2**30)
    running.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # connections inherit it
    with running.connected() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(400):
            client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: running.server.server_state.connections)
        until(lambda: not running.server.server_state.connections)


def test_a_client_that_takes_nothing_is_cut_off_whatever_it_is_owed(running, monkeypatch):
    """Its answer counts as data that the server holds. At the slowest rate it would take 12 seconds."""
    running.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # connections inherit it
    monkeypatch.setattr("flowkit_runtime.serving.app.BODIES_HELD", 0.01)
    with running.connected() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(SAMPLE.replace(b"n=1", b"n=10000") + b"\r\n")
        until(lambda: running.service.slow)
        begun = time.monotonic()
        with running.connected() as other:
            other.sendall(SAMPLE + b"\r\n")
            assert b" 503 " in other.recv(1000)
        until(lambda: not running.server.server_state.connections)
        assert time.monotonic() - begun < 3 and not running.service.slow


def test_a_client_that_takes_its_answer_slowly_gets_it(running):
    """It takes three times client_seconds."""
    running.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with running.connected() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(SAMPLE.replace(b"n=1", b"n=10000") + b"Connection: close\r\n\r\n")
        until(lambda: running.service.slow)
        answer = b""
        for _ in range(9):
            answer += client.recv(8192)
            time.sleep(0.1)
        answer += all_of(client)
        assert len(answer) > 100_000 and status(answer) == 200


def test_a_long_head_behind_another_request_is_cut_off(running, monkeypatch):
    right, may = Graph.run, threading.Event()

    def slow(self: Graph, names: Any, feed: Any) -> Any:
        assert may.wait(10)
        return right(self, names, feed)

    monkeypatch.setattr(Graph, "run", slow)
    with running.connected() as client:
        client.sendall(SAMPLE + b"\r\nGET /")
        until(lambda: running.service._in_progress)
        sent = 0
        try:
            while sent < 2 * 10**7:
                client.sendall(2**16 * b"a")
                sent += 2**16
        except ConnectionError:
            pass
        may.set()
        assert sent < 2 * 10**7


def test_the_rest_of_a_refused_body_is_thrown_away(running):
    """It isn't the head of another request."""
    with running.connected() as client:
        client.sendall(SAMPLE + b"Content-Length: 150000\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}\n"):
            answer += client.recv(1000)
        assert status(answer) == 415
        for _ in range(15):
            client.sendall(10_000 * b"a")
            time.sleep(0.001)
        client.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in client.recv(1000)


def test_more_connections_than_there_may_be_are_closed(running, monkeypatch):
    monkeypatch.setattr("flowkit_runtime.serving.connections.MAX_CONNECTIONS", 2)
    with running.connected() as first, running.connected() as second:
        until(lambda: len(running.server.server_state.connections) == 2)
        with running.connected() as third:
            begun = time.monotonic()
            assert all_of(third) == b"" and time.monotonic() - begun < 0.2
        for each in (first, second):
            each.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 200 " in each.recv(1000)


def test_a_stopped_server_knows_of_requests_without_an_answer(tiny, monkeypatch):
    running, may = Running(tiny), threading.Event()
    right = Graph.run
    monkeypatch.setattr(Graph, "run", lambda *given: may.wait(10) and right(*given))
    running.server.config.timeout_graceful_shutdown = 0.1
    with running.connected() as client:
        client.sendall(SAMPLE + b"\r\n")
        until(lambda: running.service._in_progress)
        running.stop()
        assert not running.server.has_answered
    may.set()
    other = Running(tiny)
    until(lambda: other.server.started)
    other.stop()
    assert other.server.has_answered


def test_no_request_is_lost_when_the_server_stops(tiny, monkeypatch):
    running, right, may = Running(tiny), Graph.run, threading.Event()

    def slow(self: Graph, names: Any, feed: Any) -> Any:
        assert may.wait(10)
        return right(self, names, feed)

    monkeypatch.setattr(Graph, "run", slow)
    busy, idle, refused = (http.client.HTTPConnection(*running.address) for _ in range(3))
    idle.request("GET", "/health/ready")
    assert idle.getresponse().read() == b'{"status":"ready"}\n'
    busy.request("POST", "/bundles/tiny/sample?n=1")
    until(lambda: running.service._in_progress)
    refused.request("POST", "/bundles/tiny/sample?n=1")  # there is one place
    answer = refused.getresponse()
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    running.server.should_exit = True
    until(lambda: running.service.is_stopping)
    idle.request("GET", "/health/ready")  # on its way when the server stops
    answer = idle.getresponse()
    assert (answer.status, answer.headers["connection"], answer.headers["Retry-After"]) == (503, "close", "1")
    assert json.loads(answer.read()) == {"detail": "the server is stopping: try again later"}
    may.set()
    answer = busy.getresponse()
    assert answer.status == 200 and len(json.loads(answer.read())["x"]) == 1
    running.thread.join(10)
    assert not running.thread.is_alive()


def test_an_error_of_the_server_tells_clients_nothing(tiny, monkeypatch):
    def broken(self: Graph, names: Any, feed: Any) -> Any:
        raise BundleError(f"{self.path} fails")

    app = serving({"tiny": tiny})
    monkeypatch.setattr(Graph, "run", broken)
    reply = ask(app, "/bundles/tiny/sample")
    assert reply.status == 500 and reply.json == {"detail": "the server failed at this request; its log says why"}


def test_too_much_data_at_once_is_refused(tiny, monkeypatch):
    monkeypatch.setattr("flowkit_runtime.serving.app.BODIES_HELD", 0)
    reply = ask(serving({"tiny": tiny}), "/bundles/tiny/sample", {"n": 1})
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")


def test_large_json_is_handled_alone(tiny):
    """Body and answer are large: the thread that handles it doesn't wait for itself."""
    service = starting.load_service({"tiny": tiny}, Limits(seconds=0.5), None, 1)
    large = {"x": 6000 * [[[[1, 2], [3, 4]]]]}
    reply = ask(app_of(service), "/bundles/tiny/encode", large)
    assert reply.status == 200 and len(reply.json["latents"][0]) == 6000
    with service._large, ThreadPoolExecutor(1) as other:
        reply = other.submit(ask, app_of(service), "/bundles/tiny/encode", large).result()
        assert reply.status == 503 and "one at a time" in reply.json["detail"]
        assert other.submit(ask, app_of(service), "/bundles/tiny/sample").result().status == 200


def test_large_csv_is_written_alone(tiny, monkeypatch):
    monkeypatch.setattr("flowkit_runtime.serving.app.LARGE_JSON", 3)
    service = starting.load_service({"tiny": tiny}, Limits(seconds=0.5), None, 1)
    x = np.zeros((5, 1, 2, 2), int)
    with service._large, ThreadPoolExecutor(1) as other:
        reply = other.submit(ask, app_of(service), "/bundles/tiny/score", npy(x), NPY, accept="text/csv").result()
    assert reply.status == 503


def test_an_answer_of_many_values_is_no_text(tiny, monkeypatch):
    monkeypatch.setattr("flowkit_runtime.serving.answers.MOST_AS_TEXT", 4)
    app = serving({"tiny": tiny})
    assert [ask(app, f"/bundles/tiny/sample?n={n}").status for n in (1, 2)] == [200, 422]
    assert ask(app, "/bundles/tiny/sample?n=2", accept=NPY).status == 200


def test_names_of_bundles(tiny, tmp_path):
    assert list(starting.named([f"{tiny}", f"other={tiny}"])) == [tiny.name, "other"]
    for given, message in (
        ([str(tiny), f"{tiny}/"], f"are both named {tiny.name}: give one another name, NAME="),
        (["a b"], "'a b' can't be part of an address: give the bundle another name, NAME=a b"),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            starting.named(given)


def failing(*arguments: object) -> str:
    result = CliRunner().invoke(commands, ["serve", *map(str, arguments)])
    assert result.exit_code == 2
    return result.output


def test_what_keeps_a_server_from_starting(tiny, tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = f"can't listen on 127.0.0.1, port {port}: address already in use; choose others with --host and --port\n"
        assert failing(tiny, "--port", port) == said
    assert "Invalid value for '--timeout'" in failing(tiny, "--port", 0, "--timeout", "inf")
    assert "on 127.0..1, port 0: this is no name of a host; ch" in failing(tiny, "--port", 0, "--host", "127.0..1")
    assert "no-such-host.invalid, port 0: " in failing(tiny, "--port", 0, "--host", "no-such-host.invalid")
    assert "none is not a directory; a bundle is" in failing(tmp_path / "none", "--port", 0)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    for name in ("starting", "connections"):
        monkeypatch.delitem(sys.modules, f"flowkit_runtime.serving.{name}")
    assert "serving needs uvicorn, which isn't installed: pip install" in failing(tiny, "--port", 0)
