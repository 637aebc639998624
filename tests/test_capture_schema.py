from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse

from nbdeploy.capture.schema import infer, without_keys
from nbdeploy.errors import UnsupportedData, WrongUse
from nbdeploy.runtime.manifest import Column, Schema


def column(values: Any, name: str = "c") -> Column:
    return infer(pd.DataFrame({name: values})).columns[0]


def test_a_frame_is_described_column_by_column() -> None:
    sample = pd.DataFrame(
        {"island": ["Dream", "Biscoe", "Dream"], "mass": [3750.0, np.nan, 4200.5], "year": [2007, 2008, 2009]}
    )
    assert infer(sample) == Schema(
        "frame",
        (
            Column("island", "category", infer(sample).columns[0].dtype, categories=("Biscoe", "Dream")),
            Column("mass", "number", "float64", low=3750.0, high=4200.5, nullable=True, missing=True),
            Column("year", "integer", "int64", low=2007, high=2009),
        ),
        library="pandas",
    )


@pytest.mark.parametrize(
    ("values", "kind", "dtype"),
    [
        (np.array([1, 2], dtype="int8"), "integer", "int8"),
        (np.array([1, 2], dtype=">i4"), "integer", "int32"),
        (np.array([1, 2], dtype="float32"), "number", "float32"),
        ([True, False], "boolean", "bool"),
        (pd.array([1, None], dtype="Int64"), "integer", "Int64"),
        (pd.array([True, None], dtype="boolean"), "boolean", "boolean"),
        (pd.array([1.5, None], dtype="Float32"), "number", "Float32"),
        (pd.Categorical([1, 2]), "category", "category[int64]"),
        (pd.to_datetime(["2024-01-01"]), "datetime", "datetime64[us]"),
        (pd.to_datetime(["2024-01-01"]).tz_localize("UTC"), "datetime", "datetime64[us, UTC]"),
        (pd.to_timedelta([1, 2], unit="s").as_unit("s"), "timedelta", "timedelta64[s]"),
        (pd.Series(["a", 1], dtype=object), "any", "object"),
        (pd.Series([1, None], dtype=object), "integer", "object"),
        (pd.Series([None, None], dtype=object), "any", "object"),
        (pd.Series([f"text {place}" for place in range(200)]), "text", "str"),
        (pd.array(["a"], dtype="string[python]"), "category", "string[python]"),
    ],
)
def test_kinds_and_dtypes(values: Any, kind: str, dtype: str) -> None:
    found = column(values)
    assert (found.kind, found.dtype) == (kind, dtype)


def test_categoricals_keep_all_their_categories_in_order() -> None:
    found = column(pd.Categorical(["x", None], categories=["y", "x", "z"], ordered=True))
    assert (found.categories, found.ordered, found.unseen, found.missing) == (("y", "x", "z"), True, False, True)


def test_infinities_are_noted_and_kept_out_of_the_range() -> None:
    found = column([1.0, np.inf, np.nan, -2.0])
    assert (found.low, found.high, found.nonfinite, found.missing) == (-2.0, 1.0, True, True)


def test_what_a_missing_value_is_is_noted() -> None:
    assert column(pd.Series(["a", None], dtype=object)).null is None
    assert column(pd.Series(["a", np.nan], dtype=object)).null == "nan"
    assert column(pd.Series(["a", pd.NA], dtype=object)).null == "NA"
    assert column(pd.Series(["a", "b"], dtype=object)).null == "nan"
    assert infer([{"a": "x"}]).columns[0].null is None
    assert column([1.0, 2.0]).null is None


def test_labels_that_are_no_text_are_kept_beside_their_text() -> None:
    columns = infer(pd.DataFrame([[1, 2]], columns=[0, "b"])).columns
    assert [(item.name, item.label) for item in columns] == [("0", 0), ("b", None)]


