"""How a client reaches a service: over HTTP, or in this process (memory.py)."""

from __future__ import annotations

import contextlib
import http.client
import select
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from nbdeploy.errors import Unreachable, WrongUse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` with small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Raises Unreachable."""

    def request(self, verb: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """A connection, and in which era it was made."""

    connection: http.client.HTTPConnection
    era: object


class Http:
    """Kept-alive connections to one address, for any number of threads; no proxies, no redirects.

    `before` is called before each new connection, and raises where none should be made. A connection is kept while `era`
    returns what it did when the connection was made: over an older one a version that was replaced may still answer.
    """

    def __init__(
        self,
        url: str,
        timeout: float = 60.0,
        before: Callable[[], object] | None = None,
        era: Callable[[], object] = lambda: None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path not in {"", "/"} or parts.query:
            raise WrongUse(f"{url} is no service's address; one looks like http://127.0.0.1:3000.")
        self._url = url
        self._host = parts.hostname
        self._port = parts.port or 80
        self._timeout = timeout
        self._before = before
        self._era = era
        self._idle: list[Kept] = []
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._idle)

    def request(self, verb: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        """Sent a second time only if a kept connection was closed before a byte of the answer came."""
        try:
            era = self._era()
            kept = self._take(era)
            if kept is not None:
                try:
                    return self._finish(kept, _begin(kept.connection, verb, path, body, headers))
                except _CLOSED:
                    kept.connection.close()
            if self._before is not None:
                self._before()
            fresh = Kept(http.client.HTTPConnection(self._host, self._port, timeout=self._timeout), era)
            return self._finish(fresh, _begin(fresh.connection, verb, path, body, headers))
        except TimeoutError as exc:
            raise Unreachable(self._url, f"no answer within {self._timeout:g} s") from exc
        except (OSError, http.client.HTTPException) as exc:
            raise Unreachable(self._url, str(exc) or type(exc).__name__) from exc

    def close(self) -> None:
        with self._lock:
            _close(self._idle)

    def __del__(self) -> None:
        """A notebook drops clients without closing them."""
        for kept in getattr(self, "_idle", ()):
            kept.connection.close()

    def _take(self, era: object) -> Kept | None:
        """A kept connection of this era that the service has not closed meanwhile."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                kept = self._idle.pop()
            sock = kept.connection.sock
            if kept.era == era and sock is not None and not select.select([sock], [], [], 0)[0]:
                return kept
            kept.connection.close()

    def _finish(self, used: Kept, response: http.client.HTTPResponse) -> Answer:
        try:
            body = response.read()
        except BaseException as exc:  # Ctrl-C too: with half an answer read it is of no use to anyone
            used.connection.close()
            if isinstance(exc, (OSError, http.client.HTTPException)):
                raise Unreachable(self._url, f"the answer broke off: {exc}") from exc
            raise
        headers = {name.lower(): value for name, value in response.getheaders()}
        if response.will_close:
            used.connection.close()
        else:
            with self._lock:
                self._idle.append(used)
        return Answer(response.status, headers, body)


def _close(idle: list[Kept]) -> None:
    while idle:
        idle.pop().connection.close()


_CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


def _begin(
    connection: http.client.HTTPConnection, verb: str, path: str, body: bytes | None, headers: Mapping[str, str]
) -> http.client.HTTPResponse:
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            # A service that refuses a body answers before it has read it all; that answer is what matters.
            connection.request(verb, path, body, dict(headers))
        return connection.getresponse()
    except BaseException:  # Ctrl-C too leaves no connection open that nobody reads from
        connection.close()
        raise
