"""A sum over the bytes of a Parquet copy, inside it: whether it is as it was written."""

from __future__ import annotations

import errno
import os
import struct
import zlib

BLOCK = 2**20


def seal(fd: int) -> None:
    """Put a sum of the file's bytes right before its footer, where no reader of Parquet looks."""
    start, footer = _footer(fd)
    sealed = struct.pack("<I", zlib.crc32(footer, _sum(fd, start))) + footer
    if os.pwrite(fd, sealed, start) != len(sealed):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def is_sealed(fd: int) -> bool:
    """Whether each byte is as it was when it was sealed."""
    start, footer = _footer(fd)
    told = os.pread(fd, 4, max(0, start - 4))
    return start > 4 and told == struct.pack("<I", zlib.crc32(footer, _sum(fd, start - 4)))


def is_own(fd: int) -> bool:
    """Whether the file is this user's; where no files have owners, it is."""
    return not hasattr(os, "geteuid") or os.fstat(fd).st_uid == os.geteuid()


def _footer(fd: int) -> tuple[int, bytes]:
    """Where it begins, and what it is; its length stands before the last four bytes."""
    size = os.fstat(fd).st_size
    length = int.from_bytes(os.pread(fd, 4, max(0, size - 8)), "little")
    start = max(0, size - 8 - length)
    return start, os.pread(fd, size - start, start)


def _sum(fd: int, end: int) -> int:
    found = place = 0
    while block := os.pread(fd, min(BLOCK, end - place), place):
        found, place = zlib.crc32(block, found), place + len(block)
    return found
