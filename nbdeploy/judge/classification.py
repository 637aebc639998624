"""The sections of validate_classification.ipynb."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbdeploy.errors import UnsupportedData
from nbdeploy.judge import challenge, plots
from nbdeploy.judge.evaluation import KEPT_FLIPS, SHOWN_FLIPS, Evaluation, Judged, title
from nbdeploy.judge.records import expect, note
from nbdeploy.judge.scores import Classified, coded
from nbdeploy.judge.section import Section, number
from nbdeploy.render import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbdeploy.judge.examples import Examples
    from nbdeploy.judge.scores import Scored
    from nbdeploy.judge.served import Served

BINS = 10
MOST_CELLS = 1_000  # of a confusion matrix that are recorded
CURVES = plots.MOST_CURVES


class Classification(Evaluation):
    """A classifier. Labels are compared as the service answers them; a file's "1" or 1.0 is the label 1."""

    main = "accuracy"
    cost = "accuracy lost"
    shown = ("accuracy", "f1_macro")

    @property
    def scored(self) -> Classified:
        """Truth, answers and probabilities of the rows that were answered."""
        found = self.judged.scored
        assert isinstance(found, Classified)  # noqa: S101  # what _judge below made
        return found

    def _judge(self, served: Served, rows: Examples) -> Judged:
        method = served.method("predict")
        said = served.answers(method, rows.rows)
        refused = dict(said.refused)
        places = said.places
        ranked = next((name for name in ("predict_proba", "decision_function") if name in served.methods), None)
        given: list[Any] = []
        if ranked and places:
            more = served.answers(ranked, [rows.rows[place] for place in places])
            refused |= {places[at]: why for at, why in more.refused.items()}
            given = [more.values[at] for at in more.places]
            places = [places[at] for at in more.places]
        truth = [(rows.truth or [])[place] for place in places]
        return Judged(_classified(served, truth, [said.values[place] for place in places], given), places, refused)

    def _score(self, answers: Sequence[Any], places: Sequence[int]) -> float:
        position = {place: at for at, place in enumerate(self.judged.places)}
        texts = [str(self.scored.labels[self.scored.truth[position[place]]]) for place in places]
        return sum(str(one) == other for one, other in zip(answers, texts, strict=True)) / max(len(texts), 1)

    def scores(self) -> Section:
        """The metrics of the task with their intervals, beside what always the most frequent label would reach."""
        import numpy as np

        found = self._measured()
        scored = self.scored
        frequent = float(np.bincount(scored.truth).max() / len(scored)) if len(scored) else 1.0
        share = 1 / max(len(np.unique(scored.truth)), 1)
        low, recall = found["accuracy"].low, found["recall_macro"].low
        better = (low is not None and low > frequent) or (recall is not None and recall > share)
        told = (
            f"Always the most frequent label: accuracy {number(frequent)}, recall (macro) {number(share)}. "
            f"This version reaches at least {number(low)} and {number(recall)}, at the lower ends."
        )
        passed = expect("better than always the most frequent label", better, told)
        return self._scores_shown(found, passed, told)

    def confusion(self) -> Section:
        """How often each label was taken for each other."""
        import numpy as np
        from sklearn import metrics

        scored = self.scored
        counts = metrics.confusion_matrix(scored.truth, scored.answers, labels=range(len(scored.labels)))
        cells: list[dict[str, Any]] = [
            {"truth": str(scored.labels[row]), "answer": str(scored.labels[column]), "rows": int(counts[row, column])}
            for row, column in np.argwhere(counts)
        ]
        cells.sort(key=lambda cell: -cell["rows"])
        note("confusion", cells[:MOST_CELLS])
        wrong = [(cell["truth"], cell["answer"], cell["rows"]) for cell in cells if cell["truth"] != cell["answer"]]
        table = Table(("truth", "taken for", "rows"), wrong[:10], "Every answer was right.")
        plot = plots.confusion(counts, scored.labels)
        return Section(
            "Confusions",
            status=f"{sum(row[2] for row in wrong)} of {len(scored)} answers wrong",
            tables=(table,),
            plots=(plot,),
            rows=cells,
        )

    def curves(self) -> Section:
        """ROC and precision over recall for each label."""
        from sklearn import metrics

        scored = self.scored
        if scored.shares is None and (scored.margin is None or not scored.binary):
            return Section("ROC, precision and recall", status="the model gives no probabilities")
        places = [1] if scored.binary else list(range(len(scored.labels)))
        roc, recalls, told = [], [], []
        for place in places[:CURVES]:
            positive, score = scored.truth == place, scored.score_of(place)
            if positive.all() or not positive.any():
                continue
            label = str(scored.labels[place])
            false, true, _ = metrics.roc_curve(positive, score)
            precision, recall, _ = metrics.precision_recall_curve(positive, score)
            area, average = metrics.auc(false, true), metrics.average_precision_score(positive, score)
            roc.append(plots.Curve(f"{label} ({area:.3f})", false, true))
            recalls.append(plots.Curve(f"{label} ({average:.3f})", recall, precision))
            told.append({"label": label, "roc_auc": float(area), "average_precision": float(average)})
        note("curves", told)
        said = "; ".join(f"{row['label']}: area {row['roc_auc']:.3f}" for row in told)
        notes = [("neutral", f"The first {CURVES} of {len(places)} labels.")] if len(places) > CURVES else []
        return Section(
            "ROC, precision and recall",
            status="area under each curve in brackets" if told else "the rows hold one label only",
            notes=notes,  # type: ignore[arg-type] # a tone is one of four words
            plots=(plots.curves(roc, recalls, f"ROC and precision-recall curves. {said}."),) if told else (),
            rows=told,
        )

    def calibration(self) -> Section:
        """Is an answer given with 80 % right in 80 of 100 cases? Of the most probable label, in ten bins."""
        scored = self.scored
        if scored.shares is None:
            return Section("Calibration", status="the model gives no probabilities")
        points, error = calibrated(scored.shares.max(axis=1), scored.shares.argmax(axis=1) == scored.truth)
        note("calibration_error", error)
        rows = [{"said": said, "right": right, "rows": count} for said, right, count in points]
        note("calibration", rows)
        told = f"{title('calibration_error')} {number(error)}, over {len(points)} bins."
        return Section("Calibration", status=told, plots=(plots.calibration(points, told),), rows=rows)

    def _paired(
        self, here: Scored, there: Scored, both: Sequence[int], main: challenge.Difference
    ) -> tuple[float, list[tuple[str, Any]], list[Any], list[Table]]:
        """McNemar's test, and the rows that flip."""
        del main
        assert isinstance(here, Classified)  # noqa: S101  # what _judge above made
        assert isinstance(there, Classified)  # noqa: S101
        test = challenge.mcnemar(here.truth == here.answers, there.truth == there.answers)
        truth, new = ([str(here.labels[code]) for code in codes] for codes in (here.truth, here.answers))
        live = [str(there.labels[code]) for code in there.answers]
        flips = challenge.flips([self.examples.numbers[place] for place in both], truth, live, new)
        note("flips", len(flips))
        note("flipped_rows", flips[:KEPT_FLIPS])
        self._keep("flips.csv", flips)
        facts = [
            ("rows that flip", f"{len(flips)} of {len(both)}: {test.gained} gained, {test.lost} lost"),
            ("McNemar, exact", f"p = {test.p:.3g} that both are equally often right"),
        ]
        table = Table(
            ("row", "truth", "live", "this version", ""), [tuple(row.values()) for row in flips[:SHOWN_FLIPS]]
        )
        left = len(flips) - SHOWN_FLIPS
        notes = [("neutral", f"and {left} more rows that flip; flips.csv has all of them")] if left > 0 else []
        return test.p, facts, notes, [table] if flips else []


