"""The log of a service, read while it is written and rotated."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, BinaryIO

from nbdeploy.runtime.logfile import FILE, KEPT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOOK = 0.2  # seconds between two looks for more


def read_lines(folder: Path, lines: int, *, follow: bool = False) -> Iterator[str]:
    """The last `lines`, reaching back into rotated files; with `follow` also those to come, until the caller has had enough."""
    path = folder / FILE
    file = _newer(path, None)
    try:
        last = deque(() if file is None else _whole_lines(file), maxlen=min(lines, sys.maxsize))
        yield from [*_rotated(folder, lines - len(last)), *last]
        while follow:
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


def _rotated(folder: Path, lines: int) -> list[str]:
    kept: deque[str] = deque()
    for number in range(1, KEPT + 1):
        if len(kept) >= lines:
            break
        try:
            text = (folder / f"{FILE}.{number}").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            break
        kept.extendleft(reversed(text.splitlines()))
    return list(kept)[-lines:] if lines else []


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
