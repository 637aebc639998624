"""The panel without a browser: what is chosen becomes a line, what is shown comes from the registry, odd names do no harm."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import pytest
from models import plain as numbers
from toy import manifest

from nbdeploy.errors import NotFound, WrongUse
from nbdeploy.front import session as sessions
from nbdeploy.front.code import Code
from nbdeploy.front.session import Entry, Session
from nbdeploy.keep.version import Version, Versions
from nbdeploy.overview import Overview
from nbdeploy.run.services import Services, ServiceState
from nbdeploy.runtime.manifest import Column, Schema
from nbdeploy.widgets import asking, fields, parts, plot
from nbdeploy.widgets.actions import Actions
from nbdeploy.widgets.asking import Sweep
from nbdeploy.widgets.desk import MOST, _desks, cell_has_run
from nbdeploy.widgets.form import DeployForm, GateForm
from nbdeploy.widgets.monitoring import MonitorTab
from nbdeploy.widgets.variables import Variables
from nbdeploy.widgets.view import View
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbdeploy.settings import Settings
    from nbdeploy.widgets.actions import Action

HOSTILE = "<script>alert(1)</script>"
WAIT = 30


@pytest.fixture(autouse=True)
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    fresh = Session()
    monkeypatch.setattr(sessions, "_session", fresh)
    monkeypatch.setattr(parts, "DOUBLE", 0.0)  # no hand is as quick as these tests
    return fresh


class Model:
    feature_names_in_ = np.array(["a", "b"])

    def predict(self, rows: Any) -> Any:
        return rows["a"]


def namespace() -> dict[str, Any]:
    X = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1, 2, 3]})
    return {
        "aside": pd.DataFrame({"c": [1]}),
        "clf": Model(),
        "X_test": X.head(2),
        "X_train": X,
        "y_test": [0, 1],
        "y_train": np.array([0, 1, 0]),
        "word": "text",
        "_hidden": X,
    }


def test_variables_are_found_and_those_that_go_together() -> None:
    found = Variables.of(namespace())
    assert found.models == ("clf",)
    assert [table.variable for table in found.samples] == ["X_test", "X_train", "aside", "y_test"]
    assert found.sample_for("clf") == "X_train"
    assert [table.variable for table in found.labels_for("X_train")] == ["y_train"]
    assert found.held_out_for("X_train") == ("X_test,y_test",)
    assert found.labels_for("nothing") == ()
    assert Variables.of({}).sample_for("clf") == ""


def test_a_variable_that_answers_to_every_name_is_no_table() -> None:
    class Everything:
        def __getattr__(self, name: str) -> Any:
            return self

    assert Variables.of({"odd": Everything()}).tables == ()


def test_what_is_chosen_becomes_the_words_of_a_line() -> None:
    form = DeployForm(model="clf", name="penguins", sample="X_train", target="y_train", data="X_test,y_test")
    assert " ".join(form.deploy()) == "up clf --name penguins --sample X_train --target y_train --data X_test,y_test"
    assert " ".join(form.bundle()) == "bundle clf --name penguins --sample X_train --target y_train"
    gated = DeployForm(model="clf", sample="X", data="t.csv", gate="accuracy>=0.9\n\n f1@a=b c>=live ", bump="minor")
    assert gated.deploy() == [
        *["up", "clf", "--sample", "X", "--data", "t.csv", "--bump", "minor", "--gate", "accuracy>=0.9", "--gate"],
        "f1@a=b c>=live",
    ]
    judged = GateForm("penguins", "1.0.0", "gate.ipynb", "test.csv", "species", "accuracy>=0.9")
    assert " ".join(judged.validate()) == (
        "validate penguins:1.0.0 gate.ipynb --data test.csv --target species --gate accuracy>=0.9"
    )


def test_what_is_lacking_is_said_as_the_next_step() -> None:
    assert "Fit a model" in DeployForm().lacking
    assert "sample" in DeployForm(model="clf").lacking
    assert "held-out" in DeployForm(model="clf", sample="X", gate="accuracy>=1").lacking
    assert DeployForm(model="clf", sample="X").lacking == ""
    assert "deploy a model" in GateForm().lacking
    assert "X_test,y_test" in GateForm("penguins").lacking
    assert GateForm("penguins", notebook="gate.ipynb").lacking == ""


SCHEMA = Schema(
    "frame",
    (
        Column("age", "integer", "int64", low=18, high=90),
        Column("mass", "number", "float64", low=1182.0, high=6405.0, nullable=True),
        Column("island", "category", "str", categories=("Biscoe", "Dream")),
        Column("member", "boolean", "bool"),
        Column(HOSTILE, "text", "str"),
        Column("flat", "number", "float64", low=1.0, high=1.0),
        Column("odd", "any", "object"),
    ),
)


MASS, MASS_TOO = (Column(place, "number", "float64", low=0.0, high=9.0) for place in ("0", "1"))
VALUE = Column("value", "number", "float64", low=0, high=1)


def test_a_control_suits_its_column() -> None:
    made = fields.fields(SCHEMA)
    assert [item.control for item in made] == ["slider", "slider", "choice", "switch", "text", "number", "json"]
    assert (made[0].low, made[0].high, made[0].step) == (18, 90, 1)
    assert (made[1].low, made[1].high, made[1].step) == (1180, 6405, 5)
    assert made[2].points() == ["Biscoe", "Dream"]
    assert made[1].points()[0] == 1180
    assert len(made[1].points()) == fields.POINTS
    assert fields.choices_of(made) == ["age", "mass", "island", "member"]
    with pytest.raises(ValueError, match="is not a number"):
        made[5].read("true")
    with pytest.raises(ValueError, match="is not a JSON value"):
        made[6].read("NaN")


@pytest.mark.parametrize(
    ("schema", "row"),
    [
        (SCHEMA, {column.name: None for column in SCHEMA.columns}),
        (Schema("array", dtype="float64", shape=(3,)), [1.0, 2.0, 3.0]),
        (Schema("array", (MASS, MASS_TOO), dtype="float64", shape=(2,)), [1.0, 2.0]),
        (Schema("array", (VALUE,), dtype="float64", shape=(300,)), [0.5] * 300),
        (Schema("array", (VALUE,), dtype="float64"), 0.5),
        (Schema("array", dtype="float64", shape=(2, 2)), [[1, 2], [3, 4]]),
        (Schema("texts", (Column("value", "text", "str"),)), "a text"),
        (Schema("series", (VALUE,)), 0.5),
    ],
)
def test_a_row_of_any_container_goes_through_the_form(schema: Schema, row: Any) -> None:
    values = fields.values(schema, row)
    assert set(values) == {item.name for item in fields.fields(schema)}
    assert fields.row(schema, values) == row


def test_a_category_of_many_whole_numbers_is_typed_as_a_number() -> None:
    many = Column("zip", "category", "category[int64]", categories=tuple(range(10_000)))
    (item,) = fields.fields(Schema("frame", (many,)))
    assert item.read("8001") == 8001
    (item,) = fields.fields(Schema("frame", (replace(many, categories=tuple(map(str, range(10_000)))),)))
    assert item.read("8001") == "8001"


def test_plots_are_named_and_escape_what_they_show() -> None:
    drawn = plot.sweep(Sweep(HOSTILE, "predict_proba", (1.0, 2.0), ((HOSTILE, (0.1, 0.9)), ("b", (0.9, 0.1)))))
    assert "<script" not in drawn
    assert 'role="img"' in drawn
    assert "from 0.1 to 0.9" in drawn
    assert "stroke-dasharray" in drawn
    table = plot.sweep(Sweep("island", "predict", ("a", "b"), (), ("x", HOSTILE)))
    assert "<table" in table
    assert "<script" not in table
    assert "87.1 %" in plot.bars([("Gentoo", 0.871)])


def test_a_what_if_says_where_the_row_is_and_which_classes_come_high() -> None:
    line = plot.sweep(Sweep("age", "predict_proba", (1.0, 3.0), (("a", (0.1, 0.9)), ("b", (0.9, 0.1))), now=2.0))
    assert "now 2" in line
    assert ("probability" in line, "100 %" in line) == (True, True)
    table = plot.sweep(Sweep("plan", "predict_proba", ("x", "y"), (("a", (0.004, 0.9)),), now="y"))
    assert ("y (now)" in table, "x (now)" in table, "0.4 %" in table) == (True, False, True)
    many = tuple((f"class {n}", (n / 10, 0.0)) for n in range(10))
    shown = plot.sweep(Sweep("age", "predict_proba", (1.0, 2.0), many))
    assert [f">class {n}<" in shown for n in range(10)] == [n >= 4 for n in range(10)]
    assert "and 4 more" in shown
    assert "now" not in plot.sweep(Sweep("age", "predict", (1.0, 2.0), (("predict", (0.1, 0.9)),), now=7.0))
    left = plot.sweep(Sweep("age", "predict_proba", (1.0, 3.0), (("a", (0.1, 0.9)),), now=1.0))
    (named,) = re.findall(r'<text x="([\d.]+)"[^>]*>now 1<', left)
    assert float(named) > 100  # clear of the axis's title, which begins at 2


def test_the_time_of_an_answer_is_that_of_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def after(seconds: float, told: Any) -> Any:
        clock[0] += seconds
        return told

    monkeypatch.setattr("nbdeploy.widgets.asking.time.perf_counter", lambda: clock[0])
    service: Any = SimpleNamespace(
        methods=("predict", "predict_proba"),
        launcher="local",
        probe=lambda: after(5.0, SimpleNamespace(state="ready")),
        client=SimpleNamespace(post=lambda *_: after(0.002, {"predictions": [{"a": 1.0}], "version": "1.0.0"})),
        curl=lambda *_: "",
    )
    assert asking.ask(service, 1).milliseconds == pytest.approx(2.0)


class Gate:
    """Work that waits to be let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, progress: Any) -> str:
        progress("bundle")
        self.begun.set()
        while not self.go.is_set():
            self.go.wait(0.01)
        return "a result"


