"""What a client does with answers, errors and closed connections."""

from __future__ import annotations

import json
import socket
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from toy import manifest

from nbdeploy.errors import CallRefused, NotFound, NotRunning, Unreachable, Unsupported, UnsupportedData, WrongUse
from nbdeploy.run import tokens
from nbdeploy.run.client import Client
from nbdeploy.run.local import LocalLauncher
from nbdeploy.run.service import Service
from nbdeploy.run.transport import Answer, Http
from nbdeploy.runtime.manifest import Column, Method, Output, Schema
from nbdeploy.runtime.process import Process
from nbdeploy.runtime.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

Handler = "Callable[[socket.socket, int], None]"


class Recorded:
    """A transport that answers what it was given and keeps what it was asked."""

    def __init__(self, status: int = 200, body: Any = None) -> None:
        self.answer = Answer(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())
        self.asked: list[tuple[str, str, bytes | None, Mapping[str, str]]] = []

    def request(self, verb: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        self.asked.append((verb, path, body, headers))
        return self.answer

    def close(self) -> None:
        pass


def client_of(transport: Recorded, **options: Any) -> Client:
    return Client("http://127.0.0.1:1", transport=transport, **options)


def test_rows_go_out_as_json_and_come_back_as_the_models_own_type() -> None:
    transport = Recorded(body={"predictions": [2.0, None, "Infinity"], "version": "1", "request_id": "x"})
    found = client_of(transport, token="secret", manifest=manifest()).call("predict", pd.DataFrame({"x": [1.0, 2, 3]}))
    verb, path, body, headers = transport.asked[0]
    assert (verb, path) == ("POST", "/predict")
    assert json.loads(body or b"") == {"rows": [{"x": 1.0}, {"x": 2.0}, {"x": 3.0}]}
    assert headers["Authorization"] == "Bearer secret"
    assert headers["Content-Type"] == "application/json"
    np.testing.assert_array_equal(found, np.array([2.0, np.nan, np.inf]))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("great film", r"what predict was given is a single text; give a list of rows"),
        ({"x": 1.0}, r"is a single record; give a list of rows"),
        (1.0, r"is a single float; give a list of rows"),
        (np.float64(1), r"is a single float64; give a list of rows"),
        (None, r"is a single NoneType; give a list of rows"),
        (pd.DataFrame({"x": [1.0]}).iloc[0], r"is a Series.*X\.iloc\[\[0\]\]"),
        ([1.0, 2.0], r"the rows cannot be sent: rows of 1 columns are needed.*give a table like"),
        ([{"x": object()}], r"the rows cannot be sent: the type object has no JSON form"),
    ],
)
def test_one_row_where_several_are_wanted_is_a_sentence(rows: Any, said: str) -> None:
    transport = Recorded(body={"predictions": [1.0]})
    with pytest.raises(UnsupportedData, match=said):
        client_of(transport, manifest=manifest()).call("predict", rows)
    assert transport.asked == []


def test_an_answer_of_a_library_that_is_not_here_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    output = Output("series", dtype="Float64", extra={"library": "polars", "name": "s"})
    monkeypatch.setitem(sys.modules, "polars", None)
    client = client_of(Recorded(body={"predictions": [1.0]}), manifest=manifest(Method("predict", output)))
    with pytest.raises(Unsupported, match="python -m pip install polars"):
        client.call("predict", [{"x": 1.0}])


def test_a_text_is_not_taken_for_its_characters() -> None:
    texts = manifest(schema=Schema("texts", (Column("value", "text", "object"),)))
    with pytest.raises(UnsupportedData, match="single text"):
        client_of(Recorded(), manifest=texts).call("predict", "great film")


