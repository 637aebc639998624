"""Reading a request's body: counted while it arrives, within its time, and read on after a refusal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .deadlines import Deadlines
from .gate import too_large
from .schema import Refusal

if TYPE_CHECKING:
    from .exchange import Receive
    from .limits import Limits


class Disconnected(Exception):
    """The client went away; nobody waits for an answer."""


class Bodies:
    """Every body that is arriving at one worker."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffered = 0
        self._late: set[asyncio.Task[Any]] = set()
        self._deadlines: Deadlines[asyncio.Task[Any]] = Deadlines(limits.body_timeout, self._expire)

    async def read(self, receive: Receive) -> bytes:
        """Raises Refusal 408, 413, 429, and Disconnected."""
        task = _task()
        self._deadlines.add(task)
        try:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            if message.get("more_body"):
                return await self._rest(receive, bytearray(message.get("body", b"")))
            body: bytes = message.get("body", b"")
            if len(body) > self._limits.max_body:
                raise too_large(self._limits.max_body, ended=True)
        except asyncio.CancelledError:
            raise self._too_slow(task) from None
        else:
            return body
        finally:
            self._deadlines.discard(task)

    async def drain(self, receive: Receive) -> bool:
        """Read on after a refusal, so that the client gets the answer and no reset connection; True at the body's end."""
        task = _task()
        self._deadlines.add(task)
        left = self._limits.max_drained
        try:
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return True
        except asyncio.CancelledError:
            self._too_slow(task)
        finally:
            self._deadlines.discard(task)
        return False

    async def _rest(self, receive: Receive, body: bytearray) -> bytes:
        counted = len(body)
        self._buffered += counted
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                body += message.get("body", b"")
                self._buffered += len(body) - counted
                counted = len(body)
                self._check(counted, ended=not message.get("more_body"))
                if not message.get("more_body"):
                    return bytes(body)
        finally:
            self._buffered -= counted

    def _check(self, size: int, *, ended: bool) -> None:
        if size > self._limits.max_body:
            raise too_large(self._limits.max_body, ended=ended)
        if self._buffered > self._limits.max_buffered:
            raise Refusal(429, "busy", "Too many large requests are arriving at once; try again soon.", [])

    def _expire(self, task: asyncio.Task[Any]) -> None:
        self._late.add(task)
        task.cancel()

    def _too_slow(self, task: asyncio.Task[Any]) -> BaseException:
        """The refusal if it was our clock that cancelled; a cancellation from outside stays one."""
        if task not in self._late:
            raise asyncio.CancelledError
        self._late.discard(task)
        task.uncancel()
        return Refusal(408, "body_too_slow", f"The body was not complete after {self._limits.body_timeout:g} s.", [])


def _task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a body is read inside a task")
    return task
