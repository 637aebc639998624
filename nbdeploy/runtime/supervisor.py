"""One process for each service name: it holds the socket, and starts, replaces and lets go of the workers.

It outlives kernels and versions. A kernel asks over the control socket: `candidate` starts the workers of a new version
beside those that serve, `activate` lets them take over, `discard` sends them away; `status`; `stop`. A candidate belongs
to its connection. When that drops before either word, the registry says whether the kernel had made it live.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import control
from .caller import Caller
from .clock import now
from .generation import Generation
from .listener import Listener
from .live import live
from .logfile import LogFile
from .order import Order
from .reactor import Reactor
from .statefile import StateFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from .control import Message
    from .state import State
    from .worker import Report

LOCK = "supervisor.lock"
LISTENING, TAKEN = b"1", b"0"  # TAKEN: another supervisor has this name
LONELY = 10.0  # seconds a supervisor with nothing to do waits for its first order
PATIENCE = 2.0  # seconds a hand-over waits for an old worker that is busy to stop accepting
CARE = 5.0  # seconds between two looks whether the state file is still there


def main(folder: str, told: int) -> None:
    """Leave the parent, then serve; one byte of LISTENING or TAKEN goes to the descriptor `told`."""
    if os.fork():
        os._exit(0)
    path = Path(folder)
    os.chdir(path)
    os.umask(0o077)
    with (path / LOCK).open("a+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.write(told, TAKEN)
            return
        supervisor = Supervisor(path)
        supervisor.listen()
        try:
            os.write(told, LISTENING)
        except BrokenPipeError:  # whoever wanted it was interrupted
            supervisor.finish()
            return
        os.close(told)
        supervisor.run()


class Supervisor:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = folder.name
        self._reactor = Reactor()
        self._log = LogFile(folder)
        self._file = StateFile(folder)
        self._live: Generation | None = None
        self._candidate: Generation | None = None
        self._owner: Caller | None = None
        self._activating = False
        self._leaving: set[Generation] = set()
        self._queue: deque[tuple[Caller, Order]] = deque()
        self._callers: set[Caller] = set()
        self._stopping = False
        self._failure: str | None = None
        self._waiting: list[tuple[set[Generation], Callable[[], object]]] = []

    def listen(self) -> None:
        self._control = control.serve(self._folder)
        self._reactor.watch(self._control.fileno(), self._answer)

    def run(self) -> None:
        self._reactor.on_signals(self._signalled, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._reactor.later(LONELY, self._end_if_idle)
        self._reactor.later(CARE, self._care)
        print(f"{now()} supervisor of {self._name}, pid {self._file.process.pid}", flush=True)  # noqa: T201 - its log
        self._reactor.run()
        self.finish()

    def _answer(self) -> None:
        with contextlib.suppress(BlockingIOError):
            sock, _ = self._control.accept()
            caller = Caller(sock, self._reactor, self._asked, self._hung_up)
            self._callers.add(caller)
            caller.tell(control.greeting(self._file.process))

    def _asked(self, caller: Caller, message: Message) -> None:
        operations: dict[str, Callable[[Caller, Message], None]] = {
            "candidate": self._op_candidate,
            "activate": self._op_activate,
            "discard": self._op_discard,
            "status": self._op_status,
            "stop": self._op_stop,
        }
        operation = operations.get(str(message.get("op")))
        if operation is None:
            caller.tell({"event": "refused", "fact": f"there is no operation {message.get('op')!r}"})
            return
        try:
            operation(caller, message)
        except (KeyError, TypeError, ValueError) as exc:
            caller.tell({"event": "refused", "fact": f"the message lacks or misspells a field: {exc}"})

    def _op_status(self, caller: Caller, _: Message) -> None:
        draining = [pid for generation in self._leaving for pid in generation.pids]
        caller.tell({"event": "status", "draining": draining, **self._state().to_dict()})

    def _op_candidate(self, caller: Caller, message: Message) -> None:
        order = Order.from_dict(message["order"])
        if self._stopping:
            caller.tell({"event": "failed", "kind": "stopping", "fact": "is being stopped", "findings": [], "log": ""})
        elif self._candidate is not None:
            self._queue.append((caller, order))
            caller.tell({"event": "queued"})
        else:
            self._begin(caller, order)

    def _begin(self, caller: Caller, order: Order) -> None:
        self._owner = caller
        try:
            public = self._bind(order.port)
        except OSError as exc:
            port = order.port or self._file.kept_port
            fact = f"port {port} cannot be had: {exc.strerror}"
            self._fail(caller, {"kind": "port", "port": port, "taken": exc.errno == errno.EADDRINUSE, "fact": fact})
            return
        try:
            private = Listener.bind(None)
            private.open()
        except OSError as exc:
            if self._live is None or public is not self._live.public:
                public.close()
            self._fail(caller, {"fact": f"cannot be given a port to be checked at: {exc.strerror}"})
            return
        self._candidate = Generation(order, self._file.nonce, self._file.process.pid, public, private)
        self._candidate.start(self._reactor, self._log, self)
        self._publish()

    def _bind(self, port: int | None) -> Listener:
        """The socket of this name; another one only if another port is asked for."""
        if self._live is not None and port in {None, self._live.public.port}:
            return self._live.public
        return Listener.bind(port or self._file.kept_port)

    def _op_activate(self, caller: Caller, message: Message) -> None:
        if self._owner is not caller or self._candidate is None or not self._candidate.ready:
            caller.tell({"event": "refused", "fact": "no candidate of this connection is ready"})
        else:
            self._activate(self._candidate, str(message["version"]), str(message["bundle"]))

    def _op_discard(self, caller: Caller, _: Message) -> None:
        """Answered when its workers are gone; `ending`: and the supervisor with them. It calls off a hand-over as well.

        Versions that have served, and finish what they were asked, are not waited for: that may take as long as a drain.
        """
        self._queue = deque(item for item in self._queue if item[0] is not caller)
        if self._owner is caller:
            self._discard("was discarded")
        awaited = {generation for generation in self._leaving if not generation.served}
        self._waiting.append((awaited, lambda: caller.tell({"event": "discarded", "ending": self._idle})))
        self._settle()

    def _op_stop(self, caller: Caller, _: Message) -> None:
        caller.tell({"event": "stopping", "seconds": self._live.order.drain_timeout if self._live else 0.0})
        self._stop()

    def _hung_up(self, caller: Caller) -> None:
        self._callers.discard(caller)
        self._queue = deque(item for item in self._queue if item[0] is not caller)
        if self._owner is caller:
            self._owner = None
            if self._candidate is not None and not self._activating:
                self._decide(self._candidate)
        self._end_if_idle()

    def _decide(self, candidate: Generation) -> None:
        """Its kernel is gone: the registry knows whether it had made this version live."""
        entry = live(Path(candidate.order.registry), candidate.order.name) if candidate.ready else None
        if entry is not None and entry.digest == candidate.order.digest:
            self._activate(candidate, entry.version, entry.bundle)
        else:
            self._discard("was not needed any more")

    def _activate(self, candidate: Generation, version: str, bundle: str) -> None:
        self._activating = True
        if self._live is None or self._live.public is not candidate.public:
            candidate.public.open()
        candidate.activate(version, bundle)

    def _discard(self, verdict: str) -> None:
        candidate, self._candidate = self._candidate, None
        if candidate is not None:
            if self._live is None or self._live.public is not candidate.public:
                candidate.public.close()
            self._leaving.add(candidate)
            if self._activating:  # some of its workers may have been asked something already
                candidate.drain(last=False)
            else:
                candidate.kill(verdict)
        self._next()

    def _next(self) -> None:
        self._owner, self._activating = None, False
        self._publish()
        if self._queue and not self._stopping:
            self._begin(*self._queue.popleft())
        else:
            self._end_if_idle()

    def _fail(self, caller: Caller | None, report: dict[str, Any]) -> None:
        if caller is not None:
            caller.tell({"event": "failed", "kind": "worker", "findings": [], "log": "", **report})
        self._discard("was not needed any more")

    def generation_phase(self, generation: Generation, text: str) -> None:
        if generation is self._candidate and self._owner is not None:
            self._owner.tell({"event": "phase", "text": text})

    def generation_ready(self, generation: Generation) -> None:
        if self._owner is not None and generation.private is not None:
            self._owner.tell({"event": "ready", "url": generation.private.url, "public": generation.public.url})

    def generation_failed(self, generation: Generation, report: Report) -> None:
        if generation is self._candidate:
            self._fail(self._owner, {"fact": report.fact, "findings": list(report.findings), "log": report.log})

    def generation_accepting(self, generation: Generation) -> None:
        if generation is self._candidate:
            self._take_over(generation)

    def _take_over(self, generation: Generation) -> None:
        """The new workers accept: now, and not before, the old ones may stop."""
        old, owner = self._live, self._owner
        self._live, self._candidate, self._failure = generation, None, None
        generation.served = True
        self._log.note(f"version {generation.version} serves at {generation.public.url}")

        def told() -> None:
            if owner is not None:
                owner.tell({"event": "active", "url": generation.public.url})

        if old is None:
            self._publish()
            told()
        else:
            if old.public is not generation.public:
                old.public.close()
            self._leaving.add(old)
            self._when_closed(old, told)
            old.drain(last=old.public is not generation.public)
        self._next()

    def _when_closed(self, old: Generation, told: Callable[[], object]) -> None:
        """Call once: when no worker of the old version accepts any more, or when one is too busy to say so."""
        waiting = [told]

        def once() -> None:
            while waiting:
                waiting.pop()()

        self._reactor.later(PATIENCE, once)
        old.on_closed = once

    def generation_changed(self, generation: Generation) -> None:
        if generation is self._live:
            self._failure = generation.failure
            self._publish()
        elif generation is self._candidate and generation.failed:
            report = generation.report
            self._failure = (
                f"version {generation.version} could not take over: {report.text if report else 'it crashed'}"
            )
            self._fail(self._owner, {"kind": "takeover", "fact": self._failure, "log": report.log if report else ""})

    def generation_draining(self, generation: Generation) -> None:
        generation.closed()

    def generation_gone(self, generation: Generation) -> None:
        generation.closed()
        self._leaving.discard(generation)
        if self._stopping and not self._leaving:
            self._reactor.stop()
        self._publish()
        self._settle()

    def _signalled(self, number: int) -> None:
        if number == signal.SIGCHLD:
            for generation in [self._live, self._candidate, *self._leaving]:
                if generation is not None:
                    generation.look()
        elif self._stopping:
            for generation in self._leaving:
                generation.hurry()
        else:
            self._stop()

    def _stop(self) -> None:
        """Answer what was asked, then end; a candidate is not waited for."""
        if self._stopping:
            return
        self._stopping = True
        self._log.note("stopping")
        for caller, _ in self._queue:
            caller.tell({"event": "failed", "kind": "stopping", "fact": "is being stopped", "findings": [], "log": ""})
        self._queue.clear()
        if self._candidate is not None:
            self._fail(self._owner, {"kind": "stopping", "fact": "is being stopped"})
        if self._live is not None:
            self._leaving.add(self._live)
            self._live.drain(last=True)
            self._live.public.close()
        if not self._leaving:
            self._reactor.stop()

    def _settle(self) -> None:
        """Tell those who wait for it that what they wait for is gone."""
        over = [told for awaited, told in self._waiting if not awaited & self._leaving]
        self._waiting = [item for item in self._waiting if item[0] & self._leaving]
        for told in over:
            told()
        self._end_if_idle()

    @property
    def _idle(self) -> bool:
        return not (self._live or self._candidate or self._leaving or self._queue or self._stopping)

    def _end_if_idle(self) -> None:
        """A supervisor that has never served, and is asked for nothing, leaves no trace."""
        if self._idle:
            self._reactor.stop()

    def finish(self) -> None:
        """Leave the state behind, and nobody to be reached."""
        if self._live is None:
            self._file.restore()
        else:
            self._file.stopped(self._state())
        with contextlib.suppress(OSError):
            (self._folder / control.SOCKET).unlink()
        print(f"{now()} the supervisor of {self._name} has ended", flush=True)  # noqa: T201 - its log

    def _care(self) -> None:
        """Somebody may have deleted what others find this service by, the whole folder included."""
        if self._live is not None and not (self._folder / control.SOCKET).exists():
            with contextlib.suppress(OSError):
                self._be_found()
        self._publish()
        self._reactor.later(CARE, self._care)

    def _be_found(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = self._control
        self.listen()
        self._reactor.unwatch(before.fileno())
        before.close()

    def _publish(self) -> None:
        if not self._stopping and (self._live or self._candidate):
            self._file.write(self._state())

    def _state(self) -> State:
        return self._file.state(self._live, self._candidate, self._failure)
