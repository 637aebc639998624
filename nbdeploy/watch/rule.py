"""`Rule`: when a reading is an alert, and when it is over.

A table of `[alerts.rules.NAME]`, or the options of `alerts NAME --when`:

    when = "error_rate>0.05"     metric[@column][.low | .high] OP number
    clear = "error_rate<=0.04"   when it is over; by default a fifth of the bound back on the good side
    windows = 1                  so many windows on end
    every = "5m"                 their length; of down, degraded, ... each look is one
    rows = 20                    windows with fewer rows (or requests) are not judged
    repeat = "1h"                it is told at most once in so long
    send = ["ops"]               the channels; by default those of `send` in the settings
    names = ["penguins"]         the services; by default every one of this folder (settings only)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from nbdeploy.errors import BadCondition, UnknownOption, WrongUse
from nbdeploy.judge.conditions import COMPARE, Bound, Condition
from nbdeploy.spans import shown, span
from nbdeploy.watch import vocabulary
from nbdeploy.watch.computable import NotComputable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbdeploy.judge.conditions import Comparison
    from nbdeploy.watch.reading import Reading

Source = Literal["built in", "settings", "notebook"]

KEYS = ("when", "clear", "windows", "every", "rows", "repeat", "send", "names")
BACK = 0.2  # of the bound: how far back on the good side a firing rule is over
ENOUGH = 20  # rows or requests, for a share of them to say something
REPEAT = timedelta(hours=1)
SHORT, LONG = timedelta(minutes=5), timedelta(days=1)  # windows of the traffic; of what needs many rows
LONGEST = timedelta(days=366)
LONGEST_NAME = 80
_OVER: dict[str, Comparison] = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}


@dataclass(frozen=True)
class Rule:
    """`clear` is None where it is over as soon as `when` no longer holds. `every` is None where each look is a window."""

    name: str
    when: Condition
    clear: Condition | None
    windows: int
    every: timedelta | None
    rows: int
    repeat: timedelta
    send: tuple[str, ...] | None = None
    names: tuple[str, ...] = ()
    source: Source = "notebook"

    @classmethod
    def of(cls, name: str | None, table: Mapping[str, Any], source: Source, where: str = "the rule") -> Rule:
        """Raises WrongUse, UnknownOption, with `where` it stands."""
        for key in table:
            if key not in KEYS:
                raise UnknownOption(str(key), f"key (of {where})", KEYS)
        if "when" not in table:
            raise WrongUse(f'{where} says nothing of when: write when = "error_rate>0.05".')
        when = condition(table["when"], where)
        metric = when.metric
        plain = metric in vocabulary.COUNTS or bool(when.end) or vocabulary.is_state(metric)
        made = cls(
            name=_named(when.text if name is None else name),
            when=when,
            clear=_clear(when, table.get("clear"), where),
            windows=_whole(table.get("windows", 1), "windows", where, least=1),
            every=_every(metric, table.get("every"), where),
            rows=_whole(table.get("rows", 0 if plain else ENOUGH), "rows", where, least=0),
            repeat=_span(table["repeat"], "repeat", where) if "repeat" in table else REPEAT,
            send=_words(table["send"], "send", where) if "send" in table else None,
            names=_words(table.get("names", ()), "names", where),
            source=source,
        )
        if made.every is not None and made.windows > LONGEST / made.every:
            raise WrongUse(
                f"windows = {made.windows} of {made.length} in {where} are out of range: at most a year in all."
            )
        return made if made.send != () else replace(made, send=None)

    @property
    def key(self) -> str:
        """What its state is kept under: a rule that asks for something else begins anew."""
        return f"{self.name}\n{self.reads}{self.when.compare}{self.when.bound}\n{self.length}"

    @property
    def length(self) -> str:
        return "look" if self.every is None else shown(self.every)

    @property
    def late(self) -> bool:
        """Whether its windows can be judged only once labels have come."""
        return self.when.metric in vocabulary.LATE

    @property
    def reads(self) -> str:
        """The name of the reading."""
        return f"{self.when.name}.{self.when.end}" if self.when.end else self.when.name

    def read(self, reading: Reading) -> float | NotComputable:
        """The number to be judged, or why there is none in this window."""
        few = self._too_few(reading)
        if few is not None:
            own = reading.values.get(self.reads) if vocabulary.counted(self.when.metric) == "rows" else None
            return own if isinstance(own, NotComputable) else few
        value = reading.value(self.reads)
        if isinstance(value, NotComputable):
            return value
        return NotComputable("it is NaN") if math.isnan(value) else float(value)

    def beyond(self, value: float) -> bool:
        return COMPARE[self.when.compare](value, self.when.bound.number)

    def over(self, value: float) -> bool:
        if self.clear is None:
            return not self.beyond(value)
        return COMPARE[self.clear.compare](value, self.clear.bound.number)

    def check_shares(self) -> Rule:
        """Raises WrongUse where one of its bounds is none that a share can reach."""
        for condition in filter(None, (self.when, self.clear)):
            vocabulary.check_share(condition)
        return self

    def warning(self) -> str | None:
        """Where it fires on the better side of what it is about."""
        better = vocabulary.better(self.when.metric)
        if better is None or self.when.compare == "==" or better != (self.when.compare in {">", ">="}):
            return None
        return f"{self.when.text} fires where it is good: {'greater' if better else 'less'} is better for {self.when.metric}"

    def said(self) -> str:
        """In words, for lists: 5m windows, 2 on end, from 20 requests on, over at <=0.04."""
        if self.every is None:
            return "each look" if self.windows == 1 else f"{self.windows} looks on end"
        parts = [f"{self.length} windows"]
        parts += [f"{self.windows} on end"] if self.windows > 1 else []
        parts += [f"from {self.rows} {vocabulary.counted(self.when.metric)} on"] if self.rows else []
        if self.clear is not None and self.clear.bound != self.when.bound:
            parts.append(f"over at {self.clear.compare}{self.clear.bound}")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "when": self.when.text,
            "clear": None if self.clear is None else self.clear.text,
            "windows": self.windows,
            "every": None if self.every is None else shown(self.every),
            "rows": self.rows,
            "repeat": shown(self.repeat),
            "send": None if self.send is None else list(self.send),
            "source": self.source,
        }

    def _too_few(self, reading: Reading) -> NotComputable | None:
        metric = self.when.metric
        if vocabulary.is_state(metric) or metric in vocabulary.VOLUME:
            return None
        of = vocabulary.counted(metric)
        count = reading.value("requests" if of == "requests" else "rows")
        share = reading.value("coverage") if of == "labelled rows" else 1.0
        if isinstance(count, NotComputable) or isinstance(share, NotComputable):
            return NotComputable(f"no {of} in this window")
        count = round(count * share)
        if count >= max(self.rows, 1):
            return None
        return NotComputable(f"{count} {of}, the rule asks for {self.rows}" if count else f"no {of} in this window")


def condition(text: Any, where: str) -> Condition:
    if not isinstance(text, str):
        raise WrongUse(f'{text!r} in {where} is no condition: write "error_rate>0.05".')
    try:
        made = Condition.parse(text)
    except BadCondition as exc:
        told = str(exc).rpartition("\n")[0]
        raise WrongUse(f"{told}\nWrite error_rate>0.05, drift@age>1, accuracy.low<0.8 or p99_ms>200.") from None
    vocabulary.check(made)
    return made


def _clear(when: Condition, given: Any, where: str) -> Condition | None:
    if when.compare == "==":
        if given is not None:
            raise WrongUse(f'"{when.text}" in {where} is over when it no longer holds: leave clear out.')
        return None
    if given is None:
        return Condition(when.metric, _OVER[when.compare], Bound(_back(when)), when.slice, when.end)
    clear = condition(given, where)
    if (clear.name, clear.end) != (when.name, when.end):
        raise WrongUse(f'"{clear.text}" in {where} clears another reading than "{when.text}" is about.')
    rising = when.compare in {">", ">="}
    bound, end = when.bound.number, clear.bound.number
    if clear.compare == "==" or rising == (clear.compare in {">", ">="}) or (end > bound if rising else end < bound):
        raise WrongUse(f'"{clear.text}" in {where} would hold while "{when.text}" does: write {_like(when)}.')
    return clear


def _like(when: Condition) -> str:
    return str(Condition(when.metric, _OVER[when.compare], Bound(_back(when)), when.slice, when.end))


def _back(when: Condition) -> float:
    """Of a share that must not fall, no nearer to 1 than a fifth of the way: 0.8 is over at 0.84."""
    bound = when.bound.number
    if when.compare in {">", ">="}:
        back = bound - BACK * abs(bound)
    else:
        back = bound + BACK * (min(bound, 1 - bound) if 0 < bound < 1 else abs(bound))
    most = 1.0 if vocabulary.is_share(when.metric) else math.inf
    return min(float(f"{back:.12g}"), most)


def _every(metric: str, given: Any, where: str) -> timedelta | None:
    if vocabulary.is_state(metric):
        if given is not None:
            raise WrongUse(f"{metric} in {where} is looked at each time `monitor --watch` looks: leave every out.")
        return None
    if given is None:
        return SHORT if metric in vocabulary.OF_REQUESTS else LONG
    return _span(given, "every", where)


def _span(given: Any, key: str, where: str) -> timedelta:
    try:
        length = span(str(given))
    except WrongUse as exc:
        raise WrongUse(f"{key} in {where}: {exc}") from None
    if not timedelta(seconds=1) <= length <= LONGEST:
        raise WrongUse(f"{key} = {given!r} in {where} is out of range: at least 1s, at most 52w.")
    return length


def _whole(given: Any, key: str, where: str, *, least: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise WrongUse(f"{key} = {given!r} in {where} is no whole number from {least} on.")
    return given


def _words(given: Any, key: str, where: str) -> tuple[str, ...]:
    if not isinstance(given, list | tuple) or not all(isinstance(item, str) for item in given):
        raise WrongUse(f'{key} = {given!r} in {where} is no list of names: write ["ops"].')
    return tuple(given)


def _named(name: str) -> str:
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise WrongUse(f'"{name[:LONGEST_NAME]}" cannot name a rule: use up to {LONGEST_NAME} printable characters.')
    return name.strip()
