"""The sections of validate_unsupervised.ipynb: clusters, outliers, transformed rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.judge import importance, intervals, plots
from nbdeploy.judge.estimate import Estimate
from nbdeploy.judge.evaluation import Evaluation, Judged, title
from nbdeploy.judge.records import expect, note
from nbdeploy.judge.scores import coded, computed
from nbdeploy.judge.section import Section, number, span
from nbdeploy.render import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbdeploy.judge.challenge import Sampling
    from nbdeploy.judge.examples import Examples
    from nbdeploy.judge.intervals import Drawn, Weights
    from nbdeploy.judge.served import Served

GROUPING = ("predict", "fit_predict")
MOST_ROWS = 2_000  # distances grow with their square
SHUFFLES = 20
RESAMPLES = 100
MOST_CLUSTERS = 50  # more different answers are no clusters


@dataclass(frozen=True)
class Grouped:
    """`spread` holds the rows as points (standardised numbers, a column for each text), `groups` the place of each answer."""

    spread: Any
    groups: Any
    labels: tuple[Any, ...]
    names: tuple[str, ...] = ("silhouette", "calinski_harabasz", "davies_bouldin")

    def __len__(self) -> int:
        return len(self.groups)

    def at(self, places: Any) -> Grouped:
        return Grouped(self.spread[places], self.groups[places], self.labels)

    def values(self) -> dict[str, float]:
        from sklearn import metrics

        return {
            "silhouette": computed(lambda: metrics.silhouette_score(self.spread, self.groups)),
            "calinski_harabasz": computed(lambda: metrics.calinski_harabasz_score(self.spread, self.groups)),
            "davies_bouldin": computed(lambda: metrics.davies_bouldin_score(self.spread, self.groups)),
        }

    def drawn(self, weights: Weights) -> Drawn:
        """The silhouettes of the rows, weighted; the indices on rows drawn as often as their weights say."""
        import numpy as np
        from sklearn import metrics

        draws = weights.rows.shape[1]
        each = computed_rows(self)
        mean = each @ weights.rows / weights.rows.sum(axis=0) if each is not None else np.full(draws, np.nan)
        few = range(min(RESAMPLES, draws))
        taken = [_drawn_rows(weights.rows[:, draw]) for draw in few]
        found: Drawn = {"silhouette": mean}
        for name, index in (
            ("calinski_harabasz", metrics.calinski_harabasz_score),
            ("davies_bouldin", metrics.davies_bouldin_score),
        ):
            values = [computed(lambda: index(self.spread[rows], self.groups[rows])) for rows in taken]  # noqa: B023  # called at once
            found[name] = np.resize(values, draws)
        return found


def computed_rows(grouped: Grouped) -> Any:
    """The silhouette of each row, None where there is no second cluster."""
    import numpy as np
    from sklearn import metrics

    count = len(np.unique(grouped.groups))
    return metrics.silhouette_samples(grouped.spread, grouped.groups) if 2 <= count < len(grouped) else None


def _drawn_rows(weights: Any) -> Any:
    """Systematic resampling: each row as often as its share of the weight, rounded by one draw of place."""
    import numpy as np

    ends = np.cumsum(weights)
    return np.searchsorted(ends, (np.arange(len(weights)) + 0.5) / len(weights) * ends[-1])


class Unsupervised(Evaluation):
    """A model without labels: what it answers is looked at for itself."""

    labelled = False
    main = "silhouette"
    cost = "share of answers that change"
    shown = ("silhouette",)

    @property
    def method(self) -> str:
        return self.served.method(*GROUPING, "transform", *self.served.methods)

    @property
    def scored(self) -> Grouped:
        """The rows as points, with the group of each."""
        found = self.judged.scored
        assert isinstance(found, Grouped)  # noqa: S101  # what _judge below made
        return found

    def _judge(self, served: Served, rows: Examples) -> Judged:
        import numpy as np

        method = served.method(*GROUPING, "transform", *served.methods)
        said = served.answers(method, rows.rows)
        places = said.places
        values = [said.values[place] for place in places]
        single = method in GROUPING and not any(isinstance(value, list | dict) for value in values)
        labels, codes = coded((), values if single else [0] * len(values))
        return Judged(
            Grouped(points([rows.rows[place] for place in places]), codes.astype(np.intp), labels),
            places,
            dict(said.refused),
        )

    def _score(self, answers: Sequence[Any], places: Sequence[int]) -> float:
        """The share of rows that get the answer they get untouched."""
        position = {place: at for at, place in enumerate(self.judged.places)}
        own = [str(self.scored.labels[self.scored.groups[position[place]]]) for place in places]
        return sum(str(one) == other for one, other in zip(answers, own, strict=True)) / max(len(own), 1)

    @property
    def clustered(self) -> bool:
        """Whether the answers are groups."""
        return self.method in GROUPING and 1 <= len(self.scored.labels) <= MOST_CLUSTERS

    def clusters(self) -> Section:
        """How far apart the groups are, beside groups of the same sizes at random; and their sizes."""
        import numpy as np

        if not self.clustered:
            return Section("Clusters", status="the model answers with no groups")
        grouped = _thinned(self.scored, self.sampling.seed)
        found = _estimates(grouped, self.sampling)
        for name, estimate in found.items():
            note(name, estimate)
        counts = np.bincount(self.scored.groups, minlength=len(self.scored.labels))
        sizes = sorted(zip(map(str, self.scored.labels), counts.tolist(), strict=True), key=lambda size: -size[1])
        note("clusters", len(sizes))
        note("largest_cluster", float(counts.max() / counts.sum()))
        note("cluster_sizes", [{"cluster": label, "rows": count} for label, count in sizes])
        chance = _by_chance(grouped, self.sampling.seed)
        told = f"Groups of the same sizes at random reach a silhouette of at most {number(chance)} in {SHUFFLES} tries."
        value = found["silhouette"].value
        passed = value > chance
        if self.served.task == "clustering":  # rows of another kind of answer need not lie together
            expect("the groups are further apart than random ones", passed, f"silhouette {number(value)}. {told}")
        cells = [(title(name), number(it.value), span(it.low, it.high)) for name, it in found.items()]
        rows = [{"metric": name, "value": it.value, "low": it.low, "high": it.high} for name, it in found.items()]
        return Section(
            "Clusters",
            "good" if passed else "bad",
            f"{len(sizes)} groups of {int(counts.sum()):,} rows",
            tables=(Table(("metric", "value", self._percent), cells),),
            notes=[("good" if passed else "bad", told), ("neutral", "Distances are those of standardised columns.")],
            plots=(plots.groups(sizes[:20], f"Sizes of {len(sizes)} groups, the largest {sizes[0][1]} rows."),),
            rows=rows,
        )

    def importance(self, *, rows: int = importance.ROWS) -> Section:
        """The share of rows that are put into another group when a column is shuffled."""
        if not self.clustered:
            return Section("Importance of the columns", status="the model answers with no groups")
        return super().importance(rows=rows)

    def challenge(self) -> Section:
        """The groups of this version and of the live one, each by their distances."""
        if not self.clustered:
            return Section("Beside the live version", status="the model answers with no groups")
        return super().challenge()

    def outputs(self) -> Section:
        """Every method's answers: all there, of the promised shape, every number finite."""
        places = self.judged.places
        cells, fine = [], True
        for name, method in self.served.methods.items():
            said = self.served.answers(name, [self.examples.rows[place] for place in places])
            there = [said.values[place] for place in said.places]
            finite = sum(_finite(value) for value in there)
            shape = tuple(method.output.shape)
            whole = (
                all(_shape(value) == shape for value in there)
                if method.output.container in {"array", "sparse"}
                else True
            )
            complete = finite == len(there) == len(places) > 0 and whole
            fine = fine and complete
            cells.append(
                (
                    name,
                    "x".join(map(str, shape)) or "one value",
                    len(there),
                    len(there) - finite,
                    "as promised" if complete else "not as promised",
                )
            )
        expect(
            "every method answers every row with finite numbers of its shape",
            fine,
            "; ".join(f"{cell[0]} {cell[4]}" for cell in cells if cell[4] != "as promised"),
        )
        headers = ("method", "a row's answer", "rows", "rows with a number that is not finite", "")
        return Section(
            "Answers",
            "good" if fine else "bad",
            f"{len(cells)} methods",
            tables=(Table(headers, cells),),
            rows=[dict(zip(headers, cell, strict=True)) for cell in cells],
        )