CODE = Code("%deploy stop penguins", 'nbdeploy.stop("penguins")')


def test_a_double_click_is_one_action_and_another_name_goes_on(session: Session) -> None:
    actions, gate, heard = Actions(), Gate(), list[str]()
    action = actions.start("penguins", CODE, gate, lambda action: heard.append(action.text))
    assert action is not None
    assert gate.begun.wait(WAIT)
    assert actions.start("penguins", CODE, gate, lambda _action: None) is None
    other = actions.start("churn", CODE, lambda _progress: 1, lambda _action: None)
    assert other is not None
    assert other.ended.wait(WAIT)
    gate.go.set()
    assert action.ended.wait(WAIT)
    assert (action.state, action.result) == ("done", "a result")
    assert "bundling ..." in heard
    assert "bundled" in heard[-1]
    assert [entry.outcome for entry in session.entries] == ["done", "done"]
    assert actions.running("penguins") is None


def test_cancel_ends_what_runs_and_the_line_is_left_out(session: Session) -> None:
    actions, gate = Actions(), Gate()
    action = actions.start("penguins", CODE, gate, lambda _action: None)
    assert action is not None
    assert gate.begun.wait(WAIT)
    action.cancel()
    assert action.ended.wait(WAIT)
    assert (action.state, action.text) == ("cancelled", "interrupted: nothing was changed")
    with pytest.raises(WrongUse):
        session.cell()


