"""A closed segment read through its copy is what its lines say, however the copy was made (F28, F31)."""

from __future__ import annotations

import json
import math
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import ANY

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from segment_files import SCHEMA, occupy, same, small, written

from nbdeploy import parquet
from nbdeploy.run import compaction, segments
from nbdeploy.run.copies import copied, copy_of
from nbdeploy.run.predictions import Predictions
from nbdeploy.run.segments import Lines, table
from nbdeploy.runtime.policy import Policy
from nbdeploy.runtime.records import head, line
from nbdeploy.runtime.retention import clean

pytestmark = pytest.mark.slow
INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALAR = st.none() | st.booleans() | INT64 | FLOATS | TEXT
ROWS = st.fixed_dictionaries(
    {
        "count": st.none() | INT64,
        "height, m": st.none() | FLOATS | st.sampled_from(["Infinity", "-Infinity"]),
        'it\'s "new"': st.none() | st.booleans(),
        "said": st.none() | TEXT,
        "island": st.none() | st.sampled_from(["Dream", "", "null"]) | st.integers(0, 3),
        "thing": SCALAR | st.lists(SCALAR, max_size=2) | st.dictionaries(TEXT, SCALAR, max_size=2),
        "when": st.none() | st.just("2026-01-02T03:04:05"),
    }
)
KEYS = st.fixed_dictionaries({}, optional={"order": SCALAR, "Order no.": SCALAR})
ANSWERS = st.one_of(
    st.just(TEXT),
    st.just(st.integers(0, 9)),
    st.just(FLOATS),
    st.just(st.dictionaries(TEXT, FLOATS, max_size=2)),
    st.just(SCALAR),
)


@st.composite
def records(draw: st.DrawFn) -> list[dict[str, Any]]:
    answer = draw(ANSWERS)
    found = []
    for number in range(draw(st.integers(0, 6))):
        start = {
            "time": 1_700_000_000 + draw(st.integers(0, 10**6)) / 1e6,
            "request_id": f"id{number}",
            "milliseconds": draw(st.floats(0, 1e4)),
            "version": "1.0.0",
            "schema": "abc",
            "method": "predict",
        }
        kind = draw(st.sampled_from(["answered", "answered", "refused", "unsampled", "empty"]))
        if kind == "refused":
            found.append(start | {"status": 422, "code": "invalid_rows"})
        elif kind == "unsampled":
            found.append(start | {"status": 200, "count": draw(st.integers(1, 9))})
        else:
            count = draw(st.integers(1, 4)) if kind == "answered" else 0
            rows = draw(st.lists(ROWS, min_size=count, max_size=count))
            keys = draw(st.none() | st.lists(KEYS, min_size=count, max_size=count))
            answers = draw(st.lists(answer, min_size=count, max_size=count))
            given = {} if keys is None else {"keys": keys}
            found.append(start | {"status": 200, "rows": rows, "predictions": answers} | given)
    return found


def cells(frame: Any) -> dict[str, list[Any]]:
    """What is there at all: a column without a value may be absent."""
    found = {str(name): frame[name].astype(object).tolist() for name in frame.columns}
    return {name: values for name, values in found.items() if any(not same(value, None) for value in values)}


