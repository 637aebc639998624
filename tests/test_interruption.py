"""A thread's work is interrupted as Ctrl-C interrupts the main thread's."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from gatebooks import notebook
from models import plain

from nbdeploy.interruption import Interruption, waking
from nbdeploy.turns import turn, uninterrupted
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nbdeploy.settings import Settings


class Worker:
    """`work` in a thread, and what came of it."""

    def __init__(self, work: Callable[[Worker], object]) -> None:
        self.interruption = Interruption()
        self.reached = threading.Event()
        self.go = threading.Event()
        self.said: list[str] = []
        self.ended = ""
        self._work = work
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        assert self.reached.wait(10)

    def _run(self) -> None:
        try:
            self.interruption.run(lambda: self._work(self))
            self.ended = "done"
        except KeyboardInterrupt:
            self.ended = "interrupted"

    def end(self) -> str:
        self.thread.join(10)
        assert not self.thread.is_alive()
        return self.ended


def spin(worker: Worker) -> None:
    worker.reached.set()
    while not worker.go.is_set():
        pass


def test_work_that_computes_is_interrupted() -> None:
    worker = Worker(spin)
    worker.interruption.interrupt()
    worker.interruption.interrupt()  # once is enough
    assert worker.end() == "interrupted"


def test_a_change_is_made_whole_first() -> None:
    def change(worker: Worker) -> None:
        with uninterrupted():
            worker.reached.set()
            worker.go.wait(10)
            worker.said.append("whole")
        worker.said.append("gone on")

    worker = Worker(change)
    worker.interruption.interrupt()
    worker.go.set()
    assert worker.end() == "interrupted"
    assert worker.said == ["whole"]


def test_what_was_asked_for_before_a_change_is_raised_before_it() -> None:
    def change(worker: Worker) -> None:
        worker.reached.set()
        worker.go.wait(10)  # nothing is raised in here
        with uninterrupted():
            worker.said.append("begun")

    worker = Worker(change)
    worker.interruption.interrupt()
    worker.go.set()
    assert worker.end() == "interrupted"
    assert worker.said == []


def test_a_wait_in_the_system_is_ended_by_who_knows_how() -> None:
    reading, writing = os.pipe()

    def wait(worker: Worker) -> None:
        with waking(lambda: os.close(writing)):
            worker.reached.set()
            os.read(reading, 1)

    worker = Worker(wait)
    worker.interruption.interrupt()
    assert worker.end() == "interrupted"
    os.close(reading)


def test_a_thread_that_waits_for_its_turn_can_be_interrupted(tmp_path: Path) -> None:
    def wait(worker: Worker) -> None:
        with turn(tmp_path, lambda _text: worker.reached.set()):
            worker.said.append("mine")

    with turn(tmp_path, print):
        worker = Worker(wait)
        worker.interruption.interrupt()
        assert worker.end() == "interrupted"
    assert worker.said == []


def test_a_thread_that_waits_has_its_turn_all_the_same(tmp_path: Path) -> None:
    def wait(worker: Worker) -> None:
        with turn(tmp_path, lambda _text: worker.reached.set()):
            worker.said.append("mine")

    with turn(tmp_path, print):
        worker = Worker(wait)
    assert worker.end() == "done"
    assert worker.said == ["mine"]


def test_work_that_has_ended_is_left_alone() -> None:
    interruption = Interruption()
    assert interruption.run(lambda: 1) == 1
    interruption.interrupt()
    with pytest.raises(KeyboardInterrupt):
        interruption.run(lambda: 1)


def test_elsewhere_nothing_wakes() -> None:
    with waking(lambda: pytest.fail("nobody asked")):
        assert threading.current_thread() is threading.main_thread()


@pytest.mark.slow
@pytest.mark.parametrize(
    "phase",
    [*(pytest.param(phase, marks=pytest.mark.thorough) for phase in ("bundle", "check", "serve", "gate")), "publish"],
)
def test_a_deploy_in_a_thread_is_cancelled_in_each_phase(phase: str, settings: Settings, tmp_path: Path) -> None:
    """As F33 asks of Ctrl-C: before the commit nothing is changed, after it the new version serves; nothing is left over."""
    workspace, fitted = Workspace(settings), plain()
    gate = notebook(tmp_path / "gate.ipynb", "import time\ntime.sleep(600)" if phase == "gate" else "1")
    judge = gate if phase == "gate" else None
    work = Interruption()

    def told(text: str) -> None:
        if text == phase or (phase == "gate" and text.startswith("2/2")):
            aside = threading.Thread(target=work.interrupt)
            aside.start()
            aside.join()

    ended: list[str] = []

    def deploy() -> None:
        try:
            work.run(lambda: workspace.deploy(fitted.model, name="toy", sample=fitted.X, validate=judge, progress=told))
            ended.append("done")
        except KeyboardInterrupt:
            ended.append("interrupted")

    thread = threading.Thread(target=deploy)
    thread.start()
    thread.join(60)
    assert ended == ["interrupted"]
    after = phase in {"publish", "serve"}
    running = [(state.name, state.state) for state in workspace.services()]
    assert running == ([("toy", "ready")] if after else [])
    assert workspace.names() == (["toy"] if after else [])
    if after:
        assert len(workspace.attach("toy").predict(fitted.X)) == len(fitted.X)
        workspace.stop("toy")
    left = {path.name for path in settings.services.iterdir()} if settings.services.is_dir() else set()
    assert left <= {"toy"}
