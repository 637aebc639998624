"""What a prediction log holds, at a glance: counts, and the last rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbdeploy.render import Card, Table
from nbdeploy.render.plain import counted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import pandas as pd

    from nbdeploy.render import Tone
    from nbdeploy.run.predictions import Predictions

ROWS = 10  # shown of the last
WIDE = 5  # input columns shown beside the prediction
SCORES = 3  # of a row's probabilities, the highest
COUNTED = ("time", "row", "version", "status", "code", "rows")


@dataclass
class Glance:
    """`unsampled` requests were answered, and their rows not kept. `codes` are of those that were refused."""

    name: str
    requests: int = 0
    rows: int = 0
    unsampled: int = 0
    first: datetime | None = None
    last: datetime | None = None
    versions: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    torn: int = 0
    damaged: int = 0
    bytes: int = 0
    policies: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    latest: pd.DataFrame | None = None

    @classmethod
    def of(cls, log: Predictions) -> Glance:
        found = cls(log.folder.parent.name)
        for part in log.parts(COUNTED, requests=True):
            found._count(part)
        found.torn, found.damaged = log.torn, log.damaged
        found.bytes = log.size()
        found.policies = log.policies()
        found.latest = log.tail(ROWS)
        return found

    def _count(self, part: pd.DataFrame) -> None:
        if not len(part):
            return
        answered = part["status"] == 200
        self.requests += len(part)
        self.rows += int(part["rows"][answered].sum())
        self.unsampled += int((answered & part["row"].isna() & (part["rows"] > 0)).sum())
        first, last = part["time"].min().to_pydatetime(), part["time"].max().to_pydatetime()
        self.first = first if self.first is None else min(first, self.first)
        self.last = last if self.last is None else max(last, self.last)
        self.versions.update(_counted(part["version"]))
        self.codes.update(_counted(part["code"][~answered]))

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "requests": self.requests,
            "answered": self.requests - self.codes.total(),
            "refused": dict(self.codes),
            "rows": self.rows,
            "not_sampled": self.unsampled,
            "first": _iso(self.first),
            "last": _iso(self.last),
            "versions": dict(self.versions),
            "policy": {schema: dict(words) for schema, words in self.policies.items()},
            "torn": self.torn,
            "damaged": self.damaged,
            "bytes": self.bytes,
            "last_rows": self._last_rows(),
        }

    def _last_rows(self) -> list[dict[str, Any]]:
        if self.latest is None:
            return []
        latest = self.latest.assign(row=self.latest["row"].astype("Int64")).astype(object)
        rows: Any = latest.where(latest.notna(), None).to_dict("records")
        return [{**row, "time": _iso(row["time"])} for row in rows]

    def card(self) -> Card:
        if not self.requests:
            why = "nothing logged: neither an answer nor a refusal in this time"
            return Card(self.name, status=why, notes=self._notes())
        refused = ", ".join(f"{count:,} {code}" for code, count in self.codes.most_common())
        facts: list[tuple[str, Any]] = [
            ("requests", f"{self.requests:,}" + (f", refused: {refused}" if refused else "")),
            ("rows", f"{self.rows:,}"),
            ("time", f"{_iso(self.first)} to {_iso(self.last)}"),
            ("versions", ", ".join(f"{version} ({count:,})" for version, count in self.versions.most_common(5))),
        ]
        return Card(self.name, "good", "prediction log", facts=facts, tables=self._tables(), notes=self._notes())

    def _tables(self) -> tuple[Table, ...]:
        rows = self._last_rows()
        names = list(dict.fromkeys(name for row in rows for name in row if name.startswith(("input", "key."))))[:WIDE]
        headers = ("time", "version", *(name.removeprefix("input.") for name in names), "prediction")
        lines = [
            (row["time"], row["version"], *(_shown(row.get(name)) for name in names), _answer(row)) for row in rows
        ]
        return (Table(headers, lines),)

    def _notes(self) -> tuple[tuple[Tone, str], ...]:
        notes: list[tuple[Tone, str]] = []
        for words in self.policies.values():
            told = ", ".join(f"{name} ({word})" for name, word in words.items())
            if told:
                notes.append(
                    ("neutral", f"not kept as they came, in all or part of this time, by the log's policy: {told}")
                )
        if self.unsampled:
            notes.append(
                (
                    "neutral",
                    f"of {counted(self.unsampled, 'request')} no rows were kept: {'it was' if self.unsampled == 1 else 'they were'} not sampled",
                )
            )
        if self.torn or self.damaged:
            notes.append(("warning", f"{self.damaged} damaged and {self.torn} torn records were passed over"))
        if self.requests:
            notes.append(("neutral", "all of it: .frame(), .requests(), .batches(); --parquet DIR writes files"))
        return tuple(dict.fromkeys(notes))


def _counted(values: pd.Series[Any]) -> dict[str, int]:
    return {str(value): int(count) for value, count in values.value_counts().items()}


def _shown(value: Any) -> Any:
    """Numbers by class the highest first, as many as a cell has room for."""
    if isinstance(value, dict) and value and all(isinstance(score, float) for score in value.values()):
        ranked = sorted(value.items(), key=lambda item: -item[1])
        told = ", ".join(f"{label} {score:.3g}" for label, score in ranked[:SCORES])
        return f"{told}, ..." if len(ranked) > SCORES else told
    return f"{value:.6g}" if isinstance(value, float) else value


def _answer(row: Mapping[str, Any]) -> Any:
    return _shown(row["prediction"]) if row["code"] is None else f"refused: {row['code']}"


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
