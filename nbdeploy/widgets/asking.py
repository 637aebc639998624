"""The running service asked one row, or the same row with one column moved."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import NotRunning
from nbdeploy.front.code import Code
from nbdeploy.render import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbdeploy.run.service import Service

BETTER = ("predict_proba", "decision_function", "score_samples", "transform")  # said beside `predict`


@dataclass(frozen=True)
class Answer:
    """`scores` are the probabilities by class, highest first; `more` is what the second method said, where that is no table."""

    method: str
    value: Any
    scores: tuple[tuple[str, float], ...]
    more: Any
    milliseconds: float
    version: str
    curl: str

    @property
    def sentence(self) -> str:
        return f"{self.method}: {_shown(self.value)}"


@dataclass(frozen=True)
class Sweep:
    """One column moved; `series` holds a line for each class, or one for a number."""

    column: str
    method: str
    points: tuple[Any, ...]
    series: tuple[tuple[str, tuple[float, ...]], ...]
    labels: tuple[str, ...] = ()  # answers that are no numbers
    version: str = ""
    now: Any = None  # the column's value in the row as it stands


def ask(service: Service, row: Any) -> Answer:
    """Raises CallRefused, Unreachable, NotRunning. The time is that of the first call alone."""
    method = _preferred(service, "predict")
    _refuse_stopped(service)
    began = time.perf_counter()
    told = _post(service, method, [row])
    took = (time.perf_counter() - began) * 1e3
    second = next((name for name in BETTER if name in service.methods and name != method), None)
    more = _post(service, second, [row])["predictions"][0] if second else None
    scores = _ranked(more) if second == "predict_proba" else ()
    return Answer(
        method,
        told["predictions"][0],
        scores,
        None if scores else more,
        took,
        told["version"],
        "" if service.launcher == "memory" else service.curl(method, [row]),
    )


def sweep(service: Service, rows: Sequence[Any], column: str, points: Sequence[Any]) -> Sweep:
    """One request for all of them; probabilities where the model has them."""
    _refuse_stopped(service)
    method = _preferred(service, "predict_proba")
    told = _post(service, method, list(rows))
    answers, version = told["predictions"], told["version"]
    if answers and isinstance(answers[0], dict) and all(map(_numbers, answers)):
        series = tuple((label, tuple(_real(answer[label]) for answer in answers)) for label in answers[0])
        return Sweep(column, method, tuple(points), series, version=version)
    if answers and all(isinstance(answer, int | float) and not isinstance(answer, bool) for answer in answers):
        return Sweep(column, method, tuple(points), ((method, tuple(map(float, answers))),), version=version)
    return Sweep(column, method, tuple(points), (), tuple(map(_shown, answers)), version=version)


def asked(service: Service, row: Any) -> Code:
    method = _preferred(service, "predict")
    return Code("", f'nbdeploy.attach("{service.name}").{method}([{row!r}])')


def swept(service: Service, rows: Sequence[Any], column: str, points: Sequence[Any]) -> Code:
    method = _preferred(service, "predict_proba")
    asked = f"[{', '.join(map(repr, rows))}]"
    if rows and isinstance(rows[0], dict):
        asked = f"[{{**{rows[0]!r}, {column!r}: value}} for value in {list(points)!r}]"
    return Code("", f'nbdeploy.attach("{service.name}").{method}({asked})')


def _preferred(service: Service, method: str) -> str:
    return method if method in service.methods else service.methods[0]


def _refuse_stopped(service: Service) -> None:
    if service.probe().state not in {"ready", "degraded"}:
        raise NotRunning(service.name)


def _post(service: Service, method: str, rows: list[Any]) -> dict[str, Any]:
    return service.client.post(f"/{method}", json.dumps({"rows": rows}, allow_nan=False).encode())


def _numbers(answer: dict[str, Any]) -> bool:
    return all(value is None or isinstance(value, int | float) for value in answer.values())


def _real(value: float | None) -> float:
    """JSON has no NaN: it came as null."""
    return math.nan if value is None else float(value)


def _ranked(answer: Any) -> tuple[tuple[str, float], ...]:
    if not isinstance(answer, dict) or not all(isinstance(value, int | float) for value in answer.values()):
        return ()
    return tuple(sorted(answer.items(), key=lambda item: -item[1]))


def _shown(value: Any) -> str:
    return plain.cut(
        f"{value:.6g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    )
