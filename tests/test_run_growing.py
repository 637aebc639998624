"""A segment that is being written is read through a copy of what it has, and its last lines (F31)."""

from __future__ import annotations

import json
import math
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from segment_files import SCHEMA, same, small

from nbdeploy import parquet
from nbdeploy.run import copies
from nbdeploy.run.copies import copied
from nbdeploy.run.piece import NUMBER, UNCOPIED
from nbdeploy.run.predictions import Predictions
from nbdeploy.runtime.policy import Policy
from nbdeploy.runtime.predlog import PredictionLog
from nbdeploy.runtime.records import head, line

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def test_a_segment_that_grows_is_read_as_it_is(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path)
    log.head = head("abc", Policy({"said": "drop"}), {}, [])
    for number in range(3):
        log.write(line(json.dumps(small(request_id=f"id{number}")).encode()), 1)
        found = Predictions(tmp_path)
        assert len(found.frame()) == len(found.requests()) == number + 1
        assert found.policy("abc") == {"said": "drop"}
        assert (found.torn, found.damaged) == (0, 0)
    assert not list(tmp_path.glob("*.parquet"))
    log.close()
    assert len(Predictions(tmp_path).frame()) == 3
    assert Predictions(tmp_path).policy("abc") == {"said": "drop"}
    assert len(list(tmp_path.glob("*.parquet"))) == 1


@pytest.fixture
def grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PredictionLog:
    """A log whose growing segment is read through a copy as soon as 2 kB more are in it."""
    monkeypatch.setattr(copies, "TAIL", 2_000)
    log = PredictionLog(tmp_path)
    policy = Policy({"said": "drop"})
    log.head = head("abc", policy, policy.kinds(SCHEMA), ())
    return log


def add(log: PredictionLog, *numbers: int, **changed: Any) -> None:
    for number in numbers:
        log.write(line(json.dumps(small(request_id=f"id{number}", time=1.7e9 + number, **changed)).encode()), 1)


def test_a_segment_that_grows_is_read_through_a_copy_and_its_last_lines(grown: PredictionLog) -> None:
    found, made = Predictions(grown.folder), set()
    for number in range(4, 44, 4):
        add(grown, *range(number - 4, number), predictions=["yes"] if number <= 24 else [0.5])
        wanted = [f"id{one}" for one in range(number)]
        assert list(found.frame()["request_id"]) == list(found.requests()["request_id"]) == wanted
        assert [
            one for part in found.batches(["request_id"], 7, categories=True) for one in part["request_id"]
        ] == wanted
        assert list(found.tail(3)["request_id"]) == wanted[-3:]
        assert (found.torn, found.damaged, found.policy("abc")) == (0, 0, {"said": "drop"})
        made |= {copy.stat().st_mtime_ns for copy in grown.folder.glob("*.parquet")}  # a number of a file is used again
    assert 3 < len(made) < 9, "some of it was copied, and not at every look"
    view = found.within(datetime.fromtimestamp(1.7e9 + 3, UTC), datetime.fromtimestamp(1.7e9 + 38, UTC))
    assert list(view.frame()["request_id"]) == [f"id{one}" for one in range(3, 38)]
    by_lines = list(found)
    grown.close()
    assert [one.request_id for one in by_lines] == list(found.frame()["request_id"])
    assert list(found.frame()["prediction"]) == ["yes"] * 24 + [0.5] * 16
    [segment] = found.segments()
    with parquet.reading() as reader, copied(reader, segment) as copy:
        assert copy is not None
        assert copy.facts.bytes == segment.stat().st_size


def test_what_is_being_written_is_neither_torn_nor_in_the_copy(grown: PredictionLog) -> None:
    add(grown, *range(20))
    whole = line(json.dumps(small(request_id="id20", time=1.7e9 + 20)).encode())
    grown.write(whole[:100], 0)
    found = Predictions(grown.folder)
    assert len(found.frame()) == 20
    assert list(grown.folder.glob("*.parquet"))
    grown.write(whole[100:], 1)
    assert (len(found.frame()), found.torn, found.damaged) == (21, 0, 0)
    grown.write(whole[:100], 0)
    grown.close()
    assert (len(found.frame()), found.torn, found.damaged) == (21, 1, 0)


