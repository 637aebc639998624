"""The memory launcher: the same application in this process, without a port; it ends with the kernel.

Requests pass through ASGI in a thread with an event loop of its own, so everything but the network is as in a worker.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import NotReady, NotRunning, Unreachable
from nbdeploy.run.services import HIDDEN, ServiceState
from nbdeploy.run.transport import Answer
from nbdeploy.runtime.clock import now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from nbdeploy.run.launcher import Launch
    from nbdeploy.runtime.app import App
    from nbdeploy.runtime.model import ServedModel

SCHEME = "memory://"
TIMEOUT = 60.0  # seconds a caller waits


class Engine:
    """One app in a thread of its own; a transport for clients that hold it."""

    def __init__(self, app: App, name: str) -> None:
        self.app = app
        self._loop = asyncio.new_event_loop()
        self._idle = threading.Condition()
        self._callers = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"nbdeploy-{name}", daemon=True)
        self._thread.start()

    def request(self, verb: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        with self._idle:
            if self._closing:
                raise Unreachable(SCHEME, "the service was stopped")
            self._callers += 1
        try:
            asking = asyncio.run_coroutine_threadsafe(_exchange(self.app, verb, path, body, headers), self._loop)
            return asking.result(TIMEOUT)
        except TimeoutError as exc:
            raise Unreachable(SCHEME, f"no answer within {TIMEOUT:g} s") from exc
        finally:
            with self._idle:
                self._callers -= 1
                self._idle.notify_all()

    def close(self, drain: float = 0.0) -> None:
        """Takes no more requests; those it has may finish for `drain` seconds."""
        with self._idle:
            if self._closing:
                return
            self._closing = True
            self._idle.wait_for(lambda: not self._callers, drain)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self.app.close()

    def _run(self) -> None:
        """The loop's whole life, its end included: a kernel's own loop turns in the thread that closes this one."""
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


@dataclass(frozen=True, slots=True)
class Held:
    engine: Engine
    state: ServiceState


_running: dict[Path, Held] = {}
_engines: dict[str, Engine] = {}  # by url


class Reach:
    """The transport to whatever answers at a memory:// url when a request is made."""

    def __init__(self, url: str) -> None:
        self._url = url

    def request(self, verb: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        engine = _engines.get(self._url)
        if engine is None:
            raise Unreachable(self._url, "no such service in this process")
        try:
            return engine.request(verb, path, body, headers)
        except Unreachable:
            if _engines.get(self._url) in {engine, None}:
                raise
            return self.request(verb, path, body, headers)  # it was replaced before it took the request

    def close(self) -> None:
        """Nothing is kept open."""


class MemoryLauncher:
    name = "memory"

    def prepare(self, launch: Launch, progress: Callable[[str], None]) -> MemoryCandidate:
        progress("loading the model in this process")
        engine = Engine(_ready_app(launch), launch.name)
        return MemoryCandidate(launch, engine)

    def stop(self, name: str, folder: Path) -> None:
        found = _running.pop(folder, None)
        if found is None:
            raise NotRunning(name)
        _forget(found.engine)
        found.engine.close(TIMEOUT)

    def state(self, folder: Path) -> ServiceState:
        found = _running.get(folder)
        return found.state if found else ServiceState(folder.name, "stopped", launcher=self.name)

    def logs(self, folder: Path, *, lines: int = 50, follow: bool = False) -> Iterator[str]:  # noqa: ARG002  # the protocol's
        yield f"{folder.name} runs in memory: what its model prints appears in this process itself."


class MemoryCandidate:
    def __init__(self, launch: Launch, engine: Engine) -> None:
        self._launch = launch
        self._engine = engine
        self.url = f"{SCHEME}{launch.name}/{launch.digest.removeprefix('sha256:')[:12]}"
        self.public = f"{SCHEME}{launch.name}"
        _engines[self.url] = engine

    def activate(self, version: str, bundle: Path) -> str:
        launch, url = self._launch, self.public
        before = _running.get(launch.folder)
        self._engine.app.identity.version = version
        state = ServiceState(
            name=launch.name,
            state="ready",
            version=version,
            url=url,
            launcher=MemoryLauncher.name,
            since=now(),
            pid=None,
            digest=launch.digest,
            bundle=str(bundle),
        )
        _running[launch.folder] = Held(self._engine, state)
        _engines[url] = self._engine
        _engines.pop(self.url, None)
        if before is not None:
            before.engine.close(launch.drain_timeout)
        return url

    def discard(self) -> None:
        if _engines.pop(self.url, None) is not None:
            self._engine.close()


def states(services: Path) -> list[ServiceState]:
    """The memory services of this process with a folder of their own in `services`, without trials."""
    return [
        found.state
        for folder, found in _running.items()
        if folder.parent == services and not folder.name.startswith(HIDDEN)
    ]


def _ready_app(launch: Launch) -> App:
    from nbdeploy.runtime.app import App, metrics_of
    from nbdeploy.runtime.feedback import FeedbackLog
    from nbdeploy.runtime.identity import Identity
    from nbdeploy.runtime.predlog import PredictionLog

    model = _verified(launch)
    app = App(
        model,
        Identity(launch.name, None, launch.digest, os.urandom(8).hex()),
        token_sha256=launch.token_sha256,
        log=PredictionLog(launch.folder / "predictions", strict=launch.strict_log, rules=launch.log_rules),
        feedback=FeedbackLog(
            launch.folder / "feedback", strict=launch.strict_log, retention_days=launch.log_rules.retention_days
        ),
        limits=launch.limits,
        metrics=metrics_of([method.name for method in model.manifest.methods]),
    )
    app.ready = True
    return app


def _verified(launch: Launch) -> ServedModel:
    from nbdeploy.runtime.model import ServedModel

    advice = "nothing was changed; mend the model and deploy again"
    _alias_runtime()
    try:
        model = ServedModel.load(launch.bundle / "src")
        findings = model.verify()
    except Exception as exc:  # a model's code may raise anything
        raise NotReady(launch.name, f"could not be loaded: {type(exc).__name__}: {exc}", advice) from exc
    if findings:
        raise NotReady(launch.name, "does not answer its golden rows as the kernel did", advice, "\n".join(findings))
    return model


def _alias_runtime() -> None:
    """A bundle's artefact may name the runtime as it is called in bundles."""
    from nbdeploy import runtime
    from nbdeploy.runtime import function

    sys.modules.setdefault("nbdeploy_runtime", runtime)
    sys.modules.setdefault("nbdeploy_runtime.function", function)


def _forget(engine: Engine) -> None:
    for url in [url for url, known in _engines.items() if known is engine]:
        del _engines[url]


async def _exchange(app: App, verb: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
    content = body or b""
    incoming = [{"type": "http.request", "body": content, "more_body": False}]
    outgoing: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return incoming.pop() if incoming else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        outgoing.append(message)

    await app(_scope(verb, path, content, headers), receive, send)
    answered = {name.decode("latin-1"): value.decode("latin-1") for name, value in outgoing[0]["headers"]}
    return Answer(outgoing[0]["status"], answered, b"".join(part.get("body", b"") for part in outgoing[1:]))


def _scope(verb: str, path: str, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    given = {"host": "localhost", "content-length": str(len(body))} | {key.lower(): headers[key] for key in headers}
    plain, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": verb,
        "scheme": "http",
        "path": plain,
        "raw_path": plain.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in given.items()],
        "client": None,
        "server": None,
    }
