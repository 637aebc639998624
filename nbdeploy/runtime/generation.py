"""The workers of one version: started together, replaced when they die, let go together."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from .spec import Spec
from .worker import Command, Report, Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from .listener import Listener
    from .logfile import LogFile
    from .order import Order
    from .reactor import Reactor, Timer

CRASHES = 5  # within WINDOW seconds: the version has failed, and is tried again only at long intervals
WINDOW = 30.0
LONGEST_PAUSE = 30.0


class Observer(Protocol):
    def generation_ready(self, generation: Generation) -> None: ...
    def generation_accepting(self, generation: Generation) -> None: ...
    def generation_failed(self, generation: Generation, report: Report) -> None: ...
    def generation_changed(self, generation: Generation) -> None: ...
    def generation_draining(self, generation: Generation) -> None: ...
    def generation_gone(self, generation: Generation) -> None: ...
    def generation_phase(self, generation: Generation, text: str) -> None: ...


class Generation:
    """`version` is None while it is a candidate; a candidate that loses a worker has failed."""

    def __init__(self, order: Order, nonce: str, parent: int, public: Listener, private: Listener | None) -> None:
        self.order = order
        self.version: str | None = None
        self.served = False  # it has taken over
        self.public = public
        self.private = private
        self.report: Report | None = None
        self.workers: list[Worker] = []
        self.on_closed: Callable[[], object] | None = None  # called once none of them accepts any more
        self._nonce = nonce
        self._parent = parent
        self._leaving = False
        self._deaths: deque[float] = deque(maxlen=CRASHES)
        self._pauses: list[Timer] = []

    def start(self, reactor: Reactor, log: LogFile, observer: Observer) -> None:
        self._reactor = reactor
        self._log = log
        self._observer = observer
        for _ in range(self.order.processes):
            self._add()

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(worker.pid for worker in self.workers)

    @property
    def ready(self) -> bool:
        """All its workers have answered their golden rows."""
        return self._at_least("ready", "accepting")

    @property
    def accepting(self) -> int:
        return sum(worker.stage == "accepting" for worker in self.workers)

    @property
    def failed(self) -> bool:
        """A crash loop: so many deaths in so short a time."""
        return len(self._deaths) == CRASHES and self._deaths[-1] - self._deaths[0] < WINDOW

    @property
    def state(self) -> str:
        if self.accepting >= self.order.processes:
            return "ready"
        return "failed" if self.failed else "degraded"

    @property
    def failure(self) -> str | None:
        """Why it is not ready, in words; None where it is, or nobody knows yet."""
        if self.state == "ready" or self.report is None:
            return None
        if not self.failed:
            return self.report.text
        loop = f"{CRASHES} crashes within {WINDOW:.0f} s: the next start waits {LONGEST_PAUSE:.0f} s"
        return f"{self.report.text}; {loop}, and nbdeploy serve {self.order.name} starts it at once"

    def activate(self, version: str, bundle: str) -> None:
        self.version = version
        self.order = replace(self.order, bundle=bundle)
        for worker in self.workers:
            worker.activate(version, str(self.order.src))
        if self.private is not None:
            self.private.close()
            self.private = None

    def drain(self, *, last: bool) -> None:
        """`last`: nobody will take its place, so clients are refused from now on."""
        self._leave()
        for worker in list(self.workers):
            worker.drain(last=last)

    def hurry(self) -> None:
        for worker in list(self.workers):
            worker.hurry()

    def kill(self, verdict: str) -> None:
        self._leave()
        for worker in list(self.workers):
            worker.kill(verdict)

    def closed(self) -> None:
        if self.on_closed is not None:
            self.on_closed()
            self.on_closed = None

    def look(self) -> None:
        for worker in list(self.workers):
            worker.look()

    def _leave(self) -> None:
        self._leaving = True
        for pause in self._pauses:
            pause.cancel()
        if self.private is not None:
            self.private.close()
            self.private = None
        if not self.workers:
            self._reactor.later(0, lambda: self._observer.generation_gone(self))

    def _at_least(self, *stages: str) -> bool:
        return len(self.workers) == self.order.processes and all(worker.stage in stages for worker in self.workers)

    def _add(self) -> None:
        sockets = [self.public] if self.private is None else [self.public, self.private]
        command = Command(
            python=self.order.python,
            environment=self.order.environment,
            ready_timeout=self.order.ready_timeout,
            drain_timeout=self.order.drain_timeout,
            silence=self.order.silence,
            descriptors=tuple(listener.socket.fileno() for listener in sockets),
            relay=self.order.container is not None,
        )
        taken = {worker.place for worker in self.workers}
        place = next(number for number in range(len(taken) + 1) if number not in taken)
        worker = Worker(self._reactor, self._log, command, self, place)
        try:
            worker.start(self._spec(place))
        except OSError as exc:
            report = Report(f"could not be started: {exc}")
            self._reactor.later(0, lambda: self._died(report))
        else:
            self.workers.append(worker)

    def _spec(self, place: int) -> Spec:
        order = self.order
        return Spec(
            src=str(order.src),
            name=order.name,
            digest=order.digest,
            nonce=self._nonce,
            parent=self._parent,
            public=self.public.socket.fileno(),
            private=None if self.private is None else self.private.socket.fileno(),
            token_sha256=order.token_sha256,
            log=order.log,
            strict_log=order.strict_log,
            log_rules=order.log_rules,
            drain_timeout=order.drain_timeout,
            limits=order.limits,
            loop=order.loop,
            worker=place,
            workers=order.workers,
            container=order.container,
        )

    def worker_phase(self, worker: Worker, text: str) -> None:
        if worker is self.workers[0]:
            self._observer.generation_phase(self, text)

    def worker_ready(self, worker: Worker) -> None:
        if self.version is not None:
            worker.activate(self.version, str(self.order.src))
        elif self.ready:
            self._observer.generation_ready(self)

    def worker_accepting(self, _worker: Worker) -> None:
        if self._at_least("accepting"):
            self._observer.generation_accepting(self)
        self._observer.generation_changed(self)

    def worker_draining(self, _worker: Worker) -> None:
        if all(other.stage == "draining" for other in self.workers):
            self._observer.generation_draining(self)

    def worker_gone(self, worker: Worker, report: Report) -> None:
        self.workers.remove(worker)
        if self.version is not None and not self._leaving:
            self._log.note(f"worker {worker.pid} of version {self.version} {report.text}")
        if not self._leaving:
            self._died(report)
        elif not self.workers:
            self._observer.generation_gone(self)

    def _died(self, report: Report) -> None:
        if self._leaving:
            return
        self.report = report
        if self.version is None:
            self._observer.generation_failed(self, report)
            return
        self._deaths.append(time.monotonic())
        self._pauses = [pause for pause in self._pauses if pause.callback is not None]
        self._pauses.append(self._reactor.later(self._pause(), self._replace))
        self._observer.generation_changed(self)

    def _pause(self) -> float:
        """Nothing after the first death, then longer and longer while they go on."""
        if self.failed:
            return LONGEST_PAUSE
        recent = sum(death > self._deaths[-1] - WINDOW for death in self._deaths)
        return 0.0 if recent == 1 else min(LONGEST_PAUSE, 0.25 * 2.0**recent)

    def _replace(self) -> None:
        if not self._leaving and len(self.workers) < self.order.processes:
            self._add()
            self._observer.generation_changed(self)
