"""One worker: loads a bundle, proves its golden rows, answers, and lets go when it is told to.

It runs in the bundle's environment, from the bundle's own copy of this package, and speaks with its supervisor over one
socket, by messages: phase, ready, failed, accepting, pong to it; activate, ping, drain from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import parent
from .control import Channel, encode
from .spec import Spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from .app import App
    from .connections import Connections
    from .control import Message

logger = logging.getLogger("nbdeploy")


class Failure(Exception):
    """This bundle cannot be served here: one fact, and what was found."""

    def __init__(self, fact: str, findings: list[str] | None = None) -> None:
        super().__init__(fact)
        self.fact = fact
        self.findings = findings or []


def main(descriptor: int) -> None:
    """The worker's life; `descriptor` is its end of the socket to the supervisor."""
    faulthandler.enable()
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    channel = Channel(socket.socket(fileno=descriptor))
    told = channel.receive()
    if told is None:
        parent.vanish()
        return
    serve(Spec.from_dict(told), channel)


def serve(spec: Spec, channel: Channel) -> None:
    parent.die_with_parent(spec.parent)
    mailbox = Mailbox()
    parent.listen(channel, mailbox.put)
    supervisor = Supervisor(channel)
    try:
        app = load(spec, supervisor.tell_phase)
    except Failure as failure:
        supervisor.tell({"event": "failed", "fact": failure.fact, "findings": failure.findings})
        leave(1)
    else:
        gc.collect()
        gc.freeze()  # what was loaded stays: no later collection looks through all of it while requests wait
        with asyncio.Runner(loop_factory=loop_factory(spec.loop)) as runner:
            runner.run(Host(spec, app, supervisor).run(mailbox))
        app.close()
        leave(0)


