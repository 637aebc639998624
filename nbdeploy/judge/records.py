"""What a gate notebook says: values it records and conditions it expects, as display data of the executed notebook.

Each is one output of type `application/vnd.nbdeploy+json` with a text beside it, so that `nbformat` alone reads them:

    {"kind": "record", "name": "accuracy@island=Dream", "type": "estimate", "value": 0.93, "low": 0.9, "high": 0.96,
     "level": 0.95, "n": 120}
    {"kind": "expect", "name": "no leakage", "passed": true, "detail": ""}

A record's type is number, estimate, boolean, text or table (a list of objects; "columns" is their order). NaN and infinities are the texts "NaN",
"Infinity" and "-Infinity". The last record of a name counts; every expectation does. A gate's run keeps a list beside the
notebook, so that what a cell's cleared or captured output has lost is missed.
"""

from __future__ import annotations

import json
import math
import os
import re
import reprlib
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import WrongUse, an
from nbdeploy.judge.estimate import Estimate
from nbdeploy.render.output import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MEDIA_TYPE = "application/vnd.nbdeploy+json"
NAME = re.compile(r"(live\.)?[A-Za-z_][A-Za-z0-9_]*(@[^=]+=.*)?", re.DOTALL)
MOST_ROWS = 1_000  # of a table
_READ_AS = {"boolean": bool, "text": str, "table": list}
SAID = "NBDEPLOY_SAID"  # in the environment of a gate notebook's kernel: the file that lists all that is said
TYPES = ("number", "estimate", "boolean", "text", "table")


@dataclass(frozen=True, slots=True)
class Record:
    """`value` is a float, an Estimate, a bool, a text or a list of dicts."""

    name: str
    type: str
    value: Any

    @property
    def estimate(self) -> Estimate | None:
        """A number, with its interval if it has one."""
        if isinstance(self.value, Estimate):
            return self.value
        return Estimate(self.value) if self.type == "number" else None

    def to_dict(self) -> dict[str, Any]:
        said: dict[str, Any] = {"kind": "record", "name": self.name, "type": self.type}
        if isinstance(self.value, Estimate):
            it = self.value
            return {
                **said,
                "value": _number(it.value),
                "low": _number(it.low),
                "high": _number(it.high),
                "level": it.level,
                "n": it.n,
            }
        if self.type == "table":  # nbformat sorts the keys of an object
            said["columns"] = list(dict.fromkeys(key for row in self.value for key in row))
        return {**said, "value": _strict(self.value)}

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Record:
        """Raises ValueError where it is not of the form above."""
        kind, name = said.get("type"), said.get("name")
        if kind not in TYPES or not isinstance(name, str) or "value" not in said:
            raise ValueError(f"a record lacks its name, type or value: {sorted(said)}")
        value = said["value"]
        if kind in _READ_AS and not isinstance(value, _READ_AS[kind]):
            raise ValueError(f"the {kind} {name} is recorded as {_brief(value)}")
        try:
            return cls(name, kind, cls._read(kind, value, said))
        except (TypeError, OverflowError) as exc:
            raise ValueError(f"the {kind} {name} cannot be read: {exc}") from exc

    @classmethod
    def _read(cls, kind: str, value: Any, said: Mapping[str, Any]) -> Any:
        if kind == "table":
            return _ordered(value, said.get("columns", ()))
        if kind == "number":
            return _float(value)
        if kind == "estimate":
            low, high = (None if said.get(end) is None else _float(said[end]) for end in ("low", "high"))
            return Estimate(_float(value), low, high, float(said.get("level", 0.95)), said.get("n"))
        return value


@dataclass(frozen=True, slots=True)
class Expectation:
    name: str
    passed: bool
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "expect", "name": self.name, "passed": self.passed, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Records:
    """All that a notebook said; `named` by name."""

    named: Mapping[str, Record]
    expectations: tuple[Expectation, ...]


def record(name: str, value: Any) -> None:
    """Write a value down in the notebook, for gates and reports.

    `value` is a number, an Estimate, a bool, a text, or a table (a DataFrame or a list of dicts). The name is that of a
    metric, of a slice (`accuracy@island=Dream`), or of either for the live version on the same rows (`live.accuracy`).

    Raises:
        WrongUse: for another name or value.
    """
    _say(_said(name, value))


def note(name: str, value: Any) -> None:
    """`record` for a number that a table or plot beside it shows: only who reads the text alone sees it twice."""
    _say({**_said(name, value), "text/html": "<span hidden></span>"})


