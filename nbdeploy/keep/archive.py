"""One file that holds a version: written here, read by `bentoml import` and by `unpack`, which trusts nothing in it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import tarfile
import unicodedata
import zlib
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import IO, TYPE_CHECKING, cast

from nbdeploy.errors import DiskFailed, Refused, WrongUse
from nbdeploy.homes import sync_folder
from nbdeploy.keep.bento import ENTRYPOINT, KNOWN
from nbdeploy.keep.store import handed_on
from nbdeploy.keep.xz import MAGIC, Packer, Reader
from nbdeploy.runtime.manifest import FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nbdeploy.keep.registry import Registry
    from nbdeploy.runtime.manifest import Manifest

CHUNK = 1 << 20
MEMBERS = 20_000
LONGEST_HEADER = 1 << 20  # bytes of one extended header; tarfile reads it as a whole


def export(registry: Registry, name: str, version: str | None, file: Path) -> Path:
    """Write the version (the live one by default) into `file`; the same version always gives the same bytes.

    Raises:
        Corrupt: the bundle is not as it was published.
        DiskFailed: the file cannot be written.
    """
    if file.suffix != ".bento":
        meant = file.with_suffix(".bento") if file.name else f"{name}.bento"
        raise WrongUse(f'An export is one file ending in .bento; write "{meant}".')
    found = registry.get(name, version)
    moment = int(datetime.fromisoformat(found.created).timestamp())
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with handed_on(registry, found) as whole, draft.open("wb") as out, Packer(out) as packed:
            members = sorted(_members(whole.bundle, whole.manifest()))
            _pack(whole.bundle, members, moment, cast("IO[bytes]", packed))
        sync_folder(draft)
        draft.replace(file)
        sync_folder(file.parent)
    except OSError as exc:
        raise DiskFailed(f"exporting {found.tag}", str(file), exc.strerror or str(exc)) from exc
    finally:
        with suppress(OSError):
            draft.unlink()
    return file


def listed(manifest: Manifest) -> set[str]:
    """Every file a bundle may consist of."""
    return {*KNOWN, f"src/{FILE}", *(f"src/{name}" for name in manifest.files)}


def _members(folder: Path, manifest: Manifest) -> set[str]:
    """Those there are; caches Python made beside the code stay behind."""
    return {name for name in listed(manifest) if (folder / name).is_file()}


def _pack(folder: Path, names: list[str], moment: int, packed: IO[bytes]) -> None:
    parents = {parent for name in names for parent in _parents(name)}
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted({".", *parents, *names}):
            member = tarfile.TarInfo("." if name == "." else f"./{name}")
            member.mtime = moment
            if name in parents or name == ".":
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
            else:
                member.mode = 0o755 if name == ENTRYPOINT else 0o644
                with (folder / name).open("rb") as content:
                    member.size = os.fstat(content.fileno()).st_size
                    tar.addfile(member, content)


def _parents(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def unpack(file: Path, target: Path) -> set[str]:
    """Write the archive's plain files under `target` and give their names and those of its folders (ending in "/").

    Raises:
        Refused: for the whole archive, at the first link, device, absolute name, "..", duplicate, or at too many bytes.
    """
    seen: dict[str, str] = {}
    left = _allowance(file, target)
    with file.open("rb") as packed, _readable(file), _opened(packed, file) as tar:
        for count, member in enumerate(tar):
            name = _clean(member, file)
            key = unicodedata.normalize("NFC", name.rstrip("/")).casefold()
            left -= max(member.size, 0)
            if key in seen and not (name.endswith("/") and seen[key] == name):
                raise _refused(file, f'"{name}" is in it twice')
            if member.size < 0 or left < 0 or count > MEMBERS:
                raise _refused(file, "it would unpack to more than it can honestly hold")
            seen[key] = name
            content = tar.extractfile(member)
            if content is not None and not _cache(name):
                _write(content, target / name, member.size)
    return set(seen.values())


def _clean(member: tarfile.TarInfo, file: Path) -> str:
    """The member's name relative to the bundle; a folder's ends in "/"."""
    raw = member.name
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise _refused(file, f'"{raw}" is a link or a device')
    name = raw.removeprefix("./").rstrip("/") if raw not in {".", "./"} else ""
    parts = name.split("/")
    if raw.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0] or not name.isprintable():
        raise _refused(file, f'"{raw}" leads out of the bundle')
    if name and any(part in {"", "."} for part in parts):
        raise _refused(file, f'"{raw}" is no plain path')
    return f"{name}/" if member.isdir() else name


def _cache(name: str) -> bool:
    """What Python writes beside modules it imported; never unpacked, so that nobody's bytecode runs."""
    return name.startswith("src/") and "__pycache__" in name.split("/")


def unlisted(names: set[str], manifest: Manifest) -> list[str]:
    """Names in an archive that its manifest does not account for."""
    files = listed(manifest)
    folders = {f"{parent}/" for name in files for parent in _parents(name)} | {"/", "models/"}
    return sorted(name for name in names if name not in files and name not in folders and not _cache(name))


def _write(content: IO[bytes], path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as out:
        shutil.copyfileobj(content, out, CHUNK)
        if out.tell() != size:
            raise EOFError("it ends in the middle of a file")


def _allowance(file: Path, target: Path) -> int:
    """Bytes it may unpack to: 300 times its size, or 4 GB, and what the disk has room for."""
    target.mkdir(parents=True, exist_ok=True)
    return min(max(4 << 30, 300 * file.stat().st_size), shutil.disk_usage(target).free)


def _refused(file: Path, fact: str) -> Refused:
    return Refused(f"{file} was not imported: {fact}. Nothing was changed; export the version again with nbdeploy.")


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, gzip.BadGzipFile, ValueError, OverflowError) as exc:
        raise _refused(file, f"it is not a readable archive ({exc})") from exc
    except OSError as exc:
        if exc.errno is None:  # bz2 speaks of bad data this way
            raise _refused(file, f"it is not a readable archive ({exc})") from exc
        raise


@contextmanager
def _opened(packed: IO[bytes], file: Path) -> Iterator[tarfile.TarFile]:
    magic = packed.read(6)
    packed.seek(0)
    if magic.startswith(b"PK"):
        raise _refused(file, "it is a zip file; a bundle is a .bento")
    inner: IO[bytes] = packed
    if magic.startswith(MAGIC):
        inner = cast("IO[bytes]", io.BufferedReader(Reader(packed), CHUNK))
    elif magic.startswith(b"\x1f\x8b"):
        inner = cast("IO[bytes]", gzip.GzipFile(fileobj=packed))
    elif magic.startswith(b"BZh"):
        inner = cast("IO[bytes]", bz2.BZ2File(packed))
    with tarfile.open(fileobj=cast("IO[bytes]", Forward(inner)), mode="r:") as tar:
        yield tar


class Forward:
    """What tarfile needs of a file, forward only and in bounded pieces."""

    def __init__(self, inner: IO[bytes]) -> None:
        self._inner = inner
        self._position = 0

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= max(LONGEST_HEADER, CHUNK):
            raise ValueError("a header is too long")
        data = self._inner.read(size)
        self._position += len(data)
        return data

    def seek(self, position: int, whence: int = 0) -> int:
        if whence or position < self._position:
            raise ValueError("its parts overlap")
        while self._position < position and self.read(min(CHUNK, position - self._position)):
            pass
        return self._position
