"""Which methods of a model answer the sample's rows, and how: type, shape, speed, row by row or not, always the same or not."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nbdeploy.capture import fitted
from nbdeploy.capture.quiet import Escaped, ask
from nbdeploy.capture.rows import has_null
from nbdeploy.errors import NotAModel, NotServable
from nbdeploy.runtime import answers, tables
from nbdeploy.runtime.answers import ModelFault
from nbdeploy.runtime.comparison import same, tolerance_of
from nbdeploy.runtime.manifest import Method, Output, Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbdeploy.capture.quiet import Budget
    from nbdeploy.capture.rows import Rows

SERVED = ("predict", "predict_proba", "predict_log_proba", "decision_function", "score_samples", "transform")
OTHERS = ("mahalanobis", "kneighbors", "fit_predict")  # of models that have none of these
PROBABILITIES = ("predict_proba", "predict_log_proba")
SLOW = 1.0  # seconds for one row; a slower model gets fewer golden rows. Far from what a busy machine adds: the digest depends on it
FEW = 5


@dataclass(frozen=True)
class Seen:
    """`rows` are the golden rows, `answers` the kernel's, by method."""

    methods: tuple[Method, ...]
    rows: list[Any]
    answers: dict[str, list[Any]]
    warnings: tuple[str, ...]


class Watcher:
    """One model and its golden rows."""

    def __init__(self, model: Any, schema: Schema, rows: Rows, budget: Budget) -> None:
        self.model = model
        self.schema = schema
        self.rows = rows
        self.budget = budget
        self.warnings: list[str] = []

    def watch(self, name: str) -> tuple[Method, list[Any]]:
        """Raises whatever the model raises, and ModelFault."""
        count = len(self.rows.rows)
        table = self.rows.native(range(count))
        index = getattr(table, "index", None)
        begun = time.perf_counter()
        value = ask(self.model, name, table)
        seconds = time.perf_counter() - begun
        labels = classes_of(self.model) if name in PROBABILITIES else None
        output = _with_index(answers.observe(value, count, labels, keyed=name != "transform"), value, index)
        expected = answers.encode(output, value, count)
        method = Method(name, output, milliseconds=round(seconds * 1000, 3))
        if name.startswith("fit_"):  # what a call leaves to chance may have come out the same here
            seeded = getattr(self.model, "random_state", 0) is not None
            return replace(method, rowwise=False, deterministic=seeded), expected
        return self._compared(method, expected, seconds), expected

    def _compared(self, method: Method, expected: list[Any], seconds: float) -> Method:
        """The same rows as a service gives them: the first alone, then the others in reverse order."""
        if not self.budget.allows(2 * seconds):
            self.warnings.append(
                f"{method.name}: too slow to try whether rows may share a call; each request has its own."
            )
            return replace(method, rowwise=False)
        count = len(expected)
        alone = self._answers(method, [0])
        begun = time.perf_counter()
        others = self._answers(method, range(count - 1, 0, -1)) if count > 1 else []
        if others:  # the first call paid for imports and caches as well
            method = replace(method, milliseconds=round((time.perf_counter() - begun) * 1000, 3))
        if alone is None:
            self.warnings.append(f"{method.name} does not answer a single row.")
        if (
            alone is not None
            and others is not None
            and _alike([*expected[:1], *expected[:0:-1]], [*alone, *others], method)
        ):
            return method
        return self._unlike(method, expected)

    def _unlike(self, method: Method, expected: list[Any]) -> Method:
        count = len(expected)
        built = self._answers(method, range(count))
        if built is not None and _alike(expected, built, method):
            return replace(method, rowwise=False)
        again = answers.encode(method.output, ask(self.model, method.name, self.rows.native(range(count))), count)
        if _alike(expected, again, method):
            raise NotServable(
                type(self.model).__name__,
                f"answers {method.name} otherwise when the sample's rows come without their index",
                "let it use the columns alone",
            )
        self.warnings.append(
            f"{method.name} answers the same rows differently each time; its answers are not compared."
        )
        return replace(method, rowwise=False, deterministic=False)

    def _answers(self, method: Method, places: Sequence[int]) -> list[Any] | None:
        rows = [self.rows.rows[place] for place in places]
        try:
            value = ask(self.model, method.name, tables.build(self.schema, rows))
            return answers.encode(method.output, value, len(rows))
        except Exception:  # noqa: BLE001  # a model may raise anything; that it does not answer is the finding
            return None


