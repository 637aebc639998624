"""A version judged by what was before it: the requests that were logged, the notebook it came from."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from nbdeploy import execution
from nbdeploy.capture.distributions import distributions
from nbdeploy.errors import NotebookFailed, NotFound, Refused
from nbdeploy.judge import replay as judge
from nbdeploy.judge import rerun
from nbdeploy.judge.conditions import Condition, require_recorded
from nbdeploy.judge.logged import LIMIT, Selection
from nbdeploy.judge.origin import Origin
from nbdeploy.judge.replayed import METRICS, Replay
from nbdeploy.judge.reproduction import Finding, Reproduction, closest, differences
from nbdeploy.judge.sandbox import Sandbox, sandbox
from nbdeploy.keep import store
from nbdeploy.run.environments import kernel_for
from nbdeploy.run.predictions import Predictions
from nbdeploy.spans import span
from nbdeploy.trial import trial

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from nbdeploy.capture.bundle import Bundle
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
    gate: Sequence[str] = (),
) -> Replay:
    """`versions` are the name and the candidate's number.

    Raises:
        Refused: nothing is logged; NotFound, Untrusted, Corrupt; BadCondition.
    """
    conditions = [Condition.parse(text) for text in gate]
    require_recorded(conditions, METRICS, "a replay")
    name, against = versions
    candidate, live = registry.get(name, against), registry.live(name)
    if live is None:
        raise NotFound("live version of", name)
    log = Predictions(settings.services / name / "predictions")
    selection = Selection.of(name, log, None if last is None else span(last), limit or LIMIT)
    progress("replay")
    with (
        trial(settings, registry, store.runnable(registry, live), progress) as live_client,
        trial(settings, registry, store.runnable(registry, candidate), progress) as client,
    ):
        seen = judge.compare(selection, live_client, client, store.manifest_of(candidate), progress)
    return Replay(name, live.version, candidate.version, selection, seen).judged(conditions)


def reproduce(settings: Settings, registry: Registry, version: Version, progress: Progress) -> Reproduction:
    """Run the notebook a version came from again, in homes of its own, and compare what comes out.

    Raises:
        Refused: the notebook is not known, gone, or makes nothing of this name.
        NotebookFailed: it stopped before it did.
    """
    if rerun.FOLDER in os.environ:
        raise Refused(f"{version.tag} cannot be made again from within a notebook that is just being run again.")
    original = store.runnable(registry, version)
    origin = Origin.of(version, original.manifest)
    began = time.monotonic()
    progress("reproduce")
    python = _interpreter(original, origin, settings, progress)
    before = _files(origin.notebook.parent)
    with sandbox(settings) as box:
        notes = _run(origin, box, python, settings)
        made = box.bundles(version.name)
        if not made:
            raise Refused(
                f"{origin.notebook} ran, and nothing in it bundles {version.name}. Let it end with %deploy MODEL --name "
                f"{version.name} --sample ROWS, or deploy with: nbdeploy up {origin.notebook.name}:MODEL"
            )
        again = closest(original, made)
        progress("asking the new model the golden rows of the old one")
        findings: tuple[Finding, ...] = ()
        if again.digest != original.digest:
            with trial(box.settings, box.registry, again, progress) as client:
                findings = differences(original, again, client)
    since = tuple(origin.since()) if findings else ()
    if (
        findings
        and not since
        and not any(finding.part in {"code", "data", "parameters", "requirements"} for finding in findings)
    ):
        since = ("nothing that went in differs: fix the seeds (random_state) of what is drawn at random",)
    written = sorted(path for path, mark in _files(origin.notebook.parent).items() if before.get(path) != mark)
    if written:
        notes = (*notes, f"changed beside the notebook meanwhile, by it or by others: {', '.join(written[:5])}")
    seconds = time.monotonic() - began
    return Reproduction(
        version.tag, str(origin.notebook), str(python), original.digest, again.digest, findings, since, notes, seconds
    )


def _run(origin: Origin, box: Sandbox, python: Path, settings: Settings) -> tuple[str, ...]:
    """What is to be said of the run. A notebook that stops after it has made the model has made it all the same."""
    name = origin.manifest.name
    named = {"model", "sample"} <= origin.call.keys()
    environment = box.environment(origin.notebook, {**origin.call, "name": name})
    cells = [rerun.CELL] if named else []
    try:
        execution.run(
            origin.notebook, cells=cells, environment=environment, keep=settings.reports, kernel=box.kernel(python)
        )
    except NotebookFailed as error:
        if not box.bundles(name):
            raise
        return (str(error),)
    return ()


def _interpreter(original: Bundle, origin: Origin, settings: Settings, progress: Progress) -> Path:
    """This one where it satisfies the version's lock; else one built from it, with what the notebook imports."""
    known = distributions()
    owners = {known.owner(module) for module in origin.imports()} - {None}
    wanted = {owner.name for owner in owners if owner is not None}
    return kernel_for(original.manifest.environment, original.requirements, sorted(wanted), settings, progress)


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    """The files right in a folder, with what tells that they were written."""
    found = ((path.name, path.stat()) for path in folder.iterdir() if path.is_file())
    return {name: (stat.st_mtime_ns, stat.st_size) for name, stat in found}
