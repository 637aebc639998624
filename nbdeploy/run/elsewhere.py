"""What manifests for other machines have in common: names, image references, variables and what a container needs."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from nbdeploy.errors import EngineMissing, Refused, WrongUse
from nbdeploy.keep.store import intact
from nbdeploy.run import engine
from nbdeploy.run.image import OWN
from nbdeploy.runtime.listener import PORT
from nbdeploy.templates import filled, template

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbdeploy.keep.version import Version
    from nbdeploy.runtime.manifest import Manifest
    from nbdeploy.settings import Settings

TOKEN_FOLDER = "/run/secrets/nbdeploy"  # noqa: S105 - where its file lies in a container
LOG_FOLDER = "/var/lib/nbdeploy"
README = "README.md"
HEALTH = ("python", "-I", "-S", "/bundle/src/nbdeploy_runtime/health.py")
BEGUN = 10.0  # seconds beyond the drain time-out until a container may be killed
PLAIN = 512  # MiB a service takes with a small model
PER_BYTE = 4  # what a model takes of its file
STEP = 128  # MiB, rounded up to


def image_and_memory(
    version: Version, image: str | None, settings: Settings, line: str, progress: Callable[[str], None]
) -> tuple[str, int]:
    """What a container of this version is started from, and the MiB it begins with; `line` is what was typed.

    Raises:
        WrongUse: no image that stays the same is named; Refused: it holds another version; Corrupt.
    """
    reference = checked_image(image, version, line)
    refuse_other_version(reference, version, settings.engine, progress)
    return reference, memory(version, intact(version))


def checked_image(reference: str | None, version: Version, line: str) -> str:
    """A reference that pins one image: with a tag that stays, or a digest.

    Raises:
        WrongUse: there is none, it is none, or it may be another image tomorrow.
    """
    example = f"{line} --image registry.example.org/{version.tag}"
    if reference is None:
        raise WrongUse(f"The manifests need the image of {version.tag} (`nbdeploy image` builds it): {example}")
    found = engine.REFERENCE.fullmatch(reference)
    if found is None or len(reference) > engine.LONGEST:
        raise WrongUse(f'"{reference}" is no image reference; write REGISTRY/NAME:TAG: {example}')
    if not found[2] and found[1] in {None, ":latest"}:
        raise WrongUse(f'"{reference}" may be another image tomorrow; give it a tag or a digest: {example}')
    return reference


def refuse_other_version(reference: str, version: Version, wanted: str | None, progress: Callable[[str], None]) -> None:
    """Where the image is on this machine, its label says what is in it; `wanted` is the engine asked for.

    Raises:
        Refused: something else.
    """
    try:
        found = engine.find(wanted).image(reference)
    except EngineMissing:
        found = None
    if found is None:
        progress(f"{reference} is not on this machine: whether it holds {version.tag} was not checked")
        return
    labels = engine.Engine.labels(found)
    if labels.get(f"{OWN}digest") != version.digest:
        held = labels.get("org.opencontainers.image.version")
        said = (
            f"version {held} of {labels.get('org.opencontainers.image.title')}" if held else "no version of nbdeploy's"
        )
        raise Refused(
            f"{reference} holds {said}, not {version.tag}; name its image, or build it with `nbdeploy image`."
        )


def dns_name(name: str) -> str:
    """The service's name as Kubernetes and Compose take one: small letters, digits and "-", a letter first."""
    text = name.replace("_", "-")
    return text if text[0].isalpha() else f"m-{text}"[:63].rstrip("-")


def variables(settings: Settings, hosts: str) -> dict[str, str]:
    """What the image is told; texts, as both formats want them."""
    return {
        "NBDEPLOY_ALLOWED_HOSTS": hosts,
        "NBDEPLOY_TOKEN_FILE": f"{TOKEN_FOLDER}/token",
        "NBDEPLOY_LOG_DIR": LOG_FOLDER,
        "NBDEPLOY_WORKERS": "1",
        "NBDEPLOY_MAX_BODY": str(settings.max_body),
        "NBDEPLOY_MAX_ROWS": str(settings.max_rows),
        "NBDEPLOY_PREDICT_TIMEOUT": f"{settings.predict_timeout:g}",
        "NBDEPLOY_READY_TIMEOUT": f"{settings.ready_timeout:g}",
        "NBDEPLOY_DRAIN_TIMEOUT": f"{settings.drain_timeout:g}",
    }


def memory(version: Version, manifest: Manifest) -> int:
    """MiB to begin with; only a test under load can tell."""
    size = sum((version.src / name).stat().st_size for name in manifest.files if (version.src / name).is_file())
    return STEP * math.ceil((PLAIN + PER_BYTE * size / 2**20) / STEP)


def grace(settings: Settings) -> int:
    """Seconds from SIGTERM on in which what was asked is answered."""
    return math.ceil(settings.drain_timeout + BEGUN)


def readme(kind: str, version: Version, name: str, image: str, **more: str) -> str:
    """The README of templates/`kind`; `name` is the service's there, `more` are words of that kind alone."""
    words = {
        "TAG": version.tag,
        "SERVICE": version.name,
        "NAME": name,
        "DIGEST": re.sub(r"[^a-z0-9:]", "", version.digest),
        "IMAGE": image,
        "PORT": str(PORT),
        **more,
    }
    text = (template(kind) / README).read_text(encoding="utf-8")
    return filled(text, {f"@{word}@": value for word, value in words.items()})
