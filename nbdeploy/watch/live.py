"""`Live`: what the labels that came so far say of a service's answers, read from its log without holding it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdeploy import parquet
from nbdeploy.render import Card, Shown, Table
from nbdeploy.render.plain import percent
from nbdeploy.run.piece import NUMBER
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.labels import ANSWERS, REQUEST, Joined, Keys, column_of, join, number_of
from nbdeploy.watch.likeness import Likeness
from nbdeploy.watch.performance import Counted, Performance
from nbdeploy.watch.task import Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    import pandas as pd
    from numpy.typing import NDArray

    from nbdeploy.render import Tone
    from nbdeploy.run.piece import Piece
    from nbdeploy.watch.baseline import Baseline

FIXED = (REQUEST, "time", "row", "version", "method", "status", "rows", "prediction")
LEADING = {"classification": ("accuracy", "f1_macro", "roc_auc"), "regression": ("mae", "mse", "r2")}


@dataclass(frozen=True)
class Live(Shown):
    """`rows` were answered, `labelled` have a label by now. `versions` are over the whole time, `windows` by time and
    version, oldest first; both may have rows without a label. `labels` counts what came, see `Joined`; those for rows
    outside the time that was looked at are among the `unknown`.
    """

    task: str
    rows: int
    labelled: int
    versions: tuple[Performance, ...]
    windows: tuple[Performance, ...]
    labels: Mapping[str, int]
    warnings: tuple[str, ...] = ()

    @property
    def coverage(self) -> float:
        return self.labelled / self.rows if self.rows else 0.0

    def to_dict(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "rows": self.rows,
            "labelled": self.labelled,
            "coverage": self.coverage,
            "versions": [one.to_dict() for one in self.versions],
            "windows": [one.to_dict() for one in self.windows],
            "labels": dict(self.labels),
            "warnings": list(self.warnings),
        }

    def card(self) -> Card:
        names = list(dict.fromkeys(name for one in self.versions for name in one.metrics))
        metrics = Table(
            ("metric", *(one.version for one in self.versions)),
            [(name, *(_said(one.metrics.get(name)) for one in self.versions)) for name in names],
            empty="no row has a label yet",
        )
        tables = (metrics, self._windows()) if self.windows else (metrics,)
        notes: list[tuple[Tone, str]] = [("warning", text) for text in self.warnings]
        facts = (("rows", self.rows), ("labelled", f"{self.labelled} ({percent(self.coverage, 0)})"))
        return Card("live metrics", facts=facts, tables=tables, notes=tuple(notes))

    def _windows(self) -> Table:
        leading = LEADING.get(self.task, ())
        headers = ("from", "version", "rows", "labelled", *leading)
        return Table(headers, [_line(one, leading) for one in self.windows])


class Log:
    """The log as its pieces pass by: rows counted by window, and kept only where their request has labels. Memory grows
    with the labels, not with the log.

    `every`: windows of that length, from multiples of it since 1970. `baselines`: by version, over whose bins the
    labelled part is compared with the rest.
    """

    def __init__(
        self,
        labels: pd.DataFrame,
        every: timedelta | None = None,
        baselines: Mapping[str, Baseline] | None = None,
        tasks: Mapping[str, Task] | None = None,
    ) -> None:
        self.labels = labels
        self.tasks = tasks or {}  # by version, as far as they are known
        self.every = every
        self.counted = Counted()
        self.rows = 0
        self._ways = {str(way): Ids.of(part["id"]) for way, part in labels.groupby("on", sort=False)}
        self._values = Values.of(labels)
        self._likeness = Likeness(baselines or {})
        self._kept: list[pd.DataFrame] = []

    @property
    def columns(self) -> list[str]:
        """What is read of the log."""
        return [*FIXED, *(column_of(way) for way in self._ways if way != REQUEST)]

    def read(self, piece: Piece) -> None:
        """Of its inputs only those of the rows that are compared."""
        for batch in piece.batches([*self.columns, NUMBER]):
            answered, labelled = self.add(batch)
            self._likeness.add(piece, batch.loc[answered, [NUMBER, "version"]], labelled[answered])

    def add(self, batch: pd.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which of its lines are answers a label can be held against, and which have one by now."""
        judged = (batch["method"].isin(ANSWERS) & (batch["status"] == 200)).to_numpy()
        self._keep_bare(batch[~judged])
        answered = judged & batch["row"].notna().to_numpy()
        rows = batch if answered.all() else batch[answered]
        self.rows += len(rows)
        self.counted.add(rows, self.every)
        near = np.flatnonzero(judged & self._labelled(batch))
        self._kept.append(batch.iloc[near][self.columns])
        near = near[answered[near]]
        labelled = np.zeros(len(batch), dtype=bool)
        labelled[near] = self._values.among(batch.iloc[near])
        return answered, labelled

    def live(self, task: str, *, classes: Sequence[Any] = ()) -> Live:
        """What has passed by. `task` (classification | regression) and `classes` are those of versions whose own are not known.

        Raises:
            WrongUse: another task.
        """
        joined = self.joined
        labelled, every = joined.labelled, self.every
        own = Task(task, tuple(classes))
        versions = self.counted.performances(labelled, own, self.tasks)
        windows = self.counted.performances(labelled, own, self.tasks, every=every) if every else []
        return Live(
            task=task,
            rows=self.rows,
            labelled=len(labelled),
            versions=tuple(versions),
            windows=tuple(windows),
            labels=joined.counts,
            warnings=tuple(self.warnings()),
        )

    @cached_property
    def joined(self) -> Joined:
        """Of all that has passed by."""
        return join(self.kept(), self.labels)

    def kept(self) -> pd.DataFrame:
        """The rows that may have a label, without their input."""
        import pandas as pd

        found = [part for part in self._kept if len(part)]
        return parquet.joined(found) if found else pd.DataFrame(columns=self.columns)

    def warnings(self) -> list[str]:
        """Where the labelled rows are unlike the rest."""
        return self._likeness.warnings()

    def _keep_bare(self, batch: pd.DataFrame) -> None:
        """Requests that no label can be held against, to tell why where one came."""
        ids = self._ways.get(REQUEST)
        if ids is None or not len(batch):
            return
        there = ids.among(Keys.of(batch[REQUEST]))
        self._kept.append(batch.loc[there, self.columns].drop_duplicates(REQUEST).assign(row=float("nan")))

    def _labelled(self, batch: pd.DataFrame) -> NDArray[np.bool_]:
        """Rows of a request that has a label, or with a key that has."""
        found = np.zeros(len(batch), dtype=bool)
        for way, ids in self._ways.items():
            found |= ids.among(Keys.of(batch[column_of(way)]))
        return found


