"""One worker process, as its supervisor sees it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .control import Lines, Message, encode
from .logfile import LogFile, Output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .reactor import Reactor, Timer
    from .spec import Spec

BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from nbdeploy_runtime.host import main; main(int(sys.argv[2]))"
RELAY = "import sys; sys.path.append(sys.argv[1]); from nbdeploy.runtime.relay import main; main(int(sys.argv[2]))"
PACKAGES = str(Path(__file__).parents[2])  # a relay is the supervisor's neighbour, not the bundle's
LEAVING = 5.0  # seconds a container needs beyond its workers to end
PING = 2.0  # seconds between two questions whether a worker's loop still turns
NATIVE = {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGABRT, signal.SIGFPE}


@dataclass(frozen=True)
class Report:
    """Why a worker is gone: one fact ("was killed"), findings, and the end of its output."""

    fact: str
    findings: Sequence[str] = ()
    log: str = ""

    @property
    def text(self) -> str:
        return "; ".join([self.fact, *self.findings])


class Owner(Protocol):
    def worker_ready(self, worker: Worker) -> None: ...
    def worker_accepting(self, _worker: Worker) -> None: ...
    def worker_draining(self, _worker: Worker) -> None: ...
    def worker_gone(self, worker: Worker, report: Report) -> None: ...
    def worker_phase(self, worker: Worker, text: str) -> None: ...


@dataclass(frozen=True)
class Command:
    """How a worker is started; `silence` is how long it may leave a question unanswered."""

    python: str
    environment: Mapping[str, str]
    ready_timeout: float
    drain_timeout: float
    silence: float
    descriptors: tuple[int, ...] = field(default=())
    relay: bool = False

    def argv(self, src: str, descriptor: int) -> list[str]:
        if self.relay:
            return [self.python, "-I", "-S", "-c", RELAY, PACKAGES, str(descriptor)]
        return [self.python, "-P", "-c", BOOT, src, str(descriptor)]


class Worker:
    """`stage`: loading | ready | accepting | draining | gone. `place` is its number among its version's workers."""

    def __init__(self, reactor: Reactor, log: LogFile, command: Command, owner: Owner, place: int = 0) -> None:
        self.stage = "loading"
        self.place = place
        self._reactor = reactor
        self._command = command
        self._owner = owner
        self._lines = Lines()
        self._timers: list[Timer] = []
        self._asked: float | None = None
        self._verdict: str | None = None
        self._failure: Message | None = None
        self._log = log
        self._output = Output(log, "-")

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, spec: Spec) -> None:
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        with theirs, os.fdopen(writing, "wb") as output:
            self._process = subprocess.Popen(
                self._command.argv(spec.src, theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(self._command.environment),
                cwd=spec.src,
                pass_fds=(theirs.fileno(), *self._command.descriptors),
                process_group=0,  # whatever the model starts can be ended with it
            )
        self._output = Output(self._log, f"worker {self.pid}")
        self._attach(ours, reading)
        self.send(spec.to_dict())
        self._later(self._command.ready_timeout, self._never_ready)

    def send(self, message: Message) -> None:
        """A worker that is gone, or so stuck that its socket is full, is dealt with by the watch over it."""
        with contextlib.suppress(OSError):
            self._socket.send(encode(message))

    def activate(self, version: str, src: str) -> None:
        self.send({"op": "activate", "version": version, "src": src})

    def drain(self, *, last: bool) -> None:
        """Let it answer what it was asked; what is not ready has been asked nothing."""
        if self.stage == "loading":
            self.kill("was not needed any more")
            return
        self.send({"op": "drain", "last": last})
        more = LEAVING if self._command.relay else 0.0
        self._later(self._command.drain_timeout + 2.0 + more, lambda: self.kill("did not finish in time"))

    def hurry(self) -> None:
        self._signal(signal.SIGTERM)
        self._later(2.0, lambda: self.kill("did not finish in time"))

    def kill(self, verdict: str) -> None:
        self._verdict = self._verdict or verdict
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def look(self) -> None:
        """After a SIGCHLD: is it this one?"""
        if self.stage == "gone" or os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # what it has started, while its number is still its own
        code = self._process.wait()
        self._hear()
        self._read()
        self._detach()
        self._owner.worker_gone(self, self._report(code))

    def _attach(self, sock: socket.socket, output: int) -> None:
        self._socket = sock
        self._pipe = output
        sock.setblocking(False)
        os.set_blocking(output, False)
        self._reactor.watch(sock.fileno(), self._hear)
        self._reactor.watch(output, self._read)
        self._listening = {sock.fileno(), output}

    def _detach(self) -> None:
        self.stage = "gone"
        for timer in self._timers:
            timer.cancel()
        for descriptor in list(self._listening):
            self._deafen(descriptor)
        self._socket.close()
        os.close(self._pipe)
        self._output.finish()

    def _deafen(self, descriptor: int) -> None:
        if descriptor in self._listening:
            self._listening.discard(descriptor)
            self._reactor.unwatch(descriptor)

    def _later(self, seconds: float, callback: object) -> None:
        self._timers.append(self._reactor.later(seconds, callback))  # type: ignore[arg-type]

    def _hear(self) -> None:
        messages, gone = self._lines.receive(self._socket)
        if gone:
            self._deafen(self._socket.fileno())
        for message in messages:
            self._told(message)

    def _told(self, message: Message) -> None:
        event = message.get("event")
        if event == "pong":
            self._asked = None
            if float(message.get("busy", 0.0)) > self._command.silence:
                self.kill(f"was stuck in one call of its model for {self._command.silence:g} s")
        elif event == "phase":
            self._owner.worker_phase(self, str(message.get("text")))
        elif event == "failed":
            self._failure = message
        elif event in {"ready", "accepting", "draining"} and self.stage != "draining":
            first = self.stage == "loading"
            self.stage = str(event)
            if first:
                self._settle()
            getattr(self._owner, f"worker_{event}")(self)

    def _settle(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._later(PING, self._ping)

    def _ping(self) -> None:
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
            self.send({"op": "ping"})
        elif now - self._asked > self._command.silence:
            self.kill(f"did not react for {self._command.silence:g} s")
            return
        self._timers = [timer for timer in self._timers if timer.callback is not None]
        self._later(PING, self._ping)

    def _never_ready(self) -> None:
        self.kill(f"was not ready after {self._command.ready_timeout:g} s")

    def _read(self) -> None:
        try:
            while data := os.read(self._pipe, 65_536):
                self._output.feed(data)
            self._deafen(self._pipe)
        except BlockingIOError:
            return

    def _signal(self, number: signal.Signals) -> None:
        if self.stage != "gone":
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _report(self, code: int) -> Report:
        if self._failure is not None:
            return Report(str(self._failure["fact"]), tuple(self._failure["findings"]), self._output.tail)
        return Report(self._verdict or cause(code), (), self._output.tail)


def cause(code: int) -> str:
    """What an exit code says about how a process ended."""
    number = -code if code < 0 else code - 128
    if number == signal.SIGKILL:
        return "was killed, most likely because the machine or its container ran out of memory (SIGKILL)"
    if number in NATIVE:
        return f"crashed in native code ({signal.Signals(number).name})"
    if 0 < number < signal.NSIG:
        return f"was ended by {signal.strsignal(number) or 'a signal'} (signal {number})"
    return f"ended by itself with exit code {code}"
