"""What a supervisor writes down about itself, and takes back."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

from .clock import now
from .process import Process
from .state import FILE, State

if TYPE_CHECKING:
    from pathlib import Path

    from .generation import Generation


class StateFile:
    """The state file of one supervisor's life. A full disk loses the note, not the service."""

    def __init__(self, folder: Path) -> None:
        self.process = Process.current()
        self.nonce = secrets.token_hex(16)
        self._folder = folder
        self._before = State.read(folder)
        self._written: State | None = None

    @property
    def kept_port(self) -> int | None:
        """The port this name had when it served last."""
        return self._before.port if self._before else None

    def state(self, live: Generation | None, candidate: Generation | None, failure: str | None) -> State:
        generation = live or candidate
        word = "starting" if live is None else live.state
        version = live.version if live else None
        last = self._written
        same = last is not None and (last.state, last.version) == (word, version)
        return State(
            name=generation.order.name if generation else self._folder.name,
            state=word,
            launcher=generation.order.launcher if generation else "local",
            since=last.since if last is not None and same else now(),
            version=version,
            digest=generation.order.digest if generation else None,
            bundle=generation.order.bundle if generation else None,
            url=generation.public.url if generation else None,
            port=generation.public.port if generation else self.kept_port,
            pid=self.process.pid,
            start=self.process.start,
            boot=self.process.boot,
            nonce=self.nonce,
            workers=generation.order.workers if generation else 1,
            pids=live.pids if live else (),
            failure=failure,
        )

    def write(self, state: State) -> None:
        """Nothing to do where it says so already; somebody may have deleted it."""
        if state == self._written and (self._folder / FILE).exists():
            return
        self._written = state
        with contextlib.suppress(OSError):
            state.write(self._folder)

    def stopped(self, state: State) -> None:
        with contextlib.suppress(OSError):
            state.ended().write(self._folder)

    def restore(self) -> None:
        """As it was before this supervisor, which has never served."""
        with contextlib.suppress(OSError):
            if self._before is None:
                (self._folder / FILE).unlink(missing_ok=True)
            else:
                self._before.write(self._folder)