@pytest.mark.parametrize(("first", "last"), [(2**62 + 1, None), (2**62 + 1, 2.5), (2.5, 2**62 + 1)])
def test_large_numbers_are_not_rounded_by_what_other_lines_have(grown: PredictionLog, first: Any, last: Any) -> None:
    row = small()["rows"][0]
    add(grown, *range(20), rows=[row | {"thing": first}])
    Predictions(grown.folder).frame()
    if last is None:
        add(grown, 20, rows=[], predictions=[], status=422)
    else:
        add(grown, 20, rows=[row | {"thing": last}])
    found = Predictions(grown.folder).frame()["input.thing"].tolist()
    assert found[:20] == [first] * 20
    assert same(found[20], last)


def test_the_last_lines_have_the_types_of_the_copy_where_they_can(grown: PredictionLog) -> None:
    row = small()["rows"][0]
    add(grown, *range(20), predictions=[7])
    Predictions(grown.folder).frame()
    add(grown, 20, rows=[row | {"height, m": "Infinity", "count": None}], predictions=[7])
    add(grown, 21, rows=[], predictions=[], status=422)
    found = Predictions(grown.folder).frame()
    kinds = {name: found[name].dtype.kind for name in ("input.height, m", "input.count", "row", "prediction", "status")}
    assert kinds == {"input.height, m": "f", "input.count": "f", "row": "f", "prediction": "f", "status": "i"}
    assert found["input.height, m"].tolist()[-2] == math.inf


def take_back(log: PredictionLog) -> None:
    """Of several lines written at once some may be there whole when the disk is full, and are cut; 20 others stay."""
    add(log, *range(20))
    [segment] = Predictions(log.folder).segments()
    size = segment.stat().st_size
    add(log, 97, 98)
    assert len(Predictions(log.folder).frame()) == 22
    os.truncate(segment, size)


def test_f31_lines_that_were_taken_back_and_written_over_are_not_in_the_next_look(grown: PredictionLog) -> None:
    take_back(grown)
    assert len(Predictions(grown.folder).frame()) == 20
    add(grown, *range(20, 24))
    assert list(Predictions(grown.folder).frame()["request_id"]) == [f"id{one}" for one in range(24)]


def test_f31_lines_in_the_place_of_others_are_read_though_the_segment_is_as_long_as_its_copy(
    grown: PredictionLog,
) -> None:
    take_back(grown)
    add(grown, 20, 21)
    grown.close()
    assert list(Predictions(grown.folder).frame()["request_id"]) == [f"id{one}" for one in range(22)]


def test_lines_are_found_again_by_their_numbers(grown: PredictionLog) -> None:
    add(grown, *range(30))
    list(Predictions(grown.folder).batches(["request_id"]))  # a copy is made
    add(grown, *range(30, 36), predictions=["yes", "no"])
    since = datetime.fromtimestamp(1.7e9 + 3, UTC)
    for piece in Predictions(grown.folder).within(since).pieces():
        whole = piece.frame(["request_id", "prediction", NUMBER])
        numbers = whole[NUMBER].to_numpy()
        assert (np.diff(numbers) > 0).all()
        assert (numbers < UNCOPIED).any()
        assert (numbers >= UNCOPIED).any()
        for chosen in (numbers[::3], numbers[:2], numbers[-2:], numbers):
            found = piece.rows(chosen, ["prediction", "request_id", "none"])
            wanted = whole[whole[NUMBER].isin(chosen)]
            assert found["request_id"].tolist() == wanted["request_id"].tolist()
            assert found["prediction"].tolist() == wanted["prediction"].tolist()
            assert found["none"].isna().all()
