"""F01 to F12: whatever dies, what must live on lives on, and what must not stay does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import standin
from load import Load, ask

from nbdeploy.errors import NotReady
from nbdeploy.run.local import LocalLauncher
from nbdeploy.runtime.state import State
from nbdeploy.runtime.supervisor import CARE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nbdeploy.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

KERNEL = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import standin
from nbdeploy.run.local import LocalLauncher
from nbdeploy.settings import Settings
settings = Settings.load(Path({home!r}))
launch = standin.launch(settings, {number}, again=True)
candidate = LocalLauncher().prepare(launch, standin.quiet)
{then}
print("here", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def launcher(settings: Settings) -> Iterator[LocalLauncher]:
    launcher = LocalLauncher()
    yield launcher
    standin.stop_all(launcher, settings)


def until(true: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def kernel(settings: Settings, number: int, then: str = "") -> subprocess.Popen[str]:
    """Another process that has prepared a candidate, done `then`, and waits to be killed."""
    script = KERNEL.format(tests=str(Path(__file__).parent), home=str(settings.home.parent), number=number, then=then)
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def state(settings: Settings) -> State:
    found = State.read(settings.services / "standin")
    assert found is not None
    return found


def test_f01_killing_the_kernel_leaves_no_gap_in_traffic(settings: Settings, launcher: LocalLauncher) -> None:
    process = kernel(settings, 1, "candidate.activate('1.0.0', launch.bundle)")
    before = state(settings)
    assert before.url is not None
    with Load(before.url, clients=4, keep_alive=False) as load:
        kill(process)
        until(lambda: load.tally.answered > 200)
    assert load.tally.lost == []
    assert launcher.state(settings.services / "standin").state == "ready"
    assert state(settings).pid == before.pid


def test_a_candidate_whose_kernel_dies_before_it_commits_is_gone(settings: Settings, launcher: LocalLauncher) -> None:
    url = standin.deploy(launcher, standin.launch(settings, 1), "1.0.0")
    standin.registry(settings, "standin", 1, "1.0.0")
    standin.launch(settings, 2)
    process = kernel(settings, 2)
    assert len(standin.processes(settings)) == 3
    kill(process)
    until(lambda: len(standin.processes(settings)) == 2)
    assert ask(url)["version"] == "1.0.0"


def test_a_candidate_whose_kernel_dies_after_it_committed_takes_over(
    settings: Settings, launcher: LocalLauncher
) -> None:
    url = standin.deploy(launcher, standin.launch(settings, 1), "1.0.0")
    standin.launch(settings, 2)
    process = kernel(settings, 2, "standin.registry(settings, 'standin', 2, '1.0.1')")
    assert ask(url)["version"] == "1.0.0"
    kill(process)
    until(lambda: ask(url)["version"] == "1.0.1")
    until(lambda: len(standin.processes(settings)) == 2)
    assert state(settings).version == "1.0.1"


def test_a_first_candidate_whose_kernel_dies_leaves_nothing(settings: Settings, launcher: LocalLauncher) -> None:
    standin.launch(settings, 1)
    kill(kernel(settings, 1))
    until(lambda: not standin.processes(settings))
    assert not (settings.services / "standin" / "state.json").exists()
    assert not (settings.services / "standin" / "control.sock").exists()


def test_f03_a_killed_worker_is_replaced_with_the_current_version(settings: Settings, launcher: LocalLauncher) -> None:
    url = standin.deploy(launcher, standin.launch(settings, 1, workers=2), "1.0.0")
    victim = state(settings).pids[0]
    with Load(url, clients=8, keep_alive=False) as load:
        until(lambda: load.tally.answered > 100)
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in state(settings).pids and state(settings).state == "ready")
    assert len(load.tally.lost) <= 8, "only what that worker had in hand"
    assert set(load.tally.versions) == {"1.0.0"}
    assert len(state(settings).pids) == 2


def test_f03_a_worker_ended_by_a_stranger_lets_go_and_is_replaced(settings: Settings, launcher: LocalLauncher) -> None:
    """As somebody's `kill`, or a guard against full memory, does: nobody is lost, and the port stays open."""
    url = standin.deploy(launcher, standin.launch(settings, 1), "1.0.0")
    victim = state(settings).pids[0]
    with Load(url, clients=4, keep_alive=False) as load:
        until(lambda: load.tally.answered > 100)
        os.kill(victim, signal.SIGTERM)
        until(lambda: victim not in state(settings).pids and state(settings).state == "ready")
        seen = load.tally.answered
        until(lambda: load.tally.answered > seen + 100)
    assert load.tally.lost == []


