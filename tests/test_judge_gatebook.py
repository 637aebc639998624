"""Gate notebooks: what they declare, what they are given, and every way a run of one can end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from nbdeploy import execution
from nbdeploy.errors import NotFound, WrongUse
from nbdeploy.execution import orphans
from nbdeploy.judge import gatebook, records

if TYPE_CHECKING:
    from pathlib import Path

    from nbdeploy.settings import Settings

DECLARED = """
%matplotlib inline
url = "http://127.0.0.1:1"
least: "float" = 0.5
rows = 10
deep = False
data = target = ""
names = ["a"]
other = max(1, 2)
print(url)
"""


def notebook(path: Path, *cells: str, parameters: str | None = None, **metadata: Any) -> Path:
    made = [new_code_cell(cell) for cell in cells]
    if parameters is not None:
        made.insert(0, new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    nbformat.write(new_notebook(cells=made, metadata=metadata), path)
    return path


@pytest.fixture
def book(tmp_path: Path) -> gatebook.Gatebook:
    return gatebook.read(notebook(tmp_path / "gate.ipynb", parameters=DECLARED))


def test_the_parameters_are_what_its_cell_assigns(book: gatebook.Gatebook) -> None:
    found = {parameter.name: parameter.default for parameter in book.parameters}
    assert found == {
        "url": "http://127.0.0.1:1",
        "least": 0.5,
        "rows": 10,
        "deep": False,
        "data": "",
        "target": "",
        "names": ["a"],
        "other": None,
    }


def test_it_is_given_what_it_declares_of_ours(book: gatebook.Gatebook) -> None:
    assert book.given({"url": "u", "live_url": "l"}, {}) == {"url": "u"}


@pytest.mark.parametrize(
    ("name", "value", "given"),
    [
        ("least", "0.7", 0.7),
        ("rows", "12", 12),
        ("rows", "0.5", 0.5),
        ("deep", "True", True),
        ("deep", "no", False),
        ("url", "7", "7"),
        ("names", "['b']", ["b"]),
        ("other", "3", "3"),
        ("rows", 3, 3),
    ],
)
def test_a_text_becomes_what_the_default_is(book: gatebook.Gatebook, name: str, value: Any, given: Any) -> None:
    found = book.given({}, {name: value})[name]
    assert (found, type(found)) == (given, type(given))


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("leats", "0.7", r'declares no parameter "leats". Did you mean "least"\?'),
        ("x; import os", "1", r"Declared: url, least, rows, deep, data, target, names, other\."),
        ("least", "much", r"-p least 'much' is not a float like its default 0\.5"),
        ("deep", "perhaps", "say true or false"),
        ("names", "b", "write it as Python does"),
        ("names", "3", "write it as Python does"),
        ("rows", object(), "was given an object"),
    ],
)
def test_what_it_does_not_declare_or_cannot_take_is_wrong_use(
    book: gatebook.Gatebook, name: str, value: Any, told: str
) -> None:
    with pytest.raises(WrongUse, match=told):
        book.given({}, {name: value})


def test_a_notebook_without_parameters_is_given_none(tmp_path: Path) -> None:
    book = gatebook.read(notebook(tmp_path / "a.ipynb", "1"))
    assert book.given({"url": "u"}, {}) == {}
    with pytest.raises(WrongUse, match="declares no parameters"):
        book.given({}, {"url": "u"})


def test_its_digest_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = notebook(tmp_path / "a.ipynb", "1")
    before = gatebook.read(path).digest
    assert gatebook.read(path).digest == before
    path.write_bytes(path.read_bytes() + b"\n")
    assert gatebook.read(path).digest != before


def test_what_is_no_python_notebook_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        gatebook.read(tmp_path / "none.ipynb")
    (tmp_path / "x.ipynb").write_text("import this")
    with pytest.raises(WrongUse, match="cannot be read as a notebook"):
        gatebook.read(tmp_path / "x.ipynb")
    written: Any
    for written in ({"nbformat": 4}, [], {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{}]}):
        (tmp_path / "y.ipynb").write_text(json.dumps(written))
        with pytest.raises(WrongUse, match="cannot be read as a notebook"):
            gatebook.read(tmp_path / "y.ipynb")
    kernel = {"name": "ir", "display_name": "R", "language": "R"}
    with pytest.raises(WrongUse, match="is a notebook of R"):
        gatebook.read(notebook(tmp_path / "r.ipynb", "x <- 1", kernelspec=kernel))
    with pytest.raises(WrongUse, match="is no plain Python"):
        gatebook.read(notebook(tmp_path / "b.ipynb", parameters="x = = 1"))


# --- runs


def run(
    path: Path, settings: Settings, *, seconds: float = 60, **users: Any
) -> tuple[gatebook.Executed, Any, list[str]]:
    """The run, the executed notebook, and what progress was told."""
    from dataclasses import replace

    book = gatebook.read(path)
    folder = path.parent / "kept"
    folder.mkdir(mode=0o700)
    told: list[str] = []
    executed = gatebook.run(
        book,
        book.given({}, users),
        folder=folder,
        settings=replace(settings, gate_timeout=seconds),
        progress=told.append,
    )
    assert executed.notebook == folder / "executed.ipynb"
    assert executed.notebook.stat().st_mode & 0o777 == 0o600
    return executed, nbformat.read(executed.notebook, as_version=4), told


def printed(node: Any) -> str:
    return "".join(output.get("text", "") for cell in node.cells for output in cell.get("outputs", ()))


# One child is known by its environment; the other has none, and is known as an orphan.
LEAVES = """
import subprocess
marked = subprocess.Popen(["sleep", "600"], start_new_session=True)
adopted = subprocess.Popen(["sh", "-c", "env -i sleep 600 & echo $!"], start_new_session=True, stdout=subprocess.PIPE)
print(marked.pid, adopted.stdout.readline().decode())
"""


@pytest.mark.slow
def test_an_honest_run(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """F64: it leaves processes in other sessions, and files where it runs."""
    monkeypatch.setenv("A_KEY", "of the user")
    (tmp_path / "beside.py").write_text("value = 0.75")
    path = notebook(
        tmp_path / "{gate} 1.ipynb",
        "import beside, os, nbdeploy; nbdeploy.record('accuracy', beside.value)",
        "nbdeploy.expect('high', beside.value > least, '<b>yes</b>'); open('litter', 'w').close()",
        "open(out + '/flips.csv', 'w').write('row'); print(os.getcwd(), os.environ['A_KEY'])",
        LEAVES,
        parameters="least = 0.5\nout = ''",
    )
    node = nbformat.read(path, as_version=4)
    node.cells.insert(1, new_markdown_cell("text\n\n## Accuracy & more ##\n"))
    node.cells.append(new_code_cell("never", metadata={"tags": ["skip-execution"]}))
    nbformat.write(node, path)
    before = path.read_bytes(), {name.name for name in tmp_path.iterdir()}
    executed, node, told = run(path, settings, least="0.7")
    assert executed.ended == "done"
    assert executed.records.named["accuracy"].value == 0.75
    assert [(item.name, item.passed) for item in executed.records.expectations] == [("high", True)]
    assert (tmp_path / "kept" / "out" / "flips.csv").read_text() == "row"
    assert told[-1] == "gate 6/6: Accuracy & more"
    assert told[0] == "gate 1/6: least = 0.5"
    *_, there, left = printed(node).strip().splitlines()
    cwd, key = there.split(" ", 1)
    assert key == "of the user"
    assert not os.path.exists(cwd)  # noqa: PTH110  # a path the kernel told
    for pid in map(int, left.split()):
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert (path.read_bytes(), {name.name for name in tmp_path.iterdir()} - {"kept"}) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "ended"),
    [
        ("1/0", "stopped at In[2] with ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(0)", "ended early: sys.exit(0) at In[2]"),
        ("exit()", "ended early: exit() at In[2]"),
        ("input('well? ')", "asked for input at In[2], and nobody is there to answer"),
        (
            "import os; os.kill(os.getpid(), 9)",
            "the kernel died at In[2] (signal 9, perhaps out of memory)",
        ),
    ],
)
def test_a_run_that_does_not_come_to_its_end_says_why(
    tmp_path: Path, settings: Settings, cell: str, ended: str
) -> None:
    """F64."""
    path = notebook(tmp_path / "a.ipynb", "print('so far', flush=True)", cell, "print('never')")
    executed, node, _ = run(path, settings)
    assert executed.ended == ended
    assert printed(node).startswith("so far\n")
    assert "never" not in printed(node)


@pytest.mark.slow
def test_what_is_said_and_lost_from_the_outputs_refuses_the_run(tmp_path: Path, settings: Settings) -> None:
    """Cleared by the next output, captured, or said in a process whose outputs nobody reads."""
    cleared = """
