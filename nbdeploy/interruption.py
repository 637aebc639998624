"""Ctrl-C for work in a thread of its own, which Python gives the main thread alone.

KeyboardInterrupt is raised in the thread at its next bytecode, as it is in the main thread; not while a change is made
whole (`turns.uninterrupted`). What waits in the system meanwhile says with `waking` how it is woken.
"""

from __future__ import annotations

import ctypes
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    T = TypeVar("T")

_here = threading.local()


class Interruption:
    """One piece of work that may be interrupted once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._asked = threading.Event()
        self._held = False
        self._late = False  # asked for while it was held back
        self._wakers: list[Callable[[], object]] = []

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, done in this thread.

        Raises:
            KeyboardInterrupt: it was interrupted.
        """
        if self.asked:
            raise KeyboardInterrupt
        self._thread = threading.get_ident()
        _here.work = self
        try:
            return work()
        finally:
            _here.work = None
            with self._lock:
                self._thread = None

    def interrupt(self) -> None:
        """May be called from any thread and more than once; work that has ended is left alone."""
        with self._lock:
            if self.asked:
                return
            self._asked.set()
            if self._held:
                self._late = True
                return
            if self._thread is not None:
                error = ctypes.py_object(KeyboardInterrupt)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), error)
            wakers = list(self._wakers)
        for wake in wakers:
            wake()

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Nothing is raised inside; what was asked for meanwhile is raised at the end."""
        try:
            with self._lock:
                self._held = True
            _moment()  # what was asked for before is raised here
            yield
        finally:
            with self._lock:
                self._held = False
        if self._late:
            raise KeyboardInterrupt

    def wait(self, seconds: float) -> None:
        """A pause that an interruption ends."""
        self._asked.wait(seconds)

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Iterator[None]:
        self._wakers.append(wake)
        try:
            yield
        finally:
            self._wakers.remove(wake)


def current() -> Interruption | None:
    """That of the work this thread is at."""
    work: Interruption | None = getattr(_here, "work", None)
    return work


@contextmanager
def waking(wake: Callable[[], object]) -> Iterator[None]:
    """Where this thread's work can be interrupted, `wake` ends what it waits for inside."""
    work = current()
    if work is None:
        yield
        return
    with work.waking(wake):
        yield


def _moment() -> None:
    """A call, at whose beginning Python raises what waits to be raised in this thread."""
