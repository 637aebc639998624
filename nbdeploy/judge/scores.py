"""scikit-learn's numbers on the rows that were answered, and the same numbers under the weights of a bootstrap.

`values` asks scikit-learn itself. `drawn` computes the same definitions for all draws at once; tests hold the two
against each other with equal weights.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nbdeploy.judge.intervals import Drawn, Weights

RANKED = (
    40_000  # rows times labels up to which ROC AUC looks at every draw; beyond, at as large a share of them as fits
)


class Scored(Protocol):
    """Truth and answers of the same rows."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def at(self, places: Any) -> Scored: ...

    def values(self) -> dict[str, float]: ...

    def drawn(self, weights: Weights) -> Drawn: ...


def computed(compute: Callable[[], Any]) -> float:
    """NaN where scikit-learn says that the number is not defined on these rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return float(compute())
        except ValueError:
            return math.nan


@dataclass(frozen=True)
class Classified:
    """`truth` and `answers` are places in `labels`; `shares` the probabilities, a column for each label, or None;
    `margin` the decision function of a binary model without probabilities.
    """

    labels: tuple[Any, ...]
    truth: Any
    answers: Any
    shares: Any = None
    margin: Any = None

    def __len__(self) -> int:
        return len(self.truth)

    def at(self, places: Any) -> Classified:
        shares = None if self.shares is None else self.shares[places]
        margin = None if self.margin is None else self.margin[places]
        return Classified(self.labels, self.truth[places], self.answers[places], shares, margin)

    @property
    def names(self) -> tuple[str, ...]:
        averaged = tuple(f"{kind}_{how}" for how in ("macro", "weighted") for kind in ("precision", "recall", "f1"))
        ranked = ("roc_auc",) if self._ranks else ()
        return ("accuracy", *averaged, *ranked, *(("log_loss", "brier") if self.shares is not None else ()))

    @property
    def binary(self) -> bool:
        return len(self.labels) == 2

    @property
    def _ranks(self) -> bool:
        return self.shares is not None or (self.margin is not None and self.binary)

    def score_of(self, place: int) -> Any:
        """What ranks the rows for one label."""
        return self.margin if self.shares is None else self.shares[:, place]

    def values(self) -> dict[str, float]:
        from sklearn import metrics

        found = {"accuracy": computed(lambda: metrics.accuracy_score(self.truth, self.answers))}
        for how in ("macro", "weighted"):
            three = metrics.precision_recall_fscore_support(self.truth, self.answers, average=how, zero_division=0)
            found |= {f"{kind}_{how}": float(three[at]) for at, kind in enumerate(("precision", "recall", "f1"))}
        if self._ranks:
            found["roc_auc"] = computed(self._roc_auc)
        if self.shares is not None:
            places = range(len(self.labels))
            found["log_loss"] = computed(lambda: metrics.log_loss(self.truth, self.shares, labels=places))
            found["brier"] = float(self._row_losses["brier"].mean())
        return found

    def _roc_auc(self) -> Any:
        from sklearn import metrics

        if self.binary:
            return metrics.roc_auc_score(self.truth, self.score_of(1))
        places = range(len(self.labels))
        return metrics.roc_auc_score(self.truth, self.shares, multi_class="ovr", labels=places)

    @cached_property
    def _row_losses(self) -> dict[str, Any]:
        """Log loss and Brier score of each row; as scikit-learn has it, the latter halved for two labels."""
        import numpy as np

        own = self.shares[np.arange(len(self)), self.truth]
        squared = (self.shares**2).sum(axis=1) - 2 * own + 1
        smallest = np.finfo(self.shares.dtype).eps
        return {
            "log_loss": -np.log(np.clip(own, smallest, 1 - smallest)),
            "brier": squared / 2 if self.binary else squared,
        }

    def drawn(self, weights: Weights) -> Drawn:
        found = _counted(self.truth, self.answers, len(self.labels), weights)
        if self._ranks:
            found["roc_auc"] = self._drawn_auc(weights)
        if self.shares is not None:
            total = weights.rows.sum(axis=0) + weights.wrong
            for name, losses in self._row_losses.items():
                found[name] = (losses @ weights.rows + weights.wrong * self._guessed[name]) / total
        return found

    @property
    def _guessed(self) -> dict[str, float]:
        """What a row costs whose labels are all given the same probability: the imaginary wrong row."""
        count = len(self.labels)
        return {"log_loss": math.log(count), "brier": 0.25 if self.binary else 1 - 1 / count}

    def _drawn_auc(self, weights: Weights) -> Any:
        import numpy as np

        places = (1,) if self.binary else tuple(range(len(self.labels)))
        draws = len(weights.right)
        fewer = weights.first(max(int(draws * RANKED / max(1, len(self) * len(places))), 1))
        areas = [ranked(self.truth == place, self.score_of(place), fewer, 1 / len(places)) for place in places]
        return np.resize(np.mean(areas, axis=0), draws)


def _counted(truth: Any, answers: Any, labels: int, weights: Weights) -> Drawn:
    """From weighted counts of each label: right, answered, true."""
    import numpy as np
    from scipy.sparse import csr_array

    count, every = len(truth), np.arange(len(truth))
    seen = np.union1d(truth, answers)  # scikit-learn averages over these

    def sums(places: Any, keep: Any) -> Any:
        table = csr_array((keep.astype(float), (places, every)), shape=(labels, count))
        return (table @ weights.rows)[seen]

    ones = np.ones(count)
    share = 1 / max(len(seen), 1)
    hits = sums(truth, truth == answers) + weights.right * share
    true = sums(truth, ones) + (weights.right + weights.wrong) * share
    said = sums(answers, ones) + (weights.right + weights.wrong) * share
    each = {"precision": hits / said, "recall": hits / true, "f1": 2 * hits / (true + said)}
    found = {"accuracy": hits.sum(axis=0) / true.sum(axis=0)}
    for kind, value in each.items():
        found[f"{kind}_macro"] = value.mean(axis=0)
        found[f"{kind}_weighted"] = (value * true).sum(axis=0) / true.sum(axis=0)
    return found


def ranked(positive: Any, score: Any, weights: Weights, share: float = 1.0) -> Any:
    """The area under the ROC curve of each draw: how much negative weight lies below each positive row, ties half.

    The imaginary rows count with `share`, among the rarer of positive and negative: one above all others, one below.
    """
    import numpy as np

    order = np.argsort(score, kind="stable")
    steps = np.flatnonzero(np.concatenate([[True], np.diff(score[order]) != 0]))
    each = weights.rows[order]
    plus = each * positive[order][:, None]
    if len(steps) < len(order):
        each, plus = np.add.reduceat(each, steps, axis=0), np.add.reduceat(plus, steps, axis=0)
    minus = each - plus
    below = np.cumsum(minus, axis=0)
    all_plus = plus.sum(axis=0)
    rarer = np.minimum(all_plus, below[-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        area = np.einsum("ij,ij->j", plus, below - minus / 2) / (all_plus * below[-1])
    return (area * rarer + weights.right * share) / (rarer + (weights.right + weights.wrong) * share)


@dataclass(frozen=True)
class Regressed:
    truth: Any
    answers: Any
    names: tuple[str, ...] = ("mae", "mse", "rmse", "r2", "mape")

    def __len__(self) -> int:
        return len(self.truth)

    def at(self, places: Any) -> Regressed:
        return Regressed(self.truth[places], self.answers[places])

    def values(self) -> dict[str, float]:
        from sklearn import metrics

        both = (self.truth, self.answers)
        return {
            "mae": computed(lambda: metrics.mean_absolute_error(*both)),
            "mse": computed(lambda: metrics.mean_squared_error(*both)),
            "rmse": computed(lambda: metrics.root_mean_squared_error(*both)),
            "r2": computed(lambda: metrics.r2_score(*both)),
            "mape": computed(lambda: metrics.mean_absolute_percentage_error(*both)),
        }

    def drawn(self, weights: Weights) -> Drawn:
        import numpy as np

        error = self.truth - self.answers
        centred = self.truth - self.truth.mean()
        relative = np.abs(error) / np.maximum(np.abs(self.truth), np.finfo(float).eps)
        rows = np.stack([np.abs(error), error**2, relative, centred, centred**2])
        mae, mse, mape, mean, square = rows @ weights.rows / weights.rows.sum(axis=0)
        spread = square - mean**2
        with np.errstate(invalid="ignore", divide="ignore"):
            return {"mae": mae, "mse": mse, "rmse": np.sqrt(mse), "r2": 1 - mse / spread, "mape": mape}


def coded(labels: Sequence[Any], values: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
    """Every label there is, in order, and the places of `values` in it.

    A value is the label it equals (1 is 1.0 and True), else the one it is written like, else the only one that reads like
    it: a file knows no types. Values that are no label are one label where they read alike.
    """
    import numpy as np

    own = dict.fromkeys(labels)
    texts = {str(label): label for label in own}
    readings = Counter(alike(label) for label in own)
    read = {alike(label): label for label in own if readings[alike(label)] == 1}
    met: dict[tuple[type, Any], Any] = {}

    def place(value: Any) -> Any:
        if value in own:
            return value
        reading = alike(value)
        known = texts.get(str(value), read.get(reading, value))
        return read.setdefault(reading, known) if known not in own and reading not in readings else known

    for value in values:
        key = (type(value), value)
        if key not in met:
            met[key] = place(value)
    found = [met[type(value), value] for value in values]
    known = ordered([*own, *found])
    places = {label: place for place, label in enumerate(known)}
    return known, np.array([places[value] for value in found], dtype=np.intp)


_NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{0,40})?([eE][+-]?\d{1,3})?")
_WORDS = {"true": Decimal(1), "false": Decimal(0)}


@lru_cache(maxsize=10_000)
def alike(value: Any) -> Any:
    """What is the same for labels that read alike: 1, 1.0, "1", "1.0", "01", True and "true" are; other texts are themselves."""
    text = str(value).strip()
    if _NUMBER.fullmatch(text):
        return Decimal(text)
    return _WORDS.get(text.lower(), text)


def ordered(labels: Sequence[Any]) -> tuple[Any, ...]:
    once = list(dict.fromkeys(labels))
    try:
        return tuple(sorted(once))
    except TypeError:
        return tuple(sorted(once, key=str))
