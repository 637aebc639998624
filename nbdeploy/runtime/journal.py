"""What is kept of every request once its worker is in use: a record in the prediction log, and counts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from .answers import dumps
from .identity import schema_id
from .policy import Policy
from .records import head, line

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def strict_json(value: Any) -> bytes:
    """As `answers.dumps` writes it, several times faster for what holds neither NaN nor infinities nor half characters."""
    try:
        text = to_json(value)
    except ValueError:
        return dumps(value)
    return dumps(value) if b"NaN" in text or b"Infinity" in text else text


class Journal:
    """Silent until `identity.version` is set: a candidate's checks are not traffic."""

    def __init__(self, identity: Identity, schema: Schema, log: PredictionLog | None, metrics: Metrics) -> None:
        self._identity = identity
        self._schema = schema_id(schema)
        self._log = log
        self._metrics = metrics
        self._version: str | None = None
        self._heads: dict[tuple[str, int], bytes] = {}
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
            self._heads.clear()
            if version is not None:
                self._metrics.begin(self._identity)
        return version is not None

    def answered(self, jobs: Sequence[Job], predictions: Sequence[bytes], seconds: float) -> bool:
        """The requests of one call of the model, with one write; False if a strict log could not keep them."""
        if not self.active:
            return True
        now = time.perf_counter()
        lines = []
        rows = 0
        for job, encoded in zip(jobs, predictions, strict=True):
            elapsed = now - job.started
            rows += job.count
            self._metrics.answered(f"/{job.method}", elapsed, job.count)
            if self._log is not None:
                lines.append(self._record(job, encoded, elapsed))
        self._metrics.call(f"/{jobs[0].method}", seconds)
        return self._log is None or self._log.write(b"".join(lines), rows) or not self._log.strict

    def refused(self, route: Route | None, refusal: Refusal, exchange: Exchange) -> None:
        if not self.active:
            return
        self._metrics.request(route.label if route else UNKNOWN, refusal.status)
        if self._log is not None and route is not None and route.kind == "predict" and refusal.status not in NOT_KEPT:
            elapsed = time.perf_counter() - exchange.begun
            head = self._head(route.served, refusal.status) % (
                time.time(),
                exchange.request_id.encode(),
                elapsed * 1_000,
            )
            self._log.write(line(b'%b,"code":%b}' % (head, to_json(refusal.code))), 0)

    def served(self, route: Route, exchange: Exchange) -> None:
        self._metrics.request(route.label, exchange.status)

    def _record(self, job: Job, predictions: bytes, elapsed: float) -> bytes:
        start = self._head(job.method, 200) % (time.time(), job.request_id.encode(), elapsed * 1_000)
        if not self._policy.sampled():
            return line(b'%b,"count":%d}' % (start, job.count))
        request = job.request
        rows = request.rows if self._row is None else [self._row(row) for row in request.rows]
        keys = b',"keys":' + strict_json(self._kept_keys(request.keys)) if request.keys else b""
        return line(b'%b,"rows":%b,"predictions":%b%b}' % (start, strict_json(rows), predictions, keys))

    def _kept_keys(self, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return keys if self._key is None else [self._key(key) for key in keys]

    def _head(self, method: str, status: int) -> bytes:
        """A pattern for time, id and milliseconds."""
        head = self._heads.get((method, status))
        if head is None:
            fixed = (self._identity.label, self._schema, method, status)
            text = '"version":"%s","schema":"%s","method":"%s","status":%d' % fixed  # noqa: UP031  # as its neighbour
            head = b'{"time":%.6f,"request_id":"%b","milliseconds":%.3f,' + text.replace("%", "%%").encode()
            self._heads[method, status] = head
        return head
