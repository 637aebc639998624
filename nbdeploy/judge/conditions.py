"""Conditions of a gate: their grammar, and what they say of the values a notebook recorded.

    metric[@slice][.low | .high] OP number | live | live+x | live-x | live*x        OP: >= <= > < ==

`@column=value` is one slice, `@column` every slice of that column. A slice's value may hold anything; it ends at the
last comparison. One that begins or ends with a blank, with `.low` or with a quote is written as a JSON text:
`accuracy@"site= a.low">=0.8`. `.low` and `.high` are the ends of the interval, judged in place of the value. `live` is
what was recorded as `live.NAME`: the live version on the same rows.
"""

from __future__ import annotations

import json
import math
import operator
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from nbdeploy.errors import BadCondition, WrongUse, an, did_you_mean
from nbdeploy.judge.metrics import METRICS, metric
from nbdeploy.judge.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from nbdeploy.judge.records import Record, Records

Comparison = Literal[">=", "<=", ">", "<", "=="]
End = Literal["", "low", "high"]
Shift = Literal["", "+", "-", "*"]

COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_FAILED = {">=": "below", "<=": "above", ">": "not above", "<": "not below", "==": "not"}
_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_BOUND = re.compile(rf"(?P<number>[+-]?{_NUMBER})|live(?:\s*(?P<shift>[+*-])\s*(?P<amount>{_NUMBER}))?")
_SPLIT = re.compile(r"(?P<left>.*)(?P<compare>>=|<=|==|<|>)(?P<right>[^<>=]*)", re.DOTALL)
_METRIC = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_STRAY = re.compile(r"[≥≤=]")
_END = re.compile(r"\s*\.\s*(low|high)")


@dataclass(frozen=True, slots=True)
class Bound:
    """A number, or what is live with a number added, taken away or multiplied."""

    number: float = 0.0
    live: bool = False
    shift: Shift = ""

    def of(self, live: float | None) -> float:
        if not self.live or live is None:
            return self.number
        return {"": live, "+": live + self.number, "-": live - self.number, "*": live * self.number}[self.shift]

    def __str__(self) -> str:
        number = repr(self.number).removesuffix(".0")
        if not self.live:
            return number
        return f"live{self.shift}{number}" if self.shift else "live"


@dataclass(frozen=True, slots=True)
class Condition:
    """`written` is the user's text where there was one; `slice` is "column=value", "column" or "" for all rows."""

    metric: str
    compare: Comparison
    bound: Bound
    slice: str = ""
    end: End = ""
    written: str = field(default="", compare=False)

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Raises BadCondition with the place and what was probably meant."""
        match = _SPLIT.fullmatch(text)
        if match is None:
            raise _no_comparison(text)
        name, slice_, end = _left(text, match["left"])
        bound = _bound(text, match["right"], match.start("right"))
        return cls(name, match["compare"], bound, slice_, end, text.strip())  # type: ignore[arg-type] # one of COMPARE

    @property
    def name(self) -> str:
        """As it is recorded: metric[@slice]."""
        return f"{self.metric}@{self.slice}" if self.slice else self.metric

    @property
    def text(self) -> str:
        return self.written or str(self)

    def __str__(self) -> str:
        slice_ = f"@{_written(self.slice)}" if self.slice else ""
        return f"{self.metric}{slice_}{f'.{self.end}' if self.end else ''}{self.compare}{self.bound}"

    def warning(self) -> str | None:
        """Where it asks for the worse of a metric we know."""
        known = metric(self.metric)
        if known is None or known.greater_is_better is None or self.compare == "==":
            return None
        if known.greater_is_better == (self.compare in {">=", ">"}):
            return None
        better = "greater" if known.greater_is_better else "less"
        return f"{self.text} is judged as written, but {better} is better for {self.metric}"


def require_recorded(conditions: Iterable[Condition], known: Collection[str], where: str, own: str = "") -> None:
    """Raises WrongUse for a metric that is not among `known`, the numbers there are in `where`."""
    for condition in conditions:
        if condition.metric not in known:
            hint = did_you_mean(condition.metric, known) or f" There is: {', '.join(sorted(known))}."
            raise WrongUse(f'The condition "{condition.text}" asks for a number that is never in {where}.{hint}{own}')


def judged(conditions: Iterable[Condition], records: Records, *, live: bool) -> list[Outcome]:
    """An outcome for each condition, and for each slice it speaks of. `live`: there is a live version to compare with."""
    return [outcome for condition in conditions for outcome in _judged(condition, records.named, live=live)]


# judging


def _judged(condition: Condition, named: Mapping[str, Record], *, live: bool) -> list[Outcome]:
    names = _names(condition, named)
    if not names:
        return [_failed(condition, condition.name, None, _not_recorded(condition, named))]
    return [_one(condition, name, named, live=live) for name in names]


def _names(condition: Condition, named: Mapping[str, Record]) -> list[str]:
    """The records a condition speaks of; a slice that is none itself is a column."""
    if condition.name in named or not condition.slice:
        return [condition.name] if condition.name in named else []
    return [name for name in named if name.startswith(f"{condition.name}=")]


def _one(condition: Condition, name: str, named: Mapping[str, Record], *, live: bool) -> Outcome:
    value, fact = _value(named[name], condition.end)
    if fact:
        return _failed(condition, name, value, fact)
    if not condition.bound.live:
        return _compared(condition, name, value, condition.bound.number, named)
    if not live:
        return Outcome(_shown(condition, name), None, value, condition.text, "there is no live version to compare with")
    if f"live.{name}" not in named:
        advice = f'declare live_url in its parameters cell and record("live.{name}", ...) on the same rows'
        return _failed(condition, name, value, f"the notebook did not record live.{name}: {advice}")
    theirs, fact = _value(named[f"live.{name}"], "")
    if fact:
        return _failed(condition, name, value, f"live.{name}: {fact}")
    return _compared(condition, name, value, condition.bound.of(theirs), named, more=f"; live is {theirs:.6g}")


def _compared(
    condition: Condition, name: str, value: float, bound: float, named: Mapping[str, Record], *, more: str = ""
) -> Outcome:
    if math.isnan(bound) or math.isinf(bound):
        return _failed(condition, name, value, f"its bound {condition.bound} is no number{more}")
    passed = COMPARE[condition.compare](value, bound)
    estimate = named[name].estimate
    rows = f" on {estimate.n} rows" if estimate is not None and estimate.n is not None else ""
    fact = f"{_digits(value, bound)}{rows}, {_FAILED[condition.compare]} {_digits(bound, value)}{more}"
    detail = f"{value:.6g}{rows}{more}" if passed else fact
    return Outcome(_shown(condition, name), passed, value, condition.text, detail)


def _digits(value: float, other: float) -> str:
    """Six digits, or all where six look the same as the other's."""
    return repr(value) if f"{value:.6g}" == f"{other:.6g}" else f"{value:.6g}"