def test_f04_a_crash_loop_is_slowed_down_and_named(settings: Settings, launcher: LocalLauncher) -> None:
    launch = standin.launch(settings, 1)
    url = standin.deploy(launcher, launch, "1.0.0")
    for _ in range(5):
        until(lambda: state(settings).state == "ready", 20.0)
        with suppress(EOFError, ConnectionError):
            ask(url, "/exit")
        until(lambda: state(settings).state != "ready")
    found = launcher.state(launch.folder)
    assert found.state == "failed"
    assert found.failure == (
        "ended by itself with exit code 7; 5 crashes within 30 s: the next start waits 30 s, "
        f"and nbdeploy serve {launch.name} starts it at once"
    )
    assert state(settings).pids == ()


@pytest.mark.alone
def test_f05_workers_die_with_their_supervisor_and_the_port_can_be_had_again(
    settings: Settings, launcher: LocalLauncher
) -> None:
    launch = standin.launch(settings, 1, workers=2)
    url = standin.deploy(launcher, launch, "1.0.0")
    assert ask(url)["version"] == "1.0.0"
    pid = state(settings).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: not standin.processes(settings), 2.0)
    assert launcher.state(launch.folder).state == "dead"
    assert standin.deploy(launcher, standin.launch(settings, 1, workers=2, again=True), "1.0.0") == url
    assert launcher.state(launch.folder).state == "ready"


def test_f05_a_stop_of_a_dead_service_clears_it_away(settings: Settings, launcher: LocalLauncher) -> None:
    launch = standin.launch(settings, 1)
    standin.deploy(launcher, launch, "1.0.0")
    os.kill(state(settings).pid or 0, signal.SIGKILL)
    until(lambda: launcher.state(launch.folder).state == "dead")
    launcher.stop(launch.name, launch.folder)
    assert launcher.state(launch.folder).state == "stopped"


