"""The system under the images of all locks: a base image without what no service runs, made once for each base."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbdeploy.ephemeral import ephemeral, sweep
from nbdeploy.templates import template
from nbdeploy.turns import turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from nbdeploy.run.engine import Engine

REPOSITORY = "localhost/nbdeploy-system"
FILES = ("system.Containerfile", "slim.sh")
CONTEXT = "context-"
SLIMMED = "slimmed"  # the stage of the Containerfile that is the system already, on the layers of its base
KEPT = ("Volumes", "ExposedPorts")  # of a base's settings, what no builder takes out again; labels too
STAMP = "io.buildah.version"  # podman's builder puts it on whatever it makes
WAITING = "waiting: another process slims the same base image"


@dataclass(frozen=True)
class System:
    """Of the base image with this id and configuration; `home` is where the folders of all systems lie."""

    engine: Engine
    home: Path
    base: str
    id: str
    config: Mapping[str, Any] = field(default_factory=dict)
    key: str = field(init=False)

    def __post_init__(self) -> None:
        texts = [(template("image") / name).read_text(encoding="utf-8") for name in FILES]
        key = hashlib.sha256("\n".join([self.id, *texts]).encode()).hexdigest()[:16]
        object.__setattr__(self, "key", key)

    @property
    def reference(self) -> str:
        return f"{REPOSITORY}:{self.key}"

    @contextmanager
    def made(self, progress: Callable[[str], None]) -> Iterator[None]:
        """It is there when the block has ended; where there is none yet it is made beside the block.

        Raises:
            ImageFailed: with the cause.
        """
        folder = self.home / self.key
        with turn(folder, lambda _folder: progress(WAITING)):
            if self.engine.image(self.reference) is not None:
                yield
                return
            sweep(folder, CONTEXT)
            with ephemeral(folder, CONTEXT) as context:
                for name in FILES:
                    shutil.copyfile(template("image") / name, context / name)
                what = "The system of the image"
                with self.engine.building(what, context, FILES[0], [self.reference], self._arguments()):
                    yield

    def _arguments(self) -> list[str]:
        """How it is built: podman makes one layer of a stage without copying it, a third less work, but the base's settings stay.

        Variables of the base are taken out. Where it has what cannot be, a system without any is copied, as docker does.
        """
        words = ["--build-arg", f"BASE={self.base}"]
        labels = set(self.config.get("Labels") or ()) - {STAMP}
        elsewhere = self.config.get("WorkingDir") not in {None, "", "/"}
        if not self.engine.podman or labels or elsewhere or any(self.config.get(kind) for kind in KEPT):
            return words
        names = [str(variable).partition("=")[0] for variable in self.config.get("Env") or ()]
        return [*words, "--target", SLIMMED, "--squash-all", *(f"--unsetenv={name}" for name in names)]
