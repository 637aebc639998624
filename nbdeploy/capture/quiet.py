"""Trying a model out without a trace: no output, no warnings, the global random generators as they were."""

from __future__ import annotations

import contextlib
import io
import random
import signal
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

from nbdeploy.runtime.model import bound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class Escaped(Exception):
    """The model raised what `except Exception` lets through: SystemExit, KeyboardInterrupt, or a class of its own."""


def ask(model: Any, method: str, table: Any) -> Any:
    """What the method returns; whatever it raises is an Exception, but for the user's own Ctrl-C.

    Raises:
        Escaped: in the place of what is none, which is its cause.
    """
    call = bound(model, method)
    with _interrupts() as pressed:
        try:
            return call(table)
        except Exception:  # as it is: only what is no Exception is made one
            raise
        except BaseException as exc:  # a model may call sys.exit(), which must not end the kernel
            if pressed:
                raise
            raise Escaped(f"{type(exc).__name__}: {exc}".removesuffix(": ")) from exc


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Notes each Ctrl-C, which then does what it did before. Python delivers signals to the main thread alone."""
    pressed: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield pressed
        return

    def note(number: int, frame: FrameType | None) -> Any:
        pressed.append(number)
        return before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


class Budget:
    """Seconds to spend; what does not fit is left out, not hurried."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until = time.monotonic() + seconds

    def allows(self, seconds: float = 0.0) -> bool:
        """Whether something that takes so long may begin."""
        return time.monotonic() + seconds < self._until


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    import numpy as np

    state, own = np.random.get_state(), random.getstate()  # noqa: NPY002  # the global generator is what models use
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
        random.setstate(own)