def expected(found: list[dict[str, Any]]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {"request_id": [], "row": [], "prediction": [], "status": [], "code": []}
    columns |= {f"input.{column.name}": [] for column in SCHEMA.columns} | {f"key.{name}": [] for name in SCHEMA.keys}
    for one in sorted(found, key=lambda item: round(item["time"] * 1e6)):
        for place in range(max(1, len(one.get("rows", ())))):
            has = place < len(one.get("rows", ()))
            row = one["rows"][place] if has else {}
            key = one["keys"][place] if has and one.get("keys") else {}
            values = {"request_id": one["request_id"], "row": place if has else None, "status": one["status"]}
            values |= {"prediction": one["predictions"][place] if has else None, "code": one.get("code")}
            values |= {f"input.{name}": value for name, value in row.items()}
            values |= {f"key.{name}": value for name, value in key.items()}
            for name, column in columns.items():
                column.append(values.get(name))
    return {name: values for name, values in columns.items() if any(not same(value, None) for value in values)}


@settings(
    max_examples=25,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(records())
@pytest.mark.thorough
def test_every_way_of_reading_gives_what_was_written(found: list[dict[str, Any]]) -> None:
    wanted = expected(found)
    for says in (True, False):
        with TemporaryDirectory() as name:
            path = written(Path(name), found, says=says)
            frame = Predictions(path.parent).frame()
            assert copy_of(path).exists() or not found
            read = cells(frame)
            for column, values in wanted.items():
                assert len(read[column]) == len(values), column
                for one, other in zip(read[column], values, strict=True):
                    assert same(other, one) or same(one, other), (says, column, one, other)
            lines = segments.plain_frame(table(Lines(path), 7), {}).sort_values("time", kind="stable")
            by_lines = cells(lines)
            for column in ("request_id", "row", "prediction", "input.count", "key.order"):
                pairs = zip(read.get(column, []), by_lines.get(column, []), strict=True)
                assert all(same(one, other) for one, other in pairs), column


def test_what_duckdb_cannot_read_is_read_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a character, which JSON may escape; the head promises what rows do not hold."""
    tried: list[bool] = []
    convert = compaction.convert

    def watched(*given: Any) -> bool:
        tried.append(convert(*given))
        return tried[-1]

    monkeypatch.setattr(compaction, "convert", watched)
    path = written(tmp_path, [small(), small(predictions=["\ud800"]), small(rows=[{"count": 2.5}])])
    frame = Predictions(tmp_path).frame()
    assert tried == [False]
    assert list(frame["prediction"]) == ["yes", "\ud800", "yes"]
    assert list(frame["input.count"]) == [1, 1, 2.5]
    path.write_bytes(written(tmp_path / "..", [small()]).read_bytes())
    assert list(Predictions(tmp_path).frame()["prediction"]) == ["yes"]
    assert tried == [False, True], "another segment of that name has another copy"


def test_numbers_keep_their_type(tmp_path: Path) -> None:
    written(tmp_path, [small(predictions=[number]) for number in (1, 2, 2**62 + 1)])
    frame = Predictions(tmp_path).frame()
    assert list(frame["prediction"]) == [1, 2, 2**62 + 1]
    assert frame["input.count"].dtype == "int64"
    assert frame["input.height, m"].dtype == "float64"


def test_a_missing_value_makes_no_other_kind_of_a_column(tmp_path: Path) -> None:
    """As JSON, texts were read twenty times slower."""
    rows = [{**small()["rows"][0], "island": text, "thing": number} for text, number in (("Dream", None), (None, 2))]
    written(tmp_path, [small(rows=rows, predictions=[0.5, None])])
    [found] = Predictions(tmp_path).batches(["input.island", "input.thing", "prediction"], categories=True)
    assert [str(kind) for kind in found.dtypes] == ["category", "object", "float64"], "a whole number stays one"
    assert cells(found) == {"input.island": ["Dream", ANY], "input.thing": [None, 2], "prediction": [0.5, ANY]}


def test_values_of_any_type_that_come_again_are_parsed_once(tmp_path: Path) -> None:
    rows = [{**small()["rows"][0], "thing": thing} for thing in (2**70, [1], 2**70, [1])]
    written(tmp_path, [small(rows=rows, predictions=["yes"] * 4)])
    one, own, again, other = Predictions(tmp_path).frame()["input.thing"]
    assert one is again
    assert own is not other, "who changes a row's list changes no other row"


@pytest.mark.parametrize("ids", [[2**53 + 1, 0.5, 2**53], [2**70 + 1, 1, -(2**127)]])
def test_whole_numbers_that_floats_would_round_stay_exact(tmp_path: Path, ids: list[Any]) -> None:
    """A key of which a client made floats, or one of more bits than a machine's numbers have."""
    written(tmp_path, [small(keys=[{"order": id_, "Order no.": 1e300}], predictions=[id_]) for id_ in ids])
    frame = Predictions(tmp_path).frame()
    for name in ("key.order", "prediction"):
        assert list(frame[name]) == ids
    assert frame["key.Order no."].dtype == "float64"


def test_infinities_come_back_as_numbers(tmp_path: Path) -> None:
    rows = [{**small()["rows"][0], "height, m": value} for value in ("Infinity", "-Infinity", 1.0)]
    written(tmp_path, [small(rows=rows, predictions=["a", "b", "c"])])
    assert list(Predictions(tmp_path).frame()["input.height, m"]) == [math.inf, -math.inf, 1.0]


def test_f28_what_is_damaged_is_counted_by_copies_as_by_lines(tmp_path: Path) -> None:
    path = written(tmp_path, [small(request_id=f"id{number}") for number in range(5)])
    content = bytearray(path.read_bytes())
    content[content.index(b"id1") + 1] ^= 1
    foreign = line(b'{"time":"late"}') + line(b"[1]") + line(b'{"time":1e99}')
    path.write_bytes(bytes(content) + foreign + line(b"{}")[:-1])
    found = Predictions(tmp_path)
    assert [record.request_id for record in found] == ["id0", "id2", "id3", "id4"]
    by_lines = (found.torn, found.damaged)
    assert list(found.frame()["request_id"]) == ["id0", "id2", "id3", "id4"]
    assert (found.torn, found.damaged) == by_lines == (1, 4)
    assert list(found.frame()["request_id"]) == ["id0", "id2", "id3", "id4"]
    assert (found.torn, found.damaged) == (1, 4), "also by a copy that was there"


def test_f38_a_segment_that_goes_while_it_is_read_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, [small()])

    def late(reader: Any, path: Path, *, grows: bool) -> Any:
        clean(tmp_path, 0, None)
        return copied(reader, path, grows=grows)

    os.utime(path, (0, 0))
    monkeypatch.setattr("nbdeploy.run.piece.copied", late)
    assert len(Predictions(tmp_path).frame()) == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_regular_file_is_passed_over_and_counted(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "predictions"
    folder.mkdir()
    occupy(kind, folder / "0000000000000000-1.log", written(tmp_path, [small(request_id="of the host")]))
    written(folder, [small()])
    found = Predictions(folder)
    for count in (len(found.frame()), len([*found]), len(found.requests())):
        assert (count, found.damaged) == (1, 1)
    found.policies()
    clean(folder, 0, None)


def test_the_last_rows_of_requests_answered_at_once_are_the_last_written(tmp_path: Path) -> None:
    written(tmp_path, [small(request_id=f"id{number}") for number in (3, 1, 4, 2)])
    assert list(Predictions(tmp_path).tail(2)["request_id"]) == ["id4", "id2"]


def test_a_view_reads_closed_segments_by_time_as_well(tmp_path: Path) -> None:
    start = datetime.fromtimestamp(1_700_000_000, UTC)
    for hour in range(4):
        found = [
            small(time=1_700_000_000 + 3600 * hour + minute * 60, request_id=f"{hour}:{minute}") for minute in range(3)
        ]
        written(tmp_path, found)
    log = Predictions(tmp_path)
    log.frame()
    view = log.within(start + timedelta(hours=1, minutes=1), start + timedelta(hours=2, minutes=1))
    wanted = ["1:1", "1:2", "2:0"]
    assert list(view.frame()["request_id"]) == wanted
    assert list(view.requests()["request_id"]) == wanted
    assert [record.request_id for record in view] == wanted
    assert [len(part) for part in view.batches(["request_id"])] == [2, 1]


def test_batches_are_bounded_and_have_the_columns_that_were_asked_for(tmp_path: Path) -> None:
    written(tmp_path, [small(request_id=f"id{number}") for number in range(5)])
    parts = list(Predictions(tmp_path).batches(["input.count", "none"], size=2))
    assert [len(part) for part in parts] == [2, 2, 1]
    assert list(parts[0].columns) == ["input.count", "none"]
    assert [list(part.index) for part in parts] == [[0, 1], [0, 1], [0]]


def test_texts_of_few_values_are_the_same_as_categories(tmp_path: Path) -> None:
    many = [f"it's {number}" for number in range(parquet.FEW + 1)]
    for texts in (["Dream", None, ""], ["Dream", 'a "b"', "it's"], [None, None], many, ["Biscoe"]):
        rows = [{"said": text, "island": "Dream"} for text in texts]
        written(tmp_path, [small(rows=[row], predictions=["yes"]) for row in rows])
    columns = ["input.said", "input.island", "prediction", "input.none"]
    log = Predictions(tmp_path)
    pairs = list(zip(log.batches(columns), log.batches(columns, categories=True), strict=True))
    assert len(pairs) == 5
    for plain, coded in pairs:
        one, other = cells(plain), cells(coded)
        assert one.keys() == other.keys()
        assert all(same(*pair) for name in one for pair in zip(one[name], other[name], strict=True))
    assert ["category" in map(str, coded.dtypes) for _, coded in pairs] == [True] * 5
    assert pairs[3][1]["input.said"].dtype == object  # too many


def test_texts_are_seen_after_a_segment_that_has_none(tmp_path: Path) -> None:
    written(tmp_path, [small(status=422, code="invalid_rows", rows=[], predictions=[])])
    written(tmp_path, [small()])
    _, found = Predictions(tmp_path).batches(["input.said", "prediction"], categories=True)
    assert cells(found) == {"input.said": ["a"], "prediction": ["yes"]}


def test_parquet_for_others(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    written(log, [small(predictions=[{"yes": 0.25}]), small(status=422, code="invalid_rows", rows=[], predictions=[])])
    written(log, [small(predictions=[1]), small(predictions=["a"])])
    written(log, [])
    files = Predictions(log).write_parquet(tmp_path / "out")
    assert [file.suffix for file in files] == [".parquet"] * 2
    chosen = 'SELECT time, prediction, "input.island" AS island'
    told = duckdb.sql(f"{chosen} FROM read_parquet('{tmp_path}/out/*.parquet', union_by_name = true)")
    assert [str(kind) for kind in told.types] == ["TIMESTAMP WITH TIME ZONE", "VARCHAR", "VARCHAR"]
    rows = told.project("prediction, island").fetchall()
    assert sorted(prediction for prediction, _ in rows if prediction) == ['"a"', "1", '{"yes": 0.25}']
    assert [island for _, island in rows if island] == ["Dream"] * 3


def test_parquet_for_others_is_one_table(tmp_path: Path) -> None:
    """Whatever each segment happens to hold: no refusals, whole numbers beside missing ones, no rows at all."""
    log = tmp_path / "log"
    log.mkdir()
    kinds = {"age": "integer", "mass": "number", "island": "text"}
    refused = small(status=422, code="invalid_rows", rows=[], predictions=[])
    said = [
        [small(rows=[{"age": 1, "mass": 2, "island": "Dream"}], predictions=[1])],
        [refused],
        [small(rows=[{"age": None, "mass": None, "island": None}], predictions=[2])],
        [small(rows=[{"age": 3, "mass": 4.5, "island": "Biscoe"}], predictions=[0.5]), refused],
    ]
    for number, records_ in enumerate(said):
        content = b"".join(line(json.dumps(one).encode()) for one in records_)
        (log / f"{number}-1.log").write_bytes(head("abc", Policy(), kinds, []) + content)
    files = Predictions(log).write_parquet(tmp_path / "out")
    tables = [duckdb.sql(f"FROM read_parquet('{file}')") for file in files]
    assert len({(tuple(told.columns), tuple(map(str, told.types))) for told in tables}) == 1
    assert len(list((tmp_path / "out").iterdir())) == 4
    whole = duckdb.sql(f"FROM read_parquet('{tmp_path}/out/*.parquet')")
    types = dict(zip(whole.columns, map(str, whole.types), strict=True))
    wanted = {"row": "BIGINT", "code": "VARCHAR", "input.age": "BIGINT", "input.mass": "DOUBLE", "prediction": "DOUBLE"}
    assert wanted.items() <= types.items()
    rows = whole.project('code, "row", prediction, "input.age", "input.mass", "input.island"').fetchall()
    nothing = ("invalid_rows", None, None, None, None, None)
    assert rows == [
        (None, 0, 1.0, 1, 2.0, "Dream"),
        nothing,
        (None, 0, 2.0, None, None, None),
        *((None, 0, 0.5, 3, 4.5, "Biscoe"), nothing),
    ]


NONE = small(status=422, code="invalid_rows", rows=[], predictions=[])


@pytest.mark.parametrize(
    ("files", "kind", "wanted"),
    [
        ([[[1, 2]], [[3]]], {"BIGINT", "DOUBLE"}, [1, 2, None, 3, None]),
        ([[[2**60 + 1, 3]], [[None]]], {"BIGINT"}, [2**60 + 1, 3, None, None, None]),
        ([[[0.5, "Infinity"]], [[1]]], {"DOUBLE"}, [0.5, math.inf, None, 1, None]),
        ([[[0.5], [1]], [[2]]], {"DOUBLE"}, [0.5, 1, None, 2, None]),
        ([[[True, None]], [[False]]], {"BOOLEAN"}, [True, None, None, False, None]),
        ([[["yes", "1"]], [[None]]], {"VARCHAR"}, ["yes", "1", None, None, None]),
        ([[["yes"]], [[1, 2.5]]], {"VARCHAR"}, ['"yes"', None, "1.0", "2.5", None]),
        ([[["yes"]], [[{"yes": 0.5}]]], {"VARCHAR"}, ['"yes"', None, '{"yes": 0.5}', None]),
        ([[[1.5]], [["Infinity", "a"]]], {"VARCHAR"}, ["1.5", None, '"Infinity"', '"a"', None]),
        ([[["\ud800"]], [["b"]]], {"VARCHAR"}, ['"\\ud800"', None, '"b"', None]),
    ],
)
@pytest.mark.parametrize("says", [True, False])
def test_answers_of_one_kind_are_a_column_of_it_and_others_json(
    files: list[list[list[Any]]], kind: set[str], wanted: list[Any], says: bool, tmp_path: Path
) -> None:
    """In whichever files they lie, and with refused requests, which have none, in each."""
    log = tmp_path / "log"
    log.mkdir()
    for answers in files:
        written(log, [*(small(rows=[{}] * len(one), predictions=one) for one in answers), NONE], says=says)
    Predictions(log).write_parquet(tmp_path / "out")
    told = duckdb.sql(f"SELECT prediction FROM read_parquet('{tmp_path}/out/*.parquet')")
    assert {str(told.types[0])} <= kind
    assert [value for (value,) in told.fetchall()] == wanted


def test_names_that_duckdb_cannot_tell_apart_are_told_apart(tmp_path: Path) -> None:
    row = {"Age": 1, "age": 2, "": 3, 'a"b': 4, "x'y": 5}
    start = head("abc", Policy(), dict.fromkeys(row, "integer"), [])
    (tmp_path / "0-1.log").write_bytes(start + line(json.dumps(small(rows=[row])).encode()))
    frame = Predictions(tmp_path).frame()
    assert {name: frame[f"input.{name}"][0] for name in row} == row


@pytest.mark.parametrize(
    ("element", "row", "wanted"),
    [
        ("number", [1.5, 2, "Infinity"], [1.5, 2.0, math.inf]),
        ("number", [1.5, None], [1.5, math.nan]),
        ("integer", [1, 2**60 + 1], [1, 2**60 + 1]),
        ("integer", [1, None], [1.0, math.nan]),
        (None, [1, "a", [None]], [1, "a", [None]]),
        (None, "a text", "a text"),
    ],
)
def test_rows_that_are_lists_or_values_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, element: str | None, row: Any, wanted: Any
) -> None:
    monkeypatch.setattr(segments, "table", None)  # DuckDB reads them
    records_ = [small(rows=[row]), small(status=422, code="invalid_rows", rows=[], predictions=[])]
    content = b"".join(line(json.dumps(one).encode()) for one in records_)
    (tmp_path / "0-1.log").write_bytes(head("abc", Policy(), {}, (), element) + content)
    log = Predictions(tmp_path)
    first, second = log.frame()["input"]
    assert str(first) == str(wanted)
    assert second is None
    [batch] = log.batches(["input"])
    assert str(list(batch["input"][0])) == str(list(wanted)) or element is not None
    assert len(log.write_parquet(tmp_path / "out")) == 1
