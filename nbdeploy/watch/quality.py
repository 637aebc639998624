"""`Quality`: what is wrong with the rows themselves, in counts, beside what training had."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from nbdeploy.capture.counts import Bins, Counts, Tally
from nbdeploy.render import Card, Shown, Table
from nbdeploy.render.plain import counted, percent
from nbdeploy.watch.computable import NotComputable, plain
from nbdeploy.watch.shift import is_constant, outside

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbdeploy.capture.profile import Profile
    from nbdeploy.watch.window import Window

NOT_COUNTED = NotComputable("nobody counted them")
HEADERS = (
    "column",
    "rows",
    "missing",
    "in training",
    "another type",
    "below",
    "above",
    "unseen",
    "constant",
    "refused",
)


@dataclass(frozen=True)
class ColumnQuality:
    """Counts of rows. `trained_missing` is the share in training; `below` and `above` its range; `unseen`: values it never
    had, None where its list of values was cut. `constant`: one value only, where training had several. `refused`: requests
    whose rows were refused for this column, so that none of them was answered.
    """

    name: str
    rows: int
    missing: int = 0
    trained_missing: float = 0.0
    odd: int = 0
    below: int = 0
    above: int = 0
    unseen: int | None = 0
    constant: bool = False
    refused: int = 0

    @property
    def wrong(self) -> int:
        """Rows that training would not lead one to expect; missing ones where it had none."""
        missing = self.missing if not self.trained_missing else 0
        return missing + self.odd + self.below + self.above + (self.unseen or 0)


@dataclass(frozen=True)
class Quality(Shown):
    """`duplicates` are rows that came before in their window, or why nobody can count them."""

    rows: int
    columns: tuple[ColumnQuality, ...]
    duplicates: int | NotComputable = NOT_COUNTED

    def __getitem__(self, name: str) -> ColumnQuality:
        return next(column for column in self.columns if column.name == name)

    def to_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "duplicates": plain(self.duplicates),
            "columns": [asdict(column) for column in self.columns],
        }

    def card(self) -> Card:
        wrong = [column for column in self.columns if column.wrong or column.constant or column.refused]
        return Card(
            title="data quality",
            status=f"{counted(len(wrong), 'column')} to look at" if wrong else "as in training",
            tone="warning" if wrong else "good",
            facts=(("rows", self.rows), ("duplicates", _number(self.duplicates))),
            tables=(Table(HEADERS, [_line(column) for column in self.columns]),),
        )


def quality(
    reference: Profile,
    window: Window,
    *,
    refused: Mapping[str, int] | None = None,
    duplicates: int | NotComputable = NOT_COUNTED,
) -> Quality:
    columns = tuple(
        replace(_column(name, trained, window.profile.columns.get(name)), refused=(refused or {}).get(name, 0))
        for name, trained in reference.columns.items()
    )
    return Quality(window.profile.rows, columns, duplicates)


def _column(name: str, trained: Counts, served: Counts | None) -> ColumnQuality:
    if served is None or not served.total:
        return ColumnQuality(name, 0)
    share = trained.missing / trained.total if trained.total else 0.0
    shared: dict[str, Any] = {
        "name": name,
        "rows": served.total,
        "missing": served.missing,
        "trained_missing": share,
        "constant": trained.kind != "text"
        and is_constant(served)
        and not is_constant(trained)
        and sum(served.counts) > 1,
    }
    if isinstance(trained, Bins) and isinstance(served, Bins):
        moving = trained.kind == "datetime" or trained.edges != served.edges or not sum(trained.counts)
        below, above = (0, 0) if moving else outside(trained, served)
        return ColumnQuality(**shared, odd=served.odd, below=below, above=above)
    unseen = served.other if isinstance(served, Tally) else 0
    return ColumnQuality(**shared, unseen=None if isinstance(trained, Tally) and trained.other else unseen)


def _number(value: int | NotComputable) -> int | str:
    return str(value) if isinstance(value, NotComputable) else value


def _line(column: ColumnQuality) -> tuple[Any, ...]:
    return (
        column.name,
        column.rows,
        column.missing,
        percent(column.trained_missing, 1),
        column.odd,
        column.below,
        column.above,
        column.unseen,
        "constant" if column.constant else None,
        column.refused,
    )
