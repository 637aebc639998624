"""`Watcher`: looks at one service, again and again, and delivers what waits. One process a name; no kernel.

It keeps nothing in mind: killed at any moment and started again, it goes on with the ledger.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from nbdeploy.errors import NbdeployError, Refused
from nbdeploy.homes import failing, private, write_whole
from nbdeploy.runtime.clock import now as stamped
from nbdeploy.turns import claimed
from nbdeploy.watch.alerts import Watch
from nbdeploy.watch.look import look
from nbdeploy.watch.outbox import now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    from nbdeploy.watch.ledger import Ledger
    from nbdeploy.watch.look import Source
    from nbdeploy.watch.outbox import Outbox
    from nbdeploy.watch.plan import Plan

Made = TypeVar("Made")
LOCK, WHO = "watch.lock", "watch.json"
INTERVAL = 60.0  # seconds between two looks


@dataclass
class Watcher:
    """`gone` tells that the service was removed; `say` shows a line."""

    name: str
    plan: Plan
    ledger: Ledger
    source: Source
    outbox: Outbox
    gone: Callable[[], bool]
    say: Callable[[str], None]
    interval: float = INTERVAL
    clock: Callable[[], datetime] = now
    _said: dict[str, str] = field(default_factory=dict)

    def run(self, ending: threading.Event) -> None:
        """Until `ending` is set, or the service is removed. Raises Refused where another process watches."""
        with watching(self.ledger.folder, self.name, self.interval) as kept:
            channels = ", ".join(self.plan.channels)
            self.say(f"watching {self.name} every {self.interval:g} s; channels: {channels}; Ctrl-C ends it")
            while not ending.is_set():
                began = time.monotonic()
                if not kept() or self._attempt("looking for the service", self.gone):
                    self.say(f"{self.name} was removed; nothing is left to watch")
                    return
                self._attempt("looking", self.look)
                self._deliver(ending, began + self.interval)
        self.say(f"no longer watching {self.name}")

    def look(self) -> None:
        """Once, saying what is new."""
        seen = look(self.name, self.plan, self.ledger, self.source, self.clock())
        self._changed("state", f"{self.name} is {self.source.said}")
        for alert in seen.alerts:
            self.say(alert.text)
        for rule, why in seen.stuck.items():
            self.say(f"{self.name}: {rule} cannot be judged any more: {why}; it stays as it was")
        for why in seen.failed:
            self._changed("reading", f"reading failed: {why}")
        if not seen.failed:
            self._said.pop("reading", None)

    def _deliver(self, ending: threading.Event, until: float) -> None:
        """What is due, at once and whenever more is, until the next look; after a failure of our own not before that."""
        while True:
            lines = self._attempt("delivering", self.outbox.deliver)
            for line in lines or ():
                self.say(line)
            left = until - time.monotonic()
            pause = self.interval if lines is None else self._pause()
            if left <= 0 or ending.wait(min(left, pause)) or time.monotonic() >= until:
                return

    def _pause(self) -> float:
        """Seconds until something is due."""
        due = self._attempt("delivering", self.outbox.due)
        return self.interval if due is None else max((due - self.clock()).total_seconds(), 0.1)

    def _attempt(self, doing: str, make: Callable[[], Made]) -> Made | None:
        """What cannot be done just now is said once, and tried again at the next look."""
        try:
            made = make()
        except Exception as exc:  # noqa: BLE001 - a watcher that ends on what one look meets watches nothing any more
            told = str(exc) if isinstance(exc, NbdeployError) else f"{type(exc).__name__}: {exc}"
            self._changed(doing, f"{doing} failed: {told}")
            return None
        self._said.pop(doing, None)
        return made

    def _changed(self, about: str, line: str) -> None:
        if self._said.get(about) != line:
            self._said[about] = line
            self.say(line)


@contextmanager
def watching(folder: Path, name: str, interval: float) -> Iterator[Callable[[], bool]]:
    """The only watcher meanwhile. Yields whether it still is: its folder may be removed under it.

    Raises:
        Refused: another process watches, which is named.
        HomeUnavailable: the folder cannot be written.
    """
    lock = folder / LOCK
    with failing(f"watching {name}", folder):
        private(folder)
        os.close(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    with ExitStack() as held:
        if not _claim(lock, held):
            who = watched(folder)
            by = f"process {who.pid} since {who.since}" if who else "another process"
            raise Refused(f"{name} is watched already, by {by}: one watcher is enough, and only it delivers.")
        told = {"pid": os.getpid(), "since": stamped(), "interval": interval}
        with failing(f"watching {name}", folder):
            write_whole(folder / WHO, json.dumps(told).encode(), 0o600)
        inode = lock.stat().st_ino
        yield lambda: lock.exists() and lock.stat().st_ino == inode


def _claim(lock: Path, held: ExitStack) -> bool:
    """Who only asks whether somebody watches holds it for a moment, so a moment is waited."""
    for wait in (0.05, 0.1, 0.2, 0.4, 0.0):
        with ExitStack() as tried:
            if tried.enter_context(claimed(lock)):
                held.enter_context(tried.pop_all())
                return True
        time.sleep(wait)
    return False


def watched(folder: Path) -> Watch | None:
    """Who watches now; None where nobody does."""
    if not (folder / LOCK).exists():
        return None
    with claimed(folder / LOCK, make=False) as free:
        if free:
            return None
    try:
        told = json.loads((folder / WHO).read_bytes())
        return Watch(int(told["pid"]), str(told["since"]), float(told["interval"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Watch(0, datetime.now(UTC).isoformat(), INTERVAL)  # it has not yet written who it is


@contextmanager
def until_told() -> Iterator[threading.Event]:
    """Set by SIGTERM and Ctrl-C; in another thread than the main one only its owner sets it."""
    ending = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return

    def end(_number: int, _frame: FrameType | None) -> None:
        ending.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
