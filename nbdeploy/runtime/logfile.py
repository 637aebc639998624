"""The service's log: lines of its workers with time and pid, rotated by size."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from typing import TYPE_CHECKING

from .clock import now

if TYPE_CHECKING:
    from pathlib import Path

FILE = "service.log"
SIZE = 10_000_000  # bytes of one file
KEPT = 3  # rotated files: service.log.1 is the newest
LONGEST_LINE = 65_536


class LogFile:
    """A full disk loses lines and nothing else."""

    def __init__(self, folder: Path, size: int = SIZE) -> None:
        self._path = folder / FILE
        self._size = size

    def write(self, source: str, lines: list[bytes]) -> None:
        stamp = f"{now()} {source} ".encode()
        with contextlib.suppress(OSError):
            self._rotate()
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, b"".join(stamp + line + b"\n" for line in lines))
            finally:
                os.close(descriptor)

    def note(self, text: str) -> None:
        """A line of the supervisor's own."""
        self.write("supervisor", [text.encode()])

    def _rotate(self) -> None:
        if not self._path.exists() or self._path.stat().st_size < self._size:
            return
        for number in range(KEPT, 0, -1):
            older = self._path.with_name(f"{FILE}.{number - 1}") if number > 1 else self._path
            if older.exists():
                older.replace(self._path.with_name(f"{FILE}.{number}"))


class Output:
    """What one process writes: into the log, and its end kept for whoever asks why it failed."""

    def __init__(self, log: LogFile, source: str) -> None:
        self._log = log
        self._source = source
        self._rest = b""
        self._tail: deque[str] = deque(maxlen=60)

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            lines.append(self._rest)
            self._rest = b""
        self._keep(lines)

    def finish(self) -> None:
        if self._rest:
            self._keep([self._rest])
            self._rest = b""

    @property
    def tail(self) -> str:
        return "\n".join(self._tail)

    def _keep(self, lines: list[bytes]) -> None:
        if lines:
            self._tail.extend(line.decode("utf-8", "replace") for line in lines)
            self._log.write(self._source, lines)
