"""How a rule stands: fires once, wavers without a sound, is over; on disk, by several that look, and after kill -9."""

from __future__ import annotations

import contextlib
import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, run_state_machine_as_test
from hypothesis.stateful import rule as step_of
from killing import killed_at_each_step
from watched import BEGIN, HOUR, Given, error_rates, reading

from nbdeploy.errors import DeliveryFailed, HomeUnavailable
from nbdeploy.watch import ledger as ledgers
from nbdeploy.watch.alert import Alert
from nbdeploy.watch.alerts import Alerts, Watch
from nbdeploy.watch.book import PATIENCE, WAITING
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.firing import Firing, firing
from nbdeploy.watch.ledger import Ledger
from nbdeploy.watch.look import SETTLED, look
from nbdeploy.watch.message import Message
from nbdeploy.watch.outbox import Outbox
from nbdeploy.watch.plan import Plan
from nbdeploy.watch.preview import Preview
from nbdeploy.watch.rule import Rule
from nbdeploy.watch.standing import Standing, stepped

if TYPE_CHECKING:
    from pathlib import Path

    from nbdeploy.watch.reading import Reading


SECOND = timedelta(seconds=1)


def rule_of(**table: Any) -> Rule:
    return Rule.of("errors", {"when": "error_rate>0.05", "every": "1h", "rows": 0, "repeat": "1s", **table}, "notebook")


