"""The registry's file: append-only, safe in crowds, and never silently empty."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from nbdeploy.errors import NotFound, RegistryDamaged, RegistryTooNew, RegistryUnavailable
from nbdeploy.keep import damage
from nbdeploy.keep.registry import Registry
from nbdeploy.keep.version import Version

if TYPE_CHECKING:
    from pathlib import Path

    from nbdeploy.settings import Settings


def version(number: str = "1.0.0", name: str = "penguins", digest: str = "sha256:ab") -> Version:
    folder = f"/store/bentos/{name}/{number}"
    return Version(
        name, number, False, False, "2026-11-02T14:00:00.000Z", digest, "patch", "retrained", "none", "ada", folder
    )


def fill(registry: Registry, number: int) -> None:
    """Versions up to 1.0.<number - 1>, the last of them live."""
    with registry.writing() as books:
        for patch in range(len(books.issued("penguins")), number):
            books.issue(version(f"1.0.{patch}"))
        books.point("penguins", f"1.0.{number - 1}")


@pytest.fixture
def registry(settings: Settings) -> Registry:
    return Registry(settings.registry)


@pytest.fixture
def filled(registry: Registry) -> Registry:
    with registry.writing() as books:
        for number in ("1.0.0", "1.0.1", "1.1.0"):
            books.issue(version(number))
            books.add("penguins", "published", number)
            books.point("penguins", number)
    return registry


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems take Unicode names only")
def test_f48_a_path_that_cannot_be_spelled_here_is_no_damage(tmp_path: Path) -> None:
    """As an "é" is where the locale is C and Python was told to obey it."""
    registry = Registry(tmp_path / os.fsdecode(b"\xff") / "registry.db")
    with registry.writing() as books:
        books.issue(version())
    assert Registry(registry.path).names() == ["penguins"]


def test_a_new_registry_is_private_and_empty(registry: Registry) -> None:
    assert registry.names() == []
    assert stat.S_IMODE(registry.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(registry.path.parent.stat().st_mode) == 0o700
    with registry.reading() as view:
        assert view._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert view._connection.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_versions_are_listed_newest_first_with_the_live_one_marked(filled: Registry) -> None:
    listed = filled.versions("penguins")
    assert [(item.version, item.live) for item in listed] == [("1.1.0", True), ("1.0.1", False), ("1.0.0", False)]
    assert set(listed.to_dict()[0]) == {
        "name",
        "version",
        "live",
        "serving",
        "created",
        "digest",
        "bump",
        "reason",
        "gate",
        "by",
        "state",
    }
    assert [item.serving for item in listed.marked("1.0.1")] == [False, True, False]
    assert "retrained" in str(listed)


def test_the_view_live_is_what_a_plain_reader_sees(filled: Registry) -> None:
    filled.make_live("penguins", "1.0.1", kind="rolled back")
    with closing(sqlite3.connect(f"file:{filled.path}?mode=ro", uri=True)) as plain, plain:
        rows = plain.execute("SELECT digest, version, bundle FROM live WHERE name = ?", ("penguins",)).fetchall()
    plain.close()
    assert rows == [("sha256:ab", "1.0.1", "/store/bentos/penguins/1.0.1")]


def test_making_the_live_version_live_again_changes_nothing(filled: Registry) -> None:
    before = filled.events("penguins")
    assert filled.make_live("penguins", "1.1.0").live
    assert filled.events("penguins") == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET kind = 'x'",
        "DELETE FROM events",
        "UPDATE versions SET digest = 'x'",
        "DELETE FROM versions",
    ],
)
def test_history_cannot_be_rewritten(filled: Registry, statement: str) -> None:
    with closing(sqlite3.connect(filled.path)) as plain, plain, pytest.raises(sqlite3.IntegrityError, match="never"):
        plain.execute(statement)
    plain.close()


def test_a_failed_transaction_leaves_nothing(filled: Registry) -> None:
    before = filled.events()

    def interrupted() -> None:
        with filled.writing() as books:
            books.issue(version("2.0.0"))
            books.add("penguins", "published", "2.0.0")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert filled.events() == before
    assert len(filled.versions("penguins")) == 3


def test_unknown_names_and_versions_are_answered_with_what_there_is(filled: Registry) -> None:
    with pytest.raises(NotFound, match='Did you mean "penguins"'):
        filled.versions("pengiuns")
    with pytest.raises(NotFound, match=r"penguins:1\.0\.0"):
        filled.get("penguins", "7.0.0")


def test_the_facts_of_a_service_are_merged_and_forgotten(registry: Registry) -> None:
    registry.keep_service("penguins", port=4000, launcher="local")
    registry.keep_service("penguins", workers=2, launcher=None)
    assert registry.service("penguins") == {"port": 4000, "workers": 2}
    assert registry.service("whales") == {}


def test_one_object_serves_many_threads(registry: Registry) -> None:
    threads = [threading.Thread(target=registry.record, args=("penguins", "note")) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [event.seq for event in registry.events()] == list(range(1, 21))


def settle(registry: Registry) -> bytes:
    """F25 from here on: everything in the one file, and its bytes."""
    with closing(sqlite3.connect(registry.path)) as plain, plain:
        plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    plain.close()
    for suffix in ("-wal", "-shm"):
        registry.path.with_name(registry.path.name + suffix).unlink(missing_ok=True)
    return registry.path.read_bytes()


def whole(registry: Registry) -> list[str]:
    """Read all of it, as users would."""
    seen = [str(item.to_dict()) for item in registry.versions("penguins")]
    return seen + [str(event.to_dict()) for event in registry.events()]


@pytest.mark.parametrize("content", [b"", b"not a database\n", b"\0" * 8192, b"SQLite format 3\0" + b"\1" * 5000])
def test_a_file_that_is_no_registry_is_moved_aside_and_named(filled: Registry, content: bytes) -> None:
    settle(filled)
    filled.path.write_bytes(content)
    with pytest.raises(RegistryDamaged, match="nbdeploy recover") as caught:
        Registry(filled.path).names()
    assert not filled.path.exists()
    assert caught.value.moved.startswith(f"{filled.path}.damaged-")


def test_a_damaged_registry_is_not_replaced_by_an_empty_one(filled: Registry) -> None:
    filled.path.write_bytes(b"")
    for _ in range(3):
        with pytest.raises(RegistryDamaged):
            Registry(filled.path).names()
    assert not filled.path.exists()


def test_a_registry_truncated_at_any_page_is_noticed(filled: Registry) -> None:
    content = settle(filled)
    for size in range(4096, len(content), 4096):
        filled.path.write_bytes(content[:size])
        with pytest.raises(RegistryDamaged):
            whole(Registry(filled.path))
        for left in filled.path.parent.glob("*.damaged-*"):
            left.unlink()


def test_flipped_bytes_are_noticed_or_change_nothing(filled: Registry) -> None:
    expected = whole(filled)
    content = settle(filled)
    chance = random.Random(25)
    noticed = 0
    for _ in range(150):
        flipped = bytearray(content)
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
        filled.path.write_bytes(flipped)
        try:
            assert whole(Registry(filled.path)) == expected
        except RegistryDamaged:
            noticed += 1
        except RegistryTooNew:
            pass
        for left in filled.path.parent.glob("registry.db*"):
            left.unlink()
    assert noticed > 10


def test_another_programs_database_is_no_registry(filled: Registry) -> None:
    settle(filled)
    filled.path.unlink()
    with closing(sqlite3.connect(filled.path)) as plain, plain:
        plain.execute("CREATE TABLE versions (name)")
    plain.close()
    with pytest.raises(RegistryDamaged, match="not a registry of nbdeploy"):
        Registry(filled.path).names()


def test_a_write_ahead_log_without_its_database_is_noticed(filled: Registry) -> None:
    settle(filled)
    filled.path.rename(filled.path.with_name("registry.db-wal"))
    with pytest.raises(RegistryDamaged, match="its write-ahead log is not"):
        Registry(filled.path).names()


def test_a_log_of_another_database_does_no_harm(filled: Registry, tmp_path: Path) -> None:
    expected = whole(filled)
    settle(filled)
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("CREATE TABLE t (x)")
    other.commit()
    shutil.copyfile(tmp_path / "other.db-wal", filled.path.with_name("registry.db-wal"))
    other.close()
    try:
        assert whole(Registry(filled.path)) == expected
    except RegistryDamaged:
        assert list(filled.path.parent.glob("*.damaged-*"))


def test_a_newer_registry_is_read_but_not_written(filled: Registry) -> None:
    settle(filled)
    with closing(sqlite3.connect(filled.path)) as plain, plain:
        plain.execute("PRAGMA user_version = 7")
    plain.close()
    newer = Registry(filled.path)
    assert len(newer.versions("penguins")) == 3
    with pytest.raises(RegistryTooNew, match="schema 7, this one knows 1"):
        newer.record("penguins", "note")
    assert filled.path.exists()


def test_f24_where_nothing_can_be_written_beside_it_it_is_read(
    filled: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SQLite fails on a read-only and on a full disk, where it shares nothing with other processes."""
    settle(filled)
    real = damage.connect

    def connect(path: Path, **how: Any) -> sqlite3.Connection:
        if "factory" in how:
            return real(path, **how)
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    monkeypatch.setattr(damage, "connect", connect)
    blocked = Registry(filled.path)
    assert len(blocked.versions("penguins")) == 3
    assert blocked.live("penguins") is not None
    with pytest.raises(RegistryUnavailable, match="readable and writable"):
        blocked.record("penguins", "note")
    log = filled.path.with_name(f"{filled.path.name}-wal")
    log.write_bytes(b"something that was not yet taken over")
    with pytest.raises(RegistryUnavailable):
        blocked.versions("penguins")
    log.unlink()
    content = filled.path.read_bytes()
    for kept in (4_096, 100):
        filled.path.write_bytes(content[:kept] + bytes(len(content) - kept))
        with pytest.raises(RegistryUnavailable, match="nothing can be written beside it"):
            Registry(filled.path).versions("penguins")
    assert filled.path.exists(), "what is seen without a lock may be a change that is just being written"


