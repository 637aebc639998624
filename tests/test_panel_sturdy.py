"""The panel's threads and what it meets in a kernel: late clicks, late answers, variables that raise, panels left behind."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
from test_panel_state import CODE, WAIT, Gate, Model, Stub, view

from nbdeploy.front.session import session
from nbdeploy.widgets import parts
from nbdeploy.widgets.actions import Actions
from nbdeploy.widgets.variables import Variables

if TYPE_CHECKING:
    import pytest

    from nbdeploy.widgets.actions import Action


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
