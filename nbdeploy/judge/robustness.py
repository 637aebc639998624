"""Does the service keep what its schema promises, on these rows: missing values, unseen ones, columns and rows in any order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.judge.importance import columns_of, replaced
from nbdeploy.runtime.comparison import same, tolerance_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nbdeploy.judge.served import Answers, Served
    from nbdeploy.runtime.manifest import Column

ROWS = 20  # a case is tried on so many
MOST_COLUMNS = 50
UNSEEN = "a value nobody has seen"
SAME = "the same answer"


@dataclass(frozen=True)
class Case:
    """`changed` of `rows` got another answer than untouched; `told` says how the promise was broken, "" where it was kept."""

    name: str
    promised: str  # "the same answer", "an answer", "a refusal that names the column"
    rows: int
    changed: int
    told: str = ""

    @property
    def kept(self) -> bool:
        return not self.told


def cases(served: Served, method: str, rows: Sequence[Any]) -> list[Case]:
    """`rows` are answered ones."""
    rows = list(rows[:ROWS])
    before = served.answers(method, rows)
    tried = _Tried(served, method, rows, before.values)
    return [*tried.orders(), *tried.missing(), *tried.unseen()]


@dataclass(frozen=True)
class _Tried:
    served: Served
    method: str
    rows: list[Any]
    before: list[Any]

    def orders(self) -> Iterator[Case]:
        """Nothing of this may matter, unless the model itself says that a row is not answered for itself or the same twice."""
        facts = self.served.methods[self.method]
        if not facts.deterministic:
            return
        if self.served.keyed:
            turned = [dict(reversed(row.items())) for row in self.rows]
            yield self._same("columns in another order", self.served.answers(self.method, turned).values)
        if facts.rowwise:
            backwards = self.served.answers(self.method, self.rows[::-1]).values[::-1]
            yield self._same("rows in another order", backwards)
            alone = [self.served.answers(self.method, [row]).values[0] for row in self.rows]
            yield self._same("one row at a time", alone)

    def missing(self) -> Iterator[Case]:
        for name, column in self._columns():
            yield self._promise(f"{name} missing", name, None, accepted=column.nullable)

    def unseen(self) -> Iterator[Case]:
        for name, column in self._columns():
            texts = column.categories is not None and all(isinstance(value, str) for value in column.categories)
            if texts:
                yield self._promise(f"{name} unseen", name, UNSEEN, accepted=column.unseen)

    def _columns(self) -> Iterator[tuple[Any, Column]]:
        schema = self.served.schema
        known = {column.name: column for column in schema.columns}
        for name in columns_of(self.served, self.rows)[:MOST_COLUMNS]:
            yield name, known.get(str(name), schema.columns[0])

    def _promise(self, case: str, name: Any, value: Any, *, accepted: bool) -> Case:
        found = self.served.answers(self.method, [replaced(row, name, value) for row in self.rows])
        if accepted:
            told = _first(found) if found.refused else ""
            return Case(case, "an answer", len(self.rows), self._changed(found), told)
        answered = len(found.places)
        unnamed = [told for told in found.refused.values() if str(name) not in told and self.served.keyed]
        told = f"{answered} rows were answered" if answered else unnamed[0] if unnamed else ""
        return Case(case, "a refusal that names the column", len(self.rows), 0, told)

    def _same(self, name: str, values: Sequence[Any]) -> Case:
        output = self.served.methods[self.method].output
        tolerance = tolerance_of(output)
        changed = sum(not same(one, other, tolerance) for one, other in zip(self.before, values, strict=True))
        told = f"{changed} of {len(self.rows)} rows got another answer" if changed else ""
        return Case(name, SAME, len(self.rows), changed, told)

    def _changed(self, found: Answers) -> int:
        return sum(self.before[place] != found.values[place] for place in found.places)


def _first(found: Answers) -> str:
    return f"{len(found.refused)} rows were refused: {next(iter(found.refused.values()))}"
