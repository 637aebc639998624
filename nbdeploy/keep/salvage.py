"""Reading what is still right in a damaged registry: every row bears its own checksum."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from nbdeploy.keep import damage
from nbdeploy.keep.event import Event
from nbdeploy.keep.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbdeploy.keep.registry import Books


Noun = TypeVar("Noun", Version, Event)


def salvage(file: Path, books: Books) -> str:
    """Copy the rows that are as they were written into an empty registry, in their order; a sentence on how many."""
    with tempfile.TemporaryDirectory(prefix="nbdeploy-salvage-") as folder:
        copy = Path(folder) / "registry.db"
        shutil.copyfile(file, copy)
        log = file.with_name(f"{file.name}-wal")
        if log.exists():
            shutil.copyfile(log, copy.with_name("registry.db-wal"))
        versions = list(_whole(copy, "versions", Version))
        events = list(_whole(copy, "events", Event))
        services = [tuple(row) for row in _rows(copy, "services")]
    for version in versions:
        with suppress(sqlite3.IntegrityError):  # a page that is in the file twice
            books.issue(version)
    known = {(version.name, version.version) for version in versions}
    kept = [event for event in events if event.version is None or (event.name, event.version) in known]
    for seq, event in enumerate(kept, 1):
        books.restore(replace(event, seq=seq))
    for name, facts in services:
        with suppress(ValueError, TypeError):
            books.keep_service(name, **json.loads(facts))
    return f"{len(versions)} versions and {len(kept)} events were read from {file}"


def _whole(file: Path, table: str, noun: type[Noun]) -> Iterator[Noun]:
    for row in _rows(file, table):
        with suppress(ValueError, IndexError, TypeError):
            yield noun.from_row(row)


def _rows(file: Path, table: str) -> Iterator[sqlite3.Row]:
    """Rows up to where the file cannot be read."""
    with suppress(sqlite3.Error), closing(damage.connect(file)) as connection:
        yield from connection.execute(f"SELECT * FROM {table} ORDER BY 1")  # noqa: S608 - one of three constants
