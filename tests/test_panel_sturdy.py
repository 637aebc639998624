"""The panel's threads and what it meets in a kernel: late clicks, late answers, variables that raise, panels left behind."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
import pytest
from recording import Noun
from test_panel_state import CODE, WAIT, Gate, Model, Stub, view

from nbdeploy.errors import GateRefused
from nbdeploy.front.session import session
from nbdeploy.runtime.manifest import Column, Schema
from nbdeploy.widgets import asking, fields, parts, plot
from nbdeploy.widgets.actions import Actions
from nbdeploy.widgets.desk import cell_has_run
from nbdeploy.widgets.monitoring import MonitorTab
from nbdeploy.widgets.trying import Control
from nbdeploy.widgets.variables import Variables
from nbdeploy.widgets.view import View

if TYPE_CHECKING:
    from nbdeploy.widgets.actions import Action
    from nbdeploy.widgets.deploying import DeployTab
    from nbdeploy.widgets.trying import TryTab


def test_a_second_click_at_once_is_the_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clicks, now = list[str](), [100.0]
    monkeypatch.setattr("nbdeploy.widgets.parts.time.monotonic", lambda: now[0])
    button = parts.button("Ask", "play", "", lambda: clicks.append("asked"))
    for moment, many in ((100.0, 1), (100.2, 1), (100.4, 1), (101.0, 2)):
        now[0] = moment
        button.click()
        assert len(clicks) == many


def test_what_comes_after_an_action_comes_once_however_late_it_is_cancelled() -> None:
    after, heard, gate = list[str](), list[str](), Gate()
    action = Actions().start(
        "penguins", CODE, gate, lambda action: heard.append(action.text), lambda _action: after.append("")
    )
    assert action is not None
    gate.go.set()
    assert action.ended.wait(WAIT)
    many = len(session().entries)
    action.show("bundling · cancelling", "warning")  # of a cancel that came between
    action.cancel()
    assert (after, heard[-1], action.text) == ([""], "bundled", "bundled")
    assert len(session().entries) == many


@pytest.mark.parametrize(("published", "outcome"), [(True, "refused"), (False, "failed")])
def test_a_refusal_that_marks_its_version_is_kept_for_the_cell(published: bool, outcome: str) -> None:
    def judge(_progress: Any) -> None:
        raise GateRefused("penguins:1.0.0", ["accuracy 0.5 is below 0.9"], "", published=published)

    action = Actions().start("penguins", CODE, judge, lambda _action: None)
    assert action is not None
    assert action.ended.wait(WAIT)
    assert (action.state, session().entries[-1].outcome) == ("failed", outcome)


def test_code_of_the_user_s_that_exits_ends_its_action_and_no_other() -> None:
    def leave(_progress: Any) -> None:
        raise SystemExit(3)

    running = Actions()
    action = running.start("penguins", CODE, leave, lambda _action: None)
    assert action is not None
    assert action.ended.wait(WAIT)
    assert (action.state, action.text) == ("failed", "SystemExit: 3")
    assert running.running("penguins") is None


def test_what_a_tab_fails_to_show_is_said_and_the_panels_look_again() -> None:
    def fail(_action: Action) -> None:
        raise ZeroDivisionError("<of a report>")

    stub = Stub()
    made, before = view(stub), stub.asked
    action = made.desk.start("penguins", CODE, lambda _progress: None, fail)
    assert action is not None
    assert action.ended.wait(WAIT)
    assert "ZeroDivisionError: &lt;of a report" in made.strip.value
    assert stub.asked > before


def test_a_registry_that_raises_anything_ends_no_thread() -> None:
    class Failing(Stub):
        def panel(self, name: str | None = None) -> Any:
            if self.asked:
                raise OSError("<disk>")
            return super().panel(name)

    made = view(Failing())
    action = made.desk.start("penguins", CODE, lambda _progress: None)
    assert action is not None
    assert action.ended.wait(WAIT)
    assert action.state == "done"
    assert "OSError: &lt;disk" in made.strip.value


def test_what_came_of_one_name_is_not_shown_under_another() -> None:
    made, shown = view(Stub()), list[str]()
    then = made.desk.here(lambda _action: shown.append("penguins"))
    then(cast("Action", None))
    made.desk.overview = replace(made.desk.overview, name="churn")
    then(cast("Action", None))
    assert shown == ["penguins"]


def test_variables_that_raise_or_are_nearly_tables_do_no_harm() -> None:
    class Unsure(Model):
        def __getattribute__(self, name: str) -> Any:
            if name == "feature_names_in_":
                raise IndexError("no steps yet")
            return super().__getattribute__(name)

    grouped = pd.DataFrame({"shape": [1, 2], "a": [1, 2]}).groupby("a")  # its .shape is a column
    found = Variables.of({"clf": Unsure(), "grouped": grouped, "rows": [[1, 2], [3, 4]], "pairs": [0, 1]})
    assert found.models == ("clf", "grouped")  # it has a transform
    assert found.fitted_on == {}
    assert [(table.variable, table.width) for table in found.tables] == [("pairs", None), ("rows", 2)]
    assert [table.variable for table in found.labels_for("rows")] == ["pairs"]


def test_a_panel_left_behind_looks_no_more() -> None:
    first = view(Stub())
    first.watch.value = True
    assert first.ticker.running
    first.tick()
    assert first.ticker.running
    for _ in range(4):
        view(Stub())
    first.tick()
    assert not first.ticker.running


def test_a_sample_that_was_chosen_stays_though_no_labels_go_with_it() -> None:
    X = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1, 2, 3]})
    variables: dict[str, Any] = {"clf": Model(), "X_train": X, "X_few": X.head(2), "y_train": [0, 1, 0]}
    made = View(Stub().panel(), lambda: variables)
    deploy = cast("DeployTab", made.tabs[0])
    assert (deploy.sample.value, deploy.target.value) == ("X_train", "y_train")
    deploy.sample.value = "X_few"
    cell_has_run("more = 1")
    assert (deploy.sample.value, deploy.target.value) == ("X_few", "")
    del variables["X_few"]
    cell_has_run("del X_few")
    assert deploy.sample.value == "X_train"


def test_a_page_of_the_monitor_is_not_shown_under_another_name() -> None:
    def late(*_: object, **__: object) -> Any:
        tab.name = "churn"
        return Noun({})

    desk = SimpleNamespace(workspace=SimpleNamespace(monitor=late), overview=SimpleNamespace(versions=("1.0.0",)))
    tab = MonitorTab(cast("Any", desk))
    tab.name, tab.selected = "penguins", True
    tab.follow()
    assert tab.page.value == ""
    tab.follow()
    assert "penguins" in tab.page.value


def test_a_first_look_that_takes_long_says_so() -> None:
    told = list[str]()

    def slow(*_: object, **__: object) -> Any:
        told.append(tab.page.value)
        return Noun({})

    desk = SimpleNamespace(workspace=SimpleNamespace(monitor=slow), overview=SimpleNamespace(versions=("1.0.0",)))
    tab = MonitorTab(cast("Any", desk))
    tab.name, tab.selected = "penguins", True
    tab.follow()
    assert "Reading the log" in told[0]
    assert "Reading the log" not in tab.page.value


def test_why_there_is_no_result_carries_its_time() -> None:
    failed = cast("Action", SimpleNamespace(state="failed", text="<damaged>", time="12:00:00"))
    made = view(Stub())
    tried = cast("TryTab", made.tabs[1])
    made.services._show(failed)
    made.services._logged(failed)
    made.monitor._looked(failed)
    tried._answered(failed)
    for shown in (made.services.shown, made.services.log, made.monitor.page, tried.answer):
        assert "&lt;damaged&gt;" in shown.value
        assert "as of 12:00:00" in shown.value


def test_probabilities_that_are_no_numbers_leave_a_gap() -> None:
    answers = [{"no": None, "yes": 0.2}, {"no": 0.7, "yes": None}, {"no": None, "yes": 0.4}]
    told = {"predictions": answers, "version": "1.0.0"}
    service: Any = SimpleNamespace(
        methods=("predict", "predict_proba"),
        probe=lambda: SimpleNamespace(state="ready"),
        client=SimpleNamespace(post=lambda *_: told),
    )
    found = asking.sweep(service, [1, 2, 3], "age", (1.0, 2.0, 3.0))
    drawn = plot.sweep(found)
    assert "<polyline" in drawn
    assert not re.search(r'(points|y|x)\d?="[^"]*nan', drawn)


def test_a_log_is_followed_whichever_is_clicked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stub, "logs", lambda *_, **__: ["<a line>"], raising=False)
    made, seen = view(Stub()), threading.Event()
    made.services.log.observe(lambda _change: seen.set(), "value")
    made.services.live.value = True
    assert seen.wait(WAIT)
    assert "&lt;a line&gt;" in made.services.log.value
    assert made.ticker.running
    made.services.live.value = False
    assert not made.ticker.running


def test_a_question_that_comes_late_is_not_asked_of_another_name() -> None:
    made, asked = view(Stub()), list[Any]()
    made.desk.do = lambda words, then=None: asked.append(then)  # type: ignore[method-assign]
    made.services.versions.value = "1.0.0"
    made.services.back.click()
    made.desk.overview = replace(made.desk.overview, name="churn")
    asked[0](SimpleNamespace(state="failed", text="", time=""))
    assert made.services.confirm.box.layout.display == "none"


def test_a_service_in_this_kernel_has_no_line_for_a_shell() -> None:
    told = {"predictions": [1], "version": "1.0.0"}
    service: Any = SimpleNamespace(
        methods=("predict",), launcher="memory", probe=lambda: SimpleNamespace(state="ready"),
        client=SimpleNamespace(post=lambda *_: told), curl=lambda *_: "curl memory://",
    )  # fmt: skip
    assert asking.ask(service, 1).curl == ""
    service.launcher = "local"
    assert asking.ask(service, 1).curl


def trying(columns: tuple[Column, ...], variables: dict[str, Any]) -> TryTab:
    made = view(Stub(columns=columns), variables)
    tried = cast("TryTab", made.tabs[1])
    assert tried.service is not None
    cast("Any", tried.service.client).rows = lambda rows: rows.to_dict("records")
    return tried


MASS = Column("mass", "number", "float64", low=0.0, high=9.0)


def test_a_row_that_was_picked_and_changed_stays_as_it_is_when_a_cell_has_run() -> None:
    variables = {"X": pd.DataFrame({"mass": [float(n) for n in range(50)]})}
    tried = trying((MASS,), variables)
    tried.source.value = "X"
    tried.number.value = 40
    assert tried.controls["mass"].value == 40.0
    tried.controls["mass"].input.value = 5.5
    variables["more"] = variables["X"].copy()
    cell_has_run("more = X.copy()")
    assert (tried.source.value, tried.number.value, tried.controls["mass"].value) == ("X", 40, 5.5)
    variables["X"] = variables["X"].head(3)
    cell_has_run("X = X.head(3)")
    assert (tried.number.value, tried.controls["mass"].value) == (2, 2.0)


def test_a_variable_that_went_while_its_rows_were_picked_is_told() -> None:
    variables = {"X": pd.DataFrame({"mass": [1.0, 2.0]})}
    tried = trying((MASS,), variables)
    tried.source.value = "X"
    del variables["X"]
    tried.number.value = 1
    assert "row 1 of X" in tried.advice.value


def test_what_is_null_in_the_row_can_be_given_a_value_though_the_model_takes_no_null() -> None:
    tried = trying((MASS,), {})
    control = tried.controls["mass"]
    control.set(None)
    assert (control.value, control.null.layout.display) == (None, None)
    control.null.value = False
    assert (control.input.disabled, control.value) == (False, 1.0)
    control.set(2.0)
    assert control.null.layout.display == "none"
    bare = Control(fields.Field("value", "json"), None)
    assert bare.null.layout.display is None


def test_a_control_alters_no_value() -> None:
    whole = Control(fields.Field("age", "slider", whole=True, high=90.0), 3.0)
    with pytest.raises(ValueError, match=r"age: 3\.5 is not a whole number"):
        whole.set(3.5)
    (item,) = fields.fields(Schema("frame", (replace(MASS, nonfinite=True),)))
    assert Control(item, "Infinity").value == "Infinity"
    (item,) = fields.fields(Schema("frame", (replace(MASS, low=-2.3, high=2.5),)))
    assert (item.low, item.high) == (-2.3, 2.5)