from IPython.display import clear_output
import nbdeploy
for slice in ("first", "last"):
    clear_output(wait=True)
    nbdeploy.expect(slice, slice == "last")
    nbdeploy.record("accuracy", 0.9)
"""
    captured = "%%capture\nnbdeploy.expect('captured', False); nbdeploy.record('f1', 0.1)"
    path = notebook(tmp_path / "a.ipynb", cleared, captured, "nbdeploy.expect('kept', True)")
    executed, _, _ = run(path, settings)
    assert executed.ended.startswith("lost from its outputs what it said of first, captured, f1: ")
    assert [one.name for one in executed.records.expectations] == ["last", "kept"]
    assert {item.name for item in (tmp_path / "kept").iterdir()} == {"executed.ipynb"}


@pytest.mark.slow
def test_an_error_that_is_shown_and_not_raised_is_one(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "checks.py").write_text("1/0")
    path = notebook(tmp_path / "a.ipynb", f"%run {tmp_path}/checks.py", "2")
    assert run(path, settings)[0].ended == "stopped at In[1] with ZeroDivisionError: division by zero"


@pytest.mark.slow
def test_a_tag_does_not_make_an_error_none(tmp_path: Path, settings: Settings) -> None:
    path = notebook(tmp_path / "a.ipynb", "1/0", "2")
    node = nbformat.read(path, as_version=4)
    node.cells[0].metadata["tags"] = ["raises-exception"]
    nbformat.write(node, path)
    assert run(path, settings)[0].ended == "stopped at In[1] with ZeroDivisionError: division by zero"


@pytest.mark.slow
def test_a_cell_that_hangs_is_ended(tmp_path: Path, settings: Settings) -> None:
    """F64: it holds the interpreter's lock in native code."""
    path = notebook(tmp_path / "a.ipynb", "print('so far')", "import re; re.match('(a+)+$', 'a' * 60 + 'b')")
    executed, node, _ = run(path, settings, seconds=2)
    assert executed.ended == "took longer than 2 s, at In[2]"
    assert printed(node) == "so far\n"


