"""Load with exact accounting: every request that was sent is answered, refused or lost, and none is counted twice."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType


@dataclass
class Tally:
    """`versions` counts answers by version; `connections` holds what each connection was told, where that changed."""

    answered: int = 0
    lost: list[str] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    connections: list[list[str]] = field(default_factory=list)

    def count(self, status: int, body: bytes, seen: list[str]) -> None:
        if status != 200:
            self.refused[status] += 1
            return
        self.answered += 1
        version = str(json.loads(body)["version"])
        self.versions[version] += 1
        if not seen or seen[-1] != version:
            seen.append(version)


class Load:
    """Clients that ask as soon as they are answered, on a thread of their own, for as long as the context lasts.

    With `keep_alive` a connection is used until the service closes it; else each request has its own.
    """

    def __init__(
        self,
        url: str,
        *,
        clients: int,
        keep_alive: bool,
        path: str = "/predict",
        body: bytes = b"{}",
        token: str | None = None,
        limit: float = 10.0,
    ) -> None:
        self.tally = Tally()
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port = int(port)
        self._clients = clients
        self._keep_alive = keep_alive
        self._limit = limit
        self._end = threading.Event()
        headers = ["Host: 127.0.0.1", "Content-Type: application/json", f"Content-Length: {len(body)}"]
        headers += [] if keep_alive else ["Connection: close"]
        headers += [f"Authorization: Bearer {token}"] if token else []
        self._request = "\r\n".join([f"POST {path} HTTP/1.1", *headers, "", ""]).encode() + body
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    async def _run(self) -> None:
        deadline = time.monotonic() + self._limit
        await asyncio.gather(*(self._client(deadline) for _ in range(self._clients)))

    async def _client(self, deadline: float) -> None:
        while not self._end.is_set() and time.monotonic() < deadline:
            try:
                reader, writer = await asyncio.open_connection(self._host, self._port)
            except OSError as exc:
                self.tally.lost.append(f"connect: {exc!r}")
                await asyncio.sleep(0.01)
                continue
            seen: list[str] = []
            self.tally.connections.append(seen)
            await self._use(reader, writer, seen, deadline)
            writer.close()

    async def _use(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: list[str], deadline: float
    ) -> None:
        while not self._end.is_set() and time.monotonic() < deadline:
            try:
                writer.write(self._request)
                status, headers, body = await answer(reader)
            except (OSError, asyncio.IncompleteReadError) as exc:
                self.tally.lost.append(f"after {len(seen)} versions: {exc!r}")
                return
            self.tally.count(status, body, seen)
            if headers.get("connection") == "close" or not self._keep_alive:
                return


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return int(first.split()[1]), headers, body


def ask(url: str, path: str = "/predict", body: bytes = b"{}", timeout: float = 10.0) -> Any:
    """One request on a connection of its own."""

    async def once() -> Any:
        host, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            return json.loads((await asyncio.wait_for(answer(reader), timeout))[2])
        finally:
            writer.close()

    return asyncio.run(once())
