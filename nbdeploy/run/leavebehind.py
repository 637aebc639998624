"""A version as a folder that serves itself: bundle, wheels, hashes and a script to start it, for a machine without a network."""

from __future__ import annotations

import json
import re
import shutil
import sysconfig
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import EnvironmentFailed, Unsupported
from nbdeploy.keep.archive import listed
from nbdeploy.keep.handout import hand_out, refuse_foreign
from nbdeploy.keep.readme import escaped
from nbdeploy.keep.store import intact
from nbdeploy.run import environ
from nbdeploy.run.wheels import wheels_for
from nbdeploy.runtime.environment import minor
from nbdeploy.runtime.limits import Limits
from nbdeploy.templates import filled, template

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nbdeploy.keep.version import Version
    from nbdeploy.run.wheels import Wheels
    from nbdeploy.runtime.manifest import Manifest
    from nbdeploy.settings import Settings

FACTS = "facts.json"  # what serve.py reads
START = "start"
ROOM = 1.5  # times what the wheels unpack to: their compiled modules, and logs


def leave_behind(version: Version, folder: Path, settings: Settings, progress: Callable[[str], None]) -> Path:
    """Write the folder; nothing of it is run here.

    Raises:
        Corrupt: the bundle is not as it was published; EnvironmentFailed: a wheel cannot be had.
        Refused: the folder holds something else; DiskFailed; Unsupported: a package that comes from no index.
    """
    manifest = intact(version)
    _refuse_direct(version, manifest)
    refuse_foreign(folder)
    try:
        wheels = wheels_for(manifest, settings, progress)
    except EnvironmentFailed as exc:
        raise replace(exc, what=f"The folder of {version.tag}") from exc

    def write(draft: Path) -> None:
        _copy_bundle(version, manifest, draft / "bundle")
        (draft / "wheels").mkdir()
        for path in wheels.paths:
            shutil.copyfile(path, draft / "wheels" / path.name)
        (draft / "requirements.txt").write_text(wheels.requirements(), encoding="utf-8")
        (draft / FACTS).write_text(json.dumps(_facts(version, manifest, wheels, settings), indent=1), encoding="utf-8")
        _scripts(version, manifest, draft)

    progress(f"writing {folder}")
    return hand_out(folder, f"exporting {version.tag}", write)


def _refuse_direct(version: Version, manifest: Manifest) -> None:
    direct = [line for line in manifest.environment["requirements"] if " @ " in line]
    if direct:
        raise Unsupported(
            f"A folder of {version.tag} that needs no network, with {direct[0]},",
            "publish that package to an index (or its wheel to a folder pip is told of) and deploy again",
        )


def _copy_bundle(version: Version, manifest: Manifest, target: Path) -> None:
    for name in sorted(listed(manifest)):
        source = version.bundle / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / name)


def _facts(version: Version, manifest: Manifest, wheels: Wheels, settings: Settings) -> dict[str, Any]:
    limits = Limits(max_body=settings.max_body, max_rows=settings.max_rows, predict_timeout=settings.predict_timeout)
    return {
        "name": version.name,
        "version": version.version,
        "digest": version.digest,
        "python": _python(manifest),
        "implementation": manifest.environment.get("implementation", "cpython"),
        "platform": sysconfig.get_platform(),
        "glibc": wheels.glibc,
        "room": int(wheels.unpacked * ROOM),
        "installer": wheels.installer,
        "environment": {"names": environ.NAMES, "prefixes": environ.PREFIXES, "always": environ.ALWAYS},
        "order": {
            "limits": asdict(limits),
            "ready_timeout": settings.ready_timeout,
            "drain_timeout": settings.drain_timeout,
        },
    }


def _scripts(version: Version, manifest: Manifest, draft: Path) -> None:
    """The script, the program it runs, and the words for whoever gets the folder."""
    source = template("offline")
    shutil.copyfile(source / "serve.py", draft / "serve.py")
    python = _python(manifest)
    script = (source / START).read_text(encoding="utf-8").replace("@PYTHON@", python)
    (draft / START).write_text(script, encoding="utf-8")
    (draft / START).chmod((draft / START).stat().st_mode | 0o111)
    words = {
        "@TAG@": version.tag,
        "@DIGEST@": re.sub(r"[^a-z0-9:]", "", version.digest),
        "@PYTHON@": python,
        "@PLATFORM@": escaped(sysconfig.get_platform()),
        "@METHOD@": re.sub(r"[^a-z0-9_]", "", manifest.methods[0].name if manifest.methods else "predict"),
        "@NAME@": version.name,
    }
    text = (source / "README.md").read_text(encoding="utf-8")
    (draft / "README.md").write_text(filled(text, words), encoding="utf-8")


def _python(manifest: Manifest) -> str:
    """Its minor version, as digits and a dot alone: it goes into a shell script."""
    found = re.fullmatch(r"\d{1,2}\.\d{1,3}", minor(str(manifest.environment["python"])))
    if found is None:
        raise Unsupported(f"Python {manifest.environment['python']!r}", "deploy the model again")
    return found[0]