@pytest.mark.slow
def test_its_kernel_needs_no_port_that_another_process_may_take_first(tmp_path: Path, settings: Settings) -> None:
    code = "import ipykernel; print(ipykernel.get_connection_info(unpack=True)['transport'])"
    _, node, _ = run(notebook(tmp_path / "a.ipynb", code), settings)
    assert printed(node) == "ipc\n"


@pytest.mark.slow
def test_a_flood_of_output_is_cut(tmp_path: Path) -> None:
    """F64."""
    node = new_notebook(cells=[new_code_cell("while True: print('x' * 1_000)")])
    limits = execution.Limits(60, output=1_500_000)
    ended = execution.execute(node, tmp_path, parameters={}, limits=limits, progress=print)
    assert ended.reason == "printed more than 1.5 MB by In[1]"
    assert ended.seconds < 45  # the kernel was ended, not waited for
    assert 1_400_000 < (tmp_path / "executed.ipynb").stat().st_size < 1_600_000


def test_only_what_carries_the_mark_is_ended() -> None:
    orphans.end_all("nobody's", descendants=False)
    assert orphans.marked("nobody's") == []


def test_an_output_of_our_type_that_says_something_else_refuses_the_run(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(node: Any, folder: Path, **_: object) -> execution.Ended:
        said = new_output("display_data", data={records.MEDIA_TYPE: {"kind": "x"}})
        nbformat.write(new_notebook(cells=[new_code_cell("", outputs=[said])]), folder / execution.FILE)
        return execution.Ended("done", 0.1)

    monkeypatch.setattr(execution, "execute", execute)
    book = gatebook.read(notebook(tmp_path / "a.ipynb"))
    executed = gatebook.run(book, {}, folder=tmp_path, settings=settings, progress=print)
    assert executed.ended.startswith("recorded what cannot be read: ")
    assert not executed.records.named


@pytest.mark.thorough
def test_papermill_s_own_command_runs_it_and_nbformat_alone_reads_it(tmp_path: Path) -> None:
    cell = "import nbdeploy; nbdeploy.record('least', least); nbdeploy.expect('high', least > 0.6)"
    path = notebook(
        tmp_path / "a.ipynb",
        cell,
        parameters="least = 0.5",
        kernelspec={"name": "python3", "display_name": "", "language": "python"},
    )
    command = [sys.executable, "-m", "papermill", str(path), "out.ipynb", "-p", "least", "0.7", "--no-progress-bar"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    node = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    said = [
        output.data[records.MEDIA_TYPE]
        for cell in node.cells
        for output in cell.get("outputs", ())
        if records.MEDIA_TYPE in output.data
    ]
    assert said == [
        {"kind": "record", "name": "least", "type": "number", "value": 0.7},
        {"kind": "expect", "name": "high", "passed": True, "detail": ""},
    ]
