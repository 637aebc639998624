"""A closed loop of connections against one server, in a process of its own; every answer is checked and counted.

python -m benchmarks.load JOB     JOB: JSON with port, token, requests (body, expect), connections, seconds
"""

from __future__ import annotations

import asyncio
import functools
import json
import sys
import time
from typing import Any

import uvloop

SETTLE = 0.3  # seconds before counting begins


class Connection(asyncio.Protocol):
    """Asks, waits for the whole answer, asks again; a failure closes it and counts."""

    def __init__(self, load: Load, number: int) -> None:
        self.load = load
        self.number = number
        self.buffer = b""
        self.asked = 0.0
        self.expected = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        if time.perf_counter() >= self.load.end:
            self.transport.close()
            return
        text, self.expected = self.load.requests[self.number % len(self.load.requests)]
        self.number += 1
        self.asked = time.perf_counter()
        self.load.waiting += 1
        self.transport.write(text)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return
        self.buffer = b""
        self.load.waiting -= 1
        self.load.count(head.startswith(b"HTTP/1.1 200") and self.expected in body, self.asked)
        self.ask()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio names it
        self.load.closed += 1
        if self.load.closed == self.load.connections:
            self.load.done.set_result(None)


class Load:
    def __init__(self, job: dict[str, Any]) -> None:
        self.requests = [_request(item, job) for item in job["requests"]]
        self.connections: int = job["connections"]
        self.port: int = job["port"]
        self.seconds: float = job["seconds"]
        self.latencies: list[float] = []
        self.failed = self.waiting = self.closed = 0

    async def run(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        self.done = loop.create_future()
        self.begin = time.perf_counter() + SETTLE
        self.end = self.begin + self.seconds
        for number in range(self.connections):
            await loop.create_connection(functools.partial(Connection, self, 7 * number), "127.0.0.1", self.port)
        await asyncio.wait_for(self.done, self.seconds + 30)
        return self.result()

    def count(self, right: bool, asked: float) -> None:
        now = time.perf_counter()
        if not right:
            self.failed += 1
        elif self.begin <= now < self.end:
            self.latencies.append(now - asked)

    def result(self) -> dict[str, Any]:
        """`failed` counts wrong and missing answers, also before and after the measured seconds."""
        ordered = sorted(self.latencies) or [float("inf")]
        return {
            "per_second": len(self.latencies) / self.seconds,
            "failed": self.failed + self.waiting,
            "p50_ms": ordered[len(ordered) // 2] * 1_000,
            "p99_ms": ordered[int(len(ordered) * 0.99)] * 1_000,
        }


def _request(item: dict[str, str], job: dict[str, Any]) -> tuple[bytes, bytes]:
    body = item["body"].encode()
    lines = ["POST /predict HTTP/1.1", f"Host: 127.0.0.1:{job['port']}", "Content-Type: application/json"]
    if job.get("token"):
        lines.append(f"Authorization: Bearer {job['token']}")
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
    return head.encode() + body, item["expect"].encode()


def _length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


if __name__ == "__main__":
    print(json.dumps(uvloop.run(Load(json.loads(sys.stdin.read())).run())))
