"""What a kernel leaves behind, in whatever session it is: found by a mark in its environment, and ended."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

MARK = "NBDEPLOY_RUN"  # in the environment of a kernel and of all it starts
_ROUNDS = 50  # what is killed may have started something meanwhile


def adopt() -> None:
    """Orphans among our descendants become our children, where the system knows that."""
    if sys.platform == "linux":
        import ctypes

        subreaper = 36
        ctypes.CDLL(None, use_errno=True).prctl(subreaper, 1, 0, 0, 0)


def end_all(mark: str, *, descendants: bool) -> None:
    """Kill whatever carries the mark, and our descendants too if asked, until there is nothing."""
    import psutil

    for _ in range(_ROUNDS):
        found = {*marked(mark), *(psutil.Process().children(recursive=True) if descendants else ())}
        left = [process for process in found if _runs(process)]
        if not left:
            return
        for process in left:
            try:
                process.kill()
            except psutil.Error:  # gone, or no longer ours
                continue
        psutil.wait_procs(left, timeout=1)


def marked(mark: str) -> list[psutil.Process]:
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(process)
        except (psutil.Error, OSError):  # gone, or somebody else's
            continue
    return found


def _runs(process: psutil.Process) -> bool:
    import psutil

    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
