"""`Ledger`: the alerts of one name on disk, in lines framed as those of the prediction log (runtime/records.py).

Lines are added under a lock, each with one write and an fsync: what was said to be kept is there after `kill -9` and after
a power cut. A line that was torn by a kill says nothing, and is cut off by the next writer.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nbdeploy.homes import failing, private, sync_folder, write_whole
from nbdeploy.runtime.records import line, parse
from nbdeploy.turns import turn
from nbdeploy.watch.book import Book

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER = "alerts"  # in a service's folder
FILE = "ledger.log"
LARGEST = 1_000_000  # bytes; then all is written as one line


class Ledger:
    """`folder` is services/NAME/alerts, made where it is missing unless `there`: then the service was removed meanwhile.

    `damaged` counts lines that the last reading could not use.
    """

    def __init__(self, folder: Path, *, there: bool = False) -> None:
        self.folder = folder
        self.there = there
        self.path = folder / FILE
        self.damaged = 0

    def read(self) -> Book:
        """As it is now; without a lock, so perhaps as it was a moment ago."""
        with failing("reading the alerts", self.path):
            return self._read()[0]

    @contextmanager
    def turn(self) -> Iterator[Page]:
        """The only writer meanwhile."""
        with failing("keeping the alerts", self.folder):
            if self.there:
                self.folder.stat()
            private(self.folder)
        with turn(self.folder, lambda _: None), failing("keeping the alerts", self.path):
            yield self._page()

    def _page(self) -> Page:
        book, whole, size = self._read()
        if size > LARGEST:
            content = line(_dumped(book.whole()))
            write_whole(self.path, content, 0o600)
            whole = len(content)
        elif whole < size:
            with self.path.open("r+b") as file:
                file.truncate(whole)
        return Page(self.path, book)

    def _read(self) -> tuple[Book, int, int]:
        """The book, where its last whole line ends, and the file's size."""
        book, self.damaged = Book(), 0
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return book, 0, 0
        whole = content.rfind(b"\n") + 1
        for text in content[:whole].split(b"\n")[:-1]:
            record = parse(text)
            try:
                book.apply(record or {})
            except (KeyError, TypeError, ValueError, AttributeError):
                record = None  # the sum is right, so this was written by something that is not our nbdeploy
            self.damaged += record is None
        return book, whole, len(content)


class Page:
    """The book as it is, and where it goes on."""

    def __init__(self, path: Path, book: Book) -> None:
        self.path = path
        self.book = book

    def add(self, record: dict[str, Any]) -> None:
        """On the disk when this returns."""
        fresh = not self.path.exists()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            _write(descriptor, line(_dumped(record)))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if fresh:
            sync_folder(self.path.parent)
        self.book.apply(record)


def _write(descriptor: int, content: bytes) -> None:
    """All of it; of what a full disk took half of, nothing."""
    before = os.fstat(descriptor).st_size
    try:
        while content:
            content = content[os.write(descriptor, content) :]
    except OSError:
        os.ftruncate(descriptor, before)
        raise


def _dumped(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
