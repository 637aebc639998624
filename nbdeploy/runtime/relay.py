"""Stands where a worker would, for a container: starts it, passes messages, and forwards the bytes of its clients.

It runs from the installed package, beside the supervisor, on the standard library alone. The container hangs on its
stdin, so it ends with this process, and this process with the supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import sys
from typing import TYPE_CHECKING

from . import parent
from .acceptor import Acceptor
from .control import Channel, Garbled, Lines, encode
from .host import Mailbox, leave
from .listener import CHECKED, PORT
from .process import Process
from .spec import Spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from .control import Message

MOST = 2_000  # clients at a time
PATIENCE = 10.0  # seconds for the engine to answer a question
REACH = 2.0  # seconds for a container that does not answer to take a connection
TICK = 0.02
BUSY = {125, 126, 127}  # exit codes by which an engine says that it started nothing


def main(descriptor: int) -> None:
    """The relay's life; `descriptor` is its end of the socket to the supervisor."""
    channel = Channel(socket.socket(fileno=descriptor))
    told = channel.receive()
    if told is None:
        parent.vanish()
        return
    spec = Spec.from_dict(told)
    parent.die_with_parent(spec.parent)
    mailbox = Mailbox()
    parent.listen(channel, mailbox.put)
    leave(asyncio.run(Relay(spec, channel).run(mailbox)))


