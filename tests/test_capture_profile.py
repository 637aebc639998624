from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdeploy.capture.columns import column_values, columns_of
from nbdeploy.capture.counts import Bins, Tally, counts_of
from nbdeploy.capture.profile import Profile, profile
from nbdeploy.runtime.manifest import Column, Schema

NUMBERS = st.one_of(st.none(), st.floats(), st.integers(-(10**6), 10**6))
VALUES = {
    "number": NUMBERS,
    "integer": st.one_of(st.none(), st.integers(-(2**62), 2**62)),
    "category": st.one_of(st.none(), st.sampled_from(["a", "b", "c", "d"]), st.text(max_size=2)),
    "boolean": st.one_of(st.none(), st.booleans()),
    "text": st.one_of(st.none(), st.text(max_size=40)),
    "any": st.one_of(st.none(), st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2)),
}


def frame(rows: int = 300) -> pd.DataFrame:
    random = np.random.default_rng(0)
    made = pd.DataFrame(
        {
            "age": random.normal(40, 12, rows),
            "children": random.integers(0, 5, rows),
            "island": random.choice(["Dream", "Biscoe", "Torgersen"], rows),
            "when": pd.date_range("2026-01-01", periods=rows, freq="h"),
            "note": ["x" * (number % 30) for number in range(rows)],
            "member": random.random(rows) > 0.5,
        }
    )
    made.loc[::7, "age"] = np.nan
    made.loc[::11, "island"] = None
    return made


SCHEMA = Schema(
    container="frame",
    library="pandas",
    columns=(
        Column("age", "number", "float64"),
        Column("children", "integer", "int64"),
        Column("island", "category", "str", categories=("Dream", "Biscoe", "Torgersen", "Never")),
        Column("when", "datetime", "datetime64[us]"),
        Column("note", "text", "str"),
        Column("member", "boolean", "bool"),
    ),
)


@given(st.data())
@settings(max_examples=150)
@pytest.mark.slow
def test_merged_parts_equal_the_whole(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(VALUES)))
    training = data.draw(st.lists(VALUES[kind], min_size=1, max_size=30))
    served = data.draw(st.lists(VALUES[kind], max_size=30))
    cut = data.draw(st.integers(0, len(served)))
    bins = counts_of(kind, training, None)
    left, right = bins.counted(served[:cut]), bins.counted(served[cut:])
    whole: Any = bins.counted(served)
    assert left.merged(right) == whole == right.merged(left)
    assert whole.total == len(served)
    assert bins.total == len(training)
    json.dumps(whole.__dict__, allow_nan=False)


def test_a_profile_of_frames_merges_as_a_whole_and_survives_json() -> None:
    rows = frame()
    made = profile(rows, SCHEMA, target=rows["children"], predictions=rows["children"].tolist())
    text = json.dumps(made, allow_nan=False)
    read = Profile.from_dict(json.loads(text))
    assert json.loads(json.dumps(read.to_dict())) == json.loads(text)
    parts = [
        read.counted(rows.iloc[start : start + 50], target=rows["children"].iloc[start : start + 50])
        for start in range(0, 300, 50)
    ]
    whole = read.counted(rows, target=rows["children"])
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merged(part)
    assert merged == whole
    assert whole.columns == read.columns
    assert whole.rows == read.rows == 300


class Label(str):
    """Of a column; counts how often any of them is read."""

    __slots__ = ()
    read = 0

    def __str__(self) -> str:
        Label.read += 1
        return super().__str__()


def test_the_labels_of_a_frame_are_read_once_and_not_once_for_each_column() -> None:
    names = [f"c{number}" for number in range(100)]
    rows = pd.DataFrame([[1.0] * 100, [2.0] * 100], columns=names)
    schema = Schema("frame", tuple(Column(name, "number", "float64") for name in names))
    read = Profile.from_dict(profile(rows, schema))
    rows.columns = pd.Index([Label(name) for name in names], dtype=object)
    Label.read = 0
    assert read.counted(rows).columns == read.columns
    assert Label.read == len(names)


def test_of_two_labels_that_read_alike_the_first_is_the_column() -> None:
    rows = pd.DataFrame([[1.0, 2.0]], columns=pd.Index(["1", 1], dtype=object))
    assert column_values(rows, "1").tolist() == columns_of(rows)("1").tolist() == [1.0]


def test_each_kind_is_counted_in_its_own_way() -> None:
    found = Profile.from_dict(profile(frame(), SCHEMA))
    age, island, when, note, member = (found.columns[name] for name in ("age", "island", "when", "note", "member"))
    assert isinstance(age, Bins)
    assert age.missing == 43
    assert sum(count > 0 for count in age.counts) >= 19
    assert isinstance(island, Tally)
    assert set(island.seen) == {"Dream", "Biscoe", "Torgersen", "Never"}
    assert island.missing == 28
    assert isinstance(when, Bins)
    assert when.low == pd.Timestamp("2026-01-01").timestamp()
    assert isinstance(note, Bins)
    assert (note.low, note.high) == (0.0, 29.0)
    assert isinstance(member, Tally)
    assert set(member.seen) == {True, False}
    assert found.target is None
    assert all(counts.total == 300 for counts in found.columns.values())