def test_an_error_envelope_is_call_refused_with_the_services_words() -> None:
    details = [{"row": 3, "column": "Age", "problem": "is unknown", "hint": 'did you mean "age"?'}]
    envelope = {"error": {"code": "invalid_rows", "message": "No.", "details": details}, "request_id": "abc"}
    with pytest.raises(CallRefused) as caught:
        client_of(Recorded(422, envelope), manifest=manifest()).call("predict", [{"x": 1}])
    error = caught.value
    assert (error.status, error.code, error.request_id) == (422, "invalid_rows", "abc")
    assert 'row 3, column Age: is unknown; did you mean "age"?' in str(error)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>"),
        (200, []),
        (200, {"predictions": 3}),
        (200, {}),
        (200, {"predictions": [1, 2]}),
        (404, b"Not Found"),
        (302, {}),
        (500, {"error": "no"}),
    ],
)
def test_something_else_at_the_address_is_unreachable(status: int, body: Any) -> None:
    with pytest.raises((Unreachable, CallRefused, KeyError)) as caught:
        client_of(Recorded(status, body), manifest=manifest()).call("predict", [{"x": 1}])
    assert caught.type is Unreachable


def test_a_method_the_service_has_not_is_named() -> None:
    with pytest.raises(NotFound, match="predict_prob"):
        client_of(Recorded(), manifest=manifest()).call("predict_prob", [])


def test_without_a_manifest_the_service_is_asked() -> None:
    from dataclasses import asdict

    toy = manifest()
    methods = [asdict(method) | {"route": f"/{method.name}"} for method in toy.methods]
    transport = Recorded(body=json.loads(json.dumps({"methods": methods, "schema": asdict(toy.schema)})))
    interface = client_of(transport).interface()
    assert interface.schema == toy.schema
    assert interface.methods == {method.name: method for method in toy.methods}


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(client_of(Recorded(), token="secret"))


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1", "127.0.0.1:3000", "http://", "http://127.0.0.1/predict", "ftp://x"]
)
def test_only_the_address_of_a_service_is_taken(url: str) -> None:
    with pytest.raises(WrongUse):
        Http(url)


@contextmanager
def server(handle: Callable[[socket.socket, int], None]) -> Iterator[tuple[str, list[int]]]:
    """Calls `handle` with each connection and its number; yields the address and the numbers of those accepted."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[int] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            number = len(accepted)
            accepted.append(number)
            threading.Thread(target=handle, args=(connection, number), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", accepted
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


def read(connection: socket.socket) -> bytes:
    """One request with its body; empty at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65_536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(dict(line.split(b": ") for line in head.lower().split(b"\r\n")[1:]).get(b"content-length", b"0"))
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"pid": 2**22 - 1, "start": "1"}, NotRunning),  # a process that is no more
        ({"pid": None}, NotRunning),
        ({"url": "http://127.0.0.1:1"}, Unreachable),
    ],
)
def test_f14_a_stranger_at_the_services_port_is_not_told_the_token(
    tmp_path: Path, said: dict[str, Any], error: type[Exception]
) -> None:
    with server(lambda connection, _: connection.close()) as (url, accepted):
        here = Process.current()
        now = {"name": "toy", "state": "ready", "since": "", "url": url, "boot": here.boot}
        State.from_dict(now | {"pid": here.pid, "start": here.start} | said).write(tmp_path)
        tokens.ensure(tmp_path)
        service = Service("toy", "1.0.0", url, manifest(), tmp_path, tmp_path, LocalLauncher())
        with pytest.raises(error):
            service.predict([{"x": 1}])
    assert accepted == []


def test_a_connection_is_kept() -> None:
    def handle(connection: socket.socket, _: int) -> None:
        with connection:
            while read(connection):
                connection.sendall(OK)

    with server(handle) as (url, accepted):
        client = Client(url)
        for _ in range(5):
            assert client.readiness() == {}
        client.close()
    assert len(accepted) == 1


def test_a_connection_is_kept_until_another_era_begins() -> None:
    def handle(connection: socket.socket, _: int) -> None:
        with connection:
            while read(connection):
                connection.sendall(OK)

    eras = [1, 1, 2, 2, 1]
    with server(handle) as (url, accepted):
        transport = Http(url, era=iter(eras).__next__)
        for _ in eras:
            assert transport.request("GET", "/", None, {}).status == 200
        transport.close()
    assert len(accepted) == 3


