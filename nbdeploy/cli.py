"""The command: a line of words to one call of the workspace, its result to stdout, progress to stderr."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbdeploy import default
from nbdeploy.errors import DiskFailed, GateRefused, NbdeployError, Unsupported, WrongUse
from nbdeploy.front import commands, verbs
from nbdeploy.front.call import Call
from nbdeploy.front.grammar import VERBS
from nbdeploy.render import Shown, plain
from nbdeploy.render.progress import Progress, surface

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from nbdeploy.workspace import Workspace

PROGRAM = "nbdeploy"
COMPLETE = "_NBDEPLOY_COMPLETE"  # click's variable: the shell asks for completions


def main(words: Sequence[str] | None = None, workspace: Callable[[], Workspace] | None = None) -> int:
    """The exit code: 0 done, 1 refused or failed, 2 wrong use."""
    find = workspace or default.workspace
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a sign the terminal's encoding lacks is written as its escape
            stream.reconfigure(errors="backslashreplace")
    if COMPLETE in os.environ:
        commands.group(lambda: find().names()).main([], prog_name=PROGRAM, complete_var=COMPLETE)
    words = list(sys.argv[1:] if words is None else words)
    progress = Progress(surface(sys.stderr), listing=f"{PROGRAM} ps")
    try:
        with _ended_as_by_ctrl_c():
            return _run(words, find, progress)
    except NbdeployError as error:
        return _failed(error, as_json="--json" in words)
    except KeyboardInterrupt:
        return 1
    except BrokenPipeError:  # the reader of lines that would have gone on went away, as `head` does
        return 1
    finally:
        _let_go()


def _open_closed() -> None:
    """A stream that was closed (`>&-`) is the null device: the next file to be opened would have its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process


def _let_go() -> None:
    """What nobody took is dropped here; else the interpreter complains of it at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """SIGTERM, which CI sends at its time-out, leaves as little behind as Ctrl-C, and waits where that would wait."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored, as in a script's background
        yield
        return

    def end(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(words: Sequence[str], workspace: Callable[[], Workspace], progress: Progress) -> int:
    """The exit code: a result may have one, where it is a verdict."""
    call = commands.parse(words, PROGRAM)
    if call is None:
        return 0
    if call.verb == "token":
        _write(workspace().token(call.values["name"]), as_json=False)
    elif call.verb == "logs":
        _logs(call, workspace())
    elif call.verb == "monitor" and call.values.get("watch"):
        verbs.watch(call, workspace(), lambda text: _say(plain.text(text)))
    elif VERBS[call.verb].of_kind("model") and ".ipynb" in call.values["model"]:
        _write(_through_notebook(_ready(call), workspace()), as_json=call.json)
    else:
        with progress:
            result = verbs.perform(_ready(call), workspace(), progress)
        _write(result, as_json=call.json)
        return verbs.exit_code(result)
    return 0


def _through_notebook(call: Call, workspace: Workspace) -> Any:
    from nbdeploy.front.handover import through_notebook

    try:
        return through_notebook(call, workspace.settings.reports)
    except KeyboardInterrupt:
        _aside(f"interrupted; `{PROGRAM} ps` shows what is live")
        raise


def _ready(call: Call) -> Call:
    """The call with what its words name on the command line."""
    if call.values.get("launcher") == "memory":
        raise Unsupported("The memory launcher on the command line", "it serves inside a notebook's kernel; use local")
    if not VERBS[call.verb].of_kind("model") or ".ipynb" in call.values["model"]:
        return call
    return Call(call.verb, _from_files(call.values), call.json)


def _from_files(values: dict[str, Any]) -> dict[str, Any]:
    from nbdeploy import names
    from nbdeploy.front import saved

    path = Path(values["model"])
    if path.suffix not in saved.MODELS:
        raise WrongUse(
            f'"{path}" is neither NOTEBOOK.ipynb:VARIABLE nor a saved model file ({", ".join(saved.MODELS)}).'
        )
    given = {key: value for key, value in values.items() if key != "trust"}
    given["model"] = saved.load_model(path, trust=values.get("trust", False))
    given["sample"] = saved.read_table(given["sample"])
    given.setdefault("name", names.from_variable(path.stem))
    if "target" in given:
        given["target"] = saved.read_target(given["target"], given["sample"])
    return given


def _logs(call: Call, workspace: Workspace) -> None:
    if call.json and call.values.get("follow"):
        raise WrongUse("--json prints one value at the end, and --follow has none; choose one of them.")
    lines = verbs.perform(call, workspace, _aside)
    if call.json:
        _say(verbs.dumps(verbs.Lines(tuple(lines))))
        return
    for line in lines:
        _say(plain.text(line))


def _write(result: Any, *, as_json: bool) -> None:
    """Whoever reads it may go away, as `head` does: what was done is done, and the exit code tells that."""
    with suppress(BrokenPipeError):
        if as_json:
            _say(verbs.dumps(result))
        elif hasattr(result, "card"):
            shown: Shown = result
            _say(shown.as_text(colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ))
        elif result is not None:
            _say(str(result))


def _say(text: str) -> None:
    """To stdout. Raises BrokenPipeError, DiskFailed."""
    try:
        click.echo(text)
    except BrokenPipeError:
        raise
    except OSError as exc:
        fact, holds = exc.strerror or str(exc), "What was done before stays done"
        raise DiskFailed("telling what came of it", "stdout", fact, holds, "ask for it again") from exc


def _aside(text: str) -> None:
    """To stderr, if anybody reads there."""
    with suppress(OSError):
        click.echo(f"{PROGRAM}: {text}", err=True)


def _failed(error: NbdeployError, *, as_json: bool) -> int:
    _aside(str(error))
    if as_json:
        told: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
        if isinstance(error, GateRefused) and error.report is not None:
            told["report"] = verbs.plain(error.report)
        with suppress(OSError):
            click.echo(verbs.dumps({"error": told}))
    return error.exit_code
