"""The log of a service, read while it is written and rotated."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

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
    """Lines from now on; ends only when the caller has had enough."""
    path = folder / FILE
    position = path.stat().st_size if path.exists() else 0
    identity = path.stat().st_ino if path.exists() else None
    while True:
        if path.exists() and path.stat().st_ino != identity:
            position, identity = 0, path.stat().st_ino
        position, lines = _more(path, position)
        yield from lines
        if not lines:
            time.sleep(LOOK)


def _more(path: Path, position: int) -> tuple[int, list[str]]:
    """Whole lines after `position`, and where they end."""
    try:
        with path.open("rb") as file:
            file.seek(position)
            data = file.read()
    except OSError:
        return position, []
    whole = data[: data.rfind(b"\n") + 1]
    return position + len(whole), whole.decode("utf-8", "replace").splitlines()
