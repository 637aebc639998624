"""What one worker counts, and the Prometheus text for all of them.

Counters lie in a file mapped into memory; any worker answers a scrape for all that share the folder (counters.py). An
increment costs less than a microsecond. Labels are a fixed set: a method's route, a status, a version.
"""

from __future__ import annotations

import json
import mmap
import os
import time
from bisect import bisect_left
from typing import TYPE_CHECKING

from .counters import (
    BOUNDS,
    BUCKETS,
    CELLS,
    HEADER,
    STATUSES,
    SUFFIX,
    TAILS,
    WORKER,
    claim,
    locked,
    place_of,
    read,
    total,
)
from .exposition import render

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from .identity import Identity

UNKNOWN = "unknown"  # every path nobody decided about
STATUS_CELL = {status: number for number, status in enumerate(STATUSES)}
CPU, RESIDENT, BEGAN = map(WORKER.index, ("cpu_microseconds", "resident_bytes", "began_microseconds"))


class Metrics:
    """`folder` None keeps the counters in memory: one worker, or no place to share them.

    What is counted of the routes in `told` is told from the start, zeros too: to Prometheus a counter that appears with
    its first failure has not grown.
    """

    def __init__(self, routes: Sequence[str], folder: Path | None = None, *, told: Collection[str] = ()) -> None:
        self._routes = (*routes, UNKNOWN)
        self._places = {route: place_of(number) for number, route in enumerate(self._routes)}
        self._unknown = self._places[UNKNOWN]
        self._told = list(told)
        self._size = HEADER + 8 * place_of(len(self._routes))
        self._folder = folder
        self._identity: Identity | None = None
        self._cpu = 0.0
        self._fd: int | None = None
        self._map = mmap.mmap(-1, self._size)
        self._cells = memoryview(self._map)[HEADER:].cast("Q")

    def begin(self, identity: Identity) -> None:
        """Count from zero under this identity; a candidate's checks are not traffic."""
        self._identity = identity
        self.close()
        if self._folder is None:
            self._map = mmap.mmap(-1, self._size)
        else:
            self._open(self._folder)
        self._cells = memoryview(self._map)[HEADER:].cast("Q")
        self._cells[BEGAN] = time.time_ns() // 1_000
        self._cpu = time.process_time()
        header = {
            "version": identity.label,
            "digest": identity.digest,
            "worker": identity.worker,
            "workers": identity.workers,
            "routes": self._routes,
            "told": self._told,
            "cells": CELLS,
        }
        self._map[:HEADER] = json.dumps(header, separators=(",", ":")).encode().ljust(HEADER)

    def request(self, route: str, status: int) -> None:
        self._cells[self._places.get(route, self._unknown) + STATUS_CELL.get(status, len(STATUSES))] += 1

    def answered(self, route: str, seconds: float, rows: int) -> None:
        """A request the model answered; only these have a latency, refusals would blur it."""
        place = self._places.get(route, self._unknown)
        cells = self._cells
        cells[place + STATUS_CELL[200]] += 1
        cells[place + BUCKETS + bisect_left(BOUNDS, seconds)] += 1
        cells[place + TAILS] += int(seconds * 1e6)
        cells[place + TAILS + 1] += rows

    def call(self, route: str, seconds: float) -> None:
        """One call of the model, for however many requests."""
        place = self._places.get(route, self._unknown)
        self._cells[place + TAILS + 2] += 1
        self._cells[place + TAILS + 3] += int(seconds * 1e6)

    def state(self, *, unlogged_rows: int, in_flight: int, ready: bool, degraded: bool) -> None:
        cells = self._cells
        cells[0], cells[1], cells[2], cells[3] = unlogged_rows, in_flight, ready, degraded

    def process(self) -> None:
        """What this process uses; memory only where /proc tells it."""
        self._cells[CPU] = int((time.process_time() - self._cpu) * 1e6)
        self._cells[RESIDENT] = resident()

    def text(self) -> bytes:
        if self._identity is None:
            return b""
        found = read(bytes(self._map)) if self._folder is None else total(self._folder)
        return render(self._identity.name, found)

    def close(self) -> None:
        """The counts stay in the folder."""
        self._cells.release()
        self._map.close()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(folder):
            path = folder / f"{time.time_ns() // 1_000:016d}-{os.getpid()}{SUFFIX}"
            self._fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            claim(self._fd)
            os.ftruncate(self._fd, self._size)
            self._map = mmap.mmap(self._fd, self._size)


def resident() -> int:
    """Bytes of this process in memory; 0 where nobody tells."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  # every two seconds
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
