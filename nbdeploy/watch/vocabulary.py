"""What a rule can be about: the names of readings, and how the service is at each look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdeploy.errors import NotFound, UnknownOption, WrongUse, an, did_you_mean
from nbdeploy.judge.conditions import COMPARE
from nbdeploy.judge.metrics import METRICS
from nbdeploy.watch.reading import EXPECTED, READ, known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbdeploy.judge.conditions import Condition

STATES = {
    "down": "It should answer and does not: dead, failed, or something else answers on its address",
    "degraded": "It answers, with fewer workers than it should have, or without its prediction log",
    "log_degraded": "It answers, and its predictions cannot be logged",
    "stopped": "Somebody stopped it",
}
TRAFFIC = ("requests_per_second", "error_rate", "refused_rate", "p50_ms", "p95_ms", "p99_ms")
OF_REQUESTS = ("requests", *TRAFFIC)  # told without reading a row
VOLUME = ("requests", "rows", "requests_per_second")  # none is a number as well
COUNTS = (*VOLUME, "drift", "drifted_columns")  # say something of few rows
BY_COLUMN = ("missing", "unseen", "out_of_range", "odd", "drift")
OF_NUMBERS = ("mae", "mse", "rmse", "r2", "mape")  # what a regression answers with
LABELLED = (
    *("accuracy", "log_loss", "brier", "roc_auc", *OF_NUMBERS),
    *(f"{kind}_{how}" for kind in ("precision", "recall", "f1") for how in ("macro", "weighted")),
)
LATE = frozenset(LABELLED)
SHARES = (
    *(name for name, metric in READ.items() if metric.unit == "share"),
    *(name for name in LABELLED if name not in {"log_loss", "brier", *OF_NUMBERS}),
)
FORESEEN = ("accuracy", "precision_macro", "recall_macro", "f1_macro", "roc_auc")  # without labels: expected.py
NAMES = (*STATES, *READ, *LABELLED, *(f"{EXPECTED}{name}" for name in FORESEEN))
WITHOUT_COLUMN = "prediction"  # drift@prediction: what a rule may name beside the columns
OF_TASK = {"classification": tuple(name for name in LABELLED if name not in OF_NUMBERS), "regression": OF_NUMBERS}


def is_state(metric: str) -> bool:
    return metric in STATES


def is_share(metric: str) -> bool:
    return metric.removeprefix(EXPECTED) in SHARES


def title(metric: str) -> str:
    found = known(metric)
    return STATES.get(metric) or (found.title if found else metric)


def better(metric: str) -> bool | None:
    """Whether greater is; None where neither way is."""
    found = known(metric)
    return False if is_state(metric) else found.greater_is_better if found else None


def check(condition: Condition, columns: Sequence[str] = ()) -> None:
    """Of `columns`, those of the service, it must name one where it names any; () where they are not known.

    Raises:
        UnknownOption, NotFound, WrongUse: with what was probably meant.
    """
    name = condition.metric
    if name not in NAMES:
        raise UnknownOption(name, "reading", _near(name))
    if condition.bound.live:
        raise WrongUse(
            f'The rule "{condition.text}" compares with live, and a reading has nothing beside it: give a number.'
        )
    if name in BY_COLUMN and not condition.slice:
        raise WrongUse(f'"{condition.text}" needs a column: write {name}@COLUMN{condition.compare}{condition.bound}.')
    if name not in BY_COLUMN and condition.slice:
        raise WrongUse(f'"{condition.text}": {name} is not read by column; {", ".join(BY_COLUMN)} are.')
    if condition.end and name not in METRICS and not name.startswith(EXPECTED):
        raise WrongUse(f'"{condition.text}": {name} has no interval, so there is no .{condition.end}.')
    known_columns = [*columns, WITHOUT_COLUMN] if name == "drift" else list(columns)
    if columns and condition.slice and condition.slice not in known_columns:
        raise NotFound("column", condition.slice, known_columns)


def check_share(condition: Condition) -> None:
    """A share is never beyond a bound that none can reach, or always.

    Raises:
        WrongUse: with what was probably meant.
    """
    name, bound = condition.metric, condition.bound.number
    never = (condition.compare == ">" and bound == 1) or (condition.compare == "<" and bound == 0)
    if not is_share(name) or (0 <= bound <= 1 and not never):
        return
    meant = f"; {bound:g} % is {bound / 100:g}" if 0 < bound <= 100 else ""
    often = "always" if COMPARE[condition.compare](0.5, bound) else "never"
    raise WrongUse(f'"{condition.text}" would {often} hold: {name} is a share between 0 and 1{meant}.')


def check_task(condition: Condition, task: str) -> None:
    """A metric that a model of this task never has would never fire.

    Raises:
        WrongUse: with the ones it can have.
    """
    name = condition.metric.removeprefix(EXPECTED)
    own = OF_TASK.get(task, ())
    if not task or name not in LABELLED:
        return
    foreseen = name != condition.metric
    if name in own and not (foreseen and task == "regression"):
        return
    known = [] if foreseen and task == "regression" else list(own)
    step = f"{did_you_mean(name, known)} It has {', '.join(known)}." if known else _WITHOUT_LABELS
    raise WrongUse(f'"{condition.text}" would never fire: {condition.metric} is no metric of {an(task)} model.{step}')


_WITHOUT_LABELS = " Watch its answers: drift@prediction>1."


def counted(metric: str) -> str:
    """What there must be enough of for the reading to mean something."""
    return "requests" if metric in TRAFFIC else "labelled rows" if metric in LATE else "rows"


def _near(name: str) -> Sequence[str]:
    """Plain names before those expected without labels, which would fill the list."""
    return NAMES if name.startswith("exp") else [item for item in NAMES if not item.startswith(EXPECTED)]
