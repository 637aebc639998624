"""The local launcher: a supervisor in a session of its own for each service, reached over its control socket."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from nbdeploy import interruption
from nbdeploy.errors import NotReady, NotRunning, PortTaken, ServiceFailed, Unsupported
from nbdeploy.homes import private
from nbdeploy.run import tokens
from nbdeploy.run.environ import allowed
from nbdeploy.run.logs import read_lines
from nbdeploy.run.ports import taken
from nbdeploy.run.services import probe
from nbdeploy.runtime import control
from nbdeploy.runtime.order import Order
from nbdeploy.runtime.process import Process
from nbdeploy.runtime.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nbdeploy.run.client import Client
    from nbdeploy.run.launcher import Launch
    from nbdeploy.run.services import ServiceState
    from nbdeploy.runtime.control import Channel, Message

BOOT = "import sys; sys.path.append(sys.argv[1]); from nbdeploy.runtime.supervisor import main; main(sys.argv[2], int(sys.argv[3]))"
# The supervisor is that of the installed package, not of a bundle: it outlives versions. It runs without site, because
# the standard library is all it needs, and isolated, because nothing of the notebook's folder may be read.
PACKAGES = Path(__file__).parents[2]  # the folder that holds the package nbdeploy
TRIES = 5  # a supervisor may end between our connecting to it and its first word
GRACE = 10.0  # seconds beyond its own time-outs before a supervisor is taken to be stuck
LOOK = 0.1  # seconds
LOG = "supervisor.log"
LOG_SIZE = 1_000_000  # bytes; a longer one is begun anew
GONE: tuple[type[OSError], ...] = (FileNotFoundError, ConnectionRefusedError)


class LocalLauncher:
    name = "local"

    def prepare(self, launch: Launch, progress: Callable[[str], None]) -> LocalCandidate:
        _refuse_windows()
        for _ in range(TRIES):
            channel = _reach(launch.name, launch.folder)
            try:
                channel.send({"op": "candidate", "order": self.order(launch).to_dict()})
                ready = _until_ready(launch, channel, progress)
            except (_Ended, BrokenPipeError):
                channel.close()
            except BaseException:  # Ctrl-C too must not leave a candidate that nobody waits for
                _discard(channel)
                raise
            else:
                return LocalCandidate(launch, channel, ready["url"], ready["public"])
        raise NotReady(launch.name, "its supervisor ends as soon as it starts", "look", _end_of(launch.folder / LOG))

    def order(self, launch: Launch) -> Order:
        """What the supervisor is told."""
        return _order(launch)

    def stop(self, name: str, folder: Path) -> None:
        _refuse_windows()
        known = State.read(folder)
        asked = _ask_to_stop(folder)
        state = asked or known
        if state is None or state.state == "stopped":
            raise NotRunning(name)
        supervisor = state.process
        if supervisor.elsewhere():
            raise ServiceFailed(
                name, "runs in another container, which cannot be looked into from here", "stop it there"
            )
        workers = [Process.of(pid) for pid in state.pids]
        if asked is None:
            supervisor.signal(signal.SIGTERM)  # it may live without its socket; this drains too
        if supervisor.alive() and not supervisor.wait(GRACE):
            supervisor.signal(signal.SIGKILL)
        left = [str(process.pid) for process in (supervisor, *workers) if not process.wait(GRACE)]
        if left:
            step = "look at what holds them (`ps -o stat,wchan -p PID`), then stop it again"
            raise ServiceFailed(name, f"processes {', '.join(left)} of it do not end", step)
        _bury(folder)

    def state(self, folder: Path) -> ServiceState:
        return probe(folder)

    def logs(self, folder: Path, *, lines: int = 50, follow: bool = False) -> Iterator[str]:
        return read_lines(folder, lines, follow=follow)


class LocalCandidate:
    def __init__(self, launch: Launch, channel: Channel, url: str, public: str) -> None:
        self.url = url
        self.public = public  # where it will answer
        self._launch = launch
        self._channel: Channel | None = channel

    def client(self) -> Client:
        """Speaks to the candidate with the service's own token."""
        from nbdeploy.run.client import Client

        launch = self._launch
        token = tokens.ensure(launch.folder) if launch.token_sha256 else None
        return Client(self.url, token=token, timeout=launch.limits.predict_timeout + GRACE)

    def activate(self, version: str, bundle: Path) -> str:
        name, channel = self._launch.name, self._channel
        if channel is None:
            raise ServiceFailed(name, "this candidate has ended", "prepare another")
        try:
            channel.send({"op": "activate", "version": version, "bundle": str(bundle.absolute())})
            told = _heard(name, channel, self._launch.ready_timeout + GRACE)
        except OSError as exc:
            raise ServiceFailed(name, f"its supervisor does not answer: {exc}", "`ps` shows its state") from exc
        if told is None:
            raise ServiceFailed(name, "its supervisor ended during the hand-over", "`serve` starts it again")
        if told["event"] != "active":
            raise ServiceFailed(name, str(told.get("fact")), "what was live before is live; `logs` tells more")
        self._forget(channel)
        return self.public

    def discard(self) -> None:
        if self._channel is not None:
            _discard(self._channel)
            self._channel = None

    close = discard

    def _forget(self, channel: Channel) -> None:
        channel.close()
        self._channel = None


