"""The container of a .bento, read by others and written for them."""

from __future__ import annotations

import io
import lzma
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdeploy.keep.xz import PIECE, Packer, Reader, stored, stream

if TYPE_CHECKING:
    from pathlib import Path


def packed(*parts: bytes) -> bytes:
    out = io.BytesIO()
    with Packer(out) as packer:
        for part in parts:
            packer.write(part)
        assert packer.tell() == sum(map(len, parts))
    return out.getvalue()


@given(st.binary(min_size=1, max_size=300), st.integers(1, 2000))
def test_what_is_stored_is_read_back_by_the_standard_library(data: bytes, times: int) -> None:
    assert lzma.decompress(stored(data * times)) == data * times


@given(st.lists(st.binary(max_size=5000)))
def test_pieces_of_any_size_come_back(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    assert Reader(io.BytesIO(packed(*parts))).readall() == whole if whole else packed(*parts) == b""


@pytest.mark.parametrize("size", [1, 65535, 65536, 65537, PIECE - 1, PIECE, PIECE + 1])
def test_random_bytes_are_stored_and_zeros_shrink(size: int) -> None:
    noise = os.urandom(size)
    assert lzma.decompress(packed(noise)) == noise
    assert len(packed(noise)) < size + size // 10000 + 200
    zeros = bytes(size)
    assert lzma.decompress(packed(zeros)) == zeros
    assert len(packed(zeros)) < 200 + size // 1000


def test_many_streams_are_one_file_to_every_reader() -> None:
    data = os.urandom(PIECE + 1000) + bytes(PIECE) + b"end"
    content = packed(data)
    assert lzma.decompress(content) == data
    with io.BufferedReader(Reader(io.BytesIO(content)), 1 << 16) as reader:
        assert reader.read() == data


def test_the_xz_program_agrees(tmp_path: Path) -> None:
    program = shutil.which("xz")
    if program is None:
        pytest.skip("the program xz is not installed (apt-get install xz-utils)")
    (tmp_path / "x.xz").write_bytes(packed(os.urandom(200_000) + bytes(200_000)))
    subprocess.run([program, "--test", str(tmp_path / "x.xz")], check=True)


def test_the_end_in_the_middle_is_noticed() -> None:
    content = stream(os.urandom(100_000))
    for size in (1, 20, 50_000, len(content) - 1):
        with pytest.raises((EOFError, lzma.LZMAError)):
            Reader(io.BytesIO(content[:size])).readall()


def test_a_stream_that_wants_too_much_memory_is_refused() -> None:
    greedy = lzma.compress(
        b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 29, "mf": lzma.MF_HC3, "preset": 0}]
    )
    with pytest.raises(lzma.LZMAError, match=r"[Mm]emory"):
        Reader(io.BytesIO(greedy)).readall()
