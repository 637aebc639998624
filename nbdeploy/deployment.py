"""One name as it runs: its folder, what is kept for it, its state, and how a version comes to answer under it."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import NotFound, NotRunning, RegistryDamaged, RegistryTooNew, RegistryUnavailable, WrongUse
from nbdeploy.run import tokens
from nbdeploy.run.options import Running
from nbdeploy.takeover import Takeover
from nbdeploy.turns import turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nbdeploy.capture.bundle import Bundle
    from nbdeploy.keep.registry import Also, Books, Registry
    from nbdeploy.keep.version import Version
    from nbdeploy.run.launcher import Launch, Launcher
    from nbdeploy.run.service import Service
    from nbdeploy.run.services import ServiceState
    from nbdeploy.settings import Settings

    Progress = Callable[[str], None]
    Commit = Callable[[Also], Version]

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
        """What was chosen at the first deploy; never a launcher's memory."""
        return self.registry.service(self.name)

    @property
    def launcher(self) -> Launcher:
        return launcher(self.kept.get("launcher"))

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
        from nbdeploy.run.service import Service

        manifest = store.manifest_of(version)
        return Service(
            name=self.name,
            version=version.version,
            url=self.state().url or "",
            manifest=manifest,
            folder=self.folder,
            bundle=version.bundle,
            backend=self.launcher,
            authenticated=not self.kept.get("no_auth"),
            previous=previous,
            already_live=already_live,
            warnings=manifest.warnings,
            bundle_version=version,
            gate=version.gate,
            stopped=self.tell_stopped,
        )

    def attach(self) -> Service:
        """Raises NotRunning, NotFound."""
        number = self.serving()
        if number is None:
            self.registry.get(self.name)
            raise NotRunning(self.name)
        return self.handle(self.registry.get(self.name, number))

    def stop(self) -> None:
        """Return when every process of the service is gone; nothing to do where it is stopped already."""
        if not self.folder.is_dir():
            raise NotFound("service", self.name, self.registry.names())
        try:
            self._stopper().stop(self.name, self.folder)
        except NotRunning:
            return
        self.tell_stopped()

    def _stopper(self) -> Launcher:
        """A registry that cannot be read keeps nobody from stopping what runs."""
        try:
            return self.launcher
        except UNREADABLE:
            memory = launcher("memory")
            return memory if memory.state(self.folder).running else launcher("local")

    def tell_stopped(self) -> None:
        with suppress(*UNREADABLE):  # said to whoever needs it
            self.registry.record(self.name, "stopped")

    def keep_as_running(self, state: ServiceState) -> None:
        """What was kept for the name is lost; the service itself shows most of it."""
        self.registry.keep_service(self.name, launcher=state.launcher, workers=state.workers, port=_port(state.url))

    def answers(self, version: Version, wanted: Running) -> bool:
        """Whether that version answers now, in the way that is wanted."""
        state = self.state()
        same = state.state == "ready" and (state.version, state.digest) == (version.version, version.digest)
        known = bool(self.kept.get("no_auth")) or (self.folder / tokens.FILE).exists()  # else nobody gets in any more
        return same and known and wanted.over(self.kept) == Running().over(self.kept)

    def take_over(self, bundle: Bundle, wanted: Running, commit: Commit, progress: Progress) -> Service:
        """Let the bundle answer under the name once `commit` has made it live.

        `commit` is given what else belongs to its transaction: whoever dies has done all of it or nothing.
        """
        if self.serving() is not None:
            wanted.fits_running(self.name, self.kept)
        running = wanted.over(self.kept)
        before = self.registry.live(self.name)
        token = None if running.no_auth else tokens.ensure(self.folder)
        launch = self.launch(bundle, running, progress)

        def committed(url: str) -> Version:
            facts = {"launcher": "local"} | running.given() | {"port": _port(url)}

            def also(books: Books, version: Version) -> None:
                books.keep_service(self.name, **facts)
                books.add(self.name, "served", version.version)

            return commit(also)

        def undo(version: Version) -> None:
            self._withdraw(version, before)

        version = Takeover(launcher(running.launcher), token, progress).run(bundle, launch, committed, undo)
        now = Deployment(self.settings, self.registry, self.name)
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
        from nbdeploy.runtime.limits import Limits

        settings = self.settings
        python = Path(sys.executable)
        if running.launcher != "memory":
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
            strict_log=bool(running.strict_log),
            limits=Limits(
                max_body=settings.max_body, max_rows=settings.max_rows, predict_timeout=settings.predict_timeout
            ),
            ready_timeout=settings.ready_timeout,
            drain_timeout=settings.drain_timeout,
        )

    def forget_choices(self) -> None:
        """A later service of this name is none the wiser: it has a token again, and no port of its own."""
        self.registry.keep_service(self.name, **dict.fromkeys(self.kept))

    def forget(self) -> None:
        """Remove the folder: token, logs, predictions."""
        shutil.rmtree(self.folder, ignore_errors=True)


def launcher(name: str | None) -> Launcher:
    if name == "memory":
        from nbdeploy.run.memory import MemoryLauncher

        return MemoryLauncher()
    from nbdeploy.run.local import LocalLauncher

    return LocalLauncher()


def _port(url: str | None) -> int | None:
    tail = (url or "").rpartition(":")[2].strip("/")
    return int(tail) if tail.isdigit() else None


def _passed_on(variables: tuple[str, ...], settings: Settings) -> dict[str, str]:
    """The variables named with --env, and the hosts that may be asked for."""
    missing = [name for name in variables if name not in os.environ]
    if missing:
        raise WrongUse(f"--env {missing[0]}: this process has no such variable; set it first.")
    passed = {name: os.environ[name] for name in variables}
    if settings.allowed_hosts:
        passed["NBDEPLOY_ALLOWED_HOSTS"] = ",".join(settings.allowed_hosts)
    return passed
