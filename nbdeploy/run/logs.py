"""The log of a service, read while it is written and rotated."""

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING, BinaryIO

from nbdeploy.runtime.logfile import FILE, KEPT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOOK = 0.2  # seconds between two looks for more


def last_lines(folder: Path, lines: int) -> list[str]:
    kept: deque[str] = deque()
    for path in (folder / FILE, *(folder / f"{FILE}.{number}" for number in range(1, KEPT + 1))):
        if len(kept) >= lines or not path.exists():
            break
        kept.extendleft(reversed(path.read_text(encoding="utf-8", errors="replace").splitlines()))
    return list(kept)[-lines:] if lines else []


def follow_lines(folder: Path) -> Iterator[str]:
    """Lines from now on, those of a file that is rotated meanwhile to its end; ends only when the caller has had enough."""
    path = folder / FILE
    file = _newer(path, None)
    if file is not None:
        file.seek(0, os.SEEK_END)
    try:
        while True:
            if file is not None:
                yield from _whole_lines(file)
            newer = _newer(path, file)
            if newer is None:
                time.sleep(LOOK)
                continue
            if file is not None:
                yield from _whole_lines(file)  # nothing is added to it once it has another name
                file.close()
            file = newer
    finally:
        if file is not None:
            file.close()


def _newer(path: Path, file: BinaryIO | None) -> BinaryIO | None:
    """The log, opened, where it is another than `file`; None where there is none just now."""
    try:
        newer = path.open("rb")
    except FileNotFoundError:
        return None
    if file is not None and os.path.sameopenfile(newer.fileno(), file.fileno()):
        newer.close()
        return None
    return newer


def _whole_lines(file: BinaryIO) -> Iterator[str]:
    """A line that is still being written is left for the next time."""
    for line in iter(file.readline, b""):
        if not line.endswith(b"\n"):
            file.seek(-len(line), os.SEEK_CUR)
            return
        yield line[:-1].decode("utf-8", "replace")
