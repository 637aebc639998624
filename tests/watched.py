"""Readings made up for tests of alerts, a source that gives them, and a receiver of webhooks that behaves as it is told."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from nbdeploy.watch.axis import floored
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

BEGIN = datetime(2026, 11, 16, tzinfo=UTC)  # a Monday
HOUR = timedelta(hours=1)


def reading(place: int, every: timedelta = HOUR, **values: float | str) -> Reading:
    """The window number `place` from BEGIN on; a text is the reason why there is no number, `at` stands for "@"."""
    began = BEGIN + place * every
    named = {name.replace("_at_", "@"): value for name, value in {"requests": 100.0, "rows": 100.0, **values}.items()}
    read = {name: NotComputable(value) if isinstance(value, str) else float(value) for name, value in named.items()}
    return Reading(began, began + every, "1.0.0", read)


def error_rates(*values: float | str, every: timedelta = HOUR) -> list[Reading]:
    return [reading(place, every, error_rate=value) for place, value in enumerate(values)]


@dataclass
class Given:
    """A source of made-up readings: `at` gives the values of a window by its begin."""

    at: Callable[[datetime], Mapping[str, float | NotComputable]]
    down: float = 0.0
    said: str = "ready"
    stamp: str = ""
    asked: Counter[str] = field(default_factory=Counter)

    def state(self, now: datetime) -> Reading:
        return Reading(now, now, "1.0.0", {"down": self.down, "degraded": 0.0, "log_degraded": 0.0, "stopped": 0.0})

    def labels(self) -> str:
        return self.stamp

    def windows(self, every: timedelta, since: datetime, now: datetime, *, traffic: bool) -> Sequence[Reading]:
        self.asked["traffic" if traffic else "all"] += 1
        count = (floored(now, every) - since) // every
        begins = [since + place * every for place in range(count)]
        return [Reading(began, began + every, "1.0.0", self.at(began)) for began in begins]


@dataclass
class Receiver:
    """A webhook's other side. `answers` are taken one by one, the last one stays: a status, or what to do.

    ok and numbers; slow: not a byte; drip: a byte now and then; redirect; huge: a head without end; garbage; hang up.
    """

    answers: list[str] = field(default_factory=lambda: ["200"])
    bodies: list[dict[str, Any]] = field(default_factory=list)  # of requests that were taken
    keys: list[str] = field(default_factory=list)  # of all
    heads: list[dict[str, str]] = field(default_factory=list)
    strayed: int = 0  # requests to where the redirect leads
    port: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/s3cret-path?token=s3cret-query"

    def answer(self) -> str:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def made(self) -> Receiver:
        return cast("Server", self.server).made

    def do_GET(self) -> None:
        self.made.strayed += 1
        self._reply(200)

    def do_POST(self) -> None:
        if self.path == "/elsewhere":
            self.made.strayed += 1
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])), parse_constant=str)
        self.made.keys.append(self.headers["Idempotency-Key"])
        self.made.heads.append(dict(self.headers))
        what = self.made.answer()
        if what.isdecimal():
            if what.startswith("2"):
                self.made.bodies.append(body)
            self._reply(int(what))
        else:
            getattr(self, f"_{what}")()

    def _reply(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _slow(self) -> None:
        self.made.ended.wait(30)

    def _drip(self) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"a" * 10_000:
            self.wfile.write(bytes([byte]))
            if self.made.ended.wait(0.05):
                return

    def _redirect(self) -> None:
        self.send_response(307)
        self.send_header("Location", f"http://127.0.0.1:{self.made.port}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _huge(self) -> None:
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not self.made.ended.is_set():
                self.wfile.write(b"X-More: " + b"a" * 8000 + b"\r\n")
        except OSError:
            pass

    def _endless(self) -> None:
        """A right answer whose body has no end."""
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
            while not self.made.ended.is_set():
                self.wfile.write(b"a" * 65_536)
        except OSError:
            pass

    def _garbage(self) -> None:
        self.wfile.write(b"SSH-2.0-nothing of the kind\r\n\r\n")
        self.close_connection = True

    def _hangup(self) -> None:
        self.close_connection = True

    def log_message(self, *args: object) -> None: ...


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, made: Receiver, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.made = made

    def handle_error(self, request: object, client_address: object) -> None:
        """The other side hung up, as some tests want it to."""


@contextmanager
def receiving(*answers: str, port: int = 0) -> Iterator[Receiver]:
    made = Receiver(list(answers) or ["200"])
    server = Server(made, port)
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.ended.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def wait_for(what: Callable[[], object], seconds: float = 20.0) -> None:
    """Until it is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never became so"
        time.sleep(0.02)
