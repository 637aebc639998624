"""The away-from-home check: the candidate, a fresh interpreter, answers over HTTP as the kernel did.

Each method is asked for the golden rows and for the edge rows (nulls, unseen categories, reordered columns, integers
for floats). The worker has loaded the bundle with an import guard, so a package outside the lock is already found.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nbdeploy.errors import CheckFailed
from nbdeploy.render import Card, Shown
from nbdeploy.runtime.answers import difference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nbdeploy.capture.bundle import Bundle


@dataclass(frozen=True)
class Check(Shown):
    """What was asked and answered; a check that failed is a CheckFailed instead."""

    bundle: str
    requests: int
    rows: int
    cases: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "bundle": self.bundle,
            "requests": self.requests,
            "rows": self.rows,
            "cases": list(self.cases),
            "passed": True,
        }

    def card(self) -> Card:
        return Card(
            title=self.bundle,
            status="answers away from home as here",
            tone="good",
            facts=(("requests", self.requests), ("rows", self.rows), ("cases", ", ".join(self.cases))),
        )


@dataclass(frozen=True)
class _Case:
    name: str
    method: str
    rows: list[Any]
    expected: list[Any]
    deterministic: bool


def check(bundle: Bundle, post: Callable[[str, bytes], tuple[int, bytes]]) -> Check:
    """Ask everything the kernel has answered; `post(path, body)` reaches the candidate.

    Raises:
        CheckFailed: the findings name the case, the row, and the column, object or package where one is to blame.
    """
    cases = list(_cases(bundle))
    findings = [finding for case in cases if (finding := _judge(case, post))]
    if findings:
        raise CheckFailed(bundle.reference, tuple(dict.fromkeys(findings)))
    return Check(
        bundle=bundle.reference,
        requests=len(cases),
        rows=sum(len(case.rows) for case in cases),
        cases=tuple(dict.fromkeys(case.name for case in cases)),
    )


def _cases(bundle: Bundle) -> Iterator[_Case]:
    golden = json.loads((bundle.src / "golden.json").read_bytes())
    deterministic = {method.name: method.deterministic for method in bundle.manifest.methods}
    for case in ({"name": "golden rows", **golden}, *golden["edge"]):
        for method, expected in case["answers"].items():
            yield _Case(case["name"], method, case["rows"], expected, deterministic[method])


def _judge(case: _Case, post: Callable[[str, bytes], tuple[int, bytes]]) -> str | None:
    """A sentence for what is wrong, or None."""
    status, body = post(f"/{case.method}", json.dumps({"rows": case.rows}).encode())
    reply = json.loads(body)
    if status != 200:
        return f"{case.method}, {case.name}: {_problem(reply)}"
    answers = reply["predictions"]
    if len(answers) != len(case.expected):
        return f"{case.method}, {case.name}: {len(answers)} answers for {len(case.expected)} rows"
    if not case.deterministic:
        return None
    for row, (here, there) in enumerate(zip(case.expected, answers, strict=True)):
        if told := difference(here, there):
            return f"{case.method}, {case.name}, row {row}: {told}"
    return None


def _problem(reply: dict[str, Any]) -> str:
    """The envelope's message, with the column where it names one."""
    error = reply["error"]
    details = [f'column "{item["column"]}": {item["problem"]}' for item in error["details"][:3] if item.get("column")]
    return "; ".join([error["message"], *details])


def poster(url: str, token: str | None, timeout: float) -> Callable[[str, bytes], tuple[int, bytes]]:
    """Posts to a candidate over one keep-alive connection of its own, past any proxy."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=timeout)
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"

    def post(path: str, body: bytes) -> tuple[int, bytes]:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()

    return post
