"""The application behind a real server and real sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
import uvicorn
from toy import TOKEN, TOKEN_SHA256, app_of, rows

from nbdeploy.runtime.app import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbdeploy.runtime.app import App

pytestmark = pytest.mark.slow
GOOD = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}


@contextlib.contextmanager
def network(app: App) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http="httptools", loop="none", lifespan="off", log_level="critical", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def ask(port: int, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/predict", body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def in_pieces(total: int) -> Iterator[bytes]:
    for _ in range(total // 65_536):
        yield b"x" * 65_536


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize(("token", "status"), [(TOKEN, 413), ("wrong", 401)])
def test_a_refusal_reaches_a_client_that_is_still_sending(announced: bool, token: str, status: int) -> None:
    """The client sends all of its 40 MB before it reads; a connection that is closed under it would lose the answer."""
    total = 40 * 2**20
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    if announced:
        headers["Content-Length"] = str(total)
    with network(app_of(token_sha256=TOKEN_SHA256)) as port:
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("POST", "/predict", in_pieces(total), headers, encode_chunked=not announced)
            response = connection.getresponse()
            assert response.status == status
            assert json.loads(response.read())["error"]
            connection.close()
        assert ask(port, rows(1.0), GOOD)[0] == 200


def test_a_small_refused_body_keeps_its_connection() -> None:
    with network(app_of(token_sha256=TOKEN_SHA256)) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        seen = []
        for headers in (GOOD | {"Authorization": "Bearer no"}, GOOD, GOOD | {"Content-Type": "text/plain"}, GOOD):
            connection.request("POST", "/predict", rows(1.0), headers)
            response = connection.getresponse()
            response.read()
            seen.append((response.status, response.will_close))
        connection.close()
    assert seen == [(401, False), (200, False), (415, False), (200, False)]


def test_a_slow_body_is_refused_and_its_connection_closed() -> None:
    with network(app_of(limits=Limits(body_timeout=0.3))) as port, socket.create_connection(("127.0.0.1", port)) as raw:
        raw.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        )
        raw.settimeout(10)
        answer = b""
        while piece := raw.recv(65_536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"body_too_slow" in answer


def test_f19_pipelined_requests_are_answered_in_order() -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    sent = b"".join(head % len(rows(float(number))) + rows(float(number)) for number in range(20))
    with network(app_of()) as port, socket.create_connection(("127.0.0.1", port)) as raw:
        raw.settimeout(10)
        raw.sendall(sent)
        answer = b""
        while answer.count(b'"request_id"') < 20:
            answer += raw.recv(65_536)
    found = [piece.partition(b"[")[2].partition(b"]")[0] for piece in answer.split(b"HTTP/1.1 200")[1:]]
    assert [float(piece) for piece in found] == [2.0 * number for number in range(20)]


def test_f20_clients_that_go_away_leave_no_slot_taken() -> None:
    app = app_of()
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n"
    with network(app) as port:
        for number in range(300):
            with socket.create_connection(("127.0.0.1", port)) as raw:
                raw.sendall(head + (b'{"rows": [{"x": 1.0000000000}]}'[: number % 31]))
        assert ask(port, rows(1.0), {"Content-Type": "application/json"})[0] == 200
        for _ in range(500):
            if not app.in_flight:
                break
            time.sleep(0.01)
        assert app.in_flight == 0
