"""Clients that wait for each other's calls fall into step; nobody alone is made to wait."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from toy import Toy, app_of, ask, manifest, rows

from nbdeploy.runtime.batching import LONGEST_PAUSE
from nbdeploy.runtime.crowd import Crowd
from nbdeploy.runtime.manifest import Method, Output

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


def loops(toy: Toy, clients: int, times: int, pause: float = 0.0) -> None:
    """Each client asks, waits for its answer, thinks a little, asks again."""
    app = app_of(toy)

    async def client(number: int) -> None:
        for _ in range(times):
            assert (await ask(app, body=rows(1.0), client=("127.0.0.1", number))).status == 200
            await asyncio.sleep(pause * (number + 1))

    async def run() -> None:
        await asyncio.gather(*(client(number) for number in range(clients)))

    asyncio.run(run())


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
    app = app_of(Toy(manifest(Method("predict", Output("array"), milliseconds=40)), busy(4)))
    patience = app.batcher._patience
    pauses: list[float] = []

    def noted() -> float:
        pauses.append(patience())
        return pauses[-1]

    app.batcher._patience = noted  # type: ignore[method-assign]

    async def run() -> None:
        for _ in range(5):
            await asyncio.gather(*(ask(app, body=rows(1.0), client=("127.0.0.1", n)) for n in range(8)))
        assert (await ask(app, body=rows(1.0), client=("127.0.0.1", 1))).status == 200

    asyncio.run(run())
    assert 0 < pauses[-1] <= LONGEST_PAUSE
