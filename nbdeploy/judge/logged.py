"""Which requests of the prediction log are replayed: a time span, evenly thinned; and what becomes of the others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nbdeploy.errors import Refused
from nbdeploy.spans import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta

    from nbdeploy.run.predictions import Predictions, Record

LIMIT = 10_000  # requests


@dataclass(frozen=True)
class Selection:
    """The log read twice: counted, then thinned. `refused` counts by code those whose rows were never kept; `unsampled`
    were answered, and their rows not kept either; `changed` counts by column and policy those whose rows are not what was
    asked any more.
    """

    log: Predictions
    since: datetime | None
    limit: int
    answered: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unsampled: int = 0
    changed: Counter[str] = field(default_factory=Counter)
    first: datetime | None = None
    last: datetime | None = None

    @classmethod
    def of(cls, name: str, log: Predictions, last: timedelta | None, limit: int) -> Selection:
        """Raises Refused where there is nothing to replay."""
        since = None if last is None else datetime.now(UTC) - last
        found = cls(log, since, limit)
        answered = unsampled = 0
        times: list[datetime] = []
        for record in _within(log, since):
            if _askable(record):
                answered += 1
                times = [min([record.time, *times]), max([record.time, *times])]
            elif record.rows and record.changed:
                found.changed[_told(record.changed)] += 1
            elif record.count:
                unsampled += 1
            elif record.status != 200:
                found.refused[record.code or str(record.status)] += 1
        found = replace(found, answered=answered, unsampled=unsampled)
        if not answered:
            raise Refused(_nothing(name, found, last))
        return replace(found, first=times[0], last=times[1])

    @property
    def taken(self) -> int:
        return min(self.answered, self.limit)

    def __iter__(self) -> Iterator[Record]:
        """`limit` requests spread evenly over the log; those logged since it was counted are left out."""
        askable = filter(_askable, _within(self.log, self.since))
        for number, record in zip(range(self.answered), askable, strict=False):
            if (number + 1) * self.taken // self.answered > number * self.taken // self.answered:
                yield record


def _askable(record: Record) -> bool:
    return bool(record.rows) and len(record.rows) == len(record.predictions) and not record.changed


def _told(changed: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {word}" for name, word in changed.items())


def _within(log: Predictions, since: datetime | None) -> Iterator[Record]:
    return (record for record in log if since is None or record.time >= since)


def _nothing(name: str, found: Selection, last: timedelta | None) -> str:
    when = "" if last is None else f" of the last {shown(last)}"
    log, refused = found.log, found.refused.total()
    if found.changed:
        policy = next(iter(found.changed))
        return (
            f"The prediction log of {name}{when} holds {found.changed.total()} answered requests, and of none the rows as they "
            f"were asked: its policy keeps less of them ({policy}). Only whole rows can be asked again: let "
            "[log] of the settings say keep for these columns, serve it again, and replay what is asked from then on."
        )
    if found.unsampled:
        return (
            f"The prediction log of {name}{when} holds {found.unsampled} answered requests, and of none the rows: its sample "
            "leaves them out. A larger sample in [log] of the settings keeps some."
        )
    if refused:
        return (
            f"The prediction log of {name}{when} holds {refused} refused requests and none that was answered, and only "
            "answers can be compared."
        )
    more = "" if last is None else "; give a longer --last, or leave it out"
    return f"The prediction log of {name} ({log.folder}) holds no requests{when}: there is nothing to replay{more or ' yet'}."