@pytest.mark.parametrize(
    ("sample", "container", "shape"),
    [
        (np.zeros((2, 3)), "array", (3,)),
        (np.zeros((2, 3, 4)), "array", (3, 4)),
        (np.zeros(2), "array", ()),
        (pd.Series([1, 2]), "series", ()),
        (pl.Series([1, 2]), "series", ()),
        (pl.DataFrame({"a": [1]}), "frame", ()),
        ([{"a": 1}], "records", ()),
        (["a", "b"], "texts", ()),
        ([1, 2.5], "values", ()),
        ([[1, 2]], "array", (2,)),
    ],
)
def test_containers(sample: Any, container: str, shape: tuple[int, ...]) -> None:
    schema = infer(sample)
    assert (schema.container, schema.shape) == (container, shape)


def test_wide_arrays_are_described_as_a_whole() -> None:
    assert len(infer(np.zeros((2, 256))).columns) == 256
    assert [item.name for item in infer(np.zeros((2, 257))).columns] == ["value"]


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")])), "several levels"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), 'a column "a" twice'),
        (pd.DataFrame([[1, 2]], columns=["1", 1]), "as text and as a number"),
        (pd.DataFrame([[1]], columns=[pd.Timestamp("2024")]), "labelled by a Timestamp"),
        (pd.DataFrame([[1]], columns=[np.nan]), "labelled by a float"),
        (pd.DataFrame([[1]], columns=pd.Index(["\ud800"], dtype=object)), "not valid Unicode"),
        (pd.DataFrame({"a": [1j]}), "complex128"),
        (pd.DataFrame({"a": [decimal.Decimal(1)]}), "Decimal"),
        (pd.DataFrame({"a": [dt.date(2024, 1, 1)]}), r"pandas.to_datetime\(X\['a'\]\)"),
        (pd.DataFrame({"a": [[1, 2]]}), "list objects"),
        (pd.DataFrame({"a": [{"b": 1}]}), "dict objects"),
        (pd.DataFrame({"a": [b"x"]}), "bytes"),
        (pd.DataFrame({"a": ["x", None, np.nan]}, dtype=object), "several ways"),
        (pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}), "sparse.to_dense"),
        (pd.DataFrame({"a": pd.cut([1, 2, 3], 2)}), "astype"),
        (pd.DataFrame({"a": pd.period_range("2024", periods=2)}), "to_timestamp"),
        (pd.DataFrame({"a": np.array(["0001-01-01", "20000-01-01"], dtype="datetime64[s]")}), "years from 1 to 9999"),
        (pd.DataFrame(), "no rows"),
        (pd.DataFrame({"a": []}), "no rows"),
        (pd.DataFrame(index=[1, 2]), "no columns"),
        (pl.DataFrame({"a": [[1]]}), "no JSON form"),
        (pl.DataFrame({"a": [1]}).lazy(), "collect"),
        (np.zeros((2, 0)), "no columns"),
        (np.array(5), "single number"),
        (np.zeros(2, dtype="complex64"), "complex64"),
        (np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]), "array of"),
        (np.ma.masked_array([1, 2]), "asarray"),
        (scipy.sparse.csr_matrix(np.eye(2)), "pipeline that makes it"),
        ([], "no rows"),
        ([{"a": 1}, {"b": 1}], "other keys in record 1"),
        ([[1], [1, 2]], "different lengths"),
        ([[1], (1,)], "mixes lists and tuples"),
        ([[[1]]], "lists inside"),
        ([{"a": {1}}], "set objects"),
        ({"a": 1}, "is a dict"),
        ("text", "is a str"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_what_to_do(sample: Any, words: str) -> None:
    with pytest.raises(UnsupportedData, match=words) as caught:
        infer(sample)
    assert caught.value.advice


def test_keys_are_no_columns() -> None:
    sample = pd.DataFrame({"id": [1, 2], "x": [0.5, 1.0]})
    schema = infer(sample, keys=["id", "batch"])
    assert [item.name for item in schema.columns] == ["x"]
    assert schema.keys == ("id", "batch")
    assert list(without_keys(sample, schema.keys)) == ["x"]
    assert without_keys([{"id": 1, "x": 2}], ("id",)) == [{"x": 2}]
    assert without_keys(pl.DataFrame({"id": [1], "x": [2]}), ("id",)).columns == ["x"]


def test_keys_need_named_columns() -> None:
    with pytest.raises(WrongUse, match="--keys"):
        infer(np.zeros((2, 2)), keys=["id"])
