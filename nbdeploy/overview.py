"""What the panel shows, at one moment: services, the versions of one name, and the schema of its live one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import NbdeployError, NotFound
from nbdeploy.render import Card, Shown, Table

if TYPE_CHECKING:
    from nbdeploy.keep.version import Version, Versions
    from nbdeploy.render import Tone
    from nbdeploy.run.services import Services, ServiceState
    from nbdeploy.runtime.manifest import Manifest

FIRST = "%deploy MODEL --sample X_train --target y_train"


@dataclass(frozen=True)
class Overview(Shown):
    """`problems` are what could not be read; what could be is shown all the same."""

    time: datetime
    services: Services
    names: tuple[str, ...]
    name: str | None = None
    versions: Versions | None = None
    manifest: Manifest | None = None  # of the live version
    problems: tuple[str, ...] = ()
    workspace: Any = field(default=None, repr=False, compare=False)  # whose it is; that module imports this one

    @classmethod
    def of(cls, workspace: Any, name: str | None = None) -> Overview:
        """Raises NotFound: no version and no service has this name."""
        time, problems = datetime.now(UTC), list[str]()
        try:
            services = workspace.services(all=True)
        except NbdeployError as error:  # those that run are found without the registry
            services = workspace.services()
            problems.append(str(error))
        names = [state.name for state in services]
        if name is not None and name not in names and not problems:
            raise NotFound("service", name, names)
        chosen = name or _chosen(services, names)
        versions, manifest = None, None
        try:
            versions = workspace.versions(chosen) if chosen else None
            manifest = _manifest(versions)
        except NbdeployError as error:
            problems.append(str(error))
        told = tuple(dict.fromkeys(problems))
        return cls(time, services, tuple(names), chosen, versions, manifest, told, workspace)

    @property
    def clock(self) -> str:
        """When, as a clock on the wall says it."""
        return self.time.astimezone().strftime("%H:%M:%S")

    @property
    def state(self) -> ServiceState | None:
        """That of the chosen name."""
        return next((state for state in self.services if state.name == self.name), None)

    @property
    def live(self) -> Version | None:
        return next((version for version in self.versions or () if version.live), None)

    def to_dict(self) -> dict[str, Any]:
        return {
            "time": self.time.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "name": self.name,
            "names": list(self.names),
            "services": self.services.to_dict(),
            "versions": self.versions.to_dict() if self.versions is not None else [],
            "problems": list(self.problems),
        }

    def card(self) -> Card:
        running = sum(state.running for state in self.services)
        facts: list[tuple[str, Any]] = [("services", f"{running} running, {len(self.services) - running} not")]
        if self.name and (state := self.state):
            facts += [("name", self.name), ("state", state.state)]
            facts += [("url", state.url)] if state.running else []
        if self.live:
            facts += [
                ("live", f"{self.live.version} ({self.live.bump}: {self.live.reason})"),
                ("gate", self.live.gate),
            ]
        notes: list[tuple[Tone, str]] = [("bad", text) for text in self.problems]
        notes += [(tone, f"{s.name}: {text}") for s in self.services for tone, text in s.notes]
        tone: Tone = self.state.tone if self.state else "neutral"
        return Card("nbdeploy", tone, f"as of {self.clock}", facts, self._tables(), self._code(), notes)

    def _tables(self) -> list[Table]:
        tables = list(self.services.card().tables)
        if self.versions:
            tables += self.versions.card().tables
        if self.manifest is not None:
            tables.append(schema(self.manifest))
        return tables

    def _code(self) -> list[tuple[str, str]]:
        if not self.name:
            return [("deploy the first model", FIRST)]
        running = self.state is not None and self.state.running
        ask = ("ask it", f'nbdeploy.attach("{self.name}").predict(rows)')
        lines = [ask if running else ("start it", f"%deploy serve {self.name}")]
        return [*lines, ("back", f"%deploy rollback {self.name}")] if len(self.versions or ()) > 1 else lines


def schema(manifest: Manifest) -> Table:
    """The input's columns, as they were seen."""
    from nbdeploy.capture.bundle import schema_table

    return schema_table(manifest)


def _chosen(services: Services, names: list[str]) -> str | None:
    """Without a name: the one that runs, else the one there is, else the first."""
    running = [state.name for state in services if state.running]
    return next(iter(running or names), None)


def _manifest(versions: Versions | None) -> Manifest | None:
    from nbdeploy.keep import store

    live = next((version for version in versions or () if version.live), None)
    return None if live is None else store.manifest_of(live)