@pytest.mark.parametrize("how", ["stopped", "dead loop", "stuck model"])
def test_f07_a_stuck_worker_is_killed_and_replaced_while_others_serve(
    settings: Settings, launcher: LocalLauncher, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbdeploy.runtime.limits import Limits

    launch = standin.launch(settings, 1, workers=2, limits=Limits(predict_timeout=-8.0))  # 2 s of silence are enough
    url = standin.deploy(launcher, launch, "1.0.0")
    victim = state(settings).pids[0]
    fact = "did not react for 2 s"
    if how == "stopped":
        os.kill(victim, signal.SIGSTOP)
    elif how == "stuck model":
        assert ask(url, "/stick")["pid"] in state(settings).pids
        fact = "was stuck in one call of its model for 2 s"
    else:
        with suppress(TimeoutError, EOFError, ConnectionError):
            victim = ask(url)["pid"]
            while ask(url, "/block", b"100", timeout=0.3):
                pass
    until(lambda: len(standin.processes(settings)) == 3 and state(settings).state == "degraded", 10.0)
    until(lambda: state(settings).state == "ready", 10.0)
    assert fact in "\n".join(launcher.logs(launch.folder))


def test_f08_term_answers_what_was_asked_and_refuses_the_rest(settings: Settings, launcher: LocalLauncher) -> None:
    launch = standin.launch(settings, 1)
    url = standin.deploy(launcher, launch, "1.0.0")
    pid = state(settings).pid or 0
    os.kill(pid, signal.SIGHUP)
    with Load(url, clients=4, keep_alive=True, limit=60.0) as load:
        until(lambda: load.tally.answered > 50)
        os.kill(pid, signal.SIGTERM)
        until(lambda: not standin.processes(settings))
    assert load.tally.lost, "the load went on after the end"
    assert all(text.startswith("connect: ConnectionRefused") for text in load.tally.lost)
    assert launcher.state(launch.folder).state == "stopped"


def test_f08_a_second_term_does_not_wait_for_slow_requests(settings: Settings, launcher: LocalLauncher) -> None:
    standin.deploy(launcher, standin.launch(settings, 1), "1.0.0")
    url, pid = state(settings).url or "", state(settings).pid or 0
    with Load(url, clients=1, keep_alive=True, path="/slower", limit=1.0) as load:
        until(lambda: ask(url, "/readyz")["slow"] == 1)
        os.kill(pid, signal.SIGTERM)
        time.sleep(0.3)  # two signals at once are one
        os.kill(pid, signal.SIGTERM)
        until(lambda: not standin.processes(settings))
    assert load.tally.answered == 0
    assert load.tally.lost


def test_f12_a_segfault_takes_its_request_and_nothing_else(settings: Settings, launcher: LocalLauncher) -> None:
    launch = standin.launch(settings, 1, workers=2)
    url = standin.deploy(launcher, launch, "1.0.0")
    with pytest.raises((EOFError, ConnectionError)):
        ask(url, "/crash")
    assert ask(url)["version"] == "1.0.0"
    until(lambda: state(settings).state == "ready")
    assert any("Segmentation fault" in line for line in launcher.logs(launch.folder, lines=200))


@pytest.mark.parametrize(
    ("does", "fact"),
    [
        ({"load": "fail"}, "the new version could not be loaded: ValueError: no such attribute: lock_"),
        ({"load": "memory"}, "the new version ran out of memory while it was loaded"),
        ({"load": "exit"}, "the new version could not be loaded: SystemExit: 3"),
        ({"load": "quit"}, "the new version ended by itself with exit code 3"),
        ({"load": "segfault"}, "the new version crashed in native code (SIGSEGV)"),
        ({"load": "sleep"}, "the new version was not ready after 1 s"),
        (
            {"findings": ["predict, golden rows, row 0: 1 is not 2"]},
            "does not answer its golden rows as the kernel did",
        ),
    ],
)
def test_f34_a_version_that_cannot_become_ready_never_takes_over(
    settings: Settings, launcher: LocalLauncher, does: dict[str, object], fact: str
) -> None:
    url = standin.deploy(launcher, standin.launch(settings, 1), "1.0.0")
    with pytest.raises(NotReady, match="nothing was changed") as caught:
        launcher.prepare(
            standin.launch(settings, 2, does=does, ready_timeout=1.0 if "sleep" in str(does) else 60.0), standin.quiet
        )
    assert fact in str(caught.value)
    assert "loading" in caught.value.log
    assert ask(url)["version"] == "1.0.0"
    assert launcher.state(settings.services / "standin").state == "ready"
    until(lambda: len(standin.processes(settings)) == 2)


def test_f30_a_service_whose_home_is_deleted_serves_on(settings: Settings, launcher: LocalLauncher) -> None:
    launch = standin.launch(settings, 1)
    url = standin.deploy(launcher, launch, "1.0.0")
    pid = state(settings).pid
    (launch.folder / "state.json").unlink()
    (launch.folder / "control.sock").unlink()
    assert ask(url)["version"] == "1.0.0"
    until(lambda: launcher.state(launch.folder).state == "ready")
    assert state(settings).pid == pid


def test_f30_a_service_whose_folder_is_deleted_is_found_again(settings: Settings, launcher: LocalLauncher) -> None:
    """Also where the folder cannot be made again at first."""
    launch = standin.launch(settings, 1)
    url = standin.deploy(launcher, launch, "1.0.0")
    pid = state(settings).pid
    settings.services.rename(settings.home / "gone")
    settings.services.write_text("in the way")
    time.sleep(CARE + 1)  # it looks once in vain
    assert ask(url)["version"] == "1.0.0"
    settings.services.unlink()
    until(lambda: launcher.state(launch.folder).state == "ready")
    assert state(settings).pid == pid
    launcher.stop("standin", launch.folder)
    assert standin.processes(settings) == []


def test_everything_a_worker_prints_is_in_the_log(settings: Settings, launcher: LocalLauncher) -> None:
    launch = standin.launch(settings, 1)
    standin.deploy(launcher, launch, "1.0.0")
    line = next(iter(launcher.logs(launch.folder)))
    assert line.endswith("loading None")
    assert json.dumps(state(settings).pids[0]) in line
