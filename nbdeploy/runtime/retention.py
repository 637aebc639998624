"""Old segments of the prediction log are unlinked: nothing is written for it, so it works on a full disk as well (F38)."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .records import SUFFIX
from .segments import NoFile, freeze, opened

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COPY = ".parquet"  # what a reader made of a closed segment
ARRAYS = ".arrays"  # what was computed of one: SEGMENT.NAME.arrays
DRAFT = ".draft-"  # begins the names of files that become copies
PATIENCE = 3_600.0  # seconds after which nobody is still writing one
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Removed:
    """How many segments went, and how many bytes with them, copies included."""

    segments: int = 0
    bytes: int = 0


def clean(folder: Path, days: float | None, most: int | None) -> Removed:
    """Remove closed segments last written `days` ago, then the oldest until all take at most `most` bytes; never one that
    may still grow. What was made of a segment goes with it.
    """
    found = sorted(folder.glob(f"*{SUFFIX}"))
    made = _made(folder)
    _left_over(folder, made, {path.stem for path in found})
    sizes = {path: sum(map(_size, (path, *made[path.stem]))) for path in found}
    total = sum(sizes.values())
    gone = freed = 0
    for path in found:
        old = days is not None and _written(path) < time.time() - days * DAY
        if not old and (most is None or total <= most):
            continue
        if not _removed(path):
            continue
        for one in made[path.stem]:
            _unlink(one)
        total -= sizes[path]
        gone, freed = gone + 1, freed + sizes[path]
    return Removed(gone, freed)


def _made(folder: Path) -> defaultdict[str, list[Path]]:
    """What was made of segments, by the segment's name."""
    found = defaultdict(list)
    for path in folder.glob(f"*{COPY}"):
        found[path.stem].append(path)
    for path in folder.glob(f"*.*{ARRAYS}"):
        found[path.stem.rpartition(".")[0]].append(path)
    return found


def _left_over(folder: Path, made: Mapping[str, list[Path]], segments: set[str]) -> None:
    """What was made of segments that are gone, and what a reader that was killed was writing."""
    for path in (path for stem, paths in made.items() if stem not in segments for path in paths):
        _unlink(path)
    for path in folder.glob(f"{DRAFT}*"):
        if _written(path) < time.time() - PATIENCE:
            _unlink(path)


def _unlink(path: Path) -> None:
    """A folder of that name is not ours: it stays, and keeps nothing else from going."""
    try:
        path.unlink(missing_ok=True)
    except (IsADirectoryError, PermissionError):  # macOS says the latter
        if not path.is_dir():
            raise


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def _written(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return time.time()


def _removed(path: Path) -> bool:
    """False where it may still grow. It is locked until it is gone: who writes on in closed segments notices."""
    try:
        fd = opened(path)
    except (FileNotFoundError, NoFile):
        return False  # another one took it, or it is no segment
    try:
        if not freeze(fd):
            return False
        path.unlink(missing_ok=True)
    finally:
        os.close(fd)
    return True
