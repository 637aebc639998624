"""What makes a folder a Bento: `bento.yaml` and the files BentoML's own build writes beside `src/`.

All of it is written from the manifest and from constants, so that nothing a bundle brings along reaches YAML, a Dockerfile or a shell.
"""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import Corrupt
from nbdeploy.keep.changelog import requirements
from nbdeploy.keep.readme import readme

if TYPE_CHECKING:
    from nbdeploy.keep.version import Version
    from nbdeploy.runtime.manifest import Manifest

FILE = "bento.yaml"
SERVICE = "nbdeploy_runtime.service:ModelService"
ENTRYPOINT = "env/docker/entrypoint.sh"
# Text to PyYAML, and a number or a truth to readers written in Go: kubectl, docker compose.
NO_TEXT = re.compile(r"(?:[-+]?[0-9._]+e[-+]?[0-9]+|[-+]?0o[0-7_]+|y|n)$", re.IGNORECASE)
# Everything a bundle of ours may hold outside src/.
KNOWN = frozenset(
    {
        FILE,
        "README.md",
        "apis/openapi.yaml",
        "apis/schema.json",
        "env/python/requirements.txt",
        "env/python/requirements.in",
        "env/python/version.txt",
        "env/docker/Dockerfile",
        ENTRYPOINT,
    }
)


def write(folder: Path, manifest: Manifest, version: Version, proof: str) -> None:
    """Write everything beside src/ into `folder`."""
    pins = requirements_text(manifest)
    texts = {
        FILE: bento_yaml(manifest, version, proof),
        "README.md": readme(manifest, version),
        "apis/openapi.yaml": dump(openapi(manifest, version)),
        "apis/schema.json": json.dumps(_routes(manifest), indent=2),
        "env/python/requirements.txt": pins,
        "env/python/requirements.in": pins,
        "env/python/version.txt": str(manifest.environment.get("python", "")),
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # it may be a second name of the staged bundle's own file
        path.write_text(text, encoding="utf-8")
    entrypoint = folder / ENTRYPOINT
    entrypoint.parent.mkdir(parents=True, exist_ok=True)
    entrypoint.write_bytes(_bentoml_entrypoint().read_bytes())
    entrypoint.chmod(0o755)


def bento_yaml(manifest: Manifest, version: Version, proof: str) -> str:
    """As BentoML 1.4.39 writes it (spec 2), but without compilers and git in the image."""
    python = _minor(manifest)
    return dump(
        {
            "service": SERVICE,
            "name": version.name,
            "version": version.version,
            "bentoml_version": requirements(manifest).get("bentoml", "1.4.39"),
            "creation_time": version.created.replace("Z", "+00:00"),
            "labels": {
                "nbdeploy.digest": version.digest,
                "nbdeploy.bump": version.bump,
                "nbdeploy.reason": version.reason,
                "nbdeploy.gate": version.gate,
                "nbdeploy.by": version.by,
                "nbdeploy.proof": proof,
            },
            "models": [],
            "entry_service": version.name,
            "services": [{"name": version.name, "service": "", "models": [], "dependencies": [], "config": {}}],
            "envs": [],
            "schema": _routes(manifest),
            "args": {},
            "spec": 2,
            "image": {
                "base_image": f"python:{python}-slim",
                "python_version": python,
                "commands": [],
                "python_requirements": requirements_text(manifest),
                "post_commands": [],
                "build_include": [],
            },
        }
    )


def _minor(manifest: Manifest) -> str:
    """3.11 of 3.11.2; it ends up in the name of an image."""
    match = re.match(r"([0-9]{1,2}\.[0-9]{1,3})(\.|$)", str(manifest.environment.get("python")))
    if match is None:
        fact = f"its manifest names the Python version {manifest.environment.get('python')!r}"
        raise Corrupt(manifest.name, fact, "deploy it again")
    return match[1]


def requirements_text(manifest: Manifest) -> str:
    """The lock, one pin a line.

    Raises:
        Corrupt: for a line that pip would take for more than one package: an option, a local path, a range.
    """
    lines = manifest.environment.get("requirements", ())
    for line in lines:
        if not isinstance(line, str) or not _is_pin(line):
            raise Corrupt(manifest.name, f"its requirement {line!r} is not a pinned package", "deploy it again")
    return "".join(f"{line}\n" for line in lines)


def _is_pin(line: str) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement

    if not line.isprintable() or len(line) > 1000:
        return False
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return False
    if requirement.url is not None:
        return requirement.url.startswith(("https://", "git+https://", "git+ssh://"))
    return [specifier.operator for specifier in requirement.specifier] == ["=="]


def openapi(manifest: Manifest, version: Version) -> dict[str, Any]:
    """The routes as OpenAPI 3; the running service's own document has the whole schema."""
    body = {"content": {"application/json": {"schema": _REQUEST}}, "required": True}
    answer = {"200": {"description": "predictions in row order", "content": {"application/json": {"schema": _ANSWER}}}}
    paths = {
        f"/{method.name}": {"post": {"operationId": method.name, "requestBody": body, "responses": answer}}
        for method in manifest.methods
    }
    return {"openapi": "3.0.2", "info": {"title": version.name, "version": version.version}, "paths": paths}


_REQUEST = {
    "type": "object",
    "required": ["rows"],
    "properties": {"rows": {"type": "array", "items": {}}},
    "title": "Input",
}
_ANSWER = {
    "type": "object",
    "properties": {
        "predictions": {"type": "array", "items": {}},
        "version": {"type": "string"},
        "request_id": {"type": "string"},
    },
    "title": "Output",
}


def _routes(manifest: Manifest) -> dict[str, Any]:
    routes = [
        {
            "name": method.name,
            "route": f"/{method.name}",
            "batchable": False,
            "input": _REQUEST,
            "output": _ANSWER,
            "is_task": False,
        }
        for method in manifest.methods
    ]
    paths = {f"/{method.name}": {"mounted": False} for method in manifest.methods}
    return {"name": manifest.name, "type": "service", "routes": routes, "paths": paths}


def labels(folder: Path) -> dict[str, str]:
    """What bento.yaml says of the version; {} where it is missing or not ours."""
    raw = read(folder)
    given = raw.get("labels")
    found = (
        {str(key).removeprefix("nbdeploy."): str(value) for key, value in given.items()}
        if isinstance(given, dict)
        else {}
    )
    return found | {key: str(raw[key]) for key in ("name", "version", "creation_time") if key in raw}


def read(folder: Path) -> dict[str, Any]:
    import yaml

    path = folder / FILE
    try:
        if path.is_symlink() or path.stat().st_size > 10_000_000:
            return {}
        raw = yaml.safe_load(path.read_bytes())
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return raw if isinstance(raw, dict) else {}


def dump(value: Any) -> str:
    import yaml

    class Plain(yaml.SafeDumper):
        """Written out in full: anchors surprise readers."""

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
            return True

    Plain.add_implicit_resolver("tag:yaml.org,2002:float", NO_TEXT, None)  # so that a text of that kind is quoted
    return str(yaml.dump(value, Dumper=Plain, sort_keys=False))


def _bentoml_entrypoint() -> Path:
    """BentoML's own script for images, found without importing BentoML."""
    spec = find_spec("bentoml")
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise Corrupt("the installation", "BentoML is missing", "install nbdeploy again")
    return Path(folders[0]) / "_internal" / "container" / "frontend" / "dockerfile" / "entrypoint.sh"
