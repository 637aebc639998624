"""The worker's side: HTTP before the application is asked, accepting, draining, failing to load."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
import types
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from load import answer
from toy import Toy, app_of, idle, manifest, rows

from nbdeploy.run.predictions import Predictions
from nbdeploy.runtime import host, protocol
from nbdeploy.runtime.connections import Connections
from nbdeploy.runtime.listener import Listener
from nbdeploy.runtime.manifest import Method, Output
from nbdeploy.runtime.predlog import PredictionLog
from nbdeploy.runtime.spec import Spec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Echo:
    """Answers with the body's length, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        self.begun.set()
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size += len(message["body"])
            more = message["more_body"]
        await self.gate.wait()
        body = b"x" * 5_000_000 if scope["path"] == "/large" else str(size).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class World:
    def __init__(self, app: Any = None) -> None:
        self.app = app or Echo()
        self.connections = Connections(self.app)
        self.listener = Listener.bind(None)
        self.listener.open()
        self.connections.open(self.listener.socket)

    async def client(self) -> Client:
        return await asyncio.open_connection("127.0.0.1", self.listener.port)

    async def ask(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        reader, writer = await self.client()
        writer.write(data)
        try:
            return await asyncio.wait_for(answer(reader), 5.0)
        finally:
            writer.close()


@asynccontextmanager
async def world(app: Any = None) -> AsyncIterator[World]:
    made = World(app)
    try:
        yield made
    finally:
        made.connections.refuse()
        made.connections.close()
        await made.connections.drain(0.5)
        made.listener.close()


def run(test: Callable[[World], Awaitable[None]], factory: Any = None, app: Any = None) -> None:
    async def within() -> None:
        async with world(app) as made:
            await test(made)

    with asyncio.Runner(loop_factory=factory or host.loop_factory("uvloop")) as runner:
        runner.run(within())


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_connection_is_kept_and_the_server_keeps_its_name_to_itself(loop: str) -> None:
    async def test(world: World) -> None:
        reader, writer = await world.client()
        for _ in range(3):
            writer.write(GET)
            status, headers, body = await answer(reader)
            assert (status, body) == (200, b"0")
            assert set(headers) == {"date", "content-length"}
        writer.close()

    run(test, host.loop_factory(loop))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"garbage\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 400),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000, 431),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"a%d: b\r\n" % number for number in range(3_000)) + b"\r\n", 431),
    ],
)
def test_f19_what_is_not_http_is_refused_in_the_envelope_and_reaches_nobody(data: bytes, status: int) -> None:
    async def test(world: World) -> None:
        found, headers, body = await world.ask(data)
        assert found == status
        assert headers["connection"] == "close"
        assert set(json.loads(body)) == {"error", "request_id"}
        assert world.app.asked == 0
        assert (await world.ask(GET))[0] == 200

    run(test)


@pytest.mark.slow
def test_f20_a_thousand_clients_that_go_away_leave_no_slot_and_no_descriptor(tmp_path: Path) -> None:
    """In their headers, in their body, and while the model works on what they asked."""
    slow = Toy(manifest(Method("predict", Output("array"), milliseconds=300)), lambda _: time.sleep(0.001))
    app = app_of(slow, log=PredictionLog(tmp_path))
    body = rows(1.0)
    whole = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
    whole += b"%d\r\n\r\n" % len(body) + body

    async def leave(world: World, number: int) -> None:
        _, writer = await world.client()
        writer.write(whole[: 1 + number * 7 % len(whole)] if number % 3 else whole)
        await writer.drain()
        writer.transport.abort() if number % 2 else writer.close()

    async def test(world: World) -> None:
        assert (await world.ask(whole))[0] == 200
        before = psutil.Process().num_fds()
        for first in range(0, 1_000, 50):
            await asyncio.gather(*(leave(world, number) for number in range(first, first + 50)))
        await idle(app)
        for _ in range(500):
            if not world.connections._busy():
                break
            await asyncio.sleep(0.01)
        assert not world.connections._busy()
        assert psutil.Process().num_fds() <= before
        assert (await world.ask(whole))[0] == 200

    run(test, app=app)
    app.close()
    assert len(list(Predictions(tmp_path))) > 2, "some were answered, and are in the log"


def test_large_bodies_are_no_large_headers() -> None:
    async def test(world: World) -> None:
        reader, writer = await world.client()
        one = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n" + b"b" * 50_000
        for _ in range(2):
            writer.write(one + one[:20])
            assert (await answer(reader))[::2] == (200, b"50000")
            writer.write(one[20:])
            assert (await answer(reader))[::2] == (200, b"50000")
        writer.close()

    run(test)


def test_f19_many_tiny_chunks_are_one_body() -> None:
    async def test(world: World) -> None:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert (await world.ask(head + b"1\r\nx\r\n" * 65_537 + b"0\r\n\r\n"))[::2] == (200, b"65537")

    run(test)


