"""A model judged through its service on held-out rows: what the sections of a gate notebook call.

Every method is a section: it records its numbers, expects what any honest model must hold, and returns what it shows.
`classification.py`, `regression.py` and `unsupervised.py` add the sections of their task.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from nbdeploy.errors import NbdeployError, WrongUse
from nbdeploy.judge import challenge, importance, latency, plots, quality, robustness, slices
from nbdeploy.judge.challenge import Sampling
from nbdeploy.judge.examples import Examples, examples
from nbdeploy.judge.metrics import METRICS
from nbdeploy.judge.records import expect, note
from nbdeploy.judge.section import Section, number, span
from nbdeploy.judge.served import Served
from nbdeploy.render import Table
from nbdeploy.render.plain import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbdeploy.judge.challenge import Difference
    from nbdeploy.judge.estimate import Estimate
    from nbdeploy.judge.scores import Scored
    from nbdeploy.judge.slices import Slice

SHOWN_FLIPS = 20
KEPT_FLIPS = 200  # in the record; all of them in out/flips.csv


@dataclass(frozen=True)
class Judged:
    """`scored` speaks of the rows at `places` of the examples: those that were answered; `refused` says why others were not."""

    scored: Scored
    places: list[int]
    refused: dict[int, str]


class Evaluation:
    """`data` is a file of held-out rows, `target` the column of their labels.

    `live_url` is the live version to compare with, or "". `out` is a folder for files kept with the report, or "".
    `confidence` is the level of the intervals, from `resamples` draws. Of more than `max_rows` rows, so many are drawn.
    """

    labelled: ClassVar[bool] = True
    main: ClassVar[str] = ""  # the metric that slices and importance are shown by
    shown: ClassVar[tuple[str, ...]] = ()  # metrics in the table of slices
    cost: ClassVar[str] = ""  # what `_score` loses when a column is shuffled

    def __init__(
        self,
        url: str,
        data: str,
        target: str = "",
        *,
        token_file: str = "",
        live_url: str = "",
        out: str = "",
        confidence: float = 0.95,
        seed: int = 0,
        resamples: int = 1000,
        max_rows: int = 10_000,
    ) -> None:
        if not 0 < confidence < 1 or resamples < 1 or max_rows < 1:
            raise WrongUse("confidence lies between 0 and 1; resamples and max_rows are 1 or more.")
        self.sampling = Sampling(confidence, resamples, seed)
        self.out = Path(out) if out else None
        self._source = (data, target)
        self._most = max_rows
        self.served = Served(url, token_file)
        self.examples = self._examples(self.served)
        self.judged = self._judge(self.served, self.examples)
        self._live_at = (live_url, token_file)

    def _examples(self, served: Served) -> Examples:
        data, target = self._source
        return examples(served, data, target, most=self._most, seed=self.sampling.seed, labelled=self.labelled)

    def _judge(self, served: Served, rows: Examples) -> Judged:
        raise NotImplementedError

    def _score(self, answers: Sequence[Any], places: Sequence[int]) -> float:
        """The main metric of answers to the rows at these places, greater for better."""
        raise NotImplementedError

    @property
    def method(self) -> str:
        return self.served.method("predict")

    @cached_property
    def live(self) -> Judged | str | None:
        """The live version on the same rows; the reason where it cannot be asked; None where there is none."""
        url, token_file = self._live_at
        if not url:
            return None
        served = Served(url, token_file)
        try:
            return self._judge(served, self._examples(served))
        except NbdeployError as exc:
            return f"{served.title} cannot be asked the same rows: {exc}"

    # the sections every task has

    def overview(self) -> Section:
        """Which version, which rows, and whether each of them was answered."""
        rows, judged = self.examples, self.judged
        refused = len(judged.refused)
        note("rows", len(rows))
        note("rows_refused", refused)
        note("rows_unlabelled", rows.unlabelled)
        first = next((f"row {rows.numbers[at]}: {why}" for at, why in judged.refused.items()), "")
        every = expect(
            "every row is answered", not refused, f"{refused} of {len(rows)} were not; {first}" if refused else ""
        )
        facts: list[tuple[str, Any]] = [
            ("model", self.served.facts["model"].get("class", "")),
            ("answers", ", ".join(self.served.methods)),
            ("rows", f"{len(rows):,} of {rows.of:,}" if len(rows) < rows.of else f"{rows.of:,}"),
            ("target", self._source[1] or ("the file's own" if rows.truth is not None else "none")),
            ("compared with", self._live_title()),
        ]
        notes: list[Any] = []
        if rows.unlabelled:
            notes.append(("warning", f"{rows.unlabelled} rows without a label were left out."))
        if rows.extra:
            notes.append(("neutral", f"Not given to the model, only looked at as slices: {', '.join(rows.extra)}."))
        if refused:
            notes.append(("bad", f"The numbers below leave out {refused} rows that were not answered ({first})."))
        return Section(
            self.served.title,
            "good" if every else "bad",
            f"{len(judged.places):,} rows answered over HTTP",
            facts=facts,
            notes=notes,
        )

    def _live_title(self) -> str:
        url, token_file = self._live_at
        return Served(url, token_file).title if url else "nothing: no version is live"

    def training(self) -> Section:
        """The scores of the training data that were computed when the model was bundled; they decide nothing."""
        metrics = self.served.facts.get("metrics") or {}
        folds = metrics.get("cross_validation") or {}
        training = (metrics.get("training") or {}).get("values") or {}
        values = folds.get("values") or {}
        rows = [
            {
                "metric": name,
                "training": training.get(name),
                "folds": (values.get(name) or {}).get("mean"),
                "spread": (values.get(name) or {}).get("std"),
            }
            for name in dict.fromkeys([*training, *values])
        ]
        if values:
            note("cross_validation", rows)
        headers = ("metric", "on the training rows", f"mean of {folds.get('folds', 5)} folds", "spread of the folds")
        cells = [
            (title(row["metric"]), number(row["training"]), number(row["folds"]), number(row["spread"])) for row in rows
        ]
        reasons = dict.fromkeys(str(reason) for reason in (folds.get("not_computable") or {}).values())
        if not folds:
            reasons = {"Folds are scored when a version is deployed with --data or --validate.": None}
        notes = [("neutral", reason) for reason in reasons]
        return Section(
            "Scores on the training data",
            status="for comparison only",
            tables=(Table(headers, cells, "The bundle holds no scores of its training data."),),
            notes=notes,  # type: ignore[arg-type] # a tone is one of four words
            rows=rows,
        )

    def slices(self, *, most_values: int = slices.MOST_VALUES, small: int = slices.SMALL) -> Section:
        """The same metrics for each value of every column that has at most `most_values`."""
        judged = self.judged
        columns = {name: [values[at] for at in judged.places] for name, values in self.examples.columns.items()}
        found = slices.slices(columns, most_values=most_values, small=small)
        measured = challenge.estimates(judged.scored, {one.name: one.places for one in found}, self.sampling)
        for name, metrics in measured.items():
            for metric, estimate in metrics.items():
                note(f"{metric}@{name}", estimate)
        self._note_live_slices(found)
        return self._slices_shown(found, measured, small)

    def _note_live_slices(self, found: Sequence[Slice]) -> None:
        import numpy as np

        live = self.live
        if not isinstance(live, Judged):
            return
        at = {place: position for position, place in enumerate(live.places)}
        own = self.judged.places
        groups = {
            one.name: np.array([at[own[place]] for place in one.places if own[place] in at], dtype=np.intp)
            for one in found
        }
        groups = {name: places for name, places in groups.items() if len(places)}
        for name, metrics in challenge.estimates(live.scored, groups, self.sampling).items():
            for metric, estimate in metrics.items():
                note(f"live.{metric}@{name}", estimate)

    def _slices_shown(self, found: Sequence[Slice], measured: dict[str, dict[str, Estimate]], small: int) -> Section:
        greater = METRICS[self.main].greater_is_better
        whole = self.judged.scored.values()[self.main]
        ordered = sorted(found, key=lambda one: measured[one.name][self.main].value * (1 if greater else -1))
        rows = [
            {
                "slice": one.name,
                "rows": len(one.places),
                **{name: estimate.value for name, estimate in measured[one.name].items()},
                f"{self.main}_low": measured[one.name][self.main].low,
                f"{self.main}_high": measured[one.name][self.main].high,
                "small": one.small,
            }
            for one in ordered
        ]
        cells = [
            (
                one.name,
                len(one.places),
                *(_estimated(measured[one.name][name]) for name in self.shown),
                "few rows" if one.small else "",
            )
            for one in ordered
        ]
        headers = ("slice", "rows", *(f"{title(name)}, {self._percent}" for name in self.shown), "")
        table = Table(headers, cells, "No column has few enough values to be looked at as slices.")
        notes: list[Any] = [
            ("warning", f"{one.name}: clearly worse than all rows together.")
            for one in ordered
            if _clearly_worse(measured[one.name][self.main], whole, greater=bool(greater)) and not one.small
        ]
        if any(one.small for one in found):
            notes.append(
                ("neutral", f"Slices of fewer than {small} rows say little; see how wide their intervals are.")
            )
        items = [
            plots.Span(f"{one.name} ({len(one.places)})", it.value, it.low, it.high, faint=one.small)
            for one in ordered[:25]
            for it in (measured[one.name][self.main],)
        ]
        told = f"{title(self.main)} of {len(items)} slices with intervals; all rows: {number(whole)}."
        shown = (plots.spans(items, whole, title(self.main), told),) if items else ()
        return Section("Slices", status=f"{len(found)}", tables=(table,), notes=notes, plots=shown, rows=rows)

    def importance(self, *, rows: int = importance.ROWS) -> Section:
        """What the main metric loses when a column is shuffled, through the service, on at most `rows` rows."""
        places = self.judged.places[:rows]
        asked = [self.examples.rows[place] for place in places]
        found, left = importance.importance(
            self.served, self.method, asked, lambda answers: self._score(answers, places), self.sampling.seed
        )
        table = [{"column": one.column, "loss": one.loss, "spread": one.spread} for one in found]
        note("importance", table)
        told = "; ".join(f"{one.column} {number(one.loss)}" for one in found[:5])
        notes = [("warning", f"No time was left for {', '.join(left[:10])}.")] if left else []
        plot = plots.bars(
            [one.column for one in found[:25]],
            [one.loss for one in found[:25]],
            [one.spread for one in found[:25]],
            f"{self.cost} when shuffled",
            f"Permutation importance, most important first: {told}.",
        )
        return Section(
            "Importance of the columns",
            status=f"{len(asked)} rows, {importance.REPEATS} shuffles each",
            tables=() if found else (Table((), (), "A row has no columns that could be shuffled."),),
            notes=notes,  # type: ignore[arg-type] # a tone is one of four words
            plots=(plot,) if found else (),
            rows=table,
        )

    def quality(self, *, trusted: Sequence[str] | str = ()) -> Section:
        """The rows against the schema. `trusted` columns may predict the target alone: you know why they do."""
        rows = self.examples
        found = [quality.column_quality(column, rows.columns[column.name]) for column in self.served.columns]
        twice, otherwise = quality.repeated(rows.rows, rows.truth)
        note("missing_cells", sum(one.missing for one in found))
        note("out_of_range", sum(one.out_of_range for one in found))
        note("unseen_categories", sum(one.unseen for one in found))
        note("duplicates", twice)
        notes: list[Any] = []
        if twice:
            notes.append(("neutral", f"{twice} rows are there more than once."))
        if rows.truth is not None:
            note("contradictions", otherwise)
            if otherwise:
                notes.append(("warning", f"{otherwise} rows equal another row that has another label."))
            notes += self._leaks(trusted)
        cells = [
            (
                one.name,
                one.kind,
                one.missing or "",
                one.out_of_range or "",
                one.unseen or "",
                "yes" if one.accepted else "no",
            )
            for one in found
        ]
        headers = (
            "column",
            "kind",
            "missing",
            "outside the range of training",
            "not seen in training",
            "may be missing",
        )
        bad = any(tone == "bad" for tone, _ in notes)
        return Section(
            "Data quality",
            "bad" if bad else "neutral",
            f"{len(rows):,} rows against the schema",
            tables=(Table(headers, cells, "A row has no named columns."),),
            notes=notes,
            rows=[
                {"column": one.name, "missing": one.missing, "out_of_range": one.out_of_range, "unseen": one.unseen}
                for one in found
            ],
        )

    def _leaks(self, trusted: Sequence[str] | str) -> list[tuple[str, str]]:
        names = [name.strip() for name in trusted.split(",")] if isinstance(trusted, str) else list(trusted)
        own = {column.name: self.examples.columns[column.name] for column in self.served.columns}
        numeric = self.served.task == "regression"
        found = quality.leaks(own, self.examples.truth or [], numeric=numeric, seed=self.sampling.seed)
        found = [leak for leak in found if leak.column not in names]
        note("leaks", len(found))
        told = "; ".join(f"{leak.column} {leak.how}" for leak in found)
        expect("no column gives the target away", not found, told)
        hint = "If that is as it should be, name the column in quality(trusted=...)."
        return [("bad", f"{leak.column} {leak.how} ({number(leak.score)}). {hint}") for leak in found]

    def robustness(self) -> Section:
        """Missing and unseen values, columns and rows in another order: does the service answer as its schema promises?"""
        places = self.judged.places
        if not places:
            return self._nothing_answered("Robustness", "promises about missing and unseen values are kept")
        found = robustness.cases(self.served, self.method, [self.examples.rows[place] for place in places])
        orders = [one for one in found if one.promised == robustness.SAME]
        values = [one for one in found if one.promised != robustness.SAME]
        note("broken_promises", sum(not one.kept for one in found))
        if orders:
            expect(
                "the order of rows and columns makes no difference", all(one.kept for one in orders), _broken(orders)
            )
        expect("promises about missing and unseen values are kept", all(one.kept for one in values), _broken(values))
        cells = [
            (one.name, one.promised, "kept" if one.kept else f"broken: {one.told}", f"{one.changed} of {one.rows}")
            for one in found
        ]
        kept = all(one.kept for one in found)
        return Section(
            "Robustness",
            "good" if kept else "bad",
            "as promised" if kept else "promises broken",
            tables=(Table(("what was tried", "promised", "", "answers changed"), cells),),
            rows=[
                {"case": one.name, "promised": one.promised, "kept": one.kept, "changed": one.changed} for one in found
            ],
        )

    def latency(self, budget_ms: float) -> Section:
        """Milliseconds of one row, asked alone; 95 of 100 requests must stay within `budget_ms`."""
        places = self.judged.places
        name = f"95 % of single rows are answered within {budget_ms:g} ms"
        if not places:
            return self._nothing_answered("Latency", name)
        found = latency.latency(self.served, self.method, [self.examples.rows[place] for place in places], budget_ms)
        for percentile, value in (("p50", found.p50), ("p95", found.p95), ("p99", found.p99)):
            note(f"latency_{percentile}_ms", value)
        within = expect(name, found.p95 <= budget_ms, f"{found.p95:.1f} ms")
        facts = [("median", f"{found.p50:.1f} ms"), ("95 %", f"{found.p95:.1f} ms"), ("99 %", f"{found.p99:.1f} ms")]
        return Section(
            "Latency",
            "good" if within else "bad",
            f"budget {budget_ms:g} ms",
            facts=[*facts, ("requests", f"{found.requests}, one after the other")],
            notes=[("neutral", "The best of three rounds: other work on the machine only adds.")] if not within else (),
        )

    def challenge(self) -> Section:
        """This version and the live one on the same rows: every difference with its interval, and the rows that flip."""
        live = self.live
        if live is None:
            return Section("Beside the live version", status="no version is live")
        if isinstance(live, str):
            expect("the live version can be asked the same rows", condition=False, detail=live)
            return Section("Beside the live version", "bad", "not comparable", notes=[("bad", live)])
        return self._compared(live)

    def _compared(self, live: Judged) -> Section:
        import numpy as np

        both = [place for place in self.judged.places if place not in live.refused]
        here, there = self._at(self.judged, both), self._at(live, both)
        for metric, estimate in challenge.estimates(there, {slices.ALL: np.arange(len(there))}, self.sampling)[
            slices.ALL
        ].items():
            note(f"live.{metric}", estimate)
        found = challenge.differences(here, there, self.sampling)
        rows = [
            {
                "metric": one.metric,
                "new": one.new,
                "live": one.live,
                "difference": one.by.value,
                "low": one.by.low,
                "high": one.by.high,
                "p": one.p,
            }
            for one in found
        ]
        note("challenge", rows)
        main = next(one for one in found if one.metric == self.main)
        p, facts, notes, flips = self._paired(here, there, both, main)
        note("challenge_p", p)
        worse = expect(
            "not clearly worse than the live version",
            not main.worse_for_sure,
            f"{title(self.main)} {number(main.new)}, live {number(main.live)}; difference {span(main.by.low, main.by.high)}",
        )
        cells = [
            (
                title(one.metric),
                number(one.new),
                number(one.live),
                _signed(one.by.value),
                span(one.by.low, one.by.high),
                f"{one.p:.3f}",
                _word(one.better),
            )
            for one in found
        ]
        headers = ("metric", "this version", "live", "difference", self._percent, "p", "")
        if len(both) < len(self.judged.places):
            notes = [
                *notes,
                ("warning", f"The live version did not answer {len(self.judged.places) - len(both)} of the rows."),
            ]
        return Section(
            "Beside the live version",
            "good" if worse else "bad",
            f"{len(both):,} rows in pairs",
            facts=facts,
            tables=(Table(headers, cells), *flips),
            notes=notes,
            rows=rows,
        )

    def _paired(
        self, here: Scored, there: Scored, both: Sequence[int], main: Difference
    ) -> tuple[float, list[tuple[str, Any]], list[Any], list[Table]]:
        """The p-value of the main metric, and what else there is to show."""
        del here, there, both
        return main.p, [("p", f"{main.p:.3f} that {title(self.main)} is the same")], [], []

    # parts

    @property
    def _percent(self) -> str:
        return f"{percent(self.sampling.level, 0)} interval"

    def _at(self, judged: Judged, places: Sequence[int]) -> Scored:
        """The scores of these rows of the examples."""
        import numpy as np

        position = {place: at for at, place in enumerate(judged.places)}
        return judged.scored.at(np.array([position[place] for place in places], dtype=np.intp))

    def _measured(self) -> dict[str, Estimate]:
        """Every metric on all answered rows, recorded."""
        import numpy as np

        found = challenge.estimates(
            self.judged.scored, {slices.ALL: np.arange(len(self.judged.scored))}, self.sampling
        )[slices.ALL]
        for name, estimate in found.items():
            note(name, estimate)
        return found

    def _scores_shown(self, found: dict[str, Estimate], passed: bool, baseline: str) -> Section:
        cells = [(title(name), number(it.value), span(it.low, it.high)) for name, it in found.items()]
        rows = [{"metric": name, "value": it.value, "low": it.low, "high": it.high} for name, it in found.items()]
        return Section(
            "Scores",
            "good" if passed else "bad",
            f"{len(self.judged.places):,} held-out rows",
            tables=(Table(("metric", "value", self._percent), cells),),
            notes=[("good" if passed else "bad", baseline)],
            rows=rows,
        )

    def _nothing_answered(self, section: str, expected: str) -> Section:
        expect(expected, condition=False, detail="no row was answered")
        return Section(section, "bad", "no row was answered")

    def _keep(self, file: str, rows: Sequence[dict[str, Any]]) -> None:
        """As a CSV file in `out`, where there is such a folder."""
        if self.out is not None and rows:
            import pandas as pd

            self.out.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(list(rows)).to_csv(self.out / file, index=False)


def title(metric: str) -> str:
    known = METRICS.get(metric)
    return known.title if known else metric


def _estimated(estimate: Estimate) -> str:
    return f"{number(estimate.value)} ({span(estimate.low, estimate.high)})"


def _clearly_worse(estimate: Estimate, whole: float, *, greater: bool) -> bool:
    if estimate.low is None or estimate.high is None:
        return False
    return estimate.high < whole if greater else estimate.low > whole


def _broken(cases: Sequence[robustness.Case]) -> str:
    return "; ".join(f"{one.name}: {one.told}" for one in cases if not one.kept)[:500]


def _signed(value: float) -> str:
    return f"+{number(value)}" if value > 0 else number(value)


def _word(better: bool | None) -> str:
    return {True: "better", False: "worse", None: ""}[better]
