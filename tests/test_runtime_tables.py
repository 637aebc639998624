from __future__ import annotations

import contextlib
import json
from datetime import date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal as assert_polars_equal

from nbdeploy.capture.schema import infer
from nbdeploy.runtime import frames, tables, times
from nbdeploy.runtime.manifest import Column, Schema
from nbdeploy.runtime.schema import Contract

ZONE = "Europe/Berlin"


def through_json(schema: Schema, data: Any) -> Any:
    body = json.dumps({"rows": tables.rows_of(schema, data)}, allow_nan=False).encode()
    return tables.build(schema, Contract(schema).decode(body).rows)


def mixed_frame() -> pd.DataFrame:
    moments: Any = ["2024-01-01", None, "2024-03-31T01:30:00.123456", "1677-10-27T02:30:00"]
    days: Any = ["2024-01-01", None, "2024-01-02", "2024-01-01"]
    return pd.DataFrame(
        {
            "text": ["a", "b", None, "é😀"],
            "float": [1.5, None, np.inf, -0.0],
            "float32": np.array([0.1, 2, np.nan, 4], dtype="float32"),
            "float16": np.array([0.1, 2, 3, 4], dtype="float16"),
            "int8": np.array([1, -128, 127, 4], dtype="int8"),
            "uint64": np.array([0, 2**64 - 1, 1, 2], dtype="uint64"),
            "Int64": pd.array([1, None, 2**53 + 1, 3], dtype="Int64"),
            "Float64": pd.array([1.5, None, np.inf, 3.0], dtype="Float64"),
            "boolean": pd.array([True, None, False, True], dtype="boolean"),
            "bool": [True, False, True, True],
            "ordered": pd.Categorical(["x", "y", None, "x"], categories=["y", "x", "z"], ordered=True),
            "codes": pd.Categorical([3, 1, 1, 3]),
            "flags": pd.Categorical([True, False, None, True]),
            "days": pd.Series(pd.to_datetime(days)).astype("category"),
            "string": pd.array(["q", None, "r", ""], dtype="string"),
            "mixed": pd.Series([1, "a", None, 2.5], dtype=object),
            "none": pd.Series(["a", None, "b", "c"], dtype=object),
            "nan": pd.Series(["a", np.nan, "b", "c"], dtype=object),
            "yes": pd.Series([True, None, False, True], dtype=object),
            "moment": pd.to_datetime(moments, format="ISO8601").as_unit("ns"),
            "seconds": pd.to_datetime(["2024-01-01"] * 4).as_unit("s"),
            "zoned": pd.to_datetime(moments, format="ISO8601").tz_localize("UTC").tz_convert(ZONE),
            "span": pd.to_timedelta([1, None, -5, 10**15], unit="us"),
            7: [1, 2, 3, 4],
        }
    )


def test_a_frame_of_all_dtypes_comes_back_exactly() -> None:
    sample = mixed_frame()
    built = through_json(infer(sample), sample)
    pd.testing.assert_frame_equal(built, sample)
    assert list(map(type, built["mixed"])) == list(map(type, sample["mixed"]))
    assert built["none"][1] is None
    assert isinstance(built["nan"][1], float)
    assert isinstance(built.index, pd.RangeIndex)
    assert np.signbit(built["float"][3])


def test_a_slice_of_the_sample_keeps_its_dtypes() -> None:
    sample = mixed_frame()
    for place in (0, 3):
        part = sample.iloc[[place]]
        pd.testing.assert_frame_equal(through_json(infer(sample), part), part.reset_index(drop=True))


def test_no_rows_give_an_empty_table() -> None:
    sample = mixed_frame()
    pd.testing.assert_frame_equal(tables.build(infer(sample), []), sample.iloc[:0])


def test_the_ordinary_constructor_gives_the_same_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = mixed_frame()
    schema = infer(sample)
    rows = tables.rows_of(schema, sample)
    quick = tables.build(schema, rows)
    monkeypatch.setattr(frames, "_assembler", lambda: frames.from_columns)
    slow = frames.frame_builder(schema)(rows)
    pd.testing.assert_frame_equal(quick, slow)
    pd.testing.assert_frame_equal(quick, sample)


