"""Golden and edge rows, answered by a loaded model and compared with what the kernel answered.

Cases share a call where requests that come together would: one for each method in place of one for each method and
case, which is most of what a worker does between its imports and its readiness.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import answers
from .comparison import difference, tolerance_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from .manifest import Method
    from .model import ServedModel
    from .schema import Request


@dataclass(frozen=True)
class Case:
    """`expected` are the kernel's answers, by method; `request` what a service would make of the rows."""

    name: str
    request: Request
    expected: Mapping[str, Sequence[Any]]

    @property
    def rows(self) -> list[Any]:
        return self.request.rows


def findings(served: ServedModel, golden: Mapping[str, Any]) -> list[str]:
    """A sentence for each method and case that is not answered as it was in the kernel."""
    cases, found = _cases(served, golden)
    for method in served.manifest.methods:
        for together in _sharing(method, cases):
            found += _asked(served, method, together)
    return found


def _cases(served: ServedModel, golden: Mapping[str, Any]) -> tuple[list[Case], list[str]]:
    """The cases, and which of them are refused before a model is asked."""
    cases, refused = [], []
    for raw in ({**golden, "name": "golden rows"}, *golden["edge"]):
        try:
            request = served.decode(answers.dumps({"rows": raw["rows"]}))
        except (Exception, SystemExit) as exc:  # noqa: BLE001  # whatever goes wrong here is the finding
            refused.append(f"{raw['name']}: {type(exc).__name__}: {exc}")
        else:
            cases.append(Case(raw["name"], request, raw["answers"]))
    return cases, refused


def _sharing(method: Method, cases: Iterable[Case]) -> Iterable[list[Case]]:
    """Those that may share a call of the method, by the rule of batching.py."""
    groups: dict[Hashable, list[Case]] = {}
    for number, case in enumerate(cases):
        if method.name in case.expected:
            groups.setdefault(case.request.group if method.rowwise else number, []).append(case)
    return groups.values()


def _asked(served: ServedModel, method: Method, cases: list[Case]) -> list[str]:
    """What one call for all the cases shows; where it fails, what each of them shows alone."""
    try:
        rows = [row for case in cases for row in case.rows]
        found = json.loads(answers.dumps(served.answer(method.name, rows)))
    except (Exception, SystemExit) as exc:  # noqa: BLE001  # whatever goes wrong here is the finding
        if len(cases) == 1:
            return [f"{method.name}, {cases[0].name}: {type(exc).__name__}: {exc}"]
        return [finding for case in cases for finding in _asked(served, method, [case])]
    if not method.deterministic:
        return []
    tolerance = tolerance_of(method.output)
    told, start = [], 0
    for case in cases:
        part = found[start : start + len(case.rows)]
        start += len(case.rows)
        told += _first_difference(f"{method.name}, {case.name}", case.expected[method.name], part, tolerance)
    return told


def _first_difference(what: str, expected: Sequence[Any], found: Sequence[Any], tolerance: float) -> list[str]:
    for row, (here, there) in enumerate(zip(expected, found, strict=True)):
        if told := difference(here, there, tolerance):
            return [f"{what}, row {row}: {told}"]
    return []
