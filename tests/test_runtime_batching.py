"""What shares a call of the model, and what must not."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import Toy, app_of, ask, idle, manifest, rows

from nbdeploy.runtime.app import Limits
from nbdeploy.runtime.batching import Batcher, Failure, Job, Pace
from nbdeploy.runtime.manifest import Method, Output
from nbdeploy.runtime.schema import Refusal, Request

if TYPE_CHECKING:
    from collections.abc import Sequence


def answers(toy: Toy, *bodies: bytes, limits: Limits | None = None) -> list[Any]:
    app = app_of(toy, limits=limits)

    async def together() -> list[Any]:
        return await asyncio.gather(*(ask(app, body=body) for body in bodies))

    return asyncio.run(together())


def test_what_queued_shares_one_call_and_each_gets_its_own() -> None:
    toy = Toy()
    replies = answers(toy, *(rows(float(number), 0.5) for number in range(20)))
    assert [reply.json["predictions"] for reply in replies] == [[2.0 * number, 1.0] for number in range(20)]
    assert toy.calls == [40]


def test_a_lone_request_is_called_alone() -> None:
    toy = Toy()
    answers(toy, rows(1.0))
    assert toy.calls == [1]


def test_a_method_that_is_not_rowwise_is_never_merged() -> None:
    toy = Toy(manifest(Method("predict", Output("array"), rowwise=False)))
    answers(toy, *(rows(1.0) for _ in range(5)))
    assert toy.calls == [1] * 5


def test_a_call_is_bounded() -> None:
    toy = Toy()
    answers(toy, *(rows(1.0) for _ in range(10)), limits=Limits(max_merged_rows=4))
    assert sum(toy.calls) == 10
    assert max(toy.calls) <= 4


def test_a_large_request_is_still_one_call() -> None:
    toy = Toy()
    replies = answers(toy, rows(*map(float, range(10))), limits=Limits(max_merged_rows=4))
    assert toy.calls == [10]
    assert len(replies[0].json["predictions"]) == 10


def test_one_bad_request_fails_alone() -> None:
    def refuse(given_rows: Sequence[Any]) -> None:
        if any(row["x"] == 13 for row in given_rows):
            raise ValueError("13")

    toy = Toy(before=refuse)
    replies = answers(toy, *(rows(float(number)) for number in range(20)))
    assert [reply.status for reply in replies] == [500 if number == 13 else 200 for number in range(20)]
    assert [reply.json["predictions"] for reply in replies if reply.status == 200] == [
        [2.0 * number] for number in range(20) if number != 13
    ]
    assert len(toy.calls) < 12, "halves are tried, not each one"


def test_too_many_waiting_rows_are_429() -> None:
    method = Method("predict", Output("array"), milliseconds=100)
    toy = Toy(manifest(method), before=lambda _: time.sleep(0.05))
    replies = answers(toy, *(rows(1.0, 2.0) for _ in range(6)), limits=Limits(max_queued_rows=4, max_merged_rows=2))
    assert {reply.status for reply in replies} == {200, 429}


def test_a_slow_model_is_called_on_one_thread_at_a_time() -> None:
    active = 0
    most = 0
    threads: set[str] = set()
    lock = threading.Lock()

    def work(_: Sequence[Any]) -> None:
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        threads.add(threading.current_thread().name)
        time.sleep(0.03)
        with lock:
            active -= 1

    toy = Toy(manifest(Method("predict", Output("array"), rowwise=False, milliseconds=30)), work)
    assert [reply.status for reply in answers(toy, *(rows(1.0) for _ in range(4)))] == [200] * 4
    assert most == 1
    assert threads == {"model_0"}


def test_a_call_in_the_loop_never_meets_one_on_the_thread() -> None:
    fast = Method("predict", Output("array"))
    slow = Method("predict_proba", Output("array"), milliseconds=60)
    busy = threading.Event()
    met = False

    def work(given_rows: Sequence[Any]) -> None:
        nonlocal met
        met |= busy.is_set()
        if given_rows[0]["x"] == 1:
            busy.set()
            time.sleep(0.06)
            busy.clear()

    app = app_of(Toy(manifest(fast, slow), work))

    async def both() -> list[int]:
        first = asyncio.ensure_future(ask(app, path="/predict_proba", body=rows(1.0)))
        await asyncio.sleep(0.02)
        second = asyncio.ensure_future(ask(app, body=rows(2.0)))
        return [(await first).status, (await second).status]

    assert asyncio.run(both()) == [200, 200]
    assert not met


def test_the_watchdog_can_see_since_when_the_model_is_busy() -> None:
    app = app_of(Toy(manifest(Method("predict", Output("array"), milliseconds=60)), lambda _: time.sleep(0.06)))

    async def look() -> tuple[bool, bool]:
        asking = asyncio.ensure_future(ask(app, body=rows(1.0)))
        await asyncio.sleep(0.02)
        during = app.batcher.busy_since is not None
        await asking
        return during, app.batcher.busy_since is None

    assert asyncio.run(look()) == (True, True)


def test_a_request_that_was_given_up_is_not_called() -> None:
    toy = Toy(manifest(Method("predict", Output("array"), rowwise=False, milliseconds=300)), lambda _: time.sleep(0.3))
    app = app_of(toy, limits=Limits(predict_timeout=0.15))

    async def both() -> list[int]:
        statuses = [reply.status for reply in await asyncio.gather(*(ask(app, body=rows(1.0)) for _ in range(2)))]
        await idle(app)
        return statuses

    assert asyncio.run(both()) == [504, 504]
    assert toy.calls == [1]


def test_the_pace_learns_from_calls() -> None:
    pace = Pace(Method("predict", Output("array"), milliseconds=4))
    assert pace.guess(1) == pytest.approx(0.004)
    assert pace.guess(6_400) == pytest.approx(0.4)
    pace.measured(1, 0.001)
    assert pace.guess(1) == pytest.approx(0.001)
    assert pace.guess(2) == pytest.approx(0.002)
    for _ in range(50):
        pace.measured(1, 0.05)
    assert pace.guess(1) == pytest.approx(0.05, rel=0.01)


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from("abc"), st.booleans()), max_size=30), st.integers(1, 12))
def test_everyone_gets_its_own_rows_in_order_whatever_is_merged(
    requests: list[tuple[int, str, bool]], bound: int
) -> None:
    """Each request has some rows, a group, and may be one the model fails on."""
    got: dict[str, Any] = {}
    groups: list[set[str]] = []

    def answer(_: str, given_rows: Sequence[Any]) -> list[Any]:
        groups.append({group for _, _, group, _ in given_rows})
        if any(bad for *_, bad in given_rows):
            raise ValueError("bad")
        return [(job, place) for job, place, _, _ in given_rows]

    def done(jobs: list[Job], outcomes: list[Any], _: float) -> None:
        for job, outcome in zip(jobs, outcomes, strict=True):
            assert job.request_id not in got
            job.answer.set_result(b"")
            got[job.request_id] = outcome

    async def run() -> None:
        methods = {"predict": Method("predict", Output("array"))}
        batcher = Batcher(answer, methods, Limits(max_merged_rows=bound), done)
        waiting: list[asyncio.Future[bytes]] = []
        for number, (count, group, bad) in enumerate(requests):
            request = Request([(number, place, group, bad) for place in range(count)], None, group)
            answer_of: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            batcher.submit(Job("predict", request, str(number), 0.0, answer_of))
            waiting.append(answer_of)
        await asyncio.gather(*waiting)

    asyncio.run(run())
    for number, (count, _, bad) in enumerate(requests):
        outcome = got.pop(str(number))
        assert isinstance(outcome, Failure) if bad else outcome == [(number, place) for place in range(count)]
    assert not got
    assert all(len(group) == 1 for group in groups)


def test_a_full_queue_takes_a_single_request_of_any_size() -> None:
    async def run() -> None:
        methods = {"predict": Method("predict", Output("array"))}
        batcher = Batcher(lambda _, given_rows: list(given_rows), methods, Limits(max_queued_rows=2), lambda *_: None)
        loop = asyncio.get_running_loop()
        batcher.submit(Job("predict", Request([1, 2, 3], None, None), "a", 0.0, loop.create_future()))
        with pytest.raises(Refusal):
            batcher.submit(Job("predict", Request([1], None, None), "b", 0.0, loop.create_future()))

    asyncio.run(run())