def _value(record: Record, end: End) -> tuple[float, str]:
    """The number to be judged, and why it cannot be."""
    estimate = record.estimate
    if estimate is None:
        return math.nan, f"it is recorded as {an(record.type)}, and a condition needs a number"
    value = {"": estimate.value, "low": estimate.low, "high": estimate.high}[end]
    if value is None:
        return math.nan, f"it was recorded without an interval, so there is no .{end}: record an Estimate"
    value = float(value)
    if math.isnan(value):
        return value, "it is NaN"
    return value, "it is infinite" if math.isinf(value) else ""


def _not_recorded(condition: Condition, named: Mapping[str, Record]) -> str:
    own = [name for name in named if not name.startswith("live.")]
    same = [name for name in own if name.startswith(f"{condition.metric}@")]
    if condition.slice and (condition.metric in own or same):
        told = f"recorded slices: {_listed(same)}" if same else "it was recorded for no slice"
        return f"the notebook did not record it;{did_you_mean(condition.name, own)} {told}"
    told = f"recorded: {_listed([name for name in own if '@' not in name])}" if own else "it recorded nothing"
    return f"the notebook did not record it;{did_you_mean(condition.name, own)} {told}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")


def _failed(condition: Condition, name: str, value: float | None, detail: str) -> Outcome:
    return Outcome(_shown(condition, name), False, value, condition.text, detail)


def _shown(condition: Condition, name: str) -> str:
    """The condition as written; where it speaks of many slices, with the slice."""
    return condition.text if name == condition.name else f"{condition.text} for {name.partition('@')[2]}"


# reading


def _left(text: str, left: str) -> tuple[str, str, End]:
    """Metric, slice and end."""
    start = len(left) - len(left.lstrip())
    match = _METRIC.match(left, start)
    if match is None:
        fact = "there is no metric before the comparison" if not left.strip() else "a metric is letters, digits and _"
        raise BadCondition(text, start, fact)
    rest = left[match.end() :]
    if rest.lstrip().startswith("@"):
        slice_, end = _slice(text, left, left.index("@", match.end()) + 1)
        return match[0], slice_, end
    return match[0], "", _end(text, match[0], rest, match.end())


