"""The Parquet copy of a segment: made once, ours alone, and not believed where it is damaged (F28, F31)."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from segment_files import occupy, small, written

from nbdeploy import parquet
from nbdeploy.run import copies
from nbdeploy.run.copies import copied, copy_of
from nbdeploy.run.predictions import Predictions
from nbdeploy.run.seal import is_sealed
from nbdeploy.runtime.records import line

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"PAR1 nothing of ours PAR1"])
def test_a_damaged_copy_is_made_again(tmp_path: Path, damage: bytes) -> None:
    path = written(tmp_path, [small()])
    Predictions(tmp_path).frame()
    copy_of(path).write_bytes(damage)
    assert len(Predictions(tmp_path).frame()) == 1
    assert len(Predictions(tmp_path).requests()) == 1


def test_a_copy_that_is_damaged_inside_is_not_believed(tmp_path: Path) -> None:
    path = written(tmp_path, [small(request_id=f"id{number}") for number in range(50)])
    whole = Predictions(tmp_path).frame()
    content = bytearray(copy_of(path).read_bytes())
    content[4:200] = b"\xff" * 196  # the data lies first, what is said about it last
    copy_of(path).write_bytes(bytes(content))
    found = Predictions(tmp_path)
    assert list(found.frame()["request_id"]) == list(whole["request_id"])
    assert len(found.requests()) == 50
    assert len(found.tail(3)) == 3
    assert (found.torn, found.damaged) == (0, 0)


def test_of_a_copy_that_goes_while_it_is_read_no_row_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, [small()])
    real = parquet.Reader.about

    def late(reader: Any, file: Path) -> Any:
        for copy in tmp_path.glob("*.parquet"):
            copy.unlink()
        return real(reader, file)

    monkeypatch.setattr(parquet.Reader, "about", late)
    assert [len(Predictions(tmp_path).frame()) for _ in range(2)] == [1, 1]


@pytest.mark.thorough
def test_a_copy_with_one_bit_flipped_is_made_again(tmp_path: Path) -> None:
    path = written(tmp_path, [small(request_id=f"id{number}") for number in range(5)])
    whole = Predictions(tmp_path).frame()
    content = copy_of(path).read_bytes()
    for place in range(4, len(content), 97):
        copy_of(path).write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        assert Predictions(tmp_path).frame().equals(whole)
        fd = os.open(copy_of(path), os.O_RDONLY)
        assert is_sealed(fd)
        os.close(fd)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_copy_that_is_no_regular_file_is_not_read(tmp_path: Path, kind: str) -> None:
    host = tmp_path / "host"
    host.write_bytes(b"of the host")
    folder = tmp_path / "predictions"
    folder.mkdir()
    occupy(kind, copy_of(written(folder, [small()])), host)
    assert len(Predictions(folder).frame()) == 1
    assert host.read_bytes() == b"of the host"


def test_a_copy_is_ours_alone_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = written(tmp_path, [small()])
    Predictions(tmp_path).frame()
    assert copy_of(path).stat().st_mode & 0o777 == 0o600
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([path.name, copy_of(path).name])


def test_a_folder_that_cannot_be_written_is_read_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, [small()])

    real = os.open

    def refused(path: Any, flags: int, *more: Any) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(13, "no", str(tmp_path))
        return real(path, flags, *more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refused)
        assert len(Predictions(tmp_path).frame()) == 1
    assert not list(tmp_path.glob("*.parquet"))


def test_f31_the_copy_of_a_segment_with_a_torn_end_is_made_once(tmp_path: Path) -> None:
    for says in (True, False):
        path = written(tmp_path, [small()], says=says)
        with path.open("ab") as file:
            file.write(line(b"{}")[:-1])
        made = set()
        for _ in range(3):
            assert len(Predictions(tmp_path).frame()) == 1 + (not says)
            made.add(copy_of(path).stat().st_ino)
        assert len(made) == 1


def test_a_copy_that_was_found_good_is_not_summed_again_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, [small()])
    summed: list[int] = []

    def counted(fd: int) -> bool:
        summed.append(fd)
        return is_sealed(fd)

    monkeypatch.setattr(copies, "is_sealed", counted)
    monkeypatch.setattr(copies, "SETTLED", -1.0)
    for _ in range(3):
        assert len(Predictions(tmp_path).frame()) == 1
    assert len(summed) == 1
    content = bytearray(copy_of(path).read_bytes())
    content[10] ^= 1
    copy_of(path).write_bytes(content)
    assert len(Predictions(tmp_path).frame()) == 1
    assert len(summed) > 1
    assert copy_of(path).read_bytes() != content


def test_copies_of_several_segments_are_made_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        written(tmp_path, [small(request_id=f"id{number}")])
    (tmp_path / f"{9:016d}-7.log").mkdir()
    makers: set[int] = set()
    real = copies._copy

    def watched(reader: parquet.Reader, path: Path) -> int:
        makers.add(threading.get_ident())
        return real(reader, path)

    monkeypatch.setattr(copies, "_copy", watched)
    found = Predictions(tmp_path)
    assert list(found.frame()["request_id"]) == [f"id{number}" for number in range(5)]
    assert (len(list(tmp_path.glob("*.parquet"))), found.damaged) == (5, 1)
    assert threading.get_ident() not in makers


def test_the_copy_knows_what_the_segment_holds(tmp_path: Path) -> None:
    path = written(tmp_path, [small(time=1_700_000_000.000001), small(time=1_700_000_009.5)])
    with parquet.reading() as reader, copied(reader, path) as copy:
        assert copy is not None
        facts = copy.facts
    assert (facts.first, facts.last) == (1_700_000_000_000_001, 1_700_000_009_500_000)
    assert facts.bytes == path.stat().st_size