def calibrated(said: Any, right: Any) -> tuple[list[tuple[float, float, int]], float]:
    """Mean probability, share right and rows of each bin that holds some; the expected calibration error."""
    import numpy as np

    bins = np.minimum((said * BINS).astype(int), BINS - 1)
    points = [
        (float(said[bins == place].mean()), float(right[bins == place].mean()), int((bins == place).sum()))
        for place in np.unique(bins)
    ]
    error = sum(count * abs(mean - share) for mean, share, count in points) / max(len(said), 1)
    return points, float(error)


def _classified(served: Served, truth: list[Any], answers: list[Any], given: list[Any]) -> Classified:
    import numpy as np

    if any(isinstance(answer, list | dict) for answer in answers):
        raise UnsupportedData(
            "what predict answers", "is more than one label a row", "judge such a model with a notebook of your own"
        )
    classes = list(served.classes or ())
    if truth and not _shared([*classes, *answers], truth):
        raise UnsupportedData(
            "the target",
            "holds none of the labels the model answers with",
            "give labels as the model was trained on them",
        )
    labels, codes = coded([*classes, *answers], truth)
    places = {label: place for place, label in enumerate(labels)}
    said = np.array([places[answer] for answer in answers], dtype=np.intp)
    if not given:
        return Classified(labels, codes, said)
    if not isinstance(given[0], dict):
        binary = len(labels) == 2 and not isinstance(given[0], list)
        return Classified(labels, codes, said, margin=np.array(given, dtype=float) if binary else None)
    keys = list(given[0])
    shares = np.zeros((len(given), len(labels)))
    columns = [places[label] for label in classes]
    shares[:, columns] = np.array([[row[key] for key in keys] for row in given], dtype=float)
    return Classified(labels, codes, said, shares)


def _shared(labels: Sequence[Any], truth: Sequence[Any]) -> bool:
    known, codes = coded(labels, truth)
    own = set(labels)
    return any(known[code] in own for code in set(codes.tolist()))
