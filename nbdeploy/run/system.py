"""The system under the images of all locks: a base image without what no service runs, made once for each base."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nbdeploy.ephemeral import ephemeral, sweep
from nbdeploy.templates import template
from nbdeploy.turns import turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nbdeploy.run.engine import Engine

REPOSITORY = "localhost/nbdeploy-system"
FILES = ("system.Containerfile", "slim.sh")
CONTEXT = "context-"
WAITING = "waiting: another process slims the same base image"


@dataclass(frozen=True)
class System:
    """Of the base image with this id; `home` is where the folders of all systems lie."""

    engine: Engine
    home: Path
    base: str
    id: str
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
                arguments = ["--build-arg", f"BASE={self.base}"]
                what = "The system of the image"
                with self.engine.building(what, context, FILES[0], [self.reference], arguments):
                    yield
