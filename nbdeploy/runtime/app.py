"""The ASGI application: gate -> decode -> batch -> model -> log -> answer."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING, Any

from . import replies
from .about import About
from .batching import Batcher, Failure, Job
from .body import Bodies, Disconnected
from .exchange import Exchange
from .feedback import Labels
from .gate import Gate, allowed_hosts, routes
from .identity import Identity
from .journal import Journal, strict_json
from .limits import Limits
from .metrics import UNKNOWN, Metrics
from .schema import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from .batching import Outcome
    from .exchange import Receive, Send
    from .feedback import FeedbackLog
    from .gate import Route
    from .model import ServedModel
    from .predlog import PredictionLog

__all__ = ["App", "Identity", "Limits"]
logger = logging.getLogger("nbdeploy")
SMALL = 65_536  # a declared body up to this is read before its refusal is sent, so that the connection can stay open


class App:
    """`hosts` None takes them from NBDEPLOY_ALLOWED_HOSTS. `fallthrough` builds BentoML's own app at its first use.

    Labels are taken where there is a `feedback` log.

    Setting `identity.version` activates: from then on traffic is logged and counted under that version. Without
    `metrics` the counters lie beside the log, and every worker that writes there is counted in.
    """

    def __init__(
        self,
        model: ServedModel,
        identity: Identity,
        *,
        token_sha256: str | None,
        log: PredictionLog | None = None,
        feedback: FeedbackLog | None = None,
        limits: Limits | None = None,
        fallthrough: Callable[[], Any] | None = None,
        metrics: Metrics | None = None,
        hosts: Iterable[str] | None = None,
    ) -> None:
        self.model = model
        self.identity = identity
        self.log = log
        self.feedback = feedback
        self.limits = limits or Limits()
        self.ready = False
        self.leaving = False
        methods = {method.name: method for method in model.manifest.methods}
        table = routes(methods, bentoml=fallthrough is not None)
        self.gate = Gate(
            table,
            hosts=tuple(allowed_hosts(os.environ) if hosts is None else hosts),
            token_sha256=token_sha256,
            max_body=self.limits.max_body,
        )
        shared = log.folder / "metrics" if log is not None else None
        self.metrics = metrics or metrics_of(methods, shared)
        self.batcher = Batcher(model.answer, methods, self.limits, self._done)
        self._labels = Labels(model.manifest, model.contract)
        self._journal = Journal(identity, model.manifest.schema, log, self.metrics)
        self._about = About(self, fallthrough)
        self._bodies = Bodies(self.limits)
        self._reading = 0
        self._ids = replies.request_ids()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> str:
        """One of starting, ready, degraded (it answers, but the prediction log cannot be written)."""
        if not self.ready:
            return "starting"
        return "degraded" if self.log is not None and self.log.degraded else "ready"

    @property
    def in_flight(self) -> int:
        """Requests being read, queued or with the model; one that timed out counts until the model returns."""
        return self._reading + self.batcher.jobs

    @property
    def busy_for(self) -> float:
        """Seconds since the model was asked what it has not answered yet; the loop may be free meanwhile."""
        since = self.batcher.busy_since
        return 0.0 if since is None else time.monotonic() - since

    def note_state(self) -> None:
        """Where other workers' scrapes find it."""
        self.metrics.state(
            unlogged_rows=self.log.unlogged_rows if self.log else 0,
            in_flight=self.in_flight,
            ready=self.ready and not self.leaving,
            degraded=self.state == "degraded",
        )

    def note_process(self) -> None:
        """As `note_state`, also of a worker nobody has asked anything; every few seconds."""
        if self._journal.active:
            self.metrics.process()
            self.note_state()

    def close(self) -> None:
        self.batcher.close()
        self.metrics.close()
        if self.log is not None:
            self.log.close()
        if self.feedback is not None:
            self.feedback.close()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _not_http(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, next(self._ids), time.perf_counter())
        route = None
        try:
            route = self.gate.route(scope)
            self.gate.check(route, scope)
            if route.kind == "predict":
                await exchange.reply(200, await self._predict(route, exchange))
            elif route.kind == "feedback":
                await exchange.reply(200, await self._take_labels(exchange))
                self._journal.served(route, exchange)
            else:
                counted = self._journal.active
                await self._about.answer(route, exchange)
                if counted:
                    self._journal.served(route, exchange)
        except Refusal as refusal:
            self._journal.refused(route, refusal, exchange)
            self.note_state()
            await self._refuse(refusal, exchange)
        except Disconnected:
            return
        except Exception:  # a fault of ours; the server's own reply to it would not be the envelope
            logger.exception("request %s: unexpected", exchange.request_id)
            if self._journal.active:
                self.metrics.request(route.label if route else UNKNOWN, 500)
            await exchange.reply(500, replies.error(*replies.INTERNAL, [], exchange.request_id))

    async def _predict(self, route: Route, exchange: Exchange) -> bytes:
        body = await self._read(exchange)
        request = self.model.contract.decode(body, self.limits.max_rows)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        client = exchange.scope.get("client")
        job = Job(route.served, request, exchange.request_id, exchange.begun, answer, client)
        if request.rows:
            self.batcher.submit(job)
        else:
            self._done([job], [[]], 0.0)
        return await answer

    async def _take_labels(self, exchange: Exchange) -> bytes:
        """Acknowledged once they are written; whose rows they are is found out by who reads them."""
        if self.feedback is None:
            text = "This service keeps neither predictions nor labels: it was given no folder for them."
            raise Refusal(404, "labels_not_kept", text, [])
        request_id, labels = self._labels.decode(await self._read(exchange), self.limits.max_rows)
        if not self._journal.active:
            raise Refusal(503, "not_ready", "This version is not in use yet.", [])
        await self.feedback.keep(request_id, labels)
        empty = labels.count(None)
        return replies.feedback(len(labels) - empty, empty, exchange.request_id)

    async def _read(self, exchange: Exchange) -> bytes:
        if not self.ready:
            raise Refusal(503, "not_ready", "The service is not ready yet.", [])
        if self.in_flight >= self.limits.max_in_flight:
            raise Refusal(429, "busy", "Too many requests are in flight; try again soon.", [])
        self._reading += 1
        try:
            body = await self._bodies.read(exchange.receive)
        finally:
            self._reading -= 1
        exchange.complete = True
        return body

    def _done(self, jobs: list[Job], outcomes: list[Outcome], seconds: float) -> None:
        """One call of the model has ended: keep what it answered, then let the answers go."""
        answered: list[Job] = []
        predictions: list[bytes] = []
        for job, outcome in zip(jobs, outcomes, strict=True):
            if job.answer.done():
                continue  # timed out, or its client went away
            encoded = outcome if isinstance(outcome, Failure) else _encoded(outcome)
            if isinstance(encoded, Failure):
                _fail(job, encoded)
            else:
                answered.append(job)
                predictions.append(encoded)
        if answered:
            self._keep(answered, predictions, seconds)

    def _keep(self, jobs: list[Job], predictions: list[bytes], seconds: float) -> None:
        kept = self._journal.answered(jobs, predictions, seconds)
        self.note_state()
        if self.log is not None and self.log.strict and self._journal.active:
            task = asyncio.get_running_loop().create_task(self._release_durable(jobs, predictions, kept))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._release(jobs, predictions)

    def _release(self, jobs: Sequence[Job], predictions: Sequence[bytes]) -> None:
        version = self.identity.label.encode()
        for job, encoded in zip(jobs, predictions, strict=True):
            if not job.answer.done():
                job.answer.set_result(replies.prediction(encoded, version, job.request_id))

    async def _release_durable(self, jobs: Sequence[Job], predictions: Sequence[bytes], kept: bool) -> None:
        if kept and self.log is not None and await self.log.durable():
            self._release(jobs, predictions)
            return
        for job in jobs:
            if not job.answer.done():
                text = "The prediction log cannot be written, and this service does not answer without it."
                job.answer.set_exception(Refusal(503, "log_unavailable", text, []))

    async def _refuse(self, refusal: Refusal, exchange: Exchange) -> None:
        exchange.complete |= getattr(refusal, "ended", False)
        body = replies.error(refusal.code, refusal.message, refusal.details, exchange.request_id)
        headers = replies.headers_of(refusal)
        size = exchange.announced()
        if refusal.status == 408:
            await exchange.reply_first(408, body, headers, None)
        elif size == 0 or (size is not None and size <= SMALL and await self._bodies.drain(exchange.receive)):
            await exchange.reply(refusal.status, body, headers)
        else:
            await exchange.reply_first(refusal.status, body, headers, self._bodies.drain(exchange.receive))


def metrics_of(methods: Iterable[str], folder: Path | None = None) -> Metrics:
    """For an App with these methods: every route is counted apart, what clients ask of the model is told from the start."""
    table = routes(methods, bentoml=True).values()
    told = [route.label for route in table if route.kind in {"predict", "feedback"}]
    return Metrics([route.label for route in table], folder, told=told)


def _encoded(predictions: list[Any]) -> bytes | Failure:
    try:
        return strict_json(predictions)
    except Exception as exc:  # noqa: BLE001  # what a model may return has no end; its rows fail, the worker lives
        return Failure(exc)


def _fail(job: Job, failure: Failure) -> None:
    logger.error("request %s: the model failed", job.request_id, exc_info=failure.error)
    job.answer.set_exception(Refusal(*replies.FAULT, []))


async def _not_http(scope: Any, receive: Receive, send: Send) -> None:
    """Servers announce their life span; anything else, a websocket, is closed."""
    if scope["type"] != "lifespan":
        await send({"type": "websocket.close", "code": 1008})
        return
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
