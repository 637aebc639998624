"""Clients that wait for each other's calls fall into step; nobody alone is made to wait."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from toy import Toy, app_of, ask, rows

from nbdeploy.runtime.crowd import Crowd

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_those_who_ask_again_are_expected() -> None:
    crowd = Crowd()
    for _ in range(3):
        for client in "abc":
            crowd.asks(client)
        crowd.called()
    assert crowd.expected == 3


def test_half_and_half_are_seen_as_one_crowd() -> None:
    crowd = Crowd()
    for number in range(6):
        for client in ("ab", "cd")[number % 2]:
            crowd.asks(client)
        crowd.called()
    assert crowd.expected == 4


def test_who_goes_away_is_forgotten() -> None:
    crowd = Crowd()
    for number in range(6):
        crowd.asks("stays")
        if number < 3:
            crowd.asks("leaves")
        crowd.called()
    assert crowd.expected == 1


def test_a_new_connection_each_time_is_not_expected_again() -> None:
    crowd = Crowd()
    for number in range(100):
        crowd.asks(("127.0.0.1", number))
        crowd.called()
    assert crowd.expected == 0
    assert len(crowd._asked) <= 3


def busy(milliseconds: float) -> Any:
    def work(_: Sequence[Any]) -> None:
        end = time.perf_counter() + milliseconds / 1_000
        while time.perf_counter() < end:
            pass

    return work


def loops(toy: Toy, clients: int, times: int, pause: float = 0.0) -> float:
    """Each client asks, waits for its answer, thinks a little, asks again; seconds it took."""
    app = app_of(toy)

    async def client(number: int) -> None:
        for _ in range(times):
            assert (await ask(app, body=rows(1.0), client=("127.0.0.1", number))).status == 200
            await asyncio.sleep(pause * (number + 1))

    async def run() -> float:
        begun = time.perf_counter()
        await asyncio.gather(*(client(number) for number in range(clients)))
        return time.perf_counter() - begun

    return asyncio.run(run())


def test_a_crowd_is_served_by_full_calls() -> None:
    toy = Toy(before=busy(5))
    loops(toy, clients=8, times=20, pause=0.0001)
    assert sum(toy.calls) == 160
    assert len(toy.calls) < 50, "20 full calls would do"


def test_someone_alone_never_waits() -> None:
    toy = Toy(before=busy(4))
    app = app_of(toy)

    async def run() -> None:
        for _ in range(10):
            await ask(app, body=rows(1.0), client=("127.0.0.1", 1))
            assert app.batcher._pause is None

    asyncio.run(run())
    assert toy.calls == [1] * 10


def test_those_who_do_not_come_are_not_waited_for_long() -> None:
    toy = Toy(before=busy(4))
    app = app_of(toy)

    async def run() -> float:
        for _ in range(5):
            await asyncio.gather(*(ask(app, body=rows(1.0), client=("127.0.0.1", n)) for n in range(8)))
        begun = time.perf_counter()
        await ask(app, body=rows(1.0), client=("127.0.0.1", 1))
        return time.perf_counter() - begun

    assert asyncio.run(run()) < 0.1
