"""Requests that queued while the model was busy are answered by one call of it.

The first request of a turn schedules the model for the loop's next turn; while a turn brought more requests, one turn
more. A lone request waits for nothing; only where fewer are here than will surely ask again (crowd.py) does a call wait,
for a fraction of its own time. Slow calls run on one thread, so that the loop stays free; a model is never called
twice at once.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .crowd import Crowd
from .deadlines import Deadlines
from .schema import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from .limits import Limits
    from .manifest import Method
    from .schema import Request

SHORTEST_CALL = 0.002  # seconds; event loops count in milliseconds, a shorter call has no fraction to wait for
LONGEST_PAUSE = 0.005  # seconds
ROUGH_ROWS = 64  # a call of so many rows costs about what a call of one does


@dataclass(slots=True, eq=False)
class Job:
    """One request that waits for the model; `answer` gets the reply's body, or an exception."""

    method: str
    request: Request
    request_id: str
    started: float  # perf_counter
    answer: asyncio.Future[bytes]
    client: Hashable = None  # the connection it came by; None if it has none
    count: int = field(init=False)  # rows

    def __post_init__(self) -> None:
        self.count = len(self.request.rows)


@dataclass(slots=True)
class Failure:
    """What the model raised for these rows alone."""

    error: BaseException


Outcome = list[Any] | Failure


class Pace:
    """How long a call of one method takes, by its number of rows; from the kernel first, then as measured."""

    def __init__(self, method: Method) -> None:
        self._first = method.milliseconds / 1_000
        self._seen: dict[int, float] = {}  # by the number of binary digits of the row count

    def guess(self, rows: int) -> float:
        size = rows.bit_length()
        known = self._seen.get(size)
        if known is not None:
            return known
        smaller = max((seen for seen in self._seen if seen < size), default=None)
        if smaller is None:
            return self._first * max(1.0, rows / ROUGH_ROWS)
        return float(self._seen[smaller] * 2 ** (size - smaller))

    def measured(self, rows: int, seconds: float) -> None:
        size = rows.bit_length()
        before = self._seen.get(size, seconds)
        self._seen[size] = before + 0.2 * (seconds - before)


