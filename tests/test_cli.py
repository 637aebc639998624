"""The command: it translates, calls one verb and prints; nothing else."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
import pytest
from recording import Noun, Recorder

from nbdeploy import cli
from nbdeploy.errors import CallRefused, CheckFailed, GateRefused, NotFound, WrongUse
from nbdeploy.front import handover
from nbdeploy.front.call import Call
from nbdeploy.front.grammar import VERBS
from nbdeploy.settings import Settings
from nbdeploy.workspace import Workspace

ROOT = Path(__file__).parents[1]


@pytest.fixture
def workspace(tmp_path: Path) -> Recorder:
    return Recorder(home=tmp_path)


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("ps", ("services", (), {})),
        ("ps --all", ("services", (), {"all": True})),
        ("serve penguins", ("serve", ("penguins",), {"version": None})),
        ("serve penguins:1.1.0 --port 8000 --no-auth", ("serve", ("penguins",), {"version": "1.1.0", "port": 8000, "no_auth": True})),
        ("stop penguins", ("stop", ("penguins",), {})),
        ("attach penguins", ("attach", ("penguins",), {})),
        ("versions penguins", ("versions", ("penguins",), {})),
        ("show penguins", ("show", ("penguins", None), {})),
        ("show penguins:1.0.0", ("show", ("penguins", "1.0.0"), {})),
        ("diff penguins 1.0.0 1.1.0", ("diff", ("penguins", "1.0.0", "1.1.0"), {})),
        ("rollback penguins", ("rollback", ("penguins",), {"to": None})),
        ("rollback penguins --to 1.0.0", ("rollback", ("penguins",), {"to": "1.0.0"})),
        ("at penguins 2026-11-02 14:00", ("at", ("penguins", "2026-11-02 14:00"), {})),
        ("remove penguins:1.0.0", ("remove", ("penguins", "1.0.0"), {})),
        ("remove penguins", ("remove", ("penguins", None), {})),
        ("export penguins:1.0.0 p.bento", ("export", ("penguins", "1.0.0", Path("p.bento")), {})),
        ("import p.bento --trust sha256:ab", ("import_bundle", (Path("p.bento"),), {"trust": "sha256:ab"})),
        ("validate penguins v.ipynb --gate r2>=0 -p limit 0.7 --junit j.xml", ("validate", ("penguins", Path("v.ipynb")), {"parameters": {"limit": "0.7"}, "gate": ("r2>=0",), "junit": Path("j.xml")})),
        ("validate penguins:1.0.0 --data a.csv,b.csv --target y", ("validate", ("penguins:1.0.0", None), {"parameters": {}, "data": "a.csv,b.csv", "target": "y"})),
        ("new-validation classification", ("new_validation", ("classification", None), {})),
        ("recover", ("recover", (), {})),
        ("logs penguins --lines 3", ("logs", ("penguins",), {"lines": 3})),
    ],
)  # fmt: skip
def test_each_verb_is_one_call_of_the_workspace(line: str, call: tuple[Any, ...], workspace: Recorder) -> None:
    workspace.answers |= {"logs": iter(()), "remove": []}
    assert cli.main(line.split(), workspace) == 0
    assert workspace.last == call


def test_a_bad_name_is_refused_before_anything_is_done(workspace: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["up", "nosuch.ipynb:clf", "--sample", "X", "--name", "Churn Model!"], workspace) == 2
    said = capsys.readouterr().err
    assert "nosuch.ipynb" not in said
    assert 'For example "churn-model".' in said
    assert "--name" not in said


def test_long_lists_in_errors_say_that_they_go_on() -> None:
    assert str(NotFound("thing", "zz", list("abcdefghi"))).endswith("g, h, ...")
    problems: list[dict[str, Any]] = [{"row": 0, "column": f"c{place}", "problem": "is text"} for place in range(14)]
    assert str(CallRefused(422, "invalid_rows", "No.", problems)).splitlines()[-1] == "  - and 4 more"


def test_a_problem_of_many_rows_is_told_once_with_how_many() -> None:
    problems: list[dict[str, Any]] = [
        {"row": row, "column": "plan", "problem": "is missing", "hint": "send it"} for row in (1, 2, 3, 5, 8, 13, 21)
    ]
    problems += [{"row": 2, "column": None, "problem": "is no object", "hint": None}, {"problem": "is late"}]
    assert str(CallRefused(422, "invalid_rows", "No.", problems)).splitlines() == [
        "No. (HTTP 422, invalid_rows)",
        "  - 7 rows (1, 2, 3, 5, 8, ...), column plan: is missing; send it",
        "  - row 2: is no object",
        "  - is late",
    ]


def test_a_file_to_import_that_is_missing_is_called_a_file(tmp_path: Path) -> None:
    missing = tmp_path / "nosuch.bento"
    with pytest.raises(NotFound, match=f'There is no file "{missing}"'):
        Workspace(Settings(tmp_path, tmp_path)).import_bundle(missing)


def test_check_and_publish_find_the_bundle_first(workspace: Recorder) -> None:
    workspace.answers["bundle_of"] = "the bundle"
    assert cli.main(["check", "penguins@0123456789ab"], workspace) == 0
    assert cli.main(["publish", "penguins@0123456789ab", "--bump", "minor"], workspace) == 0
    assert workspace.calls == [
        ("bundle_of", ("penguins@0123456789ab",), {}),
        ("check", ("the bundle",), {}),
        ("bundle_of", ("penguins@0123456789ab",), {}),
        ("publish", ("the bundle",), {"bump": "minor"}),
    ]


def test_the_token_alone_is_printed_with_json_and_without(
    workspace: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.answers["token"] = "secret"
    assert cli.main(["token", "penguins"], workspace) == 0
    assert cli.main(["token", "penguins", "--json"], workspace) == 0
    assert capsys.readouterr().out == "secret\nsecret\n"


def test_a_result_is_printed_as_its_card_without_colours(
    workspace: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["ps"], workspace)
    out = capsys.readouterr().out
    assert "penguins 1.0.0  ✓ ready" in out
    assert "\x1b" not in out


def test_with_json_stdout_holds_one_value_and_progress_goes_to_stderr(
    workspace: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.phases = ("publish", "serve")
    workspace.answers["rollback"] = Noun({"name": "penguins", "previous": None})
    assert cli.main(["rollback", "penguins", "--json"], workspace) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"name": "penguins", "previous": None}
    assert "published · serving" in captured.err


@dataclass(frozen=True)
class Judged(Noun):
    """A report, as far as the front ends look at it."""

    verdict: str = "refused"


@pytest.mark.parametrize(("verdict", "code"), [("refused", 1), ("passed", 0)])
def test_a_verdict_is_the_exit_code(
    workspace: Recorder, capsys: pytest.CaptureFixture[str], verdict: str, code: int
) -> None:
    workspace.answers["validate"] = Judged({"verdict": verdict}, verdict=verdict)
    assert cli.main(["validate", "penguins", "--data", "a.csv", "--json"], workspace) == code
    assert json.loads(capsys.readouterr().out) == {"verdict": verdict}
    assert cli.main(["validate", "penguins", "-p", "limit"], workspace) == 2


def test_a_refused_deploy_tells_its_report(workspace: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    report = Judged({"verdict": "refused"})
    workspace.answers["publish"] = GateRefused("penguins@0123456789ab", ("accuracy>=0.9: failed",), "r.html", report)
    workspace.answers["bundle_of"] = Noun({})
    assert cli.main(["publish", "penguins@0123456789ab", "--json"], workspace) == 1
    captured = capsys.readouterr()
    assert "accuracy>=0.9: failed" in captured.err
    assert json.loads(captured.out)["error"]["report"] == {"verdict": "refused"}


def test_json_is_strict(workspace: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    workspace.answers["show"] = Noun({"metrics": {"auc": float("nan"), "r2": (1.0, float("inf"))}})
    assert cli.main(["show", "penguins", "--json"], workspace) == 0
    assert json.loads(capsys.readouterr().out) == {"metrics": {"auc": None, "r2": [1.0, None]}}


def test_a_terminal_without_our_signs_is_no_crash() -> None:
    """F48."""
    code = "import sys, nbdeploy.cli as c; from nbdeploy.render import Card, Shown\nc._write(type('R', (Shown,), {'card': lambda s: Card('é', 'good', 'x')})(), as_json=False) if c.main(['--version']) == 0 else 1"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env={"PYTHONIOENCODING": "latin-1"}
    )
    assert told.stdout.endswith(b"\xe9  \\u2713 x\n")


def test_what_is_wrong_beside_a_log_is_said_on_stderr(workspace: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    workspace.answers["logs"], workspace.phases = ["one"], ("The registry is damaged.",)
    assert cli.main(["logs", "penguins"], workspace) == 0
    assert tuple(capsys.readouterr()) == ("one\n", "nbdeploy: The registry is damaged.\n")


def test_logs_are_lines_and_with_json_a_list(workspace: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    workspace.answers["logs"] = ["one", "two\x1b[31m"]
    cli.main(["logs", "penguins"], workspace)
    cli.main(["logs", "penguins", "--json"], workspace)
    assert capsys.readouterr().out == 'one\ntwo\\x1b[31m\n[\n "one",\n "two\\u001b[31m"\n]\n'
    assert cli.main(["logs", "penguins", "--json", "--follow"], workspace) == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [(WrongUse("no"), 2), (NotFound("service", "x"), 1), (CheckFailed("b@1", ("column a",)), 1)],
)
def test_errors_are_said_on_stderr_and_counted_in_the_exit_code(
    error: Exception, code: int, workspace: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.answers["services"] = error
    assert cli.main(["ps"], workspace) == code
    captured = capsys.readouterr()
    assert captured.err == f"nbdeploy: {error}\n"
    assert captured.out == ""
    assert cli.main(["ps", "--json"], workspace) == code
    assert json.loads(capsys.readouterr().out) == {"error": {"type": type(error).__name__, "message": str(error)}}


def test_a_defect_is_not_swallowed(workspace: Recorder) -> None:
    workspace.answers["services"] = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        cli.main(["ps"], workspace)


@pytest.mark.parametrize(
    ("phases", "said"),
    [
        (("bundle", "check"), "interrupted: nothing was changed"),
        (("bundle", "publish"), "interrupted while publishing: `nbdeploy ps` shows what is live"),
    ],
)
def test_ctrl_c_says_nothing_was_changed_only_where_that_is_true(
    phases: tuple[str, ...], said: str, workspace: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.phases = phases
    workspace.answers["rollback"] = KeyboardInterrupt()
    assert cli.main(["rollback", "penguins"], workspace) == 1
    assert said in capsys.readouterr().err


def test_sigterm_ends_a_command_as_ctrl_c_does(workspace: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned = []

    def recover() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            cleaned.append(True)

    monkeypatch.setattr(workspace, "recover", recover, raising=False)
    before = signal.getsignal(signal.SIGTERM)
    assert cli.main(["recover"], workspace) == 1
    assert cleaned == [True]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_saved_model_is_loaded_with_trust_only(
    workspace: Recorder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, rows, labels = tmp_path / "Churn.pkl", tmp_path / "rows.csv", tmp_path / "labels.csv"
    model.write_bytes(pickle.dumps({"a": "model"}))
    pd.DataFrame({"age": [1, 2], "city": ["x", None]}).to_csv(rows, index=False)
    pd.DataFrame({"left": [0, 1]}).to_csv(labels, index=False)
    words = ["up", str(model), "--sample", str(rows), "--target", str(labels)]

    assert cli.main(words, workspace) == 2
    assert "--trust" in capsys.readouterr().err
    assert workspace.calls == []

    assert cli.main([*words, "--trust"], workspace) == 0
    verb, args, kwargs = workspace.last
    assert (verb, args, kwargs["name"]) == ("deploy", ({"a": "model"},), "churn")
    assert list(kwargs["sample"].columns) == ["age", "city"]
    assert kwargs["target"].tolist() == [0, 1]
    assert "trust" not in kwargs


def test_a_saved_model_is_judged_on_a_file(workspace: Recorder, tmp_path: Path) -> None:
    """The data is read later, as the model's columns are; a target that is no file is a column."""
    model, rows = tmp_path / "churn.pkl", tmp_path / "rows.csv"
    model.write_bytes(pickle.dumps({"a": "model"}))
    pd.DataFrame({"age": [1, 2], "y": [0, 1]}).to_csv(rows, index=False)
    words = [
        "up",
        str(model),
        "--trust",
        "--sample",
        str(rows),
        "--target",
        "y",
        "--data",
        "test.csv",
        "--gate",
        "r2>=0",
    ]
    assert cli.main(words, workspace) == 0
    kwargs = workspace.last[2]
    assert (kwargs["target"], kwargs["data"], kwargs["gate"]) == ("y", "test.csv", ("r2>=0",))


