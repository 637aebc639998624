"""The first process of a container: it starts the workers of the bundle, replaces them, and lets them go.

Alone (`docker run`, Kubernetes) it reads the environment and serves at once. Led (`--led`, by a relay) it is told over
stdin what to serve and when, says on stdout how it goes, and ends with stdin: no container outlives who leads it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import given
from .control import Garbled, Lines, encode
from .generation import Generation
from .listener import CHECKED, EVERYWHERE, PORT, Listener
from .logfile import LogFile
from .order import Order
from .reactor import Reactor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .control import Message
    from .worker import Report

LATE = 0.5  # seconds in which connections still arrive that were on their way when the end was announced
SRC = Path(__file__).parents[1]


def main() -> None:
    led = "--led" in sys.argv[1:]
    try:
        Led().run() if led else Alone(os.environ).run()
    except (OSError, ValueError) as exc:  # of the environment, or a mount: said, not shown as a traceback
        sys.exit(f"this container cannot serve: {exc}")


class Contained:
    """What both kinds have in common: one generation of workers for the container's life."""

    def __init__(self) -> None:
        self._reactor = Reactor()
        self._log = Stream()
        self._generation: Generation | None = None
        self._ending = False
        self._code = 0

    def run(self) -> None:
        self._reactor.on_signals(self._signalled, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
        self.begin()
        self._reactor.run()
        sys.exit(self._code)

    def begin(self) -> None:
        raise NotImplementedError

    def serve(self, order: Order, nonce: str, checked: Listener | None) -> None:
        public = Listener.bind(PORT, EVERYWHERE)
        if checked is not None:
            checked.open()
        self._generation = Generation(order, nonce, os.getpid(), public, checked)
        self._generation.start(self._reactor, self._log, self)

    def activate(self, version: str) -> None:
        if self._generation is not None:
            self._generation.public.open()
            self._generation.activate(version, self._generation.order.bundle)

    def drain(self) -> None:
        """Once more at once: who asks twice is in a hurry."""
        generation = self._generation
        if generation is None:
            self._reactor.stop()
        elif self._ending:
            generation.hurry()
        else:
            self._ending = True
            self._reactor.later(LATE, lambda: generation.drain(last=True))

    def generation_phase(self, generation: Generation, text: str) -> None:
        """For who leads."""

    def generation_ready(self, generation: Generation) -> None:
        raise NotImplementedError

    def generation_accepting(self, generation: Generation) -> None:
        """For who leads."""

    def generation_failed(self, generation: Generation, report: Report) -> None:
        del generation
        self.fail(report)

    def generation_changed(self, generation: Generation) -> None:
        """Who started the container starts another; a crash loop inside would hide from its view."""
        if generation.failed and generation.report is not None:
            self.fail(generation.report)

    def generation_draining(self, generation: Generation) -> None:
        """Nobody waits for it in here."""

    def generation_gone(self, generation: Generation) -> None:
        del generation
        self._reactor.stop()

    def fail(self, report: Report) -> None:
        self._log.note(f"a worker {report.text}")
        self._code = 1
        if self._generation is not None:
            self._generation.kill("was not needed any more")
        self._reactor.stop()

    def _signalled(self, number: int) -> None:
        if number != signal.SIGCHLD:
            self.drain()
        elif self._generation is not None:
            self._generation.look()
            self._bury(set(self._generation.pids))

    def _bury(self, ours: set[int]) -> None:
        """The first process inherits every orphan."""
        with contextlib.suppress(ChildProcessError):
            while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if dead.si_pid in ours:
                    return
                os.waitpid(dead.si_pid, 0)


class Alone(Contained):
    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__()
        self._environ = environ

    def begin(self) -> None:
        order = ordered(SRC.parent, self._environ)
        self._version = given.version_of(SRC) or order.digest.removeprefix("sha256:")[:12]
        if order.token_sha256 is None:
            self._log.note(f"open to anyone who reaches it: {given.TOKEN_VARIABLE} names no token's file")
        self.serve(order, "", None)

    def generation_ready(self, generation: Generation) -> None:
        del generation
        self.activate(self._version)

    def generation_accepting(self, generation: Generation) -> None:
        self._log.note(f"{generation.order.name} {self._version} serves at port {PORT}")


def ordered(bundle: Path, environ: Mapping[str, str]) -> Order:
    """What a container on its own serves. Raises OSError, ValueError: for a token that cannot be read, a number that is none."""
    import json

    manifest = json.loads((bundle / "src" / "manifest.json").read_bytes())
    numbers = {name: environ[f"NBDEPLOY_{name.upper()}"] for name in LIMITS if f"NBDEPLOY_{name.upper()}" in environ}
    return Order(
        name=manifest["name"],
        bundle=str(bundle),
        digest=manifest["digest"],
        python=sys.executable,
        registry="",
        environment=dict(environ),
        workers=int(environ.get("NBDEPLOY_WORKERS", "1")),
        token_sha256=given.token_sha256(environ),
        log=str(Path(environ[given.LOG_VARIABLE], "predictions")) if environ.get(given.LOG_VARIABLE) else None,
        strict_log=environ.get("NBDEPLOY_STRICT_LOG", "").lower() in {"1", "true", "yes", "on"},
        limits={name: LIMITS[name](text) for name, text in numbers.items()},
        ready_timeout=float(environ.get("NBDEPLOY_READY_TIMEOUT", "120")),
        drain_timeout=float(environ.get("NBDEPLOY_DRAIN_TIMEOUT", "30")),
    )


LIMITS: dict[str, Callable[[str], float]] = {"max_body": int, "max_rows": int, "predict_timeout": float}


class Led(Contained):
    """Messages as between a supervisor and its worker: serve, activate, ping, drain; phase, ready, accepting, failed, pong."""

    def __init__(self) -> None:
        super().__init__()
        self._lines = Lines()
        self._out = os.dup(1)
        os.dup2(2, 1)  # whatever else prints

    def begin(self) -> None:
        os.set_blocking(0, False)
        self._reactor.watch(0, self._hear)

    def tell(self, message: Message) -> None:
        with contextlib.suppress(OSError):
            os.write(self._out, encode(message))

    def generation_phase(self, generation: Generation, text: str) -> None:
        del generation
        self.tell({"event": "phase", "text": text})

    def generation_ready(self, generation: Generation) -> None:
        del generation
        self.tell({"event": "ready"})

    def generation_accepting(self, generation: Generation) -> None:
        del generation
        self.tell({"event": "accepting"})

    def fail(self, report: Report) -> None:
        self.tell({"event": "failed", "fact": report.fact, "findings": list(report.findings)})
        super().fail(report)

    def _hear(self) -> None:
        try:
            data = os.read(0, 65_536)
            messages = self._lines.feed(data)
        except BlockingIOError:
            return
        except Garbled:
            data, messages = b"", []
        if not data:
            os._exit(1)  # with every process of this container
        for message in messages:
            self._told(message)

    def _told(self, message: Message) -> None:
        operation = message.get("op")
        if operation == "serve":
            order = Order.from_dict(message["order"])
            self.serve(inside(order, os.environ), str(message["nonce"]), Listener.bind(CHECKED, EVERYWHERE))
        elif operation == "activate":
            self.activate(str(message["version"]))
        elif operation == "drain":
            self.drain()
        elif operation == "ping":
            self.tell({"event": "pong"})


def inside(order: Order, environ: Mapping[str, str]) -> Order:
    from dataclasses import replace

    environment: dict[str, Any] = {**environ, **order.environment}
    return replace(order, bundle=str(SRC.parent), python=sys.executable, environment=environment)


class Stream(LogFile):
    """The container's log is its stderr."""

    def __init__(self) -> None:
        super().__init__(Path())

    def write(self, source: str, lines: list[bytes]) -> None:
        with contextlib.suppress(OSError):
            os.write(2, b"".join(f"{source} ".encode() + line + b"\n" for line in lines))


if __name__ == "__main__":
    main()
