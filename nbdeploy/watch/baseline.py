"""`Baseline`: what the rows of a version are counted over, and what of its log that needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbdeploy.capture.counts import Bins
from nbdeploy.capture.profile import MOST_COLUMNS, Profile
from nbdeploy.runtime.manifest import KEYED
from nbdeploy.watch.computable import NotComputable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nbdeploy.capture.counts import Counts

PREDICTION = "prediction"
NEEDED = ("time", "row", "version", "method", PREDICTION)
INPUT = "input"


@dataclass(frozen=True)
class Baseline:
    """What the rows of a version are counted over. `called` says it in words; `columns` are those the version's rows have,
    in the schema's order.

    `labels` are the classes of `predict_proba`, by the texts that stand for them in answers; `policy` names the columns
    that the log does not keep as they came; `own` says whether the bins are those that its buckets were made of, `fitted`
    whether the profile is of rows that a model was fitted on.
    """

    version: str
    profile: Profile
    schema: str | None = None
    called: str = "training"
    container: str = "frame"
    columns: tuple[str, ...] | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, str] = field(default_factory=dict)
    own: bool = True
    fitted: bool = True

    @property
    def named(self) -> bool:
        """Whether its columns have names in the log."""
        return self.container in KEYED

    def parts(self) -> Iterator[tuple[str, Counts]]:
        """What is counted, by names that keep a column called prediction apart from what was answered."""
        for name, counts in self.profile.columns.items():
            yield part_of(name), counts
        if self.profile.predictions is not None:
            yield PREDICTION, self.profile.predictions

    def profiled(self, rows: int, counts: Mapping[str, Counts]) -> Profile:
        """What was counted of so many rows, by part."""
        own = self.profile
        return Profile(
            rows=rows,
            columns={name: counts.get(part_of(name)) or bins.counted([]) for name, bins in own.columns.items()},
            predictions=own.predictions and (counts.get(PREDICTION) or own.predictions.counted([])),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the rows, as far as any are profiled, and others that the profile has: what settings drop before a
        deploy is in no profile.
        """
        return tuple(dict.fromkeys([*(self.columns or ())[:MOST_COLUMNS], *self.profile.columns]))

    def broken(self) -> dict[str, NotComputable]:
        """The parts that cannot be counted, and why."""
        found = {part_of(name): self.lacking(name) for name in self.names}
        return {part: NotComputable(reason) for part, reason in found.items() if reason is not None}

    def lacking(self, name: str) -> str | None:
        """Why a column cannot be counted."""
        if self.columns is not None and name not in self.columns:
            return f"version {self.version} does not have it"
        if name in self.policy and not self.bucketed(name):
            return self._changed(name)
        return None if name in self.profile.columns else f"nothing of it is known from {self.called}"

    def has(self, name: str) -> bool:
        """Whether the log has anything of that column."""
        return (self.columns is None or name in self.columns) and self.policy.get(name) != "drop"

    @property
    def blurred(self) -> NotComputable | None:
        """Why rows may look alike here that were not."""
        kept = [name for name in self.names if self.policy.get(name) not in {"drop", "bucket"}]
        reasons = {name: self._changed(name) for name in self.names if name not in kept}
        reasons |= {name: "not compared" for name in kept if name not in self.profile.columns}
        if not reasons:
            return None
        name, reason = next(iter(reasons.items()))
        more = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        return NotComputable(f"rows cannot be told apart: {name} is {reason}{more}")

    def _changed(self, name: str) -> str:
        word = {"drop": "dropped", "hash": "hashed", "bucket": "rounded"}.get(self.policy[name], self.policy[name])
        return f"{word} by the log's policy"

    def bucketed(self, name: str) -> bool:
        """Whether the log has the lower edge of a value's own bin: counted over these bins it is what the value would be."""
        counts = self.profile.columns.get(name)
        return self.own and self.policy.get(name) == "bucket" and isinstance(counts, Bins) and counts.kind == "number"


def columns_of(baselines: Iterable[Baseline]) -> list[str]:
    """What of the log is read for them."""
    found = dict.fromkeys(NEEDED)
    for one in baselines:
        found |= dict.fromkeys([part_of(name) for name in one.profile.columns] if one.named else [INPUT])
    return list(found)


def part_of(column: str) -> str:
    return f"{INPUT}.{column}"
