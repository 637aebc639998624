"""HTTP as our host speaks it: uvicorn's protocol with limits on what comes before an application is asked."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

HEADER_BYTES = 16_384
HEADER_TIME = 10.0  # seconds from the first byte, or the connection, to the last header
BODY_TIME = 35.0  # seconds from the last header; the application's own limit, which has an answer, comes first
READING_TIME = 30.0  # seconds a client may leave an answer unread
LINGER_TIME = 2.0  # seconds to hear a refused client out: closed at once, it would not see the refusal
VERSIONS = {"1.1", "1.0"}
WAITING, HEADERS, BODY = range(3)


class Protocol(HttpToolsProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._phase = WAITING
        self._header_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timed = WAITING
        self._reading_timer: asyncio.TimerHandle | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timed = HEADERS
        self._timer = self.loop.call_later(HEADER_TIME, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._timer, self._reading_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unset_keepalive_if_required()
        began = self._phase
        if began is not BODY:
            self._header_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, "bad_request", "Another protocol cannot be switched to here.")
        except httptools.HttpParserError:
            self._refuse(400, "bad_request", "This is not HTTP/1.1.")
        if self._phase is HEADERS and self._header_bytes > HEADER_BYTES:
            self._too_long()
        if self._phase is not self._timed:
            self._time()

    def on_message_begin(self) -> None:
        if self._phase is not WAITING:
            self._header_bytes = 0
        self._phase = HEADERS
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._phase = BODY
        if self._refused:
            return
        if self._header_bytes > HEADER_BYTES and self._size() > HEADER_BYTES:
            self._too_long()
        elif self.parser.get_http_version() not in VERSIONS:
            self._refuse(400, "bad_request", "This is not HTTP/1.1.")
        elif self.parser.should_upgrade():
            self._refuse(400, "bad_request", "Another protocol cannot be switched to here.")
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._phase = WAITING
        self._header_bytes = 0
        if not self._refused:
            super().on_message_complete()

    def shutdown(self) -> None:
        """A request that has begun to arrive is still answered; the timers bound the wait for it."""
        if self._phase is WAITING:
            super().shutdown()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading_timer = self.loop.call_later(READING_TIME, self.transport.abort)

    def resume_writing(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _time(self) -> None:
        """One timer for the phase this connection is in; a whole request at once needs none."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timed = self._phase
        if self._phase is not WAITING and not self._refused:
            self._timer = self.loop.call_later(HEADER_TIME if self._phase is HEADERS else BODY_TIME, self._late)

    def _late(self) -> None:
        self._timer = None
        if self._timed is HEADERS and self._phase is HEADERS:
            self._refuse(408, "timeout", "The headers took too long.")
        else:
            self.transport.abort()

    def _too_long(self) -> None:
        self._refuse(431, "headers_too_large", f"The headers are longer than {HEADER_BYTES} bytes.")

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer without asking the application, and listen no more; an answer under way is the last one instead."""
        if self._refused:
            return
        self._refused = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
            return
        self.transport.write(_reply(status, code, message))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER_TIME, self.transport.abort)


def _reply(status: int, code: str, message: str) -> bytes:
    request_id = os.urandom(12).hex()
    body = json.dumps({"error": {"code": code, "message": message, "details": []}, "request_id": request_id}).encode()
    return STATUS_LINE[status] + (
        b"content-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\nconnection: close\r\n\r\n%b"
        % (len(body), request_id.encode(), body)
    )
