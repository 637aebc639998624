"""F35, F36: a new version takes over under load and no request is lost."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import standin
from load import Load, ask

from nbdeploy.run.local import LocalLauncher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbdeploy.settings import Settings

pytestmark = pytest.mark.slow
SWAPS = 20


@pytest.fixture
def launcher(settings: Settings) -> Iterator[LocalLauncher]:
    launcher = LocalLauncher()
    yield launcher
    standin.stop_all(launcher, settings)


def wait_for_slow(url: str, number: int) -> None:
    """Until so many slow requests are being answered."""
    deadline = time.monotonic() + 60.0
    while ask(url, "/readyz")["slow"] < number:
        assert time.monotonic() < deadline


def wait_for_answers(load: Load, version: str, number: int) -> None:
    """Until so many were of this version: then it is under load."""
    deadline = time.monotonic() + 60.0
    while load.tally.versions[version] < number:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("loop", [pytest.param("uvloop", marks=pytest.mark.thorough), "asyncio"])
@pytest.mark.parametrize(
    "keep_alive",
    [
        pytest.param(True, id="keep-alive"),
        pytest.param(False, id="connection-per-request", marks=pytest.mark.thorough),
    ],
)
def test_twenty_swaps_under_load_lose_nothing(
    settings: Settings, launcher: LocalLauncher, keep_alive: bool, loop: str
) -> None:
    swaps = SWAPS if loop == "uvloop" else 3
    first = standin.launch(settings, 0, loop=loop)
    url = standin.deploy(launcher, first, "1.0.0")
    with Load(url, clients=8, keep_alive=keep_alive, limit=280.0) as load:
        wait_for_answers(load, "1.0.0", 50)
        for number in range(1, swaps + 1):
            standin.deploy(launcher, standin.launch(settings, number, loop=loop), f"1.0.{number}")
            assert ask(url)["version"] == f"1.0.{number}"
            wait_for_answers(load, f"1.0.{number}", 50)
    tally = load.tally
    assert tally.lost == []
    assert tally.refused == {}
    assert len(tally.versions) == swaps + 1
    assert all(len(seen) <= 1 for seen in tally.connections), "a connection belongs to one version"


@pytest.mark.thorough
def test_several_workers_share_the_socket_and_swap_without_loss(settings: Settings, launcher: LocalLauncher) -> None:
    url = standin.deploy(launcher, standin.launch(settings, 0, workers=2), "1.0.0")
    assert len({ask(url)["pid"] for _ in range(200)}) == 2
    with Load(url, clients=8, keep_alive=True, limit=280.0) as load:
        wait_for_answers(load, "1.0.0", 50)
        for number in range(1, 4):
            standin.deploy(launcher, standin.launch(settings, number, workers=2), f"1.0.{number}")
            wait_for_answers(load, f"1.0.{number}", 50)
    assert load.tally.lost == []
    assert set(load.tally.versions) == {"1.0.0", "1.0.1", "1.0.2", "1.0.3"}


def test_requests_under_way_are_answered_by_the_version_that_took_them(
    settings: Settings, launcher: LocalLauncher
) -> None:
    url = standin.deploy(launcher, standin.launch(settings, 1), "1.0.0")
    with ThreadPoolExecutor(4) as threads:
        slow = [threads.submit(ask, url, "/slow") for _ in range(4)]
        wait_for_slow(url, 4)
        standin.deploy(launcher, standin.launch(settings, 2), "1.0.1")
        assert {item.result()["version"] for item in slow} == {"1.0.0"}
        assert ask(url)["version"] == "1.0.1"


def test_a_stop_answers_what_was_asked_before(settings: Settings, launcher: LocalLauncher) -> None:
    launch = standin.launch(settings, 1)
    url = standin.deploy(launcher, launch, "1.0.0")
    with ThreadPoolExecutor(4) as threads:
        slow = [threads.submit(ask, url, "/slow") for _ in range(4)]
        wait_for_slow(url, 4)
        launcher.stop(launch.name, launch.folder)
        assert {item.result()["version"] for item in slow} == {"1.0.0"}


def test_who_takes_the_place_of_a_dead_worker_has_its_number(settings: Settings, launcher: LocalLauncher) -> None:
    """In a hand-over both versions number their own."""
    url = standin.deploy(launcher, standin.launch(settings, 0, workers=2), "1.0.0")
    assert ask(url)["noted"] > 0, "a worker counts from its activation on, not from its first request"
    before = {answer["pid"]: answer["worker"] for answer in (ask(url) for _ in range(200))}
    assert set(before.values()) == {0, 1}
    victim = next(pid for pid, number in before.items() if number == 0)
    os.kill(victim, signal.SIGKILL)
    deadline = time.monotonic() + 60.0
    while (answer := ask_through(url))["worker"] != 0 or answer["pid"] == victim:
        assert time.monotonic() < deadline
    standin.deploy(launcher, standin.launch(settings, 1, workers=2), "1.0.1")
    told = [ask(url) for _ in range(200)]
    assert {(answer["worker"], answer["workers"]) for answer in told} == {(0, 2), (1, 2)}
    assert {answer["version"] for answer in told} == {"1.0.1"}


def ask_through(url: str) -> dict[str, Any]:
    """An answer, or that nobody gave one: a connection to the killed worker is reset."""
    try:
        answer: dict[str, Any] = ask(url)
    except OSError:
        return {"worker": None, "pid": None}
    return answer
