"""What a replay found, as its user sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import did_you_mean
from nbdeploy.judge.conditions import Condition, judged
from nbdeploy.judge.outcome import failing_first, verdict
from nbdeploy.judge.records import Record, Records
from nbdeploy.render import Card, Shown, Table
from nbdeploy.render.plain import percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from nbdeploy.judge.logged import Selection
    from nbdeploy.judge.outcome import Outcome
    from nbdeploy.judge.replay import Comparison
    from nbdeploy.judge.tally import Count, Row
    from nbdeploy.render import Tone

LISTED = 10  # lines of a table
METRICS = frozenset({
    "requests", "coverage", "rows", "flips", "flip_rate", "change_rate", "mean_move", "largest_move", "new_errors",
    "gone_errors", "latency_p50_ms", "latency_p95_ms", "p50_ratio", "p95_ratio",
})  # fmt: skip


@dataclass(frozen=True)
class Replay(Shown):
    """`live` and `candidate` are versions; `metrics` may be used in conditions. Rows are the user's own: `frame()`
    and the card show them, `to_dict()` leaves their content out.
    """

    name: str
    live: str
    candidate: str
    selection: Selection = field(repr=False)
    seen: Comparison = field(repr=False)
    checks: tuple[Outcome, ...] = ()

    def judged(self, conditions: Sequence[Condition]) -> Replay:
        """The same with its checks, failing first."""
        named = {name: Record(name, "number", value) for name, value in self.metrics.items()}
        checks = judged(conditions, Records(named, ()), live=True)
        return replace(self, checks=failing_first([_explained(check, list(named)) for check in checks]))

    @property
    def subject(self) -> str:
        return f"{self.name}:{self.candidate}"

    @property
    def verdict(self) -> str | None:
        """`passed` or `refused`; None without conditions."""
        return verdict(self.checks) if self.checks else None

    @property
    def passed(self) -> bool:
        return self.verdict != "refused"

    @property
    def metrics(self) -> dict[str, float]:
        """Those that can be told; a flip rate only where there are labels, moves only where there are numbers."""
        total, seen = self.seen.tally.total, self.seen
        found: dict[str, float | None] = {
            "requests": seen.replayed,
            "coverage": seen.replayed / self.selection.taken,
            "rows": total.rows,
            "flips": total.flips if total.labelled else None,
            "flip_rate": total.flip_rate,
            "change_rate": total.change_rate,
            "mean_move": total.mean_move,
            "largest_move": max((row.move or 0.0 for row in seen.tally.largest), default=0.0)
            if total.measured
            else None,
            "new_errors": sum(seen.new_errors.values()),
            "gone_errors": sum(seen.gone_errors.values()),
            **latency(seen.live_seconds, seen.seconds),
        }
        for (column, value), count in seen.tally.segments.items():
            found |= {f"flip_rate@{column}={value}": count.flip_rate, f"mean_move@{column}={value}": count.mean_move}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def coverage(self) -> dict[str, int]:
        """Requests, by what became of them."""
        left = self.selection.answered - self.selection.taken
        refused = {f"refused then ({code}): rows are not kept": n for code, n in self.selection.refused.items()}
        neither = {f"refused by both versions: {problem}": n for problem, n in self.seen.neither.items()}
        torn = self.selection.log.torn + self.selection.log.damaged
        changed = {f"not as they were asked ({policy})": n for policy, n in self.selection.changed.items()}
        unsampled = {"not sampled: rows are not kept": self.selection.unsampled}
        others = {**unsampled, "left out by --limit": left, "damaged in the log": torn}
        return (
            {"replayed": self.seen.replayed} | refused | changed | neither | {key: n for key, n in others.items() if n}
        )

    def frame(self) -> pd.DataFrame:
        """The rows that flip, a thousand at most: request_id, row, method, then, now, and the input as `input.NAME`."""
        import pandas as pd

        lines = [row.to_dict() | _inputs(row) for row in self.seen.tally.flipped]
        return pd.DataFrame(lines, columns=None if lines else ["request_id", "row", "method", "then", "now"])

    def to_dict(self) -> dict[str, Any]:
        tally, selection = self.seen.tally, self.selection
        return {
            "name": self.name,
            "live": self.live,
            "candidate": self.candidate,
            "verdict": self.verdict,
            "checks": [check.to_dict() for check in self.checks],
            "metrics": self.metrics,
            "coverage": self.coverage,
            "logged": {
                "first": None if selection.first is None else selection.first.isoformat(),
                "last": None if selection.last is None else selection.last.isoformat(),
                "versions": dict(self.seen.versions),
            },
            "flips": [{"then": then, "now": now, "rows": n} for (then, now), n in tally.pairs.most_common()],
            "largest_moves": [row.to_dict() for row in tally.largest],
            "new_errors": dict(self.seen.new_errors.most_common()),
            "gone_errors": dict(self.seen.gone_errors.most_common()),
            "flipped": [row.to_dict() for row in tally.flipped],
        }

    def card(self) -> Card:
        status, tone = self._status()
        return Card(
            title=f"{self.name}: requests answered by {self._answered_by()}, replayed against {self.candidate}",
            status=status,
            tone=tone,
            facts=self._facts(),
            tables=tuple(self._tables()),
            notes=self._notes(),
        )

    def _answered_by(self) -> str:
        told = self.seen.versions.most_common()
        if len(told) < 2:
            return told[0][0] if told else self.live
        return ", ".join(f"{version} ({count:,})" for version, count in told[:8])

    @property
    def against_itself(self) -> bool:
        """Whether the candidate gave all of these answers: then nothing is compared but its repeatability."""
        return set(self.seen.versions) == {self.candidate}

    def _status(self) -> tuple[str, Tone]:
        if self.checks:
            return ("passed", "good") if self.passed else ("refused", "bad")
        if self.against_itself and not self.seen.tally.total.changed:
            return "compared with its own answers", "warning"
        calm = not self.seen.new_errors and not self.seen.tally.total.changed
        return ("answers the same", "good") if calm else ("answers otherwise", "warning")

    def _facts(self) -> tuple[tuple[str, Any], ...]:
        metrics, total = self.metrics, self.seen.tally.total
        facts: list[tuple[str, Any]] = [("replayed", f"{self.seen.replayed:,} requests, {total.rows:,} rows")]
        if total.labelled:
            facts.append(
                ("flips", f"{total.flips:,} of {total.labelled:,} labels ({percent(metrics['flip_rate'], 2)})")
            )
        if total.measured:
            moves = f"{metrics['mean_move']:.4g} on average, {metrics['largest_move']:.4g} at most"
            facts.append(("moves", moves))
        facts += [
            ("new errors", f"{metrics['new_errors']:,} rows"),
            ("errors gone", f"{metrics['gone_errors']:,} rows"),
        ]
        if "p95_ratio" in metrics:
            facts += [(f"latency {at}", _latency(metrics, at)) for at in ("p50", "p95")]
        first, last = self.selection.first, self.selection.last
        return (*facts, ("logged", f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"))

    def _tables(self) -> list[Table]:
        tally = self.seen.tally
        checks = [(check.word, check.name, check.detail) for check in self.checks]
        flips = [(then, now, n) for (then, now), n in tally.pairs.most_common(LISTED)]
        errors = [("new", problem, n) for problem, n in self.seen.new_errors.most_common(LISTED)]
        errors += [("gone", problem, n) for problem, n in self.seen.gone_errors.most_common(LISTED)]
        coverage = list(self.coverage.items())
        tables = [
            Table(("", "condition", ""), checks),
            Table(("label then", "label now", "rows"), flips),
            Table(("segment", "rows", "flips", "flip rate", "mean move"), _worst(tally.segments)),
            Table(("errors", "problem", "rows"), errors),
            Table(("rows that flip", "row", "then", "now", "input"), [_line(row) for row in tally.flipped[:LISTED]]),
            Table(("largest moves", "row", "then", "now", "input"), [_line(row) for row in tally.largest]),
            Table(("coverage", "requests"), coverage if len(coverage) > 1 else ()),
        ]
        return [table for table in tables if table.rows]

    def _notes(self) -> tuple[tuple[Tone, str], ...]:
        notes: list[tuple[Tone, str]] = []
        if self.selection.taken < self.selection.answered:
            thinned = f"{self.selection.taken:,} of {self.selection.answered:,} requests, spread evenly"
            notes.append(("neutral", f"replayed {thinned}; --limit takes more"))
        own = self.seen.versions[self.candidate]
        if own:
            whose = "all of these requests" if self.against_itself else f"{own:,} of these requests"
            told = f"{whose} were answered by {self.candidate} itself, which says nothing of another version's answers"
            notes.append(("warning", f"{told}; choose the time with --last, or another version with --against"))
        if len(self.seen.tally.flipped) > LISTED:
            notes.append(("neutral", "all rows that flip: .frame()"))
        return tuple(notes)


def _explained(check: Outcome, metrics: Sequence[str]) -> Outcome:
    """Where a condition found nothing: no notebook failed to record it, a replay has metrics of its own."""
    if check.value is not None:
        return check
    asked = Condition.parse(check.condition)
    same = [name for name in metrics if asked.slice and name.startswith(f"{asked.metric}@")]
    known = same or [name for name in metrics if "@" not in name and not name.startswith("live.")]
    near = did_you_mean(asked.name, known)
    return replace(check, detail=f"this replay has no {asked.name};{near} it has {', '.join(known)}")


def latency(live: Sequence[float], candidate: Sequence[float]) -> dict[str, float]:
    """In milliseconds, of the requests both versions answered; empty where there was none."""
    import numpy as np

    if not len(candidate):
        return {}
    found: dict[str, float] = {}
    for at in (50, 95):
        then, now = (float(np.percentile(np.asarray(side), at)) * 1_000 for side in (live, candidate))
        found |= {f"live.latency_p{at}_ms": then, f"latency_p{at}_ms": now, f"p{at}_ratio": now / then}
    return found


def _latency(metrics: Mapping[str, float], at: str) -> str:
    then, now = metrics[f"live.latency_{at}_ms"], metrics[f"latency_{at}_ms"]
    return f"{now:.3g} ms, the live version {then:.3g} ms (ratio {metrics[f'{at}_ratio']:.2f})"


def _worst(segments: Mapping[tuple[str, Any], Count]) -> list[tuple[Any, ...]]:
    """Where something changed, the most certainly changed first."""

    def rank(item: tuple[tuple[str, Any], Count]) -> tuple[float, float, int]:
        return (-_at_least(item[1].flips, item[1].labelled), -(item[1].mean_move or 0.0), -item[1].rows)

    changed = [item for item in segments.items() if item[1].changed]
    return [
        (
            f"{column}={value}",
            count.rows,
            count.flips if count.labelled else None,
            None if count.flip_rate is None else percent(count.flip_rate, 2),
            None if count.mean_move is None else f"{count.mean_move:.4g}",
        )
        for (column, value), count in sorted(changed, key=rank)[:LISTED]
    ]


def _at_least(flips: int, rows: int) -> float:
    """The lower end of Wilson's interval at 95 %: one flip of one row says less than ninety of a hundred."""
    if not rows:
        return 0.0
    z, share = 1.96, flips / rows
    middle, width = share + z * z / (2 * rows), z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return (middle - width) / (1 + z * z / rows)


def _line(row: Row) -> tuple[Any, ...]:
    given = row.input
    shown = ", ".join(f"{key}={value}" for key, value in given.items()) if isinstance(given, dict) else given
    return (row.request_id, row.row, _short(row.then), _short(row.now), shown)


def _short(answer: Any) -> Any:
    """Of probabilities the largest."""
    if isinstance(answer, dict) and answer and all(isinstance(value, float) for value in answer.values()):
        label = max(answer, key=lambda key: answer[key])
        return f"{answer[label]:.3f} {label}"
    return f"{answer:.6g}" if isinstance(answer, float) else answer


def _inputs(row: Row) -> dict[str, Any]:
    if isinstance(row.input, dict):
        return {f"input.{name}": value for name, value in row.input.items()}
    return {"input": row.input}
