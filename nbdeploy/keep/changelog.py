"""What changed between two manifests that callers do not notice, as sentences, and everything, as a `Diff`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nbdeploy.runtime.manifest import Manifest

Flat = dict[str, Any]
_PIN = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*(.*)", re.DOTALL)


def internals(before: Manifest, after: Manifest) -> Iterator[str]:
    """Sentences on what is different inside: model, data, parameters, requirements, code."""
    if before.model.get("class") != after.model.get("class"):
        yield f"the model's class is {after.model.get('class')}, it was {before.model.get('class')}"
    parameters = changes(flat(before.model.get("parameters")), flat(after.model.get("parameters")))
    if any(parameters.values()):
        yield f"parameters changed ({named(parameters)})"
    pins = changes(requirements(before), requirements(after))
    if any(pins.values()):
        yield f"requirements changed ({named(pins)})"
    if code_files(before) != code_files(after):
        yield "the code that travels with it changed"
    if before.files.get(before.artefact) != after.files.get(after.artefact):
        yield "retrained" + (" on other data" if fingerprint(before) != fingerprint(after) else "")
    if before.environment.get("python") != after.environment.get("python"):
        yield f"it wants Python {after.environment.get('python')}, it was {before.environment.get('python')}"


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Flat]:
    """{added, removed, changed}: changed entries say {"from", "to"}."""
    return {
        "added": {key: value for key, value in new.items() if key not in old},
        "removed": {key: value for key, value in old.items() if key not in new},
        "changed": {
            key: {"from": old[key], "to": value} for key, value in new.items() if key in old and old[key] != value
        },
    }


def named(change: Mapping[str, Flat]) -> str:
    """The keys of a change, the first few of them."""
    keys = [key for part in change.values() for key in part]
    return ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")


def flat(value: Any, prefix: str = "") -> Flat:
    """Nested mappings as dotted keys; lists of named objects by their names."""
    if isinstance(value, dict) and value:
        parts = value.items()
    elif isinstance(value, (list, tuple)) and value and all(_name(item) for item in value):
        parts = {_name(item): item for item in value}.items()
    elif value is None and not prefix:
        return {}
    else:
        return {prefix: value} if prefix else {}
    found: Flat = {}
    for key, item in parts:
        found |= flat(item, f"{prefix}.{key}" if prefix else str(key))
    return found


def _name(item: Any) -> str | None:
    if isinstance(item, dict):
        name = item.get("name")
        return name if isinstance(name, str) else None
    return None


def requirements(manifest: Manifest) -> Flat:
    """Distribution -> pin."""
    found: Flat = {}
    for line in manifest.environment.get("requirements", ()):
        match = _PIN.fullmatch(line)
        if match:
            found[re.sub(r"[-_.]+", "-", match[1]).lower()] = match[2].strip().removeprefix("==")
    return found


def code_files(manifest: Manifest) -> Flat:
    """Captured modules and data files by hash."""
    return {name: digest for name, digest in manifest.files.items() if name.startswith("captured/")}


def fingerprint(manifest: Manifest) -> Any:
    """What provenance says of the training data."""
    return manifest.provenance.get("data")