def test_an_error_is_shown_in_words() -> None:
    def fail(_progress: Any) -> None:
        raise NotFound("service", "pinguins", ["penguins"])

    action = Actions().start("penguins", CODE, fail, lambda _action: None)
    assert action is not None
    assert action.ended.wait(WAIT)
    assert action.state == "failed"
    assert action.text == 'There is no service "pinguins". Did you mean "penguins"?'


def version(number: str, *, live: bool = False, reason: str = "first version") -> Version:
    digest = "sha256:" + "ab" * 32
    return Version(
        "penguins", number, live, live, "2026-11-21T08:00:00Z", digest, "patch", reason, "none", "me", "/nowhere"
    )


def overview(workspace: Any, *, versions: int = 2, services: int = 1, columns: tuple[Column, ...] = ()) -> Overview:
    states = [ServiceState("penguins", "ready", "1.0.0", "http://127.0.0.1:1")]
    states += [ServiceState(f"other-{n}", "dead", failure=HOSTILE) for n in range(services - 1)]
    held = [version(f"1.0.{n}", live=n == versions - 1, reason=HOSTILE) for n in reversed(range(versions))]
    return Overview(
        datetime.now(UTC),
        Services(states),
        tuple(state.name for state in states),
        "penguins",
        Versions("penguins", held),
        manifest(schema=Schema("frame", columns, library="pandas")),
        workspace=workspace,
    )


class Stub:
    """A workspace whose one service is asked nothing over the network."""

    registry: Any
    foreseen: Any

    def __init__(self, **about: Any) -> None:
        self.about, self.asked = about, 0

    def panel(self, name: str | None = None) -> Overview:
        self.asked += 1
        return overview(self, **self.about)

    def attach(self, name: str) -> Any:
        columns = self.about.get("columns", ())
        client = SimpleNamespace(rows=lambda rows: rows)
        return SimpleNamespace(
            name=name, version="1.0.0", url="http://127.0.0.1:1", manifest=manifest(schema=Schema("frame", columns)),
            examples=[{column.name: 1.0 for column in columns}], client=client,
        )  # fmt: skip


