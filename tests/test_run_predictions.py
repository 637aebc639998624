"""The log is readable while it is written and past what is damaged (F28)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from nbdeploy.run.predictions import Predictions
from nbdeploy.runtime.predlog import PredictionLog
from nbdeploy.runtime.records import line
from nbdeploy.runtime.rules import Rules

if TYPE_CHECKING:
    from pathlib import Path


def record(number: int, **changed: Any) -> bytes:
    content: dict[str, Any] = {
        "time": 1_700_000_000.5 + number,
        "request_id": f"id{number}",
        "version": "1.0.0",
        "schema": "abc",
        "method": "predict",
        "status": 200,
        "milliseconds": 1.5,
        "rows": [{"x": number}],
        "predictions": [2 * number],
    }
    return line(json.dumps({**content, **changed}).encode())


def written(folder: Path, *texts: bytes) -> Predictions:
    folder.mkdir(exist_ok=True)
    (folder / "0001-1.log").write_bytes(b"".join(texts))
    return Predictions(folder)


def test_the_log_tells_of_its_table(tmp_path: Path) -> None:
    assert ".frame()" in repr(Predictions(tmp_path))


def test_records_come_back(tmp_path: Path) -> None:
    found = written(tmp_path, record(1), record(2, keys=[{"id": "a"}]))
    first, second = found
    assert first.time == datetime.fromtimestamp(1_700_000_001.5, UTC)
    assert (first.request_id, first.rows, first.predictions, first.status) == ("id1", [{"x": 1}], [2], 200)
    assert second.keys == [{"id": "a"}]
    assert (found.torn, found.damaged) == (0, 0)


def test_f28_a_torn_end_is_cut_and_counted(tmp_path: Path) -> None:
    whole = record(1) + record(2)
    for length in range(len(record(1)) + 1, len(whole)):
        found = written(tmp_path, whole[:length])
        assert [one.request_id for one in found] == ["id1"]
        assert (found.torn, found.damaged) == (1, 0)


def test_f28_a_zero_filled_end_is_cut_and_counted(tmp_path: Path) -> None:
    found = written(tmp_path, record(1), bytes(4_096))
    assert [one.request_id for one in found] == ["id1"]
    assert found.torn == 1


def test_f28_a_flipped_byte_costs_its_record_alone(tmp_path: Path) -> None:
    damaged = bytearray(record(2))
    damaged[40] ^= 1
    found = written(tmp_path, record(1), bytes(damaged), record(3))
    assert [one.request_id for one in found] == ["id1", "id3"]
    assert (found.torn, found.damaged) == (0, 1)


def test_f28_a_missing_segment_does_not_stop_the_others(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, rules=Rules(rotate_bytes=1))
    for number in range(3):
        log.write(record(number), 1)
    log.close()
    sorted(tmp_path.glob("*.log"))[1].unlink()
    assert [one.request_id for one in Predictions(tmp_path)] == ["id0", "id2"]


def test_a_record_that_is_being_written_is_not_torn(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path)
    log.write(record(1), 1)
    log.write(record(2)[:20], 1)
    found = Predictions(tmp_path)
    assert [one.request_id for one in found] == ["id1"]
    assert found.torn == 0
    log.close()
    assert len(list(found)) == 1
    assert found.torn == 1


def test_no_folder_is_no_prediction(tmp_path: Path) -> None:
    assert list(Predictions(tmp_path / "none")) == []
    frame = Predictions(tmp_path / "none").frame()
    assert frame.empty
    assert {"time", "request_id", "prediction"} <= set(frame.columns)


def test_fields_of_a_newer_runtime_are_passed_over(tmp_path: Path) -> None:
    assert len(list(written(tmp_path, record(1, invented=[1])))) == 1


def test_a_frame_has_a_line_for_each_row_by_time(tmp_path: Path) -> None:
    found = written(
        tmp_path,
        record(5, rows=[{"x": 1, "time": "t"}, {"x": 2, "time": "u"}], predictions=["a", "b"], keys=[{"id": 7}, {}]),
        record(1, status=422, code="invalid_rows", rows=[], predictions=[]),
        record(3, rows=[[1, 2]], predictions=[{"yes": 0.5}]),
    )
    frame = found.frame()
    assert list(frame["request_id"]) == ["id1", "id3", "id5", "id5"]
    assert list(frame["prediction"])[1:] == [{"yes": 0.5}, "a", "b"]
    assert list(frame["input.x"])[2:] == [1, 2]
    assert list(frame["input.time"])[2:] == ["t", "u"]
    assert frame["key.id"][2] == 7
    assert list(frame["row"])[2:] == [0, 1]
    assert frame["code"][0] == "invalid_rows"
    assert str(frame["time"].dtype).startswith("datetime64")


def test_a_view_has_what_lies_between_two_times(tmp_path: Path) -> None:
    whole = written(tmp_path, *(record(number) for number in range(6)))
    at = datetime.fromtimestamp(1_700_000_000.5, UTC)
    second = timedelta(seconds=1)
    view = whole.within(at + second, at + 4 * second)
    assert [one.request_id for one in view] == ["id1", "id2", "id3"]
    assert [one.request_id for one in view.within(None, at + 2 * second)] == ["id1"]
    assert [one.request_id for one in view.within(at, at + 9 * second)] == ["id1", "id2", "id3"]
    assert list(view.frame()["request_id"]) == ["id1", "id2", "id3"]


def test_requests_are_told_without_their_rows(tmp_path: Path) -> None:
    found = written(
        tmp_path,
        record(3, rows=[{"x": 1}, {"x": 2}], predictions=["a", "b"]),
        record(1, status=422, code="invalid_rows", rows=[], predictions=[], refused=["x", "y"]),
        record(2, rows=[], predictions=[], count=5),
    )
    frame = found.requests()
    wanted = ["time", "request_id", "version", "schema", "worker", "method", "status", "code", "milliseconds"]
    wanted += ["rows", "refused"]
    assert list(frame.columns) == wanted
    assert list(frame["request_id"]) == ["id1", "id2", "id3"]
    assert list(frame["rows"]) == [0, 5, 2]
    assert list(frame["worker"]) == [1, 1, 1]
    assert list(frame["refused"]) == [["x", "y"], None, None]
    assert list(Predictions(tmp_path / "none").requests().columns) == wanted


def test_batches_are_the_frame_in_parts(tmp_path: Path) -> None:
    found = written(tmp_path, *(record(number) for number in range(5)), record(5, rows=[[1, 2]], predictions=[1]))
    parts = list(found.batches(size=2))
    assert [len(part) for part in parts] == [2, 2, 2]
    assert [name for part in parts for name in part["request_id"]] == list(found.frame()["request_id"])
    (only,) = found.batches(["prediction", "input.x", "input.none"])
    assert list(only.columns) == ["prediction", "input.x", "input.none"]
    assert only["input.none"].isna().all()
