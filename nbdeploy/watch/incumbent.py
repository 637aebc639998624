"""`Incumbent`: the live version: since when, what a rollback would bring, and how its requests fare beside those before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.keep.event import MOVES
from nbdeploy.watch.tenure import moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import pandas as pd

    from nbdeploy.keep.event import Event

UNFIT = 422  # the rows are not what the version takes; other refusals are not its own
FEWEST = 3  # requests that make "all of them" worth saying
ENOUGH = 20  # requests of which a share can be held against another
ALL, MANY, JUMP = 0.9, 0.3, 3.0  # shares that are refused, and how many times that of the version before


@dataclass(frozen=True)
class Incumbent:
    """`back` is the version that a rollback serves. `refused` of `requests` since it went live did not fit it, mostly with
    `code`; `before` is the same share of the version live before, None where that had too few requests.
    """

    version: str
    since: datetime
    back: str | None = None
    requests: int = 0
    refused: int = 0
    code: str = ""
    before: float | None = None

    @property
    def refuses(self) -> bool:
        """Whether it refuses nearly everybody, or many more than were refused before."""
        share = self.refused / self.requests if self.requests else 0.0
        if share >= ALL:
            return self.refused >= FEWEST
        return self.before is not None and self.requests >= ENOUGH and share >= max(MANY, JUMP * self.before)

    def to_dict(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "since": self.since.isoformat(),
            "back": self.back,
            "requests": self.requests,
            "refused": self.refused,
            "code": self.code,
            "before": self.before,
        }


def incumbent(events: Sequence[Event], back: str | None, requests: pd.DataFrame | None) -> Incumbent | None:
    """Of all events of a name, in their order; None where nothing is live."""
    moves = [event for event in events if event.kind in MOVES]
    if not moves or moves[-1].kind == "taken down" or moves[-1].version is None:
        return None
    version, since = moves[-1].version, moment(moves[-1])
    if requests is None:
        return Incumbent(version, since, back)
    own = requests[(requests["version"] == version) & (requests["time"] >= since)]
    unfit = own[own["status"] == UNFIT]
    codes = unfit["code"].dropna().value_counts()
    earlier = requests[(requests["version"] != version) & (requests["time"] < since)]
    earlier = earlier[earlier["version"] == earlier["version"].iloc[-1]] if len(earlier) else earlier
    before = float((earlier["status"] == UNFIT).mean()) if len(earlier) >= ENOUGH else None
    code = str(codes.index[0]) if len(codes) else ""
    return Incumbent(version, since, back, len(own), len(unfit), code, before)