class _Ended(Exception):
    """The supervisor is about to end, or has; a new one can be started."""


def _order(launch: Launch) -> Order:
    return Order(
        name=launch.name,
        bundle=str(launch.bundle.absolute()),
        digest=launch.digest,
        python=str(launch.python),
        registry=str(launch.registry),
        environment={**allowed(), **launch.environment},
        workers=launch.workers,
        port=launch.port,
        token_sha256=launch.token_sha256,
        log=str(launch.folder / "predictions") if launch.log else None,
        log_rules=launch.log_rules.to_dict(),
        strict_log=launch.strict_log,
        limits=asdict(launch.limits),
        ready_timeout=launch.ready_timeout,
        drain_timeout=launch.drain_timeout,
        loop=launch.loop,
    )


def _until_ready(launch: Launch, channel: Channel, progress: Callable[[str], None]) -> Message:
    patience: float | None = launch.ready_timeout + GRACE
    while True:
        try:
            told = _heard(launch.name, channel, patience)
        except TimeoutError as exc:
            raise NotReady(
                launch.name, f"its supervisor was silent for {patience:g} s", "`stop` it and try again"
            ) from exc
        if told is None:
            raise _Ended
        if told["event"] == "queued":
            progress(f"another deploy of {launch.name} is under way; waiting for it")
            patience = None
        elif told["event"] == "phase":
            progress(str(told["text"]))
            patience = launch.ready_timeout + GRACE
        elif told["event"] == "ready":
            return told
        else:
            _raise_failed(launch, channel, told)


def _heard(name: str, channel: Channel, patience: float | None) -> Message | None:
    """The next event; None when the supervisor is gone. Raises ServiceFailed for what no supervisor says."""
    try:
        told = _received(channel, patience)
    except control.Garbled as exc:
        raise ServiceFailed(name, f"its supervisor says {exc}", f"`stop {name}`, then serve it again") from exc
    if told is not None and "event" not in told:
        raise ServiceFailed(name, "its supervisor says what is no event", f"`stop {name}`, then serve it again")
    return told


def _received(channel: Channel, patience: float | None) -> Message | None:
    """A thread that may be interrupted looks up now and then: nothing else ends a wait in the system."""
    if interruption.current() is None:
        return channel.receive(patience)
    end = math.inf if patience is None else time.monotonic() + patience
    while True:
        left = end - time.monotonic()
        try:
            return channel.receive(max(0.0, min(LOOK, left)) or LOOK)
        except TimeoutError:
            if left <= LOOK:
                raise


def _raise_failed(launch: Launch, channel: Channel, told: Message) -> None:
    kind = told.get("kind")
    if kind == "stopping":
        while channel.receive(launch.drain_timeout + GRACE) is not None:
            pass
        raise _Ended
    if kind == "port" and not told.get("taken", True):
        raise PortTaken(launch.name, str(told["fact"]), "choose another with --port")
    if kind == "port":
        raise taken(launch.name, told["port"], launch.folder.parent)
    fact, advice = f"the new version {told['fact']}", "nothing was changed"
    if launch.container is not None and "ran out of memory" in fact:
        advice += "; `container_memory` in the settings, or NBDEPLOY_CONTAINER_MEMORY, gives its container more"
    raise NotReady(launch.name, fact, advice, log=str(told.get("log", "")), findings=tuple(told.get("findings", ())))


