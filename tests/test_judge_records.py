"""What a gate notebook says is read back as it was said."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdeploy.errors import WrongUse
from nbdeploy.judge import records
from nbdeploy.judge.estimate import Estimate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What would be displayed."""
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(records, "show", said.append)
    return said


def notebook(shown: list[dict[str, Any]]) -> dict[str, Any]:
    """As nbformat reads it, by way of strict JSON."""
    outputs = [{"output_type": "display_data", "data": data, "metadata": {}} for data in shown]
    return dict(json.loads(json.dumps({"cells": [{"cell_type": "code", "outputs": outputs}]}, allow_nan=False)))


@pytest.mark.parametrize(
    ("value", "kind", "read"),
    [
        (0.25, "number", 0.25),
        (3, "number", 3.0),
        (np.float32(0.5), "number", 0.5),
        (np.int64(7), "number", 7.0),
        (np.array(1.5), "number", 1.5),
        (True, "boolean", True),
        (np.True_, "boolean", True),
        ("good", "text", "good"),
        (Estimate(0.9, 0.8, 0.95, 0.95, 40), "estimate", Estimate(0.9, 0.8, 0.95, 0.95, 40)),
        (Estimate(0.9), "estimate", Estimate(0.9)),
        ([{"a": 1, "b": None}], "table", [{"a": 1, "b": None}]),
        (pd.DataFrame({"a": [1.5], 2: ["x"]}), "table", [{"a": 1.5, "2": "x"}]),
        (pd.DataFrame({"a": [1]}, index=pd.Index(["cat"], name="true")), "table", [{"true": "cat", "a": 1}]),
        (pd.DataFrame({"a": [1, pd.NA, pd.NaT]}), "table", [{"a": 1}, {"a": None}, {"a": None}]),
        (pl.DataFrame({"a": [1, None]}), "table", [{"a": 1}, {"a": None}]),
    ],
)
def test_a_value_is_read_back_as_it_was_recorded(shown: Any, value: Any, kind: str, read: Any) -> None:
    records.record("metric", value)
    found = records.read(notebook(shown)).named["metric"]
    assert (found.type, found.value) == (kind, read)


@given(st.floats())
def test_every_float_survives_strict_json(value: float) -> None:
    said = {"cells": [{"outputs": [{"data": {records.MEDIA_TYPE: records.Record("x", "number", value).to_dict()}}]}]}
    found = records.read(json.loads(json.dumps(said, allow_nan=False))).named["x"].value
    assert found == value or (math.isnan(found) and math.isnan(value))


def test_an_interval_with_an_infinite_end_survives(shown: Any) -> None:
    records.record("x", Estimate(1.0, -math.inf, math.nan))
    found = records.read(notebook(shown)).named["x"].value
    assert found.low == -math.inf
    assert math.isnan(found.high)


def test_the_columns_of_a_table_keep_their_order(shown: Any) -> None:
    records.record("x", pd.DataFrame({"b": [1], "a": [2]}))
    sorted_by_nbformat = json.loads(json.dumps(notebook(shown), sort_keys=True))
    assert list(records.read(sorted_by_nbformat).named["x"].value[0]) == ["b", "a"]


def test_the_last_record_of_a_name_counts_and_every_expectation_does(shown: Any) -> None:
    records.record("accuracy", 0.5)
    records.record("accuracy", 0.75)
    records.expect("fine", True)
    records.expect("fine", np.False_, "3 rows")
    found = records.read(notebook(shown))
    assert found.named["accuracy"].value == 0.75
    assert [(item.name, item.passed, item.detail) for item in found.expectations] == [
        ("fine", True, ""),
        ("fine", False, "3 rows"),
    ]


@pytest.mark.parametrize("name", ["accuracy@island=Dream", "live.accuracy", "live.accuracy@a=b.c >= d", "_x1"])
def test_names_of_metrics_slices_and_the_live_version(shown: Any, name: str) -> None:
    records.record(name, 1.0)
    assert list(records.read(notebook(shown)).named) == [name]


@pytest.mark.parametrize("name", ["", "two words", "1st", "a.b", "accuracy@", "accuracy@island", "live.", None, 3])
def test_other_names_are_refused(shown: Any, name: Any) -> None:
    with pytest.raises(WrongUse, match="cannot name a record"):
        records.record(name, 1.0)
    assert not shown


@pytest.mark.parametrize("value", [None, object(), [1, 2], np.array([1.0, 2.0]), 1j, {"a": 1}, 10**400])
def test_a_value_of_another_kind_is_refused(shown: Any, value: Any) -> None:
    with pytest.raises(WrongUse, match="record a number"):
        records.record("x", value)
    assert not shown


@pytest.mark.parametrize("condition", [math.nan, None, 1, "yes", np.array([True]), np.nan, pd.NA])
def test_what_is_neither_true_nor_false_is_no_expectation(shown: Any, condition: Any) -> None:
    with pytest.raises(WrongUse, match="neither True nor False"):
        records.expect("x", condition)
    assert not shown


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"kind": "record", "name": "x", "type": "number"},
        {"kind": "record", "name": "x", "type": "number", "value": "many"},
        {"kind": "record", "name": "x", "type": "number", "value": True},
        {"kind": "record", "name": "x", "type": "other", "value": 1},
        {"kind": "record", "name": "x", "type": "number", "value": 10**400},
        {"kind": "record", "name": "x", "type": "estimate", "value": 1, "level": None},
        {"kind": "record", "name": "x", "type": "table", "value": [{"a": 1}], "columns": [[1]]},
        {"kind": "expect", "name": "x", "passed": 1},
        {"kind": "record", "name": "x", "type": "boolean", "value": "yes"},
        {"kind": "record", "name": "x", "type": "table", "value": {"a": 1}},
        {"kind": "record", "name": "x", "type": "table", "value": ["a"]},
        {"kind": "expect", "name": "x"},
        {"kind": "expect", "passed": True},
        "accuracy",
        ["kind"],
        None,
    ],
)
def test_an_output_of_our_type_that_says_something_else_is_an_error(said: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        records.read({"cells": [{"outputs": [{"data": {records.MEDIA_TYPE: said}}]}]})


def test_what_the_outputs_have_lost_is_missed(shown: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(records.SAID, str(tmp_path / "said"))
    records.record("accuracy", math.nan)
    records.record("f1", Estimate(0.5, 0.25, math.inf, n=3))
    records.note("rows", [{"b": 1, "a": math.nan}])
    records.expect("fine", True)
    records.expect("fine", True)
    records.expect("fine", False)
    records.record("f1", 0.75)
    lines = (tmp_path / "said").read_text().splitlines()

    def lost(*places: int) -> list[str]:
        kept = [said for place, said in enumerate(shown) if place not in places]
        return records.lost(records.read(notebook(kept)), lines)

    assert lost() == []
    assert lost(1) == []  # the last record of a name counts
    assert lost(6) == ["f1"]
    assert lost(3) == lost(5) == ["fine"]
    assert lost(0, 2, 4, 5) == ["fine", "fine", "accuracy", "rows"]


def test_two_columns_of_one_name_are_refused(shown: Any) -> None:
    with pytest.raises(WrongUse, match="two columns of one name: a, a"):
        records.record("x", pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_outside_a_notebook_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    records.record("accuracy", 0.5)
    records.expect("fine", condition=False, detail="no")
    assert capsys.readouterr().out == "accuracy = 0.5\nFAILED: fine (no)\n"
