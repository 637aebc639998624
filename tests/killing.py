"""Processes that die at a step of their own: kill -9 at the N-th write of the registry, fsync, rename, link or removal."""

from __future__ import annotations

import os
import shutil
import signal
from itertools import count
from typing import TYPE_CHECKING, Any

from nbdeploy.keep import damage

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

WRITES = ("BEGIN IMMEDIATE", "INSERT", "COMMIT")
MOST = 200  # steps; none of ours has so many


def killed_at_each_step(work: Callable[[], object]) -> Iterator[int]:
    """Run the work in a process of its own that is killed at step 1; then at step 2; until it gets through.

    Yields the step after each death; the caller looks at what is left, and puts it in order.
    """
    for step in count(1):
        assert step < MOST, "it never gets through"
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                _die_at(step)
                work()
                code = 0
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code in {0, -signal.SIGKILL}, f"it failed at step {step}"
        if code == 0:
            return
        yield step


def _die_at(step: int) -> None:
    left = step

    def passed() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    for module, name in ((os, "fsync"), (os, "rename"), (os, "replace"), (os, "link"), (shutil, "rmtree")):
        setattr(module, name, _counted(getattr(module, name), passed))
    connect = damage.connect

    def watched(path: Path, **options: Any) -> sqlite3.Connection:
        connection = connect(path, **options)
        connection.set_trace_callback(lambda statement: passed() if statement.startswith(WRITES) else None)
        return connection

    damage.connect = watched


def _counted(real: Callable[..., Any], passed: Callable[[], None]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        passed()
        return real(*args, **options)

    return call
