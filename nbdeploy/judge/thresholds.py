"""Where a gate's conditions are written: settings, a YAML file, `--gate`. All become `Condition`s.

In `pyproject.toml` (in `nbdeploy.toml` without "tool.nbdeploy"):

    [tool.nbdeploy]
    gate = ["f1_macro>=0.9"]

    [tool.nbdeploy.thresholds.f1_macro]
    threshold = 0.9              # not worse than this
    min_gain = 0.01              # better than the live version by so much; below zero: worse by so much at most
    min_relative_gain = 0.02     # better than the live version by this share of its value
    interval = true              # judge the worse end of the interval
    slices = ["island"]          # the same for every slice of these columns
    greater_is_better = true     # only for metrics of your own

A YAML file has the same two keys, `gate` and `thresholds`.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import BadCondition, UnknownOption, WrongUse, did_you_mean
from nbdeploy.judge.conditions import Bound, Condition
from nbdeploy.judge.metrics import metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nbdeploy.settings import Settings

KEYS = ("threshold", "min_gain", "min_relative_gain", "interval", "slices", "greater_is_better")
ASKS = ("threshold", "min_gain", "min_relative_gain")
FILES = (".yaml", ".yml")
MOST_BYTES = 1_000_000


def conditions(gate: Iterable[str | Path], settings: Settings) -> tuple[Condition, ...]:
    """Those of the settings, then those given now: each a condition or a YAML file. Each once.

    Raises:
        WrongUse: for a condition, a key or a value that cannot be read.
    """
    found = [*_listed(list(settings.gate), "gate in the settings"), *_tables(settings.thresholds, "the settings")]
    for item in gate:
        found += _file(Path(item)) if str(item).lower().endswith(FILES) else [Condition.parse(str(item))]
    return tuple(dict.fromkeys(found))


def _file(path: Path) -> Iterator[Condition]:
    if not path.is_file():
        beside = [item for suffix in FILES for item in path.parent.glob(f"*{suffix}")] if path.parent.is_dir() else []
        near = did_you_mean(path.name, [item.name for item in beside])
        raise WrongUse(
            f'There is no file "{path}" with conditions.{near} Name one that is there, or write a condition: "accuracy>=0.9".'
        )
    read = _yaml(path)
    if not isinstance(read, Mapping):
        raise WrongUse(f"{path} holds no keys: write gate and thresholds.")
    for key in read:
        if key not in {"gate", "thresholds"}:
            raise UnknownOption(str(key), f"key (in {path})", ["gate", "thresholds"])
    yield from _listed(read.get("gate") or [], f"gate in {path}")
    yield from _tables(read.get("thresholds") or {}, str(path))


def _yaml(path: Path) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses a key written twice: the first would be lost without a word."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            seen: set[tuple[str, str]] = set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):  # others are refused below
                if (key.tag, key.value) in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} is written twice", key.start_mark)
                seen.add((key.tag, key.value))
            return super().construct_mapping(node, deep=deep)

    if path.stat().st_size > MOST_BYTES:
        raise WrongUse(f"{path} is larger than {MOST_BYTES:,} bytes; thresholds are a few lines.")
    try:
        return yaml.load(path.read_bytes(), Loader=Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as exc:
        raise WrongUse(f"{path} is not valid YAML: {exc}") from exc


def _listed(given: Any, source: str) -> Iterator[Condition]:
    if isinstance(given, str) or not isinstance(given, Sequence) or not all(isinstance(item, str) for item in given):
        raise WrongUse(f'{source} is not a list of conditions: write ["f1_macro>=0.9", "accuracy>=live"].')
    for item in given:
        try:
            yield Condition.parse(item)
        except BadCondition as exc:
            raise BadCondition(exc.text, exc.position, f"{exc.fact} (in {source})", exc.hint) from None


def _tables(given: Any, source: str) -> Iterator[Condition]:
    if not isinstance(given, Mapping):
        raise WrongUse(f"thresholds in {source} is no table: write one for each metric.")
    for name, table in given.items():
        where = f"thresholds.{name} in {source}"
        if not isinstance(table, Mapping):
            raise WrongUse(f"{where} is {_brief(table)}: write threshold = {_brief(table)} in a table of its own.")
        yield from _compiled(str(name), table, where)


def _compiled(name: str, table: Mapping[str, Any], where: str) -> Iterator[Condition]:
    """The conditions of one table."""
    for key in table:
        if key not in KEYS:
            raise UnknownOption(str(key), f"key (of {where})", KEYS)
    if not any(key in table for key in ASKS):
        raise WrongUse(f"{where} asks for nothing: give {', '.join(ASKS)}.")
    own = _metric(name, where)
    greater = _direction(own.metric, table.get("greater_is_better"), where)
    end = ("low" if greater else "high") if _flag(table.get("interval", False), "interval", where) else ""
    slices = [own.slice, *_slices(table.get("slices", []), where)]
    for bound in _bounds(table, where, greater=greater):
        for slice_ in slices:
            yield Condition(own.metric, ">=" if greater else "<=", bound, slice_, end)  # type: ignore[arg-type] # one of three


def _bounds(table: Mapping[str, Any], where: str, *, greater: bool) -> Iterator[Bound]:
    given = {key: _number(table[key], key, where) for key in ASKS if key in table}
    if "threshold" in given:
        yield Bound(given["threshold"])
    if "min_gain" in given:
        gain = given["min_gain"] if greater else -given["min_gain"]
        yield Bound(abs(gain), True, "-" if gain < 0 else "+") if gain else Bound(live=True)
    if "min_relative_gain" in given:
        share = given["min_relative_gain"]
        factor = round(1 + share if greater else 1 - share, 12)
        if factor < 0:
            raise WrongUse(f"min_relative_gain = {share} in {where} asks for more than all of it: 0.02 is 2 %.")
        yield Bound(factor, True, "*")


def _metric(name: str, where: str) -> Condition:
    """The table's name read as the left of a condition: metric[@slice]."""
    try:
        found = Condition.parse(f"{name}>=0")
    except BadCondition as exc:
        raise WrongUse(f'{where}: "{name}" is no metric: {exc.fact}.{exc.hint}') from None
    if found.end:
        raise WrongUse(f'{where}: write thresholds.{found.name} with interval = true, not ".{found.end}".')
    return found


def _direction(name: str, told: Any, where: str) -> bool:
    """Whether greater is better."""
    known = metric(name)
    ours = None if known is None else known.greater_is_better
    if told is None and ours is None:
        raise WrongUse(
            f"{where}: whether more is better is not known of {name}: give greater_is_better = true or false."
        )
    if told is None:
        return bool(ours)
    said = _flag(told, "greater_is_better", where)
    if ours is not None and said != ours:
        better = "greater" if ours else "less"
        raise WrongUse(f"greater_is_better in {where} is wrong: {better} is better for {name}. Leave it out.")
    return said


def _slices(given: Any, where: str) -> list[str]:
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, Sequence) or not all(isinstance(item, str) and item.strip() for item in listed):
        raise WrongUse(f'slices = {_brief(given)} in {where} is not a list of columns: write ["island"].')
    return list(listed)


def _flag(value: Any, key: str, where: str) -> bool:
    if not isinstance(value, bool):
        raise WrongUse(f"{key} = {_brief(value)} in {where} is neither true nor false.")
    return value


def _number(value: Any, key: str, where: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise WrongUse(f"{key} = {_brief(value)} in {where} is no number; write 0.9, or 1.0e-3.")
    return number


def _brief(value: Any) -> str:
    """Short, whatever a file's aliases make of it."""
    return reprlib.repr(value)