class Relay:
    def __init__(self, spec: Spec, channel: Channel) -> None:
        if spec.container is None:
            raise ValueError("a relay without a container")
        self._spec = spec
        self._container = spec.container
        self._socket = channel.socket
        self._name = f"nbdeploy-{spec.name}-{spec.nonce[:8]}-{os.getpid()}"
        self._lines = Lines()
        self._failed = False
        self._ending = False
        self._ports: dict[int, int] = {}  # inside -> here
        self._crossings: set[Crossing] = set()
        self._acceptors: dict[str, Acceptor] = {}
        self._left: asyncio.Task[None] | None = None
        self._look: asyncio.Task[None] | None = None
        self._silent: asyncio.TimerHandle | None = None  # since the last question

    async def run(self, mailbox: Mailbox) -> int:
        """Until the container has ended; its exit code."""
        self._left = asyncio.create_task(self._clear())
        self._client = await asyncio.create_subprocess_exec(
            *self._command(), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        self._say({"op": "serve", "order": self._container["order"], "nonce": self._spec.nonce})
        mailbox.open(self._asked)
        await self._hear()
        code = await self._client.wait()
        self._forget()
        await self._done()
        if code in BUSY and not self._failed:
            self._tell(
                {"event": "failed", "fact": f"could not be started by the engine (exit code {code})", "findings": []}
            )
        return code

    def _command(self) -> list[str]:
        process = Process.current()
        mark = f"{self._container['mark'][0]}={process.pid} {process.start} {process.boot}"
        return [
            *self._container["run"],
            *("--name", self._name, "--label", mark),
            *("--publish", f"127.0.0.1::{PORT}", "--publish", f"127.0.0.1::{CHECKED}"),
            *self._container["what"],
        ]

    async def _clear(self) -> None:
        """Remove what a relay left behind that could not see to it: of this service alone, and of no living relay."""
        for name in (await self._engine(*self._container["list"])).split():
            mark = await self._engine(*self._container["marked"], name)
            pid, _, rest = mark.strip().partition(" ")
            start, _, boot = rest.partition(" ")
            if pid.isdigit() and not Process(int(pid), start, boot).alive():
                await self._engine(*self._container["remove"], name)

    async def _engine(self, *words: str) -> str:
        """What it answers; "" where it does not."""
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        except TimeoutError:
            process.kill()
            return ""
        return out.decode() if process.returncode == 0 else ""

    async def _hear(self) -> None:
        """What the container says, until it says nothing any more."""
        if self._client.stdout is None:
            return
        while data := await self._client.stdout.read(65_536):
            try:
                messages = self._lines.feed(data)
            except Garbled as exc:
                print(f"the container says {exc}", file=sys.stderr)  # noqa: T201  # its log
                continue
            for message in messages:
                await self._heard(message)

    async def _heard(self, message: Message) -> None:
        event = message.get("event")
        if event == "ready":
            self._ports = published(await self._engine(*self._container["port"], self._name))
            if not {PORT, CHECKED} <= set(self._ports):
                raise OSError(f"the engine does not say where {self._name} can be reached")
            if self._spec.private is not None:
                self._open("private", self._spec.private, CHECKED)
            self._tell(message)
        elif event == "accepting":
            self._open("public", self._spec.public, PORT)
            self._close("private")
            self._tell(message)
        elif event == "pong":
            self._answered()
            self._tell({**message, "busy": 0.0})
        else:
            self._failed = self._failed or event == "failed"
            self._tell(message)

    def _open(self, name: str, descriptor: int, inside: int) -> None:
        if name in self._acceptors or self._ending:
            return
        place = self._ports[inside]
        self._acceptors[name] = Acceptor(
            socket.socket(fileno=descriptor),
            lambda: Crossing(place, self._crossings),
            lambda: len(self._crossings) < MOST,
        )
        self._acceptors[name].open()

    def _close(self, name: str) -> None:
        acceptor = self._acceptors.pop(name, None)
        if acceptor is not None:
            acceptor.close()

    def _asked(self, message: Message) -> None:
        operations: dict[str, Callable[[Message], None]] = {
            "activate": self._say,
            "ping": self._ping,
            "drain": self._drain,
        }
        operations[message["op"]](message)

    def _ping(self, message: Message) -> None:
        """The first process of a container does nothing but answer: one that is silent is looked for."""
        self._say(message)
        self._wait_for_answer()

    def _wait_for_answer(self) -> None:
        self._answered()  # one timer at a time: a forgotten one would look for a container that has answered since
        self._silent = asyncio.get_running_loop().call_later(REACH, self._wonder)

    def _answered(self) -> None:
        if self._silent is not None:
            self._silent.cancel()
            self._silent = None

    def _wonder(self) -> None:
        if self._ports and not self._ending:
            self._look = asyncio.create_task(self._find())

    async def _find(self) -> None:
        """Where nobody can be reached either, the engine may not know yet that its container, or who watches over it, is gone."""
        try:
            async with asyncio.timeout(REACH):
                _, writer = await asyncio.open_connection("127.0.0.1", self._ports[PORT])
                writer.close()
        except OSError:
            self._failed = True
            self._tell({"event": "failed", "fact": "neither answers nor can be reached", "findings": []})
            with contextlib.suppress(ProcessLookupError):
                self._client.kill()
        else:
            self._wait_for_answer()

    def _drain(self, message: Message) -> None:
        """Accept no more; the container is told once all who were accepted have reached it."""
        if self._ending:
            return
        self._ending = True
        for acceptor in self._acceptors.values():
            acceptor.end() if message.get("last") else acceptor.close()
        self._tell({"event": "draining"})
        self._leaving = asyncio.create_task(self._release())

    async def _release(self) -> None:
        while self._under_way():  # noqa: ASYNC110  # of two kinds, and over in a moment
            await asyncio.sleep(TICK)
        self._say({"op": "drain"})

    def _under_way(self) -> bool:
        """Whether somebody was accepted who has not reached the container yet."""
        accepted = any(acceptor.pending for acceptor in self._acceptors.values())
        return accepted or not all(crossing.arrived for crossing in self._crossings)

    def _forget(self) -> None:
        """The container is gone, and with it whoever has not been answered."""
        for acceptor in self._acceptors.values():
            acceptor.close()
        for crossing in list(self._crossings):
            crossing.finish()

    async def _done(self) -> None:
        """What was answered last still has to reach its clients."""
        for _ in range(int(PATIENCE / TICK)):
            if not self._crossings:
                break
            await asyncio.sleep(TICK)
        await self._engine(*self._container["remove"], self._name)

    def _say(self, message: Message) -> None:
        if self._client.stdin is not None and not self._client.stdin.is_closing():
            self._client.stdin.write(encode(message))

    def _tell(self, message: Message) -> None:
        # A supervisor that is gone is noticed by the thread that listens to it.
        with contextlib.suppress(OSError):
            self._socket.sendall(encode(message))


def published(told: str) -> dict[int, int]:
    """Port inside -> port here, of lines as "3000/tcp -> 127.0.0.1:41039"."""
    return {
        int(inside): int(here) for inside, here in re.findall(r"^(\d+)/tcp -> 127\.0\.0\.1:(\d+)$", told, re.MULTILINE)
    }


class Side(asyncio.Protocol):
    """One end of a crossing: what arrives here goes out at the other end, no faster than that takes it."""

    def __init__(self, crossing: Crossing) -> None:
        self.crossing = crossing
        self.transport: asyncio.Transport | None = None

    @property
    def other(self) -> Side:
        return self.crossing.far if self is self.crossing.near else self.crossing.near

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.other.transport is not None:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        """A client that has said everything still waits for its answer; a container that has is done."""
        if self is self.crossing.far:
            return False
        if self.other.transport is not None and self.other.transport.can_write_eof():
            self.other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.transport = None
        self.crossing.finish()


class Crossing(Side):
    """A client's connection, and the one to the container that is made for it."""

    def __init__(self, port: int, known: set[Crossing]) -> None:
        super().__init__(self)
        self.near: Side = self
        self.far: Side = Side(self)
        self.arrived = False
        self._early = b""
        self._over = False
        self._port = port
        self._known = known

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._known.add(self)
        if self.transport is not None:
            self.transport.pause_reading()
        self._crossing = asyncio.get_running_loop().create_task(self._cross())

    async def _cross(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self.far, "127.0.0.1", self._port)
        except OSError:
            self.finish()
        self.arrived = True
        if self.far.transport is None or self.transport is None:
            self.finish()
            return
        sock = self.far.transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().data_received(self._early)
        if self._over:
            super().eof_received()
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Before asyncio of Python 3.11.3 reading goes on where it was paused in `connection_made`."""
        if self.arrived:
            super().data_received(data)
        else:
            self._early += data

    def eof_received(self) -> bool:
        self._over = True
        return super().eof_received() if self.arrived else True

    def finish(self) -> None:
        """What was written still goes out."""
        for side in (self.near, self.far):
            if side.transport is not None:
                side.transport.close()
        if self.near.transport is None and self.far.transport is None:
            self._known.discard(self)
