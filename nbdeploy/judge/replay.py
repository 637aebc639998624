"""Logged requests asked again: what a candidate would have answered, and how fast beside the live version.

Both versions run as temporary services, so nothing is logged and nobody's traffic is slowed. Requests go out one at a
time with the rows they had; who is asked first alternates, so that neither finds the machine warmer.
"""

from __future__ import annotations

import json
import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import Unreachable
from nbdeploy.judge.tally import Tally
from nbdeploy.runtime import answers
from nbdeploy.runtime.comparison import tolerance_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nbdeploy.judge.logged import Selection
    from nbdeploy.run.client import Client
    from nbdeploy.run.predictions import Record
    from nbdeploy.runtime.manifest import Manifest

ROUNDS = 20  # a request is sent again without the rows that were refused; a refusal names up to 100


@dataclass(frozen=True)
class Asked:
    """`predictions` by row; `problems` of the rows that were refused. `seconds` where all were answered at once."""

    predictions: dict[int, Any]
    problems: dict[int, str]
    seconds: float | None


@dataclass
class Comparison:
    """What a replay has seen."""

    tally: Tally
    replayed: int = 0
    new_errors: Counter[str] = field(default_factory=Counter)  # rows, by problem
    gone_errors: Counter[str] = field(default_factory=Counter)
    neither: Counter[str] = field(default_factory=Counter)  # requests neither version accepts
    versions: Counter[str] = field(default_factory=Counter)  # requests, by who answered then
    live_seconds: array[float] = field(default_factory=lambda: array("d"))
    seconds: array[float] = field(default_factory=lambda: array("d"))


def compare(
    selection: Selection, live: Client, candidate: Client, manifest: Manifest, progress: Callable[[str], None]
) -> Comparison:
    """`manifest` is the candidate's."""
    tolerances = {method.name: tolerance_of(method.output) for method in manifest.methods}
    seen = Comparison(Tally(manifest.model.get("task") in {"classification", "clustering"}, tolerances))
    for number, record in enumerate(selection):
        if number % max(selection.taken // 20, 100) == 0:
            progress(f"{number} of {selection.taken} requests")
        if number % 2:
            now, before = ask(candidate, record.method, record.rows), ask(live, record.method, record.rows)
        else:
            before, now = ask(live, record.method, record.rows), ask(candidate, record.method, record.rows)
        _note(seen, record, before, now)
    return seen


def _note(seen: Comparison, record: Record, live: Asked, candidate: Asked) -> None:
    if live.seconds is not None and candidate.seconds is not None:
        seen.live_seconds.append(live.seconds)
        seen.seconds.append(candidate.seconds)
    known = False
    for number in range(len(record.rows)):
        if number in candidate.predictions:
            known = True
            seen.tally.add(record, number, candidate.predictions[number])
            if number in live.problems:
                seen.gone_errors[live.problems[number]] += 1
        elif number in live.predictions:
            known = True
            seen.new_errors[candidate.problems[number]] += 1
    seen.versions[record.version] += 1
    if known:
        seen.replayed += 1
    else:
        seen.neither[next(iter(live.problems.values()))] += 1


def ask(client: Client, method: str, rows: Sequence[Any]) -> Asked:
    """The rows' answers, each on its own account: what a refusal names is left out, and the rest asked again."""
    predictions: dict[int, Any] = {}
    problems: dict[int, str] = {}
    left = list(range(len(rows)))
    seconds = None
    for turn in range(ROUNDS):
        body = answers.dumps({"rows": [rows[number] for number in left]})
        began = time.perf_counter()
        reply = client.send("POST", f"/{method}", body)
        took = time.perf_counter() - began
        told = _object(client, reply.body)
        if reply.status == 200:
            seconds = None if turn else took
            predictions = dict(zip(left, told["predictions"], strict=True))
            left = []
            break
        named = {left[place]: problem for place, problem in _named(told, len(left)).items()}
        problems |= named or dict.fromkeys(left, f"{told['error']['message']} (HTTP {reply.status})")
        left = [number for number in left if number not in problems]
        if not left:
            break
    rest = next(iter(problems.values()), "")
    return Asked(predictions, problems | dict.fromkeys(left, rest), seconds)


def _object(client: Client, body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if not isinstance(told, dict) or not ({"predictions", "error"} & told.keys()):
        raise Unreachable(client.url, "what answers there is no service of nbdeploy")
    return told


def _named(told: dict[str, Any], rows: int) -> dict[int, str]:
    """The first problem of each row an error speaks of; services never name values."""
    found: dict[int, str] = {}
    for detail in told["error"].get("details") or ():
        row = detail.get("row")
        if isinstance(row, int) and row < rows:
            column = detail.get("column")
            found.setdefault(row, f"{column} {detail['problem']}" if column else str(detail["problem"]))
    return found
