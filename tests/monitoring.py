"""Debian's Prometheus for tests: its programs, and a server of our own that scrapes a service."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE = 40.0  # seconds for what must come


def program(name: str) -> str:
    """The path of prometheus or promtool. In CI a missing one fails the test; elsewhere it is skipped, and says why."""
    found = shutil.which(name)
    if found is not None:
        return found
    said = f"{name} is not installed: apt-get install prometheus"
    if os.environ.get("CI"):
        pytest.fail(said)
    pytest.skip(said)


def hurried(folder: Path) -> None:
    """The files as they are, only faster: scraped twice a second, five seconds for five minutes, fired at once."""
    config = folder / "prometheus.yml"
    text = config.read_text().replace("scrape_interval: 15s", "scrape_interval: 500ms")
    config.write_text(text.replace("evaluation_interval: 15s", "evaluation_interval: 200ms"))
    rules = folder / "prometheus_rules.yml"
    text = re.sub(r"for: \d+m", "for: 0s", rules.read_text())
    for minutes, seconds in (
        ("[5m]", "[5s]"),
        ("[10m]", "[60s]"),
        ("[30m]", "[5s]"),
        ("[1d] offset 30m", "[60s] offset 5s"),
    ):
        text = text.replace(minutes, seconds)
    rules.write_text(text)


class Prometheus:
    """A running server, asked by its HTTP interface."""

    def __init__(self, url: str, command: list[str]) -> None:
        self.url = url
        self.command = command

    def get(self, path: str, **words: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(words)}", timeout=10) as reply:
            return json.load(reply)["data"]

    def ask(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Its labels, without the service's own, and the value of each series."""
        found = self.get("query", query=expression)["result"]
        return {labels(one["metric"]): float(one["value"][1]) for one in found}

    def number(self, expression: str) -> float | None:
        found = list(self.ask(expression).values())
        assert len(found) < 2, f"{expression} is {found}"
        return found[0] if found else None

    def until(self, expression: str, true: Callable[[float | None], bool]) -> float | None:
        """Its value once it is so."""
        deadline = time.monotonic() + PATIENCE
        while not true(value := self.number(expression)):
            assert time.monotonic() < deadline, f"{expression} is still {value}"
            time.sleep(0.05)
        return value

    def scraped(self) -> None:
        """Return when it knows what is there now, by a scrape that began after this; its times are true to 2 ms."""
        begun = time.time()
        self.until("min(timestamp(up) and up == 1)", lambda at: at is not None and at > begun + 0.01)

    def fired(self, since: float) -> set[str]:
        """The alerts that did, also if they have gone out again."""
        seconds = math.ceil(time.time() - since)
        return {
            dict(key)["alertname"] for key in self.ask(f'count_over_time(ALERTS{{alertstate="firing"}}[{seconds}s])')
        }


def labels(metric: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in metric.items() if name not in {"job", "instance", "service"}))


@contextmanager
def prometheus(folder: Path) -> Iterator[Prometheus]:
    """A server with the folder's configuration, on a port of its own choice."""
    log = folder / "log"
    command = [program("prometheus"), f"--config.file={folder / 'prometheus.yml'}", "--web.listen-address=127.0.0.1:0"]
    with log.open("wb") as output:
        server = subprocess.Popen([*command, f"--storage.tsdb.path={folder / 'data'}"], stdout=output, stderr=output)
    try:
        yield Prometheus(_address(server, log), command)
    finally:
        server.terminate()
        server.wait(30)


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + PATIENCE
    while True:
        text = log.read_text()
        found = re.search(r'msg="Listening on" address=(\S+)', text)
        if found and "Server is ready" in text:
            return f"http://{found[1]}"
        assert server.poll() is None, text
        assert time.monotonic() < deadline, text
        time.sleep(0.02)
