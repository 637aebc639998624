"""A worker ends with its supervisor, however that ended."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .control import Channel, Message

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask Linux to kill this process with its parent, even while C code holds the GIL; the parent may be gone already.

    The request is bound to the thread of the parent that started this process: supervisors have one thread.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        vanish()


def listen(channel: Channel, told: Callable[[Message], object]) -> None:
    """Hear the supervisor on a thread; its silence is its end, which is all there is where Linux is not."""

    def hear() -> None:
        while (message := channel.receive()) is not None:
            told(message)
        vanish()

    threading.Thread(target=hear, name="supervisor", daemon=True).start()


def vanish() -> None:
    """With the processes this one started; workers lead a group of their own."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)