def test_a_home_that_cannot_be_written_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RegistryUnavailable, match="NBDEPLOY_HOME"):
        Registry(tmp_path / "file" / "registry.db").names()


def test_many_processes_may_make_it_at_once(settings: Settings) -> None:
    children = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                Registry(settings.registry).record("penguins", "note")
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 8
    assert len(Registry(settings.registry).events()) == 8


def test_who_comes_second_to_make_it_finds_the_first_at_work(settings: Settings) -> None:
    first, second = Registry(settings.registry), Registry(settings.registry)
    first.record("penguins", "note")
    with first.writing() as books:
        books.add("penguins", "note")
        assert settings.registry.with_name("registry.db-wal").exists()
        second._create()  # it had seen no file a moment ago
    assert len(second.events()) == 2


def test_a_listing_asks_as_often_for_many_versions_as_for_one(registry: Registry) -> None:
    asked: list[int] = []
    for number in (1, 2_000):
        fill(registry, number)
        statements: list[str] = []
        with registry.reading() as view:
            view._connection.set_trace_callback(statements.append)
            listed = view.versions("penguins")
        asked.append(len(statements))
        assert len(listed) == number
        assert [item.live for item in listed] == [False] * (number - 1) + [True]
    assert asked[0] == asked[1]


@pytest.mark.slow
@pytest.mark.thorough
def test_f31_a_hundred_thousand_versions_are_listed_each_with_its_checksum(settings: Settings) -> None:
    """How long that takes is measured in `benchmarks/`."""
    registry = Registry(settings.registry)
    made = (version(f"1.{number // 1000}.{number % 1000}") for number in range(100_000))
    with registry.writing() as books:
        rows = (item.row(seq) for seq, item in enumerate(made, 1))
        books._connection.executemany("INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    found = registry.versions("penguins").marked("1.0.7")
    assert (len(found), found[0].version, found[-8].serving) == (100_000, "1.99.999", True)
    with closing(sqlite3.connect(settings.registry)) as db, db:
        db.execute("DROP TRIGGER versions_never_change")
        db.execute("UPDATE versions SET reason = 'forged' WHERE seq = 50000")
    db.close()
    with pytest.raises(RegistryDamaged, match=r"1\.49\.999 was altered"):
        registry.versions("penguins")
