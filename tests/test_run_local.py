"""Whole services with a stand-in bundle: from prepare to stop, and what can come between."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import standin
from boxes import until
from load import ask

from nbdeploy.errors import NotReady, NotRunning, PortTaken, ServiceFailed, Unsupported
from nbdeploy.run import local
from nbdeploy.run.environ import allowed
from nbdeploy.run.local import LocalLauncher
from nbdeploy.runtime import control
from nbdeploy.runtime.control import Channel
from nbdeploy.runtime.process import Process
from nbdeploy.runtime.state import State
from nbdeploy.runtime.worker import cause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nbdeploy.settings import Settings

slow = pytest.mark.slow


@pytest.fixture
def launcher(settings: Settings) -> Iterator[LocalLauncher]:
    launcher = LocalLauncher()
    yield launcher
    standin.stop_all(launcher, settings)


@pytest.mark.parametrize(
    ("container", "advice"),
    [({}, "nothing was changed; `container_memory` in the settings"), (None, "nothing was changed.")],
)
def test_a_candidate_killed_for_memory_is_told_with_the_setting_of_its_container(
    settings: Settings, container: dict[str, list[str]] | None, advice: str
) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as unused, pytest.raises(NotReady) as caught:
        local._raise_failed(standin.launch(settings, 1, container=container), Channel(unused), {"fact": cause(137)})
    assert f"(SIGKILL); {advice}" in str(caught.value)


@slow
def test_a_service_is_prepared_activated_replaced_and_stopped(settings: Settings, launcher: LocalLauncher) -> None:
    told: list[str] = []
    launch = standin.launch(settings, 1)
    candidate = launcher.prepare(launch, told.append)
    assert told == ["loading the model", "answering the golden rows"]
    assert launcher.state(launch.folder).state == "starting"
    assert ask(candidate.url)["version"] is None
    with pytest.raises(ConnectionRefusedError):
        ask(candidate.public)

    url = candidate.activate("1.0.0", launch.bundle)
    assert url == candidate.public
    assert ask(url)["version"] == "1.0.0"
    with pytest.raises(ConnectionRefusedError):
        ask(candidate.url)
    candidate.discard()
    first = launcher.state(launch.folder)
    assert (first.state, first.version, first.url, first.workers) == ("ready", "1.0.0", url, 1)
    assert set(first.to_dict()) == {"name", "version", "url", "launcher", "state", "since", "pid", "workers"}

    assert standin.deploy(launcher, standin.launch(settings, 2), "1.0.1") == url
    second = launcher.state(launch.folder)
    assert (second.version, second.pid) == ("1.0.1", first.pid)

    launcher.stop(launch.name, launch.folder)
    assert not standin.processes(settings)
    with pytest.raises(ConnectionRefusedError):
        ask(url)
    assert launcher.state(launch.folder).state == "stopped"
    with pytest.raises(NotRunning):
        launcher.stop(launch.name, launch.folder)
    assert standin.deploy(launcher, standin.launch(settings, 2, again=True), "1.0.1") == url, "the port is kept"


@slow
def test_the_service_sees_an_allow_list_and_its_own_folder(
    settings: Settings, launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "NBD_MINE", "GIVEN", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH"):
        monkeypatch.setenv(name, "x")
    launch = standin.launch(settings, 1, environment={"GIVEN": "y"})
    told = ask(standin.deploy(launcher, launch, "1.0.0"), "/environ")
    assert told["cwd"] == str(launch.bundle / "src")
    assert told["frozen"] > 1_000, "what was loaded is out of the collector's way"
    assert told["environ"]["GIVEN"] == "y"
    assert told["environ"]["NBD_MINE"] == "x"
    assert told["environ"]["BENTOML_DO_NOT_TRACK"] == "True"
    assert not {"AWS_SECRET_ACCESS_KEY", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH"} & set(told["environ"])
    supervisor = Path(f"/proc/{launcher.state(launch.folder).pid}/environ")
    if supervisor.exists():
        assert b"AWS_SECRET" not in supervisor.read_bytes()


def test_variables_that_are_asked_for_are_passed_if_they_are_set() -> None:
    environ = {"PATH": "/bin", "LC_ALL": "C", "SECRET": "s", "TOKEN": "t"}
    assert allowed(environ, ["TOKEN", "UNSET"]).items() >= {("PATH", "/bin"), ("LC_ALL", "C"), ("TOKEN", "t")}
    assert "SECRET" not in allowed(environ)


@slow
def test_what_is_kept_is_for_this_user_alone(settings: Settings, launcher: LocalLauncher) -> None:
    launch = standin.launch(settings, 1)
    standin.deploy(launcher, launch, "1.0.0")
    assert stat.S_IMODE(launch.folder.stat().st_mode) == 0o700
    for path in launch.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path.name


@slow
def test_it_is_in_a_session_of_its_own_and_no_child_of_ours(settings: Settings, launcher: LocalLauncher) -> None:
    launch = standin.launch(settings, 1)
    standin.deploy(launcher, launch, "1.0.0")
    pid = launcher.state(launch.folder).pid or 0
    assert os.getsid(pid) != os.getsid(0)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


@slow
def test_f13_a_port_of_a_stranger_is_named_and_left_alone(settings: Settings, launcher: LocalLauncher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {port} is taken by .*\(pid {os.getpid()}\)"):
            launcher.prepare(standin.launch(settings, 1, port=port), standin.quiet)
        socket.create_connection(("127.0.0.1", port)).close()
    assert not standin.processes(settings)


@slow
def test_f13_a_port_of_another_service_of_ours_is_named(settings: Settings, launcher: LocalLauncher) -> None:
    standin.deploy(launcher, standin.launch(settings, 1, name="first"), "1.0.0")
    port = State.read(settings.services / "first")
    assert port is not None
    with pytest.raises(PortTaken, match="is that of the service first"):
        launcher.prepare(standin.launch(settings, 2, name="second", port=port.port), standin.quiet)


@slow
def test_another_port_is_taken_with_the_next_version(settings: Settings, launcher: LocalLauncher) -> None:
    old = standin.deploy(launcher, standin.launch(settings, 1), "1.0.0")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    new = standin.deploy(launcher, standin.launch(settings, 2, port=port), "1.0.1")
    assert new == f"http://127.0.0.1:{port}"
    assert ask(new)["version"] == "1.0.1"
    with pytest.raises(ConnectionRefusedError):
        ask(old)


def interrupt_when(true: Callable[[], bool]) -> None:
    """As Ctrl-C, once it is so."""

    def wait() -> None:
        until(true, "what is to be interrupted has not begun")
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()


@slow
def test_f33_an_interrupt_while_it_is_prepared_leaves_nothing(settings: Settings, launcher: LocalLauncher) -> None:
    launch = standin.launch(settings, 1, does={"load": "sleep"})
    interrupt_when((launch.folder / "service.log").exists)
    with pytest.raises(KeyboardInterrupt):
        launcher.prepare(launch, standin.quiet)
    assert not standin.processes(settings)
    assert sorted(path.name for path in launch.folder.iterdir()) == [
        "service.log",
        "supervisor.lock",
        "supervisor.log",
        "token",
    ]


@slow
def test_f33_an_interrupt_of_a_redeploy_leaves_the_old_version(settings: Settings, launcher: LocalLauncher) -> None:
    url = standin.deploy(launcher, standin.launch(settings, 1), "1.0.0")
    running = len(standin.processes(settings))
    interrupt_when(lambda: len(standin.processes(settings)) > running)
    with pytest.raises(KeyboardInterrupt):
        launcher.prepare(standin.launch(settings, 2, does={"load": "sleep"}), standin.quiet)
    assert ask(url)["version"] == "1.0.0"
    assert len(standin.processes(settings)) == 2


@slow
def test_f33_an_interrupt_does_not_wait_for_a_version_that_drains(settings: Settings, launcher: LocalLauncher) -> None:
    url = standin.deploy(launcher, standin.launch(settings, 1, drain_timeout=15.0), "1.0.0")
    first = ask(url)["pid"]
    with ThreadPoolExecutor(1) as threads:
        unanswered = threads.submit(ask, url, "/slower")
        while ask(url, "/readyz")["slow"] == 0:
            pass
        standin.deploy(launcher, standin.launch(settings, 2), "1.0.1")
        os.kill(first, signal.SIGSTOP)
        candidate = launcher.prepare(standin.launch(settings, 3), standin.quiet)
        before = set(standin.processes(settings))
        candidate.discard()
        gone = before - set(standin.processes(settings))
        os.kill(first, signal.SIGKILL)
        assert (len(gone), first in gone) == (1, False), "the candidate, and not what is asked something"
        assert unanswered.exception() is not None
    assert ask(url)["version"] == "1.0.1"


@slow
def test_f33_a_second_interrupt_lets_go_of_the_candidate(
    settings: Settings, launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels: list[control.Channel] = []

    def interrupted(channel: control.Channel, _message: object) -> None:
        channels.append(channel)
        raise KeyboardInterrupt

    candidate = launcher.prepare(standin.launch(settings, 1), standin.quiet)
    with monkeypatch.context() as patch:
        patch.setattr(control.Channel, "send", interrupted)
        with pytest.raises(KeyboardInterrupt):
            candidate.discard()
    assert channels[0].socket.fileno() == -1, "it is closed, and the supervisor knows"
    until(lambda: not standin.processes(settings), "the candidate lives on")


@slow
def test_a_discarded_candidate_is_gone_and_its_successor_works(settings: Settings, launcher: LocalLauncher) -> None:
    launch = standin.launch(settings, 1)
    candidate = launcher.prepare(launch, standin.quiet)
    candidate.discard()
    candidate.discard()
    assert not standin.processes(settings)
    with pytest.raises(ServiceFailed):
        candidate.activate("1.0.0", launch.bundle)
    assert launcher.state(launch.folder).state == "stopped"
    assert ask(standin.deploy(launcher, standin.launch(settings, 1, again=True), "1.0.0"))["version"] == "1.0.0"


@slow
def test_a_bundle_that_moves_when_it_is_published_serves_on(settings: Settings, launcher: LocalLauncher) -> None:
    launch = standin.launch(settings, 1)
    candidate = launcher.prepare(launch, standin.quiet)
    published = settings.home / "published"
    launch.bundle.rename(published)
    url = candidate.activate("1.0.0", published)
    told = ask(url)
    assert told["cwd"] == str(published / "src")
    os.kill(told["pid"], signal.SIGKILL)
    assert ask(url)["pid"] != told["pid"]


@slow
@pytest.mark.thorough
def test_f32_eight_deploys_of_one_name_queue_and_none_is_lost(settings: Settings, launcher: LocalLauncher) -> None:
    launches = [standin.launch(settings, number) for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        urls = list(threads.map(lambda item: standin.deploy(launcher, item[1], f"1.0.{item[0]}"), enumerate(launches)))
    assert len(set(urls)) == 1
    assert ask(urls[0])["version"] == launcher.state(launches[0].folder).version


@slow
def test_a_deploy_during_a_stop_waits_for_its_end(settings: Settings, launcher: LocalLauncher) -> None:
    launch = standin.launch(settings, 1)
    url = standin.deploy(launcher, launch, "1.0.0")
    with ThreadPoolExecutor(3) as threads:
        slow_answer = threads.submit(ask, url, "/slow")
        while ask(url, "/readyz")["slow"] == 0:
            pass
        stopping = threads.submit(launcher.stop, launch.name, launch.folder)
        while "stopping" not in "".join(launcher.logs(launch.folder)):
            time.sleep(0.01)
        assert standin.deploy(launcher, standin.launch(settings, 2), "1.0.1") == url
        assert slow_answer.result()["version"] == "1.0.0"
        stopping.result()
    assert ask(url)["version"] == "1.0.1"


@slow
def test_a_hand_over_that_stalls_is_called_off(
    settings: Settings, launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nbdeploy.run.local.GRACE", 0.5)
    url = standin.deploy(launcher, standin.launch(settings, 1), "1.0.0")
    before = set(standin.processes(settings))
    launch = standin.launch(settings, 2, drain_timeout=0.5)
    candidate = launcher.prepare(launch, standin.quiet)
    (worker,) = set(standin.processes(settings)) - before
    os.kill(worker, signal.SIGSTOP)
    monkeypatch.setattr(candidate, "_launch", replace(launch, ready_timeout=0.5))
    with pytest.raises(ServiceFailed, match="does not answer"):
        candidate.activate("1.0.1", launch.bundle)
    candidate.discard()
    os.kill(worker, signal.SIGCONT)
    deadline = time.monotonic() + 20.0
    while set(standin.processes(settings)) != before:
        assert time.monotonic() < deadline, "the candidate lives on"
        time.sleep(0.02)
    assert ask(url)["version"] == launcher.state(launch.folder).version == "1.0.0"


@slow
def test_a_supervisor_of_another_nbdeploy_is_left_alone_and_can_be_stopped(
    settings: Settings, launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = standin.launch(settings, 1)
    url = standin.deploy(launcher, launch, "1.0.0")
    monkeypatch.setattr(control, "PROTOCOL", 2)
    with pytest.raises(
        NotReady, match=r"protocol 1, this one speaks 2.*goes on as it is; .*`stop standin`, then serve"
    ):
        launcher.prepare(standin.launch(settings, 2), standin.quiet)
    assert ask(url)["version"] == "1.0.0"
    (launch.folder / "state.json").unlink()
    assert launcher.state(launch.folder).version == "1.0.0", "it is still asked how it is"
    launcher.stop(launch.name, launch.folder)
    assert not standin.processes(settings)


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"{}\n", b'{"pid": "me"}\n'])
def test_somebody_else_at_the_control_socket_is_no_supervisor(
    settings: Settings, launcher: LocalLauncher, greeting: bytes
) -> None:
    launch = standin.launch(settings, 1)
    with control.serve(launch.folder) as listening:
        listening.setblocking(True)

        def greet() -> None:
            for _ in range(3):
                with listening.accept()[0] as caller:
                    caller.sendall(greeting)

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(NotReady, match="is no supervisor"):
            launcher.prepare(launch, standin.quiet)
        assert launcher.state(launch.folder).state == "stopped"
        with pytest.raises(NotRunning):
            launcher.stop(launch.name, launch.folder)
        thread.join()
    (launch.folder / control.SOCKET).unlink()


@slow
def test_f30_a_service_whose_socket_is_deleted_is_drained_by_a_stop(
    settings: Settings, launcher: LocalLauncher
) -> None:
    launch = standin.launch(settings, 1)
    standin.deploy(launcher, launch, "1.0.0")
    (launch.folder / "control.sock").unlink()
    launcher.stop(launch.name, launch.folder)
    assert "the supervisor of standin has ended" in (launch.folder / "supervisor.log").read_text()


@slow
@pytest.mark.thorough
def test_a_stuck_supervisor_is_ended_by_a_stop(
    settings: Settings, launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nbdeploy.run.local.GRACE", 0.5)
    launch = standin.launch(settings, 1)
    standin.deploy(launcher, launch, "1.0.0")
    os.kill(launcher.state(launch.folder).pid or 0, signal.SIGSTOP)
    with pytest.raises(NotReady, match="does not answer"):
        launcher.prepare(standin.launch(settings, 2), standin.quiet)
    launcher.stop(launch.name, launch.folder)
    assert not standin.processes(settings)
    assert launcher.state(launch.folder).state == "stopped"


@slow
def test_f09_a_stop_leaves_the_stranger_that_has_the_old_number_alone(
    settings: Settings, launcher: LocalLauncher
) -> None:
    folder = settings.services / "standin"
    folder.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as stranger:
        boot = Process.current().boot
        State("standin", "ready", "", pid=stranger.pid, start="1", boot=boot, pids=()).write(folder)
        assert launcher.state(folder).state == "dead"
        launcher.stop("standin", folder)
        assert stranger.poll() is None
    assert launcher.state(folder).state == "stopped"


def test_a_port_that_may_not_be_had_is_not_called_taken(settings: Settings) -> None:
    ours, theirs = socket.socketpair()
    told = {"event": "failed", "kind": "port", "port": 80, "taken": False, "fact": "port 80 cannot be had: no rights"}
    with ours, theirs:
        theirs.sendall(control.encode(told))
        with pytest.raises(PortTaken, match="port 80 cannot be had: no rights; choose another"):
            local._until_ready(standin.launch(settings, 1), control.Channel(ours), standin.quiet)


def test_a_service_in_another_container_is_not_taken_for_stopped(settings: Settings, launcher: LocalLauncher) -> None:
    folder = settings.services / "standin"
    folder.mkdir(parents=True)
    boot = f"{Process.current().boot.partition(' ')[0]} pid:[1]"
    State("standin", "ready", "", pid=os.getpid(), start="1", boot=boot, pids=()).write(folder)
    with pytest.raises(ServiceFailed, match="another container"):
        launcher.stop("standin", folder)
    assert launcher.state(folder).state == "unknown"
    (folder / "state.json").unlink()  # nothing the fixture could stop


def test_a_process_that_cannot_be_ended_is_not_called_stopped(
    settings: Settings, launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = settings.services / "standin"
    folder.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as held:
        process = Process.of(held.pid)
        State("standin", "ready", "", pid=process.pid, start=process.start, boot=process.boot).write(folder)
        with monkeypatch.context() as patch:
            patch.setattr(Process, "wait", lambda *_: False)
            with pytest.raises(ServiceFailed, match=f"processes {held.pid} of it do not end; look at what holds them"):
                launcher.stop("standin", folder)
        held.wait()
    assert launcher.state(folder).state == "dead"
    (folder / "state.json").unlink()  # nothing the fixture could stop


@slow
def test_a_supervisor_that_cannot_start_says_why(settings: Settings, launcher: LocalLauncher) -> None:
    launch = standin.launch(settings, 1)
    (launch.folder / "supervisor.lock").mkdir()
    with pytest.raises(NotReady, match="its supervisor did not start") as caught:
        launcher.prepare(launch, standin.quiet)
    assert "IsADirectoryError" in caught.value.log


@slow
def test_a_worker_that_cannot_be_started_is_a_failure(settings: Settings, launcher: LocalLauncher) -> None:
    launch = standin.launch(settings, 1)
    missing = type(launch)(**{**vars(launch), "python": Path("/nowhere/python")})
    with pytest.raises(NotReady, match="could not be started"):
        launcher.prepare(missing, standin.quiet)
    assert not standin.processes(settings)


@slow
def test_logs_can_be_followed(settings: Settings, launcher: LocalLauncher) -> None:
    launch = standin.launch(settings, 1)
    standin.deploy(launcher, launch, "1.0.0")
    lines = launcher.logs(launch.folder, lines=1, follow=True)
    assert "serves at" in next(lines)
    launcher.stop(launch.name, launch.folder)
    assert "stopping" in next(lines)


def test_windows_is_refused_in_one_sentence(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(Unsupported, match="memory launcher"):
        LocalLauncher().stop("standin", settings.services / "standin")


def test_the_address_of_the_control_socket_is_not_the_folder_of_the_notebook(settings: Settings) -> None:
    with pytest.raises(FileNotFoundError):
        control.connect(settings.services / "nobody")
