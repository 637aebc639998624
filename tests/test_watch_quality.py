from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdeploy.capture.profile import Profile, profile
from nbdeploy.runtime.manifest import Column, Schema
from nbdeploy.watch import distinct
from nbdeploy.watch.distinct import Distinct
from nbdeploy.watch.quality import quality
from nbdeploy.watch.window import Window

SCHEMA = Schema(
    "frame",
    (
        Column("age", "number", "float64"),
        Column("island", "category", "str"),
        Column("since", "datetime", "datetime64[us]"),
        Column("note", "text", "str"),
    ),
)


def people(rows: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": np.linspace(20, 60, rows),
            "island": ["Dream", "Biscoe"] * (rows // 2),
            "since": pd.date_range("2026-01-01", periods=rows, freq="h"),
            "note": ["x" * (place % 7) for place in range(rows)],
        }
    )


REFERENCE = Profile.from_dict(profile(people(100), SCHEMA))


def test_what_is_wrong_is_counted_by_column() -> None:
    age: Any = [19.9, 20.0, 60.0, 60.1, 1e9, None, "old", float("inf")]
    rows = pd.DataFrame({"age": age, "island": ["Dream"] * 5 + ["Anvers", "anvers", None], "note": ["long"] * 8})
    found = quality(REFERENCE, Window(REFERENCE.counted(rows)), refused={"age": 2, "note": 1})
    age_found, island = found["age"], found["island"]
    assert (age_found.below, age_found.above, age_found.missing, age_found.odd) == (1, 3, 1, 1)
    assert (island.unseen, island.missing, island.wrong) == (2, 1, 3)
    assert found["note"].constant is False  # the text "long" has one length, which is another thing than one value
    assert found["since"].rows == 0
    assert [column.refused for column in found.columns] == [2, 0, 0, 1]
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_column_that_became_constant_is_told() -> None:
    rows = people(50).assign(age=33.0, island="Dream")
    found = quality(REFERENCE, Window(REFERENCE.counted(rows)))
    assert [column.name for column in found.columns if column.constant] == ["age", "island"]
    assert not quality(REFERENCE, Window(REFERENCE.counted(people(50))))["age"].constant


def test_values_are_not_called_unseen_where_the_list_of_them_was_cut() -> None:
    many = pd.DataFrame({"age": 1.0, "island": [f"i{place}" for place in range(80)] * 2, "note": "", "since": None})
    reference = Profile.from_dict(profile(many, SCHEMA))
    assert quality(reference, Window(reference.counted(many)))["island"].unseen is None


def test_duplicates_are_counted_over_batches() -> None:
    rows = people(100)
    counted = Distinct().counted(rows).counted(rows.iloc[:30]).counted(pd.DataFrame({"a": [[1], [1]]}))
    assert (counted.rows, counted.count, counted.duplicates, counted.exact) == (132, 101, 31, True)
    found = quality(REFERENCE, Window(REFERENCE.counted(rows)), duplicates=counted.duplicates)
    assert found.duplicates == 31


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(0, 60))
@settings(max_examples=30)
def test_distinct_rows_of_parts_are_those_of_the_whole(values: list[int], cut: int) -> None:
    def counted(part: list[int]) -> Distinct:
        return Distinct().counted(pd.DataFrame({"a": np.array(part, dtype=np.int64)}))

    left, right = counted(values[:cut]), counted(values[cut:])
    assert left.merged(right) == right.merged(left) == counted(values)
    assert counted(values).count == len(set(values))


def test_very_many_distinct_rows_are_counted_within_the_known_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "KEPT", 4_096)
    counted = Distinct().counted(pd.DataFrame({"a": np.arange(100_000) % 60_000}))
    assert not counted.exact
    assert counted.count == pytest.approx(60_000, rel=3 / 64)  # three standard errors of 1 / sqrt(4096)


@pytest.mark.slow
def test_a_million_rows_of_thirty_columns_are_counted_in_two_seconds_a_batch_at_a_time() -> None:
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {f"x{place}": random.normal(size=100_000) for place in range(24)}
    columns |= {f"c{place}": random.choice(["Dream", "Biscoe", "Torgersen"], 100_000) for place in range(6)}
    batch = pd.DataFrame(columns)
    kinds = [Column(name, "category" if name[0] == "c" else "number", "x") for name in batch.columns]
    reference = Profile.from_dict(profile(batch.iloc[:5_000], Schema("frame", tuple(kinds))))
    spent = time.process_time()
    found = reference.counted([])
    for _ in range(10):
        found = found.merged(reference.counted(batch))
    assert time.process_time() - spent < 2
    assert found.rows == 1_000_000
