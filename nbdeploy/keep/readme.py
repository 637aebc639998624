"""The README of a bundle: a model card of facts from the manifest.

Names, titles and values are somebody's text: they are shown, never read as Markdown or HTML.
"""

from __future__ import annotations

import re
from string import Template
from typing import TYPE_CHECKING, Any

from nbdeploy.keep.changelog import flat
from nbdeploy.templates import template

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nbdeploy.keep.version import Version
    from nbdeploy.runtime.manifest import Column, Manifest

_ESCAPES = str.maketrans(
    {mark: f"&#{ord(mark)};" for mark in "&<>\"':@`|~"} | {mark: "\\" + mark for mark in "\\*_{}[]#+!$^="}
)
_LONGEST = 200


def escaped(value: Any) -> str:
    """Text that no Markdown reader takes for markup, on one line and not at its beginning."""
    text = "".join(mark if mark.isprintable() else " " for mark in str(value))
    text = " ".join(text.split())
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 3] + "..."
    return re.sub(r"(?i)\b(www)\.", r"\1&#46;", text.translate(_ESCAPES))


def readme(manifest: Manifest, version: Version) -> str:
    environment = manifest.environment
    facts = {
        "title": manifest.title,
        "task": manifest.model.get("task", "other"),
        "class_name": manifest.model.get("class", "unknown"),
        "bump": version.bump,
        "reason": version.reason,
        "created": version.created,
        "by": version.by,
        "gate": version.gate,
        "python": environment.get("python", "unknown"),
        "platform": environment.get("platform", "unknown"),
    }
    parts = {
        "tag": version.tag,
        "version": version.version,
        "digest": re.sub(r"[^a-z0-9:]", "", version.digest),
        "method": re.sub(r"[^a-z0-9_]", "", manifest.methods[0].name if manifest.methods else "predict"),
        "methods": _rows((f"/{item.name}", _answers(item.output)) for item in manifest.methods),
        "input": _input(manifest),
        "columns": _columns(manifest.schema.columns),
        "metrics": _facts(flat(manifest.metrics), "None were computed."),
        "provenance": _facts(flat(manifest.provenance), "Nothing is known."),
        "warnings": _facts({str(number): text for number, text in enumerate(manifest.warnings, 1)}, "None."),
    }
    text = Template(template("model_card.md").read_text(encoding="utf-8"))
    return text.substitute({key: escaped(value) for key, value in facts.items()} | parts)


def _answers(output: Any) -> str:
    labels = f" keyed by {', '.join(map(str, output.labels))}" if output.labels else ""
    return f"{output.container} of {output.dtype or 'mixed'}{labels}"


def _input(manifest: Manifest) -> str:
    schema = manifest.schema
    if schema.container == "array":
        return f"A row is a list of shape {escaped(schema.shape)} of {escaped(schema.dtype)}."
    if schema.keyed:
        keys = f" It may carry {escaped(', '.join(schema.keys))}, which is logged only." if schema.keys else ""
        return f"A row is an object with every column below.{keys}"
    return "A row is one value."


def _columns(columns: Sequence[Column]) -> str:
    if not columns:
        return ""
    rows = _rows(
        (item.name, item.kind, item.dtype, "yes" if item.nullable else "no", _seen(item)) for item in columns[:500]
    )
    return f"| column | kind | dtype | null | seen in training |\n|---|---|---|---|---|\n{rows}"


def _seen(column: Column) -> str:
    if column.categories is not None:
        return ", ".join(map(str, column.categories[:10])) + (", ..." if len(column.categories) > 10 else "")
    return "" if column.low is None else f"{column.low} to {column.high}"


def _facts(facts: dict[str, Any], empty: str) -> str:
    if not facts:
        return empty
    return "| | |\n|---|---|\n" + _rows(list(facts.items())[:200])


def _rows(rows: Iterable[Sequence[Any]]) -> str:
    return "\n".join("| " + " | ".join(escaped(cell) for cell in row) + " |" for row in rows)
