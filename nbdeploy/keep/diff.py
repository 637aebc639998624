"""Two versions side by side."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.keep.changelog import Flat, changes, code_files, fingerprint, flat, requirements
from nbdeploy.render import Card, Shown, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbdeploy.runtime.manifest import Manifest

LONGEST = 40  # characters of a value shown; four columns of them fit a page
LESS = "details such as the range seen in training or the scores of single folds"
_SHA256 = re.compile("[0-9a-f]{64}")
NOTICED = ("unseen", "categories", "ordered", "nonfinite", "null", "label")  # of a column, beside kind and null
PARTS = ("schema", "parameters", "requirements", "metrics", "code", "data")


@dataclass(frozen=True)
class Diff(Shown):
    """Each part is {added, removed, changed}, keyed by column, parameter, package, metric, file or fact."""

    name: str
    before: str
    after: str
    schema: dict[str, Flat]
    parameters: dict[str, Flat]
    requirements: dict[str, Flat]
    metrics: dict[str, Flat]
    code: dict[str, Flat]
    data: dict[str, Flat]

    @classmethod
    def between(cls, name: str, before: tuple[str, Manifest], after: tuple[str, Manifest]) -> Diff:
        old, new = _parts(before[1]), _parts(after[1])
        return cls(name, before[0], after[0], **{part: changes(old[part], new[part]) for part in PARTS})

    @property
    def same(self) -> bool:
        return not any(entries for part in PARTS for entries in getattr(self, part).values())

    def to_dict(self) -> dict[str, Any]:
        return {"from": self.before, "to": self.after} | {part: getattr(self, part) for part in PARTS}

    def card(self) -> Card:
        """What can be told apart at this length; the rest is counted."""
        found = [row for part in PARTS for row in _rows(part, getattr(self, part))]
        rows = list(filter(_told, found))
        less = len(found) - len(rows)
        empty = f"the two do not differ{' in more than this' if less else ''}"
        told = f"{less} more differ{'s' if less == 1 else ''} in {LESS}: to_dict() and --json have all."
        return Card(
            title=f"{self.name}: {self.before} to {self.after}",
            tables=(Table(("", "what", self.before, self.after), rows, empty=empty),),
            notes=(("neutral", told),) if less else (),
        )


def _rows(part: str, change: dict[str, Flat]) -> Iterator[tuple[Any, ...]]:
    yield from ((part, key, None, _cell(value)) for key, value in change["added"].items())
    yield from ((part, key, _cell(value), None) for key, value in change["removed"].items())
    yield from ((part, key, *_both(item["from"], item["to"])) for key, item in change["changed"].items())


def _told(row: tuple[Any, ...]) -> bool:
    """Not what reads the same on both sides, nor how a score varies over folds: its mean is told."""
    part, key, before, after = row
    return before != after and not (part == "metrics" and key.endswith((".folds", ".std")))


def _parts(manifest: Manifest) -> dict[str, Flat]:
    raw = manifest.to_dict()
    schema = {column.pop("name"): column for column in raw["schema"].pop("columns")}
    return {
        "schema": schema
        | flat({key: value for key, value in raw["schema"].items() if value}, "(input)")
        | {f"{method['name']}()": method["output"] for method in raw["methods"]},
        "parameters": flat(manifest.model.get("parameters")) | {"(class)": manifest.model.get("class")},
        "requirements": requirements(manifest) | {"(python)": manifest.environment.get("python")},
        "metrics": flat({kind: measured.get("values", measured) for kind, measured in manifest.metrics.items()}),
        "code": _definitions(manifest) | code_files(manifest),
        "data": flat(fingerprint(manifest)),
    }


def _definitions(manifest: Manifest) -> Flat:
    """How each travels; not its cell's number, which every run changes."""
    found = {}
    for item in manifest.code.get("definitions", ()):
        if isinstance(item, dict):
            found[str(item.get("name"))] = f"{item.get('kind', 'definition')} by {item.get('by', 'source')}"
    return found


def _both(before: Any, after: Any) -> tuple[str, str]:
    """Two long values are shown from where they part; of a column what it accepts, if that is what changed."""
    texts = _text(before), _text(after)
    if texts[0] == texts[1] and isinstance(before, dict) and isinstance(after, dict):
        texts = _accepts(before, after), _accepts(after, before)
    start = next((at for at, (one, other) in enumerate(zip(*texts, strict=False)) if one != other), 0) - LONGEST // 2
    if start <= 0 or max(map(len, texts)) <= LONGEST:
        return _cut(texts[0]), _cut(texts[1])
    return _cut(f"...{texts[0][start:]}"), _cut(f"...{texts[1][start:]}")


def _accepts(column: dict[str, Any], other: dict[str, Any]) -> str:
    """The facts of a column that callers may notice, where they differ from the other's."""
    return ", ".join(f"{key} {column.get(key)}" for key in NOTICED if column.get(key) != other.get(key))


def _cell(value: Any) -> str:
    """What stands alone; the answer of a method is told by what holds it."""
    if not (isinstance(value, dict) and "container" in value):
        return _cut(_text(value))
    labels = ", ".join(map(str, value.get("labels") or ()))
    return _cut(" ".join(filter(None, (value["container"], value.get("dtype"), labels and f"of {labels}"))))


def _text(value: Any) -> str:
    """A column is shown by its kind and what it accepts; else the value."""
    if isinstance(value, dict) and "kind" in value:
        return f"{value['kind']} {value.get('dtype', '')}{' or null' if value.get('nullable') else ''}"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text[:12] if _SHA256.fullmatch(text) else text


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
