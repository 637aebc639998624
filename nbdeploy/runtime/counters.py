"""The cells of every worker in one folder, added up.

Each worker holds a lock on its own file while it lives. The files of dead ones are folded into `retired.json`, which
names those it holds already, so stopping at any point neither loses a count nor takes one twice.

A file says itself what its cells are: at a hand-over two versions count side by side, each with the runtime of its bundle.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import struct
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

STATUSES = (200, 400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 500, 503, 504)
OTHER = "other"
BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds
TAIL = ("microseconds", "rows", "calls", "call_microseconds")
# The cells of one route: a count for each status and one for others, one for each bucket and one above, then TAIL.
BUCKETS = len(STATUSES) + 1
TAILS = BUCKETS + len(BOUNDS) + 1
STRIDE = TAILS + len(TAIL)
# Once a worker.
WORKER = (
    "unlogged_rows",
    "in_flight",
    "ready",
    "degraded",
    "cpu_microseconds",
    "resident_bytes",
    "began_microseconds",
)
COUNTED = frozenset({"unlogged_rows", "cpu_microseconds"})  # of them; the others are gauges
LARGEST = frozenset({"expected", "began_microseconds", "info"})  # gauges that are not added up
CELLS = {"head": WORKER, "statuses": [*map(str, STATUSES), OTHER], "bounds": [f"{at:g}" for at in BOUNDS], "tail": TAIL}
HEADER = 4_096
SUFFIX = ".cells"
RETIRED = "retired.json"
ALIEN = "retired.json.damaged"  # what could not be read in its place
REMEMBERED = 32  # versions that nobody serves any more, the last ones first

logger = logging.getLogger("nbdeploy")

Sums = Counter[tuple[str, ...]]  # (what, version, worker, and where it has them route, status or bound) -> count


@dataclass(frozen=True)
class Counts:
    """`counters` never go back, not over the death of a worker either; `gauges` are of the living ones."""

    counters: Sums
    gauges: Sums

    def add(self, other: Counts) -> None:
        self.counters.update(other.counters)
        for key, value in other.gauges.items():
            self.gauges[key] = max(value, self.gauges[key]) if key[0] in LARGEST else value + self.gauges[key]


def place_of(route_number: int) -> int:
    return len(WORKER) + STRIDE * route_number


def read(data: bytes) -> Counts:
    """One worker's file.

    Raises:
        ValueError, KeyError, struct.error: its worker has only just begun it, or it is of another kind.
    """
    header = json.loads(data[:HEADER])
    cells = struct.unpack_from(f"{(len(data) - HEADER) // 8}Q", data, HEADER)
    head = header["cells"]["head"]
    version, worker = header["version"], str(header["worker"])
    counters: Sums = Counter({("starts", version, worker): 1})
    gauges: Sums = Counter({("workers", version): 1, ("info", version, header["digest"]): 1})
    gauges["expected", version] = header["workers"]
    for name, value in zip(head, cells, strict=False):
        if name in COUNTED:
            counters[name, version, worker] = value
        elif name in {"ready", "degraded"}:
            gauges[name, version] = value
        else:
            gauges[name, version, worker] = value
    for number, route in enumerate(header["routes"]):
        names = [(*name[:1], version, worker, route, *name[1:]) for name in _names(header["cells"])]
        values = cells[len(head) + len(names) * number :][: len(names)]
        told = route in header["told"]
        counters.update({name: value for name, value in zip(names, values, strict=True) if value or told})
    return Counts(counters, gauges)


def _names(cells: dict[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """What the cells of one route mean, in their order."""
    statuses = [("requests", status) for status in cells["statuses"]]
    return [
        *statuses,
        *(("bucket", bound) for bound in (*cells["bounds"], "+Inf")),
        *((what,) for what in cells["tail"]),
    ]


def total(folder: Path) -> Counts:
    """All workers that ever counted here."""
    with locked(folder):
        _fold_dead(folder)
        found = Counts(_Retired.of(folder).counts, Counter())
        for path in _files(folder):
            with _begun():
                found.add(read(path.read_bytes()))
    return found


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


def _begun() -> contextlib.suppress:
    """A file that cannot be read yet, of a worker that died before it counted, or not ours."""
    return contextlib.suppress(ValueError, KeyError, TypeError, struct.error)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def _fold_dead(folder: Path) -> None:
    dead = [path for path in _files(folder) if _is_dead(path)]
    if not dead:
        return
    retired = _Retired.of(folder)
    for path in dead:
        if path.name not in retired.folded:
            with _begun():
                retired.take(read(path.read_bytes()).counters)
    _Retired(retired.counts, [path.name for path in dead]).write(folder)
    for path in dead:
        path.unlink()


def _is_dead(path: Path) -> bool:
    fd = os.open(path, os.O_RDWR)
    try:
        return claim(fd)
    finally:
        os.close(fd)


@dataclass(frozen=True)
class _Retired:
    """The counts of the dead, by version in the order of their last deaths; `folded` are the files they are from."""

    counts: Sums
    folded: list[str]

    @classmethod
    def of(cls, folder: Path) -> _Retired:
        path = folder / RETIRED
        try:
            return cls.read(path.read_bytes())
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError):
            path.replace(folder / ALIEN)
            told = "%s is not what was written there: it is %s now, and the counts of earlier workers begin anew"
            logger.warning(told, path, ALIEN)
        return cls(Counter(), [])

    @classmethod
    def read(cls, content: bytes) -> _Retired:
        """Raises ValueError, KeyError, TypeError: it is torn, or none of ours."""
        raw = json.loads(content)
        counts: Sums = Counter({tuple(name): count for name, count in raw["counts"]})
        folded = list(raw["folded"])
        texts = [*folded, *(part for name in counts for part in name)]
        if not all(isinstance(text, str) for text in texts) or any(len(name) < 2 for name in counts):
            raise TypeError("a name that is none")
        if not all(isinstance(count, int) for count in counts.values()):
            raise TypeError("a count that is none")
        return cls(counts, folded)

    def take(self, counters: Sums) -> None:
        """Add one worker's, as the latest of its version."""
        versions = {key[1] for key in counters}
        own = Counter({key: self.counts.pop(key) for key in list(self.counts) if key[1] in versions})
        own.update({key: value for key, value in counters.items() if value})
        self.counts.update(own)

    def write(self, folder: Path) -> None:
        kept = list(dict.fromkeys(key[1] for key in self.counts))[-REMEMBERED:]
        counts = [[list(name), count] for name, count in self.counts.items() if name[1] in kept]
        part = folder / f"{RETIRED}.part"
        with part.open("w", encoding="utf-8") as file:
            file.write(json.dumps({"counts": counts, "folded": self.folded}))
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / RETIRED)
