"""The container launcher: the supervisor of the local one, with a relay and a container in place of its workers.

The image is built from the candidate's own bundle, so the check away from home asks the container that will serve. What
is not in the image - token, prediction log, environment - reaches it by its stdin and one mounted folder.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nbdeploy.errors import EngineMissing
from nbdeploy.homes import failing, private
from nbdeploy.run import engine, image
from nbdeploy.run.environ import PREFIXES
from nbdeploy.run.local import LocalLauncher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nbdeploy.run.engine import Engine
    from nbdeploy.run.launcher import Launch
    from nbdeploy.run.local import LocalCandidate
    from nbdeploy.runtime.order import Order
    from nbdeploy.settings import Settings

INSIDE = "/service"  # where the folders of FOLDERS are mounted
FOLDERS = ("predictions", "feedback")
HOME, NAME, RELAY = f"{image.OWN}home", f"{image.OWN}name", f"{image.OWN}relay"  # labels: whose a container is
KEPT = 3  # images of a name beside the newest
TMP = "rw,nosuid,nodev,size=256m,mode=1777"
# What an engine's command line needs to find its daemon, its store and its user; the container sees none of it.
NEEDED = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "LANG", "DBUS_SESSION_BUS_ADDRESS")
PREFIXED = ("XDG_", "DOCKER_", "CONTAINER", "REGISTRY_AUTH_FILE", "STORAGE_")
PASSED = ("TZ", "LANG")


@dataclass(frozen=True)
class ContainerLauncher(LocalLauncher):
    settings: Settings

    name = "container"

    def prepare(self, launch: Launch, progress: Callable[[str], None]) -> LocalCandidate:
        image.refuse_comma(launch.folder)
        found = engine.find(self.settings.engine)
        reference = self._image(found, launch, progress)
        with failing("preparing the folder of the prediction log", launch.folder):
            for name in FOLDERS:
                _give(launch.folder / name)
        return super().prepare(replace(launch, container=self._container(found, reference, launch)), progress)

    def stop(self, name: str, folder: Path) -> None:
        try:
            super().stop(name, folder)
        finally:
            with suppress(EngineMissing):  # then nothing runs in it either
                clear(engine.find(self.settings.engine), folder)

    def order(self, launch: Launch) -> Order:
        """What the supervisor is told; in it, for the relay, what the container is told."""
        outer = super().order(launch)
        passed = {key: value for key, value in os.environ.items() if key in PASSED or key.startswith(PREFIXES)}
        inner = replace(
            outer,
            bundle="",
            python="",
            registry="",
            environment={**passed, **launch.environment},
            log=outer.log and f"{INSIDE}/predictions",
            port=None,
        )
        environment = {key: value for key, value in os.environ.items() if key in NEEDED or key.startswith(PREFIXED)}
        return replace(outer, environment=environment, container={**(launch.container or {}), "order": inner.to_dict()})

    def _image(self, found: Engine, launch: Launch, progress: Callable[[str], None]) -> str:
        """The image of these very bytes, built where there is none."""
        from nbdeploy.capture.bundle import Bundle
        from nbdeploy.runtime.manifest import Manifest

        manifest = Manifest.load(launch.bundle / "src")
        reference = f"localhost/nbdeploy/{launch.name}:{manifest.digest.removeprefix('sha256:')[:12]}"
        there = found.image(reference)
        if there is not None and found.labels(there).get(f"{image.OWN}digest") == manifest.digest:
            return reference
        bundle = Bundle(launch.bundle, manifest)
        builder = image.Builder(found, self.settings.images, self.settings.base_image, progress=progress)
        builder.image(bundle, (reference,), image.labels(bundle, None, None))
        forget(found, reference)
        return reference

    def _container(self, found: Engine, reference: str, launch: Launch) -> dict[str, list[str]]:
        """Command lines for the relay, which knows no engine."""
        program, settings = found.program, self.settings
        mine = _labels(launch.folder)
        hard = [
            *("--cap-drop", "all", "--security-opt", "no-new-privileges", "--read-only", "--tmpfs", f"/tmp:{TMP}"),  # noqa: S108
            *("--memory", settings.container_memory, "--memory-swap", settings.container_memory),
            *("--pids-limit", str(settings.container_pids)),
        ]
        plain = [
            "--rm",
            "--interactive",
            "--sig-proxy=false",
            "--pull",
            "never",
            "--log-driver",
            "none",
            "--no-healthcheck",
        ]
        labels = [word for key, text in mine.items() for word in ("--label", f"{key}={text}")]
        mounts = [f"type=bind,source={launch.folder.absolute() / name},target={INSIDE}/{name}" for name in FOLDERS]
        return {
            "run": [program, "run", *plain, *hard, *labels, *_user(found), *(f"--mount={mount}" for mount in mounts)],
            "what": [reference, "--led"],
            "list": [program, "ps", "--all", *_shown(launch.folder), "--format", "{{.Names}}"],
            "marked": [program, "inspect", "--format", f'{{{{index .Config.Labels "{RELAY}"}}}}'],
            "mark": [RELAY],
            "port": [program, "port"],
            "remove": [program, "rm", "--force"],
        }


def forget(found: Engine, reference: str) -> None:
    """Old images of the same name; one that is needed again is built again, in a second or so."""
    repository = reference.rpartition(":")[0]
    told = found.ask("images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference={repository}") or ""
    newest = [line for line in told.split() if line != reference]
    for old in newest[KEPT:]:
        found.ask("rmi", old)  # says no where a container runs from it


def clear(found: Engine, folder: Path) -> None:
    """Remove every container of the service whose folder this is; of nobody else."""
    ours = [*_shown(folder), "--filter", f"label={RELAY}"]
    for name in (found.ask("ps", "--all", *ours, "--format", "{{.Names}}") or "").split():
        found.ask("rm", "--force", name)


def _shown(folder: Path) -> list[str]:
    """Words that narrow a list to them."""
    return [word for key, text in _labels(folder).items() for word in ("--filter", f"label={key}={text}")]


def _labels(folder: Path) -> dict[str, str]:
    """The labels of a service's containers: its home, in twelve figures, and its name."""
    home = hashlib.sha256(os.fsencode(folder.absolute().parent)).hexdigest()[:12]
    return {HOME: home, NAME: folder.name}


def _user(found: Engine) -> list[str]:
    """Nobody of weight here, and whoever owns the prediction log: the image's user for root, else this user."""
    if os.geteuid() == 0:
        return ["--user", f"{image.USER}:{image.USER}"]
    rootless = ["--userns", "keep-id"] if found.podman else []
    return [*rootless, "--user", f"{os.geteuid()}:{os.getegid()}"]


def _give(folder: Path) -> None:
    """The prediction log belongs to who writes it; root reads it all the same."""
    private(folder)
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            with suppress(FileNotFoundError):  # retention of a running version removes old segments meanwhile
                os.chown(path, image.USER, image.USER, follow_symlinks=False)