def test_frames_share_nothing() -> None:
    sample = pd.DataFrame({"a": [1.0], "b": ["x"]})
    schema = infer(sample)
    first = tables.build(schema, [{"a": 1.0, "b": "x"}])
    first.columns.name = "changed"
    first.loc[0, "a"] = 5.0
    assert tables.build(schema, [{"a": 1.0, "b": "x"}]).columns.name is None


@pytest.mark.parametrize("labels", [[0, 1], [3, 1], ["a", 1], [1.5, "b"], [True, "x"]])
def test_labels_keep_their_types(labels: list[Any]) -> None:
    sample = pd.DataFrame([[1.0, 2]], columns=labels)
    built = through_json(infer(sample), sample)
    pd.testing.assert_frame_equal(built, sample)
    assert list(map(type, built.columns)) == list(map(type, sample.columns))


def test_a_null_gives_what_pandas_has() -> None:
    sample = pd.DataFrame({"n": np.array([1, 2], dtype="int8"), "x": [1.0, 2.0], "b": [True, False]})
    built = tables.build(infer(sample), [{"n": None, "x": 1.0, "b": None}, {"n": 2, "x": 2.0, "b": True}])
    assert built.dtypes.astype(str).tolist() == ["float64", "float64", "object"]
    assert np.isnan(built.loc[0, "n"])
    assert built.loc[0, "b"] is None


def test_an_unseen_category_joins_the_categories() -> None:
    sample = pd.DataFrame({"c": pd.Categorical(["a", "b"])})
    built = tables.build(infer(sample), [{"c": "new"}, {"c": "b"}])
    assert built["c"].tolist() == ["new", "b"]
    assert built["c"].cat.categories.tolist() == ["a", "b", "new"]


@pytest.mark.parametrize(
    "sample",
    [
        np.arange(6.0).reshape(3, 2),
        np.array([[1.0, np.nan], [np.inf, -np.inf]]),
        np.arange(6, dtype="float32").reshape(3, 2) / 3,
        np.arange(6, dtype="uint8").reshape(3, 2),
        np.arange(6).reshape(3, 2) > 2,
        np.arange(12.0).reshape(3, 2, 2),
        np.arange(24, dtype="int16").reshape(3, 2, 2, 2),
        np.arange(3.0),
        np.array(["a", "bcd"]),
        np.array([["a", "bcd"], ["é", ""]]),
        np.array([["a", 1.0], ["é", None]], dtype=object),
        np.array([["a", 1.0], ["é", np.nan]], dtype=object),
        np.array(["2024", "2025"], dtype="datetime64[D]"),
        np.array([[1, 2]], dtype="timedelta64[ms]"),
        np.zeros((2, 300)),
    ],
)
def test_arrays_come_back_exactly(sample: Any) -> None:
    built = through_json(infer(sample), sample)
    assert (built.dtype, built.shape) == (sample.dtype, sample.shape)
    if sample.dtype.kind in "fiu":
        assert np.array_equal(built, sample, equal_nan=sample.dtype.kind == "f")
    else:
        assert repr(built.tolist()) == repr(sample.tolist())


def test_texts_longer_than_the_samples_are_not_cut() -> None:
    schema = infer(np.array([["ab"], ["c"]]))
    assert tables.build(schema, [["abcdef"]]).tolist() == [["abcdef"]]


@pytest.mark.parametrize(
    "sample",
    [
        ["a", "b"],
        [1, 2.5, None],
        [{"a": 1, "b": "x"}, {"a": None, "b": "y"}],
        [{1: True, "b": 2.0}],
        [[1, 2], [3, 4]],
        [(1, "a"), (2, "b")],
        [1.5, float("inf")],
    ],
)
def test_lists_come_back_exactly(sample: list[Any]) -> None:
    built = through_json(infer(sample), sample)
    assert built == sample
    assert repr(built) == repr(sample)


