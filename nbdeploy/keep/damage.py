"""Whether a registry file is what was written; and where it goes when it is not.

An empty or unreadable registry must never pass for one in which nothing was published yet.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from nbdeploy.errors import RegistryDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APPLICATION = 1852978288  # as in registry.sql
SCHEMA = 1
_LARGE = 64_000_000  # bytes; above, quick_check (about 1 s per GB read from disk) is left to `recover`


def examine(path: Path) -> int:
    """The schema's number.

    Raises:
        ValueError: saying what is wrong with the file.
        sqlite3.OperationalError: where it cannot be read just now.
    """
    if path.stat().st_size == 0:
        raise ValueError("it is empty")
    try:
        with closing(reader(path)) as connection, unmoved(connection):
            return _examine(connection, path.stat().st_size)
    except sqlite3.DatabaseError as exc:
        if is_damage(exc):
            raise ValueError(str(exc)) from exc
        raise


def _examine(connection: sqlite3.Connection, size: int) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise ValueError("it is not a registry of nbdeploy")
    if size < _LARGE:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise ValueError(verdict)
    if schema > SCHEMA:
        return int(schema)
    if schema < 1 or _shape(connection) != _expected():
        raise ValueError("its tables are not those of a registry")
    (count, last) = connection.execute("SELECT COUNT(*), COALESCE(MAX(seq), 0) FROM events").fetchone()
    if count != last:
        raise ValueError(f"{last - count} of its {last} events are missing")
    return int(schema)


def _shape(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
    return [tuple(row) for row in rows.fetchall()]


@cache
def _expected() -> list[tuple[str, str]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(script())
        return _shape(connection)


def script() -> str:
    from importlib.resources import files

    return files("nbdeploy.keep").joinpath("registry.sql").read_text(encoding="utf-8")


class AsItLies(sqlite3.Connection):
    """To a file beside which nothing can be written, so that it is read without a lock: no proof that it is damaged."""


def reader(path: Path) -> sqlite3.Connection:
    """A connection that reads, also on a disk that is full or read-only; there unless a write-ahead log is to be read."""
    try:
        return connect(path)
    except sqlite3.OperationalError as exc:
        log = path.with_name(path.name + "-wal")
        if exc.sqlite_errorcode & 0xFF not in _UNWRITABLE or (log.exists() and log.stat().st_size):
            raise
    try:
        return connect(path, query="mode=ro&immutable=1", factory=AsItLies)
    except sqlite3.DatabaseError as exc:
        raise _as_it_lies(exc) from exc


_UNWRITABLE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}


@contextmanager
def unmoved(connection: sqlite3.Connection) -> Iterator[None]:
    """What is found wrong without a lock may be a change that is just being written: the file stays where it is."""
    try:
        yield
    except (sqlite3.DatabaseError, ValueError) as exc:
        if isinstance(connection, AsItLies):
            raise _as_it_lies(exc) from exc
        raise


def _as_it_lies(error: Exception) -> sqlite3.OperationalError:
    return sqlite3.OperationalError(f"nothing can be written beside it, and as it lies it cannot be read: {error}")


def connect(
    path: Path, *, query: str = "mode=rw", timeout: float = 30.0, factory: type[sqlite3.Connection] = sqlite3.Connection
) -> sqlite3.Connection:
    """A connection to a file that exists; autocommit, every commit fsynced."""
    uri = f"file:{quote(os.fsencode(path))}?{query}"
    connection = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, factory=factory)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:  # the file is read first here; one that is none of SQLite's is said so
        connection.close()
        raise
    return connection


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the error speaks of the file's content and not of a lock, a full disk or rights."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return False
    return code & 0xFF in {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_FORMAT,
    } or (code == sqlite3.SQLITE_IOERR_SHORT_READ)


def aside(path: Path, fact: str, inode: int | None = None) -> RegistryDamaged:
    """Move the file (if it is still the one examined) with its WAL beside it, and give the error to raise."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    moved = path.with_name(f"{path.name}.damaged-{stamp}")
    try:
        if inode is None or path.stat().st_ino == inode:
            for suffix in ("-wal", "-shm"):
                rest = path.with_name(path.name + suffix)
                if rest.exists():
                    rest.replace(moved.with_name(moved.name + suffix))
            path.replace(moved)
    except FileNotFoundError:  # another process moved it first
        moved = next(iter(damaged(path)), moved)
    return RegistryDamaged(str(path), fact, str(moved))


def damaged(path: Path) -> list[Path]:
    """Registries moved aside, newest first."""
    found = path.parent.glob(f"{path.name}.damaged-*")
    return sorted((item for item in found if not item.name.endswith(("-wal", "-shm"))), reverse=True)
