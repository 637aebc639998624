"""Rules: what can be written, what is meant where it is not, and what every service has."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from watched import reading

from nbdeploy import watching
from nbdeploy.errors import NotFound, UnknownOption, WrongUse
from nbdeploy.settings import Settings
from nbdeploy.spans import seconds, shown, span
from nbdeploy.watch import vocabulary
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.expected import expected
from nbdeploy.watch.plan import Plan, built_in
from nbdeploy.watch.rule import KEYS, Rule, condition
from nbdeploy.watch.standing import about


def rule(when: str, **table: Any) -> Rule:
    return Rule.of(None, {"when": when, **table}, "notebook")


@pytest.mark.parametrize(
    "when",
    [
        "error_rate>0.05",
        "drift@age>1",
        "drift@prediction>=1",
        "accuracy.low<0.8",
        "p99_ms>200",
        "expected_accuracy<0.9",
    ],
)
def test_a_rule_is_a_condition_on_a_reading(when: str) -> None:
    assert rule(when).name == rule(when).when.text == when


@pytest.mark.parametrize(
    ("when", "meant"),
    [
        ("eror_rate>0.05", 'no reading "eror_rate". Did you mean "error_rate"'),
        ("unlogged_rows>0", 'no reading "unlogged_rows"'),  # workers count them without times: log_degraded is it
        ("expected_mae>1", 'no reading "expected_mae"'),
        ("p9_ms>200", 'Did you mean "p99_ms"|Did you mean "p95_ms"'),
        ("drift>1", "needs a column: write drift@COLUMN>1"),
        ("error_rate@age>1", "error_rate is not read by column; missing, unseen"),
        ("p99_ms.low>1", "p99_ms has no interval"),
        ("accuracy>=live", "compares with live"),
        ("accuracy>=live*1.02", "compares with live"),
        ("error_rate", "there is no comparison"),
        ("error_rate>5%", 'Did you mean "0.05"'),
        ("error_rate=>0.05", "is no comparison"),
        ("", "there is no comparison"),
    ],
)
def test_what_cannot_be_judged_is_refused_with_what_was_meant(when: str, meant: str) -> None:
    with pytest.raises(WrongUse, match=meant) as caught:
        rule(when)
    assert "live*1.02" not in str(caught.value).replace(when, "")  # gates know it, rules do not


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"when": "error_rate>5"}, 'rate>5" would never hold: error_rate is a share between 0 and 1; 5 % is 0.05.'),
        ({"when": "missing@age>=20"}, "missing is a share between 0 and 1; 20 % is 0.2."),
        ({"when": "accuracy.low<90"}, 'low<90" would always hold: accuracy is a share between 0 and 1; 90 % is 0.9.'),
        ({"when": "expected_accuracy==80"}, "would never hold: expected_accuracy is a share"),
        ({"when": "coverage<-0.5"}, "coverage is a share between 0 and 1."),
        ({"when": "refused_rate>1"}, "would never hold: refused_rate is a share between 0 and 1; 1 % is 0.01."),
        ({"when": "duplicates<0"}, "duplicates is a share between 0 and 1."),
        ({"when": "accuracy<0.8", "clear": "accuracy>=84"}, '"accuracy>=84" would never hold'),
    ],
)
def test_a_bound_that_no_share_can_reach_is_refused(table: dict[str, Any], said: str) -> None:
    with pytest.raises(WrongUse, match=re.escape(said)):
        rule(**table).check_shares()
    with pytest.raises(WrongUse, match=re.escape(said)):
        Plan.of({"rules": {"mine": table}})


@pytest.mark.parametrize(
    "when",
    ["p99_ms>200", "drift@age>3", "requests>5", "mae>3", "mape>5", "r2<-1", "log_loss>2", "brier>1.5", "down>0",
     "drifted_columns==2", "error_rate>0", "accuracy<1", "error_rate>=1", "coverage<=0", "requests_per_second>20"],
)  # fmt: skip
def test_what_is_no_share_may_have_any_bound_and_a_share_its_ends(when: str) -> None:
    assert rule(when).check_shares().when.text == when


def test_a_rule_can_be_about_all_that_is_expected_without_labels_and_nothing_else() -> None:
    metrics = expected(np.array([[0.8, 0.2], [0.3, 0.7]] * 20)).metrics
    assert set(metrics) == set(vocabulary.FORESEEN)


@pytest.mark.parametrize(
    ("when", "task", "said"),
    [
        ("accuracy<0.8", "regression", "accuracy is no metric of a regression model. It has mae, mse, rmse, r2, mape"),
        ("mae>3", "classification", r"mae is no metric of a classification model\..* It has accuracy"),
        ("expected_accuracy<0.8", "regression", r"would never fire.*drift@prediction>1"),
        ("accuracy<0.8", "clustering", r"would never fire.*drift@prediction>1"),
    ],
)
def test_a_metric_that_a_model_of_this_task_never_has_is_refused(when: str, task: str, said: str) -> None:
    with pytest.raises(WrongUse, match=said):
        vocabulary.check_task(condition(when, "here"), task)


def test_a_metric_of_the_task_and_any_other_reading_is_taken() -> None:
    for when, task in (("mae>3", "regression"), ("f1_macro<0.8", "classification"), ("error_rate>0.1", "clustering")):
        vocabulary.check_task(condition(when, "here"), task)
    vocabulary.check_task(condition("mae>3", "here"), "")  # of a model whose task is not known


def test_a_column_the_service_has_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(NotFound, match=r'no column "agee"\. Did you mean "age"'):
        vocabulary.check(condition("drift@agee>1", "here"), ["age", "island"])
    vocabulary.check(condition("drift@prediction>1", "here"), ["age"])
    vocabulary.check(condition("drift@agee>1", "here"), [])  # of a service whose columns are not known


@pytest.mark.parametrize(
    ("when", "over"),
    [
        ("error_rate>0.05", "error_rate<=0.04"),
        ("accuracy<1", "accuracy>=1"),
        ("p99_ms>=200", "p99_ms<160"),
        ("drift@age>1", "drift@age<=0.8"),
        ("drifted_columns>0", "drifted_columns<=0"),
        ("accuracy<0.8", "accuracy>=0.84"),
        ("accuracy<0.1", "accuracy>=0.12"),
        ("accuracy.low<=0.95", "accuracy.low>0.96"),
        ("r2<-1", "r2>=-0.8"),
        ("requests<10", "requests>=12"),
    ],
)
def test_a_rule_is_over_a_fifth_of_the_way_back(when: str, over: str) -> None:
    assert str(rule(when).clear) == over


@given(
    st.sampled_from([">", ">=", "<", "<="]),
    st.floats(-1e6, 1e6, allow_subnormal=False),
    st.floats(allow_nan=False, allow_infinity=True),
)
def test_no_value_is_beyond_and_over_at_once(compare: str, bound: float, value: float) -> None:
    made = rule(f"mae{compare}{bound!r}")
    assert not (made.beyond(value) and made.over(value))


@pytest.mark.parametrize("clear", ["error_rate<0.2", "error_rate>0.01", "p99_ms<1", "error_rate==0", "error_rate@a<1"])
def test_a_clear_that_would_hold_while_it_fires_is_refused(clear: str) -> None:
    with pytest.raises(WrongUse):
        rule("error_rate>0.05", clear=clear)


def test_equality_is_over_when_it_no_longer_holds() -> None:
    made = rule("drifted_columns==2")
    assert made.clear is None
    assert made.over(3)
    assert not made.over(2)
    with pytest.raises(WrongUse, match="leave clear out"):
        rule("drifted_columns==2", clear="drifted_columns<=1")


@pytest.mark.parametrize(
    ("table", "meant"),
    [
        ({"wen": "error_rate>1"}, 'There is no key .* "wen". Did you mean "when"'),
        ({}, "says nothing of when"),
        ({"when": 5}, "is no condition"),
        ({"when": "p99_ms>1", "windows": 0}, "windows = 0"),
        ({"when": "p99_ms>1", "windows": True}, "windows = True"),
        ({"when": "p99_ms>1", "windows": 10**12}, "windows = 1000000000000 of 5m .* out of range"),
        ({"when": "p99_ms>1", "every": "soon"}, 'every in the rule: "soon" is no span'),
        ({"when": "p99_ms>1", "every": "0s"}, "out of range"),
        ({"when": "down>0", "every": "1h"}, "looked at each time"),
        ({"when": "p99_ms>1", "send": "ops"}, "is no list of names"),
        ({"when": "p99_ms>1", "send": 5}, "is no list of names"),
        ({"when": "p99_ms>1", "names": {"penguins": True}}, "is no list of names"),
        ({"when": "p99_ms>1", "rows": -1}, "rows = -1"),
    ],
)
def test_a_table_that_cannot_be_read_says_where(table: dict[str, Any], meant: str) -> None:
    with pytest.raises(WrongUse, match=meant):
        Rule.of("errors", table, "settings")


def test_a_rule_cannot_have_a_name_that_breaks_a_line() -> None:
    for name in ("a\nb", "", "x" * 81):
        with pytest.raises(WrongUse, match="cannot name a rule"):
            Rule.of(name, {"when": "p99_ms>1"}, "notebook")


def test_too_few_requests_are_not_judged() -> None:
    found = rule("error_rate>0.05").read(reading(0, requests=19, error_rate=1))
    assert found == NotComputable("19 requests, the rule asks for 20")
    assert rule("error_rate>0.05", rows=0).read(reading(0, requests=1, error_rate=1)) == 1
    assert rule("error_rate>0.05", rows=0).read(reading(0, requests=0, error_rate=1)) == NotComputable(
        "no requests in this window"
    )
    assert rule("requests<10").read(reading(0, requests=0)) == 0  # none is a number as well


def test_of_labels_those_that_came_are_counted() -> None:
    asked = rule("accuracy<0.8")
    assert asked.read(reading(0, rows=100, coverage=0.1, accuracy=0.5)) == NotComputable(
        "10 labelled rows, the rule asks for 20"
    )
    assert asked.read(reading(0, rows=100, coverage=0.2, accuracy=0.5)) == 0.5
    assert isinstance(asked.read(reading(0, rows=100, coverage="no labels")), NotComputable)


def test_nan_is_not_computable_and_infinity_is_beyond() -> None:
    assert rule("drift@age>1").read(reading(0, drift_at_age=float("nan"))) == NotComputable("it is NaN")
    assert rule("drift@age>1").beyond(float("inf"))


@given(st.integers(1, 10**6))
def test_a_length_is_read_as_it_is_shown(seconds: int) -> None:
    assert span(shown(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


def test_every_service_has_rules_without_any_configuration() -> None:
    assert list(built_in()) == ["down", "degraded", "unlogged", "errors", "drift"]
    assert list(Plan.of({}).rules) == list(built_in())
    assert Plan.of({}).send == ("notebook", "log")
    assert Plan.of({"defaults": False}).rules == {}


SETTINGS = """
[alerts]
send = ["log"]
allow = ["10.0.0.0/8"]
[alerts.channels]
ops = "https://hooks.example.com/T000/s3cret"
night = { env = "NIGHT_URL" }
[alerts.rules.errors]
when = "error_rate>0.2"
send = ["ops", "night"]
[alerts.rules.slow]
when = "p99_ms>200"
names = ["penguins"]
"""


def test_the_settings_say_rules_channels_and_reach(tmp_path: Path) -> None:
    (tmp_path / "nbdeploy.toml").write_text(SETTINGS, encoding="utf-8")
    settings = Settings.load(tmp_path)
    plan = Plan.of(settings.alerts)
    assert plan.channels == ("notebook", "log", "ops", "night")
    assert plan.rules["errors"].when.text == "error_rate>0.2"  # in place of the built-in one
    assert plan.rules["errors"].source == "settings"
    assert plan.to(plan.rules["errors"]) == ("ops", "night")
    assert plan.to(plan.rules["down"]) == ("log",)
    assert {rule.name for rule in plan.of_name("other", {})} == set(plan.rules) - {"slow"}
    assert "s3cret" not in repr(settings) + repr(plan)


@pytest.mark.parametrize(
    ("table", "meant"),
    [
        ({"rule": {}}, 'There is no key .* "rule". Did you mean "rules"'),
        ({"channels": {"ops": "hooks.example.com/s3cret"}}, "is no URL"),
        ({"channels": {"ops": 5}}, "is no address"),
        ({"channels": {"ops": {"env": "A", "file": "b"}}}, "is no address"),
        ({"channels": {"log": "https://x"}}, "one of nbdeploy's own"),
        ({"channels": {"ops": "jsons://host/s3cret"}}, "write https://"),
        ({"send": ["ops"]}, 'no channel .* "ops"'),
        ({"rules": {"a": {"when": "p99_ms>1", "send": ["https://host/s3cret"]}}}, "is an address"),
        ({"rules": {"a": "p99_ms>1"}}, "no table"),
        ({"allow": ["example.com"]}, "is no address"),
        ({"defaults": "no"}, "neither true nor false"),
    ],
)
def test_settings_that_cannot_be_read_are_refused_without_their_secrets(table: dict[str, Any], meant: str) -> None:
    with pytest.raises((WrongUse, NotFound, UnknownOption), match=meant) as caught:
        Plan.of(table)
    assert "s3cret" not in str(caught.value)


def test_a_rule_of_the_notebook_takes_the_place_of_others_and_switches_built_in_ones_off() -> None:
    plan = Plan.of({"rules": {"mine": {"when": "p99_ms>1"}}})
    own: dict[str, Any] = {"mine": {"when": "p99_ms>5"}, "drift": None}
    found = {rule.name: rule for rule in plan.of_name("a", own)}
    assert found["mine"].when.text == "p99_ms>5"
    assert "drift" not in found
    assert {rule.name for rule in plan.of_name("a", {"mine": None})} >= {"mine"}  # the settings' own stay


def test_the_key_changes_with_what_is_asked_and_with_nothing_else() -> None:
    made = rule("p99_ms>5")
    assert made.key != rule("p99_ms>6").key
    assert made.key == replace(made, windows=3, rows=1).key
    assert about(rule("accuracy.low<0.8").key) == (rule("accuracy.low<0.8").name, "accuracy.low<0.8")


@pytest.mark.parametrize(
    ("when", "warns"),
    [
        ("accuracy>0.9", True),
        ("accuracy<0.9", False),
        ("error_rate<0.1", True),
        ("p99_ms>5", False),
        ("requests>5", False),
    ],
)
def test_a_rule_that_fires_where_it_is_good_is_warned_of(when: str, warns: bool) -> None:
    assert ("is good" in (rule(when).warning() or "")) == warns


GUIDE = (Path(__file__).parents[1] / "docs" / "guide.md").read_text(encoding="utf-8")
ALERTS = GUIDE.partition("## Alerts\n")[2].partition("\n## ")[0]


def test_the_guide_s_rules_can_be_read_and_its_settings_too() -> None:
    shown = re.findall(r'--when "([^"]+)"', ALERTS)
    assert len(shown) >= 2
    for text in shown:
        assert rule(text).when.text == text
    block = "\n".join(line[4:] for line in ALERTS.splitlines() if line.startswith("    "))
    table = tomllib.loads(block[block.index("[alerts]") : block.index("POST /hook")])["alerts"]
    plan = Plan.of(table)
    assert plan.rules["unsure"].names == ("penguins",)
    assert set(plan.channels) == {"notebook", "log", "ops", "mail"}


@pytest.mark.parametrize("word", [*KEYS, *vocabulary.STATES, *vocabulary.BY_COLUMN, *vocabulary.TRAFFIC])
def test_every_word_of_a_rule_is_in_the_guide(word: str) -> None:
    assert re.search(rf"`{word}[`@]|\b{word} = ", ALERTS)


@pytest.mark.parametrize("text", ["500000w", "999999999w", "36526d"])
def test_a_span_is_no_longer_than_a_century(text: str) -> None:
    with pytest.raises(WrongUse, match="longer than a century"):
        span(text)


@pytest.mark.parametrize(
    ("text", "length"), [(60, 60.0), (0.25, 0.25), ("2.5", 2.5), ("60", 60.0), ("10s", 10.0), (" 1m ", 60.0)]
)
def test_a_pause_is_a_span_or_a_number_of_seconds(text: object, length: float) -> None:
    assert seconds(text) == length


@pytest.mark.parametrize("text", ["0", "0s", 0, -1, "soon", "500ms", "1e9", "inf", ""])
def test_what_is_no_pause_is_wrong_use(text: object) -> None:
    with pytest.raises(WrongUse, match=r"no time to wait|no span of time"):
        seconds(text)


@pytest.mark.parametrize("look", [watching.monitor, watching.drift])
def test_a_window_of_nothing_is_refused(look: Any) -> None:
    with pytest.raises(WrongUse, match="holds nothing"):
        look(None, None, "people", print, every="0s")