def points(rows: Sequence[Any]) -> Any:
    """Rows as points: numbers standardised, missing ones at the mean; a column of 0 and 1 for each text of a column."""
    import numpy as np

    tables = [list(row.values()) if isinstance(row, dict) else np.ravel(row).tolist() for row in rows]
    if not tables:
        return np.zeros((0, 1))
    columns = [column for values in zip(*tables, strict=True) for column in _columns(list(values))]
    return np.stack(columns, axis=1) if columns else np.zeros((len(tables), 1))


def _columns(values: list[Any]) -> list[Any]:
    import numpy as np

    there = [value for value in values if value is not None]
    if all(isinstance(value, int | float) for value in there):
        numbers = np.array([np.nan if value is None else float(value) for value in values])
        if not there:
            return []
        numbers = np.where(np.isfinite(numbers), numbers, np.mean([float(value) for value in there]))
        spread = numbers.std()
        return [(numbers - numbers.mean()) / spread] if spread > 0 else []
    texts = [json.dumps(value) for value in values]
    known = sorted(set(texts))
    return [] if len(known) > 50 else [np.array([text == one for text in texts], dtype=float) for one in known]


def _thinned(grouped: Grouped, seed: int) -> Grouped:
    import numpy as np

    if len(grouped) <= MOST_ROWS:
        return grouped
    return grouped.at(np.sort(np.random.default_rng(seed).choice(len(grouped), MOST_ROWS, replace=False)))


def _estimates(grouped: Grouped, sampling: Sampling) -> dict[str, Estimate]:
    drawn = intervals.draw(len(grouped), sampling.draws, sampling.seed, lambda weights: {"": grouped.drawn(weights)})[
        ""
    ]
    values = grouped.values()
    found = {}
    for name in grouped.names:
        low, high = intervals.around(values[name], drawn[name], len(grouped), sampling.level)
        found[name] = Estimate(values[name], low, high, sampling.level, len(grouped))
    return found


def _by_chance(grouped: Grouped, seed: int) -> float:
    import numpy as np

    rng = np.random.default_rng(seed)
    shuffled = (Grouped(grouped.spread, rng.permutation(grouped.groups), grouped.labels) for _ in range(SHUFFLES))
    each = [computed_rows(one) for one in shuffled]
    return max(float("nan") if rows is None else float(rows.mean()) for rows in each)


def _finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_finite(item) for item in value.values())
    if isinstance(value, list):
        return all(_finite(item) for item in value)
    return value is not None and value not in ("Infinity", "-Infinity")


def _shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, dict):
        return (len(value),)
    return (len(value), *(_shape(value[0]) if value else ())) if isinstance(value, list) else ()
