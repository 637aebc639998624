"""The magic: objects for expressions, one call of the workspace, a result that is returned and displayed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.error import UsageError
from recording import Noun, Recorder, a_shell

from nbdeploy import default, magics
from nbdeploy.errors import CheckFailed, GateRefused
from nbdeploy.front.grammar import VERBS
from nbdeploy.judge.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from IPython.core.interactiveshell import InteractiveShell


class Model:
    def predict(self, rows: Any) -> Any:
        return rows


@pytest.fixture(scope="module")
def one_shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InteractiveShell]:
    with a_shell(tmp_path_factory.mktemp("ipython")) as shell:
        yield shell


@pytest.fixture
def workspace(tmp_path: Path) -> Recorder:
    return Recorder(home=tmp_path)


@pytest.fixture
def shell(one_shell: InteractiveShell, workspace: Recorder) -> Iterator[InteractiveShell]:
    before = dict(one_shell.user_ns)
    magics.load(one_shell, workspace)
    one_shell.user_ns.update(clf=Model(), X={"a": [1, 2], "b": 3}, y=[0, 1], f=lambda x, k=1: (x, k))
    yield one_shell
    magics.unload(one_shell)
    one_shell.user_ns.clear()
    one_shell.user_ns.update(before)


def run(shell: InteractiveShell, cell: str) -> Any:
    """The value of the cell; its error is raised."""
    result = shell.run_cell(cell, store_history=False)
    result.raise_error()
    return result.result


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("clf --sample X", {"name": "clf", "sample": {"a": [1, 2], "b": 3}}),
        ("up clf --sample X --name n", {"name": "n", "sample": {"a": [1, 2], "b": 3}}),
        ('--name n clf --sample X["a"] --target y', {"name": "n", "sample": [1, 2], "target": [0, 1]}),
        ("clf --sample f(X['b'], k=2)", {"name": "clf", "sample": (3, 2)}),
        ("clf --sample X --data X, y", {"name": "clf", "sample": {"a": [1, 2], "b": 3}, "data": ({"a": [1, 2], "b": 3}, [0, 1])}),
        ("clf --sample X --skip-gate '$y {y}'", {"name": "clf", "sample": {"a": [1, 2], "b": 3}, "skip_gate": "$y {y}"}),
    ],
)  # fmt: skip
def test_expressions_become_objects(
    line: str, arguments: dict[str, Any], shell: InteractiveShell, workspace: Recorder
) -> None:
    run(shell, f"%deploy {line}")
    assert workspace.last == ("deploy", (shell.user_ns["clf"],), arguments)


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("ps", ("services", (), {})),
        ("rollback penguins --to 1.0.0", ("rollback", ("penguins",), {"to": "1.0.0"})),
        ("token penguins", ("token_file", ("penguins",), {})),
        (
            'validate penguins --data X, y --gate "r2>=0" -p limit 0.7',
            (
                "validate",
                ("penguins", None),
                {"parameters": {"limit": "0.7"}, "data": ({"a": [1, 2], "b": 3}, [0, 1]), "gate": ("r2>=0",)},
            ),
        ),
        (
            "validate clf --data test.csv --target y",
            ("validate", ("clf", None), {"parameters": {}, "data": "test.csv", "target": "y"}),
        ),
    ],
)
def test_other_verbs_are_the_same_calls_as_the_command_s(
    line: str, call: tuple[Any, ...], shell: InteractiveShell, workspace: Recorder
) -> None:
    run(shell, f"%deploy {line}")
    assert workspace.last == call


@dataclass(frozen=True)
class Judged(Noun):
    """A report, as far as the front ends look at it."""

    verdict: str = "refused"
    subject: str = "penguins:1.0.0"
    html: str = "report.html"
    checks: tuple[Outcome, ...] = (Outcome("accuracy>=0.9", passed=False, detail="0.8, below 0.9"),)


def test_a_refused_report_is_shown_and_then_an_ordinary_exception(
    shell: InteractiveShell, workspace: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    report = workspace.answers["validate"] = Judged({})
    with pytest.raises(GateRefused, match=r"accuracy>=0\.9: failed") as caught:
        run(shell, "%deploy validate penguins --data X")
    assert shown == [caught.value.report] == [report]
    workspace.answers["deploy"] = GateRefused("penguins@0123456789ab", ("accuracy>=0.9: failed",), "r.html", report)
    with pytest.raises(GateRefused):
        run(shell, "%deploy clf --sample X --data X;")
    assert shown == [report, report]
    replay = workspace.answers["replay"] = Judged({}, html="")
    with pytest.raises(GateRefused, match=r"\(0\.8, below 0\.9\)$"):
        run(shell, "%deploy replay penguins --against 1.0.0 --gate accuracy>=0.9")
    assert shown[-1] is replay


def test_the_report_of_a_deploy_is_shown_before_its_service(
    shell: InteractiveShell, workspace: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    report = Judged({}, verdict="passed")
    service = workspace.answers["deploy"] = SimpleNamespace(report=report)
    assert run(shell, "%deploy clf --sample X --data X") is service
    assert run(shell, "%deploy clf --sample X --data X;") is None
    assert shown == [report]


def test_the_result_is_returned_and_assignable(shell: InteractiveShell) -> None:
    shown = run(shell, "%deploy ps")
    assert shown.to_dict() == {"verb": "services"}
    run(shell, "s = %deploy ps")
    assert shell.user_ns["s"].to_dict() == {"verb": "services"}


def test_a_semicolon_quiets_but_still_assigns(
    shell: InteractiveShell, workspace: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.phases = ("publish",)
    assert run(shell, "%deploy rollback penguins;") is None
    assert run(shell, "for _ in [1]:\n    %deploy rollback penguins;") is None
    run(shell, "s = %deploy rollback penguins;")
    assert shell.user_ns["s"].to_dict() == {"verb": "rollback"}
    run(shell, "def g():\n    t = %deploy rollback penguins;\n    return t\ng()")
    captured = capsys.readouterr()
    assert captured.err == ""


def test_variables_of_the_function_around_are_seen(shell: InteractiveShell, workspace: Recorder) -> None:
    run(
        shell,
        "def g(model, rows):\n    return get_ipython().run_line_magic('deploy', 'model --sample rows --name n')\ng(clf, y)",
    )
    assert workspace.last == ("deploy", (shell.user_ns["clf"],), {"name": "n", "sample": [0, 1]})


def test_a_bundle_held_in_a_variable_is_checked(shell: InteractiveShell, workspace: Recorder) -> None:
    run(shell, "b = %deploy bundle clf --sample X\n%deploy check b")
    assert workspace.calls[-1] == ("check", (shell.user_ns["b"],), {})


def test_a_variable_named_like_a_verb_needs_up(shell: InteractiveShell, workspace: Recorder) -> None:
    shell.user_ns["stop"] = shell.user_ns["clf"]
    run(shell, "%deploy up stop --sample X")
    assert workspace.last[0] == "deploy"
    assert workspace.last[2]["name"] == "stop"


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%deploy rolback penguins", 'There is no verb or variable "rolback". Did you mean "rollback"?'),
        ("%deploy clff --sample X", 'There is no verb or variable "clff". Did you mean "clf"?'),
        ("%deploy clf --sample XX", 'There is no variable "XX". '),
        ("%deploy clf --sample X.(", '")" is missing'),
        ("%deploy clf --sample 1+", "`1+` is not a Python expression"),
        ("%deploy delete penguins", 'Did you mean "remove"?'),
        ("%deploy clf, --sample X", "`clf,` is no variable"),
        ("%deploy clf --sample rows.csv", '"rows.csv" looks like a file: read it in a cell first'),
        ("%deploy clf --sample X.csv", '"X.csv" was read as what the variable X holds under "csv"'),
        ("%deploy clf --sample X.csv", "read it in a cell first"),
        ("%deploy clf --sample ./X.csv", '"./X.csv" looks like a file: read it in a cell first'),
        ("%deploy clf --sample X --data X.csv", "If it is a file, write it with its folder: ./X.csv"),
        ("%deploy check clf", "A Model is no bundle; `b = %deploy bundle MODEL --sample ROWS` makes one"),
        ("%deploy clf", "%deploy clf --sample X_train --target y_train"),
        ("%deploy clf --smple X", 'There is no option "--smple". Did you mean "--sample"?'),
        ("%deploy f(1) --sample X", "Give one with --name"),
        ("%deploy clf --sample X --trust", "--trust is for saved model files"),
        ("%deploy check b", '"b" names no bundle: write NAME@DIGEST12'),
        ("%%deploy --sample X\ndef predict(rows): ...", "%%deploy --name NAME"),
        ("%%deploy --name n\ndef predict(rows): ...", "%%deploy --name NAME --sample X_train"),
        ("%%deploy --name n --sample X\npredictions = 1", "defines predict(rows); this one does not"),
        ("%%deploy clf --name n --sample X\ndef predict(rows): ...", '"clf" is one word too many'),
    ],
)
def test_wrong_use_is_a_usage_error(
    cell: str, said: str, shell: InteractiveShell, workspace: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    result = shell.run_cell(cell)
    assert type(result.error_in_exec).__name__ == "UsageError"
    assert said in str(result.error_in_exec)
    assert "Traceback" not in capsys.readouterr().out
    assert workspace.calls == []


def test_a_failure_is_an_ordinary_exception_shown_short(
    shell: InteractiveShell, workspace: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.answers["deploy"] = CheckFailed("clf@0123", ("column age differs",))
    result = shell.run_cell("%deploy clf --sample X")
    assert isinstance(result.error_in_exec, CheckFailed)
    captured = capsys.readouterr()
    assert "CheckFailed: clf@0123 does not answer away from this kernel" in captured.out + captured.err
    assert "column age differs" in captured.out + captured.err
    assert "magics.py" not in captured.out + captured.err


def test_an_expression_is_a_model_where_a_name_is_given(shell: InteractiveShell, workspace: Recorder) -> None:
    run(shell, "%deploy type(clf)() --name fresh --sample X")
    _, (model,), arguments = workspace.last
    assert isinstance(model, Model)
    assert arguments["name"] == "fresh"
    with pytest.raises(UsageError, match=r"`type\(clf\)\(\)` is no variable.*Give one with --name"):
        run(shell, "%deploy type(clf)() --sample X")


def test_a_target_may_be_a_column_of_the_sample(shell: InteractiveShell, workspace: Recorder) -> None:
    shell.user_ns |= {"frame": SimpleNamespace(columns=["species", "kind"]), "kind": [1]}
    run(shell, "%deploy clf --sample frame --target species")
    assert workspace.calls[-1][2]["target"] == "species"
    run(shell, "%deploy clf --sample frame --target kind")
    assert workspace.calls[-1][2]["target"] == [1]


@pytest.mark.parametrize("line", ["X", "up X", "bundle X", "X --target y"])
def test_data_is_not_told_to_give_a_sample(line: str, shell: InteractiveShell, workspace: Recorder) -> None:
    with pytest.raises(UsageError, match=r"A dict is no fitted model.*deploy one"):
        run(shell, f"%deploy {line}")
    assert workspace.calls == []


def test_errors_of_the_user_s_expression_come_out_as_they_are(shell: InteractiveShell) -> None:
    with pytest.raises(KeyError):
        run(shell, "%deploy clf --sample X['nope']")


@pytest.mark.parametrize(
    ("phases", "said"),
    [
        (("bundle", "check"), "interrupted: nothing was changed"),
        (("publish", "serve"), "interrupted while handing over: `%deploy ps` shows what is live"),
    ],
)
def test_ctrl_c_is_one_true_line(
    phases: tuple[str, ...], said: str, shell: InteractiveShell, workspace: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.phases = phases
    workspace.answers["deploy"] = KeyboardInterrupt()
    result = shell.run_cell("%deploy clf --sample X")
    assert isinstance(result.error_in_exec, KeyboardInterrupt)
    captured = capsys.readouterr()
    assert f"KeyboardInterrupt: {said}" in captured.out + captured.err
    assert "magics.py" not in captured.out + captured.err


def test_json_is_printed_and_nothing_is_displayed(
    shell: InteractiveShell, workspace: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.phases = ("serve",)
    assert run(shell, "%deploy rollback penguins --json") is None
    assert json.loads(capsys.readouterr().out) == {"verb": "rollback"}


def test_logs_are_returned_whole_or_followed(
    shell: InteractiveShell, workspace: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.answers["logs"] = ["one", "two"]
    assert str(run(shell, "%deploy logs penguins")) == "one\ntwo"
    assert run(shell, "%deploy logs penguins --follow") is None
    assert capsys.readouterr().out.endswith("one\ntwo\n")


def test_a_cell_with_predict_is_run_and_deployed(shell: InteractiveShell, workspace: Recorder) -> None:
    run(shell, "%%deploy --name rule --sample X\nfactor = 2\ndef predict(rows):\n    return factor")
    verb, (model,), arguments = workspace.last
    assert (verb, arguments) == ("deploy", {"name": "rule", "sample": shell.user_ns["X"]})
    assert model.predict([1]) == 2
    assert shell.user_ns["factor"] == 2


def test_an_error_in_the_cell_stops_before_the_deploy(shell: InteractiveShell, workspace: Recorder) -> None:
    with pytest.raises(ZeroDivisionError):
        run(shell, "%%deploy --name rule --sample X\ndef predict(rows): ...\n1/0")
    assert workspace.calls == []


def test_help_is_the_command_s(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    run(shell, "%deploy up --help")
    assert "Usage: %deploy up [OPTIONS] MODEL" in capsys.readouterr().out
    run(shell, "%deploy?")
    run(shell, "%%deploy?")
    told = capsys.readouterr().out
    assert told.count("--sample ROWS  ") == 2
    assert all(f"\n  {verb} " in told for verb in VERBS)


def test_loading_twice_is_fine_and_unloading_removes_everything(
    one_shell: InteractiveShell, workspace: Recorder
) -> None:
    before = list(one_shell.Completer.custom_matchers)
    magics.load(one_shell, workspace)
    magics.load(one_shell, workspace)
    assert len(one_shell.Completer.custom_matchers) == len(before) + 1
    magics.unload(one_shell)
    magics.unload(one_shell)
    assert one_shell.Completer.custom_matchers == before
    assert one_shell.find_line_magic("deploy") is None
    assert one_shell.find_cell_magic("deploy") is None


def test_load_ext_uses_the_default_workspace(one_shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setattr(default, "workspace", recorder)
    run(one_shell, "%load_ext nbdeploy")
    run(one_shell, "%load_ext nbdeploy")
    run(one_shell, "%deploy show penguins:1.0.0")
    assert recorder.last == ("show", ("penguins", "1.0.0"), {})
    run(one_shell, "%unload_ext nbdeploy")
