"""Many waits of one length under a single timer: a timer a request costs more than the gate does."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Item = TypeVar("Item")


class Deadlines(Generic[Item]):
    """`expire` is called for each item still here `seconds` after it was added, at most a tenth of them later."""

    def __init__(self, seconds: float, expire: Callable[[Item], object]) -> None:
        self._seconds = seconds
        self._expire = expire
        self._due: dict[Item, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, item: Item) -> None:
        self._due[item] = time.monotonic() + self._seconds
        if self._timer is None:
            self._wait()

    def discard(self, item: Item) -> None:
        self._due.pop(item, None)

    def _wait(self) -> None:
        pause = min(1.0, self._seconds / 10)
        self._timer = asyncio.get_running_loop().call_later(pause, self._look)

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic()
        for item in [item for item, due in self._due.items() if due <= now]:
            self.discard(item)
            self._expire(item)
        if self._due:
            self._wait()