def view(stub: Stub, variables: dict[str, Any] | None = None) -> View:
    return View(stub.panel(), lambda: variables or {})


def test_the_panel_takes_500_versions_100_services_and_200_columns() -> None:
    columns = tuple(Column(f"c{n}", "number", "float64", low=0.0, high=1.0) for n in range(200))
    made = view(Stub(versions=500, services=100, columns=columns))
    services = made.services
    assert len(services.versions.options) == 500
    assert services.services.value.count('">other-') >= 99  # a row each
    assert services.services.value.count("nbd-note") == 6
    assert "and 193 more" in services.services.value
    tried = made.tabs[1]
    assert len(tried.form.children) == 12
    tried.more.value = "c150"
    assert len(tried.form.children) == 13
    forms = made.twin.forms()
    assert len(forms["text/html"]) < 50_000
    assert "1.0.499" in forms["text/plain"]


def test_no_name_becomes_markup() -> None:
    made = view(Stub(services=2, columns=(Column(HOSTILE, "number", "float64", low=0.0, high=1.0),)))
    shown = [tab.box for tab in made.tabs]
    for value in html_of([made.box, *shown]):
        assert "<script" not in value
    assert "<script" not in made.twin.forms()["text/html"]
    assert HOSTILE in [child.description for box in made.tabs[1].form.children for child in box.children]


def html_of(boxes: list[Any]) -> Iterator[str]:
    for box in boxes:
        if type(box).__name__ == "HTML":
            yield box.value
        yield from html_of(list(getattr(box, "children", ())))


def test_everything_shown_carries_its_time() -> None:
    made = view(Stub())
    clock = made.desk.overview.clock
    assert clock in made.time.value
    assert f"as of {clock}" in made.twin.forms()["text/plain"]


def test_the_twin_has_the_lines_whole(session: Session) -> None:
    line = "%deploy clf " + " ".join(f"--gate metric_{n}>=0.{n}" for n in range(9))
    session.add(Entry("14:03:12", Code(line, ""), "done"))
    forms = view(Stub()).twin.forms()
    assert line in forms["text/plain"]
    assert line.replace(">", "&gt;") in forms["text/html"]
    assert "clicked 14:03:12 ✓ done" in forms["text/plain"]


def test_two_panels_agree() -> None:
    first, second = Stub(), Stub()
    one, two = view(first), view(second)
    before = second.asked
    action = one.desk.start("penguins", CODE, lambda _progress: None)
    assert action is not None
    assert action.ended.wait(WAIT)
    assert second.asked > before
    assert two.desk.overview.clock in two.time.value


def test_what_is_wrong_with_a_line_is_said_and_nothing_runs() -> None:
    made = view(Stub())
    assert made.desk.do(["up", "nosuch", "--sample", "X"]) is None
    assert "nosuch" in made.strip.value
    made.desk.do(["rollback", "penguins", "--to", "one"])
    assert "one" in made.strip.value


def test_a_click_while_the_name_is_changed_is_refused_in_words() -> None:
    made, gate = view(Stub()), Gate()
    action = made.desk.start("penguins", CODE, gate)
    assert action is not None
    assert gate.begun.wait(WAIT)
    assert made.desk.do(["stop", "penguins"]) is None
    assert "being changed already" in made.strip.value
    gate.go.set()
    assert action.ended.wait(WAIT)


def test_a_stop_is_confirmed_first_and_once() -> None:
    made, asked = view(Stub()), list[list[str]]()
    made.desk.do = lambda words, then=None: asked.append(list(words))  # type: ignore[method-assign]
    services = made.services
    services.stop.click()
    assert asked == []
    assert "http://127.0.0.1:1" in services.confirm.text.value
    services.confirm.yes.click()
    services.confirm.yes.click()
    assert asked == [["stop", "penguins"]]


def test_a_version_is_compared_with_the_live_one_and_that_with_the_one_before() -> None:
    made, asked = view(Stub(versions=3)), list[list[str]]()
    made.desk.do = lambda words, then=None: asked.append(list(words))  # type: ignore[method-assign]
    for chosen in ("1.0.0", "1.0.2"):
        made.services.versions.value = chosen
        made.services.diff.click()
    assert asked == [["diff", "penguins", "1.0.2", "1.0.0"], ["diff", "penguins", "1.0.1", "1.0.2"]]


