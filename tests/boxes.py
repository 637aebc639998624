"""Real containers for tests: an engine, a base image of this run's own, and what podman says of what runs."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy.settings import Settings
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent / "containers"
CACHE = Path(os.environ.get("NBD_BASE_IMAGES") or Path(__file__).parents[1] / "build" / "base")
BASE = "docker.io/library/python:3.11-slim"


def missing() -> str | None:
    """Why no container can be run here."""
    if shutil.which("podman") is None:
        return "podman is not installed (apt-get install podman buildah runc debootstrap)"
    tar = CACHE / "python-3.11-slim.tar"
    if not tar.exists() and shutil.which("debootstrap") is None and not podman("images", "-q", BASE):
        return f"there is no {BASE}, and no debootstrap to make it (tests/containers/base_image.sh)"
    return None


def podman(*words: str) -> str:
    done = subprocess.run(["podman", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"podman {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()


@dataclass
class Box:
    """`workspace` has homes of its own and a base image nobody else has, so that its images are built from nothing."""

    workspace: Workspace
    base: str
    name: str  # of its services
    made: list[str] = field(default_factory=list)

    def containers(self, name: str) -> list[dict[str, Any]]:
        """Those of a service of this run, running or not."""
        ids = podman("ps", "-aq", "--filter", f"label=io.nbdeploy.name={name}").split()
        return [found for each in ids if (found := inspected(each)) is not None]


def inspected(container: str) -> dict[str, Any] | None:
    """None where it is gone by now."""
    done = subprocess.run(["podman", "inspect", container], capture_output=True, text=True, check=False)
    found: list[dict[str, Any]] = json.loads(done.stdout) if done.returncode == 0 else []
    return found[0] if found else None


@contextmanager
def box(folder: Path, kind: str = "ENV") -> Iterator[Box]:
    """The base differs from all others in a setting of this kind."""
    tag = secrets.token_hex(4)
    base = f"localhost/nbdeploy-test/{tag}:3.11"
    subprocess.run([HERE / "base_image.sh", CACHE], check=True)
    without = "find /usr/lib/python3.11 -name __pycache__ -prune -exec rm -r {} +"  # as Docker's own comes
    (folder / "Containerfile").write_text(f"FROM {BASE}\n{kind} test={tag}\nRUN {without}\n")
    podman("build", "--pull=never", "--tag", base, str(folder))
    workspace = Workspace(Settings(folder / "nbdeploy", folder / "bentoml", base_image=base))
    known = Box(workspace, base, f"boxed-{tag}")
    try:
        yield known
    finally:
        for state in workspace.services(all=True):
            if (workspace.settings.services / state.name).is_dir():  # not only published
                workspace.stop(state.name)
        images = podman("images", "--format", "{{.Repository}}:{{.Tag}}").split()
        keys = [
            path.name for kind in ("systems", "dependencies") for path in (workspace.settings.images / kind).glob("*")
        ]
        ours = [item for item in images if item.rpartition(":")[2] in keys or item in {base, *known.made}]
        ours += [item for item in images if item.startswith(f"localhost/nbdeploy/{known.name}:")]
        for item in [*known.made, *ours]:
            subprocess.run(["podman", "rmi", "--force", item], capture_output=True, check=False)


def until(true: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