@pytest.mark.parametrize(
    "sample",
    [
        pd.Series([1.5, 2], name="q"),
        pd.Series(["a", "b"]),
        pd.Series(["a", None], dtype=object),
        pd.Series(pd.Categorical(["a", "b"])),
        pd.Series([1, None], dtype="Int64"),
    ],
)
def test_series_come_back_exactly(sample: Any) -> None:
    pd.testing.assert_series_equal(through_json(infer(sample), sample), sample)


def test_a_polars_frame_comes_back_exactly() -> None:
    days = pl.Series(["2024-01-01", "2024-07-01", None])
    sample = pl.DataFrame(
        {
            "a": [1, None, 3],
            "f": [1.5, float("nan"), None],
            "f32": pl.Series([0.1, float("inf"), None], dtype=pl.Float32),
            "s": ["a", None, "b"],
            "c": pl.Series(["a", None, "b"], dtype=pl.Categorical),
            "e": pl.Series(["a", None, "b"], dtype=pl.Enum(["b", "a", "z"])),
            "d": days.str.to_datetime(time_unit="ms"),
            "z": days.str.to_datetime(time_unit="ns", time_zone=ZONE),
            "u": pl.Series([1, 2, 3], dtype=pl.UInt8),
            "date": days.str.to_date(),
            "span": pl.Series([1, -2, None], dtype=pl.Duration("us")),
            "b": [True, None, False],
        }
    )
    assert_polars_equal(through_json(infer(sample), sample), sample)
    assert tables.build(infer(sample), []).schema == sample.schema


def test_a_polars_series_comes_back_exactly() -> None:
    sample = pl.Series("q", [1, 2, None])
    built = through_json(infer(sample), sample)
    assert built.equals(sample, null_equal=True)
    assert (built.name, built.dtype) == ("q", sample.dtype)


def test_rows_of_takes_other_containers_and_orders() -> None:
    sample = pd.DataFrame({"n": [1, 2], "x": [0.5, 1.0], "t": ["a", "b"]})
    schema = infer(sample)
    expected = [{"n": 1, "x": 0.5, "t": "a"}, {"n": 2, "x": 1.0, "t": "b"}]
    assert tables.rows_of(schema, sample[["t", "x", "n"]]) == expected
    assert tables.rows_of(schema, sample.to_dict("records")) == expected
    assert tables.rows_of(schema, pl.DataFrame(sample.to_dict("list"))) == expected
    assert tables.rows_of(schema, sample.to_numpy()) == expected
    assert list(tables.rows_of(schema, sample[["t", "x", "n"]])[0]) == ["n", "x", "t"]


def test_rows_of_makes_integers_of_floats_that_missing_values_made() -> None:
    schema = infer(pd.DataFrame({"n": [1, 2]}))
    rows = tables.rows_of(schema, pd.DataFrame({"n": [1.0, np.nan]}))
    assert repr(rows) == "[{'n': 1}, {'n': None}]"


def test_rows_of_leaves_unknown_and_missing_columns_to_the_service() -> None:
    schema = infer(pd.DataFrame({"n": [1], "x": [0.5]}))
    assert tables.rows_of(schema, pd.DataFrame({"N": [1], "x": [0.5]})) == [{"x": 0.5, "N": 1}]


def test_rows_of_an_array_of_another_shape_says_so() -> None:
    schema = infer(pd.DataFrame({"n": [1], "x": [0.5]}))
    with pytest.raises(ValueError, match="2 columns"):
        tables.rows_of(schema, np.zeros((2, 3)))


def test_rows_of_nested_data_is_refused() -> None:
    schema = infer([{"a": 1}])
    with pytest.raises(TypeError, match="no JSON form"):
        tables.rows_of(schema, [{"a": {1, 2}}])


