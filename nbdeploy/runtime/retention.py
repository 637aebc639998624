"""Old segments of the prediction log are unlinked: nothing is written for it, so it works on a full disk as well (F38)."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .records import SUFFIX
from .segments import NoFile, freeze, opened

if TYPE_CHECKING:
    from pathlib import Path

COPY = ".parquet"  # what a reader made of a closed segment
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
    may still grow. A copy goes with its segment.
    """
    found = sorted(folder.glob(f"*{SUFFIX}"))
    _left_over(folder, {path.stem for path in found})
    sizes = {path: _size(path) for path in found}
    total = sum(sizes.values())
    gone = freed = 0
    for path in found:
        old = days is not None and _written(path) < time.time() - days * DAY
        if not old and (most is None or total <= most):
            continue
        if not _removed(path):
            continue
        _unlink(path.with_suffix(COPY))
        total -= sizes[path]
        gone, freed = gone + 1, freed + sizes[path]
    return Removed(gone, freed)


def _left_over(folder: Path, segments: set[str]) -> None:
    """Copies without a segment, and what a reader that was killed was writing."""
    for path in folder.glob(f"*{COPY}"):
        if path.stem not in segments:
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
    total = 0
    for one in (path, path.with_suffix(COPY)):
        try:
            total += one.lstat().st_size
        except FileNotFoundError:
            continue
    return total


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
