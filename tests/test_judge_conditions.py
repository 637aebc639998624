"""The grammar of a gate's conditions, and what they say of what was recorded. A gate fails closed."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdeploy.errors import BadCondition
from nbdeploy.judge.conditions import COMPARE, Bound, Condition, judged
from nbdeploy.judge.estimate import Estimate
from nbdeploy.judge.outcome import Outcome, verdict
from nbdeploy.judge.records import Record, Records

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
BOUNDS = st.one_of(
    st.builds(Bound, NUMBERS),
    st.just(Bound(live=True)),
    st.builds(Bound, NUMBERS.map(abs), st.just(True), st.sampled_from(["+", "-", "*"])),
)
METRICS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True)
VALUES = st.one_of(
    st.text(), st.sampled_from(["a.low", ">=0.9", " x ", '"q"', "y<=live", "1==2", ".high", "a@b=c", "="])
)
SLICES = st.one_of(st.just(""), st.builds("{}={}".format, st.text(min_size=1, max_size=6), VALUES), VALUES)


@given(
    st.builds(
        Condition, METRICS, st.sampled_from(sorted(COMPARE)), BOUNDS, SLICES, st.sampled_from(["", "low", "high"])
    )
)
def test_a_condition_is_read_as_it_is_written(condition: Condition) -> None:
    assert Condition.parse(str(condition)) == condition


@given(st.one_of(st.text(), st.text(alphabet='ab@=<>.!-+*%09live "\\\n', max_size=25)))
def test_any_text_is_a_condition_or_wrong_use_at_a_place(text: str) -> None:
    read = error = None
    try:
        read = Condition.parse(text)
    except BadCondition as exc:
        error = exc
    if read is not None:
        assert Condition.parse(str(read)) == read
    if error is not None:
        assert error.exit_code == 2
        assert 0 <= error.position <= len(text)
        assert str(error)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("f1_macro>=0.9", ("f1_macro", "", "", ">=", "0.9")),
        (" f1_macro  >= .9 ", ("f1_macro", "", "", ">=", "0.9")),
        ("accuracy@island=Dream.low>=0.8", ("accuracy", "island=Dream", "low", ">=", "0.8")),
        ("log_loss<=live*1.02", ("log_loss", "", "", "<=", "live*1.02")),
        ("mae.high<5e-1", ("mae", "", "high", "<", "0.5")),
        ("accuracy>=live - 0.01", ("accuracy", "", "", ">=", "live-0.01")),
        ("accuracy@note=a >= b = c.d>=live", ("accuracy", "note=a >= b = c.d", "", ">=", "live")),
        ("accuracy@island >= -1", ("accuracy", "island", "", ">=", "-1")),
        ('accuracy@"v= 1.low".low==1', ("accuracy", "v= 1.low", "low", "==", "1")),
    ],
)
def test_the_parts_of_a_condition(text: str, parts: tuple[str, ...]) -> None:
    read = Condition.parse(text)
    assert (read.metric, read.slice, read.end, read.compare, str(read.bound)) == parts
    assert read.text == text.strip()


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ("f1_macro=>0.9", 8, 'Did you mean ">="?'),
        ("f1_macro=0.9", 8, 'Did you mean "=="?'),
        ("accuracy@island=Dream=0.9", 21, 'Did you mean "=="?'),
        ("accuracy@island=Dream", 21, "there is no comparison"),
        ("accuracy", 8, "Put it in quotes"),
        ("accuracy≥0.9", 8, 'Did you mean ">="?'),
        ("accuracy>=90%", 10, 'Did you mean "0.9"?'),
        ("accuracy>=0,9", 10, 'Did you mean "0.9"?'),
        ("accuracy>=liv", 10, 'Did you mean "live"?'),
        ("accuracy>=live/2", 10, "live*x"),
        ("accuracy>=nan", 10, '"nan" is no finite number'),
        ("accuracy>=-Infinity", 10, '"-Infinity" is no finite number'),
        ("accuracy>=live*inf", 10, "neither a number"),
        ("accuracy>=1e999", 10, "too large"),
        ("accuracy>=", 10, "missing after the comparison"),
        ("accuracy.lo>=0.9", 8, 'Did you mean "low"?'),
        ("live.accuracy>=0.9", 4, 'Did you mean "accuracy>=live"?'),
        ("f1 macro>=0.9", 3, 'Did you mean "f1_macro"?'),
        (">=0.9", 0, "no metric before"),
        ("accuracy@>=0.9", 9, "column=value"),
        ("", 0, "no comparison"),
    ],
)
def test_a_mistake_is_shown_where_it_is(text: str, place: int, told: str) -> None:
    with pytest.raises(BadCondition) as caught:
        Condition.parse(text)
    assert caught.value.position == place
    assert told in str(caught.value)
    assert f"\n    {text}\n    {' ' * place}^\n" in str(caught.value)


def records(**named: Any) -> Records:
    made = {}
    for name, value in named.items():
        kind = "estimate" if isinstance(value, Estimate) else "text" if isinstance(value, str) else "number"
        made[name] = Record(name, kind, value)
    return Records(made, ())


def one(text: str, *, live: bool = False, **named: Any) -> Outcome:
    (outcome,) = judged([Condition.parse(text)], records(**named), live=live)
    return outcome


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("a>=0.9", True),
        ("a>0.9", False),
        ("a<=0.9", True),
        ("a<0.9", False),
        ("a==0.9", True),
        ("a>=0.91", False),
        ("a>=-1", True),
    ],
)
def test_each_comparison(text: str, passed: bool) -> None:
    assert one(text, a=0.9).passed is passed


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("a>=live", True),
        ("a>live", False),
        ("a>=live+0.01", False),
        ("a>=live-0.01", True),
        ("a>=live*1.1", False),
        ("a<=live*1.1", True),
    ],
)
def test_live_is_what_was_recorded_of_the_live_version(text: str, passed: bool) -> None:
    outcome = one(text, live=True, a=0.5, **{"live.a": 0.5})
    assert outcome.passed is passed
    assert "live is 0.5" in outcome.detail


def test_the_ends_of_an_interval_are_judged() -> None:
    estimate = Estimate(0.9, 0.85, 0.95, n=120)
    assert one("a.low>=0.86", a=estimate).passed is False
    assert one("a.high>=0.95", a=estimate).passed is True
    assert "0.85 on 120 rows, below 0.86" in one("a.low>=0.86", a=estimate).detail
    assert "without an interval" in one("a.low>=0.1", a=0.9).detail


def test_a_column_alone_is_every_slice_of_it() -> None:
    said = records(a=1, **{"a@site=x=1": 0.9, "a@site=y >= 2": 0.7, "a@sites=z": 0.1, "live.a@site=q": 0.0})
    outcomes = judged([Condition.parse("a@site>=0.8")], said, live=False)
    assert [(outcome.name, outcome.passed) for outcome in outcomes] == [
        ("a@site>=0.8 for site=x=1", True),
        ("a@site>=0.8 for site=y >= 2", False),
    ]


@pytest.mark.parametrize(
    ("text", "named", "told"),
    [
        ("acuracy>=0.9", {"accuracy": 1}, 'Did you mean "accuracy"?'),
        ("b>=0.9", {}, "it recorded nothing"),
        ("a@site=X>=0.9", {"a": 1, "a@site=x": 1}, "recorded slices: a@site=x"),
        ("a@site>=0.9", {"a": 1}, "for no slice"),
        ("a>=0", {"a": math.nan}, "NaN"),
        ("a>=0", {"a": math.inf}, "infinite"),
        ("a<=0", {"a": -math.inf}, "infinite"),
        ("a>=0", {"a": "0.9"}, "recorded as a text"),
        ("a.low>=0", {"a": Estimate(0.9, math.nan, 1)}, "NaN"),
    ],
)
def test_what_cannot_be_judged_fails(text: str, named: dict[str, Any], told: str) -> None:
    outcome = one(text, **named)
    assert outcome.passed is False
    assert told in outcome.detail


def test_without_a_live_version_its_terms_do_not_count() -> None:
    outcome = one("a>=live", a=0.9)
    assert outcome.passed is None
    assert verdict([outcome]) == "refused"  # nothing was checked
    assert verdict([outcome, one("a>=0.5", a=0.9)]) == "passed"


def test_a_misspelt_metric_fails_even_where_nothing_is_live() -> None:
    assert one("acuracy>=live", accuracy=0.9).passed is False


@pytest.mark.parametrize(
    ("named", "told"),
    [({}, 'declare live_url in its parameters cell and record("live.a"'), ({"live.a": math.nan}, "live.a: it is NaN")],
)
def test_a_notebook_that_does_not_record_the_live_version_fails(named: dict[str, Any], told: str) -> None:
    outcome = one("a>=live", live=True, a=0.9, **named)
    assert outcome.passed is False
    assert told in outcome.detail


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("accuracy<=0.9", "greater is better"),
        ("log_loss>live", "less is better"),
        ("accuracy>=0.9", None),
        ("accuracy==1", None),
        ("my_own<=0.9", None),
        ("flips<=3", None),
    ],
)
def test_a_condition_that_asks_for_the_worse_is_told(text: str, warned: str | None) -> None:
    told = Condition.parse(text).warning()
    assert (told is None) if warned is None else (told is not None and warned in told)


@given(st.builds(Outcome, st.text(), st.sampled_from([True, False, None]), st.one_of(st.none(), st.floats())))
def test_an_outcome_travels_as_strict_json(outcome: Outcome) -> None:
    import json

    raw = json.loads(json.dumps(outcome.to_dict(), allow_nan=False))
    again = Outcome.from_dict(raw)
    assert repr(again) == repr(outcome)
