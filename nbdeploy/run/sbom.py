"""A CycloneDX bill of materials: the version, its model file, and every package of its lock."""

from __future__ import annotations

import json
import uuid
from email.parser import HeaderParser
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nbdeploy.runtime.manifest import Manifest

FILE = "sbom.cdx.json"


def sbom(manifest: Manifest, version: str, pins: Mapping[str, str], licences: Mapping[str, str]) -> str:
    """The same for the same bundle and lock, whenever it is written."""
    reference = f"{manifest.name}@{version}"
    packages = [_package(name, pin, licences.get(_key(name))) for name, pin in sorted(pins.items())]
    known = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{reference} {manifest.digest} {sorted(pins.items())}')}",
        "version": 1,
        "metadata": {
            "timestamp": manifest.created,
            "tools": {"components": [{"type": "application", "name": "nbdeploy"}]},
            "component": {
                "type": "application",
                "bom-ref": reference,
                "name": manifest.name,
                "version": version,
                "properties": [{"name": "io.nbdeploy.digest", "value": manifest.digest}],
            },
        },
        "components": [_model(manifest), *packages],
        "dependencies": [{"ref": reference, "dependsOn": ["model", *(item["bom-ref"] for item in packages)]}],
    }
    return json.dumps(known, indent=1, ensure_ascii=False) + "\n"


def _model(manifest: Manifest) -> dict[str, Any]:
    digest = manifest.files[manifest.artefact].removeprefix("sha256:")
    return {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": str(manifest.model.get("class", "model")),
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def _package(name: str, version: str, licence: str | None) -> dict[str, Any]:
    url = f"pkg:pypi/{_key(name)}@{version}"
    known: dict[str, Any] = {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url}
    if licence:
        known["licenses"] = [{"license": {"name": licence}}]
    return known


def licences(packages: Path) -> dict[str, str]:
    """Distribution -> what its metadata says of its licence, in a line."""
    found = {}
    for path in packages.glob("*.dist-info/METADATA"):
        told = HeaderParser().parsestr(path.read_text(encoding="utf-8", errors="replace"), headersonly=True)
        said = str(told.get("License-Expression") or told.get("License") or "").strip()
        named = [
            item.rpartition(" :: ")[2] for item in told.get_all("Classifier", []) if item.startswith("License :: ")
        ]
        text = said if said and len(said.splitlines()) == 1 else ", ".join(named)
        if text and text != "UNKNOWN":
            found[_key(str(told["Name"]))] = text
    return found


def _key(name: str) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(name)