def told(readings: list[Reading], **table: Any) -> list[tuple[str, int]]:
    """What was told, and in the window that ended so many hours after BEGIN."""
    _, alerts = stepped("penguins", rule_of(**table), Standing(), readings)
    return [(alert.state, (alert.ended - BEGIN) // HOUR) for alert in alerts]


def test_it_fires_once_and_is_over_once() -> None:
    assert told(error_rates(0, 0.1, 0.2, 0.1, 0.0, 0.0)) == [("firing", 2), ("resolved", 5)]


def test_it_lasted_as_long_as_it_was_bad() -> None:
    """The good window that ends it is none of it."""
    _, alerts = stepped("penguins", rule_of(), Standing(), error_rates(0, 0.1, 0.2, 0.045, 0))
    assert alerts[-1].text == (
        "penguins: errors (error_rate>0.05) is over, now 0; it lasted 3 h, from 2026-11-16 01:00 UTC"
    )


def test_a_reading_that_wavers_around_its_bound_fires_once() -> None:
    wavering = error_rates(*[0.051, 0.049] * 20, 0.04)
    assert told(wavering) == [("firing", 1), ("resolved", 41)]


def test_a_rule_may_ask_for_several_windows_on_end() -> None:
    assert told(error_rates(0.1, 0, 0.1, 0.1, 0, 0.1, 0.1, 0.1, 0), windows=3) == [("firing", 8), ("resolved", 9)]


@pytest.mark.parametrize(
    ("alert", "text"),
    [
        (Alert("a", "down", "down>0", "firing", 1, 1, BEGIN, BEGIN, BEGIN), "a: down fires at 2026-11-16 00:00 UTC"),
        (
            Alert("a", "gone", "down >= 1", "firing", 1, 1, BEGIN, BEGIN + HOUR, BEGIN + HOUR, "1.0.0"),
            "a: gone (down) fires at 2026-11-16 01:00 UTC, since 2026-11-16 00:00 UTC, version 1.0.0",
        ),
        (
            Alert("a", "down", "down>0", "resolved", 0, 1, BEGIN, BEGIN + HOUR, BEGIN + HOUR),
            "a: down is over; it lasted 1 h, from 2026-11-16 00:00 UTC",
        ),
        (
            Alert("a", "up", "down<1", "firing", 0, 0, BEGIN, BEGIN, BEGIN),
            "a: up (down<1) fires: 0 at 2026-11-16 00:00 UTC",
        ),
    ],
)
def test_how_the_service_is_is_told_without_a_number(alert: Alert, text: str) -> None:
    assert alert.text == text


def test_a_page_tells_how_the_service_is_without_a_number() -> None:
    words = (BEGIN + SECOND, 1, 1, BEGIN)
    assert Firing("down", "down>0", *words).text == "down fires since 2026-11-16 00:00 UTC"
    assert Firing("gone", "down>0", *words).text == "gone (down) fires since 2026-11-16 00:00 UTC"
    assert Firing("r", "drifted_columns>0", *words).text.endswith(", now 1")


def test_windows_of_less_than_a_minute_are_told_with_seconds() -> None:
    words = ("a", "r", "error_rate>0.05")
    short = Alert(*words, "firing", 1, 1, BEGIN, BEGIN + 30 * SECOND, BEGIN + 60 * SECOND)
    assert short.text == (
        "a: r (error_rate>0.05) fires: 1 from 2026-11-16 00:00:30 to 00:01:00 UTC, since 2026-11-16 00:00:00 UTC"
    )
    first = Alert(*words, "firing", 1, 1, BEGIN, BEGIN, BEGIN + 30 * SECOND)
    assert "from 2026-11-16 00:00:00 to 00:00:30 UTC" in first.text
    over = Alert(*words, "resolved", 0, 1, BEGIN + 30 * SECOND, BEGIN + 60 * SECOND, BEGIN + 90 * SECOND)
    assert over.text.endswith("it lasted 30 s, from 2026-11-16 00:00:30 UTC")
    assert "since 2026-11-16 00:00:30 UTC" in Firing("r", words[2], BEGIN + 30 * SECOND, 1, 1, BEGIN).text
    night = Alert(*words, "firing", 1, 1, BEGIN, BEGIN - 30 * SECOND, BEGIN)
    assert "from 2026-11-15 23:59:30 to 2026-11-16 00:00:00 UTC" in night.text


def test_what_is_not_computable_neither_fires_nor_interrupts_nor_ends() -> None:
    assert told(error_rates(0.1, "no rows", "no rows", 0.1, "no rows", 0.0), windows=2) == [
        ("firing", 4),
        ("resolved", 6),
    ]
    standing, _ = stepped("penguins", rule_of(), Standing(), error_rates(0.1, "dropped by the log's policy"))
    assert (standing.state, standing.why) == ("firing", "dropped by the log's policy")


def test_a_flapping_rule_is_told_at_most_once_in_its_time_and_what_was_held_is_counted() -> None:
    flapping = error_rates(*[0.1, 0.0] * 6, 0.1, 0.1, 0.1)
    _, alerts = stepped("penguins", rule_of(repeat="6h"), Standing(), flapping)
    assert [(alert.state, (alert.ended - BEGIN) // HOUR, alert.held) for alert in alerts] == [
        ("firing", 1, 0),
        ("resolved", 2, 0),
        ("firing", 7, 2),
        ("resolved", 8, 0),
        ("firing", 13, 2),
    ]
    assert "it fired 2 more times meanwhile" in alerts[2].text


def test_a_firing_that_came_too_soon_is_told_when_the_time_is_over() -> None:
    lasting = error_rates(0.1, 0.0, 0.1, 0.1, 0.1, "gone", 0.1)
    _, alerts = stepped("penguins", rule_of(repeat="5h"), Standing(), lasting)
    assert [(alert.state, (alert.ended - BEGIN) // HOUR) for alert in alerts] == [
        ("firing", 1),
        ("resolved", 2),
        ("firing", 6),
    ]
    assert alerts[-1].since == BEGIN + 2 * HOUR


VALUES = st.lists(st.one_of(st.sampled_from([0.0, 0.045, 0.05, 0.1, 0.3]), st.just("no rows")), max_size=40)
TABLES = st.fixed_dictionaries({"windows": st.integers(1, 4), "repeat": st.sampled_from(["1s", "1h", "3h", "1d"])})


@given(VALUES, TABLES)
def test_firing_and_over_take_turns_and_nothing_is_told_too_often(values: list[Any], table: dict[str, Any]) -> None:
    rule = rule_of(**table)
    standing, alerts = stepped("penguins", rule, Standing(), error_rates(*values))
    assert [alert.state for alert in alerts] == ["firing", "resolved"] * (len(alerts) // 2) + ["firing"] * (
        len(alerts) % 2
    )
    fired = [alert.ended for alert in alerts if alert.state == "firing"]
    assert all(later - earlier >= rule.repeat for earlier, later in itertools.pairwise(fired))
    assert len({alert.id for alert in alerts}) == len(alerts)
    assert standing.open == (len(alerts) % 2 == 1)


@given(VALUES, TABLES)
def test_it_fires_where_and_only_where_so_many_on_end_are_beyond(values: list[Any], table: dict[str, Any]) -> None:
    """Against a model that looks at all of the past at each window."""
    rule, standing = rule_of(**table), Standing()
    for place, window in enumerate(error_rates(*values)):
        standing, _ = stepped("penguins", rule, standing, [window])
        assert (standing.state == "firing") == fires(
            [value for value in values[: place + 1] if value != "no rows"], rule
        )


def fires(known: list[float], rule: Rule) -> bool:
    over = max((place for place, value in enumerate(known) if value <= 0.04), default=-1)
    since = known[over + 1 :]
    runs = "".join("x" if value > 0.05 else "." for value in since)
    return "x" * rule.windows in runs


@given(VALUES, TABLES, st.lists(st.integers(0, 40), max_size=5))
def test_killed_and_begun_again_anywhere_it_tells_the_same(
    values: list[Any], table: dict[str, Any], cuts: list[int]
) -> None:
    """Also where windows that were seen are given once more."""
    rule, readings = rule_of(**table), error_rates(*values)
    _, whole = stepped("penguins", rule, Standing(), readings)
    standing, found = Standing(), list[Alert]()
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(readings)], strict=True):
        standing = Standing.back(json.loads(json.dumps(standing.kept())))
        standing, alerts = stepped("penguins", rule, standing, readings[max(begin - 3, 0) : end])
        found += alerts
    assert [Alert.back(json.loads(json.dumps(alert.kept()))) for alert in found] == whole


# previews


def test_a_preview_says_how_often_it_would_have_fired_since_when_and_for_how_long() -> None:
    history = error_rates("no requests", 0.1, 0.1, 0, 0.2, 0, 0, 0.1)
    seen = Preview.over("penguins", rule_of(), history, BEGIN - 3 * 24 * HOUR, BEGIN + 2 * 24 * HOUR)
    assert seen.text == "would have fired 3 times since Monday"
    assert [(item.began, item.ended, item.worst) for item in seen.firings] == [
        (BEGIN + HOUR, BEGIN + 3 * HOUR, 0.1),
        (BEGIN + 4 * HOUR, BEGIN + 5 * HOUR, 0.2),
        (BEGIN + 7 * HOUR, None, 0.1),
    ]
    shown = str(seen)
    assert "preview: not switched on" in shown
    assert "2026-11-16 01:00 UTC  2 h" in shown
    assert "1 window not computable: no requests" in shown


def test_a_preview_of_nothing_says_why() -> None:
    none = Preview.over("penguins", rule_of(), error_rates("no requests", "no requests"), BEGIN, BEGIN + HOUR)
    assert none.text == "cannot be told: no requests"
    assert Preview.over("penguins", rule_of(), error_rates(0, 0), BEGIN, BEGIN + 9 * 24 * HOUR).text == (
        "would not have fired since 2026-11-16 00:00 UTC"
    )


@given(VALUES, TABLES)
def test_a_preview_tells_what_the_rule_would_have_told(values: list[Any], table: dict[str, Any]) -> None:
    readings = error_rates(*values)
    seen = Preview.over("penguins", rule_of(**table), readings, BEGIN, BEGIN + 40 * HOUR)
    _, alerts = stepped("penguins", rule_of(**table), Standing(), readings)
    assert sum(item.told for item in seen.firings) == sum(alert.state == "firing" for alert in alerts)
    assert seen.judged + sum(seen.unjudged.values()) == len(values)


# looks


ERRORS = {"defaults": False, "rules": {"errors": {"when": "error_rate>0.05", "every": "1h", "repeat": "1s"}}}


def source(*values: float | str) -> Given:
    readings = {item.began: item.values for item in error_rates(*values)}
    return Given(lambda began: readings.get(began, {"requests": 0.0}))


def at(hours: float) -> datetime:
    return BEGIN + hours * HOUR + 2 * SETTLED


def test_what_closed_since_the_last_look_is_judged_once_by_whoever_looks(tmp_path: Path) -> None:
    plan, given_ = Plan.of(ERRORS), source(0, 0, 0.1, 0.1, 0.1)
    assert not look("penguins", plan, Ledger(tmp_path), given_, at(2)).alerts
    found = look("penguins", plan, Ledger(tmp_path), given_, at(4)).alerts
    assert [alert.state for alert in found] == ["firing"]
    again = [look("penguins", plan, Ledger(tmp_path), given_, at(5)).alerts for _ in range(3)]
    assert again == [(), (), ()]
    assert [message.alerts for message in Ledger(tmp_path).read().post("log").waiting] == [found]


def test_the_same_alert_found_by_another_way_is_queued_once(tmp_path: Path) -> None:
    """A rule that is taken away and added again judges its windows anew; who was told of one is not told again."""
    plan, given_ = Plan.of(ERRORS), source(0.1, 0.1, 0.1)
    (alert,) = look("penguins", plan, Ledger(tmp_path), given_, at(1)).alerts
    with Ledger(tmp_path).turn() as page:
        page.add(page.book.looking(at(1), {}, (), ()))
    assert look("penguins", plan, Ledger(tmp_path), given_, at(1)).alerts == ()
    assert Ledger(tmp_path).read().recent[-1]["id"] == alert.id


def test_a_new_rule_fires_at_once_on_what_is_now_and_never_on_what_was(tmp_path: Path) -> None:
    table = {"defaults": False, "rules": {"errors": ERRORS["rules"]["errors"] | {"windows": 2}}}  # type: ignore[index] # a table
    found = look("penguins", Plan.of(table), Ledger(tmp_path), source(0.1, 0.1, 0.1, 0, 0.1, 0.1), at(6)).alerts
    assert [(alert.state, alert.since) for alert in found] == [("firing", BEGIN + 4 * HOUR)]


def test_a_watcher_that_was_away_catches_up(tmp_path: Path) -> None:
    plan, given_ = Plan.of(ERRORS), source(0, 0.1, 0, 0, 0.2, 0)
    look("penguins", plan, Ledger(tmp_path), given_, at(1))
    found = look("penguins", plan, Ledger(tmp_path), given_, at(9)).alerts
    assert [(alert.state, (alert.ended - BEGIN) // HOUR) for alert in found] == [
        ("firing", 2),
        ("resolved", 3),
        ("firing", 5),
        ("resolved", 6),
    ]


def test_windows_are_judged_once_they_are_whole_and_the_log_is_not_read_before(tmp_path: Path) -> None:
    plan, given_ = Plan.of(ERRORS), source(0, 0.1)
    look("penguins", plan, Ledger(tmp_path), given_, at(1))
    asked = given_.asked.total()
    for minutes in (1, 30, 59):
        assert not look("penguins", plan, Ledger(tmp_path), given_, at(1 + minutes / 61)).alerts
    assert not look("penguins", plan, Ledger(tmp_path), given_, BEGIN + 2 * HOUR).alerts  # requests may be on their way
    assert given_.asked.total() == asked
    assert look("penguins", plan, Ledger(tmp_path), given_, at(2)).alerts


def test_a_storm_is_one_message_a_channel(tmp_path: Path) -> None:
    rules = {f"r{number}": {"when": "error_rate>0.05", "every": "1h"} for number in range(60)}
    found = look("penguins", Plan.of({"defaults": False, "rules": rules}), Ledger(tmp_path), source(0.1), at(1))
    assert len(found.alerts) == 60
    book = Ledger(tmp_path).read()
    assert {channel: len(post.waiting) for channel, post in book.posts.items()} == {"notebook": 1, "log": 1}
    (message,) = book.post("log").waiting
    assert message.title == "nbdeploy: penguins: 60 rules fire"
    assert message.text.endswith("and 40 more")
    assert len(message.body()["alerts"]) == 60


def test_a_rule_that_is_taken_away_while_it_fires_is_told_to_be_over(tmp_path: Path) -> None:
    given_ = source(0.1, 0.1)
    look("penguins", Plan.of(ERRORS), Ledger(tmp_path), given_, at(1))
    (over,) = look("penguins", Plan.of({"defaults": False}), Ledger(tmp_path), given_, at(2)).alerts
    assert (over.state, over.rule) == ("resolved", "errors")
    assert "changed or taken away" in over.text
    assert look("penguins", Plan.of({"defaults": False}), Ledger(tmp_path), given_, at(2)).alerts == ()


def test_a_service_that_is_down_is_told_after_two_looks_and_once(tmp_path: Path) -> None:
    given_ = Given(lambda _: {"requests": 0.0}, down=1)
    found = [look("penguins", Plan.of({}), Ledger(tmp_path), given_, at(place / 60)).alerts for place in range(5)]
    assert [len(alerts) for alerts in found] == [0, 1, 0, 0, 0]
    assert found[1][0].rule == "down"
    given_.down = 0
    (over,) = look("penguins", Plan.of({}), Ledger(tmp_path), given_, at(0.2)).alerts
    assert over.state == "resolved"
    assert "it lasted 12 min, from" in over.text


def test_a_log_that_cannot_be_read_keeps_no_other_rule_from_being_judged(tmp_path: Path) -> None:
    """Nothing of it counts as seen: once it can be read again its windows are judged."""
    rules = {"errors": {"when": "error_rate>0.05", "every": "1h"}, "gone": {"when": "down>0"}}
    plan, given_ = Plan.of({"defaults": False, "rules": rules}), source(0, 0.1, 0.1)
    look("penguins", plan, Ledger(tmp_path), given_, at(1))
    read, given_.down = given_.windows, 1.0
    given_.windows = broken  # type: ignore[method-assign] # of this one
    seen = look("penguins", plan, Ledger(tmp_path), given_, at(2))
    assert [alert.rule for alert in seen.alerts] == ["gone"]
    assert "Permission denied" in seen.failed[0]
    assert "Permission denied" in Ledger(tmp_path).read().standings[plan.rules["errors"].key].why
    given_.windows = read  # type: ignore[method-assign] # as above
    assert [alert.since for alert in look("penguins", plan, Ledger(tmp_path), given_, at(3)).alerts] == [BEGIN + HOUR]


def broken(*_: object, **_named: object) -> list[Reading]:
    raise PermissionError(13, "Permission denied", "/log")


def test_looks_that_find_nothing_new_write_nothing(tmp_path: Path) -> None:
    given_ = Given(lambda _: {"requests": 100.0, "rows": 100.0, "error_rate": 0.0, "drifted_columns": 0.0})
    look("penguins", Plan.of({}), Ledger(tmp_path), given_, at(0.001))
    size = Ledger(tmp_path).path.stat().st_size
    for second in range(20):
        look("penguins", Plan.of({}), Ledger(tmp_path), given_, at(0.002 + second / 3600))
    assert Ledger(tmp_path).path.stat().st_size == size


def test_labels_that_come_late_are_judged_when_they_come(tmp_path: Path) -> None:
    plan = Plan.of({"defaults": False, "rules": {"bad": {"when": "accuracy<0.8", "every": "1d"}}})
    labelled: dict[datetime, float] = {}
    given_ = Given(
        lambda began: (
            {"rows": 100.0, "coverage": 1.0, "accuracy": labelled[began]}
            if began in labelled
            else {"rows": 100.0, "coverage": NotComputable("no labels"), "accuracy": NotComputable("no labels")}
        )
    )
    days = [BEGIN + day * 24 * HOUR for day in range(6)]
    look("penguins", plan, Ledger(tmp_path), given_, days[1] + 2 * SETTLED)
    for day in days[2:4]:
        assert not look("penguins", plan, Ledger(tmp_path), given_, day + 2 * SETTLED).alerts
    asked = given_.asked.total()
    assert not look("penguins", plan, Ledger(tmp_path), given_, days[5] + 2 * SETTLED).alerts
    assert given_.asked.total() == asked  # nothing is read again before labels come
    assert Ledger(tmp_path).read().standings[plan.rules["bad"].key].why == "no labelled rows in this window"
    labelled |= {days[0]: 0.9, days[1]: 0.5}
    given_.stamp = "1-100"
    (alert,) = look("penguins", plan, Ledger(tmp_path), given_, days[5] + 3 * SETTLED).alerts
    assert (alert.state, alert.began) == ("firing", days[1])
    labelled[days[2]] = 0.95
    given_.stamp = "1-200"
    (over,) = look("penguins", plan, Ledger(tmp_path), given_, days[5] + 4 * SETTLED).alerts
    assert (over.state, over.began) == ("resolved", days[2])


def test_what_fires_is_told_to_pages_and_lists(tmp_path: Path) -> None:
    plan = Plan.of(ERRORS)
    ledger = Ledger(tmp_path / "alerts")
    look("penguins", plan, ledger, source(0.1, "dropped"), at(1))
    (now,) = firing(tmp_path)
    assert (now.rule, now.since, now.value) == ("errors", BEGIN, 0.1)
    assert now.text.endswith(", now 0.1")
    look("penguins", plan, ledger, source(0.1, "dropped"), at(2))
    assert firing(tmp_path)[0].text.endswith(", last 0.1; not computable now: dropped")
    listed = Alerts.of("penguins", plan, ledger.read(), {}, None)
    assert "1 firing" in str(listed)
    assert "nobody watches" in str(listed)
    assert listed.to_dict()["rules"][0]["state"] == "firing"
    assert firing(tmp_path / "other") == ()


def test_counts_are_told_exactly_wherever_an_alert_is_told(tmp_path: Path) -> None:
    table = {"when": "requests>1000", "every": "1h", "repeat": "1s"}
    plan, ledger = Plan.of({"defaults": False, "rules": {"busy": table}}), Ledger(tmp_path / "alerts")
    busy = [reading(place, requests=count) for place, count in enumerate((1_004, 12_345))]
    given_ = Given(lambda began: {item.began: item.values for item in busy}.get(began, {"requests": 1.0}))
    look("penguins", plan, ledger, given_, at(1))
    assert "busy (requests>1000) fires: 1,004 from" in ledger.read().post("log").waiting[0].text
    assert "now 1,004" in firing(tmp_path)[0].text
    listed = str(Alerts.of("penguins", plan, ledger.read(), {}, None))
    assert listed.count("1,004") == 2  # what it is now, and what was told
    assert "  12,345" in str(Preview.over("penguins", plan.rules["busy"], busy, BEGIN, BEGIN + 2 * HOUR))


def test_a_column_s_name_may_hold_a_line_break(tmp_path: Path) -> None:
    rules = {"odd": {"when": "missing@two\nlines>0.05", "every": "1h", "rows": 0}}
    given_ = Given(lambda _: {"rows": 100.0, "missing@two\nlines": 0.5})
    look("penguins", Plan.of({"defaults": False, "rules": rules}), Ledger(tmp_path / "alerts"), given_, at(1))
    assert [(now.rule, now.when) for now in firing(tmp_path)] == [("odd", "missing@two\nlines>0.05")]
    (over,) = look("penguins", Plan.of({"defaults": False}), Ledger(tmp_path / "alerts"), given_, at(2)).alerts
    assert (over.rule, over.state) == ("odd", "resolved")


def test_f40_a_clock_that_was_ahead_for_a_moment_blinds_no_rule(tmp_path: Path) -> None:
    rules = {"gone": {"when": "down>0"}, "errors": {"when": "error_rate>0.05", "every": "1h"}}
    plan, given_ = Plan.of({"defaults": False, "rules": rules}), source()
    for hours in (1, 100, 2):
        assert look("penguins", plan, Ledger(tmp_path), given_, at(hours)).alerts == ()
    given_.down, given_.at = 1, source(0, 0, 0, 0.1).at
    (gone,) = look("penguins", plan, Ledger(tmp_path), given_, at(3)).alerts
    assert (gone.rule, gone.ended) == ("gone", at(3))
    assert [alert.rule for alert in look("penguins", plan, Ledger(tmp_path), given_, at(4)).alerts] == ["errors"]


# the disk


def test_the_ledger_is_the_user_s_alone(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "alerts")
    look("penguins", Plan.of(ERRORS), ledger, source(0.1), at(1))
    assert ledger.folder.stat().st_mode & 0o777 == 0o700
    assert ledger.path.stat().st_mode & 0o777 == 0o600


@given(st.integers(1, 200), st.binary(max_size=30))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_torn_line_says_nothing_and_the_next_goes_on(tmp_path: Path, cut: int, rest: bytes) -> None:
    ledger = Ledger(tmp_path)
    ledger.path.unlink(missing_ok=True)
    look("penguins", Plan.of(ERRORS), ledger, source(0.0, 0.1), at(1))
    before = ledger.path.read_bytes()
    look("penguins", Plan.of(ERRORS), ledger, source(0.0, 0.1), at(2))
    after = ledger.path.read_bytes()
    torn = after[: max(len(after) - cut, len(before))] + rest.replace(b"\n", b"")
    ledger.path.write_bytes(torn if not torn.endswith(b"\n") else torn[:-1])
    if torn == before:
        ledger.path.write_bytes(before)
    assert len(look("penguins", Plan.of(ERRORS), ledger, source(0.0, 0.1), at(2)).alerts) == 1
    assert len(ledger.read().post("log").waiting) == 1
    assert ledger.read() == ledger.read()


def test_a_ledger_that_grew_is_written_anew_and_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, given_ = Ledger(tmp_path), source(*[0.1, 0.0] * 20)
    for hour in range(1, 20):
        look("penguins", Plan.of(ERRORS), ledger, given_, at(hour))
    before, size = ledger.read(), ledger.path.stat().st_size
    monkeypatch.setattr(ledgers, "LARGEST", 1000)
    with ledger.turn():
        pass
    assert ledger.read() == before
    assert ledger.path.stat().st_size < size
    assert ledger.path.stat().st_mode & 0o777 == 0o600


def test_killed_at_any_step_a_look_is_whole_or_has_not_been(tmp_path: Path) -> None:
    ledger, plan, given_ = Ledger(tmp_path), Plan.of(ERRORS), source(0, 0.1)
    look("penguins", plan, ledger, given_, at(1))
    expected = None
    for _ in killed_at_each_step(lambda: look("penguins", plan, ledger, given_, at(2))):
        look("penguins", plan, ledger, given_, at(2))
        book = ledger.read()
        ids = [message.id for message in book.post("log").waiting]
        assert len(ids) == 1
        assert ids == (expected or ids)
        expected = ids
        ledger.path.unlink()
        look("penguins", plan, ledger, given_, at(1))


def test_a_watcher_does_not_bring_back_the_folder_of_a_service_that_was_removed(tmp_path: Path) -> None:
    with pytest.raises(HomeUnavailable):
        look("penguins", Plan.of(ERRORS), Ledger(tmp_path / "penguins" / "alerts", there=True), source(0.1), at(1))
    assert list(tmp_path.iterdir()) == []


# the outbox


class Flaky:
    """A channel that takes what it is told to take."""

    name = "ops"
    shown = "https://hooks.example.com/***"

    def __init__(self) -> None:
        self.taken: list[Message] = []
        self.mood = "ok"

    def send(self, message: Message) -> None:
        if self.mood == "down":
            raise DeliveryFailed("ops", "it is down")
        self.taken.append(message)
        if self.mood == "killed":
            raise KeyboardInterrupt


OPS = ERRORS | {"channels": {"ops": "https://hooks.example.com/s3cret"}, "send": ["ops"]}


def test_an_outage_is_waited_for_longer_and_longer_and_then_all_is_delivered_once_in_order(tmp_path: Path) -> None:
    ledger, plan, channel, clock = Ledger(tmp_path), Plan.of(OPS), Flaky(), [at(6)]
    for hour in range(1, 7):
        look("penguins", plan, ledger, source(0.1, 0, 0.1, 0, 0.1, 0), at(hour))
    waits, outbox = [], Outbox(ledger, {"ops": channel}, lambda: clock[0], lambda: 1.0)
    channel.mood = "down"
    for attempt in range(12):
        said = outbox.deliver()
        assert said == (["ops failed: it is down; tried again in 5 s"] if attempt == 0 else [])
        due = outbox.due()
        assert due is not None
        waits.append((due - clock[0]).total_seconds())
        assert outbox.deliver() == []  # not before it is due
        clock[0] = due
    assert waits == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900, 900]
    channel.mood = "ok"
    assert len(outbox.deliver()) == 6
    assert [message.alerts[0].state for message in channel.taken] == ["firing", "resolved"] * 3
    assert outbox.deliver() == []
    post = ledger.read().post("ops")
    assert (post.waiting, post.fact, post.attempts) == ([], "", 0)


def test_what_waits_is_never_listed_as_told(tmp_path: Path) -> None:
    """How many, since when and why; and of each alert, for which channels."""
    ledger, plan, channel, clock = Ledger(tmp_path), Plan.of(OPS | {"send": ["ops", "log"]}), Flaky(), [at(1)]
    outbox = Outbox(ledger, {"ops": channel, "log": Flaky()}, lambda: clock[0], lambda: 1.0)

    def listed(watch: Watch | None = None) -> Alerts:
        return Alerts.of("penguins", plan, ledger.read(), {}, watch)

    look("penguins", plan, ledger, source(0.1, 0.0), at(1))
    outbox.deliver()
    assert "waits for ops" not in str(listed())
    channel.mood, clock[0] = "down", at(2)
    look("penguins", plan, ledger, source(0.1, 0.0), clock[0])
    assert "1 message waits for ops since 2026-11-16 02:00 UTC: nobody delivers" in str(listed())
    assert "1 message waits for ops since 2026-11-16 02:00 UTC: not tried yet" in str(listed(Watch(1, "2026", 60)))
    outbox.deliver()
    look("penguins", plan, ledger, source(0.1, 0.0, 0.2), at(3))
    assert "2 messages wait for ops since 2026-11-16 02:00 UTC: it is down" in str(listed())
    told = listed().to_dict()
    assert [alert["waits_for"] for alert in told["recent"]] == [[], ["ops"], ["log", "ops"]]
    ops = next(post for post in told["channels"] if post["name"] == "ops")
    assert (ops["waiting"], ops["waiting_since"], ops["fact"]) == (2, at(2).isoformat(), "it is down")
    lines = [text.split() for text in str(listed()).splitlines() if " errors  " in text][-3:]
    assert [words[4:] for words in lines] == [["0.2", "log,", "ops"], ["0", "ops"], ["0.1", "-"]]
    channel.mood, clock[0] = "ok", at(4)
    outbox.deliver()
    assert [alert["waits_for"] for alert in listed().to_dict()["recent"]] == [[], [], []]
    assert " for ops since" not in str(listed())


def test_a_sender_that_raises_whatever_it_likes_does_not_starve_the_channels_after_it(tmp_path: Path) -> None:
    class Broken(Flaky):
        def send(self, message: Message) -> None:
            raise KeyError("https://hooks.example.com/s3cret")

    ledger, channel = Ledger(tmp_path), Flaky()
    both = OPS | {"channels": dict.fromkeys(("a", "b"), "https://hooks.example.com/s3cret"), "send": ["a", "b"]}
    look("penguins", Plan.of(both), ledger, source(0.1), at(1))
    failed, sent = Outbox(ledger, {"a": Broken(), "b": channel}, lambda: at(1), lambda: 1.0).deliver()
    assert failed == "a failed: its sender stopped with a KeyError; tried again in 5 s"
    assert sent.startswith("sent to b")
    post = ledger.read().post("a")
    assert (len(channel.taken), len(post.waiting), post.attempts) == (1, 1, 1)
    assert "s3cret" not in post.fact


def test_f40_a_try_that_a_clock_ahead_put_off_is_due_once_it_goes_right(tmp_path: Path) -> None:
    ledger, channel, clock = Ledger(tmp_path), Flaky(), [at(100)]
    look("penguins", Plan.of(OPS), ledger, source(0.1), at(1))
    outbox = Outbox(ledger, {"ops": channel}, lambda: clock[0], lambda: 1.0)
    channel.mood = "down"
    outbox.deliver()
    channel.mood, clock[0] = "ok", at(1)
    assert outbox.due() == at(1)
    assert len(outbox.deliver()) == len(channel.taken) == 1


def test_jitter_keeps_a_wait_between_half_and_all(tmp_path: Path) -> None:
    ledger, channel = Ledger(tmp_path), Flaky()
    look("penguins", Plan.of(OPS), ledger, source(0.1), at(1))
    channel.mood = "down"
    Outbox(ledger, {"ops": channel}, lambda: at(1), lambda: 0.0).deliver()
    assert ledger.read().post("ops").due == at(1) + timedelta(seconds=2.5)


@pytest.mark.slow
def test_a_queue_has_an_end_the_oldest_go_first_and_what_was_dropped_is_said(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with ledger.turn() as page:
        for number in range(WAITING + 3):
            alert = Alert("penguins", "r", "p99_ms>1", "firing", 2, 2, BEGIN + number * HOUR, BEGIN, BEGIN)
            message = Message("penguins", "ops", at(number), (alert,), page.book.post("ops").untold)
            page.add(page.book.looking(at(number), {}, [alert], [message]))
    post = ledger.read().post("ops")
    assert (len(post.waiting), post.dropped) == (WAITING, 3)
    assert post.waiting[0].alerts[0].since == BEGIN + 3 * HOUR
    look("penguins", Plan.of(OPS), ledger, source(0.1), at(1))
    post = ledger.read().post("ops")
    assert "messages never sent before this one: 1" in post.waiting[-1].text
    assert sum(message.dropped for message in post.waiting) + post.untold == post.dropped == 4
    with ledger.turn() as page:  # the one that would have told of another goes as well
        page.add({"dropped": {"channel": "ops", "ids": [post.waiting[-1].id]}})
    post = ledger.read().post("ops")
    assert sum(message.dropped for message in post.waiting) + post.untold == post.dropped == 5
    listed = Alerts.of("penguins", Plan.of(OPS), ledger.read(), {}, None)
    assert "5 never sent" in str(listed)


def test_what_waited_too_long_or_for_a_channel_that_is_gone_is_dropped_and_said(tmp_path: Path) -> None:
    ledger, channel = Ledger(tmp_path), Flaky()
    look("penguins", Plan.of(OPS), ledger, source(0.1), at(1))
    (line,) = Outbox(ledger, {"ops": channel}, lambda: at(1) + PATIENCE + HOUR).deliver()
    assert line == "1 message to ops dropped: it waited for more than 7 days"
    look("penguins", Plan.of(OPS), ledger, source(0.1, 0.0), at(2))
    (line,) = Outbox(ledger, {}, lambda: at(2)).deliver()
    assert line == "1 message to ops dropped: there is no such channel any more"
    assert ledger.read().post("ops").dropped == 2
    assert channel.taken == []


class Life(RuleBasedStateMachine):
    """Windows come, several look, lines tear, the channel fails, processes die: each alert arrives once by id, in order."""

    folder: Path

    @initialize()
    def begin(self) -> None:
        self.ledger = Ledger(self.folder)
        self.ledger.path.unlink(missing_ok=True)
        self.values: list[float | str] = [0.0]
        self.plan = Plan.of(OPS)
        self.channel = Flaky()
        self.now = at(1)
        self.judged = 1
        look("penguins", self.plan, self.ledger, source(*self.values), self.now)

    @step_of(values=st.lists(st.sampled_from([0.0, 0.045, 0.1, "no rows"]), min_size=1, max_size=4))
    def windows_close(self, values: list[float | str]) -> None:
        self.values += values
        self.now += len(values) * HOUR

    @step_of(times=st.integers(1, 2))
    def look(self, times: int) -> None:
        for _ in range(times):
            look("penguins", self.plan, Ledger(self.folder), source(*self.values), self.now)
        self.judged = len(self.values)

    @step_of(mood=st.sampled_from(["ok", "ok", "down", "killed"]))
    def deliver(self, mood: str) -> None:
        self.channel.mood = mood
        self.now += timedelta(seconds=1)
        with contextlib.suppress(KeyboardInterrupt):  # which stands for a kill between sent and noted
            Outbox(self.ledger, {"ops": self.channel}, lambda: self.now + timedelta(days=1)).deliver()

    @precondition(lambda self: self.ledger.path.exists())
    @step_of(junk=st.binary(min_size=1, max_size=20))
    def tear(self, junk: bytes) -> None:
        with self.ledger.path.open("ab") as file:
            file.write(junk.replace(b"\n", b"") or b"x")

    @step_of()
    def write_anew(self) -> None:
        before, ledgers.LARGEST = ledgers.LARGEST, 1
        try:
            with self.ledger.turn():
                pass
        finally:
            ledgers.LARGEST = before

    @invariant()
    def each_alert_is_there_once_and_in_order(self) -> None:
        rule = self.plan.rules["errors"]
        _, expected = stepped("penguins", rule, Standing(), error_rates(*self.values[: self.judged]))
        taken = [alert.id for message in self.channel.taken for alert in message.alerts]
        once = list(dict.fromkeys(taken))
        waiting = [alert.id for message in self.ledger.read().post("ops").waiting for alert in message.alerts]
        assert list(dict.fromkeys([*once, *waiting])) == [alert.id for alert in expected]
        assert len(waiting) == len(set(waiting))


@pytest.mark.slow
def test_through_a_hard_life_nothing_is_lost_nothing_is_doubled(tmp_path: Path) -> None:
    Life.folder = tmp_path
    run_state_machine_as_test(Life, settings=settings(max_examples=25, stateful_step_count=20))


def test_times_are_utc_whatever_the_zone_of_the_machine() -> None:
    alert = Alert("a", "r", "p99_ms>1", "firing", 2.0, 2.0, BEGIN, BEGIN, BEGIN + HOUR)
    assert "from 2026-11-16 00:00 to 01:00 UTC" in alert.text
    assert reading(0).began.tzinfo is UTC