def watch(model: Any, schema: Schema, rows: Rows, budget: Budget) -> Seen:
    """Raises NotServable, NotAModel."""
    names = offered(model)
    if not names:
        raise _unservable(model)
    watcher = Watcher(model, schema, _paced(model, names[0], rows), budget)
    methods, given, failed = _watched(watcher, names)
    if not methods and any(has_null(row) for row in watcher.rows.rows):
        complete = [place for place, row in enumerate(watcher.rows.rows) if not has_null(row)]
        if complete:
            watcher.rows = watcher.rows.only(complete)
            methods, given, failed = _watched(watcher, names)
    if not methods:
        fact, advice = failed[names[0]]
        raise NotServable(f"{type(model).__name__}.{names[0]}", f"does not answer the sample's rows: {fact}", advice)
    told = [f"{name} is not served: {fact}" for name, (fact, _) in failed.items()]
    if names == ("fit_predict",):
        told.append(f"{type(model).__name__} has no predict: fit_predict groups the rows of each request anew.")
    return Seen(tuple(methods), watcher.rows.rows, given, (*told, *watcher.warnings))


def _unservable(model: Any) -> NotServable | NotAModel:
    if not hasattr(model, "fit"):
        return NotAModel(type(model).__name__, SERVED)
    return NotServable(
        type(model).__name__,
        "describes the rows it was fitted on and has no method for new ones",
        f"deploy a model that has one of {', '.join(SERVED)}",
    )


def offered(model: Any) -> tuple[str, ...]:
    names = tuple(name for name in SERVED if callable(getattr(model, name, None)))
    return names or tuple(name for name in OTHERS if callable(getattr(model, name, None)))[:1]


def classes_of(model: Any) -> Any:
    """`classes_` as a list, of lists for several outputs; None without."""
    classes = getattr(model, "classes_", None)
    if classes is None:
        return None
    if isinstance(classes, list):
        return [list(part) if hasattr(part, "__len__") and not isinstance(part, str) else part for part in classes]
    return list(classes) if getattr(classes, "ndim", 1) == 1 else None


def _watched(
    watcher: Watcher, names: Sequence[str]
) -> tuple[list[Method], dict[str, list[Any]], dict[str, tuple[str, str]]]:
    """Methods, their answers, and why others have none, with advice."""
    methods, given, failed = [], {}, {}
    for name in names:
        try:
            method, given[name] = watcher.watch(name)
        except NotServable:
            raise
        except ModelFault as exc:
            fact, _, advice = str(exc).partition("; ")
            failed[name] = fact, advice or _advice(watcher.model)
        except Escaped as exc:
            failed[name] = str(exc), "let it raise an Exception, or return an answer"
        except Exception as exc:  # noqa: BLE001  # a model may raise anything; that it does not answer is the finding
            columns = [column.name for column in watcher.schema.columns if watcher.schema.container == "frame"]
            failed[name] = first_line(exc), fitted.advice(watcher.model, exc, columns)
        else:
            methods.append(method)
    return methods, given, failed


def first_line(error: BaseException) -> str:
    """What fits into a sentence of ours; scikit-learn's go on with lists of columns."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _advice(model: Any) -> str:
    if hasattr(model, "n_features"):
        return f"give it fewer features: n_features={answers.MAX_WIDTH} or less"
    return "let it return one answer a row, of numbers, texts, booleans or dates"


def _paced(model: Any, name: str, rows: Rows) -> Rows:
    begun = time.perf_counter()
    try:
        ask(model, name, rows.native([0]))
    except Exception:  # noqa: BLE001  # the call with all rows tells
        return rows
    slow = time.perf_counter() - begun > SLOW
    return rows.only(range(min(FEW, len(rows.rows)))) if slow else rows


def _with_index(output: Output, value: Any, index: Any) -> Output:
    """A frame or series that does not keep its input's index has its own."""
    own = getattr(value, "index", None)
    if output.container not in {"frame", "series"} or index is None or own is None or own.equals(index):
        return output
    return replace(output, extra={**output.extra, "index": "own"})


def _alike(expected: list[Any], found: list[Any], method: Method) -> bool:
    return same(expected, found, tolerance_of(method.output))