def test_garbage_behind_a_request_does_not_answer_in_its_place() -> None:
    async def test(world: World) -> None:
        world.app.gate.clear()
        reader, writer = await world.client()
        writer.write(GET)
        await world.app.begun.wait()
        writer.write(b"garbage\r\n\r\n")
        await asyncio.sleep(0.02)
        world.app.gate.set()
        status, headers, body = await answer(reader)
        assert (status, body, headers.get("connection")) == (200, b"0", "close")
        assert await reader.read() == b""
        writer.close()

    run(test)


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"GET / HT", 408), (b"", None), (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab", None)],
    ids=["headers", "nothing", "body"],
)
def test_f17_slow_requests_are_ended(sent: bytes, status: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEADER_TIME", 0.1)
    monkeypatch.setattr(protocol, "BODY_TIME", 0.1)
    monkeypatch.setattr(protocol, "LINGER_TIME", 0.1)

    async def test(world: World) -> None:
        reader, writer = await world.client()
        for byte in sent:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        if status is not None:
            assert (await asyncio.wait_for(answer(reader), 2.0))[0] == status
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 2.0) == b""
        writer.close()

    run(test)


def test_f17_an_answer_nobody_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "READING_TIME", 0.2)

    async def test(world: World) -> None:
        with socket.create_connection(("127.0.0.1", world.listener.port)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            sock.sendall(GET.replace(b"/ ", b"/large "))
            await asyncio.sleep(0.05)
            assert world.connections._busy()
            for _ in range(100):
                await asyncio.sleep(0.02)
                if not world.connections._busy():
                    return
        raise AssertionError("the connection is still there")

    run(test)


def test_a_refused_client_that_still_sends_hears_why() -> None:
    async def test(world: World) -> None:
        reader, writer = await world.client()
        writer.write(b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000)
        await asyncio.sleep(0.05)
        for _ in range(20):
            writer.write(b"a" * 10_000)
        assert (await answer(reader))[0] == 431
        writer.close()

    run(test)


def test_a_drain_tells_clients_to_leave_and_closes_idle_connections() -> None:
    async def test(world: World) -> None:
        busy, idle = await world.client(), await world.client()
        for reader, writer in (busy, idle):
            writer.write(GET)
            assert "connection" not in (await answer(reader))[1]
        world.connections.close()
        draining = asyncio.ensure_future(world.connections.drain(2.0))
        await asyncio.sleep(0.05)
        busy[1].write(GET)
        assert (await answer(busy[0]))[1]["connection"] == "close"
        assert await draining
        assert await idle[0].read() == b""
        for _, writer in (busy, idle):
            writer.close()

    run(test)


def test_a_drain_answers_what_had_begun_to_arrive() -> None:
    async def test(world: World) -> None:
        reader, writer = await world.client()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Le")
        await asyncio.sleep(0.05)
        world.connections.close()
        draining = asyncio.ensure_future(world.connections.drain(2.0))
        await asyncio.sleep(0.8)
        writer.write(b"ngth: 2\r\n\r\nab")
        assert (await answer(reader))[::2] == (200, b"2")
        assert await draining
        writer.close()

    run(test)


def test_the_last_drain_takes_who_is_waiting_and_refuses_the_rest() -> None:
    async def test(world: World) -> None:
        waiting = socket.create_connection(("127.0.0.1", world.listener.port))
        waiting.sendall(GET)
        world.connections.refuse()
        world.connections.close()
        with pytest.raises(ConnectionRefusedError):
            await world.client()
        draining = asyncio.ensure_future(world.connections.drain(2.0))
        waiting.setblocking(False)
        assert b"200 OK" in await asyncio.get_running_loop().sock_recv(waiting, 1_000)
        waiting.close()
        assert await draining

    run(test)


def test_f18_a_full_house_lets_clients_wait(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("nbdeploy.runtime.connections.most_connections", lambda: 2)

    async def test(world: World) -> None:
        first, second = await world.client(), await world.client()
        for reader, writer in (first, second):
            writer.write(GET)
            await answer(reader)
        late = asyncio.ensure_future(world.ask(GET))
        await asyncio.sleep(0.3)
        assert not late.done()
        first[1].close()
        assert (await late)[0] == 200
        second[1].close()

    run(test)
    told = [record for record in caplog.records if "new connections wait" in record.message]
    assert 1 <= len(told) <= 2, "said once for each time, not at each look"


def test_modules_of_a_bundle_that_moved_are_found_where_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    (new / "captured").mkdir(parents=True)
    package = types.ModuleType("moved_package")
    package.__path__ = [str(old / "moved_package")]
    monkeypatch.setitem(sys.modules, "moved_package", package)
    monkeypatch.setattr(sys, "path", [str(old), str(old / "captured"), str(old) + "er", "/elsewhere"])
    monkeypatch.chdir(tmp_path)
    host.relocate(str(old), str(new))
    assert sys.path == [str(new), str(new / "captured"), str(old) + "er", "/elsewhere"]
    assert package.__path__ == [str(new / "moved_package")]
    assert Path.cwd() == new


def test_a_worker_of_an_older_bundle_overlooks_what_it_does_not_know() -> None:
    spec = Spec(src="/b/src", name="n", digest="sha256:0", nonce="", parent=1, public=3)
    assert Spec.from_dict({**spec.to_dict(), "invented_later": True}) == spec