def test_making_a_version_live_says_what_changes_first() -> None:
    made, asked = view(Stub()), list[list[str]]()

    def do(words: list[str], then: Any = None) -> None:
        asked.append(list(words))
        if words[0] == "diff":
            then(SimpleNamespace(state="failed", text="cannot be read", time="12:00:00"))

    made.desk.do = do  # type: ignore[method-assign, assignment]
    services = made.services
    services.versions.value = "1.0.0"
    services.back.click()
    assert asked == [["diff", "penguins", "1.0.1", "1.0.0"]]
    services.confirm.yes.click()
    assert asked[1:] == [["rollback", "penguins", "--to", "1.0.0"]]


def test_a_registry_that_cannot_be_read_hides_nothing_that_runs() -> None:
    class Damaged(Stub):
        def services(self, *, all: bool = False) -> Services:  # noqa: A002
            if all:
                raise NotFound("registry", "registry.db")
            return Services([ServiceState("penguins", "ready", "1.0.0", "http://127.0.0.1:1")])

        def versions(self, name: str) -> Versions:
            raise NotFound("registry", "registry.db")

    seen = Overview.of(cast("Workspace", Damaged()))
    assert seen.name == "penguins"
    assert seen.problems == ('There is no registry "registry.db".',)
    assert "registry.db" in str(seen)


def test_a_live_version_that_cannot_be_read_is_told() -> None:
    class Gone(Stub):
        def services(self, *, all: bool = False) -> Services:  # noqa: A002
            return Services([ServiceState("penguins", "stopped")])

        def versions(self, name: str) -> Versions:
            return Versions(name, [version("1.0.0", live=True)])

    seen = Overview.of(cast("Workspace", Gone()))
    assert seen.live is not None
    assert seen.manifest is None
    assert "/nowhere" in seen.problems[0]


def test_the_twin_says_how_to_start_what_does_not_run() -> None:
    running, stopped = overview(None), overview(None, versions=1)
    assert 'nbdeploy.attach("penguins").predict(rows)' in str(running)
    assert "%deploy rollback penguins" in str(running)
    stopped = replace(stopped, services=Services([ServiceState("penguins", "stopped", url="http://127.0.0.1:1")]))
    assert "%deploy serve penguins" in str(stopped)
    assert "%deploy rollback" not in str(stopped)
    assert ("url", "http://127.0.0.1:1") not in stopped.card().facts


def test_an_unknown_name_is_told(settings: Settings) -> None:
    workspace = Workspace(settings)
    with pytest.raises(NotFound):
        workspace.panel("nosuch")
    empty = workspace.panel()
    assert empty.name is None
    assert "%deploy MODEL" in str(empty)
    assert json.dumps(empty.to_dict())


@pytest.mark.slow
def test_what_was_clicked_gives_the_same_registry_when_run_as_code(
    settings: Settings, tmp_path: Any, session: Session
) -> None:
    """In this process, with the launcher memory: looked at, deployed twice, asked, gone back, stopped."""
    variables: dict[str, Any] = {"clf": numbers().model, "X_train": numbers().X, "y_train": numbers().y}
    workspace = Workspace(settings)
    made = View(workspace.panel(), lambda: variables)
    deploy, tried = made.tabs[0], made.tabs[1]
    deploy.launcher.value = "memory"
    assert made.desk.name == ""

    def done(action: Action | None = None) -> None:
        action = action or made.desk.shown_action
        assert action is not None
        assert action.ended.wait(WAIT)
        assert action.state == "done", action.text

    deploy.look.click()
    done()
    assert "It would be clf 1.0.0: first version" in deploy.shown.value
    deploy.go.click()
    done()
    assert made.desk.name == "clf"
    tried.go.click()
    done()
    assert "there and back, version 1.0.0" in tried.answer.value
    assert "curl" not in tried.answer.value  # nothing listens
    tried.sweep.click()
    done()
    assert "<svg" in tried.curve.value
    variables["clf"] = numbers(C=0.01).model
    deploy.go.click()
    done()
    assert [item.version for item in workspace.versions("clf")] == ["1.0.1", "1.0.0"]
    made.services.versions.value = "1.0.0"
    made.services.back.click()
    done()
    made.services.confirm.yes.click()
    done()
    made.services.stop.click()
    made.services.confirm.yes.click()
    done()
    assert facts(workspace) == (["1.0.1", "1.0.0"], "1.0.0", [])
    lines = [entry.code for entry in session.entries]
    assert [code.magic.split()[1] for code in lines if code.magic] == [
        "bundle",
        "clf",
        "clf",
        "diff",
        "rollback",
        "stop",
    ]
    again = Workspace(replace(settings, home=tmp_path / "again", bentoml_home=tmp_path / "again-bentoml"))
    fresh: dict[str, Any] = {**variables, "nbdeploy": again}
    for number, code in enumerate(lines):
        fresh["clf"] = numbers().model if number < 4 else variables["clf"]
        eval(code.python, fresh)
    assert facts(again) == facts(workspace)


