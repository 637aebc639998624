"""What the log's policy leaves of a row, and of a request."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdeploy.runtime.manifest import Column, Schema
from nbdeploy.runtime.policy import WORDS, Policy, bucket, default, hashed, step

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "ab" * 32
FRAME = Schema(
    "frame",
    (
        Column("age", "integer", "int64"),
        Column("born", "datetime", "datetime64[us]"),
        Column("email", "text", "str"),
        Column("height", "number", "float64"),
    ),
    library="pandas",
    keys=("customer",),
)
ROW = {"age": 41, "born": "1984-05-06T07:08:09Z", "email": "ada@example.org", "height": 1.7}
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


def of(**columns: str) -> Callable[[Any], Any]:
    change = Policy(columns, {"height": (1.0, 1.5, 2.0)}, secret=SECRET).rows(FRAME)
    assert change is not None
    return change


def test_a_policy_that_says_nothing_keeps_all() -> None:
    assert Policy().keeps_all
    assert Policy().rows(FRAME) is None
    assert Policy({"other": "drop"}).rows(FRAME) is None


def test_each_word_does_what_it_says() -> None:
    kept = of(age="bucket", born="bucket", email="hash", height="bucket")(ROW)
    assert kept == {
        "age": 20,
        "born": "1984-05-06",
        "email": hashed(bytes.fromhex(SECRET), ROW["email"]),
        "height": 1.5,
    }
    assert of(email="drop")(ROW) == {name: value for name, value in ROW.items() if name != "email"}


def test_the_row_itself_stays_as_it_is() -> None:
    row = dict(ROW)
    of(age="bucket", email="drop")(row)
    assert row == ROW


def test_rows_that_are_lists_or_single_values_have_null_for_what_is_dropped() -> None:
    columns = tuple(Column(str(place), "number", "float64", place) for place in range(3))
    array = Schema("array", columns, library="numpy", dtype="float64", shape=(3,))
    change = Policy({"1": "drop"}).rows(array)
    assert change is not None
    assert change([1.0, 2.0, 3.0]) == [1.0, None, 3.0]
    texts = Schema("texts", (Column("value", "text", "object"),))
    dropped = Policy(default(texts)).rows(texts)
    assert dropped is not None
    assert dropped("a secret") is None


def test_free_text_alone_is_dropped_by_default() -> None:
    assert default(FRAME) == {"email": "drop"}


def test_keys_follow_the_policy() -> None:
    assert Policy({"age": "drop"}).keys(FRAME) is None
    change = Policy({"customer": "hash"}, secret=SECRET).keys(FRAME)
    assert change is not None
    assert change({"customer": 7}) == change({"customer": "7"}) == change({"customer": 7.0})
    assert change({"customer": 7}) != change({"customer": 8})
    assert change({"customer": None}) == {"customer": None}
    assert change({}) == {}


@given(SCALARS, SCALARS)
def test_hashes_are_equal_where_texts_are_and_tell_nothing_without_the_secret(a: Any, b: Any) -> None:
    one, other = b"1" * 32, b"2" * 32
    if a is None:
        assert hashed(one, a) is None
        return
    assert hashed(one, a) != hashed(other, a)
    if b is not None and str(a) == str(b):
        assert hashed(one, a) == hashed(one, b)


@given(
    st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=20, unique=True).map(sorted),
    st.floats(allow_nan=False) | st.integers(-(10**12), 10**12),
)
def test_a_bucket_is_in_the_bin_of_its_number(edges: list[float], value: float) -> None:
    found = bucket(edges)(value)
    assert bisect_right(edges, found) == bisect_right(edges, value)
    assert type(found) is type(value)
    assert found <= value or found < edges[0]


@given(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False) | st.integers(-(10**300), 10**300))
def test_steps_are_ones_twos_and_fives_towards_zero(value: float) -> None:
    found = step(value)
    assert type(found) is type(value)
    assert abs(found) <= abs(value)
    assert math.copysign(1, found) == math.copysign(1, value)
    if type(value) is float and abs(value) > 1e-290:
        assert abs(found) > abs(value) / 2.6


@pytest.mark.parametrize("value", [None, "text", True, float("nan"), float("inf")])
def test_what_is_no_number_has_no_step(value: Any) -> None:
    assert step(value) is value
    assert value != value or bucket(None)(value) == value  # noqa: PLR0124  # NaN


@given(
    st.dictionaries(st.sampled_from(["age", "born", "email", "height"]), st.sampled_from(WORDS)),
    st.fixed_dictionaries({"age": SCALARS, "born": SCALARS, "email": SCALARS, "height": SCALARS}),
)
def test_whatever_is_sent_what_is_dropped_is_gone_and_what_is_kept_is_the_same(
    words: dict[str, str], row: dict[str, Any]
) -> None:
    change = Policy(words, secret=SECRET).rows(FRAME)
    kept = row if change is None else change(row)
    for name, value in row.items():
        word = words.get(name, "keep")
        assert (name in kept) is (word != "drop")
        if word == "keep":
            assert kept[name] is value
    json.dumps(kept)


def test_a_share_of_requests_is_sampled() -> None:
    some = Policy(sample=0.25)
    share = sum(some.sampled() for _ in range(20_000)) / 20_000
    assert 0.23 < share < 0.27  # 6.5 standard deviations
    assert all(Policy().sampled() for _ in range(100))
    assert not any(Policy(sample=0.0).sampled() for _ in range(100))


def test_a_log_says_what_lists_of_numbers_hold() -> None:
    def array(*kinds: str) -> Schema:
        columns = tuple(Column(str(place), kind, "float64", place) for place, kind in enumerate(kinds))
        return Schema("array", columns, library="numpy", shape=(len(kinds),))

    assert Policy().element(array("number", "integer")) == "number"
    assert Policy({"1": "drop"}).element(array("integer", "integer")) == "integer"
    assert Policy({"1": "hash"}).element(array("integer", "integer")) is None
    assert Policy().element(array("number", "text")) is None
    assert Policy().element(FRAME) is None
