"""A notebook run to its end where it lies, and cells of ours after it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from nbdeploy.errors import NotebookFailed, NotFound, WrongUse
from nbdeploy.execution import formats
from nbdeploy.execution.sockets import sockets
from nbdeploy.homes import private

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

KERNEL = "python3"  # jupyter_client's own: the interpreter nbdeploy runs in, whatever kernel the notebook names


def run(
    notebook: Path,
    *,
    cells: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    keep: Path,
    stderr: TextIO | None = None,
    kernel: str = KERNEL,
) -> None:
    """Run `notebook` in its own folder, then `cells` (fixed code, never made from anybody's text).

    The kernel inherits `environment`; `kernel` names another kernelspec. What the notebook prints goes to `stderr`. The
    executed notebook lands in the folder `keep` when a cell fails, and nowhere otherwise.

    Raises:
        NotebookFailed: with the cell, its error, and where the executed notebook lies.
    """
    node = read(notebook)
    with tempfile.TemporaryDirectory(prefix="nbdeploy-") as folder, _environment(environment or {}):
        executed = Path(folder) / "executed.ipynb"
        own = notebook.absolute().parent
        failure = _execute(_with_cells(node, cells), executed, own, stderr or sys.stderr, kernel)
        if failure is not None:
            cell, fact = failure
            raise NotebookFailed(str(notebook), cell, fact, str(_kept(executed, keep, notebook.stem)))


def read(notebook: Path) -> Any:
    nbformat = formats.nbformat()
    if not notebook.is_file():
        raise NotFound("notebook", str(notebook), [str(path) for path in sorted(notebook.parent.glob("*.ipynb"))])
    try:
        node = nbformat.read(notebook, as_version=4)
        nbformat.validate(node)
    except (ValueError, OSError, AttributeError, nbformat.ValidationError) as exc:  # a list has no attributes of a dict
        raise WrongUse(f"{notebook} cannot be read as a notebook: {str(exc).partition(chr(10))[0]}") from exc
    return node


def _with_cells(node: Any, cells: Sequence[str]) -> Any:
    nbformat = formats.nbformat()
    node = nbformat.v4.upgrade(node)
    node.cells += [nbformat.v4.new_code_cell(source) for source in cells]
    return node


def _execute(node: Any, executed: Path, folder: Path, stderr: TextIO, kernel: str = KERNEL) -> tuple[str, str] | None:
    """The cell and the error it stopped with, or None."""
    formats.swiftly()
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    try:
        finished = papermill.execute_notebook(
            node,
            str(executed),
            kernel_name=kernel,
            cwd=str(folder),
            progress_bar=False,
            stderr_file=stderr,
            config=Config(
                {
                    "KernelManager": sockets(executed.parent),
                    # At its end a kernel is interrupted, and would say so; what the notebook prints is not its log.
                    # Nor is such a run part of anybody's history.
                    "NotebookClient": {"extra_arguments": ["--log-level=50", "--HistoryManager.hist_file=:memory:"]},
                }
            ),
        )
    except PapermillExecutionError as exc:
        return f"In[{exc.exec_count}]", f"{exc.ename}: {exc.evalue}"
    except (DeadKernelError, CellTimeoutError) as exc:
        return "a cell", f"{type(exc).__name__}: {exc}"
    if finished.cells and finished.cells[-1].get("execution_count", 0) is None:  # papermill lets sys.exit() pass
        return "a cell", "SystemExit, before its last cell"
    return None


@contextmanager
def _environment(given: Mapping[str, str]) -> Iterator[None]:
    """Papermill cannot hand variables to its kernel, which inherits this process's own."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _kept(executed: Path, keep: Path, stem: str) -> Path:
    private(keep)
    descriptor, name = tempfile.mkstemp(prefix=f"{stem}-", suffix=".ipynb", dir=keep)
    os.close(descriptor)
    if executed.exists():
        shutil.copyfile(executed, name)
    return Path(name)