def test_a_refused_gate_comes_back_from_the_notebook_s_kernel(tmp_path: Path) -> None:
    error = GateRefused("penguins@0123456789ab", ("accuracy>=0.9: failed",), "r.html", Judged({"verdict": "refused"}))
    handover._write(tmp_path, {"error": type(error).__name__, "state": error.__dict__})
    with pytest.raises(GateRefused) as caught:
        handover._raise_answered(tmp_path)
    assert str(caught.value) == str(error)
    assert caught.value.report == {"verdict": "refused"}


def test_files_of_a_gate_are_found_beside_the_command(folder: Path) -> None:
    (folder / "gate.yaml").write_text("gate: []", encoding="utf-8")
    values = {"model": "train.ipynb:clf", "validate": Path("v.ipynb"), "gate": ("gate.yaml", "r2>=0")}
    _, given = handover._named(Call("up", values))
    assert given["validate"] == str(folder / "v.ipynb")
    assert given["gate"] == (str(folder / "gate.yaml"), "r2>=0")


def test_parquet_is_read_without_pyarrow(workspace: Recorder, tmp_path: Path) -> None:
    import duckdb

    model, rows = tmp_path / "m.pkl", tmp_path / "it's.parquet"
    model.write_bytes(pickle.dumps(1))
    quoted = str(rows).replace("'", "''")
    duckdb.sql(f"COPY (SELECT 1 AS a, 'x' AS b) TO '{quoted}'")
    assert cli.main(["up", str(model), "--trust", "--sample", str(rows)], workspace) == 0
    assert workspace.last[2]["sample"].to_dict("list") == {"a": [1], "b": ["x"]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        (b"no pickle", "--trust --sample rows.csv", "cannot be loaded"),
        (b"cno_such_module\nf\n.", "--trust --sample rows.csv", "refers to code this interpreter does not have"),
        (pickle.dumps(1), "--trust --sample none.csv", 'There is no data file "none.csv"'),
        (pickle.dumps(1), "--trust --sample m.pkl", "is neither CSV nor Parquet"),
        (pickle.dumps(1), "--trust --sample rows.csv --launcher memory", "serves inside a notebook's kernel"),
    ],
)
def test_files_that_do_not_serve_are_named(
    content: bytes, words: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("m.pkl").write_bytes(content)
    Path("rows.csv").write_text("a\n1\n")
    assert cli.main(["up", "m.pkl", *words.split()], Recorder()) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("clf", "is neither NOTEBOOK.ipynb:VARIABLE nor a saved model file"),
        ("t.ipynb", "names no variable: write NOTEBOOK.ipynb:VARIABLE"),
        ("t.ipynb:", "names no variable"),
    ],
)
def test_another_model_is_wrong_use(
    model: str, said: str, workspace: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["up", model, "--sample", "X"], workspace) == 2
    assert said in capsys.readouterr().err


