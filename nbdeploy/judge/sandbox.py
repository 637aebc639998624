"""Homes for one run of a notebook: what it deploys lands there, and is stopped and removed afterwards."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nbdeploy import ephemeral
from nbdeploy.capture.bundle import Bundle
from nbdeploy.errors import NotRunning
from nbdeploy.homes import private
from nbdeploy.judge import rerun
from nbdeploy.keep.registry import Registry
from nbdeploy.run.local import LocalLauncher
from nbdeploy.runtime.manifest import Manifest
from nbdeploy.turns import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nbdeploy.settings import Settings

KERNEL = "nbdeploy-again"
HOME = ".again"


@dataclass(frozen=True)
class Sandbox:
    folder: Path
    settings: Settings

    @property
    def registry(self) -> Registry:
        return Registry(self.settings.registry)

    def environment(self, notebook: Path, call: dict[str, Any]) -> dict[str, str]:
        """What the notebook's kernel gets: these homes, and what is to be bundled at its end."""
        (self.folder / rerun.REQUEST).write_text(json.dumps(call), encoding="utf-8")
        paths = [str(self.folder / "jupyter"), os.environ.get("JUPYTER_PATH", "")]
        return {
            "NBDEPLOY_HOME": str(self.settings.home),
            "BENTOML_HOME": str(self.settings.bentoml_home),
            "BENTOML_DO_NOT_TRACK": "True",
            "JPY_SESSION_NAME": str(notebook),  # where Jupyter itself tells a kernel its notebook
            "JUPYTER_PATH": os.pathsep.join(filter(None, paths)),
            rerun.FOLDER: str(self.folder),
        }

    def kernel(self, python: Path) -> str:
        """The name of a kernelspec for that interpreter, known under `environment`."""
        spec = {
            "argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": KERNEL,
            "language": "python",
        }
        folder = self.folder / "jupyter" / "kernels" / KERNEL
        folder.mkdir(parents=True)
        (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
        return KERNEL

    def bundles(self, name: str) -> list[Bundle]:
        """What was bundled or published under the name, in the order it was made."""
        folders = [path for path in self.settings.bundles.glob(f"{name}@*") if (path / "src").is_dir()]
        if self.settings.registry.exists():
            folders += [version.bundle for version in self.registry.versions(name)]
        found = [Bundle(folder, Manifest.load(folder / "src")) for folder in folders]
        by_digest = {bundle.digest: bundle for bundle in found}
        return sorted(by_digest.values(), key=lambda bundle: bundle.manifest.created)


@contextmanager
def sandbox(settings: Settings) -> Iterator[Sandbox]:
    """Environments that were built are shared with the user's own home; nothing else is."""
    sweep(settings)
    with ephemeral.ephemeral(settings.home / HOME) as folder:
        own = replace(settings, home=private(folder / "home"), bentoml_home=private(folder / "bentoml"))
        own.environments.symlink_to(private(settings.environments), target_is_directory=True)
        try:
            yield Sandbox(folder, own)
        finally:
            with uninterrupted():
                _stop(folder)


def sweep(settings: Settings) -> list[str]:
    """End what runs in the homes of a process that is gone, and remove them; their names."""
    return ephemeral.sweep(settings.home / HOME, end=_stop)


def _stop(folder: Path) -> None:
    launcher = LocalLauncher()
    for service in (folder / "home" / "services").glob("*"):
        with suppress(NotRunning):
            launcher.stop(service.name, service)
