"""Records are kept whole or not at all, before anyone is answered (F06, F22, F23, F28)."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdeploy.runtime.predlog import PredictionLog
from nbdeploy.runtime.records import line, parse
from nbdeploy.runtime.rules import Rules
from nbdeploy.runtime.segments import is_growing

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"))


def numbers(folder: Path) -> list[int]:
    records = [parse(text) for path in segments(folder) for text in path.read_bytes().splitlines()]
    return [record["n"] for record in records if record is not None]


def record(number: int) -> bytes:
    return line(b'{"n":%d}' % number)


@settings(max_examples=40)  # each is a tree
@given(st.dictionaries(st.text(), JSON))
def test_a_line_gives_its_record_back(content: dict[str, Any]) -> None:
    text = line(json.dumps(content).encode())
    assert text.endswith(b"\n")
    assert parse(text[:-1]) == content


@given(st.binary())
def test_no_bytes_stop_the_parser(text: bytes) -> None:
    assert parse(text) is None or isinstance(parse(text), dict)


@given(st.integers(0, 10**9), st.data())
def test_f28_one_flipped_bit_is_noticed(number: int, data: st.DataObject) -> None:
    text = bytearray(record(number)[:-1])
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] ^= 1 << data.draw(st.integers(0, 7))
    found = parse(bytes(text))
    # Bit 5 of a hexadecimal letter only turns it into a capital, which is refused as well.
    assert found is None


def test_records_are_in_the_file_when_write_returns(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path / "predictions")
    for number in range(3):
        assert log.write(record(number), 1)
        assert numbers(log.folder) == list(range(number + 1))
    log.close()


def test_files_are_ours_alone(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path / "predictions")
    log.write(record(1), 1)
    assert stat.S_IMODE(log.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(segments(log.folder)[0].stat().st_mode) == 0o600
    assert f"-{os.getpid()}" in segments(log.folder)[0].name
    log.close()


def test_a_full_segment_is_followed_by_the_next(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, rules=Rules(rotate_bytes=100))
    for number in range(50):
        log.write(record(number), 1)
    log.close()
    assert len(segments(tmp_path)) > 5
    assert max(path.stat().st_size for path in segments(tmp_path)) <= 100
    assert numbers(tmp_path) == list(range(50))


def test_a_record_larger_than_a_segment_is_kept(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, rules=Rules(rotate_bytes=10))
    for number in range(3):
        log.write(record(number), 1)
    log.close()
    assert numbers(tmp_path) == [0, 1, 2]
    assert len(segments(tmp_path)) == 3


def test_a_segment_is_growing_while_its_process_lives(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path)
    log.write(record(1), 1)
    with segments(tmp_path)[0].open("rb") as file:
        assert is_growing(file.fileno())
        log.close()
        assert not is_growing(file.fileno())


def test_two_logs_of_one_process_have_their_own_files(tmp_path: Path) -> None:
    logs = [PredictionLog(tmp_path) for _ in range(5)]
    for number, log in enumerate(logs):
        log.write(record(number), 1)
        log.close()
    assert sorted(numbers(tmp_path)) == list(range(5))


def test_f22_a_short_write_leaves_nothing_and_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = PredictionLog(tmp_path)
    log.write(record(1), 1)
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: real(fd, data[:5]))
        assert not log.write(record(2), 7)
    assert (log.degraded, log.unlogged_rows) == (True, 7)
    assert log.write(record(3), 1)
    assert not log.degraded
    assert numbers(tmp_path) == [1, 3]
    log.close()


@pytest.mark.parametrize("call", ["write", "open", "ftruncate", "mkdir"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_f23_whatever_call_fails_it_recovers_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    folder = tmp_path / "predictions"
    log = PredictionLog(folder)
    if call in {"write", "ftruncate"}:
        log.write(record(1), 1)
    real = os.write

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        if call == "ftruncate":
            patch.setattr(os, "write", lambda fd, data: real(fd, data[:5]))
        assert not log.write(record(2), 1)
        assert log.degraded
    assert log.write(record(3), 1)
    assert numbers(folder)[-1] == 3
    assert 2 not in numbers(folder)
    log.close()


def test_f22_a_device_that_is_full(tmp_path: Path) -> None:
    log = PredictionLog(Path("/dev/full"))
    assert not log.write(record(1), 1)
    assert log.degraded


def test_one_fsync_serves_all_who_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = PredictionLog(tmp_path, strict=True)
    synced: list[int] = []
    real = os.fsync

    def slow_fsync(fd: int) -> None:
        time.sleep(0.02)
        synced.append(os.fstat(fd).st_size)
        real(fd)

    async def answer(number: int) -> int:
        """The size that must be on the disk before this one is answered."""
        await asyncio.sleep(number / 1_000)
        log.write(record(number), 1)
        written = segments(tmp_path)[0].stat().st_size
        assert await log.durable()
        assert synced[-1] >= written
        return written

    async def run() -> None:
        log.write(record(0), 1)
        monkeypatch.setattr(os, "fsync", slow_fsync)
        await asyncio.gather(*(answer(number) for number in range(1, 40)))

    asyncio.run(run())
    assert len(synced) < 15
    log.close()


def test_an_fsync_that_fails_is_not_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = PredictionLog(tmp_path, strict=True)

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "bad disk")

    async def run() -> bool:
        log.write(record(1), 1)
        monkeypatch.setattr(os, "fsync", fail)
        return await log.durable()

    assert not asyncio.run(run())
    log.close()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_fsync_that_fails_as_a_segment_is_closed_is_not_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = PredictionLog(tmp_path, strict=True, rules=Rules(rotate_bytes=10))
    assert log.write(record(1), 1)
    closing, real = os.open(segments(tmp_path)[0], os.O_RDONLY), os.fsync

    def failing(fd: int) -> None:
        if os.path.sameopenfile(fd, closing):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        assert log.write(record(2), 1)  # in the next segment, before anybody waited for the first
    assert not asyncio.run(log.durable())
    assert asyncio.run(log.durable())
    log.close()
    os.close(closing)


@pytest.mark.slow
def test_f06_kill_minus_nine_loses_no_acknowledged_record(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from nbdeploy.runtime.predlog import PredictionLog; from nbdeploy.runtime.rules import Rules;"
        "from nbdeploy.runtime.records import line; log = PredictionLog(Path(sys.argv[1]), rules=Rules(rotate_bytes=5_000))\n"
        "for n in range(10**9): log.write(line(b'{\"n\":%d}' % n), 1); print(n, flush=True)"
    )
    for number in range(5):
        folder = tmp_path / str(number)
        child = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        acknowledged = [int(child.stdout.readline()) for _ in range(200 + 37 * number)]
        child.send_signal(signal.SIGKILL)
        acknowledged += [int(text) for text in child.stdout.read().splitlines(keepends=True) if text.endswith(b"\n")]
        child.stdout.close()
        child.wait()
        kept = numbers(folder)
        assert kept[: len(acknowledged)] == acknowledged
        assert len(kept) <= len(acknowledged) + 1


def test_each_write_of_lines_is_one_system_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = PredictionLog(tmp_path)
    log.write(record(0), 1)
    written: list[bytes] = []
    real = os.write

    def write(fd: int, data: bytes) -> int:
        written.append(data)
        return real(fd, data)

    def refuse(*_: object) -> None:
        raise AssertionError("a segment is opened once")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        patch.setattr(os, "open", refuse)
        for number in range(3):
            log.write(record(number) * 20, 20)
    assert written == [record(number) * 20 for number in range(3)]
    log.close()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts what is open")
def test_a_folder_that_cannot_be_synced_costs_no_descriptor_a_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = PredictionLog(tmp_path, strict=True)

    def failing(_: int) -> None:
        raise OSError(errno.EIO, "bad disk")

    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        before = opened()
        assert not any(log.write(record(number), 1) for number in range(5))
        assert opened() == before
    assert log.write(record(7), 1)
    assert numbers(tmp_path) == [7]
    log.close()
