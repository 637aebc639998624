"""`%deploy` in a real kernel: what a notebook shows, saves and reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

if TYPE_CHECKING:
    from jupyter_client.blocking.client import BlockingKernelClient

pytestmark = pytest.mark.slow

SET_UP = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from recording import Recorder
import nbdeploy.default
recorder = Recorder(phases=("bundle", "check"))
nbdeploy.default.workspace = recorder
class Model:
    def predict(self, rows): return rows
clf, X = Model(), [1, 2]
%load_ext nbdeploy
"""


def executed(*cells: str) -> list[list[dict[str, Any]]]:
    """The outputs of each cell, as a saved notebook has them."""
    made = [nbformat.v4.new_code_cell(cell) for cell in (SET_UP, *cells)]
    notebook = nbformat.v4.new_notebook(cells=made)
    NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
    return [cell.outputs for cell in notebook.cells[1:]]


def test_a_saved_notebook_holds_the_last_state_and_the_card() -> None:
    whole, quiet, assigned, asynchronous, thread, bare = executed(
        "%deploy clf --sample X",
        "%deploy clf --sample X;",
        "s = %deploy clf --sample X;\nprint(s.version)",
        "import asyncio\nawait asyncio.sleep(0)\n%deploy ps",
        "import threading\n"
        "line = 'clf --sample X --name from-thread'\n"
        "thread = threading.Thread(target=get_ipython().run_line_magic, args=('deploy', line))\n"
        "thread.start(); thread.join()\n"
        "print(recorder.calls[-1][2]['name'])",
        "print(recorder.calls[0][0], len(recorder.calls))",
    )
    progress, card = whole
    assert progress["output_type"] == "display_data"
    assert progress["data"]["text/plain"].startswith("✓ bundled")
    assert "checked" in progress["data"]["text/html"]
    assert card["output_type"] == "execute_result"
    assert "penguins 1.0.0" in card["data"]["text/html"]
    assert card["data"]["text/plain"].startswith("penguins 1.0.0  ✓ ready")
    assert quiet == []
    assert [output["text"] for output in assigned] == ["1.0.0\n"]
    assert [output["output_type"] for output in asynchronous] == ["execute_result"]
    assert thread[-1]["text"] == "from-thread\n"
    assert bare[0]["text"] == "deploy 5\n"


def run(client: BlockingKernelClient, code: str) -> dict[str, Any]:
    content: dict[str, Any] = client.execute_interactive(code, timeout=60, output_hook=lambda _: None)["content"]
    return content


def test_errors_are_red_for_programs_and_short_for_people() -> None:
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        run(client, SET_UP)
        wrong = run(client, "%deploy clf")
        assert (wrong["status"], wrong["ename"]) == ("error", "UsageError")
        assert "%deploy clf --sample X_train" in wrong["evalue"]

        run(
            client,
            "from nbdeploy.errors import CheckFailed; recorder.answers['deploy'] = CheckFailed('b', ('column age',))",
        )
        failed = run(client, "%deploy clf --sample X")
        assert (failed["status"], failed["ename"]) == ("error", "CheckFailed")
        assert failed["traceback"] == [f"CheckFailed: {failed['evalue']}"]
        assert "column age" in failed["evalue"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


WAITING = """
from recording import Noun
class Slow(Recorder):
    def deploy(self, model, *, name, sample, progress):
        progress("check")
        print("waiting", flush=True)
        time.sleep(600)
nbdeploy.default.workspace = Slow()
%reload_ext nbdeploy
"""


def test_an_interrupted_deploy_says_what_is_true() -> None:
    """F33."""
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        run(client, SET_UP)
        run(client, WAITING)
        told: list[str] = []

        def interrupt_once_waiting(message: dict[str, Any]) -> None:
            content = message["content"]
            told.extend(content.get("data", {}).values())
            if content.get("text") == "waiting\n":
                manager.interrupt_kernel()

        reply = client.execute_interactive("%deploy clf --sample X", timeout=120, output_hook=interrupt_once_waiting)
        assert reply["content"]["evalue"] == "interrupted: nothing was changed"
        assert reply["content"]["traceback"] == ["KeyboardInterrupt: interrupted: nothing was changed"]
        assert "! interrupted: nothing was changed" in told
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
