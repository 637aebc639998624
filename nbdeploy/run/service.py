"""A service, as its user holds it: call its methods, read its log, stop it."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from nbdeploy.errors import NotRunning, Unreachable, Unsupported
from nbdeploy.render import Card, Shown
from nbdeploy.render.plain import figures
from nbdeploy.run import tokens
from nbdeploy.run.acknowledged import acknowledge
from nbdeploy.run.addresses import how_to_reach
from nbdeploy.runtime.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nbdeploy.keep.version import Version
    from nbdeploy.render import Tone
    from nbdeploy.run.acknowledged import Acknowledged
    from nbdeploy.run.client import Client
    from nbdeploy.run.launcher import Launcher
    from nbdeploy.run.predictions import Predictions
    from nbdeploy.run.services import ServiceState
    from nbdeploy.runtime.manifest import Manifest

SHOWN_METRICS = 3
LONGEST_ROW = 600  # characters of an example that is still shown in a command


@dataclass(frozen=True)
class Service(Shown):
    """`version` is the one its call made live; `state` is probed. One method for each method of the model.

    `folder` is services/NAME, `bundle` holds src/, `backend` is the launcher itself.
    """

    name: str
    version: str | None
    url: str
    manifest: Manifest
    folder: Path
    bundle: Path
    backend: Launcher
    authenticated: bool = True
    previous: str | None = None
    already_live: bool = False
    warnings: tuple[str, ...] = ()
    bundle_version: Version | None = None
    gate: str = "none"
    report: Any = None  # of the gate it has just passed
    stopped: Callable[[], object] | None = field(default=None, repr=False)  # told once it is stopped
    labelled: Callable[[Any, str], Shown] | None = field(default=None, repr=False)  # takes in a table of labels

    @property
    def launcher(self) -> str:
        return self.backend.name

    @property
    def state(self) -> str:
        return self.probe().state

    @property
    def token_file(self) -> Path | None:
        return self.folder / tokens.FILE if self.authenticated else None

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(method.name for method in self.manifest.methods)

    def probe(self) -> ServiceState:
        return self.backend.state(self.folder)

    @cached_property
    def client(self) -> Client:
        from nbdeploy.run.client import Client
        from nbdeploy.run.transport import Http

        token = tokens.read(self.folder, self.name) if self.authenticated else None
        transport = None if self.launcher == "memory" else Http(self.url, before=self._refuse_strangers, era=self._era)
        return Client(self.url, token=token, manifest=self.manifest, transport=transport)

    def _era(self) -> int | None:
        """Another one once another version has taken over: the state is written anew then."""
        return State.stamp(self.folder)

    def _refuse_strangers(self) -> None:
        """The token is for the service alone: once it has ended, anybody may listen at its port."""
        state = State.read(self.folder)
        if state is None or state.process.elsewhere():
            return
        if not state.process.alive():
            raise NotRunning(self.name)
        if state.url != self.url:
            raise Unreachable(self.url, f"{self.name} serves at {state.url} now; attach to it again")

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        if name.startswith("_"):
            raise AttributeError(f"a service has no {name!r}")
        if name not in self.methods:
            there = ", ".join(self.methods)
            raise AttributeError(f"the service {self.__dict__.get('name')} has no method {name!r}; there is: {there}")

        def call(rows: Any) -> Any:
            return self.client.call(name, rows)

        call.__name__ = name
        call.__doc__ = f"What the model's {name}(rows) returns, asked over HTTP."
        return call

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.methods]

    def predictions(self) -> Predictions:
        from nbdeploy.run.predictions import Predictions

        return Predictions(self.folder / "predictions")

    @overload
    def feedback(self, labels: Any, /, *, on: str = "request_id") -> Shown: ...
    @overload
    def feedback(self, request_id: str, labels: Any) -> Acknowledged: ...
    def feedback(self, request_id: Any = None, labels: Any = None, *, on: str = "request_id") -> Shown:
        """Take in labels that came late: a table, as `nbdeploy.feedback(name, labels, on=...)` does; or a request's id and
        a label for each of its rows, None where it is not known yet: `feedback("5f0c...", ["yes", None])`.

        Raises:
            CallRefused: labels of another kind than the model's.
        """
        if isinstance(request_id, str) and labels is not None:
            return acknowledge(self, request_id, labels)
        if self.labelled is None:
            step = f'nbdeploy.feedback("{self.name}", labels) does'
            raise Unsupported("Taking in a table of labels by this handle", step)
        return self.labelled(labels if request_id is None else request_id, on)

    def logs(self, *, lines: int = 50, follow: bool = False) -> Iterator[str]:
        return self.backend.logs(self.folder, lines=lines, follow=follow)

    def stop(self) -> None:
        self.backend.stop(self.name, self.folder)
        if self.stopped is not None:
            self.stopped()

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.probe().to_dict(),
            "version": self.version,
            "previous": self.previous,
            "already_live": self.already_live,
        }

    def card(self) -> Card:
        state = self.probe()
        notes: list[tuple[Tone, str]] = [("warning", text) for text in self.warnings]
        notes += state.notes
        if state.launcher != "memory" and (hint := how_to_reach(self.url)):
            notes.append(("neutral", hint))
        title = f"{self.name} {self.version}" if self.version else self.name
        word = "already live, " + state.state if self.already_live else state.state
        return Card(title, state.tone, word, facts=self._facts(), code=self._code(), notes=tuple(notes))

    def _facts(self) -> tuple[tuple[str, Any], ...]:
        facts: list[tuple[str, Any]] = [("url", self.url), ("methods", ", ".join(self.methods))]
        if self.previous and self.previous != self.version:
            facts.append(("before", self.previous))
        if self.bundle_version is not None:
            facts.append(("version", f"{self.bundle_version.bump}: {self.bundle_version.reason}"))
        if values := self.manifest.metrics.get("training", {}).get("values"):
            shown = ", ".join(f"{name} {figures(value, 4)}" for name, value in list(values.items())[:SHOWN_METRICS])
            facts.append(("training", f"{shown} (on the sample itself: no verdict)"))
        return (*facts, ("gate", self.gate if self.report is None else f"{self.gate}: {self.report.html}"))

    def _code(self) -> tuple[tuple[str, str], ...]:
        method = self.methods[0] if self.methods else "predict"
        here = ("in Python", f'nbdeploy.attach("{self.name}").{method}(rows)')
        if self.launcher == "memory":
            return (here,)
        return (
            here,
            ("in a shell", self.curl(method, self.examples[:1])),
            ("OpenAPI", f"curl{self._authorization()} {self.url}/docs.json"),
        )

    def _authorization(self) -> str:
        return f' -H "Authorization: Bearer $(nbdeploy token {self.name})"' if self.authenticated else ""

    def curl(self, method: str, rows: list[Any]) -> str:
        """The line that asks this from a shell; the token is looked up, not shown."""
        body = json.dumps({"rows": rows}, ensure_ascii=False)
        data = shlex.quote(body) if len(body) <= LONGEST_ROW else "@rows.json"
        return f'curl{self._authorization()} -H "Content-Type: application/json" -d {data} {self.url}/{method}'

    @property
    def examples(self) -> list[Any]:
        """The golden rows, as JSON has them."""
        try:
            rows: list[Any] = json.loads((self.bundle / "src" / "golden.json").read_bytes())["rows"]
        except (OSError, ValueError, KeyError):
            return []
        return rows
