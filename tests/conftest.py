"""One fixture makes the world: homes of its own for every test. The rest lets two processes share the machine."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import hypothesis
import psutil
import pytest

from nbdeploy.execution import formats
from nbdeploy.settings import Settings

formats.swiftly()
# Another process may have the processor at any moment: how long an example takes says nothing.
hypothesis.settings.register_profile("shared", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("shared")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


RUNS_CONTAINERS = sys.version_info[:2] == (3, 11)  # the Python of the base image that tests/containers/ makes


@pytest.fixture(autouse=True)
def _homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _turn: None) -> None:
    """Under the test's own folder, also for the processes it starts; never the user's."""
    monkeypatch.setenv("NBDEPLOY_HOME", str(tmp_path / "nbdeploy"))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monkeypatch.setenv("BENTOML_DO_NOT_TRACK", "True")


@pytest.fixture
def settings(tmp_path: Path, _homes: None) -> Settings:
    return Settings.load(tmp_path)


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what names images: looking for them takes time, and finds none of these."""
    from nbdeploy.errors import EngineMissing

    def missing(*_: object) -> None:
        raise EngineMissing("none")

    monkeypatch.setattr("nbdeploy.run.engine.find", missing)


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called, it has whatever is opened to be written refused, as on a disk that is mounted read-only."""
    real = os.open

    def refusing(path: Any, flags: int, *args: Any, **named: Any) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return real(path, flags, *args, **named)

    return lambda: monkeypatch.setattr(os, "open", refusing)


@pytest.fixture
def _turn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A test marked `alone` has the machine to itself, whatever the other processes of pytest-xdist are at."""
    if not hasattr(request.config, "workerinput"):
        yield
        return
    shared = tmp_path_factory.getbasetemp().parent
    alone = request.node.get_closest_marker("alone") is not None
    with ExitStack() as room:
        with _locked(shared / "door", fcntl.LOCK_EX):  # who waits for an empty room lets nobody else in
            room.enter_context(_locked(shared / "room", fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
        yield


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with path.open("a") as file:  # closing it lets go
        fcntl.flock(file, how)
        yield


# Those that take longest, in that order: the last file to begin should be a short one. The others with slow tests follow.
LONGEST = (
    "notebooks", "containers", "panel_lab", "ci", "containers_elsewhere", "prometheus", "end_to_end", "front_ends",
    "run_leavebehind", "reproduce", "acknowledged", "gate_end_to_end", "judge_templates", "handover",
    "elsewhere", "all_estimators", "crashes", "capture_code", "runtime_service", "workspace", "judge_gatebook",
    "hostile_requests", "run_local", "keep_crash", "gate", "replay", "watch_drift", "capture_stale", "watch_health",
)  # fmt: skip


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Several processes are done at the same time where the long files are given out first."""
    if not RUNS_CONTAINERS:  # of no other version can a base image be made without a registry
        contained = [item for item in items if item.get_closest_marker("containers")]
        config.hook.pytest_deselected(items=contained)
        items[:] = [item for item in items if item not in contained]
    if hasattr(config, "workerinput"):
        longest = {f"test_{name}": place for place, name in enumerate(LONGEST)}
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: (longest.get(item.path.stem, len(LONGEST)), item.path not in slow))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """With slow tests one more than there are processors: much of those is waiting."""
    return (psutil.cpu_count() or 1) + ("not slow" not in config.getoption("markexpr"))


LEFT = pytest.StashKey[int]()  # thorough tests that were not chosen


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("thorough") and (RUNS_CONTAINERS or not item.get_closest_marker("containers")):
            item.config.stash[LEFT] = item.config.stash.get(LEFT, 0) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Every process of pytest-xdist chooses from all tests, and tells ours how many it left."""
    node.config.stash[LEFT] = getattr(node, "workeroutput", {}).get("left", 0)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if (left := config.stash.get(LEFT, 0)) and "not thorough" in config.getoption("markexpr"):
        terminalreporter.write_line(f"{left} thorough tests are left to `make test-all`")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI a skipped test is a failed promise."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left"] = session.config.stash.get(LEFT, 0)
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped") and exitstatus == 0:
        reporter.write_line("skipped tests are not accepted in CI", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
