"""The registry: what was published under each name, and which version is live."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import NotFound, RegistryDamaged, RegistryTooNew, RegistryUnavailable
from nbdeploy.homes import private, sync_folder
from nbdeploy.keep import damage
from nbdeploy.keep.event import MOVES, Event, dumps, this_user
from nbdeploy.keep.version import Version, Versions
from nbdeploy.runtime.clock import now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Also = Callable[["Books", Version], object]

_ELSEWHERE = "make that folder readable and writable, or set NBDEPLOY_HOME to another"
_STATES = {"removed": "removed", "corrupt": "corrupt", "recovered": "ok", "trusted": "ok", "imported": "untrusted"}


class Registry:
    """One SQLite file; every method opens it, so any thread and any fork may use the same object."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int] | None = None  # schema and inode of the file examined

    # reading

    def names(self) -> list[str]:
        """Names with a version; not those all of whose versions were removed."""
        with self.reading() as view:
            return view.present()

    def versions(self, name: str) -> Versions:
        """Newest first, without removed ones. Raises NotFound where none is left."""
        with self.reading() as view:
            found = view.versions(name)
            if not found:
                raise NotFound("service", name, view.present())
        return Versions(name, found[::-1])

    def get(self, name: str, version: str | None = None) -> Version:
        """That version, or the live one."""
        with self.reading() as view:
            return view.get(name, version)

    def live(self, name: str) -> Version | None:
        with self.reading() as view:
            return view.live(name)

    def find(self, name: str, digest: str) -> Version | None:
        """The newest version of the name with this digest."""
        with self.reading() as view:
            return view.find(name, digest)

    def events(self, name: str | None = None, version: str | None = None) -> list[Event]:
        """In the order they happened."""
        with self.reading() as view:
            return view.events(name, version)

    def service(self, name: str) -> dict[str, Any]:
        """What was chosen at the first deploy and is kept per name: port, launcher, workers."""
        with self.reading() as view:
            return view.service(name)

    # writing

    def record(self, name: str, kind: str, version: str | None = None, **detail: Any) -> Event:
        with self.writing() as books:
            return books.add(name, kind, version, **detail)

    def make_live(
        self, name: str, version: str, *, kind: str = "live", by: str | None = None, also: Also | None = None
    ) -> Version:
        """Point at that version; a no-op where it is live already. `also` is called within the same transaction."""
        with self.writing() as books:
            target = books.point(name, version, kind=kind, by=by)
            if also is not None:
                also(books, target)
        return target

    def keep_service(self, name: str, **facts: Any) -> dict[str, Any]:
        """Merge facts into what is kept for the name; None forgets one."""
        with self.writing() as books:
            return books.keep_service(name, **facts)

    # the file

    @contextmanager
    def reading(self) -> Iterator[View]:
        """One consistent state, however long it is looked at."""
        self._ensure()
        with self._door(), closing(damage.reader(self.path)) as connection, damage.unmoved(connection):
            connection.execute("BEGIN")
            yield View(connection)

    @contextmanager
    def writing(self) -> Iterator[Books]:
        """The one writer; all of the block is committed, or nothing of it."""
        schema = self._ensure()
        if schema > damage.SCHEMA:
            raise RegistryTooNew(str(self.path), schema, damage.SCHEMA)
        with self._door(), closing(damage.connect(self.path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Books(connection)
                connection.execute("COMMIT")
            except BaseException:  # all of the block or nothing, also where Ctrl-C ends it
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _door(self) -> Iterator[None]:
        """SQLite's errors become ours; a damaged file is moved aside."""
        try:
            yield
        except sqlite3.Error as exc:
            if damage.is_damage(exc):
                raise self._lost(str(exc)) from exc
            raise RegistryUnavailable(str(self.path), str(exc), _advice(exc)) from exc
        except AlteredRow as exc:
            raise self._lost(str(exc)) from exc

    def _lost(self, fact: str) -> RegistryDamaged:
        inode = self._seen[1] if self._seen else None
        self._seen = None
        return damage.aside(self.path, fact, inode)

    def _ensure(self) -> int:
        """Examine the file once, and make it where there never was one. The schema's number."""
        try:
            inode = self.path.stat().st_ino
        except FileNotFoundError:
            self._create()
            inode = self.path.stat().st_ino
        except OSError as exc:
            raise RegistryUnavailable(str(self.path), exc.strerror or str(exc), _ELSEWHERE) from exc
        if self._seen is None or self._seen[1] != inode:
            try:
                with self._door():
                    self._seen = (damage.examine(self.path), inode)
            except ValueError as exc:
                raise damage.aside(self.path, str(exc), inode) from exc
        return self._seen[0]

    def _create(self) -> None:
        """A new file under its name in one step, so that nobody sees half of it."""
        lost = damage.damaged(self.path)
        if lost:
            raise RegistryDamaged(str(self.path), "it was moved aside and not recovered yet", str(lost[0]))
        log = self.path.with_name(self.path.name + "-wal")
        if log.exists() and not self.path.exists():  # both are there where another process has just made it
            raise RegistryDamaged(str(self.path), "the file is gone, its write-ahead log is not", str(log))
        create(self.path)


def create(path: Path) -> None:
    """Raises RegistryUnavailable where the folder cannot be written; another process may have been first."""
    try:
        private(path.parent)
        handle, draft = tempfile.mkstemp(prefix=".registry-", dir=path.parent)  # 0600, and SQLite's files take its mode
        os.close(handle)
    except OSError as exc:
        raise RegistryUnavailable(str(path), exc.strerror or str(exc), _ELSEWHERE) from exc
    try:
        with closing(damage.connect(Path(draft))) as connection:
            connection.executescript(f"BEGIN; {damage.script()} COMMIT;")  # one wait for the disk, not one a statement
            connection.execute("PRAGMA journal_mode = WAL")
        with suppress(FileExistsError):
            os.link(draft, path)
        sync_folder(path.parent)
    finally:
        for name in (draft, f"{draft}-wal", f"{draft}-shm"):
            Path(name).unlink(missing_ok=True)


def _advice(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return {
        sqlite3.SQLITE_BUSY: "another process has been writing for 30 s: wait for it, then try again",
        sqlite3.SQLITE_FULL: "make room on that disk, then try again",
        sqlite3.SQLITE_READONLY: "make the file and its folder writable",
        sqlite3.SQLITE_CANTOPEN: "make the file and its folder readable and writable",
    }.get(code, "look at the disk and the rights of that folder, then try again")


class AlteredRow(ValueError):
    """A row whose checksum does not fit it."""


class View:
    """Questions to one state of the registry."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def names(self) -> list[str]:
        """Names under which anything was ever published."""
        return [row[0] for row in self._connection.execute("SELECT DISTINCT name FROM versions ORDER BY name")]

    def present(self) -> list[str]:
        """Names with a version that was not removed."""
        return [name for name in self.names() if self.live_number(name) or self._any(name)]

    def _any(self, name: str) -> bool:
        states = self._states(name)
        return any(states.get(number) != "removed" for number in self.issued(name))

    def issued(self, name: str) -> list[str]:
        """Every number ever issued, removed ones too."""
        return [row[0] for row in self._connection.execute("SELECT version FROM versions WHERE name = ?", (name,))]

    def versions(self, name: str, *, removed: bool = False) -> list[Version]:
        """In the order they were published."""
        rows = self._rows("SELECT * FROM versions WHERE name = ?", name).fetchall()
        rows.sort(key=itemgetter(0))  # by seq; SQLite would carry whole rows through its sorter
        return self._filled(name, rows, removed=removed)

    def get(self, name: str, version: str | None = None) -> Version:
        wanted = version or self.live_number(name)
        rows = self._rows("SELECT * FROM versions WHERE name = ? AND version = ?", name, wanted)
        for item in self._filled(name, rows, removed=False):
            return item
        known = self.versions(name)
        if not known:
            raise NotFound("service", name, self.present())
        if wanted is None:
            raise NotFound("live version of", name, [item.tag for item in known])
        raise NotFound("version", f"{name}:{wanted}", [item.tag for item in known[::-1]])

    def live_number(self, name: str) -> str | None:
        row = self._connection.execute("SELECT version FROM live WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def live(self, name: str) -> Version | None:
        number = self.live_number(name)
        return None if number is None else self.get(name, number)

    def find(self, name: str, digest: str) -> Version | None:
        """The newest with this digest."""
        rows = self._rows("SELECT * FROM versions WHERE digest = ? AND name = ? ORDER BY seq", digest, name)
        return next(reversed(self._filled(name, rows, removed=False)), None)

    def by_digest(self, digest: str) -> list[Version]:
        """Versions of any name; whether they are live, or removed since, is not filled in."""
        rows = self._rows("SELECT * FROM versions WHERE digest = ? ORDER BY seq", digest).fetchall()
        return [_version(row) for row in rows]

    def events(self, name: str | None = None, version: str | None = None) -> list[Event]:
        chosen = [(column, value) for column, value in (("name", name), ("version", version)) if value is not None]
        where = " AND ".join(f"{column} = ?" for column, _ in chosen) or "1"
        sql = f"SELECT * FROM events WHERE {where} ORDER BY seq"  # noqa: S608 - the columns' names are the two above
        return [_event(row) for row in self._connection.execute(sql, [value for _, value in chosen])]

    def moves(self, name: str) -> list[Event]:
        """The events that changed which version is live."""
        return [event for event in self.events(name) if event.kind in MOVES]

    def service(self, name: str) -> dict[str, Any]:
        row = self._connection.execute("SELECT facts FROM services WHERE name = ?", (name,)).fetchone()
        try:
            return dict(json.loads(row[0])) if row else {}
        except (ValueError, TypeError) as exc:
            raise AlteredRow(f"what is kept for {name} was altered") from exc

    def _rows(self, sql: str, *values: str | None) -> sqlite3.Cursor:
        """Of table versions, as tuples."""
        cursor = self._connection.cursor()
        cursor.row_factory = None
        return cursor.execute(sql, values)

    def _filled(self, name: str, rows: Iterable[tuple[Any, ...]], *, removed: bool) -> list[Version]:
        """Rows as versions, with what the events say of each."""
        states = self._states(name)
        verdicts = self._verdicts(name)
        live = self.live_number(name)
        found = []
        for row in rows:
            number = row[2]
            state = states.get(number, "ok")
            if removed or state != "removed":
                version = _version(row, live=number == live, state=state)
                found.append(version.judged(verdicts[number]) if number in verdicts else version)
        return found

    def _verdicts(self, name: str) -> dict[str, str]:
        """Version -> what the last `validate` said of it; none where there was no other judgement than before publishing."""
        sql = "SELECT * FROM events WHERE name = ? AND kind = 'validated' ORDER BY seq"
        events = map(_event, self._connection.execute(sql, (name,)))
        return {event.version: event.detail["report"]["verdict"] for event in events if event.version is not None}

    def _states(self, name: str) -> dict[str, str]:
        """Version -> removed, corrupt, untrusted; none where all is well."""
        sql = (
            "SELECT * FROM events WHERE name = ? AND kind IN ('removed', 'imported', 'recovered', 'trusted', 'corrupt')"
            " ORDER BY seq"
        )
        states: dict[str, str] = {}
        for event in map(_event, self._connection.execute(sql, (name,))):
            if event.kind == "trusted" and states.get(event.version or "") != "untrusted":
                continue
            state = _STATES[event.kind]
            if event.kind in {"imported", "recovered"}:
                state = "ok" if event.detail.get("trusted") else "untrusted"
            if event.version is not None:
                states[event.version] = state
        return states


class Books(View):
    """The registry inside its one write transaction."""

    def add(self, name: str, kind: str, version: str | None = None, by: str | None = None, **detail: Any) -> Event:
        (last,) = self._connection.execute("SELECT COALESCE(MAX(seq), 0) FROM events").fetchone()
        event = Event(last + 1, now(), by or this_user(), name, version, kind, json.loads(dumps(detail)))
        self.restore(event)
        return event

    def restore(self, event: Event) -> None:
        self._connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", event.row())

    def issue(self, version: Version) -> None:
        (last,) = self._connection.execute("SELECT COALESCE(MAX(seq), 0) FROM versions").fetchone()
        marks = ", ".join("?" * 11)
        self._connection.execute(f"INSERT INTO versions VALUES ({marks})", version.row(last + 1))  # noqa: S608 - question marks

    def point(self, name: str, version: str, *, kind: str = "live", by: str | None = None) -> Version:
        target = self.get(name, version)
        if target.live:
            return target
        self.add(name, kind, version, by, previous=self.live_number(name))
        return replace(target, live=True)

    def withdraw(self, name: str, version: str | None) -> None:
        """Point back at what was live before; at nothing where nothing was."""
        if version is not None:
            self.point(name, version)
        elif self.live_number(name) is not None:
            self.add(name, "taken down", previous=self.live_number(name))

    def keep_service(self, name: str, **facts: Any) -> dict[str, Any]:
        """Merge facts into what is kept for the name; None forgets one."""
        merged = {key: value for key, value in (self.service(name) | facts).items() if value is not None}
        self._connection.execute("INSERT OR REPLACE INTO services VALUES (?, ?)", (name, dumps(merged)))
        return merged


def _version(row: tuple[Any, ...], *, live: bool = False, state: str = "ok") -> Version:
    try:
        return Version.from_row(row, live=live, state=state)
    except ValueError as exc:
        raise AlteredRow(str(exc)) from exc


def _event(row: sqlite3.Row) -> Event:
    try:
        return Event.from_row(row)
    except ValueError as exc:
        raise AlteredRow(str(exc)) from exc
