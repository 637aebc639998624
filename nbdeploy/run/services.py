"""Services as they are: the state shown is probed, never remembered."""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from nbdeploy.render import Card, Shown, Table
from nbdeploy.run.service import Service
from nbdeploy.runtime import control
from nbdeploy.runtime.state import FILE, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nbdeploy.render import Tone

__all__ = ["Service", "ServiceState", "Services", "probe", "services"]

Word = Literal["starting", "ready", "degraded", "failed", "stopped", "dead", "unknown"]
TONES: Mapping[str, Tone] = {
    "ready": "good",
    "starting": "neutral",
    "stopped": "neutral",
    "degraded": "warning",
    "unknown": "warning",
}
HIDDEN = "."  # folders of checks and trials begin with it; they are nobody's services
PATIENCE = 2.0  # seconds for a service to say how it is


@dataclass(frozen=True)
class ServiceState:
    """How a service was a moment ago. `failure` says why it is not ready, `bundle` is the folder that holds its src/."""

    name: str
    state: Word
    version: str | None = None
    url: str | None = None
    launcher: str = "local"
    since: str | None = None
    pid: int | None = None
    workers: int = 1
    digest: str | None = None
    bundle: str | None = None
    failure: str | None = None
    unlogged: bool = False  # it answers, and its predictions cannot be logged

    @classmethod
    def of(cls, state: State, word: Word) -> ServiceState:
        return cls(
            name=state.name,
            state=word,
            version=state.version,
            url=state.url,
            launcher=state.launcher,
            since=state.since,
            pid=state.pid if word not in {"stopped", "dead"} and state.launcher == "local" else None,
            workers=state.workers,
            digest=state.digest,
            bundle=state.bundle,
            failure=state.failure,
        )

    @property
    def running(self) -> bool:
        return self.state in {"starting", "ready", "degraded", "failed"}

    @property
    def tone(self) -> Tone:
        return TONES.get(self.state, "bad")

    @property
    def lacking(self) -> str | None:
        """F30: what it was started from is gone."""
        if not self.running or self.bundle is None or Path(self.bundle, "src").is_dir():
            return None
        return (
            f"bundle missing ({self.bundle}): it serves on, and cannot be started again; "
            "restore it from an export with `nbdeploy import FILE`, or deploy with --again"
        )

    @property
    def notes(self) -> list[tuple[Tone, str]]:
        """What is wrong with it."""
        told: list[tuple[Tone, str]] = [(self.tone, self.failure)] if self.failure else []
        return [*told, ("warning", self.lacking)] if self.lacking else told

    def to_dict(self) -> dict[str, Any]:
        """The entry of `ps --json`."""
        return {
            "name": self.name,
            "version": self.version,
            "url": self.url,
            "launcher": self.launcher,
            "state": self.state,
            "since": self.since,
            "pid": self.pid,
            "workers": self.workers,
        }


class Services(Shown, Sequence[ServiceState]):
    """What `ps` shows."""

    def __init__(self, states: Iterable[ServiceState]) -> None:
        self._states = tuple(states)

    @overload
    def __getitem__(self, index: int) -> ServiceState: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ServiceState]: ...
    def __getitem__(self, index: int | slice) -> ServiceState | Sequence[ServiceState]:
        return self._states[index]

    def __len__(self) -> int:
        return len(self._states)

    def to_dict(self) -> list[dict[str, Any]]:
        return [state.to_dict() for state in self._states]

    def card(self) -> Card:
        headers = ("name", "version", "state", "since (UTC)", "url", "launcher", "workers")
        rows = [(s.name, s.version, s.state, _shown(s.since), s.url, s.launcher, s.workers) for s in self._states]
        notes = [(tone, f"{s.name}: {text}") for s in self._states for tone, text in s.notes]
        empty = "no service is running; `%deploy MODEL --sample X` in a notebook or `nbdeploy up FILE` starts one"
        return Card(title="Services", tables=(Table(headers, rows, empty=empty),), notes=tuple(notes))


def _shown(time: str | None) -> str | None:
    return time[:16].replace("T", " ") if time else None


def probe(folder: Path) -> ServiceState:
    """The state of the service whose folder this is: the file's word, if its process and its answers bear it out."""
    state = State.read(folder)
    if state is None or (state.state != "stopped" and not state.process.alive()):
        asked = _asked(folder)
        if asked is None:
            return _without_supervisor(folder.name, state)
        state = asked
    if state.state not in {"ready", "degraded"}:
        return ServiceState.of(state, _word(state.state))
    told = _answer(state.url or "")
    if told is None:
        return ServiceState.of(state, "degraded")
    if told.get("nonce") != state.nonce or told.get("name") != state.name:
        stranger = replace(state, failure=f"something else answers at {state.url}")
        return ServiceState.of(stranger, "unknown")
    unlogged = told.get("state") == "degraded"
    return replace(ServiceState.of(state, "degraded" if unlogged else _word(state.state)), unlogged=unlogged)


def services(folder: Path) -> Services:
    """Every service that has served from a folder of its own in `folder`, running or not."""
    found = sorted(path for path in folder.glob("*") if not path.name.startswith(HIDDEN))
    return Services(probe(path) for path in found if (path / FILE).exists() or (path / control.SOCKET).exists())


def _without_supervisor(name: str, state: State | None) -> ServiceState:
    if state is None:
        return ServiceState(name, "stopped", since=None)
    return ServiceState.of(state, "unknown" if state.process.elsewhere() else "dead")


def _word(word: str) -> Word:
    known: tuple[Word, ...] = ("starting", "ready", "degraded", "failed", "stopped")
    return next((item for item in known if item == word), "unknown")


def _asked(folder: Path) -> State | None:
    """What a supervisor says whose state file is lost, or is another's."""
    try:
        channel = control.connect(folder, PATIENCE)
    except OSError:
        return None
    try:
        channel.send({"op": "status"})
        told = channel.receive(PATIENCE)
        return State.from_dict(told) if told else None
    except (OSError, ValueError, TypeError):
        return None
    finally:
        channel.close()


def _answer(url: str) -> dict[str, Any] | None:
    """What /readyz says; None if nobody answers in time."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port or 80), timeout=PATIENCE)
    try:
        connection.request("GET", "/readyz")
        told = json.loads(connection.getresponse().read(65_536))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return told if isinstance(told, dict) else {}
