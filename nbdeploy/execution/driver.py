"""The process that runs a notebook with papermill, started by `watched`.

It reads one line of JSON (`watched.execute` writes it), works in the folder it is started in, where the notebook lies as
`executed.ipynb`, and answers with lines of JSON: {"cell", "of", "title"} before each cell, {"ended": reason} at the end.
When its standard input ends, so do it and all that it started.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from nbdeploy.execution.orphans import MARK, adopt, end_all
from nbdeploy.execution.sockets import sockets

FILE = "executed.ipynb"
DONE = "done"
SKIPPED = "skip-execution"  # the tag that nbclient knows
LONGEST = 500  # characters of an error in a reason
OVERHEAD = 200  # bytes a message counts beside its text: many small ones are large too
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)


class Interpreter(KernelSpecManager):  # type: ignore[misc]
    """Knows one kernel: the interpreter we were asked for, whatever is installed under its name."""

    interpreter = sys.executable

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [self.interpreter, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name=kernel_name, language="python")


class Client(PapermillNotebookClient):  # type: ignore[misc]
    """Stops at the first cell that does not run to its end, and says why."""

    def __init__(self, manager: Any, order: dict[str, Any], channel: TextIO, **options: Any) -> None:
        super().__init__(manager, **options)
        self.order = order
        self.channel = channel
        self.until = 0.0  # monotonic
        self.said = 0  # bytes
        self.left = False  # a cell called exit()
        self.place = "the start of the kernel"
        self.timeout_func = self._left_time
        self.on_cell_executed = self._executed

    def create_kernel_manager(self) -> Any:
        manager = super().create_kernel_manager()
        manager.kernel_spec_manager = Interpreter(parent=manager)
        manager.kernel_spec_manager.interpreter = self.order["interpreter"]
        return manager

    def execute(self, **_: Any) -> Any:
        environment = {**os.environ, **self.order["environment"], MARK: self.order["mark"]}
        self.reset_execution_trackers()
        with self.setup_kernel(env=environment, cwd=self.order["cwd"], stdout=subprocess.DEVNULL):
            self.until = time.monotonic() + self.order["seconds"]
            self.order["ended"] = self._cells()
        return self.nb

    def _cells(self) -> str:
        runs = [index for index, cell in enumerate(self.nb.cells) if executable(cell)]
        for index, cell in enumerate(self.nb.cells):
            if index in runs:
                self.place = f"In[{runs.index(index) + 1}]"
                tell(self.channel, cell=runs.index(index) + 1, of=len(runs), title=title(self.nb.cells, index))
            if reason := self._cell(cell, index):
                return reason
        return DONE

    def _cell(self, cell: Any, index: int) -> str | None:
        """Why the run ends here, if it does."""
        self.nb_man.cell_start(cell, index)
        reason = None
        try:
            self.execute_cell(cell, index)
            if self.left:
                reason = f"ended early: exit() at {self.place}"
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as exc:
            reason = self._reason(exc)
            self.nb_man.cell_exception(self.nb.cells[index], cell_index=index, exception=exc)
        finally:
            self.nb_man.cell_complete(self.nb.cells[index], cell_index=index)
        return reason

    def _reason(self, exc: Exception) -> str:
        if self.said > self.order["output"]:
            return f"printed more than {self.order['output'] / 1e6:g} MB by {self.place}"
        if isinstance(exc, CellTimeoutError):
            self.shutdown_kernel = "immediate"
            if time.monotonic() < self.until:
                return f"the output of {self.place} did not arrive"
            return f"took longer than {self.order['seconds']:g} s, at {self.place}"
        if isinstance(exc, DeadKernelError):
            return f"the kernel died at {self.place}{self._death()}"
        ename, evalue = getattr(exc, "ename", ""), getattr(exc, "evalue", "")
        if ename == "SystemExit":
            return f"ended early: sys.exit({evalue}) at {self.place}"
        if ename == "StdinNotImplementedError":
            return f"asked for input at {self.place}, and nobody is there to answer"
        return f"stopped at {self.place} with {cut(f'{ename}: {evalue}' if evalue else ename)}"

    def _death(self) -> str:
        process = getattr(getattr(self.km, "provisioner", None), "process", None)
        code = process.poll() if process is not None else None
        if code is None:
            return ""
        return (
            f" (signal {-code}{', perhaps out of memory' if code == -9 else ''})"
            if code < 0
            else f" (exit code {code})"
        )

    def _left_time(self, _cell: Any) -> float:
        return max(self.until - time.monotonic(), 0.01)

    def _executed(self, *, execute_reply: Any, **_: Any) -> None:
        payload = execute_reply["content"].get("payload") or ()
        self.left = any(item.get("source") == "ask_exit" for item in payload)

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        room = self.order["output"] - self.said
        if room < 0 and msg["msg_type"] != "status":
            return None
        self.said += weight(msg)
        if self.said > self.order["output"]:
            self.km.provisioner.process.kill()  # the poll for a dead kernel ends the cell
            if msg["msg_type"] != "stream":
                return None
            msg["content"]["text"] = msg["content"]["text"][:room]
        return super().process_message(msg, cell, cell_index)


def weight(msg: Any) -> int:
    content = msg["content"]
    if msg["msg_type"] == "stream":
        return OVERHEAD + len(content["text"])
    if msg["msg_type"] in {"display_data", "update_display_data", "execute_result"}:
        return OVERHEAD + sum(
            len(value if isinstance(value, str) else json.dumps(value)) for value in content["data"].values()
        )
    return OVERHEAD + sum(map(len, content["traceback"])) if msg["msg_type"] == "error" else 0


def executable(cell: Any) -> bool:
    return cell.cell_type == "code" and bool(cell.source.strip()) and SKIPPED not in cell.metadata.get("tags", ())


def title(cells: Any, index: int) -> str:
    """The heading a cell stands under, else its first line."""
    for cell in reversed(cells[:index]):
        if cell.cell_type == "markdown" and (found := HEADING.findall(cell.source)):
            return str(found[-1])
    return str(cells[index].source.strip().splitlines()[0])


def cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def tell(channel: TextIO, **said: Any) -> None:
    print(json.dumps(said), file=channel, flush=True)


def end_with_parent(order: dict[str, Any], orphaned: threading.Event) -> None:
    while os.read(0, 1):
        pass
    orphaned.set()
    end_all(order["mark"], descendants=True)
    shutil.rmtree(order["temporary"], ignore_errors=True)  # who made it was killed
    os._exit(1)


def run(order: dict[str, Any], channel: TextIO) -> str:
    """How the notebook ended."""

    class Watched(Engine):  # type: ignore[misc]
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **_: Any) -> None:
            Client(nb_man, order, channel, kernel_name=kernel_name, config=config(order)).execute()

    papermill_engines.register("nbdeploy", Watched)
    order["ended"] = "did not start"
    try:
        papermill.execute_notebook(
            nbformat.read(FILE, as_version=4),
            FILE,
            parameters=order["parameters"],
            engine_name="nbdeploy",
            kernel_name="python3",
            language="python",
            progress_bar=False,
        )
    except PapermillExecutionError as exc:
        if order["ended"] == DONE:  # an error was shown and not raised, as by %run
            return f"stopped at In[{exc.exec_count}] with {cut(f'{exc.ename}: {exc.evalue}')}"
    return str(order["ended"])


def config(order: dict[str, Any]) -> Config:
    return Config(
        {
            "KernelManager": sockets(Path(order["temporary"])),
            "NotebookClient": {
                "force_raise_errors": True,  # as papermill: a tag does not make an error none
                "iopub_timeout": 30,
                "extra_arguments": [
                    "--log-level=50",  # at its end a kernel is interrupted, and would say so
                    "--HistoryManager.hist_file=:memory:",
                    *(
                        f"--IPKernelApp.exec_lines=__import__('sys').path.insert(0, {path!r})"
                        for path in reversed(order["path"])
                    ),
                ],
            },
        }
    )


def main() -> None:
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what anybody prints here is no answer
    order = json.loads(sys.stdin.buffer.readline())
    adopt()
    orphaned = threading.Event()
    end = threading.Thread(target=end_with_parent, args=(order, orphaned), daemon=True)
    end.start()
    try:
        ended = run(order, channel)
    finally:
        end_all(order["mark"], descendants=True)
        if orphaned.is_set():
            end.join()
    tell(channel, ended=ended)
    channel.close()
    os._exit(0)  # the thread that waits for our parent has nothing more to wait for
