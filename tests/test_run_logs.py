"""The service's log as it is read, while it is written and rotated."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from nbdeploy.run import logs
from nbdeploy.runtime.logfile import FILE, LogFile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pytest


def written(log: LogFile, *words: str) -> None:
    for word in words:
        log.write("worker 1", [word.encode()])


def words(lines: Iterable[str]) -> list[str]:
    return [line.split()[-1] for line in lines]


def test_the_last_lines_reach_back_into_rotated_files(tmp_path: Path) -> None:
    log = LogFile(tmp_path, size=100)
    written(log, *(f"line-{number}" for number in range(8)))
    assert len(list(tmp_path.iterdir())) > 2
    assert words(logs.read_lines(tmp_path, 5)) == ["line-3", "line-4", "line-5", "line-6", "line-7"]
    assert len(list(logs.read_lines(tmp_path, 10**20))) == 8
    assert list(logs.read_lines(tmp_path, 0)) == list(logs.read_lines(tmp_path / "none", 5)) == []


def test_no_line_is_lost_between_the_last_ones_and_those_to_come(tmp_path: Path) -> None:
    log = LogFile(tmp_path)
    written(log, "one", "two", "three")
    lines = logs.read_lines(tmp_path, 2, follow=True)
    assert words([next(lines)]) == ["two"]
    written(log, "four")
    assert words([next(lines) for _ in range(2)]) == ["three", "four"]


def test_what_is_written_between_two_looks_is_followed_across_a_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogFile(tmp_path, size=100)
    written(log, "before")
    happens = iter([("one", "two", "three"), ("four",)])
    monkeypatch.setattr(time, "sleep", lambda _: written(log, *next(happens)))
    following = logs.read_lines(tmp_path, 0, follow=True)
    assert words([next(following) for _ in range(4)]) == ["one", "two", "three", "four"]
    assert (tmp_path / f"{FILE}.1").exists(), "nothing was rotated"


def test_following_waits_for_a_log_and_for_the_end_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written_next = iter([b"ha", b"lf\nthe next"])

    def append(_: float) -> None:
        with (tmp_path / FILE).open("ab") as file:
            file.write(next(written_next))

    monkeypatch.setattr(time, "sleep", append)
    assert next(logs.read_lines(tmp_path, 0, follow=True)) == "half"
    assert next(written_next, None) is None
