"""The cells of every worker in one folder, added up.

Each worker holds a lock on its own file while it lives. The files of dead ones are folded into `retired.json`, which
names those it holds already, so stopping at any point neither loses a count nor takes one twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STATUSES = (200, 400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 500, 503, 504)
OTHER = "other"
BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds
TAIL = ("microseconds", "rows", "calls", "call_microseconds")
# The cells of one route: a count for each status and one for others, one for each bucket and one above, then TAIL.
BUCKETS = len(STATUSES) + 1
TAILS = BUCKETS + len(BOUNDS) + 1
STRIDE = TAILS + len(TAIL)
WORKER = ("unlogged_rows", "in_flight", "ready", "degraded")  # once a worker; all but the first are gauges
HEADER = 4_096
SUFFIX = ".cells"
RETIRED = "retired.json"

Sums = Counter[tuple[str, ...]]  # (what, route, version, status or bucket) -> count


def place_of(route_number: int) -> int:
    return len(WORKER) + STRIDE * route_number


def names_of(route: str, version: str) -> list[tuple[str, ...]]:
    """What the cells of one route mean, in their order."""
    statuses = [("requests", route, version, str(status)) for status in (*STATUSES, OTHER)]
    buckets = [("bucket", route, version, str(number)) for number in range(len(BOUNDS) + 1)]
    return [*statuses, *buckets, *((what, route, version) for what in TAIL)]


def read(data: bytes) -> tuple[dict[str, Any], Sums]:
    """The header and counts of one worker's file; gauges have the worker's own key ("gauge", name)."""
    header = json.loads(data[:HEADER])
    cells = struct.unpack_from(f"{(len(data) - HEADER) // 8}Q", data, HEADER)
    sums: Sums = Counter({("unlogged_rows",): cells[0]})
    sums.update({("gauge", name): cells[place] for place, name in enumerate(WORKER) if place})
    for number, route in enumerate(header["routes"]):
        start = place_of(number)
        for name, value in zip(names_of(route, header["version"]), cells[start : start + STRIDE], strict=True):
            if value:
                sums[name] = value
    return header, sums


def total(folder: Path) -> Sums:
    """All workers that ever counted here; the gauges of the living ones only."""
    with locked(folder):
        _fold_dead(folder)
        sums, _ = _retired(folder)
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            with contextlib.suppress(ValueError, struct.error):  # a worker that has only just begun its file
                sums.update(read(path.read_bytes())[1])
                sums[("gauge", "workers")] += 1
    return sums


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    import fcntl

    fd = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def claim(fd: int) -> bool:
    """Lock an open file for as long as it stays open; False if a living worker has it."""
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _fold_dead(folder: Path) -> None:
    sums, folded = _retired(folder)
    dead = [path for path in sorted(folder.glob(f"*{SUFFIX}")) if _is_dead(path)]
    for path in dead:
        if path.name not in folded:
            with contextlib.suppress(ValueError, struct.error):  # it died before it counted
                sums.update({name: count for name, count in read(path.read_bytes())[1].items() if name[0] != "gauge"})
    if dead:
        _write_retired(folder, sums, [path.name for path in dead])
        for path in dead:
            path.unlink()


def _is_dead(path: Path) -> bool:
    fd = os.open(path, os.O_RDWR)
    try:
        return claim(fd)
    finally:
        os.close(fd)


def _retired(folder: Path) -> tuple[Sums, list[str]]:
    try:
        raw = json.loads((folder / RETIRED).read_bytes())
    except FileNotFoundError:
        return Counter(), []
    return Counter({tuple(name): count for name, count in raw["counts"]}), raw["folded"]


def _write_retired(folder: Path, sums: Sums, folded: list[str]) -> None:
    part = folder / f"{RETIRED}.part"
    part.write_text(json.dumps({"counts": [[list(name), count] for name, count in sums.items()], "folded": folded}))
    part.replace(folder / RETIRED)
