"""What the registry says is live, for a supervisor whose kernel is gone: one view, read with nothing but sqlite3."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

QUERY = "SELECT digest, version, bundle FROM live WHERE name = ?"
PATIENCE = 5.0  # seconds to wait for a writer


class Live(NamedTuple):
    digest: str
    version: str
    bundle: str


def live(registry: Path, name: str) -> Live | None:
    """None where nothing is live, or where the registry cannot be read."""
    import sqlite3  # 15 ms that a start does not need

    try:
        with contextlib.closing(
            sqlite3.connect(f"{registry.absolute().as_uri()}?mode=ro", uri=True, timeout=PATIENCE)
        ) as db:
            row = db.execute(QUERY, (name,)).fetchone()
    except sqlite3.Error:
        return None
    return Live(*map(str, row)) if row else None
