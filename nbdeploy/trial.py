"""A bundle that answers for a while under nobody's name, without a token and not logged: to be checked, judged, or tried."""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from nbdeploy.deployment import Deployment, launcher
from nbdeploy.run.options import Running
from nbdeploy.run.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nbdeploy.capture.bundle import Bundle
    from nbdeploy.judge.away import Check
    from nbdeploy.keep.registry import Registry
    from nbdeploy.run.client import Client
    from nbdeploy.run.launcher import Launch
    from nbdeploy.run.service import Service
    from nbdeploy.settings import Settings

    Progress = Callable[[str], None]


def check(settings: Settings, registry: Registry, bundle: Bundle, progress: Progress) -> Check:
    """Have a fresh interpreter answer over HTTP what this kernel answered.

    Raises:
        NotReady, CheckFailed: with the culprit.
    """
    from nbdeploy.judge import away

    progress("check")
    with trial(settings, registry, bundle, progress) as client:
        return away.check(bundle, client)


@contextmanager
def trial(settings: Settings, registry: Registry, bundle: Bundle, progress: Progress) -> Iterator[Client]:
    """A client of it; `client.url` is where it answers. Its processes and folder are gone afterwards.

    Raises:
        NotReady: it does not answer its golden rows.
    """
    from nbdeploy.run.client import Client

    with scratch(settings.services) as folder:
        place = Deployment(settings, registry, folder.name)
        launch = _launch(place, bundle, Running(no_auth=True, log={}), progress)
        candidate = launcher("local", settings).prepare(launch, progress)
        try:
            with closing(Client(candidate.url, manifest=bundle.manifest)) as client:
                yield client
        finally:
            candidate.discard()


def in_memory(settings: Settings, registry: Registry, bundle: Bundle) -> Service:
    """The bundle in this process, until it is stopped or the process ends."""
    from nbdeploy.labelling import Labelled
    from nbdeploy.run.service import Service

    backend = launcher("memory", settings)
    with ExitStack() as stack:
        folder = stack.enter_context(scratch(settings.services))
        place = Deployment(settings, registry, folder.name)
        launch = _launch(place, bundle, Running("memory", no_auth=True, log={}), _unheard)
        candidate = backend.prepare(replace(launch, name=bundle.reference), _unheard)
        url = candidate.activate(bundle.reference.partition("@")[2], bundle.folder)
        held = stack.pop_all()
    return Service(
        name=bundle.name,
        version=None,
        url=url,
        manifest=bundle.manifest,
        folder=folder,
        bundle=bundle.folder,
        backend=backend,
        authenticated=False,
        warnings=bundle.warnings,
        stopped=held.close,
        labelled=Labelled(bundle.name, folder, lambda: iter([bundle.manifest])).take,
    )


def _launch(place: Deployment, bundle: Bundle, running: Running, progress: Progress) -> Launch:
    """A supervisor whose kernel dies asks the registry what is live; here it finds none."""
    launch = place.launch(bundle, running, progress)
    return replace(launch, name=bundle.name, registry=place.folder / "registry.db")


def _unheard(_phase: str) -> None:
    """Progress of what is over at once."""
