"""The labels as they are kept: whole lines, in the order they came, whoever writes."""

from __future__ import annotations

import asyncio
import errno
import json
import multiprocessing
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nbdeploy.errors import DiskFailed
from nbdeploy.run import feedback as store
from nbdeploy.run.feedback import Feedback
from nbdeploy.runtime.feedback import FeedbackLog, entry
from nbdeploy.runtime.records import line


def table(*lines: tuple[Any, ...]) -> pd.DataFrame:
    return pd.DataFrame(lines, columns=["on", "id", "row", "label"], dtype=object)


def kept(folder: Path) -> list[tuple[Any, ...]]:
    frame = Feedback(folder).frame()
    return list(frame[["on", "id", "row", "label"]].itertuples(index=False, name=None))


LINES = (
    ("request_id", "a", 0, "x"),
    ("customer", 7, None, True),
    ("customer", "007", None, 1.5),
    ("customer", None, None, None),
)


def test_what_was_added_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "feedback"
    assert len(Feedback(folder).frame()) == 0
    before = pd.Timestamp.now(tz="UTC") - pd.Timedelta(seconds=1)
    Feedback(folder).add(table(*LINES))
    Feedback(folder).add(table())
    Feedback(folder).add(table(LINES[0]))
    assert kept(folder) == [*LINES, LINES[0]]
    assert [type(label) for label in Feedback(folder).frame()["label"]] == [str, bool, float, type(None), str]
    assert (Feedback(folder).frame()["time"] >= before).all()
    assert len(list(folder.iterdir())) == 1, "many small tables make one segment"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


ids = st.sampled_from(["a", "7", 7, 7.0, True, 1, None])
tables = st.lists(
    st.tuples(
        st.sampled_from(["request_id", "customer"]), ids, st.none() | st.integers(0, 3), st.sampled_from([1, "1", None])
    )
)


@given(tables)
@example([("customer", 1, 0, "x"), ("customer", True, 1, "x"), ("customer", 1.0, 2, "x")])
def test_rows_that_follow_each_other_are_told_apart_as_ever(lines: list[tuple[Any, ...]]) -> None:
    with TemporaryDirectory() as name:
        Feedback(Path(name)).add(table(*lines))
        assert list(map(repr, kept(Path(name)))) == list(map(repr, lines))


def test_the_labels_of_a_request_of_many_rows_are_one_line(tmp_path: Path) -> None:
    lines = [("request_id", name, row, row / 2) for name in "ab" for row in range(100)]
    Feedback(tmp_path).add(table(*lines))
    assert kept(tmp_path) == lines
    [segment] = tmp_path.iterdir()
    assert len(segment.read_bytes().splitlines()) == 2


def test_a_worker_and_a_notebook_write_at_once(tmp_path: Path) -> None:
    worker = FeedbackLog(tmp_path)
    asyncio.run(worker.keep("a", [1, None]))
    Feedback(tmp_path).add(table(("request_id", "a", 0, 2)))
    asyncio.run(worker.keep("a", [3]))
    assert kept(tmp_path) == [
        ("request_id", "a", 0, 1),
        ("request_id", "a", 1, None),
        ("request_id", "a", 0, 2),
        ("request_id", "a", 0, 3),
    ]
    assert len(list(tmp_path.iterdir())) == 2, "each has its own"
    worker.close()
    Feedback(tmp_path).add(table(("request_id", "b", 0, 4)))
    assert len(list(tmp_path.iterdir())) == 2, "a segment nobody writes to any more is written on"


def _write(folder: Path, writer: int) -> None:
    for number in range(40):
        Feedback(folder).add(table(*[("request_id", f"{writer}-{number}", row, "x" * 200) for row in range(20)]))


def test_several_processes_write_at_once_and_nothing_is_torn(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(tmp_path, number)) for number in range(4)]
    for process in writers:
        process.start()
    reader = Feedback(tmp_path)
    while any(process.is_alive() for process in writers):
        seen = reader.frame()
        assert reader.damaged == 0
        for _, rows in seen.groupby("id", sort=False):
            assert rows["row"].tolist() == list(range(len(rows)))
    assert [process.exitcode for process in writers] == [0] * 4
    frame = reader.frame()
    assert (len(frame), reader.torn, reader.damaged) == (4 * 40 * 20, 0, 0)
    for writer in range(4):
        own = frame[frame["id"].str.startswith(f"{writer}-")]
        assert own["id"].drop_duplicates().tolist() == [f"{writer}-{number}" for number in range(40)], "in its order"


def test_torn_and_damaged_lines_are_passed_over_and_counted(tmp_path: Path) -> None:
    whole = entry(2.0, "request_id", "b", 0, [1])
    first = entry(1.0, "request_id", "a", 0, [1, 0])
    flipped = first.replace(b'"a"', b'"c"')
    foreign = line(json.dumps({"time": 1, "request_id": "a"}).encode())
    (tmp_path / "0000000000000001-7.log").write_bytes(first + flipped + foreign + whole + first[:-9])
    reader = Feedback(tmp_path)
    assert reader.frame()["id"].tolist() == ["a", "a", "b"]
    assert (reader.torn, reader.damaged) == (1, 2)
    Feedback(tmp_path).add(table(("request_id", "z", 0, 1)))
    assert len(list(tmp_path.iterdir())) == 2, "nobody writes on after a torn line"
    assert kept(tmp_path)[-1][1] == "z"


