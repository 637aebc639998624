"""Two versions side by side."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.keep.changelog import Flat, changes, code_files, fingerprint, flat, requirements
from nbdeploy.render import Card, Shown, Table

if TYPE_CHECKING:
    from nbdeploy.runtime.manifest import Manifest

LONGEST = 40  # characters of a value shown; four columns of them fit a page
_SHA256 = re.compile("[0-9a-f]{64}")
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
        rows: list[tuple[Any, ...]] = []
        for part in PARTS:
            change = getattr(self, part)
            rows += [(part, key, None, _cell(value)) for key, value in change["added"].items()]
            rows += [(part, key, _cell(value), None) for key, value in change["removed"].items()]
            rows += [(part, key, *_both(item["from"], item["to"])) for key, item in change["changed"].items()]
        table = Table(("", "what", self.before, self.after), rows, empty="the two do not differ")
        return Card(title=f"{self.name}: {self.before} to {self.after}", tables=(table,))


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
    """Two long values are shown from where they part."""
    texts = _text(before), _text(after)
    start = next((at for at, (one, other) in enumerate(zip(*texts, strict=False)) if one != other), 0) - LONGEST // 2
    if start <= 0 or max(map(len, texts)) <= LONGEST:
        return _cut(texts[0]), _cut(texts[1])
    return _cut(f"...{texts[0][start:]}"), _cut(f"...{texts[1][start:]}")


def _cell(value: Any) -> str:
    return _cut(_text(value))


def _text(value: Any) -> str:
    """A column is shown by its kind and what it accepts; else the value."""
    if isinstance(value, dict) and "kind" in value:
        return f"{value['kind']} {value.get('dtype', '')}{' or null' if value.get('nullable') else ''}"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text[:12] if _SHA256.fullmatch(text) else text


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
