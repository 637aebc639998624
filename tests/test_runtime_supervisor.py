"""The supervisor's parts, each alone; whole services are in test_run_local, test_handover and test_crashes."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import standin
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdeploy.run import local
from nbdeploy.runtime import clock, control, process
from nbdeploy.runtime.caller import Caller
from nbdeploy.runtime.control import Garbled, Lines, encode
from nbdeploy.runtime.listener import Listener
from nbdeploy.runtime.live import live
from nbdeploy.runtime.logfile import FILE, KEPT, LogFile, Output
from nbdeploy.runtime.order import Order
from nbdeploy.runtime.process import Process
from nbdeploy.runtime.reactor import Reactor
from nbdeploy.runtime.state import State
from nbdeploy.runtime.worker import cause

if TYPE_CHECKING:
    from pathlib import Path

    from nbdeploy.settings import Settings

MESSAGES = st.lists(
    st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())), max_size=5
)


@settings(max_examples=50)  # each is several messages and cuts
@given(messages=MESSAGES, data=st.data())
def test_messages_survive_any_cut(messages: list[dict[str, Any]], data: st.DataObject) -> None:
    stream = b"".join(encode(message) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    lines, found = Lines(), []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += lines.feed(stream[begin:end])
    assert found == messages


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_garbled(data: bytes) -> None:
    with suppress(Garbled):
        assert all(isinstance(message, dict) for message in Lines().feed(data + b"\n"))


def test_an_endless_line_is_garbled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "LONGEST_LINE", 100)
    with pytest.raises(Garbled):
        Lines().feed(b"x" * 101)


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_f48_a_control_socket_works_two_hundred_characters_deep(tmp_path: Path, platform: str) -> None:
    folder = tmp_path.joinpath(*["deep " + "é" * 40] * 5)
    folder.mkdir(parents=True)
    listening = control.serve(folder)
    try:
        with control.reachable(folder / control.SOCKET, platform) as path, socket.socket(socket.AF_UNIX) as client:
            assert len(os.fsencode(path)) <= control.LONGEST_PATH
            client.connect(path)
        assert stat.S_IMODE((folder / control.SOCKET).stat().st_mode) == 0o600
    finally:
        listening.close()


def test_a_caller_that_speaks_no_json_is_hung_up_on() -> None:
    reactor = Reactor()
    ours, theirs = socket.socketpair()
    caller = Caller(ours, reactor, lambda *_: None, lambda _: reactor.stop())
    theirs.sendall(b"GET / HTTP/1.1\r\n")
    reactor.run()
    assert not caller.open
    assert theirs.recv(1) == b""
    theirs.close()


def test_timers_ring_in_order_and_not_after_they_were_cancelled() -> None:
    reactor, rung = Reactor(), []
    reactor.later(0.02, lambda: rung.append("second"))
    reactor.later(0.01, lambda: rung.append("first"))
    reactor.later(0.0, lambda: rung.append("never")).cancel()
    reactor.later(0.03, reactor.stop)
    reactor.run()
    assert rung == ["first", "second"]


def test_f15_a_bound_port_is_ours_before_anybody_listens() -> None:
    ours = Listener.bind(None)
    stranger = socket.socket()
    stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with pytest.raises(OSError, match="in use"):
        stranger.bind(("127.0.0.1", ours.port))
    stranger.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ours.port))
    ours.open()
    socket.create_connection(("127.0.0.1", ours.port)).close()
    ours.close()


def test_f13_a_port_with_connections_in_time_wait_is_ours_again() -> None:
    first = Listener.bind(None)
    first.open()
    client = socket.create_connection(("127.0.0.1", first.port))
    accepted, _ = first.socket.accept()
    accepted.close()  # the side that closes first keeps the TIME_WAIT
    assert client.recv(1) == b""
    client.close()
    first.close()
    again = Listener.bind(first.port)
    stranger = socket.socket()
    stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with pytest.raises(OSError, match="in use"):
        stranger.bind(("127.0.0.1", again.port))
    stranger.close()
    again.open()
    socket.create_connection(("127.0.0.1", again.port)).close()
    again.close()


def test_f13_a_port_somebody_listens_on_cannot_be_had() -> None:
    stranger = Listener.bind(None)
    stranger.open()
    with pytest.raises(OSError, match="in use") as caught:
        Listener.bind(stranger.port)
    assert caught.value.errno == errno.EADDRINUSE
    stranger.close()


def test_f16_free_ports_are_distinct() -> None:
    listeners = [Listener.bind(None) for _ in range(100)]
    assert len({listener.port for listener in listeners}) == 100
    for listener in listeners:
        listener.close()


def test_f09_a_process_is_known_by_more_than_its_number() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    true = Process.of(child.pid)
    reused = Process(child.pid, "1", true.boot)
    assert true.alive()
    assert not reused.alive()
    assert not reused.signal(signal.SIGKILL)
    assert not true.wait(0.05)
    assert true.signal(signal.SIGKILL)
    assert true.wait(5.0), "one whose status nobody has read is gone as well"
    assert not true.signal(signal.SIGKILL)
    child.communicate()


def test_a_process_of_another_namespace_is_neither_alive_nor_dead() -> None:
    here = Process.current()
    name = here.boot.split(" ")[0]
    assert Process(here.pid, here.start, f"{name} pid:[1]").elsewhere()
    assert not Process(here.pid, here.start, "another-boot pid:[1]").elsewhere()
    assert not here.elsewhere()


def test_the_start_of_a_process_can_be_had_from_ps_as_well() -> None:
    assert process._start_by_ps(os.getpid())
    assert process._start_by_ps(2**22 + 1) is None


def test_a_state_file_is_old_or_new_private_and_forgiving(tmp_path: Path) -> None:
    state = State("n", "ready", clock.now(), version="1.0.0", pids=(1, 2))
    state.write(tmp_path)
    assert State.read(tmp_path) == state
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
    raw = {**state.to_dict(), "invented_later": 1}
    (tmp_path / "state.json").write_text(json.dumps(raw))
    assert State.read(tmp_path) == state
    for text in ("", "[]", "{}", '{"name": "n"', "null"):
        (tmp_path / "state.json").write_text(text)
        assert State.read(tmp_path) is None


def test_logs_are_rotated_by_size(tmp_path: Path) -> None:
    log = LogFile(tmp_path, size=1_000)
    for number in range(100):
        log.write("worker 1", [b"line %d" % number + b"." * 80])
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [FILE, *(f"{FILE}.{number}" for number in range(1, KEPT + 1))]
    assert all(path.stat().st_size < 1_200 for path in tmp_path.iterdir())
    assert "line 99" in (tmp_path / FILE).read_text()


def test_f24_a_log_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    output = Output(LogFile(tmp_path / "missing"), "worker 1")
    output.feed(b"one\ntw")
    output.feed(b"o\nthree")
    output.finish()
    assert output.tail == "one\ntwo\nthree"


def test_the_registry_says_what_is_live(settings: Settings) -> None:
    assert live(settings.registry, "n") is None
    standin.registry(settings, "n", 7, "1.2.0")
    found = live(settings.registry, "n")
    assert found is not None
    assert (found.digest, found.version) == (standin.digest(7), "1.2.0")
    assert live(settings.registry, "other") is None
    settings.registry.write_bytes(b"no database" * 1_000)
    assert live(settings.registry, "n") is None


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-signal.SIGKILL, "out of memory"),
        (137, "out of memory"),
        (-signal.SIGSEGV, "native code (SIGSEGV)"),
        (139, "native code (SIGSEGV)"),
        (-signal.SIGTERM, "signal 15"),
        (3, "exit code 3"),
    ],
)
def test_f10_the_end_of_a_process_has_words(code: int, words: str) -> None:
    assert words in cause(code)


def test_an_order_of_a_newer_kernel_is_understood() -> None:
    order = Order("n", "/b", "sha256:0", "python", "/r", {}, limits={"predict_timeout": 5.0})
    assert Order.from_dict({**order.to_dict(), "invented_later": 1}) == order
    assert order.silence == 15.0


def test_a_supervisor_listens_once_it_is_started_and_leaves_when_nobody_asks(tmp_path: Path) -> None:
    local._start("n", tmp_path)
    channel = control.connect(tmp_path)
    channel.send({"op": "dance"})
    told = channel.receive(5.0)
    assert told is not None
    assert told["event"] == "refused"
    channel.send({"op": "activate", "version": "1.0.0", "bundle": "/b"})
    assert (channel.receive(5.0) or {})["event"] == "refused"
    channel.close()
    deadline = time.monotonic() + 60.0
    while (tmp_path / control.SOCKET).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not (tmp_path / "state.json").exists()


def test_f33_a_supervisor_whose_starter_was_interrupted_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_run, real_connect = subprocess.run, control.connect
    reached: list[control.Channel] = []

    def interrupted(*args: Any, **options: Any) -> None:
        real_run(*args, **options)
        while not (tmp_path / control.SOCKET).exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    def connect(folder: Path) -> control.Channel:
        reached.append(real_connect(folder))
        return reached[-1]

    monkeypatch.setattr(subprocess, "run", interrupted)
    monkeypatch.setattr(control, "connect", connect)
    with pytest.raises(KeyboardInterrupt):
        local._start("n", tmp_path)
    (channel,) = reached
    assert channel.socket.fileno() == -1
    assert channel.peer is not None
    assert channel.peer.wait(60.0)


def test_a_supervisor_that_nobody_waits_for_ends_without_a_trace(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with (tmp_path / local.LOG).open("wb") as log, os.fdopen(writing, "wb"):
        command = [sys.executable, "-I", "-S", "-c", local.BOOT, str(local.PACKAGES), str(tmp_path), str(writing)]
        subprocess.run(command, pass_fds=(writing,), stdout=log, stderr=log, check=True)
    deadline = time.monotonic() + 60.0
    while b"has ended" not in (said := (tmp_path / local.LOG).read_bytes()):
        assert time.monotonic() < deadline, said
        time.sleep(0.01)
    assert said.count(b"\n") == 1, "one line, and no traceback"
    assert not (tmp_path / control.SOCKET).exists()


def test_a_supervisor_is_the_standard_library_alone() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import nbdeploy.runtime.supervisor; print(*sys.modules)"
    package = str(local.PACKAGES)
    told = subprocess.run([sys.executable, "-I", "-S", "-c", code, package], capture_output=True, text=True, check=True)
    found = {name.partition(".")[0] for name in told.stdout.split()}
    assert found <= {*sys.stdlib_module_names, "__main__", "nbdeploy"}
    assert not found & {"asyncio", "email", "http", "logging"}, "it listens sooner without"
