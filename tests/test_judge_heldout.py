"""Held-out rows come back from their Parquet file as they went in; what cannot be written says why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbdeploy.capture.schema import infer
from nbdeploy.errors import NotFound, UnsupportedData, WrongUse
from nbdeploy.judge import heldout
from nbdeploy.judge.heldout import HeldOut, held_out

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow
TEXT = st.text(max_size=6)
CELLS: dict[str, Any] = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "int8": st.integers(-128, 127),
    "float64": st.floats(width=64),
    "float32": st.floats(width=32),
    "float16": st.floats(width=16),
    "bool": st.booleans(),
    "Int64": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    "boolean": st.one_of(st.none(), st.booleans()),
    "Float64": st.one_of(st.none(), st.floats(allow_nan=False)),
    "str": st.one_of(st.none(), TEXT),
    "string": st.one_of(st.none(), TEXT),
    "object": st.one_of(st.none(), TEXT),
    "category": st.one_of(st.none(), st.sampled_from(["a", "b=", ">= c", ""])),
    "datetime64[ns]": st.datetimes(min_value=pd.Timestamp("1680-01-01"), max_value=pd.Timestamp("2260-01-01")),
    "datetime64[us]": st.datetimes(),
    "datetime64[ns, Europe/Oslo]": st.datetimes(
        min_value=pd.Timestamp("1980-01-01"), max_value=pd.Timestamp("2100-01-01")
    ),
    "timedelta64[ns]": st.timedeltas(min_value=pd.Timedelta(days=-9000), max_value=pd.Timedelta(days=9000)),
}
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def column(dtype: str, cells: list[Any]) -> pd.Series:
    if "," in dtype:
        return pd.Series(pd.to_datetime(cells).tz_localize("UTC").tz_convert("Europe/Oslo"))
    if dtype == "object":
        array = np.empty(len(cells), dtype=object)
        array[:] = cells
        return pd.Series(array, dtype=object)
    return pd.Series(cells, dtype=dtype)


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(1, 5))
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    columns = []
    for _ in names:
        dtype = draw(st.sampled_from(sorted(CELLS)))
        columns.append(column(dtype, draw(st.lists(CELLS[dtype], min_size=rows, max_size=rows))))
    frame = pd.concat(columns, axis=1)
    frame.columns = pd.Index(names)
    return frame


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames(), st.booleans())
def test_a_frame_comes_back_with_the_same_values_and_dtypes(
    tmp_path: Path, frame: pd.DataFrame, labelled: bool
) -> None:
    file = tmp_path / "data.parquet"
    target = pd.Series([f"class {place}" for place in range(len(frame))], name="y") if labelled else None
    heldout.write(HeldOut(frame, target, "the target" if labelled else ""), file)
    back = heldout.read(file)
    pd.testing.assert_frame_equal(back.rows, frame)
    assert back.target_name == ("the target" if labelled else "")
    if target is not None:
        pd.testing.assert_series_equal(back.target, target)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if hasattr(a, "equals"):
        return bool(a.equals(b))
    return bool(a == b)


@pytest.mark.parametrize(
    ("rows", "target"),
    [
        (np.array([[1.5, np.nan], [np.inf, -0.0]]), np.array([0, 1])),
        (np.arange(12, dtype="int32").reshape(3, 2, 2), np.array(["a", "b", "c"])),
        (np.array([["a", "b"], ["ccc", ""]]), np.array([True, False])),
        ([{"a": 1, "b": None}, {"a": 2, "b": "x"}], ["no", "yes"]),
        (["a text", "an\0other", "with a lone \ud800"], np.array([1, 2, 3])),
        ([[1, "a"], [2, "b"]], [0.5, 1.5]),
        (pd.Series(["a", "b"], name="text"), pd.Series([1, 2], name="label")),
        (pl.DataFrame({"a": [1, None], "B": ["x", "y"]}), pl.Series("t", [0.1, 0.2])),
        (pd.DataFrame({0: [1, 2], 1: ["a", 2.5]}), np.array([[1.0, 2.0], [3.0, 4.0]])),
        (pd.DataFrame({"Age": [1, 2], "age": [3, 4], "AGE": [5, 6]}), None),
    ],
)
def test_every_container_comes_back(tmp_path: Path, rows: Any, target: Any) -> None:
    file = tmp_path / "it's data.parquet"
    heldout.write(HeldOut(rows, target, "" if target is None else "y"), file)
    back = heldout.read(str(file))
    assert type(back.rows) is type(rows)
    assert same(back.rows, rows)
    assert same(back.target, target)


PENGUINS = pd.DataFrame({"island": ["Dream", "Biscoe"], "mass": [3.5, 4.0], "species": ["Adelie", "Gentoo"]})
MODEL = infer(PENGUINS[["island", "mass"]])


@pytest.mark.parametrize("target", ["species", pd.Series(["x"], name="species")])
def test_the_target_is_a_column_of_the_data(target: Any) -> None:
    held = held_out(PENGUINS, target, schema=MODEL)
    assert list(held.rows) == ["island", "mass"]
    assert held.target_name == "species"
    assert list(held.target) == ["Adelie", "Gentoo"]


def test_the_bundle_knows_the_targets_name() -> None:
    assert held_out(PENGUINS, recorded="species", required=True).target_name == "species"
    assert held_out(PENGUINS[["mass"]], recorded="species").target is None


def test_the_label_of_x_and_y_never_hides_a_column() -> None:
    held = held_out((PENGUINS, pd.Series([1, 2], name="species")))
    assert held.target_name == "species_target"
    assert list(held.rows) == ["island", "mass", "species"]


def test_a_file_is_read_as_the_model_reads(tmp_path: Path) -> None:
    sample = pd.DataFrame(
        {"code": ["007", "008"], "when": pd.to_datetime(["2026-01-01", "2026-01-02"]), "ok": [True, False]}
    )
    (tmp_path / "x.csv").write_text("code,when,ok,y\n007,2026-03-01T10:00:00,True,1\n", encoding="utf-8")
    held = held_out(str(tmp_path / "x.csv"), "y", schema=infer(sample))
    assert held.rows.iloc[0].tolist() == ["007", pd.Timestamp("2026-03-01 10:00"), True]
    assert held.target.tolist() == [1]
    assert held.path == str(tmp_path / "x.csv")


def test_rows_and_labels_may_lie_in_two_files(tmp_path: Path) -> None:
    PENGUINS[["island", "mass"]].to_csv(tmp_path / "x.csv", index=False)
    PENGUINS[["species"]].to_json(tmp_path / "y.json", orient="records")
    held = held_out(f"{tmp_path / 'x.csv'},{tmp_path / 'y.json'}", schema=MODEL)
    assert list(held.target) == ["Adelie", "Gentoo"]
    assert held.target_name == "species"


def test_what_was_written_may_be_given_again(tmp_path: Path) -> None:
    heldout.write(held_out(PENGUINS, "species"), tmp_path / "a.parquet")
    again = held_out(tmp_path / "a.parquet")
    assert again.target_name == "species"
    assert again.rows.equals(PENGUINS[["island", "mass"]])


def test_facts_name_rows_columns_and_fingerprint() -> None:
    facts = held_out(PENGUINS, "species").facts()
    assert (facts["rows"], facts["columns"], facts["target"]) == (2, ["island", "mass"], "species")
    assert facts["fingerprint"].startswith("sha256:")


@pytest.mark.parametrize(
    ("data", "target", "kind", "told"),
    [
        ((PENGUINS, [1, 2, 3]), None, UnsupportedData, "the held-out data has 2 rows and 3 labels"),
        ((PENGUINS, [1], [2]), None, WrongUse, "3 parts"),
        (PENGUINS, "specie", WrongUse, 'Did you mean "species"?'),
        (PENGUINS, None, WrongUse, "beside the model's columns: species"),
        ("nowhere.csv", None, NotFound, 'There is no data file "nowhere.csv"'),
        (__file__, None, UnsupportedData, "give a file ending in .csv"),
    ],
)
def test_a_mistake_says_value_fact_and_step(data: Any, target: Any, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind) as caught:
        held_out(data, target, schema=MODEL, required=True)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (pd.DataFrame({"a": [object()]}), 'column "a" of the held-out data holds object objects'),
        (pd.DataFrame({"a": []}), "the held-out data has no rows"),
        (pd.DataFrame({"a": [1 + 2j]}), 'column "a" of the held-out data'),
    ],
)
def test_what_has_no_json_form_is_named(tmp_path: Path, rows: Any, told: str) -> None:
    with pytest.raises(UnsupportedData) as caught:
        heldout.write(HeldOut(rows), tmp_path / "x.parquet")
    assert told in str(caught.value)
    assert not list(tmp_path.iterdir())
