"""The sockets clients connect to: bound once by the supervisor, accepted from by its workers."""

from __future__ import annotations

import errno
import socket
import sys
from dataclasses import dataclass

HOST = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104  # inside a container, whose own network this is
PORT, CHECKED = 3000, 3001  # inside a container: the service's, and a candidate's
BACKLOG = 2_048


@dataclass(eq=False)
class Listener:
    """A bound socket; nobody can connect before `open`, and nobody else can take the port meanwhile."""

    socket: socket.socket
    port: int

    @classmethod
    def bind(cls, port: int | None, host: str = HOST) -> Listener:
        """`port` None takes a free one.

        Raises:
            OSError: EADDRINUSE and its like.
        """
        try:
            sock = _plain(host, port or 0)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE or not port:
                raise
            sock = _over_closed_connections(host, port)
        return cls(sock, int(sock.getsockname()[1]))

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def open(self) -> None:
        # Set before the bind it would let a stranger listen here before us.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.listen(BACKLOG)

    def close(self) -> None:
        self.socket.close()


def _plain(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.bind((host, port))
    except BaseException:  # whatever keeps it from binding, no descriptor stays open
        sock.close()
        raise
    return sock


def _over_closed_connections(host: str, port: int) -> socket.socket:
    """Bind where only connections in TIME_WAIT are left.

    On Linux two sockets with SO_REUSEADDR may bind one port until one listens. Listening for an instant shows whether
    somebody does, and without the option afterwards nobody else can bind.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        if sys.platform == "linux":
            sock.listen()
            sock.shutdown(socket.SHUT_RDWR)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except BaseException:  # a socket that is half set up would keep the port
        sock.close()
        raise
    return sock