def test_a_kept_connection_that_was_closed_is_replaced() -> None:
    closed = threading.Event()

    def handle(connection: socket.socket, _: int) -> None:
        with connection:
            read(connection)
            connection.sendall(OK)
        closed.set()

    with server(handle) as (url, accepted):
        client = Client(url)
        for _ in range(3):
            assert client.post("/predict", b"{}") == {}
            closed.wait(5)
            closed.clear()
        client.close()
    assert len(accepted) == 3


def test_closed_while_asking_on_a_kept_connection_is_asked_once_more() -> None:
    """The service closes it in the moment the request is on its way: no byte of an answer came."""
    requests: list[int] = []

    def handle(connection: socket.socket, number: int) -> None:
        with connection:
            for turn in range(2):
                if not read(connection):
                    return
                requests.append(number)
                if number == 0 and turn == 1:
                    return
                connection.sendall(OK)

    with server(handle) as (url, _):
        client = Client(url)
        assert client.post("/predict", b"{}") == {}
        assert client.post("/predict", b"{}") == {}
        client.close()
    assert requests == [0, 0, 1]


def test_a_fresh_connection_that_breaks_is_not_asked_again() -> None:
    requests: list[int] = []

    def handle(connection: socket.socket, number: int) -> None:
        with connection:
            if read(connection):
                requests.append(number)

    with server(handle) as (url, _), pytest.raises(Unreachable):
        Client(url).post("/predict", b"{}")
    assert requests == [0]


def test_an_answer_that_breaks_off_is_not_asked_again() -> None:
    requests: list[int] = []

    def handle(connection: socket.socket, number: int) -> None:
        with connection:
            while read(connection):
                requests.append(number)
                if len(requests) == 2:
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
                    return
                connection.sendall(OK)

    with server(handle) as (url, _):
        client = Client(url)
        client.post("/predict", b"{}")
        with pytest.raises(Unreachable):
            client.post("/predict", b"{}")
    assert requests == [0, 0]


def test_redirects_are_not_followed_and_proxies_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    def handle(connection: socket.socket, _: int) -> None:
        with connection:
            read(connection)
            connection.sendall(
                b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"
            )

    with server(handle) as (url, accepted):
        assert Client(url).send("GET", "/readyz").status == 302
        with pytest.raises(Unreachable):
            Client(url).post("/predict", b"{}")
    assert len(accepted) == 2


def test_an_early_refusal_of_a_large_body_is_read() -> None:
    envelope = b'{"error":{"code":"body_too_large","message":"no","details":[]},"request_id":"x"}'

    def handle(connection: socket.socket, _: int) -> None:
        with connection:
            connection.recv(1_000)
            head = b"HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(envelope)
            connection.sendall(head + envelope)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):
                pass

    with server(handle) as (url, _), pytest.raises(CallRefused) as caught:
        Client(url).post("/predict", b"x" * 5_000_000)
    assert caught.value.status == 413


def test_nobody_there_is_unreachable_and_says_where() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unreachable, match=str(port)):
        Client(f"http://127.0.0.1:{port}").readiness()


def test_no_answer_in_time_is_unreachable() -> None:
    def handle(connection: socket.socket, _: int) -> None:
        with connection:
            read(connection)
            connection.recv(1)

    with server(handle) as (url, _), pytest.raises(Unreachable, match="within"):
        Client(url, timeout=0.2).readiness()


def test_many_threads_share_a_client() -> None:
    def handle(connection: socket.socket, _: int) -> None:
        with connection:
            while data := read(connection):
                body = data.partition(b"\r\n\r\n")[2]
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    wrong: list[Any] = []

    def ask(client: Client, number: int) -> None:
        for turn in range(50):
            sent = {"n": number * 1_000 + turn}
            if client.post("/predict", json.dumps(sent).encode()) != sent:
                wrong.append(sent)

    with server(handle) as (url, accepted):
        client = Client(url)
        threads = [threading.Thread(target=ask, args=(client, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.close()
    assert not wrong
    assert len(accepted) <= 8