NUMBERS = {
    "float64": st.floats(allow_nan=False),
    "float32": st.floats(width=32, allow_nan=False),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint8": st.integers(0, 255),
    "bool": st.booleans(),
    "Int32": st.none() | st.integers(-(2**31), 2**31 - 1),
    "boolean": st.none() | st.booleans(),
    "str": st.none() | st.text(st.characters(codec="utf-8"), max_size=8),
    "string": st.none() | st.text(st.characters(codec="utf-8"), max_size=8),
    "object": st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(st.characters(codec="utf-8"), max_size=4),
    "datetime64[ns]": st.integers(-(2**63) + 1, 2**63 - 1).map(lambda count: np.datetime64(count, "ns")),
    "timedelta64[us]": st.integers(-(2**62), 2**62).map(lambda count: np.timedelta64(count, "us")),
}


@st.composite
def any_frame(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(1, 5))
    names = draw(st.lists(st.text(st.characters(codec="utf-8"), max_size=6), min_size=1, max_size=5, unique=True))
    columns = {}
    for name in names:
        dtype = draw(st.sampled_from(sorted(NUMBERS)))
        values = draw(st.lists(NUMBERS[dtype], min_size=rows, max_size=rows))
        columns[name] = pd.Series(values, dtype=dtype)
    return pd.DataFrame(columns)


@given(any_frame())
def test_any_frame_comes_back_exactly(sample: pd.DataFrame) -> None:
    built = through_json(infer(sample), sample)
    pd.testing.assert_frame_equal(built, sample)
    for name in sample.columns:
        assert list(map(type, built[name])) == list(map(type, sample[name]))


@given(st.integers(-(2**63) + 1, 2**63 - 1), st.sampled_from(["ns", "us", "ms", "s"]))
def test_durations_are_exact(count: int, unit: str) -> None:
    assert times.duration(times.duration_text(count, unit), unit) == count


@pytest.mark.parametrize("zone", [None, ZONE])
def test_records_hold_what_a_frame_holds(zone: str | None) -> None:
    texts: Any = ["2024-01-01T02:03:04.000000005", None]
    moments = pd.to_datetime(texts, format="ISO8601").as_unit("ns").tz_localize(zone)
    spans = pd.to_timedelta([1, None], unit="us")
    frame = pd.DataFrame({"moment": moments, "span": spans, "n": pd.array([1, None], dtype="Int64"), "x": [0.5, None]})
    rows = tables.rows_of(infer(frame), frame)
    assert tables.rows_of(infer(frame), frame.to_dict("records")) == rows
    assert rows[1] == dict.fromkeys(frame.columns)


def test_python_s_own_times_are_taken() -> None:
    zone = timezone(timedelta(hours=2))
    assert tables.rows_of(
        Schema("values", (Column("value", "datetime", "datetime64[us]"),)),
        [date(2024, 1, 2), datetime(2024, 1, 2, 3, 4), datetime(2024, 1, 2, 3, 4, tzinfo=zone), timedelta(days=1)],  # noqa: DTZ001
    ) == ["2024-01-02", "2024-01-02T03:04:00", "2024-01-02T01:04:00Z", "P1DT0H0M0S"]


@given(st.text(max_size=30))
def test_times_of_any_text_are_values_or_value_errors(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(times.moment(text, "ns", aware=False), int)
    with contextlib.suppress(ValueError):
        assert isinstance(times.duration(text, "ns"), int)


def test_a_frame_of_numbers_and_texts_is_built_from_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pd.DataFrame(...)` takes longer than all the rest of a request."""
    pytest.importorskip("pandas.api.internals", reason="pandas 2 has no such door")
    columns = (
        Column("a", "category", "str"),
        Column("b", "category", "str"),
        *(Column(f"x{i}", "number", "float64") for i in range(5)),
    )
    build = tables.builder_of(Schema("frame", columns, library="pandas"))
    assert tables.builder_of(Schema("frame", columns, library="pandas")) is build

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the ordinary constructor was used")

    monkeypatch.setattr(pd.DataFrame, "__init__", refuse)
    built = build([{"a": "x", "b": "y", **{f"x{i}": 1.0 for i in range(5)}}])
    assert built.shape == (1, 7)
