"""Real kernels, and fresh interpreters to compare them with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any, Self

from nbdeploy.execution.sockets import sockets

if TYPE_CHECKING:
    from collections.abc import Mapping

CHILD = Path(__file__).with_name("fresh_child.py")


@dataclass
class Outputs:
    """What one cell showed. `error` is the exception's "Name: text", "" where there was none."""

    number: int = 0  # the 3 of In[3]
    text: str = ""
    result: str = ""
    error: str = ""
    displays: list[dict[str, Any]] = field(default_factory=list)


class Kernel:
    """One ipykernel process with homes of its own under `folder`."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None, *, cwd: Path | None = None) -> None:
        from jupyter_client.manager import KernelManager

        given = {
            "IPYTHONDIR": str(folder / "ipython"),
            "NBDEPLOY_HOME": str(folder / "nbdeploy"),
            "BENTOML_HOME": str(folder / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
        folder.mkdir(parents=True, exist_ok=True)
        self._sockets = tempfile.TemporaryDirectory(prefix="kernel-")
        self._manager = KernelManager(connection_file=str(folder / "kernel.json"), **sockets(Path(self._sockets.name)))
        self._log = (folder / "kernel.log").open("wb")
        self._manager.start_kernel(
            env={**os.environ, **given, **(environment or {})},
            cwd=str(cwd or folder),
            stdout=self._log,
            stderr=self._log,
        )
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        try:
            self._client.wait_for_ready(timeout=60)
        except BaseException as exc:
            self.shutdown()
            exc.add_note((folder / "kernel.log").read_text(errors="replace")[-2000:])
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    @property
    def pid(self) -> int:
        return int(self._manager.provisioner.pid)

    def run(self, code: str, *, timeout: float = 60, check: bool = True, cell_id: str | None = None) -> Outputs:
        """Execute a cell and wait for its end; an error of the cell is raised unless `check` is off."""
        outputs = self.finish(self.send(code, cell_id=cell_id), timeout=timeout)
        if check and outputs.error:
            raise AssertionError(f"{outputs.error}\n{outputs.text}")
        return outputs

    def send(self, code: str, *, cell_id: str | None = None, store_history: bool = True) -> str:
        """Execute a cell without waiting; the id is for `finish`."""
        content = {
            "code": code,
            "silent": False,
            "store_history": store_history,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": False,
        }
        metadata = {"cellId": cell_id} if cell_id else {}
        message = self._client.session.msg("execute_request", content, metadata=metadata)
        self._client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def finish(self, request: str, *, timeout: float = 60) -> Outputs:
        outputs = Outputs()
        deadline = time.monotonic() + timeout
        while True:
            try:
                message = self._client.get_iopub_msg(timeout=max(0.1, deadline - time.monotonic()))
            except Empty as exc:
                raise TimeoutError(f"the cell did not end within {timeout} s; it showed: {outputs.text}") from exc
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "execute_input":
                    outputs.number = content["execution_count"]
                case "stream":
                    outputs.text += content["text"]
                case "execute_result":
                    outputs.result = content["data"].get("text/plain", "")
                    outputs.displays.append(content["data"])
                case "display_data" | "update_display_data":
                    outputs.displays.append(content["data"])
                case "error":
                    outputs.error = f"{content['ename']}: {content['evalue']}"
                case "status" if content["execution_state"] == "idle":
                    return outputs

    def value(self, expression: str, *, timeout: float = 60) -> Any:
        """A JSON value of the kernel."""
        shown = self.run(f"import json as _json; print('\\x02' + _json.dumps({expression}))", timeout=timeout).text
        return json.loads(shown.rpartition("\x02")[2])

    def interrupt(self) -> None:
        self._manager.interrupt_kernel()

    def kill(self) -> None:
        """As `kill -9` does."""
        os.kill(self.pid, signal.SIGKILL)
        self.shutdown()

    def shutdown(self) -> None:
        self._client.stop_channels()
        if self._manager.has_kernel:
            self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()
        self._client.context.destroy() if self._client.context is not self._manager.context else None
        self._log.close()
        self._sockets.cleanup()


class Fresh:
    """Fresh `python -I` interpreters that load what a folder holds and answer.

    One process imports the slow libraries; each answer comes from a fork of it, which has seen nothing else.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-W", "ignore", str(CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def answer(self, folder: Path) -> dict[str, Any]:
        """{"same": bool, "error": str, ...} of the model in `folder`; see fresh_child.py."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(str(folder)) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate()
