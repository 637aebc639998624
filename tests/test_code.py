"""A call as it is written: the line reads as the call, and the Python line asks the same of the workspace."""

from __future__ import annotations

import string
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager
from recording import Recorder

import nbdeploy
from nbdeploy.errors import WrongUse
from nbdeploy.front import verbs
from nbdeploy.front.call import Call
from nbdeploy.front.code import Code, code, magic
from nbdeploy.front.commands import parse
from nbdeploy.front.expressions import resolve
from nbdeploy.front.grammar import VERBS
from nbdeploy.front.line import read
from nbdeploy.front.session import Entry, Session


class Model:
    def predict(self, rows: Any) -> Any:
        return rows


NAMESPACE = {
    "clf": Model(),
    "X": SimpleNamespace(columns=["species"]),
    "y": [0],
    "up": Model(),
    "b": "penguins@0123456789ab",
}
LINES = [
    "clf --name penguins --sample X --target y",
    "up --name penguins --sample X",
    'clf --name n --sample X --target species --data "X,y" --gate "f1_macro>=0.9" --gate "accuracy@island=a b>=0.8" --bump minor',
    "clf --name n --sample X --data test.csv --launcher memory --workers 2 --again --no-real-rows --keys a,b -p limit 0.8",
    'clf --name n --sample X --skip-gate "too \\"slow\\""',
    "bundle clf --name n --sample X",
    "serve penguins",
    "serve penguins:1.0.0 --force",
    "ps --all",
    "logs penguins --lines 20",
    "stop penguins",
    "attach penguins",
    "versions penguins",
    "show penguins:1.0.0",
    "show penguins",
    "diff penguins 1.0.0 1.1.0",
    "rollback penguins",
    "rollback penguins --to 1.0.0",
    "at penguins 2026-11-02 14:00",
    "remove penguins:1.0.0",
    'export penguins "a file.bento"',
    "export penguins:1.0.0 p.bento",
    "import p.bento --trust sha256:00",
    "recover",
    "validate penguins:1.0.0 gate.ipynb --data test.csv --target species -p limit 0.8",
    "validate penguins --data X,y",
    "new-validation classification v.ipynb --force",
    "replay penguins --against 1.0.0 --last 7d --limit 10 --gate flip_rate<=0.1",
    "reproduce penguins:1.0.0",
    "ci github w.yml --gate accuracy>=live",
    "token penguins",
]


def parsed(line: str) -> Call:
    words = read(line).words
    verb = words if words[0] in VERBS and words[:2] != ("up", "--name") else ("up", *words)
    call = parse(verb, "%deploy")
    assert call is not None
    return call


@pytest.mark.parametrize("line", LINES)
def test_the_line_reads_as_the_call_it_was_written_for(line: str) -> None:
    call = parsed(line)
    assert parsed(magic(call).removeprefix("%deploy ")) == call


@pytest.mark.parametrize("line", LINES)
def test_the_python_line_asks_the_same_of_the_workspace(line: str) -> None:
    call = parsed(line)
    by_line, by_python = recorder(), recorder()
    verbs.perform(resolve(call, NAMESPACE), by_line(), lambda _: None)
    stand_in = SimpleNamespace(Workspace=lambda: by_python, **{verb: getattr(by_python, verb) for verb in public()})
    eval(code(call, NAMESPACE).python, {**NAMESPACE, "nbdeploy": stand_in})
    assert [plain(item) for item in by_python.calls] == [plain(item) for item in by_line.calls]


def recorder() -> Recorder:
    return Recorder(answers={"logs": [], "remove": []})


def public() -> set[str]:
    return set(nbdeploy.__all__) - {"Workspace", "record", "expect"}


def plain(call: tuple[str, tuple[Any, ...], dict[str, Any]]) -> Any:
    """With nothing in the place of what is not given, paths and sequences alike."""
    import inspect

    from nbdeploy.workspace import Workspace

    verb, args, kwargs = call
    bound = inspect.signature(getattr(Workspace, verb)).bind(None, *args, **kwargs)
    if verb == "export":
        return verb, [str(item) for item in (*args, *kwargs.values())]
    return verb, {
        name: str(value)
        if name in {"file", "notebook", "validate"}
        else tuple(value)
        if isinstance(value, list)
        else value
        for name, value in bound.arguments.items()
        if value not in (None, {})
    }


WORD = st.text(string.ascii_letters + string.digits + " '\"\\()[]{}#;,=<>.é?$%!\n\t\x0c\x85\u2028", min_size=1)


@given(WORD, WORD)
@pytest.mark.slow
def test_any_reason_and_condition_survives_a_cell_in_both_forms(reason: str, condition: str) -> None:
    session, asked, wanted, stop = Session(), recorder(), recorder(), parsed("stop n")
    for call in (
        Call("publish", {"bundle": "n@0123456789ab", "skip_gate": reason}),
        Call("replay", {"name": "n", "against": "1.0.0", "gate": (condition, reason)}),
        Call("validate", {"what": "n", "notebook": Path("v.ipynb"), "parameters": ((condition, reason),)}),
    ):
        for item in (call, call, stop):
            verbs.perform(resolve(item, NAMESPACE), wanted(), lambda _: None)
        written = code(call, NAMESPACE)
        for shown in (written, Code("", written.python), code(stop, NAMESPACE)):
            session.add(Entry("14:00:00", shown, "done"))
    run_by_ipython(session.cell().text, asked)
    assert [plain(item) for item in asked.calls] == [plain(item) for item in wanted.calls]


def run_by_ipython(cell: str, workspace: Recorder) -> None:
    """What IPython makes of the cell's lines, asked of `workspace`."""

    def run_line_magic(name: str, line: str) -> None:
        if name == "deploy":
            verbs.perform(resolve(parsed(line), NAMESPACE), workspace(), lambda _: None)

    stand_in = SimpleNamespace(Workspace=lambda: workspace, **{verb: getattr(workspace, verb) for verb in public()})
    names = {"get_ipython": lambda: SimpleNamespace(run_line_magic=run_line_magic), "nbdeploy": stand_in}
    exec(TransformerManager().transform_cell(cell.replace("import nbdeploy\n", "")), names)


def test_a_session_gives_what_was_done_as_a_cell() -> None:
    session = Session()
    with pytest.raises(WrongUse, match="panel"):
        session.cell()
    session.add(Entry("14:00:00", Code("%deploy stop a", 'nbdeploy.stop("a")'), "done"))
    session.add(Entry("14:00:01", Code("%deploy stop b", 'nbdeploy.stop("b")'), "failed"))
    assert session.cell().text == "%load_ext nbdeploy\n%deploy stop a"
    session.add(Entry("14:00:02", Code("", 'nbdeploy.attach("a").predict([1])'), "done"))
    assert session.cell().text.splitlines()[1:] == [
        "import nbdeploy",
        "%deploy stop a",
        'nbdeploy.attach("a").predict([1])',
    ]


def test_what_was_refused_is_in_the_cell_as_the_line_that_goes_on() -> None:
    session = Session()
    session.add(Entry("14:00:00", Code("%deploy validate a v.ipynb", 'nbdeploy.validate("a", "v.ipynb")'), "refused"))
    assert session.cell().text == '%load_ext nbdeploy\nimport nbdeploy\nnbdeploy.validate("a", "v.ipynb")'
