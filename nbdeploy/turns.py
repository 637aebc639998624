"""Deploys of one name queue: a lock on a file, let go by the kernel of the system when its holder dies."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from nbdeploy import interruption
from nbdeploy.homes import failing, private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType


FILE = "turn.lock"
LOOK = 0.1  # seconds between two looks of a thread that may be interrupted


@contextmanager
def turn(folder: Path, progress: Callable[[str], None]) -> Iterator[None]:
    """Hold the name whose service folder this is; waits, and says so, while another process or thread holds it."""
    with failing(f"changing {folder.name}", folder):
        descriptor = _held(folder, progress)
    try:
        yield
    finally:
        os.close(descriptor)


def _held(folder: Path, progress: Callable[[str], None]) -> int:
    """The locked file; another one where the holder before has removed the folder, so that nobody waits for this one."""
    path = folder / FILE
    while True:
        private(folder)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # the folder was removed just now
            continue
        try:
            _lock(descriptor, folder.name, progress)
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:  # Ctrl-C while it queues must not leave the lock held
            os.close(descriptor)
            raise
        os.close(descriptor)


@contextmanager
def claimed(path: Path, *, make: bool = True) -> Iterator[bool]:
    """Whether nobody holds this lock file, which is held meanwhile if so. One that is missing is made; without `make` it
    counts as held, and one that cannot be written is looked at too.
    """
    try:
        descriptor = os.open(path, (os.O_RDWR | os.O_CREAT if make else os.O_RDONLY) | os.O_CLOEXEC, 0o600)
    except OSError:  # its folder is gone, or not ours
        yield False
        return
    try:
        yield _locked(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Lock it unless somebody else has."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _lock(descriptor: int, name: str, progress: Callable[[str], None]) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        progress(f"waiting: another process is changing {name}")
        work = interruption.current()
        while work is not None and not _locked(descriptor):
            work.wait(LOOK)
        fcntl.flock(descriptor, fcntl.LOCK_EX)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back Ctrl-C while a change that must not be left half done is made; it is raised at the end.

    Elsewhere than in the main thread Python delivers no signals; there an `Interruption` is held back.
    """
    if threading.current_thread() is not threading.main_thread():
        work = interruption.current()
        with nullcontext() if work is None else work.held_back():
            yield
        return
    held: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        held.append(number)

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        raise KeyboardInterrupt
