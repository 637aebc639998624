"""The sections of validate_regression.ipynb."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbdeploy.errors import UnsupportedData
from nbdeploy.judge import plots
from nbdeploy.judge.evaluation import Evaluation, Judged
from nbdeploy.judge.records import expect, note
from nbdeploy.judge.scores import Regressed
from nbdeploy.judge.section import Section, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbdeploy.judge.examples import Examples
    from nbdeploy.judge.served import Served


class Regression(Evaluation):
    """A model whose answers are numbers."""

    main = "mae"
    cost = "mean absolute error added"
    shown = ("mae", "rmse")

    @property
    def scored(self) -> Regressed:
        """Truth and answers of the rows that were answered."""
        found = self.judged.scored
        assert isinstance(found, Regressed)  # noqa: S101  # what _judge below made
        return found

    def _judge(self, served: Served, rows: Examples) -> Judged:
        said = served.answers(served.method("predict"), rows.rows)
        places = said.places
        truth = _numbers([(rows.truth or [])[place] for place in places], "the target")
        answers = _numbers([said.values[place] for place in places], "what predict answers")
        return Judged(Regressed(truth, answers), places, dict(said.refused))

    def _score(self, answers: Sequence[Any], places: Sequence[int]) -> float:
        from sklearn import metrics

        position = {place: at for at, place in enumerate(self.judged.places)}
        truth = self.scored.truth[[position[place] for place in places]]
        return -float(metrics.mean_absolute_error(truth, _numbers(answers, "what predict answers")))

    def scores(self) -> Section:
        """The metrics of the task with their intervals; an R² above nothing is better than always the mean."""
        found = self._measured()
        low = found["r2"].low
        told = f"Always the mean of these rows: R² 0. This version reaches at least {number(low)}, at the lower end."
        passed = expect("better than always the mean", low is not None and low > 0, told)
        return self._scores_shown(found, passed, told)

    def residuals(self) -> Section:
        """How far off the answers are, and where."""
        import numpy as np

        scored = self.scored
        if not len(scored):
            return self._nothing_answered("Residuals", "every answer is a finite number")
        wrong = int((~np.isfinite(scored.answers)).sum())
        expect("every answer is a finite number", not wrong, f"{wrong} are not" if wrong else "")
        fine = np.isfinite(scored.answers)
        off = (scored.answers - scored.truth)[fine]
        if not len(off):
            return Section("Residuals", "bad", "no answer is a finite number")
        quantiles = [float(value) for value in np.quantile(off, [0.05, 0.25, 0.5, 0.75, 0.95])]
        names = ("5 %", "25 %", "median", "75 %", "95 %")
        bias = float(off.mean())
        note("bias", bias)
        told = f"Answers minus truth: mean {number(bias)}, half of them between {number(quantiles[1])} and {number(quantiles[3])}."
        plot = plots.residuals(scored.truth[fine], scored.answers[fine], told, self.sampling.seed)
        return Section(
            "Residuals",
            status=f"mean {number(bias)}",
            facts=[(name, number(value)) for name, value in zip(names, quantiles, strict=True)],
            plots=(plot,),
            rows=[
                {"truth": float(one), "answer": float(other)}
                for one, other in zip(scored.truth, scored.answers, strict=True)
            ],
        )


def _numbers(values: Sequence[Any], what: str) -> Any:
    """NaN for a null; raises UnsupportedData where a value is no number."""
    import numpy as np

    plain = [value[0] if isinstance(value, list) and len(value) == 1 else value for value in values]
    try:
        return np.array([np.nan if value is None else float(value) for value in plain], dtype=float)
    except (TypeError, ValueError) as exc:
        raise UnsupportedData(
            what, f"holds values that are no numbers ({exc})", "give one number for each row"
        ) from exc
