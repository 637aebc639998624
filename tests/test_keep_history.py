"""What was live when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keep_world import World

from nbdeploy.errors import NotFound, WrongUse
from nbdeploy.keep.history import at, parse_time
from nbdeploy.runtime.clock import now, stamp

if TYPE_CHECKING:
    from pathlib import Path

    from nbdeploy.settings import Settings

NOW = datetime(2026, 11, 2, 15, 30, tzinfo=UTC)


@pytest.fixture
def world(settings: Settings, tmp_path: Path) -> World:
    return World(settings, tmp_path)


def clock(monkeypatch: pytest.MonkeyPatch, time: str) -> None:
    monkeypatch.setattr("nbdeploy.keep.registry.now", lambda: f"2026-11-02T{time}.000Z")


def test_the_version_live_at_a_time_is_found_with_the_event_that_made_it_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(monkeypatch, "10:00:00")
    world.publish()
    clock(monkeypatch, "11:00:00")
    world.publish()
    clock(monkeypatch, "12:00:00")
    world.registry.make_live("penguins", "1.0.0", kind="rolled back", by="ada")
    found = [at(world.registry, "penguins", f"2026-11-02T{time}Z") for time in ("09:00:00", "10:30", "11:30", "12:30")]
    assert [moment.version for moment in found] == [None, "1.0.0", "1.0.1", "1.0.0"]
    assert [moment.serving for moment in found] == [False, True, True, True]
    assert set(found[3].to_dict()) == {"name", "time", "version", "serving", "event"}
    assert found[3].to_dict()["event"]["kind"] == "rolled back"
    assert found[3].to_dict()["event"]["user"] == "ada"
    assert "nothing was live" in str(found[0])
    assert "penguins:1.0.1" in str(found[2])


def test_a_stopped_service_keeps_its_live_version(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, "10:00:00")
    world.publish()
    clock(monkeypatch, "11:00:00")
    world.registry.record("penguins", "stopped")
    clock(monkeypatch, "12:00:00")
    world.registry.record("penguins", "served", "1.0.0")
    found = [at(world.registry, "penguins", f"2026-11-02T{time}Z") for time in ("10:30", "11:30", "12:30")]
    assert [(moment.version, moment.serving) for moment in found] == [
        ("1.0.0", True),
        ("1.0.0", False),
        ("1.0.0", True),
    ]


def test_order_is_by_sequence_where_the_clock_went_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, "14:00:00")
    world.publish()
    clock(monkeypatch, "13:00:00")
    world.publish()
    assert at(world.registry, "penguins", "2026-11-02T14:30Z").version == "1.0.1"
    assert [item.seq for item in world.registry.events()] == sorted(item.seq for item in world.registry.events())


def test_an_unknown_name_is_not_found(world: World) -> None:
    world.publish()
    with pytest.raises(NotFound, match="Did you mean"):
        at(world.registry, "pengins", "2026-11-02T14:30Z")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-02T14:00:00Z", datetime(2026, 11, 2, 14, tzinfo=UTC)),
        ("2026-11-02T14:00:00+02:00", datetime(2026, 11, 2, 12, tzinfo=UTC)),
        (" 2026-11-02 14:00 ", datetime(2026, 11, 2, 14).astimezone()),
        ("2026-11-02", datetime(2026, 11, 2).astimezone()),
        ("9:05", NOW.astimezone().replace(tzinfo=None, hour=9, minute=5).astimezone()),
        ("00:00:01", NOW.astimezone().replace(tzinfo=None, hour=0, minute=0, second=1).astimezone()),
    ],
)
def test_times_are_read_with_and_without_a_zone(text: str, expected: datetime) -> None:
    assert parse_time(text, NOW) == expected


@pytest.mark.parametrize(
    "text", ["", "yesterday", "25:00", "14:60", "2026-13-01", "2026-02-30", "9", "1e9", "14:00 tomorrow"]
)
def test_anything_else_is_wrong_use_with_an_example(text: str) -> None:
    with pytest.raises(WrongUse, match="14:00"):
        parse_time(text, NOW)


def test_the_future_is_refused() -> None:
    with pytest.raises(WrongUse, match="in the future"):
        parse_time("2026-11-03T00:00:00Z", NOW)


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        assert parse_time(text).tzinfo is UTC
    except WrongUse:
        return


@given(
    st.datetimes(
        min_value=datetime(1971, 1, 1),  # noqa: DTZ001 - the zone is drawn beside it
        max_value=datetime(2026, 1, 1),  # noqa: DTZ001 - as above
        timezones=st.integers(-12, 12).map(lambda hours: timezone(timedelta(hours=hours))),
    )
)
def test_every_iso_time_is_read_back(moment: datetime) -> None:
    assert parse_time(moment.isoformat(), NOW) == moment


def test_events_are_stamped_in_utc_with_milliseconds() -> None:
    told = now()
    assert told.endswith("Z")
    assert len(told) == len("2026-11-02T14:00:00.000Z")
    assert datetime.fromisoformat(told).tzinfo is not None
    assert stamp(datetime(2026, 11, 2, 1, tzinfo=timezone(timedelta(hours=2)))) == "2026-11-01T23:00:00.000Z"
