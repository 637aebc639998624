"""Which number a change calls for, and why."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keep_world import COLUMNS, METHODS, manifest

from nbdeploy.errors import DowngradeRefused, WrongUse
from nbdeploy.keep.semver import BUMPS, UNCHANGED, Number, Suggestion, next_number, settled, suggest
from nbdeploy.runtime.manifest import Column, Manifest, Method, Output, Schema

BILL, MASS, ISLAND = COLUMNS
numbers = st.builds(Number, *[st.integers(0, 999)] * 3)


def with_columns(*columns: Column, keys: tuple[str, ...] = ()) -> Manifest:
    return manifest(schema=Schema("frame", columns, library="pandas", keys=keys))


def array(dtype: str, shape: tuple[int, ...]) -> Manifest:
    return manifest(schema=Schema("array", dtype=dtype, shape=shape))


BREAKS: dict[str, tuple[Manifest, Manifest, str]] = {
    "added": (
        manifest(),
        with_columns(*COLUMNS, Column("sex", "text", "object")),
        'column "sex" was added and must be present',
    ),
    "removed": (manifest(), with_columns(BILL, MASS), 'column "island" was removed, rows that have it are refused'),
    "renamed in place": (
        manifest(),
        with_columns(replace(BILL, name="bill_mm", low=1.0, high=2.0), MASS, ISLAND),
        'column "bill" is called "bill_mm" now',
    ),
    "renamed and moved": (
        manifest(),
        with_columns(MASS, ISLAND, replace(BILL, name="bill_mm", low=33.0)),
        'column "bill" is called "bill_mm" now',
    ),
    "narrowed": (
        manifest(),
        with_columns(replace(BILL, kind="integer"), MASS, ISLAND),
        'column "bill" is integer, it was number',
    ),
    "smaller integer": (
        manifest(),
        with_columns(BILL, replace(MASS, dtype="int16"), ISLAND),
        'column "mass" is int16, it was int64, so large values are refused',
    ),
    "null withdrawn": (
        manifest(),
        with_columns(replace(BILL, nullable=False), MASS, ISLAND),
        'column "bill" no longer accepts null',
    ),
    "unseen withdrawn": (
        with_columns(BILL, MASS, replace(ISLAND, unseen=True)),
        manifest(),
        'column "island" no longer accepts values it has not seen',
    ),
    "category removed": (
        manifest(),
        with_columns(BILL, MASS, replace(ISLAND, categories=("Biscoe", "Dream"))),
        "column \"island\" no longer accepts 'Torgersen'",
    ),
    "classes": (
        manifest(),
        manifest(
            methods=(METHODS[0], replace(METHODS[1], output=replace(METHODS[1].output, labels=("Adelie", "Chinstrap"))))
        ),
        "the classes of predict_proba changed: 'Chinstrap' added, 'Gentoo' removed",
    ),
    "output type": (
        manifest(),
        manifest(methods=(Method("predict", Output("array", "float64")), METHODS[1])),
        "predict answers with float64, it was <U9",
    ),
    "output shape": (
        manifest(),
        manifest(methods=(Method("predict", Output("array", "<U9", (2,))), METHODS[1])),
        "predict answers with array of shape (2,) a row, it was array of shape ()",
    ),
    "method removed": (manifest(), manifest(methods=METHODS[:1]), "predict_proba is no longer served"),
    "key removed": (with_columns(*COLUMNS, keys=("id",)), manifest(), 'the key "id" is no longer accepted'),
    "rows": (manifest(), array("float64", (3,)), "rows are lists now, they were objects"),
    "length": (array("float64", (3,)), array("float64", (4,)), "a row has the shape (4,), it had (3,)"),
    "array type": (array("float64", (3,)), array("int64", (3,)), "the values of a row are int64, they were float64"),
}
GAINS: dict[str, tuple[Manifest, Manifest, str]] = {
    "null": (manifest(), with_columns(BILL, replace(MASS, nullable=True), ISLAND), 'column "mass" accepts null'),
    "unseen": (
        manifest(),
        with_columns(BILL, MASS, replace(ISLAND, unseen=True)),
        'column "island" accepts values it has not seen',
    ),
    "category": (
        manifest(),
        with_columns(BILL, MASS, replace(ISLAND, categories=("Biscoe", "Dream", "Torgersen", "Fleurieu"))),
        "column \"island\" accepts 'Fleurieu'",
    ),
    "method": (manifest(methods=METHODS[:1]), manifest(), "predict_proba is served as well"),
    "widened": (
        manifest(),
        with_columns(BILL, replace(MASS, kind="number", dtype="float64"), ISLAND),
        'column "mass" is number, it was integer, so it takes more values',
    ),
    "larger integer": (
        with_columns(BILL, replace(MASS, dtype="int16"), ISLAND),
        manifest(),
        'column "mass" is int64, it was int16, so it takes larger values',
    ),
    "key": (manifest(), with_columns(*COLUMNS, keys=("id",)), 'rows may carry the key "id"'),
    "array type": (
        array("int64", (3,)),
        array("float64", (3,)),
        "the values of a row are float64, so more are accepted",
    ),
}
INTERNAL: dict[str, tuple[dict[str, Any], str]] = {
    "retrained": ({"files": {"model.pkl": "sha256:other"}}, "retrained"),
    "other data": (
        {"files": {"model.pkl": "sha256:other"}, "provenance": {"data": {"rows": 2}}},
        "retrained on other data",
    ),
    "parameters": (
        {
            "model": {
                "class": "sklearn.linear_model.LogisticRegression",
                "task": "classification",
                "parameters": {"C": 0.5},
            }
        },
        "parameters changed (C)",
    ),
    "class": (
        {"model": {"class": "x.Tree", "parameters": {"C": 1.0}}},
        "the model's class is x.Tree, it was sklearn.linear_model.LogisticRegression",
    ),
    "code": ({"files": {"captured/notebook_code.py": "sha256:1"}}, "the code that travels with it changed"),
    "order of columns": ({"schema": Schema("frame", (ISLAND, BILL, MASS), library="pandas")}, UNCHANGED),
}


@pytest.mark.parametrize(("before", "after", "reason"), BREAKS.values(), ids=BREAKS)
def test_what_breaks_callers_is_major_and_says_why(before: Manifest, after: Manifest, reason: str) -> None:
    suggestion = suggest(before, after)
    assert suggestion.bump == "major"
    assert reason in suggestion.reasons


@pytest.mark.parametrize(("before", "after", "reason"), GAINS.values(), ids=GAINS)
def test_what_callers_may_do_in_addition_is_minor(before: Manifest, after: Manifest, reason: str) -> None:
    assert suggest(before, after) == Suggestion("minor", (reason,))


@pytest.mark.parametrize(("changes", "reason"), INTERNAL.values(), ids=INTERNAL)
def test_what_callers_do_not_notice_is_a_patch(changes: dict[str, Any], reason: str) -> None:
    assert suggest(manifest(), manifest(**changes)) == Suggestion("patch", (reason,))


def test_changed_requirements_name_the_packages() -> None:
    newer = {**manifest().environment, "requirements": ["bentoml==1.4.39", "Scikit_Learn==1.10.0", "numpy==2.4.0"]}
    assert suggest(manifest(), manifest(environment=newer)).reasons == ("requirements changed (numpy, scikit-learn)",)


def test_a_rename_is_one_reason_and_not_a_removal_and_an_addition() -> None:
    after = with_columns(replace(BILL, name="bill_mm"), MASS, ISLAND)
    assert len(suggest(manifest(), after).reasons) == 1


def test_a_renamed_category_is_known_by_its_values() -> None:
    after = with_columns(BILL, Column("isle", "category", "object", unseen=False, categories=ISLAND.categories), MASS)
    assert 'column "island" is called "isle" now' in suggest(manifest(), after).reasons


def test_a_column_of_another_type_is_no_rename() -> None:
    after = with_columns(Column("name", "text", "object"), MASS, ISLAND)
    assert len(suggest(manifest(), after).reasons) == 2


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    kinds = st.sampled_from(
        [("integer", "int64"), ("integer", "uint8"), ("number", "float64"), ("text", "object"), ("category", "object")]
    )
    columns = []
    for name in draw(st.lists(st.text(min_size=1, max_size=5), unique=True, max_size=4)):
        kind, dtype = draw(kinds)
        seen = tuple(draw(st.lists(st.text(max_size=3), unique=True, max_size=3))) if kind == "category" else None
        columns.append(
            Column(name, kind, dtype, nullable=draw(st.booleans()), unseen=draw(st.booleans()), categories=seen)
        )
    methods = tuple(draw(st.lists(st.sampled_from(METHODS), unique_by=lambda method: method.name, min_size=1)))
    keys = tuple(draw(st.lists(st.sampled_from(["id", "key"]), unique=True)))
    return manifest(schema=Schema("frame", tuple(columns), library="pandas", keys=keys), methods=methods)


@given(manifests())
def test_the_same_changes_nothing_for_callers(one: Manifest) -> None:
    assert suggest(one, one) == Suggestion("patch", (UNCHANGED,))


@given(manifests(), manifests())
def test_a_gain_one_way_is_a_break_the_other_way(one: Manifest, other: Manifest) -> None:
    if suggest(one, other).bump == "minor":
        assert suggest(other, one).bump == "major"


@given(numbers)
def test_numbers_are_read_as_they_are_written(number: Number) -> None:
    assert Number.parse(str(number)) == number


@given(st.text())
def test_any_other_text_is_wrong_use(text: str) -> None:
    with suppress(WrongUse):
        assert str(Number.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["1.2", "01.2.3", "1.2.3.4", "v1.2.3", "1.2.3-rc1", "1.2.3\n", "\u0661.\u0662.\u0663", ""]
)
def test_what_only_looks_like_a_version_is_refused(text: str) -> None:
    with pytest.raises(WrongUse, match="is not a version"):
        Number.parse(text)


@given(numbers, st.sampled_from(BUMPS), st.sets(numbers))
def test_the_next_number_is_above_the_base_and_was_never_issued(base: Number, bump: Any, issued: set[Number]) -> None:
    number = next_number(base, bump, issued)
    assert number > base
    assert number not in issued


def test_numbers_already_issued_are_passed_over() -> None:
    issued = [Number(1, 0, 0), Number(1, 0, 1), Number(1, 1, 0)]
    assert next_number(Number(1, 0, 0), "patch", issued) == Number(1, 0, 2)
    assert next_number(Number(1, 0, 0), "minor", issued) == Number(1, 2, 0)


def test_a_bump_may_be_raised_but_lowered_only_by_force() -> None:
    major = Suggestion("major", ("predict is no longer served",))
    assert settled(Suggestion("patch", ("retrained",)), "minor").bump == "minor"
    with pytest.raises(DowngradeRefused, match="needs: major, because predict is no longer served"):
        settled(major, "patch")
    assert settled(major, "patch", force=True) == Suggestion(
        "patch", ("forced below major", "predict is no longer served")
    )
    with pytest.raises(WrongUse, match="is not a bump"):
        settled(major, "huge")


def test_a_long_list_of_reasons_is_cut_and_counted() -> None:
    assert Suggestion("major", tuple("abcdefgh")).reason == "a; b; c; d; e; and 3 more"