def test_values_far_outside_the_training_range_land_in_the_tails() -> None:
    bins = counts_of("number", list(range(100)), None)
    assert isinstance(bins, Bins)
    served = bins.counted([-(10.0**9), 50.0, 10.0**9, float("inf"), float("-inf")])
    assert served.counts[0] == 2
    assert served.counts[-1] == 2
    assert sum(bins.counts[-5:]) == 0


def test_a_value_on_an_edge_belongs_to_the_bin_above() -> None:
    assert Bins("number", (1.0, 2.0), ()).counted([0.5, 1.0, 1.5, 2.0, 2.5, None]).counts == (1, 2, 2)


def test_unseen_values_are_other() -> None:
    seen = counts_of("category", ["a", "b", "a", None], None)
    served = seen.counted(["a", "z", "z", None])
    assert isinstance(served, Tally)
    assert (served.seen, served.counts, served.other, served.missing) == (("a", "b"), (1, 0), 2, 1)


def test_counts_over_other_bins_are_not_merged() -> None:
    with pytest.raises(ValueError, match="cannot be merged"):
        counts_of("number", [1, 2], None).merged(counts_of("number", [1, 3], None))
    with pytest.raises(ValueError, match="cannot be merged"):
        counts_of("category", ["a"], None).merged(counts_of("category", ["b"], None))


@pytest.mark.parametrize(
    ("rows", "schema"),
    [
        (np.arange(12.0).reshape(6, 2), Schema("array", dtype="float64", shape=(2,))),
        (np.zeros((4, 8, 8)), Schema("array", dtype="float64", shape=(8, 8))),
        (["a", "bb"], Schema("texts", columns=(Column("value", "text", "str"),))),
        (pd.Series(["a", "bb"]), Schema("series", columns=(Column("value", "text", "str"),))),
        (
            [{"a": 1}, {"b": 2}],
            Schema("records", columns=(Column("a", "integer", "int"), Column("b", "integer", "int"))),
        ),
        (
            pl.DataFrame({"a": [1, None], "b": ["x", None]}),
            Schema(
                "frame", library="polars", columns=(Column("a", "integer", "Int64"), Column("b", "category", "String"))
            ),
        ),
        (
            pd.DataFrame({"a": pd.Categorical(["x", None]), "b": pd.array([1, None], dtype="Int64")}),
            Schema("frame", columns=(Column("a", "category", "category"), Column("b", "integer", "Int64"))),
        ),
    ],
    ids=["matrix", "images", "texts", "series", "records", "polars", "nullable"],
)
def test_every_container_has_a_profile(rows: Any, schema: Schema) -> None:
    found = Profile.from_dict(json.loads(json.dumps(profile(rows, schema), allow_nan=False)))
    assert found.columns
    assert found.rows == len(rows)
    assert found.counted(rows).columns == found.columns


def test_nullable_and_polars_nulls_are_missing() -> None:
    rows = pl.DataFrame({"a": [1, None], "b": ["x", None]})
    schema = Schema("frame", columns=(Column("a", "integer", "Int64"), Column("b", "category", "String")))
    found = Profile.from_dict(profile(rows, schema))
    assert [counts.missing for counts in found.columns.values()] == [1, 1]


@pytest.mark.parametrize("target", [["a", "b"], [1, 2], [0.5, 1.5], [[1, 2], [3, 4]], np.array([True, False]), []])
def test_targets_of_any_kind_are_counted_or_left_out(target: Any) -> None:
    found = profile(
        [1.0, 2.0], Schema("values", columns=(Column("value", "number", "float"),)), target=target, predictions=target
    )
    json.dumps(found, allow_nan=False)
    assert found["target"] == found["predictions"]
    assert (found["target"] is None) == (len(target) == 0 or isinstance(target[0], list))


def test_a_target_may_be_named_as_a_column() -> None:
    assert profile(frame(), SCHEMA, target="children")["target"]["kind"] == "category"


def test_a_large_sample_is_thinned() -> None:
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(1_000_001, 2)), columns=list("ab"))
    schema = Schema("frame", columns=tuple(Column(name, "number", "float64") for name in rows.columns))
    found = profile(rows, schema)
    assert 90_000 < found["rows"] <= 100_000


def test_values_of_another_type_are_counted_apart_from_missing_ones() -> None:
    bins = counts_of("number", [1.0, 2.0, 3.0], None)
    served = bins.counted([1.0, "many", [2], {"a": 1}, "Infinity", "NaN", None, float("nan")])
    assert isinstance(served, Bins)
    assert (sum(served.counts), served.odd, served.missing, served.total) == (2, 3, 3, 8)
    assert served.merged(served).odd == 6
    times = counts_of("datetime", ["2026-01-01"], None).counted(["2026-01-02", "soon", None])
    assert isinstance(times, Bins)
    assert (times.odd, times.missing) == (1, 1)


def test_bins_know_the_spread_and_the_centres_of_the_training_values() -> None:
    values: Any = np.random.default_rng(0).normal(5, 2, 1_000)
    bins = counts_of("number", values, None)
    assert isinstance(bins, Bins)
    assert bins.scale == pytest.approx(values.std())
    assert sum(n * (c or 0) for n, c in zip(bins.counts, bins.centres, strict=True)) == pytest.approx(values.sum())
    served = bins.counted([1e9])
    assert (served.scale, served.centres) == (bins.scale, bins.centres)
    assert counts_of("number", values[::-1], None) == bins
    json.dumps(counts_of("number", [1e308, -1e308, 1e308], None).__dict__, allow_nan=False)
