"""A version judged by what was before it: the requests that were logged, the notebook it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdeploy.capture.bundle import Bundle
from nbdeploy.errors import NotFound
from nbdeploy.judge import replay as judge
from nbdeploy.judge.logged import LIMIT, Selection, span
from nbdeploy.judge.replayed import Replay
from nbdeploy.keep import store, trust
from nbdeploy.run.predictions import Predictions
from nbdeploy.trial import trial

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbdeploy.keep.registry import Registry
    from nbdeploy.keep.version import Version
    from nbdeploy.settings import Settings

    Progress = Callable[[str], None]


def replay(
    settings: Settings,
    registry: Registry,
    versions: tuple[str, str],
    progress: Progress,
    *,
    last: str | None = None,
    limit: int | None = None,
) -> Replay:
    """`versions` are the name and the candidate's number.

    Raises:
        Refused: nothing is logged; NotFound, Untrusted, Corrupt.
    """
    name, against = versions
    candidate, live = registry.get(name, against), registry.live(name)
    if live is None:
        raise NotFound("live version of", name)
    log = Predictions(settings.services / name / "predictions")
    selection = Selection.of(name, log, None if last is None else span(last), limit or LIMIT)
    progress("replay")
    with (
        trial(settings, registry, _ready(registry, live), progress) as live_client,
        trial(settings, registry, _ready(registry, candidate), progress) as client,
    ):
        seen = judge.compare(selection, live_client, client, store.manifest_of(candidate), progress)
    return Replay(name, live.version, candidate.version, selection, seen)


def _ready(registry: Registry, version: Version) -> Bundle:
    """The bundle of a version whose code may run, as it was published."""
    trust.require_trusted(registry, version)
    return Bundle(version.bundle, store.intact(version))
