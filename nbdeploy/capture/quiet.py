"""Trying a model out without a trace: no output, no warnings, the global random generators as they were."""

from __future__ import annotations

import contextlib
import io
import random
import time
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


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
