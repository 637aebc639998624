"""The relay's crossings, without a container: what arrives at one end goes out at the other."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace

from nbdeploy.runtime.control import Channel
from nbdeploy.runtime.relay import Crossing, Relay, published


class Client(asyncio.Transport):
    """A client's end of a connection, of which nothing can be held back."""

    def __init__(self) -> None:
        super().__init__()
        self.told = b""
        self.closed = False

    def pause_reading(self) -> None:
        """It reads on, as some releases of Python do."""

    resume_reading = pause_reading

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.told += data

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


async def crossed(*pieces: bytes) -> tuple[bytes, Client]:
    """What the other side heard of pieces sent at once, and the client, which was answered the same."""
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())
        writer.write(heard[0])
        writer.close()
        await writer.wait_closed()
        answered.set()

    answered = asyncio.Event()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    client, known = Client(), set[Crossing]()
    crossing = Crossing(server.sockets[0].getsockname()[1], known)
    crossing.connection_made(client)
    for piece in pieces:
        crossing.data_received(piece)
    crossing.eof_received()
    async with asyncio.timeout(10):
        await answered.wait()
        while not client.closed:  # noqa: ASYNC110  # it has no event to wait for
            await asyncio.sleep(0.01)
    crossing.connection_lost(None)
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0)  # transports close a turn later
    return heard[0], client


def test_what_a_client_says_before_the_container_is_reached_is_not_lost() -> None:
    heard, client = asyncio.run(crossed(b"POST /predict ", b"and its body"))
    assert heard == client.told == b"POST /predict and its body"


def test_a_client_whose_container_cannot_be_reached_is_let_go() -> None:
    async def nobody() -> Client:
        client = Client()
        Crossing(1, set()).connection_made(client)
        async with asyncio.timeout(10):
            while not client.closed:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.01)
        return client

    assert asyncio.run(nobody()).told == b""


def test_only_ports_published_on_loopback_are_believed() -> None:
    told = "3000/tcp -> 127.0.0.1:41039\n3001/tcp -> 0.0.0.0:41040\n"
    assert published(told) == {3000: 41039}


def test_a_question_leaves_no_timer_of_the_one_before_behind() -> None:
    """One that is forgotten would look for a container that has answered since."""
    spec = {"name": "toy", "nonce": "0" * 8, "container": {}}

    async def asked_twice() -> int:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            relay = Relay(SimpleNamespace(**spec), Channel(ours))  # type: ignore[arg-type]  # what it reads of a spec
            relay._say = lambda message: None  # type: ignore[method-assign]  # there is no container
            relay._ping({"op": "ping"})
            timer = relay._silent
            relay._ping({"op": "ping"})
            relay._answered()
            assert timer is not None
            return int(timer.cancelled()) + int(relay._silent is None)

    assert asyncio.run(asked_twice()) == 2
