"""The watcher: every alert once and in order, whatever the other side does and however often it is killed."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence  # noqa: TC003 - a dataclass's
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import watching as child
from watched import BEGIN, HOUR, Given, receiving, wait_for

from nbdeploy.errors import DiskFailed, HomeUnavailable, Refused
from nbdeploy.watch import outbox, webhook
from nbdeploy.watch.channels import channels_of
from nbdeploy.watch.computable import NotComputable  # noqa: TC001 - as above
from nbdeploy.watch.ledger import Ledger, Page
from nbdeploy.watch.outbox import Outbox
from nbdeploy.watch.plan import Plan
from nbdeploy.watch.reading import Reading
from nbdeploy.watch.standing import Standing, stepped
from nbdeploy.watch.watcher import Watcher, watched, watching

SCRIPT = Path(__file__).with_name("watching.py")


@dataclass
class World:
    """A watcher in a thread, and a clock that is set by hand."""

    folder: Path
    url: str
    values: Sequence[float] = (0.0,)
    said: list[str] = field(default_factory=list)
    hours: float = 1.0
    removed: bool = False
    ticks: Iterator[int] = field(default_factory=itertools.count)
    ending: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        table = {"when": "error_rate>0.05", "every": "1h", "repeat": "1s"}
        self.plan = Plan.of(
            {"rules": {"errors": table}, "channels": {"ops": self.url}, "send": ["ops"], "allow": ["127.0.0.1"]}
        )
        self.source = Given(self._at)

    def _at(self, began: datetime) -> dict[str, float | NotComputable]:
        place = (began - BEGIN) // HOUR
        return {"requests": 100.0, "error_rate": self.values[place] if 0 <= place < len(self.values) else 0.0}

    @property
    def watcher(self) -> Watcher:
        ledger = Ledger(self.folder)
        channels = channels_of(self.plan.addresses, self.plan.reach, self.folder)
        return Watcher(
            "penguins",
            self.plan,
            ledger,
            self.source,
            Outbox(ledger, channels),
            gone=lambda: self.removed,
            say=self.said.append,
            interval=0.02,
            clock=lambda: BEGIN + self.hours * HOUR + timedelta(seconds=30, milliseconds=next(self.ticks)),
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self.watcher.run, args=(self.ending,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.ending.set()
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become hundredths."""
    monkeypatch.setattr(outbox, "FIRST", 0.02)
    monkeypatch.setattr(outbox, "LONGEST", 0.1)
    monkeypatch.setattr(webhook, "WHOLE", 0.3)


def test_a_webhook_that_is_down_slow_wrong_and_then_up_gets_each_alert_once_in_order(
    tmp_path: Path, hasty: None
) -> None:
    with receiving() as other:
        port = other.port  # and nobody there now
    world = World(tmp_path / "alerts", f"http://127.0.0.1:{port}/s3cret", [0, 0.1, 0, 0.1, 0, 0.1, 0])
    with world.running():
        wait_for(lambda: len(world.said) >= 2)  # it has looked
        world.hours = 7
        wait_for(lambda: Ledger(world.folder).read().post("ops").attempts >= 2)
        assert sum("cannot be reached" in line for line in world.said) == 1
        with receiving("500", "slow", "redirect", "garbage", "huge", "hangup", "503", "200", port=port) as other:
            wait_for(lambda: len(other.bodies) >= 1)
            world.hours = 8
            world.values = [0, 0.1, 0, 0.1, 0, 0.1, 0, 0.2]
            wait_for(lambda: Ledger(world.folder).read().post("ops").waiting == [])
            wait_for(lambda: any("0.2" in body["text"] for body in other.bodies))
        assert other.strayed == 0
    states = [alert["state"] for body in other.bodies for alert in body["alerts"]]
    assert states == ["firing", "resolved"] * 3 + ["firing"]
    ids = [alert["id"] for body in other.bodies for alert in body["alerts"]]
    assert len(set(ids)) == len(ids) == 7
    assert not any("s3cret" in line for line in world.said)
    assert set(other.keys[:8]) == {other.bodies[0]["id"]}  # the same at each try


def test_each_change_is_one_line(tmp_path: Path) -> None:
    with receiving() as other:
        world = World(tmp_path / "alerts", other.url, [0, 0.1])
        with world.running():
            wait_for(lambda: len(world.said) >= 2)
            world.hours = 2
            wait_for(lambda: any("sent to ops" in line for line in world.said))
            world.source.said = "dead, version 1.0.0"
            world.source.down = 1.0
            wait_for(lambda: sum("sent to ops" in line for line in world.said) == 2)
    assert world.said == [
        "watching penguins every 0.02 s; channels: notebook, log, ops; Ctrl-C ends it",
        "penguins is ready",
        "penguins: errors (error_rate>0.05) fires: 0.1 from 2026-11-16 01:00 to 02:00 UTC, version 1.0.0",
        "sent to ops: nbdeploy: penguins: errors fires",
        "penguins is dead, version 1.0.0",
        *[line for line in world.said if line.startswith("penguins: down fires at ")],
        "sent to ops: nbdeploy: penguins: down fires",
        "no longer watching penguins",
    ]


def test_a_second_watcher_is_told_who_watches(tmp_path: Path) -> None:
    world = World(tmp_path / "alerts", "https://hooks.example.com/x")
    with world.running():
        wait_for(lambda: watched(world.folder) is not None and len(world.said) >= 2)
        with pytest.raises(Refused, match=f"watched already, by process {os.getpid()} since 2"):
            world.watcher.run(threading.Event())
    assert watched(world.folder) is None