def facts(workspace: Workspace) -> Any:
    live = workspace.registry.live("clf")
    return (
        [item.version for item in workspace.versions("clf")],
        live and live.version,
        [state.name for state in workspace.services()],
    )


def test_a_look_of_the_monitor_that_fails_in_any_way_is_shown() -> None:
    def failing(*_: object, **__: object) -> None:
        raise ZeroDivisionError("<of the user's own metric>")

    desk = SimpleNamespace(workspace=SimpleNamespace(monitor=failing), overview=SimpleNamespace(versions=("1.0.0",)))
    tab = MonitorTab(cast("Any", desk))
    tab.selected = True
    tab.follow()
    assert "ZeroDivisionError: &lt;of the user" in tab.page.value


def test_a_cell_that_ran_is_noticed() -> None:
    variables: dict[str, Any] = {}
    stub = Stub()
    made = view(stub, variables)
    assert "no fitted model" in made.tabs[0].model.options[0][0]
    variables |= namespace()
    before = stub.asked
    cell_has_run("clf = Model()")
    deploy = made.tabs[0]
    assert deploy.model.options == (("clf", "clf"),)
    assert (deploy.sample.value, deploy.target.value) == ("X_train", "y_train")
    assert stub.asked == before
    looked = threading.Event()
    made.desk.changed = looked.set
    cell_has_run("%deploy clf --sample X_train")
    assert looked.wait(WAIT)
    assert stub.asked > before


def test_another_model_brings_its_sample_and_leaves_what_was_typed() -> None:
    class Other(Model):
        feature_names_in_ = np.array(["c"])

    made = view(Stub(), namespace() | {"other": Other()})
    deploy = made.tabs[0]
    deploy.model.value = "other"
    assert (deploy.name.value, deploy.sample.value, deploy.target.value) == ("other", "aside", "")
    deploy.name.value = "penguins"
    deploy.sample.value = "X_train"
    assert deploy.name.value == "penguins"
    deploy.model.value = "clf"
    assert (deploy.name.value, deploy.sample.value, deploy.target.value) == ("penguins", "X_train", "y_train")


def test_the_version_it_would_be_follows_the_bump_that_is_chosen() -> None:
    stub = Stub()
    stub.registry = SimpleNamespace(live=lambda name: version("1.0.0") if name == "penguins" else None)
    stub.foreseen = lambda _bundle, bump: (
        "2.0.0" if bump else "1.0.1",
        SimpleNamespace(bump=bump or "patch", reason="why"),
    )
    deploy = view(stub, namespace()).tabs[0]
    bundle = SimpleNamespace(name="penguins", digest="other", _repr_html_=lambda: "a card")
    deploy._looked(SimpleNamespace(state="done", result=bundle, time="12:00:00"))
    assert "It would be penguins 1.0.1, a patch version: why." in deploy.shown.value
    deploy.bump.value = "major"
    assert "It would be penguins 2.0.0, a major version: why." in deploy.shown.value
    bundle.name = "churn"
    deploy._show_looked()
    assert "It would be churn 2.0.0: why." in deploy.shown.value
    deploy._looked(SimpleNamespace(state="failed"))
    assert deploy.shown.value == ""


def test_a_deploy_that_begins_makes_room_and_its_report_carries_its_time() -> None:
    deploy = view(Stub(), namespace()).tabs[0]
    begun = list[str]()
    deploy.desk.do = lambda _words, _then=None: begun.append(deploy.shown.value)
    deploy.shown.value = "what was looked at"
    deploy.go.click()
    assert begun == [""]
    report = SimpleNamespace(_repr_html_=lambda: "a report")
    deploy._deployed(SimpleNamespace(state="failed", error=SimpleNamespace(report=report), time="12:00:00"))
    assert "as of 12:00:00" in deploy.shown.value


def test_only_the_latest_panels_are_kept_up_to_date() -> None:
    for _ in range(10):
        view(Stub())
    assert len(_desks) <= MOST
