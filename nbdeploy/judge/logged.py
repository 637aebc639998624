"""Which requests of the prediction log are replayed: a time span, evenly thinned; and what becomes of the others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nbdeploy.errors import Refused
from nbdeploy.spans import span as span  # noqa: PLC0414 - where it was before

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from nbdeploy.run.predictions import Predictions, Record

LIMIT = 10_000  # requests


@dataclass(frozen=True)
class Selection:
    """The log read twice: counted, then thinned. `refused` counts by code those whose rows were never kept."""

    log: Predictions
    since: datetime | None
    limit: int
    answered: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    first: datetime | None = None
    last: datetime | None = None

    @classmethod
    def of(cls, name: str, log: Predictions, last: timedelta | None, limit: int) -> Selection:
        """Raises Refused where there is nothing to replay."""
        since = None if last is None else datetime.now(UTC) - last
        answered, refused = 0, Counter[str]()
        times: list[datetime] = []
        for record in _within(log, since):
            if record.rows and len(record.rows) == len(record.predictions):
                answered += 1
                times = [min([record.time, *times]), max([record.time, *times])]
            elif record.status != 200:
                refused[record.code or str(record.status)] += 1
        if not answered:
            raise Refused(_nothing(name, log, last, sum(refused.values())))
        return cls(log, since, limit, answered, refused, *times)

    @property
    def taken(self) -> int:
        return min(self.answered, self.limit)

    def __iter__(self) -> Iterator[Record]:
        """`limit` requests spread evenly over the log; those logged since it was counted are left out."""
        answered = (record for record in _within(self.log, self.since) if record.rows and record.predictions)
        paired = (record for record in answered if len(record.rows) == len(record.predictions))
        for number, record in zip(range(self.answered), paired, strict=False):
            if (number + 1) * self.taken // self.answered > number * self.taken // self.answered:
                yield record


def _within(log: Predictions, since: datetime | None) -> Iterator[Record]:
    return (record for record in log if since is None or record.time >= since)


def _nothing(name: str, log: Predictions, last: timedelta | None, refused: int) -> str:
    when = "" if last is None else f" of the last {last}"
    if refused:
        return (
            f"The prediction log of {name}{when} holds {refused} refused requests and none that was answered, and only "
            "answers can be compared."
        )
    more = "" if last is None else "; give a longer --last, or leave it out"
    return f"The prediction log of {name} ({log.folder}) holds no requests{when}: there is nothing to replay{more or ' yet'}."