def test_f24_a_folder_that_cannot_be_written_is_named(tmp_path: Path, read_only: Callable[[], None]) -> None:
    """Also where a lock lies there that nobody holds."""
    (tmp_path / "watch.lock").touch()
    read_only()
    with (
        pytest.raises(HomeUnavailable, match=r"watching penguins failed at .*Read-only"),
        watching(tmp_path, "penguins", 60),
    ):
        pass


def test_who_only_asks_whether_somebody_watches_does_not_keep_a_watcher_from_it(tmp_path: Path) -> None:
    with watching(tmp_path, "penguins", 60):
        pass
    ended = threading.Event()

    def asking() -> None:
        while not ended.is_set():
            watched(tmp_path)

    thread = threading.Thread(target=asking)
    thread.start()
    try:
        for _ in range(20):
            with watching(tmp_path, "penguins", 60):
                pass
    finally:
        ended.set()
        thread.join()


def test_a_service_that_is_removed_ends_its_watcher(tmp_path: Path) -> None:
    world = World(tmp_path / "alerts", "https://hooks.example.com/x")
    with world.running():
        wait_for(lambda: len(world.said) >= 2)
        world.removed = True
        wait_for(lambda: world.said[-1] == "penguins was removed; nothing is left to watch")


def test_f22_what_was_sent_and_cannot_be_noted_is_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, refused, real = [True], itertools.count(), Page.add

    def add(self: Page, record: dict[str, Any]) -> None:
        if "sent" in record and full[0]:
            next(refused)
            raise DiskFailed("Keeping the alerts", "/x", "No space left on device")
        real(self, record)

    monkeypatch.setattr(Page, "add", add)
    with receiving() as other:
        world = World(tmp_path / "alerts", other.url, [0, 0.1], hours=2)
        with world.running():
            wait_for(lambda: next(refused) > 5)
            full[0] = False
            wait_for(lambda: any("sent to ops" in line for line in world.said))
    assert len(other.bodies) == 1
    assert sum("delivering failed" in line for line in world.said) == 1


@pytest.mark.parametrize(
    "error", [HomeUnavailable("reading the log", "/x", "Permission denied"), ZeroDivisionError("of nobody's making")]
)
def test_what_cannot_be_read_is_said_once_and_tried_again(tmp_path: Path, error: Exception) -> None:
    world, broken = World(tmp_path / "alerts", "https://hooks.example.com/x"), [True]
    state = world.source.state

    def failing(now: datetime) -> Reading:
        if broken[0]:
            raise error
        return state(now)

    world.source.state = failing  # type: ignore[method-assign] # of this one
    looked = itertools.count()
    world.source.labels = lambda: str(next(looked)) and ""  # type: ignore[method-assign] # as above
    with world.running():
        wait_for(lambda: any("looking failed" in line for line in world.said))
        wait_for(lambda: next(looked) > 5)
        broken[0] = False
        wait_for(lambda: "penguins is ready" in world.said)
    assert sum(str(error) in line for line in world.said) == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_and_ctrl_c_end_it_at_once_and_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    process = started(tmp_path, "http://127.0.0.1:9/x")
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out.splitlines()[-1] == "no longer watching penguins"
    assert watched(tmp_path) is None


@pytest.mark.slow
@pytest.mark.thorough
def test_killed_again_and_again_it_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    """Real processes, kill -9 at moments of chance, an other side that is up, down and in between."""
    chance = random.Random(7)
    with receiving("200") as other:
        for life in range(6):
            other.answers[:] = [["200"], ["500"], ["hangup"]][life % 3]
            process = started(tmp_path, other.url)
            time.sleep(chance.uniform(0, 1.5))
            process.kill()
            process.communicate(timeout=20)
        other.answers[:] = ["200"]
        last = started(tmp_path, other.url)
        enough = datetime.now(UTC) + timedelta(seconds=2)
        wait_for(lambda: judged(tmp_path) >= enough)
        last.send_signal(signal.SIGTERM)
        last.communicate(timeout=20)
        post = Ledger(tmp_path).read().post("ops")
        waiting = [alert.id for message in post.waiting for alert in message.alerts]
    received = [alert for body in other.bodies for alert in body["alerts"]]
    ids = [*dict.fromkeys(alert["id"] for alert in received), *waiting]
    assert ids == expected(datetime.fromisoformat(received[0]["since"]), judged(tmp_path))
    assert len(ids) >= 4
    by_key = {body["id"]: body for body in other.bodies}
    assert all(by_key[body["id"]] == body for body in other.bodies)  # what came twice is the same to the letter


def started(folder: Path, url: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("watching penguins")
    return process


def judged(folder: Path) -> datetime:
    standings = Ledger(folder).read().standings.values()
    return max((standing.until for standing in standings if standing.until), default=BEGIN)


def expected(since: datetime, until: datetime) -> list[str]:
    """The ids of one watcher that was never killed."""
    second = timedelta(seconds=1)
    begins = [since + place * second for place in range((until - since) // second)]
    windows = [Reading(began, began + second, "1.0.0", child.values(began)) for began in begins]
    rule = child.plan("http://127.0.0.1:9/x").rules["errors"]
    return [alert.id for alert in stepped("penguins", rule, Standing(), windows)[1]]