def test_no_words_are_help(workspace: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([], workspace) == 0
    out = capsys.readouterr().out
    assert all(f"  {verb}" in out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([verb, "--help"]) == 0
    assert VERBS[verb].help in " ".join(capsys.readouterr().out.split())


def test_the_installed_command_tells_its_version_and_help() -> None:
    command = [sys.executable, "-m", "nbdeploy"]
    told = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert "Usage: nbdeploy [OPTIONS] VERB ..." in told.stdout
    told = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert told.stdout.startswith("nbdeploy 0.")
    assert subprocess.run([*command, "nonsense"], capture_output=True, check=False).returncode == 2


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    command = f"{sys.executable} -m nbdeploy --help | true; exit ${{PIPESTATUS[0]}}"
    told = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert told.stderr == ""


@pytest.mark.parametrize("gone", [["stdout"], ["stderr"], ["stdout", "stderr"]])
@pytest.mark.parametrize(("verdict", "code"), [("refused", 1), ("passed", 0)])
def test_f08_a_reader_that_goes_away_changes_nothing_of_what_is_done(
    gone: list[str], verdict: str, code: int, workspace: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`serve NAME 2>&1 | head -1`: the steps that nobody reads are taken, and the exit code is that of the verb."""
    workspace.phases = ("check", "serve")
    workspace.answers["validate"] = Judged({"verdict": verdict}, verdict=verdict)
    for name in gone:
        monkeypatch.setattr(sys, name, unread())
    assert cli.main(["validate", "penguins"], workspace) == code
    assert cli.main(["serve", "penguins"], workspace) == 0
    assert [call[0] for call in workspace.calls] == ["validate", "serve"]
    workspace.answers["show"] = NotFound("service", "chrn", ["churn"])
    assert cli.main(["show", "chrn", "--json"], workspace) == 1
    for name in gone:
        getattr(sys, name).close()


def unread() -> TextIO:
    """A pipe's end whose other end is closed."""
    there, here = os.pipe()
    os.close(there)
    return os.fdopen(here, "w")


def test_a_stream_that_is_closed_is_no_crash(workspace: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    workspace.phases = ("serve",)
    assert cli.main(["serve", "penguins"], workspace) == 0
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        assert stream.name == os.devnull
        stream.close()


def test_lines_that_go_on_end_with_their_reader(workspace: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    workspace.answers["logs"] = (taken.append(place) or "line" for place in range(10))  # type: ignore[func-returns-value] # to see it
    monkeypatch.setattr(sys, "stdout", unread())
    assert cli.main(["logs", "penguins"], workspace) == 1
    assert taken == [0]
    sys.stdout.close()


def test_a_result_that_cannot_be_written_is_told_and_what_was_done_stays(
    workspace: Recorder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert cli.main(["serve", "penguins"], workspace) == 1
    assert "stdout: No space left on device. What was done before stays done" in capsys.readouterr().err


def test_the_shell_completes_names(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("_NBDEPLOY_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "nbdeploy stop p")
    monkeypatch.setenv("COMP_CWORD", "2")
    with pytest.raises(SystemExit):
        cli.main([], Recorder())
    assert capsys.readouterr().out == "plain,penguins\n"
