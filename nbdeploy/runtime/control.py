"""JSON lines over a socket: how kernel, supervisor and workers talk to each other.

Every message is one object on one line. The kernel asks with {"op": ...}; a supervisor and a worker tell with
{"event": ...}. PROTOCOL goes up when a kernel could no longer have a supervisor of the number before serve a new version;
`status` and `stop` stay as they are in every protocol, so that what runs can be seen and stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .process import Process

if TYPE_CHECKING:
    from collections.abc import Iterator

PROTOCOL = 1
SOCKET = "control.sock"
LONGEST_PATH = 103  # bytes of a unix socket's path: 107 on Linux, 103 on macOS
LONGEST_LINE = 4_000_000  # bytes; nobody of ours writes more

Message = dict[str, Any]


class Garbled(ValueError):
    """The other side does not speak JSON lines."""


class Strange(ConnectionError):
    """Whoever listens at the control socket is no supervisor."""


class Lines:
    """Bytes as they arrive become messages."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Message]:
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            raise Garbled(f"a line of more than {LONGEST_LINE} bytes")
        return [_decode(line) for line in whole if line.strip()]

    def receive(self, sock: socket.socket) -> tuple[list[Message], bool]:
        """What has arrived on a socket that does not wait, and whether the other side is gone or talks nonsense."""
        try:
            data = sock.recv(65_536)
            return self.feed(data), not data
        except (BlockingIOError, InterruptedError):
            return [], False
        except (OSError, Garbled):
            return [], True


def _decode(line: bytes) -> Message:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise Garbled(f"a line that is not JSON: {exc}") from exc
    if not isinstance(message, dict):
        raise Garbled(f"a line of the type {type(message).__name__}, not an object")
    return message


def encode(message: Message) -> bytes:
    return json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


class Channel:
    """One end of a conversation, for a side that waits for its answers."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.peer: Process | None = None  # the supervisor, where this was made by `connect`
        self.protocol = PROTOCOL  # the supervisor's
        self._lines = Lines()
        self._waiting: list[Message] = []

    def send(self, message: Message) -> None:
        self.socket.sendall(encode(message))

    def receive(self, timeout: float | None = None) -> Message | None:
        """The next message; None when the other side is gone.

        Raises:
            TimeoutError: nothing came for `timeout` seconds.
        """
        self.socket.settimeout(timeout)
        while not self._waiting:
            try:
                data = self.socket.recv(65_536)
            except ConnectionError:
                return None
            if not data:
                return None
            self._waiting = self._lines.feed(data)
        return self._waiting.pop(0)

    def close(self) -> None:
        self.socket.close()


def connect(folder: Path, timeout: float = 5.0) -> Channel:
    """A channel to the supervisor that works in `folder`.

    Raises:
        FileNotFoundError, ConnectionRefusedError: nobody is there; TimeoutError: somebody who does not answer;
        Strange: somebody else.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        with reachable(folder / SOCKET) as path:
            sock.connect(path)
    except BaseException:  # also Ctrl-C while it waits leaves no socket open
        sock.close()
        raise
    return _greeted(Channel(sock), timeout)


def _greeted(channel: Channel, timeout: float) -> Channel:
    """A supervisor's first words are who it is, so that its end can be waited for."""
    try:
        told = channel.receive(timeout)
        if told is not None:
            channel.peer = Process(int(told["pid"]), str(told["start"]), str(told["boot"]))
            channel.protocol = int(told["protocol"])
    except (Garbled, KeyError, TypeError, ValueError) as exc:
        channel.close()
        raise Strange(f"what listens at the control socket is no supervisor: {exc}") from exc
    except BaseException:  # also Ctrl-C while it listens leaves no channel open
        channel.close()
        raise
    if told is None:
        channel.close()
        raise ConnectionRefusedError("the supervisor is about to end")
    return channel


def greeting(process: Process) -> Message:
    return {"event": "hello", "protocol": PROTOCOL, **asdict(process)}


@contextlib.contextmanager
def reachable(path: Path, platform: str = sys.platform) -> Iterator[str]:
    """The path, or a short one for the same file: a unix socket's address has little room."""
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield str(path)
    elif platform == "linux":
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{folder}/{path.name}"
        finally:
            os.close(folder)
    else:
        with tempfile.TemporaryDirectory(dir="/tmp") as short:  # TMPDIR may be as long as the path
            link = Path(short, "f")
            link.symlink_to(path.parent, target_is_directory=True)
            yield str(link / path.name)


def serve(folder: Path) -> socket.socket:
    """The supervisor's listening socket, for this user alone; one left by a dead supervisor is replaced."""
    path = folder / SOCKET
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        with reachable(path) as short:
            sock.bind(short)
    finally:
        os.umask(mask)
    sock.listen(64)
    sock.setblocking(False)
    return sock
