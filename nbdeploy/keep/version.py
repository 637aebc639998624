"""A version as the registry knows it, and lists of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from nbdeploy.keep.event import Event, seal
from nbdeploy.render import Card, Shown, Table
from nbdeploy.render.plain import figures

if TYPE_CHECKING:
    from nbdeploy.render import Tone
    from nbdeploy.runtime.manifest import Manifest


@dataclass(frozen=True)
class Version(Shown):
    """An immutable version. `live`, `serving` and `state` are as of the moment it was asked for.

    bump: initial | major | minor | patch | imported | recovered; gate: none | passed | refused | skipped;
    state: ok | untrusted | corrupt.
    """

    name: str
    version: str
    live: bool
    serving: bool
    created: str
    digest: str
    bump: str
    reason: str
    gate: str
    by: str
    location: str
    state: str = "ok"
    already_published: bool = False  # of `publish`: the bundle had this version before
    already_there: bool = False  # of `import`: the same bytes were here before

    @property
    def bundle(self) -> Path:
        """The folder that holds src/."""
        return Path(self.location)

    def judged(self, verdict: str) -> Version:
        """The same after a later judgement; a gate that was skipped is shown as that, unless it is refused now."""
        return self if verdict == "passed" and self.gate == "skipped" else replace(self, gate=verdict)

    @property
    def tag(self) -> str:
        return f"{self.name}:{self.version}"

    @property
    def src(self) -> Path:
        return self.bundle / "src"

    def manifest(self) -> Manifest:
        """Raises ManifestError where it is gone or unreadable."""
        from nbdeploy.runtime.manifest import Manifest

        return Manifest.load(self.src)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "live": self.live,
            "serving": self.serving,
            "state": self.state,
            "created": self.created,
            "digest": self.digest,
            "bump": self.bump,
            "reason": self.reason,
            "gate": self.gate,
            "by": self.by,
        }

    @property
    def status(self) -> str:
        words = [word for word, holds in (("live", self.live), ("serving", self.serving)) if holds]
        if self.state != "ok":
            words.append(self.state)
        return ", ".join(words)

    def facts(self) -> tuple[tuple[str, Any], ...]:
        return (
            ("created", f"{self.created} by {self.by}"),
            ("digest", self.digest),
            ("bump", f"{self.bump}: {self.reason}"),
            ("gate", self.gate),
            ("bundle", self.location),
        )

    def card(self) -> Card:
        tone: Tone = {"untrusted": "warning", "corrupt": "bad"}.get(self.state, "good" if self.live else "neutral")  # type: ignore[assignment]
        card = Card(title=self.tag, tone=tone, status=self.status, facts=self.facts())
        told = (
            f"Already published as {self.version}; --again gives it another version." if self.already_published else ""
        )
        if self.already_there:
            told = "Already here, the same bytes; nothing was imported anew."
        return replace(card, notes=(("neutral", told),)) if told else card

    def row(self, seq: int) -> tuple[Any, ...]:
        """The columns of table versions, sealed."""
        cells = (
            seq,
            self.name,
            self.version,
            self.digest,
            self.location,
            self.created,
            self.bump,
            self.reason,
            self.gate,
            self.by,
        )
        return (*cells, seal(*cells))

    @classmethod
    def from_row(cls, row: Iterable[Any], *, live: bool = False, state: str = "ok") -> Version:
        """Raises ValueError where the row is not what was written."""
        *cells, sealed = row
        _, name, version, digest, location, created, bump, reason, gate, by = cells
        if seal(*cells) != sealed:
            raise ValueError(f"version {name}:{version} was altered")
        made = cls.__new__(cls)  # __init__ of a frozen class sets field by field, half the cost of a long list
        made.__dict__.update(
            name=name,
            version=version,
            live=live,
            serving=False,
            created=created,
            digest=digest,
            bump=bump,
            reason=reason,
            gate=gate,
            by=by,
            location=location,
            state=state,
        )
        return made


class Versions(Sequence[Version], Shown):
    """The versions of one name, newest first."""

    def __init__(self, name: str, items: Sequence[Version]) -> None:
        self.name = name
        self._items = tuple(items)

    @overload
    def __getitem__(self, index: int) -> Version: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Version]: ...
    def __getitem__(self, index: int | slice) -> Version | Sequence[Version]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"<{len(self)} versions of {self.name}>"

    def marked(self, serving: str | None) -> Versions:
        """The same, with the one that answers now marked."""
        marks = [(item, item.version == serving) for item in self._items]
        return Versions(
            self.name, [item if item.serving == mark else replace(item, serving=mark) for item, mark in marks]
        )

    def to_dict(self) -> list[dict[str, Any]]:
        return [item.to_dict() for item in self._items]

    def card(self) -> Card:
        rows = [
            (item.version, item.status, item.created[:16].replace("T", " "), item.bump, item.reason, item.gate, item.by)
            for item in self._items
        ]
        headers = ("version", "", "created (UTC)", "bump", "reason", "gate", "by")
        return Card(
            title=self.name,
            status=f"{len(self)} version{'' if len(self) == 1 else 's'}",
            tables=(Table(headers, rows),),
        )


@dataclass(frozen=True)
class VersionDetails(Shown):
    """Everything known of one version."""

    version: Version
    manifest: Manifest
    events: tuple[Event, ...]
    report: Any = None  # of the last judgement: its dictionary; where the gate was skipped, the reason

    def to_dict(self) -> dict[str, Any]:
        raw = self.manifest.to_dict()
        return {
            **self.version.to_dict(),
            "schema": raw["schema"],
            "methods": list(raw["methods"]),
            "requirements": list(raw["environment"].get("requirements", ())),
            "metrics": raw["metrics"],
            "provenance": raw["provenance"],
            "report": self.report,
            "events": [event.to_dict() for event in self.events],
        }

    def card(self) -> Card:
        card = self.version.card()
        manifest = self.manifest
        facts = (
            *card.facts,
            ("model", manifest.model.get("class")),
            ("methods", ", ".join(method.name for method in manifest.methods)),
            ("requirements", f"{len(manifest.environment.get('requirements', ()))} pinned packages"),
            *self._judged(),
        )
        columns = [(c.name, c.kind, c.dtype, "yes" if c.nullable else "no") for c in manifest.schema.columns]
        events = [(event.time[:19].replace("T", " "), event.kind, event.user) for event in self.events]
        tables = (
            Table(("column", "kind", "dtype", "null"), columns, empty="the input has no columns"),
            *_measured(manifest.metrics.get("training")),
            Table(("time (UTC)", "event", "by"), events),
        )
        notes: list[tuple[Tone, str]] = [("warning", text) for text in manifest.warnings]
        return replace(card, facts=facts, tables=tables, notes=notes)

    def _judged(self) -> Iterator[tuple[str, str]]:
        """Why the gate was skipped, and where the report lies."""
        for event in self.events:
            if event.kind == "gate skipped":
                yield "gate skipped", f"{event.detail.get('reason')} ({event.user})"
        if isinstance(self.report, dict):
            yield "report", f"{self.report.get('verdict')}: {self.report.get('html')}"


def _measured(training: Any) -> tuple[Table, ...]:
    """The training metrics, and why there are none."""
    if not training:
        return ()
    rows = [(name, figures(value, 4)) for name, value in training.get("values", {}).items()]
    missing = training.get("not_computable", {}).items()
    rows += [("none" if name == "all" else name, f"not computable: {reason}") for name, reason in missing]
    return (Table(("training metric", "on the sample itself: no verdict"), rows, empty="no training metrics"),)
