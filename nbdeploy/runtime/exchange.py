"""One request and its reply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from .replies import JSON, Headers

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
CLOSE: Headers = ((b"connection", b"close"),)


@dataclass(slots=True)
class Exchange:
    """`begun` is perf_counter's; `complete` once the whole body was read."""

    scope: Any
    receive: Receive
    send: Send
    request_id: str
    begun: float
    complete: bool = False
    status: int = 0  # of the reply, once it has begun

    async def reply(self, status: int, body: bytes, headers: Headers = (), kind: tuple[bytes, bytes] = JSON) -> None:
        await self._start(status, body, headers, kind)
        await self.send({"type": "http.response.body", "body": body})

    async def reply_first(self, status: int, body: bytes, headers: Headers, then: Awaitable[object] | None) -> None:
        """Answer a client that is still sending: the answer is on its way while `then` reads on; then close."""
        await self._start(status, body, (*headers, *CLOSE), JSON)
        await self.send({"type": "http.response.body", "body": body, "more_body": True})
        if then is not None:
            await then
        await self.send({"type": "http.response.body", "body": b""})

    def announced(self) -> int | None:
        """Bytes of the body that may still be on their way; None if the client does not say."""
        size: int | None = 0
        for name, value in () if self.complete else self.scope["headers"]:
            if name == b"transfer-encoding":
                return None
            if name == b"content-length":
                size = int(value)
        return size

    async def _start(self, status: int, body: bytes, headers: Headers, kind: tuple[bytes, bytes]) -> None:
        fixed = [kind, (b"content-length", b"%d" % len(body)), (b"x-request-id", self.request_id.encode()), *headers]
        self.status = status
        await self.send({"type": "http.response.start", "status": status, "headers": fixed})
