"""`Received`: what became of labels that were given."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.render import Card, Shown
from nbdeploy.render.plain import counted, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbdeploy.render import Tone


@dataclass(frozen=True)
class Received(Shown):
    """`given` came, `kept` of them said something new. `matched`: rows they are the labels of. For the other counts see
    `Joined`; repeated and corrections are also of labels that came before. `rows` were answered, `labelled` of them have a
    label by now.
    """

    name: str
    on: str
    given: int
    kept: int
    matched: int
    repeated: int
    corrections: int
    unknown: int
    surplus: int
    unplaced: int
    unkept: int
    refused: int
    rowless: int
    unjudged: int
    shared: int
    empty: int
    rows: int
    labelled: int
    earlier_unknown: int = 0  # of those that came before, over HTTP also: of no request in the log
    earlier_surplus: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def coverage(self) -> float:
        return self.labelled / self.rows if self.rows else 0.0

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "coverage": self.coverage, "warnings": [*self._untold(), *self.warnings]}

    def card(self) -> Card:
        notes: list[tuple[Tone, str]] = [("warning", text) for text in (*self._untold(), *self.warnings)]
        counts = {
            "labels given": self.given,
            "rows they belong to": self.matched,
            "not known yet": self.empty,
            "as before": self.repeated,
            "corrections": self.corrections,
        }
        always = {"labels given", "rows they belong to"}
        facts = [(label, f"{count:,}") for label, count in counts.items() if count or label in always]
        covered = f"{self.labelled:,} of {counted(self.rows, 'row')} {'has' if self.labelled == 1 else 'have'} a label ({share(self.coverage)})"
        return Card(
            f"labels of {self.name}",
            "warning" if notes else "good",
            facts=(*facts, ("coverage", covered)),
            notes=tuple(notes),
        )

    def _untold(self) -> Iterator[str]:
        """What found no row, and why."""
        what = "request" if self.on == "request_id" else self.on
        if self.unknown:
            kept = "It is kept, and counts" if self.unknown == 1 else "They are kept, and count"
            yield f"{_labels(self.unknown)} of no {what} in the log. {kept} for nothing."
        if self.earlier_unknown:
            yield f"Of labels that came before, {_labels(self.earlier_unknown)} of no request in the log."
        if self.earlier_surplus:
            yield f"Of labels that came before, {_labels(self.earlier_surplus)} of a row that its request does not have."
        yield from self._bare()
        if self.surplus:
            yield f"{_labels(self.surplus)} of a row that its request does not have; rows are counted from 0."
        if self.unplaced:
            yield (
                f"{_labels(self.unplaced)} of a request of several rows and do not say which: add a column "
                '"row", 0 for the first.'
            )
        if self.shared:
            yield f"{self.shared:,} rows have their {what} in common with another row, and so its label."

    def _bare(self) -> Iterator[str]:
        """Of requests without rows in the log."""
        if self.unkept:
            yield f"{_labels(self.unkept)} of a request whose rows the log's policy did not keep."
        if self.refused:
            yield f"{_labels(self.refused)} of a request that was refused or failed: nothing was answered there."
        if self.rowless:
            yield f"{_labels(self.rowless)} of a request that had no rows."
        if self.unjudged:
            yield f"{_labels(self.unjudged)} of a request to another method than predict and predict_proba."


def share(value: float) -> str:
    """A percentage that is 0 or 100 only where it is exact."""
    return percent(value, 2 if 0 < value < 0.01 or 0.99 < value < 1 else 0)


def _labels(count: int) -> str:
    return "1 label is" if count == 1 else f"{count:,} labels are"
