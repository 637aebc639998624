"""Two bundles that should be one: the published version, and what its notebook gives when it is run again."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import CallRefused
from nbdeploy.keep.diff import PARTS, Diff
from nbdeploy.render import Card, Shown, Table
from nbdeploy.runtime.comparison import TOLERANCE, same, tolerance_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nbdeploy.capture.bundle import Bundle
    from nbdeploy.render import Tone
    from nbdeploy.run.client import Client

DECISIVE = ("answers", "schema", "parameters", "metrics", "code")  # another one of these is another model
LISTED = 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that differs. `part` is answers, schema, parameters, requirements, metrics, code, data or artefact."""

    part: str
    what: str
    then: Any = None
    now: Any = None

    def to_dict(self) -> dict[str, Any]:
        return {"part": self.part, "what": self.what, "then": self.then, "now": self.now}


@dataclass(frozen=True)
class Reproduction(Shown):
    """`since` are sentences on what was touched after the version was made; `notes` on the run itself."""

    version: str  # NAME:VERSION
    notebook: str
    python: str
    digest: str
    digest_now: str
    findings: tuple[Finding, ...]
    since: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def same(self) -> bool:
        """Whether the same model came out; its bytes, its packages and its data may still be others."""
        return not any(finding.part in DECISIVE for finding in self.findings)

    @property
    def exit_code(self) -> int:
        return 0 if self.same else 1

    def to_dict(self) -> dict[str, Any]:
        told = {name: getattr(self, name) for name in ("version", "same", "notebook", "python", "digest", "digest_now")}
        return told | {
            "findings": [finding.to_dict() for finding in self.findings],
            "since": list(self.since),
            "notes": list(self.notes),
            "seconds": round(self.seconds, 1),
        }

    def card(self) -> Card:
        identical = self.digest == self.digest_now
        status = (
            "comes out the same, to the byte"
            if identical
            else "comes out the same"
            if self.same
            else "comes out otherwise"
        )
        rows = [(item.part, item.what, _cell(item.then), _cell(item.now)) for item in self.findings[:LISTED]]
        tables = [Table(("", "what", "then", "now"), rows)] if rows else []
        more = len(self.findings) - len(rows)
        notes: list[tuple[Tone, str]] = [("neutral", f"and {more} more differences")] if more else []
        notes += [("neutral", text) for text in self.since] + [("warning", text) for text in self.notes]
        return Card(
            title=f"{self.version} from {self.notebook}",
            tone="good" if self.same else "bad",
            status=status,
            facts=(
                ("digest then", self.digest),
                ("digest now", self.digest_now),
                ("python", self.python),
                ("took", f"{self.seconds:.0f} s"),
            ),
            tables=tables,
            notes=notes,
        )


def closest(original: Bundle, made: Sequence[Bundle]) -> Bundle:
    """A notebook may deploy several times: the one that differs least, of those the last."""
    return min(reversed(made), key=lambda bundle: len(list(_stated(original, bundle))))


def differences(original: Bundle, again: Bundle, client: Client) -> tuple[Finding, ...]:
    """`client` speaks to the new bundle; it is asked the golden rows of the old one. The telling parts come first."""
    found = [*_answered(original, client), *_stated(original, again)]
    return tuple(sorted(found, key=lambda finding: finding.part not in DECISIVE))


def _answered(original: Bundle, client: Client) -> Iterator[Finding]:
    golden = json.loads((original.src / "golden.json").read_bytes())
    for method in original.manifest.methods:
        if not method.deterministic:
            continue
        for case in ({"name": "golden rows", **golden}, *golden["edge"]):
            if method.name not in case["answers"]:
                continue
            try:
                now = client.predictions(method.name, case["rows"])
            except CallRefused as exc:
                yield Finding(
                    "answers",
                    f"{method.name}, {case['name']}",
                    "answered",
                    f"refused: {str(exc).splitlines()[-1].strip()}",
                )
                continue
            yield from _rows(
                f"{method.name}, {case['name']}", case["answers"][method.name], now, tolerance_of(method.output)
            )


def _rows(what: str, then: Sequence[Any], now: Sequence[Any], tolerance: float) -> Iterator[Finding]:
    other = [row for row, pair in enumerate(zip(then, now, strict=True)) if not same(*pair, tolerance)]
    if other:
        yield Finding(
            "answers", f"{what}: {len(other)} of {len(then)} rows, first row {other[0]}", then[other[0]], now[other[0]]
        )


def _stated(original: Bundle, again: Bundle) -> Iterator[Finding]:
    """What the two manifests say."""
    diff = Diff.between(original.name, ("then", original.manifest), ("now", again.manifest))
    for part in PARTS:
        change = getattr(diff, part)
        yield from (Finding(part, key, None, value) for key, value in change["added"].items())
        yield from (Finding(part, key, value, None) for key, value in change["removed"].items())
        for key, item in change["changed"].items():
            if not _close(item["from"], item["to"]):
                yield Finding(part, key, item["from"], item["to"])
    artefact = original.manifest.artefact
    then, now = original.manifest.files.get(artefact), again.manifest.files.get(again.manifest.artefact)
    if then != now:
        yield Finding("artefact", artefact, then, now)


def _close(then: Any, now: Any) -> bool:
    numbers = isinstance(then, float) and isinstance(now, float)
    return numbers and math.isclose(then, now, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _cell(value: Any) -> Any:
    if isinstance(value, dict) and "kind" in value:  # a column of the schema
        return ", ".join(f"{key} {item}" for key, item in value.items() if item not in (None, False, "", []))
    return f"{value:.6g}" if isinstance(value, float) else value
