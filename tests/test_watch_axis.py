"""Windows lie on clock time, and are chosen by span and traffic."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from nbdeploy.watch.axis import axis, said


def requests(times: list[datetime], rows: int) -> pd.DataFrame:
    return pd.DataFrame({"time": pd.to_datetime(times, utc=True), "rows": rows})


def test_windows_lie_on_clock_time_and_the_last_one_is_open() -> None:
    now = datetime(2026, 11, 21, 14, 3, 12, tzinfo=UTC)
    found = axis(now, timedelta(days=7), timedelta(hours=6))
    assert (found.began, found.ended) == (
        datetime(2026, 11, 14, 12, tzinfo=UTC),
        datetime(2026, 11, 21, 18, tzinfo=UTC),
    )
    later = axis(now + timedelta(hours=1), timedelta(days=7), timedelta(hours=6))
    assert list(later) == list(found)
    assert found.places(pd.Series(pd.to_datetime([found.began, now, found.ended]))).tolist() == [0, 28, 29]
    assert found.said() == "7 days in windows of 6 hours"


def test_windows_are_chosen_by_span_and_traffic() -> None:
    now = datetime(2026, 11, 21, 14, 3, 12, tzinfo=UTC)
    steady = [now - timedelta(minutes=10 * place) for place in range(1_000)]
    long = axis(now, timedelta(days=90))
    assert (long.every, long.count) == (timedelta(days=7), 14)
    assert axis(now, timedelta(days=7), requests=requests(steady, 100)).every == timedelta(hours=6)
    assert axis(now, timedelta(days=7), requests=requests(steady, 1)).every == timedelta(days=1)
    young = axis(now, timedelta(days=7), requests=requests([now - timedelta(seconds=50)], 100))
    assert (young.every, young.count) == (timedelta(minutes=1), 2)


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (60, "1 minute"),
        (90, "90 seconds"),
        (3_600, "1 hour"),
        (86_400, "1 day"),
        (7 * 86_400, "7 days"),
        (30, "30 seconds"),
    ],
)
def test_spans_are_said_in_words(span: int, words: str) -> None:
    assert said(timedelta(seconds=span)) == words
