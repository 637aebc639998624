"""A notebook run by a process that is watched: with parameters, within limits, and leaving nothing behind.

Papermill works in a process of its own, so that nothing a notebook does (a loop that never lets go, a flood of output, a
kernel that dies) can hold up or change the one that asked. Whatever happens, the notebook is kept as far as it came.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from nbdeploy import interruption
from nbdeploy.execution import formats, orphans

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DONE = "done"
FILE = "executed.ipynb"
START, END = 90.0, 30.0  # seconds the kernel may take to start and to end, beside those of the cells
TAIL = 400  # characters of what the process said before it failed
_BOOT = """
import sys
sys.path.append(sys.argv[1])
from nbdeploy.execution.formats import swiftly
swiftly()
from nbdeploy.execution.driver import main
main()
"""


@dataclass(frozen=True)
class Limits:
    """`seconds` for all cells together, counted once the kernel runs; `output` in bytes."""

    seconds: float
    output: int = 20_000_000


@dataclass(frozen=True)
class Ended:
    """`reason` is "done", or how the run ended instead: "stopped at In[3] with ValueError: ..."."""

    reason: str
    seconds: float


def execute(
    node: Any,
    folder: Path,
    *,
    parameters: Mapping[str, Any],
    limits: Limits,
    progress: Callable[[str], None],
    path: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
    interpreter: str = sys.executable,
) -> Ended:
    """Run the notebook `node`; it is kept as `folder`/executed.ipynb, as far as it came.

    `parameters` go to its parameters cell, their names as they are: they must be known ones. The kernel works in a
    temporary folder, finds modules in `path`, and is `interpreter`'s, which needs ipykernel. `progress` is told each cell:
    "3/12: Confusion matrix".
    """
    began = time.monotonic()
    _write(node, folder / FILE)
    mark = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="nbdeploy-", ignore_cleanup_errors=True) as name:
        cwd = Path(name) / "work"
        cwd.mkdir()
        order = {
            "mark": mark,
            "parameters": dict(parameters),
            "cwd": str(cwd),
            "temporary": name,
            "path": [str(item) for item in path],
            "environment": {
                "JUPYTER_RUNTIME_DIR": str(Path(name) / "runtime"),
                "PYTHONDONTWRITEBYTECODE": "1",  # nothing is written beside the notebook
                **(environment or {}),
            },
            "interpreter": interpreter,
            "seconds": limits.seconds,
            "output": limits.output,
        }
        reason = _driven(order, folder, Path(name), progress)
    _settle(node, folder / FILE)
    if reason == DONE:
        reason = _left_over(folder / FILE)
    return Ended(reason, round(time.monotonic() - began, 3))


def _driven(order: dict[str, Any], folder: Path, temporary: Path, progress: Callable[[str], None]) -> str:
    """How the run ended, as the driver says or as we see."""
    said = temporary / "driver.log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _BOOT, str(Path(__file__).parents[2])],
            cwd=folder,
            env={**os.environ, **order["environment"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            umask=0o077,
        )
    overdue = threading.Event()
    timer = threading.Timer(START + order["seconds"] + END, _too_late, (process, overdue))
    timer.daemon = True
    try:
        timer.start()
        with interruption.waking(process.kill):
            ended = _followed(process, order, progress)
    finally:  # also at Ctrl-C
        timer.cancel()
        process.kill()
        process.communicate()
        orphans.end_all(order["mark"], descendants=False)
    if ended is not None:
        return ended
    if overdue.is_set():
        return f"took longer than {order['seconds']:g} s, and did not end when told to"
    tail = said.read_text(encoding="utf-8", errors="replace").strip()[-TAIL:]
    return f"could not be run: {tail or 'the process that ran it ended without a word'}"


def _too_late(process: subprocess.Popen[bytes], overdue: threading.Event) -> None:
    overdue.set()
    process.kill()


def _followed(process: subprocess.Popen[bytes], order: Any, progress: Callable[[str], None]) -> str | None:
    """What it says at its end; None if it ends without."""
    assert process.stdin is not None  # noqa: S101  # for the type checker
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        return None
    return _listen(process.stdout, progress)


def _listen(lines: IO[bytes], progress: Callable[[str], None]) -> str | None:
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:  # nothing of ours: a cell found the way here
            return f"wrote to the process that ran it: {line[:TAIL]!r}"
        if "ended" in said:
            return str(said["ended"])
        progress(f"{said['cell']}/{said['of']}: {said['title']}")
    return None


def _left_over(path: Path) -> str:
    """Done, if every cell that should run has run: an end nobody announced is no good end."""
    from nbdeploy.execution.whole import read

    for cell in read(path).cells:
        if cell.cell_type != "code" or not cell.source.strip() or "skip-execution" in cell.metadata.get("tags", ()):
            continue
        if cell.execution_count is None:
            return f"ended early: a cell was never run ({cell.source.strip().splitlines()[0][:60]})"
    return DONE


def _write(node: Any, path: Path) -> None:
    """Without results of an earlier run, and without parameters papermill gave it then."""
    nbformat = formats.nbformat()
    node = nbformat.v4.upgrade(nbformat.from_dict(node))
    node.cells = [cell for cell in node.cells if "injected-parameters" not in cell.metadata.get("tags", ())]
    for cell in node.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    path.touch(mode=0o600)
    nbformat.write(node, path)


def _settle(node: Any, path: Path) -> None:
    """Whole, on the disk, and ours alone."""
    try:
        json.loads(path.read_bytes())
    except (OSError, ValueError):  # the driver was killed while it wrote, or a cell took its file away
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _write(node, path)
    path.chmod(0o600)
    with path.open("rb") as file:
        os.fsync(file.fileno())