def _reach(name: str, folder: Path) -> Channel:
    """The supervisor of this name; a new one where there is none."""
    private(folder)
    for _ in range(TRIES):
        try:
            channel = control.connect(folder)
        except TimeoutError as exc:
            raise NotReady(name, "its supervisor does not answer", "`stop` it and try again") from exc
        except control.Strange as exc:
            raise NotReady(name, str(exc), f"end it, or remove {folder / control.SOCKET}") from exc
        except GONE:
            _start(name, folder)
        else:
            return _same_protocol(name, channel)
    raise NotReady(name, "its supervisor cannot be reached", f"see {folder / LOG}", _end_of(folder / LOG))


def _same_protocol(name: str, channel: Channel) -> Channel:
    """Raises NotReady where the supervisor came with an nbdeploy that speaks otherwise."""
    if channel.protocol == control.PROTOCOL:
        return channel
    channel.close()
    raise NotReady(
        name,
        f"its supervisor is that of another nbdeploy (protocol {channel.protocol}, this one speaks {control.PROTOCOL})",
        f"the service goes on as it is; to change it, `stop {name}`, then serve it again",
    )


def _start(name: str, folder: Path) -> None:
    """Return when a supervisor listens, this one or another."""
    log = folder / LOG
    try:
        word, code = _begun(folder, log)
    except BaseException:  # Ctrl-C too: a supervisor that listens by now is told that nobody will ask
        with contextlib.suppress(OSError):
            control.connect(folder).close()
        raise
    if not word:
        raise NotReady(name, f"its supervisor did not start (exit code {code})", f"see {log}", _end_of(log))


def _begun(folder: Path, log: Path) -> tuple[bytes, int]:
    """What a new supervisor says once it listens, and how the process that let it go ended."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    if log.exists() and log.stat().st_size > LOG_SIZE:
        flags |= os.O_TRUNC
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as told:
        with os.fdopen(writing, "wb") as tell, os.fdopen(os.open(log, flags, 0o600), "wb") as output:
            launched = subprocess.run(
                [sys.executable, "-I", "-S", "-c", BOOT, str(PACKAGES), str(folder.absolute()), str(tell.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=allowed(),
                cwd=folder,
                pass_fds=(tell.fileno(),),
                start_new_session=True,
                check=False,
            )
        return told.read(), launched.returncode


def _discard(channel: Channel) -> None:
    """Back to the old state, and wait for it; without an answer the closed connection says the same.

    It is closed in any case: another Ctrl-C meanwhile leaves a traceback, which would hold it open, and the candidate with it.
    """
    with contextlib.closing(channel):
        if _is_ending(channel) and channel.peer is not None:
            channel.peer.wait(GRACE)


def _is_ending(channel: Channel) -> bool:
    """Whether the supervisor goes with the candidate, once that is gone."""
    try:
        channel.send({"op": "discard"})
        while (told := channel.receive(GRACE)) is not None:
            if told["event"] == "discarded":
                return bool(told["ending"])
    except TimeoutError:  # it is stuck, and will not end for us
        return False
    except (OSError, control.Garbled, KeyError):
        return True
    return True


def _ask_to_stop(folder: Path) -> State | None:
    """The state of the supervisor that ended on our word; None where none listens."""
    try:
        channel = control.connect(folder)
    except OSError:
        return None
    with contextlib.closing(channel), contextlib.suppress(OSError, ValueError, TypeError):
        channel.send({"op": "status"})
        status = channel.receive(GRACE)
        channel.send({"op": "stop"})
        told = channel.receive(GRACE)
        while told is not None:
            told = channel.receive(float(told.get("seconds", 0.0)) + GRACE)
        return State.from_dict(status) if status else None
    return None


def _bury(folder: Path) -> None:
    """A supervisor that was killed could not say that it ended."""
    state = State.read(folder)
    if state is not None and state.state != "stopped" and not state.process.alive():
        state.ended().write(folder)


def _end_of(log: Path, lines: int = 20) -> str:
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def _refuse_windows() -> None:
    if sys.platform == "win32":
        raise Unsupported("The local launcher", "bundle, check and the memory launcher work on Windows")
