"""`Health`: one service over one span of time, as far as anything can be known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy.homes import write_whole, writing
from nbdeploy.render import Card, Shown, Table
from nbdeploy.watch import findings, page, sheet
from nbdeploy.watch.computable import NotComputable, plain

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from nbdeploy.keep.event import Event
    from nbdeploy.run.services import ServiceState
    from nbdeploy.watch.axis import Axis
    from nbdeploy.watch.compared import Compared
    from nbdeploy.watch.expected import Expected
    from nbdeploy.watch.findings import Finding
    from nbdeploy.watch.firing import Firing
    from nbdeploy.watch.incumbent import Incumbent
    from nbdeploy.watch.live import Live
    from nbdeploy.watch.promise import Promise
    from nbdeploy.watch.reading import Reading
    from nbdeploy.watch.tenure import Tenure
    from nbdeploy.watch.traffic import Traffic


@dataclass(frozen=True)
class LogState:
    """What the reading of the log passed over. `kept` of `answered` rows are in it; the others its policy left out.
    `unlogged` rows could not be written, whenever that was: workers count them without times. `future` ones were answered
    after the look, by a clock that went wrong. `older`: whether it has requests from before this span; asked only where
    labels found none in it.
    """

    answered: int = 0
    kept: int = 0
    torn: int = 0
    damaged: int = 0
    unlogged: int = 0
    future: int = 0
    older: bool = False
    refusals: Mapping[str, int] = field(default_factory=dict)  # requests that were refused (4xx), by code
    refused: Mapping[str, int] = field(default_factory=dict)  # the same by the columns they were refused for

    def to_dict(self) -> dict[str, Any]:
        return {
            "answered": self.answered,
            "kept": self.kept,
            "torn": self.torn,
            "damaged": self.damaged,
            "unlogged": self.unlogged,
            "future": self.future,
            "refusals": dict(self.refusals),
            "refused": dict(self.refused),
        }


@dataclass(frozen=True)
class Health(Shown):
    """`readings` has one for each window of `axis`; `versions` those with rows, the one that answered last at the end.

    `incumbent` is the live version, None where there is none. `expected` is by version, over the whole span. What could not be computed stands as the reason. `failed` names parts of
    the page whose making failed, with the reason.
    """

    name: str
    axis: Axis
    service: ServiceState
    readings: tuple[Reading, ...]
    traffic: Traffic | NotComputable
    versions: tuple[Compared, ...]
    live: Live | NotComputable
    expected: Mapping[str, Expected | NotComputable]
    promises: Mapping[str, Promise]
    tenures: tuple[Tenure, ...]
    events: tuple[Event, ...]
    alerts: tuple[Firing, ...]
    log: LogState
    failed: Mapping[str, NotComputable] = field(default_factory=dict)
    incumbent: Incumbent | None = None

    def past(self, version: str) -> bool:
        """Whether another version is live: what is found of this one is history."""
        return self.incumbent is not None and self.incumbent.version != version

    @property
    def version(self) -> Compared | None:
        """The version whose rows came last."""
        return self.versions[-1] if self.versions else None

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong, the worst first."""
        return tuple(findings.findings(self))

    @property
    def verdict(self) -> str:
        """One line: how many things are wrong."""
        return findings.verdict(self)

    @property
    def text(self) -> str:
        return sheet.sheet(self)

    def __str__(self) -> str:
        return self.text

    def as_text(self, *, colour: bool = False) -> str:
        return sheet.sheet(self, colour=colour)

    def _repr_html_(self) -> str:
        return page.fragment(self)

    def html(self) -> str:
        """The page as a file of its own."""
        return page.document(self)

    def write(self, file: str | os.PathLike[str]) -> Path:
        path = Path(file)
        content = self.html().encode("utf-8", "backslashreplace")
        with writing(path):
            write_whole(path, content)
        return path

    def card(self) -> Card:
        """In short, for what shows cards."""
        return Card(
            title=self.name,
            tone=findings.tone(self),
            status=self.verdict,
            facts=(("as of", f"{self.axis.now:%Y-%m-%d %H:%M:%S} UTC"), ("span", self.axis.said())),
            tables=(Table(("", "what", "next"), [(one.icon, one.text, one.next) for one in self.findings]),),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            **self.axis.to_dict(),
            "verdict": self.verdict,
            "service": self.service.to_dict(),
            "findings": [one.to_dict() for one in self.findings],
            "readings": [reading.to_dict() for reading in self.readings],
            "traffic": _plain(self.traffic),
            "versions": [version.to_dict() for version in self.versions],
            "live": _plain(self.live),
            "expected": {version: _plain(value) for version, value in self.expected.items()},
            "tenures": [tenure.to_dict() for tenure in self.tenures],
            "events": [event.to_dict() for event in self.events],
            "alerts": [firing.to_dict() for firing in self.alerts],
            "log": self.log.to_dict(),
            "incumbent": self.incumbent and self.incumbent.to_dict(),
            "failed": {name: plain(reason) for name, reason in self.failed.items()},
        }


def _plain(value: Any) -> Any:
    return plain(value) if isinstance(value, NotComputable) else value.to_dict()
