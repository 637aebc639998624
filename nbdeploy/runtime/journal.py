"""What is kept of every request once its worker is in use: a record in the prediction log, and counts."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from .answers import dumps
from .identity import schema_id
from .policy import Policy
from .records import head, line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .batching import Job
    from .exchange import Exchange
    from .gate import Route
    from .identity import Identity
    from .manifest import Schema
    from .metrics import Metrics
    from .predlog import PredictionLog
    from .schema import Refusal

UNKNOWN = "unknown"  # the metrics label of every path that is not ours
# Anyone can cause these without a token; they are counted, not kept, so nobody fills the disk with them.
NOT_KEPT = frozenset({401, 403, 404, 405})
# How records end, as patterns.
ANSWERED = b',"rows":%b,"predictions":%b%b}'
COUNTED = b',"count":%d}'
REFUSED = b',"code":%b%b}'


def strict_json(value: Any) -> bytes:
    """As `answers.dumps` writes it, several times faster for what holds neither NaN nor infinities nor half characters."""
    try:
        text = to_json(value)
    except ValueError:
        return dumps(value)
    return dumps(value) if may_be_no_json(text) else text


def may_be_no_json(text: bytes) -> bool:
    """Whether NaN or an infinity may be in it. One character is found ten times as fast as several."""
    return (b"N" in text and b"NaN" in text) or (b"I" in text and b"Infinity" in text)


class Journal:
    """Silent until `identity.version` is set: a candidate's checks are not traffic."""

    def __init__(self, identity: Identity, schema: Schema, log: PredictionLog | None, metrics: Metrics) -> None:
        self._identity = identity
        self._schema = schema_id(schema)
        self._names = frozenset(column.name for column in schema.columns)
        self._log = log
        self._metrics = metrics
        self._version: str | None = None
        self._patterns: dict[tuple[str, int, bytes], bytes] = {}
        self._policy = Policy() if log is None else log.rules.policy
        self._row = self._policy.rows(schema)
        self._key = self._policy.keys(schema)
        if log is not None:
            policy = self._policy
            log.head = head(self._schema, policy, policy.kinds(schema), schema.keys, policy.element(schema))

    @property
    def active(self) -> bool:
        version = self._identity.version
        if version is not self._version:
            self._version = version
            self._patterns.clear()
            if version is not None:
                self._metrics.begin(self._identity)
        return version is not None

    def answered(self, jobs: Sequence[Job], predictions: Sequence[bytes], seconds: float) -> bool:
        """The requests of one call of the model, with one write; False if a strict log could not keep them."""
        if not self.active:
            return True
        now = time.perf_counter()
        for job in jobs:
            self._metrics.answered(f"/{job.method}", now - job.started, job.count)
        self._metrics.call(f"/{jobs[0].method}", seconds)
        if self._log is None:
            return True
        kept = self._log.write(self._lines(jobs, predictions, now), sum(job.count for job in jobs))
        return kept or not self._log.strict

    def refused(self, route: Route | None, refusal: Refusal, exchange: Exchange) -> None:
        if not self.active:
            return
        self._metrics.request(route.label if route else UNKNOWN, refusal.status)
        if self._log is not None and route is not None and route.kind == "predict" and refusal.status not in NOT_KEPT:
            milliseconds = (time.perf_counter() - exchange.begun) * 1_000
            columns = self._columns_of(refusal)
            named = b',"refused":' + to_json(columns) if columns else b""
            filled = (b"%.6f" % time.time(), exchange.request_id.encode(), milliseconds, to_json(refusal.code), named)
            self._log.write(line(self._pattern(route.served, refusal.status, REFUSED) % filled), 0)

    def _columns_of(self, refusal: Refusal) -> list[str]:
        """Those of the schema that the refusal names; what else a request calls a column is anybody's text."""
        named = dict.fromkeys(detail.get("column") for detail in refusal.details)
        return [name for name in named if name in self._names]

    def served(self, route: Route, exchange: Exchange) -> None:
        self._metrics.request(route.label, exchange.status)

    def _lines(self, jobs: Sequence[Job], predictions: Sequence[bytes], now: float) -> bytes:
        """One search of all lines for what JSON has no number for costs a third of one in each."""
        kept = [self._policy.sampled() for _ in jobs]
        with suppress(ValueError):  # half a character
            text = b"".join(self._records(jobs, predictions, kept, now, to_json))
            if not may_be_no_json(text):
                return text
        return b"".join(self._records(jobs, predictions, kept, now, strict_json))

    def _records(
        self,
        jobs: Sequence[Job],
        predictions: Sequence[bytes],
        kept: Sequence[bool],
        now: float,
        encode: Callable[[Any], bytes],
    ) -> Iterator[bytes]:
        """Of one call of the model, and so of one method."""
        stamp, method = b"%.6f" % time.time(), jobs[0].method
        answered, counted = self._pattern(method, 200, ANSWERED), self._pattern(method, 200, COUNTED)
        for job, encoded, whole in zip(jobs, predictions, kept, strict=True):
            name, milliseconds = job.request_id.encode(), (now - job.started) * 1_000
            if not whole:
                yield line(counted % (stamp, name, milliseconds, job.count))
                continue
            request = job.request
            rows = request.rows if self._row is None else [self._row(row) for row in request.rows]
            keys = b',"keys":' + encode(self._kept_keys(request.keys)) if request.keys else b""
            yield line(answered % (stamp, name, milliseconds, encode(rows), encoded, keys))

    def _kept_keys(self, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return keys if self._key is None else [self._key(key) for key in keys]

    def _pattern(self, method: str, status: int, end: bytes) -> bytes:
        """Of a record: for its stamp, id, milliseconds and what is in `end`."""
        found = self._patterns.get((method, status, end))
        if found is None:
            fixed = (self._identity.label, self._schema, method, status)
            text = '"version":"%s","schema":"%s","method":"%s","status":%d' % fixed  # noqa: UP031  # as its neighbour
            start = b'{"time":%b,"request_id":"%b","milliseconds":%.3f,'
            found = self._patterns[method, status, end] = start + text.replace("%", "%%").encode() + end
        return found