@dataclass(frozen=True)
class Ids:
    """The ids that labels came for, as texts, and those of them that are numbers as the log writes them."""

    texts: frozenset[str]
    numbers: frozenset[str]

    @classmethod
    def of(cls, ids: pd.Series[Any]) -> Ids:
        texts = frozenset(name for name in Keys.of(ids).texts if name is not None)
        return cls(texts, frozenset(number for name in texts if (number := number_of(name)) is not None))

    def among(self, keys: Keys) -> Any:
        import pandas as pd

        own = pd.Series(keys.texts, dtype=object)
        found = own.isin(self.texts).to_numpy()
        return found | (keys.numbers & own.isin(self.numbers).to_numpy()) if keys.numbers.any() else found


@dataclass(frozen=True)
class Values:
    """Which rows have a label with a value: all with a key, the only one of a request, one `row` of several."""

    ways: Mapping[str, Ids]
    placed: pd.MultiIndex

    @classmethod
    def of(cls, labels: pd.DataFrame) -> Values:
        import pandas as pd

        valued = labels[labels["label"].notna()]
        requests = valued["on"] == REQUEST
        ways = valued[~requests | valued["row"].isna() | (valued["row"] == 0)].groupby("on", sort=False)
        placed = valued[requests & valued["row"].notna()]
        index = pd.MultiIndex.from_arrays([Keys.of(placed["id"]).texts, placed["row"].astype(int)])
        return cls({str(way): Ids.of(part["id"]) for way, part in ways}, index.unique())

    def among(self, rows: pd.DataFrame) -> NDArray[np.bool_]:
        import pandas as pd

        found = np.zeros(len(rows), dtype=bool)
        several = rows["rows"].to_numpy() > 1
        for way, ids in self.ways.items():
            own = ids.among(Keys.of(rows[column_of(way)]))
            found |= own & ~several if way == REQUEST else own
        if several.any() and len(self.placed):
            asked = pd.MultiIndex.from_arrays([rows[REQUEST], rows["row"].astype(int)])
            found |= self.placed.get_indexer(asked) >= 0
        return found


def _said(metric: Any) -> str:
    return "-" if metric is None else str(metric)


def _line(one: Performance, leading: Sequence[str]) -> tuple[Any, ...]:
    began = f"{one.began:%Y-%m-%d %H:%M}"
    cells = (None if isinstance(one.metrics.get(name), NotComputable) else one.metrics.get(name) for name in leading)
    return (began, one.version, one.rows, one.labelled, *cells)