def leave(code: int) -> None:
    """Threads of a model that hang must not keep the process."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "uvloop":
        with contextlib.suppress(ImportError):
            import uvloop

            factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
            return factory
    return asyncio.new_event_loop


class Mailbox:
    """Messages from the supervisor's thread, kept until the loop runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[Message] = []
        self._deliver: Callable[[Message], object] | None = None

    def put(self, message: Message) -> None:
        with self._lock:
            if self._deliver is None:
                self._kept.append(message)
            else:
                self._deliver(message)

    def open(self, receiver: Callable[[Message], object]) -> None:
        """From now on call `receiver` on this loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            self._deliver = lambda message: loop.call_soon_threadsafe(receiver, message)
            for message in self._kept:
                self._deliver(message)


class Supervisor:
    """The supervisor, as a worker talks to it."""

    def __init__(self, channel: Channel) -> None:
        self._socket = channel.socket

    def tell(self, message: Message) -> None:
        # A supervisor that is gone is noticed by the thread that listens to it.
        with contextlib.suppress(OSError):
            self._socket.sendall(encode(message))

    def tell_phase(self, text: str) -> None:
        self.tell({"event": "phase", "text": text})


def load(spec: Spec, phase: Callable[[str], None]) -> App:
    """The application with its model, proven on the golden rows.

    Raises:
        Failure: whatever the bundle's own code did.
    """
    try:
        return _load(spec, phase)
    except Failure:
        raise
    except MemoryError as exc:
        traceback.print_exc()
        raise Failure("ran out of memory while it was loaded") from exc
    except BaseException as exc:  # a model's code may raise anything, SystemExit included
        traceback.print_exc()
        raise Failure(f"could not be loaded: {type(exc).__name__}: {exc}") from exc


def _load(spec: Spec, phase: Callable[[str], None]) -> App:
    from .app import App, Identity, Limits
    from .feedback import FeedbackLog
    from .model import ServedModel
    from .predlog import PredictionLog
    from .rules import Rules

    phase("loading the model")
    model = ServedModel.load(Path(spec.src), guard=True)
    phase("answering the golden rows")
    findings = model.verify()
    if findings:
        raise Failure("does not answer its golden rows as the kernel did", findings)
    known = {item.name for item in fields(Limits)}
    rules = Rules.of(spec.log_rules, model, Path(spec.src))
    log = Path(spec.log) if spec.log else None
    app = App(
        model,
        Identity(spec.name, None, spec.digest, spec.nonce, spec.worker, spec.workers),
        token_sha256=spec.token_sha256,
        log=PredictionLog(log, strict=spec.strict_log, rules=rules) if log else None,
        feedback=FeedbackLog(log.with_name("feedback"), strict=spec.strict_log, retention_days=rules.retention_days)
        if log
        else None,
        limits=Limits(**{key: value for key, value in spec.limits.items() if key in known}),
        fallthrough=_fallthrough,
    )
    app.ready = True
    return app


def _fallthrough() -> Any:
    from .service import bentoml_app

    return bentoml_app()


class Host:
    """From ready to the last answer."""

    def __init__(self, spec: Spec, app: App, supervisor: Supervisor) -> None:
        self._spec = spec
        self._app = app
        self._supervisor = supervisor
        self._ending = asyncio.Event()
        self._hurry = asyncio.Event()
        self._accepting = False
        self._closed = False
        self._private: socket.socket | None = None

    async def run(self, mailbox: Mailbox) -> None:
        from .connections import Connections

        connections = Connections(self._app)
        handlers = self._handlers(connections)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        if self._spec.private is not None:
            self._private = socket.socket(fileno=self._spec.private)
            connections.open(self._private)
        self._supervisor.tell({"event": "ready"})
        mailbox.open(lambda message: handlers[message["op"]](message))
        await self._ending.wait()
        await self._drain(connections)

    async def _drain(self, connections: Connections) -> None:
        """Answer what was asked; a second signal ends the wait. Who was not told by the supervisor is replaced by it."""
        self._close(connections)
        draining = asyncio.ensure_future(connections.drain(self._spec.drain_timeout))
        hurry = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait({draining, hurry}, return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, hurry):
            task.cancel()

    def _end(self) -> None:
        if self._ending.is_set():
            self._hurry.set()
        self._ending.set()

    def _close(self, connections: Connections) -> None:
        if not self._closed:
            self._closed = True
            self._app.leaving = True
            self._app.note_process()
            connections.close()
            self._supervisor.tell({"event": "draining"})

    def _handlers(self, connections: Connections) -> dict[str, Callable[[Message], None]]:
        def activate(message: Message) -> None:
            self._activate(connections, message)

        def drain(message: Message) -> None:
            if message.get("last"):
                connections.refuse()
            self._close(connections)
            self._ending.set()

        return {
            "activate": activate,
            "ping": self._pong,
            "drain": drain,
        }

    def _pong(self, _message: Message) -> None:
        self._supervisor.tell({"event": "pong", "busy": self._app.busy_for})
        self._app.note_process()
        for log in (self._app.log, self._app.feedback):
            if log is not None:
                log.rest()

    def _activate(self, connections: Connections, message: Message) -> None:
        """Take the public socket, under the version's number and from its published folder."""
        relocate(self._spec.src, message["src"])
        self._app.identity.version = message["version"]
        self._app.note_process()
        if not self._accepting and not self._ending.is_set():
            self._accepting = True
            connections.open(socket.socket(fileno=self._spec.public))
        if self._private is not None:
            connections.forsake(self._private)
            self._private = None
        self._supervisor.tell({"event": "accepting"})


def relocate(old: str, new: str) -> None:
    """A bundle that was published has moved: let what is still to be imported be found there."""
    if old == new or not Path(new).is_dir():
        return

    def moved(path: str) -> str:
        return new + path[len(old) :] if path == old or path.startswith(old + os.sep) else path

    sys.path[:] = [moved(path) for path in sys.path]
    for module in list(sys.modules.values()):
        places = getattr(module, "__path__", None)
        if isinstance(places, list):
            places[:] = [moved(path) for path in places]
    os.chdir(new)
