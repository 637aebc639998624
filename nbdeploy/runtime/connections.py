"""The connections of one worker: accepted, answered, and let go without losing a request."""

from __future__ import annotations

import asyncio
import resource
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.server import ServerState

from .acceptor import Acceptor
from .protocol import Protocol

if TYPE_CHECKING:
    import socket

KEEP_ALIVE = 75  # seconds an idle connection stays open
MOST = 2_000  # connections of one process
RESERVED = 100  # descriptors for everything else
LAST_CALL = 0.6  # seconds in which clients on open connections are told to leave
TICK = 0.02
CLOSE = (b"connection", b"close")


class Connections:
    """Needs a running loop. `open` a socket, `drain` once."""

    def __init__(self, app: Any) -> None:
        self._config = uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
        )
        self._config.load()
        self._state = ServerState()
        self._acceptors: dict[int, Acceptor] = {}  # by descriptor
        self._most = most_connections()
        self._date()

    def open(self, sock: socket.socket) -> None:
        acceptor = Acceptor(sock, self._protocol, self._room)
        self._acceptors[sock.fileno()] = acceptor
        acceptor.open()

    def forsake(self, sock: socket.socket) -> None:
        """Accept no more from one socket, and close it; its connections stay."""
        self._acceptors.pop(sock.fileno()).close()
        sock.close()

    def refuse(self) -> None:
        """Take who is waiting; from then on nobody is accepted, by no process that shares the sockets."""
        for acceptor in self._acceptors.values():
            acceptor.end()

    def close(self) -> None:
        """Accept no more, and let every answer from now on say that it is the last one on its connection.

        The header enters two lists: the one new answers begin with, and the one replies under way hold.
        """
        for acceptor in self._acceptors.values():
            acceptor.close()
        self._config.encoded_headers.append(CLOSE)
        self._state.default_headers.append(CLOSE)

    async def drain(self, seconds: float) -> bool:
        """After `close`: whether all that was asked has been answered within `seconds` after the last call."""
        await self._empty(LAST_CALL)
        for connection in list(self._state.connections):
            connection.shutdown()
        return await self._empty(seconds)

    async def _empty(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._busy():
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(TICK)
        return True

    def _busy(self) -> bool:
        pending = any(acceptor.pending for acceptor in self._acceptors.values())
        return pending or bool(self._state.connections) or bool(self._state.tasks)

    def _room(self) -> bool:
        return (
            len(self._state.connections) + sum(acceptor.pending for acceptor in self._acceptors.values()) < self._most
        )

    def _protocol(self) -> asyncio.Protocol:
        return Protocol(config=self._config, server_state=self._state, app_state={})

    def _date(self) -> None:
        stamp = (b"date", formatdate(usegmt=True).encode())
        self._state.default_headers = [stamp, *self._config.encoded_headers]
        asyncio.get_running_loop().call_later(1.0, self._date)


def most_connections() -> int:
    """As many as the descriptors allow; the soft limit is raised where the hard one lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST + RESERVED
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MOST if soft == resource.RLIM_INFINITY else max(1, min(MOST, soft - RESERVED))