def _slice(text: str, left: str, start: int) -> tuple[str, End]:
    quoted = _quoted(left[start:])
    if quoted is not None:
        return quoted
    value, end = left[start:].rstrip(), ""
    if value.endswith((".low", ".high")):
        value, _, end = value.rpartition(".")
    value = value.strip()
    if not value or value.startswith("="):
        raise BadCondition(text, start, "a slice is column=value, or a column alone")
    return value, end  # type: ignore[return-value] # low, high or nothing


def _quoted(rest: str) -> tuple[str, End] | None:
    """A slice written as a JSON text, if that is what it is."""
    offset = len(rest) - len(rest.lstrip())
    try:
        value, after = json.JSONDecoder().raw_decode(rest, offset)
    except (ValueError, RecursionError):
        return None
    match = re.fullmatch(rf"(?:{_END.pattern})?\s*", rest[after:])
    if not isinstance(value, str) or not value or match is None:
        return None
    return value, match[1] or ""  # type: ignore[return-value] # low, high or nothing


def _end(text: str, name: str, rest: str, start: int) -> End:
    match = _END.match(rest)
    after = rest[match.end() :] if match else rest
    if not after.strip():
        return match[1] if match else ""  # type: ignore[return-value] # low or high
    place = start + (match.end() if match else 0)
    place += len(after) - len(after.lstrip())
    if name == "live" and after.strip().startswith("."):
        raise BadCondition(text, place, "the live version stands on the right", _meant(f"{after.strip()[1:]}>=live"))
    if after.strip().startswith("."):
        wrong = after.strip()[1:]
        raise BadCondition(text, place, f'".{wrong}" is no end of an interval', did_you_mean(wrong, ["low", "high"]))
    if after.strip()[-1] in "=!~":
        wanted = {"=": ">=", "!": "==", "~": "=="}[after.strip()[-1]]
        raise BadCondition(text, place, f'"{after.strip()}" is no comparison', _meant(wanted))
    known = did_you_mean(f"{name}{after}".strip(), METRICS)
    raise BadCondition(text, place, f'"{after.strip()}" belongs to no metric', known)


def _bound(text: str, right: str, start: int) -> Bound:
    wanted = right.strip()
    place = start + len(right) - len(right.lstrip())
    match = _BOUND.fullmatch(wanted)
    if match is None:
        raise BadCondition(text, place, *_no_bound(wanted))
    if match["number"] is None and match["shift"] is None:
        return Bound(live=True)
    number = float(match["number"] or match["amount"])
    if math.isinf(number):
        raise BadCondition(text, place, f'"{wanted}" is too large a number')
    if match["number"] is not None:
        return Bound(number)
    return Bound(number, live=True, shift=match["shift"])  # type: ignore[arg-type] # one of three


def _no_bound(wanted: str) -> tuple[str, str]:
    """The fact and the hint."""
    if not wanted:
        return "a number or live is missing after the comparison", ""
    if re.fullmatch(r"[+-]?(nan|inf|infinity)", wanted, re.IGNORECASE):
        return f'"{wanted}" is no finite number, so the condition would hold always or never', ""
    if wanted.endswith("%") and re.fullmatch(_NUMBER, wanted[:-1].strip()):
        return "there are no percent signs", _meant(f"{float(wanted[:-1]) / 100:g}")
    if re.fullmatch(r"[+-]?[0-9]+,[0-9]+", wanted):
        return f'"{wanted}" is no number', _meant(wanted.replace(",", "."))
    word = re.match(r"[A-Za-z_]+", wanted)
    hint = did_you_mean(word[0].lower(), ["live"]) if word else ""
    return f'"{wanted}" is neither a number nor live, live+x, live-x or live*x', hint


def _no_comparison(text: str) -> BadCondition:
    stray = next(
        (found for found in _STRAY.finditer(text) if _BOUND.fullmatch(text[found.end() :].strip())),
        None,
    )
    if stray is None:
        quotes = (
            ' Put it in quotes: the shell takes ">" and "<" for its own.' if _METRIC.fullmatch(text.strip()) else ""
        )
        return BadCondition(text, len(text.rstrip()), "there is no comparison (>=, <=, >, <, ==)", quotes)
    meant = {"≥": ">=", "≤": "<="}.get(stray[0], "==")
    return BadCondition(text, stray.start(), f'"{stray[0]}" is no comparison', _meant(meant))


def _meant(text: str) -> str:
    return f' Did you mean "{text}"?'


def _written(slice_: str) -> str:
    """As `parse` reads it back."""
    plain = slice_ == slice_.strip() and not slice_.startswith(('"', "=")) and not slice_.endswith((".low", ".high"))
    return slice_ if plain else json.dumps(slice_)
