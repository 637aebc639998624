"""`[log]` of the settings: what a service's prediction log keeps, from the settings and a schema to the rules of its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbdeploy.errors import UnknownOption, WrongUse, did_you_mean
from nbdeploy.runtime.policy import WORDS, Policy, default
from nbdeploy.runtime.rules import Rules, bins

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from nbdeploy.runtime.manifest import Schema

WHERE = "[log] of the settings"
BUCKETED = {"integer", "number", "datetime"}
# The smallest value of each number, and whether it is whole.
_NUMBERS: dict[str, tuple[float, bool]] = {
    "sample": (0.0, False),
    "retention_days": (0.0, False),
    "retention_bytes": (1, True),
    "rotate_bytes": (1, True),
    "rotate_minutes": (0.01, False),
}
KNOWN = ("columns", *_NUMBERS)


def of(log: Mapping[str, Any], name: str) -> dict[str, Any]:
    """For one service: what `[log.NAME]` says of it over what `[log]` says of all; tables of other names are left out."""
    general = {key: value for key, value in log.items() if not _named(key, value)}
    own = own_table(log, name)
    if not own:
        return general
    merged = general | checked(own, _where(name))
    columns = checked(general).get("columns", {}) | own.get("columns", {})
    return merged | ({"columns": columns} if columns else {})


def own_table(log: Mapping[str, Any], name: str) -> dict[str, Any]:
    """`[log.NAME]`, empty where there is none."""
    found = log.get(name)
    return found if isinstance(found, dict) and _named(name, found) else {}


def unmeant(log: Mapping[str, Any], services: Sequence[str]) -> Iterator[str]:
    """What to say of each table that is for none of the services: of one to come, or misspelled and obeyed by nobody."""
    for key, value in log.items():
        if _named(key, value) and key not in services:
            hint = did_you_mean(key, [*services, *KNOWN])
            yield f'the settings have [log.{key}], and no service is called "{key}": it holds for nobody.{hint}'


def _named(key: str, value: Any) -> bool:
    return key not in KNOWN and isinstance(value, dict)


def _where(name: str) -> str:
    return f"[log.{name}] of the settings"


def checked(log: Mapping[str, Any], where: str = WHERE) -> dict[str, Any]:
    """The table of one service, its words and numbers known to be right; of columns nothing is known yet.

    Raises:
        WrongUse, UnknownOption: naming the setting.
    """
    for key, value in log.items():
        if key not in KNOWN:
            raise UnknownOption(key, f"setting in {where}", KNOWN)
        if key in _NUMBERS:
            _number(key, value, where)
    columns = log.get("columns", {})
    if not isinstance(columns, dict):
        raise WrongUse(f'columns = {columns!r} in {where} is no table; write columns = {{email = "drop"}}.')
    for name, word in columns.items():
        if word not in WORDS:
            raise UnknownOption(str(word), f'policy of a log for "{name}" in {where}', WORDS)
    return dict(log)


def _number(key: str, value: Any, where: str) -> None:
    least, whole = _NUMBERS[key]
    if type(value) not in ({int} if whole else {int, float}) or not value >= least:
        kind = "a whole number" if whole else "a number"
        raise WrongUse(f"{key} = {value!r} in {where} must be {kind} of at least {least:g}.")
    if key == "sample" and value > 1:
        raise WrongUse(f"sample = {value!r} in {where} is a share of the requests; give a number from 0 to 1.")


def unknown(log: Mapping[str, Any], schemas: Iterable[Schema]) -> list[str]:
    """Columns of the settings that none of the schemas has."""
    known = {name for schema in schemas for name in names(schema)}
    return [name for name in checked(log).get("columns", {}) if name not in known]


def refuse_unknown(
    log: Mapping[str, Any], name: str, schema: Schema, elsewhere: Callable[[], Container[str]] = frozenset
) -> None:
    """`elsewhere` are the columns that other services or versions have: what is said of them is no mistake.

    Raises:
        WrongUse: naming the column, which would be kept.
    """
    for column in unknown(log, [schema]):
        if column not in elsewhere():
            known = names(schema)
            hint = did_you_mean(column, known) or f" It has: {', '.join(known[:30])}."
            more = " What is meant for another service alone is written in [log.NAME], with its name for NAME."
            raise WrongUse(
                f'The settings say what is logged of "{column}" ([log]), and {name} has no such column.{hint}{more}'
            )


def columns(log: Mapping[str, Any], schema: Schema, tell: Callable[[str], None] | None = None) -> dict[str, str]:
    """A word for each column and key of the schema that is not kept as it is.

    `tell` takes what would be refused, and that column is dropped: what is published already is served all the same.

    Raises:
        WrongUse: a bucket is asked of what has none, or of a key less than labels can be joined by.
    """
    words = default(schema)
    kinds = {column.name: column.kind for column in schema.columns}
    for name, word in checked(log).get("columns", {}).items():
        words[name] = word
        if wrong := _unfit(name, word, kinds, schema.keys):
            fact, step = wrong
            if tell is None:
                raise WrongUse(f"{fact}; {step}.")
            tell(f"{fact}. So nothing of it is logged; {step}.")
            words[name] = "drop"
    known = set(names(schema))
    return {name: word for name, word in words.items() if word != "keep" and name in known}


def _unfit(name: str, word: str, kinds: Mapping[str, str], keys: Container[str]) -> tuple[str, str] | None:
    """Why that word cannot be obeyed, and what to do."""
    if word == "bucket" and kinds.get(name, "number") not in BUCKETED:
        fact = f'"{name}" is of kind {kinds[name]}, and only numbers and moments have buckets'
        return fact, f"let {WHERE} say keep, hash or drop"
    if word in {"bucket", "drop"} and name in keys and name not in kinds:
        fact = f'"{name}" is a key, and labels cannot be joined by what is left of one under "{word}"'
        return fact, f'let {WHERE} say keep or hash, or deploy without the key "{name}"'
    return None


def rules(log: Mapping[str, Any], schema: Schema, src: Path, tell: Callable[[str], None] | None = None) -> Rules:
    """For a version with this schema, without a secret; the bins of the profile in its `src` are the buckets."""
    words = columns(log, schema, tell)
    bucketed = [name for name, word in words.items() if word == "bucket"]
    others = {
        key: log[key] for key in ("rotate_bytes", "rotate_minutes", "retention_days", "retention_bytes") if key in log
    }
    policy = Policy(words, bins(src) if bucketed else {}, float(log.get("sample", 1.0)))
    return Rules(policy, **others)


def names(schema: Schema) -> tuple[str, ...]:
    return (*(column.name for column in schema.columns), *schema.keys)
