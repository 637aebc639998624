"""Accepts connections from a socket that several processes share.

An event loop's own server cannot let go of a socket without losing what it has just accepted; a plain reader can.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("nbdeploy")
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
PAUSE = 0.1  # seconds until a full house is looked at again


class Acceptor:
    """`room` says whether one more connection is welcome; while it is not, clients queue in the socket's backlog."""

    def __init__(self, sock: socket.socket, protocol: Callable[[], asyncio.Protocol], room: Callable[[], bool]) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._protocol = protocol
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[object]] = set()
        self._paused: asyncio.TimerHandle | None = None
        self._open = False

    @property
    def pending(self) -> int:
        """Connections accepted and not yet with their protocol."""
        return len(self._tasks)

    def open(self) -> None:
        self._open = True
        self._loop.add_reader(self._socket, self._accept)

    def close(self) -> None:
        """Accept no more; the socket stays open for those who share it."""
        self._open = False
        if self._paused is not None:
            self._paused.cancel()
            self._paused = None
        self._loop.remove_reader(self._socket)

    def end(self) -> None:
        """Take who is waiting already, then refuse everybody, in all processes that share the socket."""
        was_open = self._open
        self.close()
        while was_open and self._room() and self._accept():
            pass
        with contextlib.suppress(OSError):  # not every system can shut a listening socket
            self._socket.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> bool:
        """Whether somebody was there."""
        if not self._room():
            self._pause("the most connections this process may have are open")
            return False
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False  # another worker was faster, or the client left
        except OSError as exc:
            if exc.errno in EXHAUSTED:
                self._pause(str(exc))
            elif exc.errno == errno.EINVAL:  # another worker has ended the socket
                self.close()
            else:
                raise
            return False
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._protocol, connection))
        self._tasks.add(task)
        task.add_done_callback(self._settled)
        return True

    def _settled(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.warning("a connection was lost as it began: %s", task.exception())

    def _pause(self, reason: str) -> None:
        logger.warning("new connections wait: %s", reason)
        self._loop.remove_reader(self._socket)
        self._paused = self._loop.call_later(PAUSE, self._resume)

    def _resume(self) -> None:
        self._paused = None
        if self._open and not self._room():
            self._paused = self._loop.call_later(PAUSE, self._resume)
        elif self._open:
            self._loop.add_reader(self._socket, self._accept)
