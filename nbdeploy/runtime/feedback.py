"""Labels that come late: what `POST /feedback` may hold, and how they are kept.

A line of their log (records.py) has time, on ("request_id", or the key they go by), id, row and labels: `row` is the place of
the first label among the rows of its request, null where it is not known. Nothing is looked up here: a reader joins.
"""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING, Any

from .answers import dumps
from .predlog import PredictionLog
from .records import line
from .rules import Rules
from .schema import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .manifest import Manifest
    from .schema import Contract

BODY = '{"request_id": "...", "labels": [...]}'
REQUEST = "request_id"
LONGEST = 1_000  # characters of a label
MAX_DETAILS = 20
_ID = re.compile(r"[!-~]{1,128}")
_KINDS = {bool: "boolean", int: "number", float: "number", str: "text"}
_TOLD = {"boolean": "true or false", "number": "a number", "text": "a text"}


class Labels:
    """What a bundle's labels are, as far as its manifest knows."""

    def __init__(self, manifest: Manifest, contract: Contract) -> None:
        self._contract = contract
        self._kinds = kinds_of(manifest)

    def decode(self, body: bytes, max_rows: int) -> tuple[str, list[Any]]:
        """The request's id, and a label or None for each of its rows.

        Raises:
            Refusal: 400 (not JSON), 413 (too many), 422; none holds a value.
        """
        found = self._contract.document(body, BODY)
        if found.keys() != {REQUEST, "labels"}:
            raise Refusal(422, "invalid_labels", f"The body must be {BODY}, with these two keys and no other.")
        request_id, labels = found[REQUEST], found["labels"]
        if type(request_id) is not str or not _ID.fullmatch(request_id):
            text = '"request_id" must be the text that came with the predictions.'
            raise Refusal(422, "invalid_labels", text)
        if type(labels) is not list:
            raise Refusal(
                422, "invalid_labels", '"labels" must be a list, one entry for each row; null where none is known yet.'
            )
        if len(labels) > max_rows:
            fact = f"{len(labels):,} labels were sent, and a request has at most {max_rows:,} rows."
            raise Refusal(413, "too_many_rows", fact)
        self._check(labels)
        return request_id, labels

    def _check(self, labels: Sequence[Any]) -> None:
        found = [(row, problem) for row, label in enumerate(labels) if (problem := self._problem(label))]
        if found:
            details = [{"row": row, "column": "label", "problem": problem} for row, problem in found[:MAX_DETAILS]]
            what = "1 label does" if len(found) == 1 else f"{len(found):,} labels do"
            raise Refusal(422, "invalid_labels", f"{what} not fit the model.", details)

    def _problem(self, label: Any) -> str | None:
        if label is None:
            return None
        kind = _KINDS.get(type(label))
        if kind is None:
            return "must be a number, a text, true, false or null"
        if kind not in self._kinds:
            return f"must be {' or '.join(_TOLD[kind] for kind in sorted(self._kinds))}, as the model's labels are"
        if kind == "text" and len(label) > LONGEST:
            return f"must have at most {LONGEST:,} characters"
        if type(label) in {int, float} and not -sys.float_info.max <= label <= sys.float_info.max:
            return f"must be a number within {sys.float_info.max:.2g}"
        return None


def kinds_of(manifest: Manifest) -> frozenset[str]:
    """The kinds of JSON value that the model's labels are; all of them where that is not known."""
    classes = [label for method in manifest.methods for label in method.output.labels or ()]
    kinds = frozenset(_KINDS[type(label)] for label in classes if type(label) in _KINDS)
    if kinds:
        return kinds
    answers = [method.output.dtype or "" for method in manifest.methods if method.name == "predict"]
    if manifest.model.get("task") == "regression" or (answers and answers[0].startswith(("int", "uint", "float"))):
        return frozenset({"number"})
    return frozenset({"boolean"} if answers == ["bool"] else _TOLD)


def entry(at: float, on: str, name: Any, row: int | None, labels: Sequence[Any]) -> bytes:
    """A line of the log."""
    return line(dumps({"time": round(at, 6), "on": on, "id": name, "row": row, "labels": labels}))


class FeedbackLog:
    """Where a worker writes labels: `folder` may have other writers, each has segments of its own.

    Labels go when they are as old as predictions may get: those they belong to are older still.
    """

    def __init__(self, folder: Path, *, strict: bool = False, retention_days: float | None = None) -> None:
        rules = Rules(retention_days=retention_days)
        self._log = PredictionLog(folder, strict=strict, rules=rules, called="log of labels")
        self._clock = Clock()

    async def keep(self, request_id: str, labels: Sequence[Any]) -> None:
        """Raises Refusal 503 where they could not be written; then none of them is kept."""
        if not labels:
            return
        text = entry(self._clock.now(), REQUEST, request_id, 0, labels)
        if not self._log.write(text, len(labels)) or (self._log.strict and not await self._log.durable()):
            raise Refusal(503, "log_unavailable", "The labels cannot be written now; send them again later.", [])

    def rest(self) -> None:
        """Close a segment that is old enough, as the prediction log does."""
        self._log.rest()

    def close(self) -> None:
        self._log.close()


class Clock:
    """Seconds since 1970 that do not go back: what was said later counts, whatever becomes of the machine's clock."""

    def __init__(self) -> None:
        self._last = 0.0

    def now(self) -> float:
        self._last = max(self._last, time.time())
        return self._last
