"""Old segments go, whole and by unlink alone; what may still grow stays (F38)."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbdeploy.runtime import predlog, segments
from nbdeploy.runtime.counters import claim
from nbdeploy.runtime.predlog import PredictionLog
from nbdeploy.runtime.records import line
from nbdeploy.runtime.retention import DAY, DRAFT, Removed, clean
from nbdeploy.runtime.rules import Rules

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def segment(folder: Path, number: int, *, size: int = 100, days: float = 0.0, copy: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{number:016d}-1.log"
    path.write_bytes(b"x" * size)
    if copy:
        path.with_suffix(".parquet").write_bytes(b"x" * (copy - 1))
        path.with_name(f"{path.stem}.60us.arrays").write_bytes(b"x")
    at = time.time() - days * DAY
    os.utime(path, (at, at))
    return path


def names(folder: Path) -> list[int]:
    return sorted(int(path.name[:16]) for path in folder.glob("*.log"))


def test_without_limits_nothing_goes(tmp_path: Path) -> None:
    segment(tmp_path, 1, days=10_000)
    assert clean(tmp_path, None, None) == Removed()
    assert names(tmp_path) == [1]


def test_a_segment_goes_by_its_age_and_its_copy_with_it(tmp_path: Path) -> None:
    for number, days in enumerate((40, 31, 29, 0)):
        segment(tmp_path, number, days=days, copy=10)
    assert clean(tmp_path, 30, None) == Removed(2, 220)
    assert names(tmp_path) == [2, 3]
    assert len(list(tmp_path.glob("*.parquet"))) == len(list(tmp_path.glob("*.arrays"))) == 2


def test_the_oldest_go_until_all_take_no_more_than_allowed(tmp_path: Path) -> None:
    for number in range(5):
        segment(tmp_path, number, size=100, copy=20)
    assert clean(tmp_path, None, 400) == Removed(2, 240)
    assert names(tmp_path) == [2, 3, 4]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 5)), max_size=6), st.integers(1, 700), st.integers(1, 5))
def test_what_stays_is_young_and_small_enough_and_the_newest(
    tmp_path: Path, given_: list[tuple[int, int]], most: int, days: int
) -> None:
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    for number, (size, age) in enumerate(sorted(given_, key=lambda pair: -pair[1])):
        segment(folder, number, size=size, days=age + 0.5)
    before = names(folder)
    clean(folder, days, most)
    stays = names(folder)
    assert stays == before[len(before) - len(stays) :]
    assert sum(path.stat().st_size for path in folder.glob("*.log")) <= most
    assert all(path.stat().st_mtime > time.time() - days * DAY for path in folder.glob("*.log"))


def test_a_segment_that_may_grow_is_never_removed(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path)
    log.write(line(b"{}"), 1)
    (path,) = tmp_path.glob("*.log")
    os.utime(path, (0, 0))
    assert clean(tmp_path, 1, 1) == Removed()
    assert path.exists()
    log.close()
    assert clean(tmp_path, 1, 1).segments == 1
    assert not path.exists()


def test_nobody_writes_on_in_a_segment_that_is_being_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = segment(tmp_path, 1, days=2)
    claims: list[bool] = []
    real = type(path).unlink

    def unlink(self: Path, missing_ok: bool = False) -> None:
        if self == path:
            with self.open("rb") as file:
                claims.append(claim(file.fileno()))
        real(self, missing_ok=missing_ok)

    monkeypatch.setattr(type(path), "unlink", unlink)
    assert clean(tmp_path, 1, None).segments == 1
    assert claims == [False]


def test_a_segment_that_was_removed_before_it_was_locked_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, removed = segments._lock, list[int]()

    def late(fd: int) -> None:
        if not removed:
            removed.append(clean(tmp_path, 0, None).segments)
        real(fd)

    segment(tmp_path, 1, days=1)
    monkeypatch.setattr(segments, "_lock", late)
    monkeypatch.setattr("nbdeploy.runtime.retention.time.time", lambda: time.time_ns() / 1e9 + 10)
    log = PredictionLog(tmp_path)
    assert log.write(line(b"{}"), 1)
    log.close()
    assert removed == [2], "the old one, and the one that was just begun"
    (path,) = tmp_path.glob("*.log")
    assert path.read_bytes() == line(b"{}")


def test_what_has_no_segment_any_more_is_swept(tmp_path: Path) -> None:
    """A copy whose segment somebody removed holds what was to be removed; a draft may still be written to."""
    kept = segment(tmp_path, 1, copy=10)
    names = ("0000-9.parquet", "0000-9.60us.arrays", f"{DRAFT}a", f"{DRAFT}b")
    *orphans, old, young = (tmp_path / name for name in names)
    for path in (*orphans, old, young):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    clean(tmp_path, None, None)
    made = [kept.with_suffix(".parquet"), kept.with_suffix(".60us.arrays")]
    assert sorted(tmp_path.iterdir()) == sorted([kept, *made, young])


def test_a_folder_in_the_place_of_a_copy_keeps_nothing_else_from_going(tmp_path: Path) -> None:
    old = [segment(tmp_path, number, days=9) for number in (1, 2)]
    for name in (old[0].with_suffix(".parquet").name, "mine.parquet", f"{DRAFT}mine"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 0))
    assert clean(tmp_path, 1.0, None).segments == 2
    assert all(path.is_dir() for path in tmp_path.iterdir())


def test_a_log_cleans_up_whenever_it_begins_a_segment(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="nbdeploy")
    log = PredictionLog(tmp_path, rules=Rules(rotate_bytes=50, retention_bytes=200))
    for number in range(30):
        assert log.write(line(b'{"n":%d}' % number), 1)
    log.close()
    assert sum(path.stat().st_size for path in tmp_path.glob("*.log")) <= 250
    assert "let go of 1 old segments" in caplog.text


def test_what_readers_that_were_killed_left_goes_where_all_segments_stay(tmp_path: Path) -> None:
    drafts = [tmp_path / f"{DRAFT}old", tmp_path / f"{DRAFT}new"]
    for draft in drafts:
        draft.touch()
    os.utime(drafts[0], (0, 0))
    log = PredictionLog(tmp_path, rules=Rules(rotate_bytes=10))
    assert all(log.write(line(b"{}"), 1) for _ in range(2))
    log.close()
    assert [draft.exists() for draft in drafts] == [False, True]
    assert len(list(tmp_path.glob("*.log"))) == 2


def test_f22_a_log_that_cannot_clean_up_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> Removed:
        raise PermissionError(1, "no")

    monkeypatch.setattr(predlog, "clean", refused)
    log = PredictionLog(tmp_path, rules=Rules(retention_days=1))
    assert log.write(line(b"{}"), 1)
    assert not log.degraded
    log.close()


def test_a_segment_is_turned_by_its_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    log = PredictionLog(tmp_path, rules=Rules(rotate_minutes=10))
    log.head = line(b'{"log": 1}')
    log.write(line(b'{"n":1}'), 1)
    now += 599
    log.rest()
    log.write(line(b'{"n":2}'), 1)
    assert len(list(tmp_path.glob("*.log"))) == 1
    now += 2
    log.write(line(b'{"n":3}'), 1)
    assert len(list(tmp_path.glob("*.log"))) == 2
    assert all(path.read_bytes().startswith(log.head) for path in tmp_path.glob("*.log"))
    log.close()


def test_an_old_segment_is_closed_though_nobody_asks_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    log = PredictionLog(tmp_path, rules=Rules(rotate_minutes=10))
    log.write(line(b"{}"), 1)
    now += 601
    (path,) = tmp_path.glob("*.log")
    os.utime(path, (0, 0))
    assert clean(tmp_path, 1, None).segments == 0
    log.rest()
    assert clean(tmp_path, 1, None).segments == 1
    assert log.write(line(b"{}"), 1)
    log.close()


def test_what_gets_too_old_goes_though_nobody_asks_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    log = PredictionLog(tmp_path, rules=Rules(rotate_minutes=10, retention_days=1))
    log.write(line(b"{}"), 1)
    (path,) = tmp_path.glob("*.log")
    now += 601
    log.rest()
    assert path.exists()
    os.utime(path, (0, 0))
    now += 601
    log.rest()
    assert not path.exists()
