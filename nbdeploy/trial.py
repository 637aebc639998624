"""A bundle that answers on this machine for a while: under nobody's name, without a token, not logged."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from nbdeploy.deployment import Deployment, launcher
from nbdeploy.run.options import Running
from nbdeploy.run.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nbdeploy.capture.bundle import Bundle
    from nbdeploy.keep.registry import Registry
    from nbdeploy.run.client import Client
    from nbdeploy.settings import Settings


@contextmanager
def trial(settings: Settings, registry: Registry, bundle: Bundle, progress: Callable[[str], None]) -> Iterator[Client]:
    """A client of it; `client.url` is where it answers. Its processes and folder are gone afterwards.

    Raises:
        NotReady: it does not answer its golden rows.
    """
    from nbdeploy.run.client import Client

    with scratch(settings.services, "trial") as folder:
        place = Deployment(settings, registry, folder.name)
        launch = place.launch(bundle, Running(no_auth=True), progress)
        # A supervisor whose kernel dies asks the registry; here nothing may ever be live.
        launch = replace(launch, name=bundle.name, registry=folder / "registry.db")
        candidate = launcher("local").prepare(launch, progress)
        try:
            with closing(Client(candidate.url, manifest=bundle.manifest)) as client:
                yield client
        finally:
            candidate.discard()
