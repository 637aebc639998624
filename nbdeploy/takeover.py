"""The straight line from a bundle to a service: prepare, check, judge, commit, hand over.

The commit publishes or points; the hand-over follows at once. Whoever dies between the two leaves a candidate whose
supervisor reads the registry, and finishes what was committed or drops what was not.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbdeploy.turns import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbdeploy.capture.bundle import Bundle
    from nbdeploy.keep.version import Version
    from nbdeploy.run.launcher import Candidate, Launch, Launcher


@dataclass(frozen=True)
class Takeover:
    launcher: Launcher
    token: str | None
    progress: Callable[[str], None]

    def run(
        self,
        bundle: Bundle,
        launch: Launch,
        commit: Callable[[str], Version],
        undo: Callable[[Version], object],
        *,
        judge: Callable[[Candidate], object] | None = None,
    ) -> Version:
        """Make the bundle what answers under its name; `undo` is called where the hand-over fails after all.

        `commit` is told the url it will answer at. `judge` raises what keeps the checked candidate from taking over.

        Raises:
            NotReady, CheckFailed, ServiceFailed: the candidate; what was live goes on.
        """
        from nbdeploy.judge import away
        from nbdeploy.run.client import Client

        self.progress("check")
        candidate = self.launcher.prepare(launch, self.progress)
        try:
            with closing(Client(candidate.url, token=self.token, manifest=bundle.manifest)) as client:
                away.check(bundle, client)
            if judge is not None:
                judge(candidate)
            with uninterrupted():
                version = commit(candidate.public)
                self.progress("serve")
                try:
                    candidate.activate(version.version, version.bundle)
                except BaseException:  # whatever it was, what is live must be what was live, or what answers now
                    candidate.discard()
                    undo(version)
                    raise
        finally:
            candidate.discard()  # harmless once it is active
        return version