def _said(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise WrongUse(
            f"{name!r} cannot name a record: write a metric (letters, digits, _), metric@column=value, or live.metric."
        )
    said = Record(name, *_typed(name, value))
    return {MEDIA_TYPE: said.to_dict(), "text/plain": f"{name} = {_told(said)}"}


def expect(name: str, condition: Any, detail: str = "") -> bool:
    """Write down whether a condition holds; a gate refuses the version if it does not. Returns the condition.

    Raises:
        WrongUse: unless the condition is a plain bool: NaN, None and arrays say neither yes nor no.
    """
    passed = _yes_or_no(condition)
    if passed is None:
        raise WrongUse(
            f"expect({name!r}, ...) was given {_brief(condition)}, which is neither True nor False: "
            "compare it with something, and reduce an array with .all() or .any()."
        )
    said = Expectation(str(name), passed, str(detail))
    text = f"{'ok' if passed else 'FAILED'}: {said.name}{f' ({said.detail})' if said.detail else ''}"
    _say({MEDIA_TYPE: said.to_dict(), "text/plain": text})
    return passed


def read(notebook: Any) -> Records:
    """What an executed notebook (as nbformat gives it) said.

    Raises:
        ValueError: for an output of our type that is not of the form above.
    """
    values: dict[str, Record] = {}
    expectations = []
    for said in _outputs(notebook):
        if said.get("kind") == "record":
            found = Record.from_dict(said)
            values[found.name] = found
        elif said.get("kind") == "expect" and isinstance(said.get("passed"), bool) and "name" in said:
            expectations.append(Expectation(str(said["name"]), said["passed"], str(said.get("detail", ""))))
        else:
            raise ValueError(f"a cell wrote {MEDIA_TYPE} that is neither a record nor an expectation")
    return Records(values, tuple(expectations))


def lost(found: Records, listed: Iterable[str]) -> list[str]:
    """Names of what was said, by the lines of the list, and is not among the notebook's outputs."""
    said = [json.loads(line) for line in listed]
    expected = Counter((one["name"], one["passed"]) for one in said if one["kind"] == "expect")
    expected.subtract((one.name, one.passed) for one in found.expectations)
    last = {one["name"]: Record.from_dict(one).to_dict() for one in said if one["kind"] == "record"}
    kept = {name: one.to_dict() for name, one in found.named.items()}
    missing = [name for name, told in last.items() if kept.get(name) != told]
    return [*(name for (name, _), times in expected.items() if times > 0), *missing]


def _say(forms: dict[str, Any]) -> None:
    if path := os.environ.get(SAID):
        with open(path, "ab", buffering=0) as file:  # noqa: PTH123  # whole lines, from whatever thread or process
            file.write(json.dumps(forms[MEDIA_TYPE]).encode() + b"\n")
    show(forms)


def _outputs(notebook: Any) -> Iterable[dict[str, Any]]:
    for cell in notebook.get("cells", ()):
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if MEDIA_TYPE in data:
                yield data[MEDIA_TYPE] if isinstance(data[MEDIA_TYPE], dict) else {}


def _ordered(rows: list[Any], columns: Iterable[str]) -> list[dict[str, Any]]:
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("a table is recorded as something else than a list of objects")
    order = {column: place for place, column in enumerate(columns)}
    return [dict(sorted(row.items(), key=lambda item: order.get(item[0], len(order)))) for row in rows]


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"a number is recorded as {_brief(value)}")  # noqa: TRY004  # the notebook is wrong, not a type
    return float(value)  # "NaN" and "Infinity" too


def _typed(name: str, value: Any) -> tuple[str, Any]:
    """The type of a record and its value, plain."""
    if isinstance(value, Estimate):
        return "estimate", value
    passed = _yes_or_no(value)
    if passed is not None:
        return "boolean", passed
    if isinstance(value, str):
        return "text", str(value)
    if hasattr(value, "columns"):
        value = _rows(name, value)
    if isinstance(value, list) and all(isinstance(row, dict) for row in value):
        if len(value) > MOST_ROWS:
            raise WrongUse(f"record({name!r}, ...) was given {len(value):,} rows: keep {MOST_ROWS:,} or fewer of them.")
        return "table", [{str(key): _cell(cell) for key, cell in row.items()} for row in value]
    number = _plain_number(value)
    if number is None or (isinstance(number, int) and abs(number) > sys.float_info.max):
        raise WrongUse(
            f"record({name!r}, ...) was given {_brief(value)}: record a number, an Estimate, True or False, a text, "
            "or a table (a DataFrame or a list of dicts)."
        )
    return "number", number


def _rows(name: str, frame: Any) -> Any:
    """The rows of a frame; an index that is more than a count becomes columns, as a table of a page shows it."""
    if hasattr(frame, "to_dicts"):  # polars
        return frame.to_dicts()
    if not hasattr(frame, "reset_index"):
        return frame
    if type(frame.index).__name__ != "RangeIndex":
        frame = frame.reset_index()
    columns = [str(column) for column in frame.columns]
    if len(set(columns)) < len(columns):
        raise WrongUse(f"record({name!r}, ...) was given a table with two columns of one name: {', '.join(columns)}.")
    return [dict(zip(columns, row, strict=True)) for row in frame.itertuples(index=False, name=None)]


def _yes_or_no(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return bool(value) if type(value).__module__ == "numpy" and type(value).__name__ in {"bool", "bool_"} else None


def _plain_number(value: Any) -> float | None:
    if isinstance(value, int | float):
        return value
    if getattr(value, "shape", None) == () and hasattr(value, "item"):  # a scalar of numpy's
        item = value.item()
        return item if isinstance(item, int | float) and not isinstance(item, bool) else None
    return None


def _cell(value: Any) -> Any:
    passed = _yes_or_no(value)
    number = _plain_number(value) if passed is None else passed
    if number is not None:
        return number
    return None if value is None or type(value).__name__ in {"NAType", "NaTType"} else str(value)


def _strict(value: Any) -> Any:
    if isinstance(value, list):
        return [{key: _strict(cell) for key, cell in row.items()} for row in value]
    return _number(value) if isinstance(value, float) else value


def _number(value: float | None) -> Any:
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _told(said: Record) -> str:
    if said.type == "table":
        return f"{len(said.value)} rows"
    return f"{said.value:.6g}" if isinstance(said.value, float) else str(said.value)


def _brief(value: Any) -> str:
    text = reprlib.repr(value) if isinstance(value, int | float | str | None) else ""
    return text[:40] or an(type(value).__name__)
