"""Traffic of the log: every request in one window, no window left out, and nothing said that few requests cannot tell."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from nbdeploy.errors import WrongUse
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.traffic import edges, traffic

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
COLUMNS = ["time", "request_id", "version", "schema", "worker", "method", "status", "code", "milliseconds", "rows"]


def logged(times: list[datetime], **columns: Any) -> pd.DataFrame:
    """A line per request, as `Predictions.requests()` gives them."""
    frame = pd.DataFrame({"time": pd.to_datetime(times, utc=True)})
    frame["request_id"] = [f"r{number}" for number in range(len(times))]
    fixed = {"version": "1.0.0", "schema": "s", "worker": 7, "method": "predict", "status": 200, "code": None}
    for name, value in {**fixed, "milliseconds": 1.0, "rows": 1, **columns}.items():
        frame[name] = value
    return frame[COLUMNS]


def every_second(count: int, **columns: Any) -> pd.DataFrame:
    return logged([START + timedelta(seconds=number) for number in range(count)], **columns)


def test_rates_shares_and_quantiles_are_those_of_the_requests() -> None:
    random = np.random.default_rng(0)
    status = random.choice([200, 422, 429, 500, 503], 7_200, p=[0.9, 0.04, 0.02, 0.03, 0.01])
    milliseconds = random.gamma(2, 3, 7_200)
    frame = every_second(7_200, status=status, milliseconds=milliseconds, rows=3).sample(frac=1, random_state=1)
    whole = traffic(frame, START, START + 2 * HOUR).whole
    answered = milliseconds[status == 200]
    assert (whole.requests, whole.requests_per_second) == (7_200, 1.0)
    assert (whole.answered, whole.rows) == (len(answered), 3 * len(answered))
    assert whole.error_rate == np.mean(status >= 500)
    assert whole.refused_rate == np.mean((status >= 400) & (status < 500))
    quantiles = (whole.p50_ms, whole.p95_ms, whole.p99_ms)
    assert quantiles == pytest.approx(tuple(np.percentile(answered, [50, 95, 99])))
    assert whole.thin == ()


def test_windows_add_up_to_the_whole_and_empty_ones_stand_as_zero() -> None:
    frame = pd.concat([every_second(600), logged([START + 5 * HOUR + timedelta(minutes=1)] * 30)])
    found = traffic(frame, START, START + 6 * HOUR, HOUR)
    assert [flow.requests for flow in found.windows] == [600, 0, 0, 0, 0, 30]
    empty = found.windows[1]
    assert (empty.requests_per_second, empty.rows) == (0.0, 0)
    for value in (empty.error_rate, empty.refused_rate, empty.p50_ms, empty.p99_ms):
        assert isinstance(value, NotComputable)
    assert all(flow.began.minute == 0 and flow.seconds == 3_600 for flow in found.windows)


def test_a_log_without_requests_is_zero_everywhere() -> None:
    found = traffic(logged([]), START, START + 3 * HOUR, HOUR)
    assert (found.whole.requests, len(found.windows), dict(found.versions), found.outside) == (0, 3, {}, 0)
    assert "no request in this time" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["whole"]["p99_ms"] == {"not_computable": "no request was answered"}


def test_a_bound_belongs_to_the_later_window() -> None:
    found = traffic(logged([START, START + HOUR, START + 2 * HOUR]), START, START + 2 * HOUR, HOUR)
    assert [flow.requests for flow in found.windows] == [1, 1]
    assert found.outside == 1


def test_versions_and_workers_have_the_same_windows_and_add_up() -> None:
    """A hand-over within a window: both versions answered in it."""
    version = np.where(np.arange(7_200) < 5_000, "1.0.0", "1.1.0")
    worker = np.where(np.arange(7_200) < 5_000, np.arange(7_200) % 2, 9)
    found = traffic(every_second(7_200, version=version, worker=worker), START, START + 3 * HOUR, HOUR)
    counts = {name: [flow.requests for flow in split.windows] for name, split in found.versions.items()}
    assert counts == {"1.0.0": [3_600, 1_400, 0], "1.1.0": [0, 2_200, 0]}
    assert {pid: split.whole.requests for pid, split in found.workers.items()} == {0: 2_500, 1: 2_500, 9: 2_200}
    assert found.versions["1.1.0"].whole.version == "1.1.0"
    assert "worker 9" in str(found)


def test_few_requests_say_of_how_many_a_quantile_is() -> None:
    found = traffic(every_second(5, milliseconds=[1, 2, 3, 4, 100.0]), START, START + HOUR).whole
    assert found.thin == ("p95_ms", "p99_ms")
    assert "(of 5)" in str(found)
    assert "p95 and p99 of 5 answered requests" in str(found)
    enough = traffic(every_second(100), START, START + HOUR).whole
    assert enough.thin == ()
    assert "(of" not in str(enough)


def test_f40_a_clock_that_jumped_leaves_no_request_unnamed() -> None:
    """A day ahead and back, and an hour back: in any order, counted where their time lies, else counted as outside."""
    steps = [0, 10, 86_400, 86_410, 20, -3_600, 30]
    found = traffic(logged([START + timedelta(seconds=step) for step in steps]), START, START + HOUR, HOUR / 4)
    assert (found.whole.requests, found.outside) == (4, 3)
    assert "3 requests have a time outside" in str(found)
    wide = traffic(
        logged([START, datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC)]), START, datetime(2039, 1, 1, tzinfo=UTC)
    )
    assert (wide.whole.requests, wide.outside) == (2, 0)


def test_f40_a_day_of_changing_clocks_has_its_own_length() -> None:
    """29 March 2026 has 23 hours in Vienna, 25 October 25: the rate is over the seconds that passed."""
    vienna = ZoneInfo("Europe/Vienna")
    for month, day, hours in ((3, 29, 23), (10, 25, 25)):
        began = datetime(2026, month, day, tzinfo=vienna)
        ended = datetime(2026, month, day, tzinfo=vienna) + timedelta(days=1)
        frame = logged([began.astimezone(UTC) + timedelta(minutes=number) for number in range(hours * 60)])
        found = traffic(frame, began, ended, HOUR)
        assert (found.whole.seconds, found.whole.requests) == (hours * 3_600, hours * 60)
        assert [flow.requests for flow in found.windows] == [60] * hours


def test_windows_lie_on_whole_multiples_and_are_cut_at_the_ends() -> None:
    began, ended = START + timedelta(minutes=40), START + timedelta(hours=2, minutes=10)
    assert [end.strftime("%H:%M") for end in edges(began, ended, HOUR)] == ["00:40", "01:00", "02:00", "02:10"]
    found = traffic(logged([began] * 30), began, ended, HOUR)
    assert found.windows[0].requests_per_second == 30 / 1_200


@pytest.mark.parametrize(
    ("began", "ended", "every"),
    [
        (datetime(2026, 3, 1), START, HOUR),  # noqa: DTZ001  # the case
        (START, START, None),
        (START + HOUR, START, None),
        (START, START + HOUR, timedelta(0)),
        (START, datetime(2038, 1, 1, tzinfo=UTC), timedelta(minutes=1)),
    ],
)
def test_times_that_make_no_windows_are_wrong_use(began: datetime, ended: datetime, every: timedelta | None) -> None:
    with pytest.raises(WrongUse):
        traffic(logged([]), began, ended, every)


@pytest.mark.slow
def test_a_million_requests_of_many_windows_are_all_counted() -> None:
    random = np.random.default_rng(2)
    times = pd.to_datetime(START) + pd.to_timedelta(random.integers(0, 7 * 86_400, 1_000_000), unit="s")
    frame = pd.DataFrame({"time": times, "status": 200, "milliseconds": 1.0, "rows": 2, "version": "1.0.0"})
    frame["worker"] = random.integers(0, 4, len(frame))
    found = traffic(frame, START, START + timedelta(days=7), HOUR)
    assert sum(flow.requests for flow in found.windows) == 1_000_000
    assert sum(split.whole.requests for split in found.workers.values()) == 1_000_000
    assert found.whole.rows == 2_000_000


def test_every_window_of_every_version_has_the_quantiles_of_its_own_requests() -> None:
    random = np.random.default_rng(3)
    count = 2_000
    times = [START + timedelta(minutes=int(minute)) for minute in random.integers(0, 6 * 60, count)]
    frame = logged(
        times,
        milliseconds=random.gamma(2, 3, count),
        version=random.choice(["1.0.0", "1.1.0"], count),
        status=random.choice([200, 500], count, p=[0.9, 0.1]),
    )
    found = traffic(frame, START, START + 6 * HOUR, HOUR)
    for version, split in found.versions.items():
        for flow in split.windows:
            inside = (frame["time"] >= flow.began) & (frame["time"] < flow.ended) & (frame["version"] == version)
            answered = frame.loc[inside & (frame["status"] == 200), "milliseconds"]
            assert (flow.requests, flow.answered) == (inside.sum(), len(answered))
            told = (flow.p50_ms, flow.p95_ms, flow.p99_ms)
            assert told == pytest.approx(tuple(np.percentile(answered, [50, 95, 99])))