def test_nothing_is_written_to_what_others_put_there(tmp_path: Path) -> None:
    host, folder = tmp_path / "bashrc", tmp_path / "feedback"
    host.write_bytes(b"alias\n")
    Feedback(folder).add(table(("request_id", "a", 0, 1)))
    (own,) = folder.iterdir()
    for number in (1, 7):
        (folder / f"{time.time_ns() // 1000 + 10**6:016d}-{number}.log").symlink_to(host)
    os.mkfifo(folder / f"{time.time_ns() // 1000 + 10**6:016d}-8.log")
    foreign = folder / f"{time.time_ns() // 1000 + 10**6:016d}-9.log"
    foreign.write_bytes(b"")
    Feedback(folder).add(table(("request_id", "b", 0, 1)))
    own.rename(tmp_path / "own")
    own.symlink_to(host)
    Feedback(folder).add(table(("request_id", "c", 0, 1)))
    assert (host.read_bytes(), foreign.read_bytes()) == (b"alias\n", b"")
    reader = Feedback(folder)
    assert (list(reader.frame()["id"]), reader.damaged) == (["c"], 4)


def test_labels_of_several_segments_are_in_the_order_of_their_time(tmp_path: Path) -> None:
    (tmp_path / "0000000000000001-7.log").write_bytes(
        entry(5.0, "request_id", "late", 0, [1]) + entry(5.0, "request_id", "later", 0, [1])
    )
    (tmp_path / "0000000000000002-8.log").write_bytes(entry(3.0, "request_id", "early", 0, [1]))
    assert [line[1] for line in kept(tmp_path)] == ["early", "late", "later"]


def test_on_a_full_disk_none_of_a_table_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Feedback(tmp_path).add(table(LINES[0]))
    size = next(tmp_path.iterdir()).stat().st_size
    real = os.write

    def filling(fd: int, text: Any) -> int:
        if len(text) < 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, bytes(text)[:50])

    monkeypatch.setattr("nbdeploy.run.feedback.os.write", filling)
    with pytest.raises(DiskFailed, match=r"None of them is kept.*give them again"):
        Feedback(tmp_path).add(table(*LINES))
    monkeypatch.undo()
    assert next(tmp_path.iterdir()).stat().st_size == size
    assert kept(tmp_path) == [LINES[0]]


def test_labels_get_as_old_as_predictions_may(tmp_path: Path) -> None:
    old = tmp_path / "0000000000000001-7.log"
    old.write_bytes(entry(1.0, "request_id", "old", 0, [1]))
    Feedback(tmp_path).add(table(("request_id", "new", 0, 1)))
    assert len(list(tmp_path.iterdir())) == 2, "an old segment does not become younger"
    os.utime(old, (1.0, 1.0))
    for log in (FeedbackLog(tmp_path), FeedbackLog(tmp_path, retention_days=30)):
        assert [line[1] for line in kept(tmp_path)][:1] == ["old"]
        asyncio.run(log.keep("newer", [1]))
        log.close()
    assert [line[1] for line in kept(tmp_path)] == ["new", "newer", "newer"]


def test_a_full_segment_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SEGMENT_BYTES", 200)
    for number in range(5):
        Feedback(tmp_path).add(table(("request_id", f"r{number}", 0, 1)))
    assert len(list(tmp_path.iterdir())) == 3
    assert [line[1] for line in kept(tmp_path)] == [f"r{number}" for number in range(5)]


def test_labels_are_not_written_to_a_segment_that_retention_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Feedback(tmp_path).add(table(("request_id", "old", 0, 1)))
    (old,) = tmp_path.iterdir()
    real = store._claimed

    def late(fd: int) -> bool:
        old.unlink(missing_ok=True)
        return real(fd)

    monkeypatch.setattr(store, "_claimed", late)
    Feedback(tmp_path).add(table(("request_id", "new", 0, 1)))
    assert [line[1] for line in kept(tmp_path)] == ["new"]


def test_a_segment_that_retention_takes_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Feedback(tmp_path).add(table(("request_id", "a", 0, 1)))
    gone = tmp_path / "0000000000000001-7.log"
    monkeypatch.setattr(type(tmp_path), "glob", lambda self, _pattern: [gone, *self.iterdir()])
    assert [line[1] for line in kept(tmp_path)] == ["a"]
    monkeypatch.setattr(store, "_born", lambda _path: time.time())
    Feedback(tmp_path).add(table(("request_id", "b", 0, 1)))
    assert [line[1] for line in kept(tmp_path)] == ["a", "b"]
