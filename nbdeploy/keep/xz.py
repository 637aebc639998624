"""xz streams, because that is what `bentoml import` expects inside a .bento: written fast, read carefully.

xz has no level that only stores, and takes minutes for a gigabyte of what cannot be compressed, as weights cannot. So each piece of
a file becomes a stream of its own (readers take several in a row), compressed lightly or, where a sample of it does not shrink, stored
in the format's own uncompressed chunks. The layout: https://tukaani.org/xz/xz-file-format.txt
"""

from __future__ import annotations

import io
import lzma
from struct import pack
from typing import IO
from zlib import crc32

MAGIC = b"\xfd7zXZ\0"
PIECE = 4 << 20  # bytes of one stream, before compression
MEMORY = 256 << 20  # bytes the dictionary of a stream may take when it is read
_LIGHT = [{"id": lzma.FILTER_LZMA2, "preset": 0, "mf": lzma.MF_HC3, "nice_len": 8, "depth": 1, "dict_size": 1 << 18}]
_CRC32 = b"\0\1"  # stream flags: each block ends in a CRC32
_CHUNK = 1 << 16  # bytes an uncompressed chunk holds at most


class Packer(io.RawIOBase):
    """What tarfile writes into; the same bytes in always give the same bytes out."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._piece = bytearray()
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed names a private protocol
        self._piece += data
        self._position += len(data)
        while len(self._piece) >= PIECE:
            self._out.write(stream(bytes(self._piece[:PIECE])))
            del self._piece[:PIECE]
        return len(data)

    def close(self) -> None:
        if not self.closed and self._piece:
            self._out.write(stream(bytes(self._piece)))
            self._piece.clear()
        super().close()


def stream(piece: bytes) -> bytes:
    """One whole xz stream of the piece."""
    middle = len(piece) // 2
    samples = [piece[:32768], piece[middle : middle + 32768], piece[-32768:]]
    if sum(len(lzma.compress(sample, filters=_LIGHT)) for sample in samples) > 0.95 * sum(map(len, samples)):
        return stored(piece)
    return lzma.compress(piece, check=lzma.CHECK_CRC32, filters=_LIGHT)


def stored(piece: bytes) -> bytes:
    """One whole xz stream that holds the piece as it is."""
    header = b"\2\0\x21\1\0\0\0\0"  # 12 bytes, one filter: LZMA2 with the smallest dictionary
    header += pack("<I", crc32(header))
    starts = range(0, len(piece), _CHUNK)
    chunks = [_chunk(piece[start : start + _CHUNK], first=start == 0) for start in starts]
    body = b"".join(chunks) + b"\0"
    unpadded = len(header) + len(body) + 4
    block = header + body + b"\0" * (-len(body) % 4) + pack("<I", crc32(piece))
    index = b"\0\1" + _number(unpadded) + _number(len(piece))
    index += b"\0" * (-len(index) % 4)
    index += pack("<I", crc32(index))
    size = pack("<I", len(index) // 4 - 1)
    start = MAGIC + _CRC32 + pack("<I", crc32(_CRC32))
    return start + block + index + pack("<I", crc32(size + _CRC32)) + size + _CRC32 + b"YZ"


def _chunk(data: bytes, *, first: bool) -> bytes:
    return (b"\1" if first else b"\2") + pack(">H", len(data) - 1) + data


def _number(value: int) -> bytes:
    """Seven bits a byte, the least significant first."""
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


class Reader(io.RawIOBase):
    """Streams in a row, none of which may take more memory than is decent."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        self._inner = _decompressor()
        self._ahead = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # as in Packer.write
        while True:
            if self._inner.eof:
                self._ahead = self._inner.unused_data or self._packed.read(1 << 16)
                if not self._ahead:
                    return 0
                self._inner = _decompressor()
            elif self._inner.needs_input and not self._ahead:
                self._ahead = self._packed.read(1 << 16)
                if not self._ahead:
                    raise EOFError("it ends in the middle")
            data = self._inner.decompress(self._ahead, max_length=len(buffer))
            self._ahead = b""
            if data:
                buffer[: len(data)] = data
                return len(data)


def _decompressor() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY)
