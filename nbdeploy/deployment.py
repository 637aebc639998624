"""One name as it runs: its folder, what is kept for it, its state, and how a version comes to answer under it."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nbdeploy.errors import (
    Corrupt,
    NotFound,
    NotRunning,
    PortTaken,
    RegistryDamaged,
    RegistryTooNew,
    RegistryUnavailable,
    WrongUse,
    did_you_mean,
)
from nbdeploy.render.progress import Conclusion
from nbdeploy.run import options, tokens
from nbdeploy.run.options import Running
from nbdeploy.runtime.retention import Removed, clean
from nbdeploy.takeover import Takeover
from nbdeploy.turns import turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nbdeploy.capture.bundle import Bundle
    from nbdeploy.keep.registry import Also, Books, Registry
    from nbdeploy.keep.version import Version
    from nbdeploy.run.launcher import Candidate, Launch, Launcher
    from nbdeploy.run.predictions import Predictions
    from nbdeploy.run.service import Service
    from nbdeploy.run.services import ServiceState
    from nbdeploy.runtime.manifest import Manifest
    from nbdeploy.settings import Settings
    from nbdeploy.watch.received import Received

    Progress = Callable[[str], None]
    Commit = Callable[[Also], Version]
    Judge = Callable[[Candidate, str], object]

UNREADABLE = (RegistryDamaged, RegistryTooNew, RegistryUnavailable)


@dataclass(frozen=True)
class Deployment:
    settings: Settings
    registry: Registry
    name: str

    @property
    def folder(self) -> Path:
        return self.settings.services / self.name

    @cached_property
    def kept(self) -> dict[str, Any]:
        """What was chosen at the first deploy; from its copy where the registry cannot be read."""
        try:
            return self.registry.service(self.name)
        except UNREADABLE:
            return options.saved(self.folder)

    @property
    def launcher(self) -> Launcher:
        known = self.kept.get("launcher")
        if known is None and (memory := launcher("memory", self.settings)).state(self.folder).running:
            return memory  # what was kept is lost, copy and all
        return launcher(known, self.settings)

    def state(self) -> ServiceState:
        return self.launcher.state(self.folder)

    def serving(self) -> str | None:
        """The version that answers now."""
        state = self.state()
        return state.version if state.running else None

    @contextmanager
    def turn(self, progress: Progress) -> Iterator[None]:
        """Deploys of one name queue."""
        with turn(self.folder, progress):
            yield

    def handle(self, version: Version, *, previous: str | None = None, already_live: bool = False) -> Service:
        """The user's end of the service, with the version its call made live."""
        from nbdeploy.keep import store

        state = self.state()
        try:
            manifest = store.manifest_of(version)
        except Corrupt:
            manifest = self._told(state)
        service = replace(self._handle(state, manifest), version=version.version, bundle=version.bundle)
        return replace(service, previous=previous, already_live=already_live, bundle_version=version, gate=version.gate)

    def logs(self, progress: Progress, *, lines: int, follow: bool) -> Iterator[str]:
        """Also while the registry is damaged, which is said. Raises NotFound."""
        try:
            self.registry.versions(self.name)
        except UNREADABLE as exc:
            if not self.folder.is_dir():
                raise
            progress(str(exc))
        return self.launcher.logs(self.folder, lines=lines, follow=follow)

    def attach(self) -> Service:
        """What answers can be asked, though its bundle is gone or the registry damaged.

        Raises:
            NotRunning, NotFound
        """
        state = self.state()
        if not state.running or state.version is None:
            self.registry.get(self.name)
            raise NotRunning(self.name)
        try:
            version = self.registry.get(self.name, state.version)
        except (*UNREADABLE, NotFound) as exc:
            service = self._handle(state, self._told(state))
            return replace(service, warnings=(*service.warnings, str(exc)))
        return self.handle(version)

    def _handle(self, state: ServiceState, manifest: Manifest) -> Service:
        from nbdeploy.run.service import Service

        return Service(
            name=self.name,
            version=state.version,
            url=state.url or "",
            manifest=manifest,
            folder=self.folder,
            bundle=Path(state.bundle or ""),
            backend=self.launcher,
            authenticated=not self.kept.get("no_auth"),
            warnings=manifest.warnings,
            stopped=self.tell_stopped,
            labelled=self.feedback,
        )

    def _told(self, state: ServiceState) -> Manifest:
        """The manifest as the service tells it."""
        from nbdeploy.run.client import Client

        token = None if self.kept.get("no_auth") else tokens.read(self.folder, self.name)
        with closing(Client(state.url or "", token=token)) as client:
            return client.manifest()

    def stop(self) -> None:
        """Return when every process of the service is gone; nothing to do where it is stopped already."""
        if not self.folder.is_dir():
            raise NotFound("service", self.name, self.registry.names())
        try:
            self.launcher.stop(self.name, self.folder)
        except NotRunning:
            return
        self.tell_stopped()

    def tell_stopped(self) -> None:
        with suppress(*UNREADABLE):  # said to whoever needs it
            self.registry.record(self.name, "stopped")

    def recall(self, state: ServiceState | None) -> None:
        """Registry and copy say the same again; what both have lost is told by what runs."""
        kept, copy = self.registry.service(self.name), options.saved(self.folder)
        if not kept and state is not None:
            copy = copy or {"launcher": state.launcher, "workers": state.workers, "port": _port(state.url)}
        if not kept and copy:
            kept = self.registry.keep_service(self.name, **copy)
        if kept != copy and self.folder.is_dir():
            options.save(self.folder, kept)

    def serve(
        self, version: Version, wanted: Running, progress: Progress, *, kind: Literal["live", "rolled back"] = "live"
    ) -> Service:
        """Make a published version live, and have it answer; nothing to start where it does already.

        Raises:
            Untrusted, Corrupt.
        """
        from nbdeploy.keep import store

        def commit(also: Also | None = None) -> Version:
            return self.registry.make_live(self.name, version.version, kind=kind, also=also)

        if self.answers(version, wanted):
            self._tell_unmeant(progress)
            before = self.registry.live(self.name)
            if before is not None and before.version == version.version:
                progress(Conclusion(f"nothing changed: {version.version} answers already"))
            return self.handle(commit(), previous=before.version if before else None, already_live=True)
        return self.take_over(store.runnable(self.registry, version), wanted, commit, progress)

    def logging(self, wanted: Running) -> Running:
        """With what the settings say of the log; where they say nothing, it stays as it was."""
        from nbdeploy.capture import policy

        log = policy.of(self.settings.log, self.name)
        return replace(wanted, log=log) if log and wanted.log is None else wanted

    def answers(self, version: Version, wanted: Running) -> bool:
        """Whether that version answers now, in the way that is wanted."""
        wanted = self.logging(wanted)
        state = self.state()
        same = state.state == "ready" and (state.version, state.digest) == (version.version, version.digest)
        known = bool(self.kept.get("no_auth")) or (self.folder / tokens.FILE).exists()  # else nobody gets in any more
        return same and known and wanted.over(self.kept) == Running().over(self.kept)

    def take_over(
        self, bundle: Bundle, wanted: Running, commit: Commit, progress: Progress, *, judge: Judge | None = None
    ) -> Service:
        """Let the bundle answer under the name once `commit` has made it live.

        `commit` is given what else belongs to its transaction: whoever dies has done all of it or nothing. `judge` is
        given the checked candidate and the file of its token, and raises what keeps it from taking over.
        """
        if self.serving() is not None:
            wanted.fits_running(self.name, self.kept)
        wanted = self.logging(wanted)
        running = wanted.over(self.kept)
        before = self.registry.live(self.name)
        token = None if running.no_auth else tokens.ensure(self.folder)
        launch = self.launch(bundle, running, progress)
        self._tell_unmeant(progress)
        self._tell_unknown(running.log or {}, bundle, progress)

        def committed(url: str) -> Version:
            facts = {"launcher": "local"} | running.given() | {"port": _port(url)}

            def also(books: Books, version: Version) -> None:
                books.keep_service(self.name, **facts)
                books.add(self.name, "served", version.version)

            return commit(also)

        def undo(version: Version) -> None:
            self._withdraw(version, before)

        token_file = "" if token is None else str(self.folder / tokens.FILE)
        judged = None if judge is None else lambda candidate: judge(candidate, token_file)
        try:
            takeover = Takeover(launcher(running.launcher, self.settings), token, progress)
            version = takeover.run(bundle, launch, committed, undo, judge=judged)
        except PortTaken as taken:
            if wanted.port is None:
                raise taken.kept() from None
            raise
        now = Deployment(self.settings, self.registry, self.name)
        options.save(self.folder, now.kept)
        if (removed := now.clean_log()).segments:
            progress(f"{removed.segments} old segments of the prediction log are gone, as its retention says")
        return now.handle(version, previous=before.version if before else None)

    def _withdraw(self, version: Version, before: Version | None) -> None:
        """The hand-over failed: what was live is live again and kept as it was, unless the new version answers after all."""
        now = Deployment(self.settings, self.registry, self.name)
        serving = now.serving()
        if serving == version.version:
            return
        with self.registry.writing() as books:
            books.withdraw(self.name, before.version if before else None)
            books.keep_service(self.name, **(dict.fromkeys(books.service(self.name)) | self.kept))
            if serving is None:
                books.add(self.name, "stopped")

    def launch(self, bundle: Bundle, running: Running, progress: Progress) -> Launch:
        from nbdeploy.run.environments import interpreter_for
        from nbdeploy.run.launcher import Launch
        from nbdeploy.run.rules import decided, understood
        from nbdeploy.runtime.limits import Limits

        settings = self.settings
        log = self.logging(running).log or {}
        rules = decided(log, bundle, self.folder, progress)
        python = Path(sys.executable)
        if running.launcher not in {"memory", "container"}:
            python = interpreter_for(bundle.manifest.environment, bundle.requirements, settings, progress)
        return Launch(
            name=self.name,
            bundle=bundle.folder,
            digest=bundle.digest,
            python=python,
            folder=self.folder,
            registry=settings.registry,
            workers=running.workers or 1,
            port=running.port,
            environment=_passed_on(running.env or (), settings),
            token_sha256=None if running.no_auth else tokens.sha256(tokens.ensure(self.folder)),
            log=running.launcher == "memory" or understood(rules, bundle, progress, strict=bool(running.strict_log)),
            log_rules=rules,
            strict_log=bool(running.strict_log),
            limits=Limits(
                max_body=settings.max_body, max_rows=settings.max_rows, predict_timeout=settings.predict_timeout
            ),
            ready_timeout=settings.ready_timeout,
            drain_timeout=settings.drain_timeout,
        )

    def columns_elsewhere(self) -> frozenset[str]:
        """Of every version of this name and the newest of every other, but not what `[log.NAME]` says of this one alone."""
        from nbdeploy.capture import policy

        own: dict[str, str] = policy.own_table(self.settings.log, self.name).get("columns", {})
        return self._columns(self.registry.names()) - own.keys()

    def _columns(self, names: Sequence[str]) -> frozenset[str]:
        from nbdeploy.capture import policy
        from nbdeploy.keep import store

        found: set[str] = set()
        with self.registry.reading() as view:
            everything = {name: view.versions(name) for name in names}
        versions = [item for name, known in everything.items() for item in (known if name == self.name else known[-1:])]
        for version in versions:
            with suppress(Corrupt):  # said by whoever wants to serve it
                found.update(policy.names(store.manifest_of(version).schema))
        return frozenset(found)

    def _tell_unmeant(self, progress: Progress) -> None:
        """A `[log.NAME]` of no service keeps nothing of what it says."""
        from nbdeploy.capture import policy

        for told in policy.unmeant(self.settings.log, [self.name, *self.registry.names()]):
            progress(told)

    def _tell_unknown(self, log: dict[str, Any], bundle: Bundle, progress: Progress) -> None:
        """A column of the settings that this name has in no version: another's, or misspelled. It keeps nobody from serving."""
        from nbdeploy.capture import policy

        unknown = policy.unknown(log, [bundle.manifest.schema])
        if not unknown:
            return
        own = self._columns([self.name])
        for column in unknown:
            if column not in own:
                told = f'the settings say what is logged of "{column}" ([log]), and {self.name} has no such column.'
                progress(told + did_you_mean(column, sorted(own)))

    def feedback(self, labels: Any, on: str = "request_id") -> Received:
        """Take in labels that came late."""
        from nbdeploy.labelling import Labelled, manifests_of, tasks_of

        days = (self.logging(Running()).over(self.kept).log or {}).get("retention_days")
        tasks = tasks_of(self.registry, self.name)
        labelled = Labelled(self.name, self.folder, lambda: manifests_of(self.registry, self.name), days, tasks)
        return labelled.take(labels, on)

    def predictions(self, last: str | None = None) -> Predictions:
        """The log, tidied; a span of time as it is typed."""
        from nbdeploy.run.predictions import Predictions
        from nbdeploy.spans import span

        since = None if last is None else datetime.now(UTC) - span(last)
        self.clean_log()
        return Predictions(self.folder / "predictions", since)

    def clean_log(self) -> Removed:
        """Let old segments of the prediction log go, as the settings say; recorded where any went.

        Where they cannot be removed they stay: nothing that was deployed or is read hangs on it, and workers say so.
        """
        from nbdeploy.capture import policy

        log = policy.checked(self.logging(Running()).over(self.kept).log or {})
        try:
            removed = clean(self.folder / "predictions", log.get("retention_days"), log.get("retention_bytes"))
        except OSError:
            return Removed()
        if removed.segments:
            with suppress(*UNREADABLE):
                self.registry.record(self.name, "log cleaned", segments=removed.segments, bytes=removed.bytes)
        return removed

    def forget_choices(self) -> None:
        """A later service of this name is none the wiser: it has a token again, and no port of its own."""
        self.registry.keep_service(self.name, **dict.fromkeys(self.kept))

    def forget(self) -> None:
        """Remove the folder: token, logs, predictions."""
        shutil.rmtree(self.folder, ignore_errors=True)


def launcher(name: str | None, settings: Settings) -> Launcher:
    if name == "memory":
        from nbdeploy.run.memory import MemoryLauncher

        return MemoryLauncher()
    if name == "container":
        from nbdeploy.run.container import ContainerLauncher

        return ContainerLauncher(settings)
    from nbdeploy.run.local import LocalLauncher

    return LocalLauncher()


def _port(url: str | None) -> int | None:
    tail = (url or "").rpartition(":")[2].strip("/")
    return int(tail) if tail.isdigit() else None


def _passed_on(variables: tuple[str, ...], settings: Settings) -> dict[str, str]:
    """The variables named with --env, and the hosts that may be asked for."""
    missing = [name for name in variables if name not in os.environ]
    if missing:
        fact = f"this process has no variable {missing[0]}, which the service is started with (--env)"
        raise WrongUse(f"{fact}; set it, or name those it is to have with --env.")
    passed = {name: os.environ[name] for name in variables}
    if settings.allowed_hosts:
        passed["NBDEPLOY_ALLOWED_HOSTS"] = ",".join(settings.allowed_hosts)
    return passed
