"""Planted shifts are found and named; windows without one stay within the budget of false alarms."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from populations import MIXED, Population, sampled, traffic
from scipy import stats

from nbdeploy.capture.counts import Bins
from nbdeploy.capture.profile import Profile, profile
from nbdeploy.errors import WrongUse
from nbdeploy.runtime.manifest import Column, Schema
from nbdeploy.runtime.policy import bucket as bucket_of
from nbdeploy.watch.axis import Axis
from nbdeploy.watch.baseline import Baseline
from nbdeploy.watch.budget import Budget
from nbdeploy.watch.calibration import Calibration, bucket
from nbdeploy.watch.compared import Compared, tracked
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.drift import DRIFTED, STABLE, SUSPECTED, ColumnDrift, Drift, drift, history
from nbdeploy.watch.findings import blind, ended
from nbdeploy.watch.quality import quality
from nbdeploy.watch.readings import readings
from nbdeploy.watch.window import Window, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow
BEGIN, HOUR = datetime(2026, 11, 16, tzinfo=UTC), timedelta(hours=1)
SCHEMA = Schema(
    container="frame",
    library="pandas",
    columns=(
        Column("height", "number", "float64"),
        Column("income", "number", "float64"),
        Column("celsius", "number", "float64"),
        Column("children", "integer", "int64"),
        Column("island", "category", "str"),
        Column("since", "datetime", "datetime64[us]"),
        Column("fixed", "number", "float64"),
    ),
)


def people(rows: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "height": random.normal(170, 10, rows),
            "income": random.lognormal(8, 1, rows),
            "celsius": random.normal(15, 6, rows),
            "children": random.poisson(1.5, rows),
            "island": random.choice(["Dream", "Biscoe", "Torgersen"], rows, p=[0.5, 0.3, 0.2]),
            "since": pd.date_range("2026-01-01", periods=rows, freq="min") + pd.Timedelta(days=seed),
            "fixed": np.full(rows, 7.0),
        }
    )


@pytest.fixture(scope="module")
def reference() -> Profile:
    rows = people(5_000, 0)
    return Profile.from_dict(profile(rows, SCHEMA, predictions=rows["height"] > 175))


@pytest.fixture(scope="module")
def once(reference: Profile) -> Calibration:
    return Calibration(parts_of(reference), Budget(windows=1_000, persistence=1))


def window(reference: Profile, rows: pd.DataFrame) -> Window:
    return Window(reference.counted(rows, predictions=pd.to_numeric(rows["height"], errors="coerce") > 175))


def compared(
    reference: Profile, calibration: Calibration, change: Callable[[pd.DataFrame], Any], rows: int = 500
) -> Drift:
    frame = people(rows, 1)
    return drift(calibration, [window(reference, frame.assign(**change(frame)))])


PLANTED: dict[str, tuple[Callable[[pd.DataFrame], dict[str, Any]], str, str, str]] = {
    "mean": (lambda f: {"height": f["height"] + 4}, "height", "mean", "training sd higher"),
    "scale": (lambda f: {"height": 170 + (f["height"] - 170) * 1.5}, "height", "scale", "times that of training"),
    "narrower": (lambda f: {"height": 170 + (f["height"] - 170) * 0.5}, "height", "scale", "times that of training"),
    "skewed": (lambda f: {"income": f["income"] * 1.5}, "income", "scale", "times that of training"),
    "new category": (
        lambda f: {"island": f["island"].where(np.arange(len(f)) % 20 > 0, "Anvers")},
        "island",
        "unseen",
        "5 %",
    ),
    "shares": (
        lambda f: {"island": f["island"].where(np.arange(len(f)) % 4 > 0, "Dream")},
        "island",
        "shares",
        "'Dream'",
    ),
    "missing": (
        lambda f: {"height": f["height"].where(np.arange(len(f)) % 10 > 0)},
        "height",
        "missing",
        "10 % are missing",
    ),
    "all missing": (lambda _: {"height": np.nan}, "height", "missing", "100 % are missing"),
    "texts": (
        lambda f: {"height": f["height"].astype(object).where(np.arange(len(f)) % 2 > 0, "tall")},
        "height",
        "missing",
        "50 %",
    ),
    "metres": (lambda f: {"height": f["height"] / 100}, "height", "units", "divided by 100"),
    "thousands": (lambda f: {"income": f["income"] * 1_000}, "income", "units", "multiplied by 1,000"),
    "inches": (lambda f: {"height": f["height"] / 2.54}, "height", "units", "in inches"),
    "Fahrenheit": (lambda f: {"celsius": f["celsius"] * 1.8 + 32}, "celsius", "units", "Fahrenheit"),
    "constant": (lambda _: {"height": 171.5}, "height", "constant", "every value is 171.5"),
    "constant category": (lambda _: {"island": "Dream"}, "island", "constant", "'Dream'"),
    "was constant": (lambda f: {"fixed": np.where(np.arange(len(f)) % 20 == 0, 8.0, 7.0)}, "fixed", "unseen", "5 %"),
    "a lump": (
        lambda f: {"children": f["children"].where(np.arange(len(f)) % 4 > 0, 25)},
        "children",
        "unseen",
        "25 % lie outside the range",
    ),
    "counts": (lambda f: {"children": f["children"] + 1}, "children", "mean", "higher"),
    "far out": (
        lambda f: {"celsius": f["celsius"].where(np.arange(len(f)) % 20 > 0, 999.0)},
        "celsius",
        "unseen",
        "5 %",
    ),
}


SIZES = {"mean": 0.4, "scale": 1.5, "narrower": 0.5, "new category": 0.05, "missing": 0.1, "metres": 0.01}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_shift_is_found_and_named_and_nothing_else_is(
    name: str, reference: Profile, once: Calibration
) -> None:
    change, column, kind, words = PLANTED[name]
    found = compared(reference, once, change)
    named = found[column]
    assert named.verdict == DRIFTED
    assert named.shifts[0].kind == kind
    assert words in named.shifts[0].text
    assert named.shifts[0].size == pytest.approx(SIZES.get(name, named.shifts[0].size), rel=0.15)
    others = {item.name for item in found.drifted} - {f"input.{column}", "prediction"}
    assert not others
    json.dumps(found.to_dict(), allow_nan=False)
    assert words in str(found)


@pytest.mark.parametrize("factor", [10.764, 15.94, 25.4, 1 / 10.764])
@pytest.mark.parametrize("rows", [300, 3_000])
@pytest.mark.parametrize("column", ["height", "income"])
def test_a_factor_that_is_no_known_units_is_measured_and_has_no_name(
    factor: float, rows: int, column: str, reference: Profile, once: Calibration
) -> None:
    """Heights vary by 6 %, incomes by as much again as their mean: of these a factor is known less well."""
    found = compared(reference, once, lambda f: {column: f[column] * factor}, rows)[column].shifts[0]
    assert found.kind == "units"
    assert found.text.startswith("values are about ")
    assert found.size == pytest.approx(factor, rel=0.05 if column == "height" else 0.2)


@pytest.mark.parametrize(
    ("factor", "rows"),
    [
        (10.0, 300),
        (12.0, 3_000),
        (24.0, 300),
        (60.0, 300),
        (2.54, 3_000),
        (1_000.0, 300),
        (1_000.0, 3_000),
        (0.1, 3_000),
    ],
)
def test_a_known_units_factor_has_its_name(factor: float, rows: int, reference: Profile, once: Calibration) -> None:
    found = compared(reference, once, lambda f: {"height": f["height"] * factor}, rows)["height"].shifts[0]
    assert found.kind == "units"
    assert found.size == pytest.approx(factor)
    assert found.text.startswith(f"values look {'multiplied' if factor > 1 else 'divided'} by ")


def test_nothing_is_said_of_windows_like_the_training_sample(reference: Profile, once: Calibration) -> None:
    found = compared(reference, once, lambda _: {})
    assert not found.drifted
    assert {column.name for column in found.columns if column.verdict == STABLE} == {
        "input.height", "input.income", "input.celsius", "input.children", "input.island", "input.fixed", "prediction",
    }  # fmt: skip
    assert found["since"].verdict == NotComputable("time moves on by itself")


@pytest.mark.parametrize("whole", [False, True])
def test_a_bucketed_column_is_counted_as_the_kept_one(whole: bool, reference: Profile) -> None:
    """Also in the open bins at either end, on the edges themselves, and beyond all of them."""
    name = "children" if whole else "height"
    own = reference.columns[name]
    assert isinstance(own, Bins)
    random = np.random.default_rng(0)
    edges = np.asarray(own.edges)
    values = [*random.choice(edges, 50), *(random.choice(edges, 50) + random.normal(0, 9, 50)), -1e12, 1e12]
    kept: list[Any] = [round(value) if whole else float(value) for value in values]
    change = bucket_of(own.edges)
    rounded = [change(value) for value in [*kept, None]]
    assert own.counted(rounded).counts == own.counted([*kept, None]).counts
    assert own.counted(rounded).missing == 1
    baseline = Baseline("1.0.0", reference, policy={name: "bucket", "income": "drop"})
    assert (baseline.lacking(name), baseline.lacking("income")) == (None, "dropped by the log's policy")
    assert replace(baseline, own=False).lacking(name) == "rounded by the log's policy"
    assert Baseline("1.0.0", reference, policy={"since": "bucket"}).lacking("since") == "rounded by the log's policy"


def test_a_moment_that_went_missing_for_a_while_is_over_when_it_is(reference: Profile) -> None:
    """Its values are never compared: being within the thresholds again is no verdict, and ends it all the same."""
    gone = window(reference, people(500, 1).assign(since=np.datetime64("NaT")))
    back = window(reference, people(500, 2))
    calibration = Calibration(parts_of(reference), Budget(persistence=2))

    def now(*windows: Window) -> Any:
        drifts = history(calibration, windows)
        return tracked("input.since", list(range(len(drifts))), drifts).now.verdict

    assert now(back, gone, gone) == DRIFTED
    assert now(back, gone, gone, back) == NotComputable("time moves on by itself")
    drifts = tuple(history(calibration, [replace(one, began=BEGIN, ended=BEGIN + HOUR) for one in (gone, gone, back)]))
    track = tracked("input.since", [0, 1, 2], list(drifts))
    (told,) = ended(Compared("1.0.0", "training", drifts=drifts, tracks=(track,)))
    assert told.text == "since had drifted from 2026-11-16 00:00 UTC to 2026-11-16 01:00 UTC"
    assert now(back, gone, gone, window(reference, people(10, 3))) == DRIFTED  # ten rows say nothing
    without = window(reference, people(500, 4).drop(columns="since"))
    assert now(back, gone, gone, without) == DRIFTED


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ("-sd-------", "from 2026-11-16 01:00 UTC to 2026-11-16 03:00 UTC"),
        ("-sdd--sd--", "twice, last from 2026-11-16 06:00 UTC to 2026-11-16 08:00 UTC"),
        (
            "sd--s-sds-",
            "twice, last from 2026-11-16 06:00 UTC to 2026-11-16 08:00 UTC",
        ),  # a suspicion alone is no drift
        ("sd?sd-dd--", "3 times, last from 2026-11-16 06:00 UTC to 2026-11-16 08:00 UTC"),
    ],
)
def test_of_what_drifted_again_and_again_the_last_time_is_told(verdicts: str, words: str, reference: Profile) -> None:
    said: dict[str, str | NotComputable] = {
        "-": STABLE,
        "s": SUSPECTED,
        "d": DRIFTED,
        "?": NotComputable("too few values"),
    }
    drifts = [
        Drift(
            replace(window(reference, people(1, 1)), began=BEGIN + place * HOUR, ended=BEGIN + (place + 1) * HOUR),
            (ColumnDrift("input.height", said[letter], 500),),
            "",
        )
        for place, letter in enumerate(verdicts)
    ]
    track = tracked("input.height", list(range(10)), drifts)
    (told,) = ended(Compared("1.0.0", "training", drifts=tuple(drifts), tracks=(track,)))
    assert told.text == f"height had drifted {words}"


def test_a_column_with_too_few_values_now_is_what_it_was(reference: Profile) -> None:
    moved = window(reference, people(500, 1).assign(height=lambda f: f["height"] + 5))
    drifts = history(Calibration(parts_of(reference)), [moved, moved, window(reference, people(10, 2))])
    assert tracked("input.height", [0, 1, 2], drifts).now.verdict == DRIFTED


def test_a_window_of_too_few_values_tells_rules_nothing_of_drift(reference: Profile, once: Calibration) -> None:
    """None of three values is missing: that ends no alert. Of a moment, which is never compared, it does."""
    windows = [window(reference, people(rows, 1).assign(height=lambda f: f["height"] + 10)) for rows in (500, 3)]
    drifts = tuple(history(once, windows))
    qualities = tuple(quality(reference, one) for one in windows)
    found = Compared("1.0.0", "training", places=(0, 1), drifts=drifts, qualities=qualities)
    axis = Axis(BEGIN, BEGIN + 2 * HOUR, HOUR, BEGIN + 2 * HOUR)
    many, few = readings(axis, NotComputable("not asked"), [found], {}, {})
    height, drifted = many.value("drift@height"), many.value("drifted_columns")
    assert isinstance(height, float)
    assert height > 1
    assert isinstance(drifted, float)
    assert drifted >= 1
    too_few = NotComputable("too few values: 3, at least 20 are needed")
    assert (few.value("drift@height"), few.value("drifted_columns")) == (too_few, too_few)
    assert (many.value("drift@since"), few.value("drift@since")) == (0.0, 0.0)


def test_predictions_drift_as_columns_do(reference: Profile, once: Calibration) -> None:
    assert compared(reference, once, lambda f: {"height": f["height"] + 5})["prediction"].verdict == DRIFTED


def test_a_column_that_cannot_be_compared_hides_no_other(reference: Profile, once: Calibration) -> None:
    rows = people(500, 1).assign(height=lambda f: f["height"] + 5)
    odd: Any = [[1], {"a": 2}, 10**400, "warm", b"x"] * 100
    rows["celsius"] = odd
    found = drift(once, [window(reference, rows.drop(columns=["income", "island"]))])
    assert found["height"].verdict == DRIFTED
    assert found["income"].verdict == NotComputable("it is not in this window")
    assert found["celsius"].verdict == DRIFTED  # every value is of another type
    assert found["celsius"].shifts[0].text.startswith("100 % are missing")
    few = drift(once, [window(reference, people(10, 1))])
    assert few["height"].verdict == NotComputable("too few values: 10, at least 20 are needed")


def test_rows_of_another_schema_are_not_compared(reference: Profile, once: Calibration) -> None:
    other = Window(reference.counted(people(500, 1)), schema="b")
    found = drift(once, [other], schema="a")
    assert {str(column.verdict) for column in found.columns} == {
        "not computable (logged with schema b, the reference has a)"
    }


def test_columns_without_a_training_value_are_not_compared() -> None:
    empty = Profile.from_dict(
        profile(pd.DataFrame({"a": [None, None]}), Schema("frame", (Column("a", "number", "float64"),)))
    )
    calibration = Calibration(parts_of(empty))
    found = drift(calibration, [Window(empty.counted(pd.DataFrame({"a": np.arange(100.0)})))])
    assert found["a"].verdict == SUSPECTED  # there used to be no value at all
    found = drift(calibration, [Window(empty.counted(pd.DataFrame({"a": [None] * 100})))])
    assert found["a"].verdict == NotComputable("every value of the training sample is missing")


def test_an_alarm_needs_as_many_windows_on_end_as_the_budget_says(reference: Profile) -> None:
    calibration = Calibration(parts_of(reference), Budget(persistence=3))
    moved = window(reference, people(500, 1).assign(height=lambda f: f["height"] + 5))
    still = window(reference, people(500, 2))
    verdicts = [
        found["height"].verdict for found in history(calibration, [moved, moved, still, moved, moved, moved, moved])
    ]
    assert verdicts == [SUSPECTED, SUSPECTED, STABLE, SUSPECTED, SUSPECTED, DRIFTED, DRIFTED]


def alarms(found: list[Drift]) -> int:
    """Alarms that began."""
    began = 0
    before: set[tuple[str, str]] = set()
    for one in found:
        now = {(column.name, test.name) for column in one.drifted for test in column.tests if test.exceeded}
        began += bool(now - before)
        before = now
    return began


def null_alarms(
    populations: tuple[Population, ...], rows: int, references: int, windows: int, at_once: float = 0.0
) -> int:
    """Alarms that begin in windows without any shift, for references of 2,000 rows."""
    random = np.random.default_rng(rows)
    began = 0
    for _ in range(references):
        reference = sampled(populations, 2_000, random)
        calibration = Calibration(parts_of(reference), Budget(30, 1, 2, at_once))
        began += alarms(history(calibration, traffic(populations, reference, rows, windows, random)))
    return began


@pytest.mark.thorough
@pytest.mark.parametrize("rows", [50, 200, 1_000, 5_000])
def test_a_thousand_null_windows_stay_within_the_budget(rows: int) -> None:
    # Were the budget used up, the count would be Poisson with mean 33; 51 is three standard deviations more. Bonferroni
    # and tests of the same column that go together leave about half of it unused.
    expected = 1_000 / 30
    assert null_alarms(MIXED[1:9:2] + MIXED[9:10], rows, 3, 334) <= expected + 3 * expected**0.5


def test_a_part_of_the_budget_for_single_windows_keeps_to_the_whole() -> None:
    expected = 1_000 / 30
    assert null_alarms(MIXED[1:9:2] + MIXED[9:10], 500, 3, 334, at_once=0.5) <= expected + 3 * expected**0.5


def test_one_window_far_beyond_is_enough_where_the_budget_says_so(reference: Profile) -> None:
    moved = window(reference, people(500, 1).assign(height=lambda f: f["height"] + 30))
    little = window(reference, people(500, 1).assign(height=lambda f: f["height"] + 1.5))
    for at_once, verdicts in ((0.0, (SUSPECTED, SUSPECTED)), (0.5, (DRIFTED, SUSPECTED))):
        calibration = Calibration(parts_of(reference), Budget(30, 1, 2, at_once))
        assert tuple(drift(calibration, [one])["height"].verdict for one in (moved, little)) == verdicts
    assert Budget(30, 1, 2, 0.5).said() == "1 false alarm in 30 windows, 2 on end or one far beyond"


@pytest.mark.parametrize("rows", [200, 5_000])
@pytest.mark.thorough
def test_many_kinds_of_columns_stay_within_the_budget(rows: int) -> None:
    expected = 6 * 150 / 30
    assert null_alarms(MIXED, rows, 6, 150) <= expected + 3 * expected**0.5


def test_detection_rises_with_the_number_of_rows() -> None:
    """A mean a fifth of a standard deviation higher, 40 windows of each size: seen hardly ever, then always."""
    normal, moved = (Population(stats.norm()),), (Population(stats.norm(0.2)),)
    random = np.random.default_rng(0)
    reference = sampled(normal, 10_000, random)
    calibration = Calibration(parts_of(reference), Budget())
    seen = []
    for rows in (50, 200, 1_000, 5_000):
        found = history(calibration, traffic(moved, reference, rows, 40, random))
        seen.append(sum(one["0"].verdict == DRIFTED for one in found))
    assert seen == sorted(seen)
    assert seen[0] < 10
    assert seen[-1] == 39  # all but the first, which cannot last yet


@pytest.mark.thorough
@pytest.mark.parametrize("rows", [100, 10_000])
@pytest.mark.parametrize(
    "population", [Population(stats.norm()), Population(stats.expon()), Population(shares=(0.6, 0.4))]
)
def test_the_smallest_visible_shift_is_seen_four_times_in_five(rows: int, population: Population) -> None:
    """On average over references: one of 20,000 rows is by luck nearer to a shift or farther from it."""
    random = np.random.default_rng(rows)
    seen = 0
    for _ in range(10):
        reference = sampled((population,), 20_000, random)
        calibration = Calibration(parts_of(reference), Budget())
        visible = calibration.limits("input.0", rows, rows)["jensen_shannon"].visible
        assert visible is not None
        moved = Population(shares=(0.6 + visible, 0.4 - visible))
        if not population.shares:
            moved = Population(population.distribution.dist(visible))
        found = history(calibration, traffic((moved,), reference, rows, 21, random))[1:]
        seen += sum(one["0"].verdict == DRIFTED for one in found)
    # 200 windows of a power of 0.8 have a standard error of 0.03, doubled because they share references and neighbours.
    # More is allowed: the shift tried is the least visible one of its size, a moved exponential is easier to see.
    assert seen / 200 >= 0.8 - 0.12


def test_more_rows_or_fewer_columns_make_smaller_shifts_visible(reference: Profile, once: Calibration) -> None:
    def visible(calibration: Calibration, rows: int) -> float:
        return calibration.limits("input.height", rows, rows)["jensen_shannon"].visible or np.inf

    assert visible(once, 5_000) < visible(once, 500) < visible(once, 50)
    alone = Calibration({"input.height": reference.columns["height"]}, once.budget)
    assert visible(alone, 500) < visible(once, 500)
    patient = Calibration(once.parts, Budget(windows=1_000, persistence=3))
    limits = [item.limits("input.height", 500, 500)["wasserstein"].high for item in (patient, once)]
    assert limits[0] < limits[1]


def test_limits_are_kept_by_reference_budget_and_size(tmp_path: Path, reference: Profile) -> None:
    parts = {"input.height": reference.columns["height"]}
    first = Calibration(parts, folder=tmp_path)
    made = first.limits("input.height", 1_000, 1_000)
    first.save()
    (kept,) = tmp_path.iterdir()
    read = Calibration(parts, folder=tmp_path)
    assert read._kept
    assert read.limits("input.height", 1_000, 1_000) == made == Calibration(parts).limits("input.height", 1_000, 1_000)
    kept.write_text("{")
    assert Calibration(parts, folder=tmp_path).limits("input.height", 1_000, 1_000) == made
    assert Calibration(parts, Budget(windows=720)).digest != first.digest


def test_a_size_is_rounded_down_by_less_than_a_tenth() -> None:
    sizes = [bucket(rows) for rows in range(1, 20_000)]
    assert all(size <= rows and rows / size < 1.1 for rows, size in enumerate(sizes, start=1))
    assert len(set(sizes)) < 110


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(WrongUse, match="is none"):
        Budget(windows=0)
    assert Budget(720, 2, 3).said() == "2 false alarms in 720 windows, 3 on end"
    assert Budget(86_400, 1, 2).said() == "1 false alarm in 86,400 windows, 2 on end"


@given(st.lists(st.integers(0, 400), max_size=5))
@settings(max_examples=20)
def test_a_week_is_the_sum_of_its_days(cuts: list[int]) -> None:
    rows = people(400, 3)
    reference = Profile.from_dict(profile(people(300, 0), SCHEMA, predictions=[0, 1, 1]))
    places = [0, *sorted(cuts), 400]
    days = [rows.iloc[a:b] for a, b in pairwise(places)]
    whole = reference.counted(rows, predictions=[1] * 400)
    windows = [Window(reference.counted(day, predictions=[1] * len(day)), "a") for day in days]
    week = windows[0]
    for day in windows[1:]:
        week = day.merged(week)
    assert week.profile == whole
    with pytest.raises(ValueError, match="different schemas"):
        week.merged(Window(whole, "b"))


def test_a_column_shows_its_leading_test_and_all_measures(reference: Profile, once: Calibration) -> None:
    found: ColumnDrift = compared(reference, once, lambda f: {"height": f["height"] + 4})["height"]
    assert found.leading is not None
    assert found.leading.exceeded
    assert set(found.measures) == {"psi", "jensen_shannon", "wasserstein", "chi_square"}
    assert found.measures["wasserstein"] == pytest.approx(0.4, abs=0.1)


def test_what_may_happen_unseen_is_no_span_where_all_columns_are_alike(reference: Profile) -> None:
    (found,) = history(Calibration(parts_of(reference)), [window(reference, people(500, 1))])
    track = tracked("input.height", [0], [found])
    said = blind(Compared("1.0.0", "training", tracks=(track, track)))
    assert re.fullmatch(r"The smallest .* traffic is [\d.]+ training standard deviations", said)
