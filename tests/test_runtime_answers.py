from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from bundles import assert_identical
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nbdeploy.runtime.answers import ModelFault, as_dict, decode, difference, dumps, encode, observe, same
from nbdeploy.runtime.comparison import tolerance_of
from nbdeploy.runtime.manifest import Output, _method


def travelled(value: Any, n: int, labels: Any = None, *, keyed: bool = True, **options: Any) -> Any:
    """Through the manifest's JSON and the reply's."""
    output = observe(value, n, labels, keyed=keyed)
    raw = {"name": "predict", "output": json.loads(dumps(as_dict(output)))}
    return decode(_method(raw).output, json.loads(dumps(encode(output, value, n))), **options)


@pytest.mark.parametrize(
    "value",
    [
        np.array([1.5, math.nan, math.inf, -math.inf, -0.0]),
        np.array([0.1, 0.2], dtype="float32"),
        np.array([0.1, math.nan], dtype="float16"),
        np.array([1, 2, 3]),
        np.array([255, 0], dtype="uint8"),
        np.array([2**64 - 1, 0], dtype="uint64"),
        np.array([True, False]),
        np.array(["Adelie", "Gentoo"]),
        np.array(["Adelie", "Gentoo"], dtype="<U20"),
        np.array(["Adelie", None, 1], dtype=object),
        np.array(["a", math.nan], dtype=object),
        np.array(["a", "b"], dtype=np.dtypes.StringDType()),
        np.array(["2024-01-01", "NaT"], dtype="datetime64[ns]"),
        np.array([1, 2], dtype="timedelta64[s]"),
        np.arange(6.0).reshape(2, 3),
        np.arange(12).reshape(2, 3, 2),
        np.array([["a", 1], ["b", 2]], dtype=object),
        np.array([[], []]),
        np.array([[1.5, 2.0], [3.0, 4.0]]).view(np.matrix),
        [1, 2],
        ["a", None],
        [1.5, math.nan],
        [{"label": "a", "score": 0.5}, {"label": "b", "score": 1.0}],
        [[1, 2], [3]],
        (np.array([1.0, 2.0]), np.array([[1, 2], [3, 4]])),
        scipy.sparse.csr_matrix(np.eye(3)),
        scipy.sparse.csc_array(np.eye(3, dtype="float32")),
        scipy.sparse.coo_matrix(np.eye(2, dtype="int64")),
        pd.DataFrame({"a": [1, 2], "b": ["x", "y"], 3: [0.5, math.nan]}),
        pd.DataFrame({"c": pd.Categorical(["x", "y"]), "d": pd.to_datetime(pd.Series(["2024-01-01", None]))}),
        pd.DataFrame([[1, 2], [3, 4]], columns=["same", "same"]),
        pd.Series([1.5, 2], name="score"),
        pd.Series(["a", None]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_model_returned_comes_back(value: Any) -> None:
    n = len(value[0]) if isinstance(value, tuple) else value.shape[0] if hasattr(value, "shape") else len(value)
    assert_identical(value, travelled(value, n))


def test_polars_answers_come_back() -> None:
    frame = pl.DataFrame({"a": [1, None], "b": ["x", "y"], "c": [0.5, math.nan]})
    assert travelled(frame, 2).equals(frame, null_equal=True)
    assert travelled(frame["a"], 2).equals(frame["a"], null_equal=True)


def test_probabilities_are_keyed_by_class_in_order() -> None:
    value = np.array([[0.2, 0.8], [1.0, 0.0]])
    output = observe(value, 2, ["yes", "no"])
    encoded = encode(output, value, 2)
    assert encoded == [{"yes": 0.2, "no": 0.8}, {"yes": 1.0, "no": 0.0}]
    assert list(encoded[0]) == ["yes", "no"]
    assert_identical(value, travelled(value, 2, ["yes", "no"]))


@pytest.mark.parametrize("labels", [[0, 1], [True, False], [np.float32(0.1), np.float32(0.7)], [1.0, 2.5], ["é", "😀"]])
def test_keys_are_the_text_of_the_class(labels: list[Any]) -> None:
    value = np.array([[0.25, 0.75]])
    assert list(encode(observe(value, 1, labels), value, 1)[0]) == [str(label) for label in labels]
    assert_identical(value, travelled(value, 1, labels))


def test_several_outputs_have_probabilities_each() -> None:
    value = [np.array([[0.2, 0.8], [0.5, 0.5]]), np.array([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])]
    labels = [["a", "b"], [1, 2, 3]]
    output = observe(value, 2, labels)
    assert encode(output, value, 2)[0] == [{"a": 0.2, "b": 0.8}, {"1": 0.1, "2": 0.2, "3": 0.7}]
    assert_identical(value, travelled(value, 2, labels))


def test_classes_of_one_text_are_refused() -> None:
    with pytest.raises(ModelFault, match="same text"):
        observe(np.array([[0.5, 0.5]]), 1, ["1", 1])


def test_a_frame_is_objects_or_lists() -> None:
    frame = pd.DataFrame({"a": [1], 2: ["x"]})
    assert encode(observe(frame, 1), frame, 1) == [{"a": 1, "2": "x"}]
    assert encode(observe(frame, 1, keyed=False), frame, 1) == [[1, "x"]]
    assert_identical(frame, travelled(frame, 1, keyed=False))


def test_a_frame_keeps_the_callers_index() -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=[5, 9])
    assert_identical(frame, travelled(frame, 2, index=frame.index))


def test_replies_are_strict_json() -> None:
    assert dumps({"a": [math.nan, math.inf, -math.inf, 1.5]}) == b'{"a":[null,"Infinity","-Infinity",1.5]}'
    assert dumps(["é"]) == '["é"]'.encode()
    assert json.loads(dumps(["\ud800"])) == ["\ud800"]


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        "ab",
        (item for item in [1, 2]),
        np.array(5),
        np.array([1, 2, 3]),
        np.array([1j, 2j]),
        np.array([b"a", b"b"]),
        np.array([object(), object()]),
        np.array([{1: 2}, {}], dtype=object),
        [1, 2, 3],
        [object(), 2],
        [1j, 2],
        (1, 2),
        (),
        ({}, {}),
        pd.Series([1]),
        pd.DataFrame({"a": pd.arrays.SparseArray([1, 2])}),
        pd.Series(pd.period_range("2024", periods=2)),
        scipy.sparse.csr_matrix(np.eye(3)),
        np.zeros((2, 70_000)),
        np.ma.array([1.0, 2.0], mask=[False, True]),
        {"a": [1, 2]},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_answer_two_rows_is_the_models_fault(value: Any) -> None:
    with pytest.raises(ModelFault):
        observe(value, 2)


@pytest.mark.parametrize(
    "value",
    [None, np.array([1.0]), np.array([[1.0, 2.0]] * 2), [1.0, 2.0], pd.Series([1.0, 2.0]), np.ma.array([1.0, 2.0])],
)
def test_an_answer_unlike_the_kernels_is_the_models_fault(value: Any) -> None:
    with pytest.raises(ModelFault):
        encode(observe(np.array([1.0, 2.0]), 2), value, 2)


def test_missing_values_among_integers_make_floats() -> None:
    output = Output("array", dtype="int64")
    assert_identical(np.array([1.0, math.nan]), decode(output, [1.0, None]))


@given(
    hnp.arrays(
        st.sampled_from(["float64", "float32", "int64", "uint8", "bool"]), hnp.array_shapes(max_dims=3, max_side=4)
    )
)
def test_any_array_comes_back(value: Any) -> None:
    found = travelled(value, len(value))
    assert (found.dtype, found.shape) == (value.dtype, value.shape)
    assert np.array_equal(found, value, equal_nan=value.dtype.kind == "f")


def test_differences_are_said_in_words() -> None:
    assert difference([{"a": 0.5}], [{"a": 0.5 + 1e-12}]) == ""
    assert difference(1, 1.0) == ""
    assert difference([{"a": 0.5}], [{"a": 0.6}]) == "[0]: a: 0.5 in the kernel, 0.6 here"
    assert "in the kernel" in difference("a", "b")
    assert "keys" in difference({"a": 1}, {"b": 1})
    assert "2 values" in difference([1, 2], [1])
    assert not same(True, 1)
    assert not same(None, 0.0)


def test_single_precision_is_compared_as_such() -> None:
    assert tolerance_of(observe(np.zeros(1, dtype="float32"), 1)) > tolerance_of(observe(np.zeros(1), 1))