class Batcher:
    """`done(jobs, outcomes, seconds)` is called in the loop, once for each call of the model."""

    def __init__(
        self,
        answer: Callable[[str, Sequence[Any]], list[Any]],
        methods: Mapping[str, Method],
        limits: Limits,
        done: Callable[[list[Job], list[Outcome], float], None],
    ) -> None:
        self._answer = answer
        self._methods = methods
        self._limits = limits
        self._done = done
        self._pace = {name: Pace(method) for name, method in methods.items()}
        self._pending: list[Job] = []
        self._rows = 0
        self._seen = 0
        self._scheduled = False
        self._crowd = Crowd()
        self._pause: asyncio.TimerHandle | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._deadlines: Deadlines[Job] = Deadlines(limits.predict_timeout, _expire)
        self.jobs = 0  # waiting or with the model, also after their time-out
        self.busy_since: float | None = None  # monotonic; while a call runs on the thread

    def submit(self, job: Job) -> None:
        """Raises Refusal 429 when too many rows wait already."""
        if self._rows + job.count > self._limits.max_queued_rows and self._pending:
            raise Refusal(429, "busy", "Too many rows are waiting for the model; try again soon.", [])
        self._pending.append(job)
        self.jobs += 1
        self._rows += job.count
        self._deadlines.add(job)
        if job.client is not None:
            self._crowd.asks(job.client)
        if self._pause is not None and len(self._pending) >= self._crowd.expected:
            self._pause.cancel()
            self._pause = None
        if not self._scheduled and self._pause is None and self.busy_since is None:
            self._schedule()

    def close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _schedule(self) -> None:
        self._scheduled = True
        self._seen = len(self._pending)
        asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        if len(self._pending) > self._seen and self._rows < self._limits.max_merged_rows:
            self._schedule()
            return
        self._scheduled = False
        pause = self._patience()
        if pause:
            self._pause = asyncio.get_running_loop().call_later(pause, self._go)
        else:
            self._go()

    def _patience(self) -> float:
        """Seconds to wait for those who will ask again; 0 if all are here, or a call is over too soon to wait for."""
        if not self._pending or len(self._pending) >= self._crowd.expected:
            return 0.0
        call = self._pace[self._pending[0].method].guess(self._rows)
        return min(call / 4, LONGEST_PAUSE) if call >= SHORTEST_CALL else 0.0

    def _go(self) -> None:
        self._pause = None
        self._crowd.called()
        jobs = self._take()
        if jobs:
            self._run(jobs)
        if self._pending and self.busy_since is None:
            self._schedule()

    def _take(self) -> list[Job]:
        """The oldest job and those that may share its call; those that were given up meanwhile are dropped."""
        taken: list[Job] = []
        left: list[Job] = []
        rows = 0
        for job in self._pending:
            if job.answer.done():
                self._drop(job)
            elif not taken or (rows + job.count <= self._limits.max_merged_rows and self._mergeable(taken[0], job)):
                taken.append(job)
                rows += job.count
            else:
                left.append(job)
        self._pending = left
        self._rows -= rows
        return taken

    def _drop(self, job: Job) -> None:
        self._rows -= job.count
        self.jobs -= 1
        self._deadlines.discard(job)

    def _mergeable(self, first: Job, other: Job) -> bool:
        return (
            first.method == other.method
            and first.request.group == other.request.group
            and self._methods[first.method].rowwise
        )

    def _run(self, jobs: list[Job]) -> None:
        rows = sum(job.count for job in jobs)
        if self._pace[jobs[0].method].guess(rows) <= self._limits.slow_call:
            outcomes, seconds = self._timed(jobs)
            self._finish(jobs, outcomes, seconds)
            return
        self.busy_since = time.monotonic()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        call = asyncio.get_running_loop().run_in_executor(self._thread, self._timed, jobs)
        call.add_done_callback(lambda call: self._returned(jobs, call))

    def _returned(self, jobs: list[Job], call: asyncio.Future[tuple[list[Outcome], float]]) -> None:
        self.busy_since = None
        if not call.cancelled():
            self._finish(jobs, *call.result())
        if self._pending and not self._scheduled:
            self._schedule()

    def _finish(self, jobs: list[Job], outcomes: list[Outcome], seconds: float) -> None:
        self._pace[jobs[0].method].measured(sum(job.count for job in jobs), seconds)
        self.jobs -= len(jobs)
        for job in jobs:
            self._deadlines.discard(job)
        try:
            self._done(jobs, outcomes, seconds)
        except Exception as exc:  # noqa: BLE001  # whatever went wrong with the answers, somebody waits for each
            for job in jobs:
                if not job.answer.done():
                    job.answer.set_exception(exc)

    def _timed(self, jobs: list[Job]) -> tuple[list[Outcome], float]:
        begun = time.perf_counter()
        outcomes = self._outcomes(jobs)
        return outcomes, time.perf_counter() - begun

    def _outcomes(self, jobs: list[Job]) -> list[Outcome]:
        """Each job's own predictions. Where a shared call fails, halves of it are tried, so only the culprit fails."""
        rows = jobs[0].request.rows if len(jobs) == 1 else [row for job in jobs for row in job.request.rows]
        try:
            predictions = self._answer(jobs[0].method, rows)
        except BaseException as exc:  # noqa: BLE001  # the model is foreign code; sys.exit() in it must not end the worker
            if len(jobs) == 1:
                return [Failure(exc)]
            half = len(jobs) // 2
            return self._outcomes(jobs[:half]) + self._outcomes(jobs[half:])
        return _split(predictions, jobs)


def _split(predictions: list[Any], jobs: list[Job]) -> list[Outcome]:
    if len(jobs) == 1:
        return [predictions]
    parts: list[Outcome] = []
    start = 0
    for job in jobs:
        parts.append(predictions[start : start + job.count])
        start += job.count
    return parts


def _expire(job: Job) -> None:
    if not job.answer.done():
        job.answer.set_exception(Refusal(504, "timeout", "The model did not answer in time.", []))
