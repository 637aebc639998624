"""The labels that came: `services/NAME/feedback/`, written by workers and by notebook and command at once.

Each process appends to segments of its own, so nothing is torn; a reader goes by the time a label came.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from nbdeploy.errors import DiskFailed
from nbdeploy.homes import private, sync_folder
from nbdeploy.runtime.feedback import Clock, entry
from nbdeploy.runtime.records import SUFFIX, parse
from nbdeploy.runtime.retention import DAY
from nbdeploy.runtime.segments import NoFile, begin, is_growing, opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

FOLDER = "feedback"
COLUMNS = ("time", "on", "id", "row", "label")
SEGMENT_BYTES = 64 * 2**20
TICK = 1e-6  # seconds: as exact as times are kept

_FIELDS = {"time", "on", "id", "row", "labels"}
_clock = Clock()
_own: dict[Path, tuple[Path, tuple[int, int]]] = {}  # by folder, the segment that this process made last


class Feedback:
    """`torn` and `damaged` count what the last reading passed over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.torn = 0
        self.damaged = 0

    def __repr__(self) -> str:
        return f"<Feedback in {self.folder}; .frame() is a table of it>"

    def frame(self) -> pd.DataFrame:
        """A line for each label, in the order they came: when, what it goes by, id, row (None: not known), label."""
        import pandas as pd

        lines = sorted(self._lines(), key=lambda line: line[0])  # stable: one process's own order stays
        frame = pd.DataFrame(lines, columns=list(COLUMNS), dtype=object)
        return frame.assign(time=pd.to_datetime(frame["time"].astype(float), unit="s", utc=True))

    def add(self, labels: pd.DataFrame, *, after: float = 0.0) -> None:
        """Keep labels (on, id, row, label); on the disk when this returns. They are said later than what was said
        `after` since 1970, also where the clock was set back.

        Raises:
            DiskFailed: and then nothing of them is kept.
        """
        now = max(_clock.now(), after + TICK)
        text = b"".join(entry(now, *run) for run in _runs(labels))
        if not text:
            return
        try:
            self._append(text)
        except OSError as exc:
            raise unkept(str(self.folder), exc.strerror or str(exc)) from exc

    def _append(self, text: bytes) -> None:
        private(self.folder)
        fd = self._open(len(text))
        try:
            size = os.fstat(fd).st_size
            try:
                _write(fd, text)
                os.fsync(fd)
            except OSError:
                os.ftruncate(fd, size)
                raise
        finally:
            os.close(fd)
        sync_folder(self.folder)

    def _open(self, more: int) -> int:
        """The segment this process made last, locked, if nobody writes to it and it has room; else a new one.

        Never one that another made: the service writes to this folder as well, also from a container.
        """
        path, made = _own.get(self.folder, (None, None))
        if path is not None and _born(path) >= _clock.now() - DAY:  # else let it grow old, for retention
            with suppress(FileNotFoundError, NoFile):  # retention took it meanwhile, or it is replaced
                fd = opened(path, os.O_RDWR | os.O_APPEND)
                if _identity(fd) == made and _claimed(fd) and _has_room(fd, more) and _whole(fd):
                    return fd
                os.close(fd)
        path, fd = begin(self.folder)
        _own[self.folder] = path, _identity(fd)
        return fd

    def _lines(self) -> Iterator[tuple[float, str, Any, int | None, Any]]:
        self.torn = self.damaged = 0
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            try:
                file = os.fdopen(opened(path), "rb")
            except FileNotFoundError:
                continue  # retention took it meanwhile
            except NoFile:
                self.damaged += 1
                continue
            with file:
                yield from self._of(file)

    def _of(self, file: IO[bytes]) -> Iterator[tuple[float, str, Any, int | None, Any]]:
        for text in file:
            if not text.endswith(b"\n"):
                self.torn += not is_growing(file.fileno())
                break
            found = parse(text[:-1])
            if found is None or not found.keys() >= _FIELDS:
                self.damaged += 1
            else:
                yield from _labels(found)


def unkept(path: str, fact: str) -> DiskFailed:
    return DiskFailed("Keeping the labels", path, fact, "None of them is kept", "give them again")


def _labels(found: dict[str, Any]) -> Iterator[tuple[float, str, Any, int | None, Any]]:
    first = found["row"]
    for place, label in enumerate(found["labels"]):
        yield found["time"], found["on"], found["id"], None if first is None else first + place, label


def _runs(labels: pd.DataFrame) -> Iterator[tuple[str, Any, int | None, list[Any]]]:
    """What it goes by, its id, the first row, labels: rows of a request that follow each other are one."""
    run: tuple[str, Any, int | None, list[Any]] | None = None
    for on, id_, row, label in zip(*(labels[name].tolist() for name in COLUMNS[1:]), strict=True):
        if run is not None and row is not None and _follows(run, on, id_, row):
            run[3].append(label)
            continue
        if run is not None:
            yield run
        run = on, id_, row, [label]
    if run is not None:
        yield run


def _follows(run: tuple[str, Any, int | None, list[Any]], on: str, id_: Any, row: int) -> bool:
    own, same, first, labels = run
    return first is not None and row == first + len(labels) and (own, type(same), same) == (on, type(id_), id_)


def _born(path: Path) -> float:
    """When the segment was begun, in seconds; 0 of a file somebody else named."""
    micros = path.stem.partition("-")[0]
    return int(micros) / 1e6 if micros.isdecimal() else 0.0


def _write(fd: int, text: bytes) -> None:
    view = memoryview(text)
    while view:
        view = view[os.write(fd, view) :]


def _identity(fd: int) -> tuple[int, int]:
    stat = os.fstat(fd)
    return stat.st_dev, stat.st_ino


def _claimed(fd: int) -> bool:
    try:
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _has_room(fd: int, more: int) -> bool:
    """Not one that retention took before it was claimed: what is written there is gone with it."""
    stat = os.fstat(fd)
    return bool(stat.st_nlink) and stat.st_size + more <= SEGMENT_BYTES


def _whole(fd: int) -> bool:
    """Whether its last line has its end."""
    size = os.fstat(fd).st_size
    return size == 0 or os.pread(fd, 1, size - 1) == b"\n"
