"""One API: every verb of the front ends is a method here, and composes the stages in a straight line."""

from __future__ import annotations

import inspect
import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from nbdeploy import names, trial
from nbdeploy.deployment import Deployment
from nbdeploy.errors import BreaksCallers, NotFound, SampleMissing, WrongUse, an
from nbdeploy.reference import Reference
from nbdeploy.render.progress import Conclusion
from nbdeploy.run import tokens
from nbdeploy.run.options import Running
from nbdeploy.run.scratch import sweep
from nbdeploy.settings import Current

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from nbdeploy.capture.bundle import Bundle
    from nbdeploy.judge.away import Check
    from nbdeploy.judge.replayed import Replay
    from nbdeploy.judge.report import Report
    from nbdeploy.judge.reproduction import Reproduction
    from nbdeploy.judge.workflow import Workflow
    from nbdeploy.keep.diff import Diff
    from nbdeploy.keep.history import Moment
    from nbdeploy.keep.recover import Recovery
    from nbdeploy.keep.registry import Also, Registry
    from nbdeploy.keep.semver import Number, Suggestion
    from nbdeploy.keep.version import Version, VersionDetails, Versions
    from nbdeploy.overview import Overview
    from nbdeploy.run.image import Image
    from nbdeploy.run.predictions import Predictions
    from nbdeploy.run.scrape import Scrape
    from nbdeploy.run.service import Service
    from nbdeploy.run.services import Services
    from nbdeploy.runtime.manifest import Manifest
    from nbdeploy.settings import Settings
    from nbdeploy.watch.alerts import Alerts, Noticed, Tested
    from nbdeploy.watch.divergence import Divergence
    from nbdeploy.watch.health import Health
    from nbdeploy.watch.preview import Preview
    from nbdeploy.watch.received import Received

    Progress = Callable[[str], None]


def silent(_phase: str) -> None:
    """Progress nobody watches."""


class Workspace:
    """The homes of one user and every verb on them; the module-level verbs are those of a default workspace.

    `progress` is called with the phases "bundle", "check", "publish" and "serve", and with sentences in between.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._given = settings
        self._current = Current()
        _ = self.settings  # what is wrong with them is said now
        self._noticed: dict[Path, tuple[int, int]] = {}

    @property
    def settings(self) -> Settings:
        """Those it was given; else those of the folder it was made in, as they are now."""
        return self._given or self._current()

    @property
    def registry(self) -> Registry:
        from nbdeploy.keep.registry import Registry

        return Registry(self.settings.registry)

    def panel(self, name: str | None = None) -> Overview:
        """What runs and what there is, at this moment; a notebook with the extension loaded shows it as the panel."""
        from nbdeploy.overview import Overview

        return Overview.of(self, None if name is None else names.checked(name))

    # the path, step by step

    def bundle(
        self,
        model: Any,
        *,
        name: str | None = None,
        sample: Any = None,
        target: Any = None,
        keys: Sequence[str] = (),
        real_rows: bool = True,
        cross_validated: bool = False,
    ) -> Bundle:
        """A bundle of the model, neither checked nor published yet."""
        from nbdeploy.capture import bundle, notebook, policy

        shell = notebook.current_shell()
        variable = names.variable_of(model, vars(sys.modules["__main__"]) if shell is None else shell.user_ns)
        if name is None and variable is None:
            raise WrongUse("This model is held by no variable to take a name from: give it one with name=...")
        called = names.checked(name) if name is not None else names.from_variable(variable or "")
        if sample is None:
            shown = variable or "model"
            raise SampleMissing(shown, f"deploy({shown}, sample=X_train, target=y_train)")
        if inspect.isfunction(model):
            from nbdeploy.runtime.function import Function

            model = Function(model)
        return bundle.stage(
            bundle.Model(
                model,
                called,
                sample,
                target,
                tuple(keys),
                real_rows,
                cross_validated,
                log=policy.of(self.settings.log, called),
                elsewhere=self._deployment(called).columns_elsewhere,
            ),
            self.settings.bundles,
            shell,
        )

    def bundle_of(self, reference: str) -> Bundle:
        """The unpublished bundle NAME@DIGEST12."""
        from nbdeploy.capture import bundle

        return bundle.find(self.settings.bundles, reference)

    def check(self, bundle: str | Bundle, *, progress: Progress = silent) -> Check:
        """Have a fresh interpreter answer over HTTP what this kernel answered.

        Raises:
            NotReady, CheckFailed: with the culprit.
        """
        return trial.check(self.settings, self.registry, self._bundle(bundle), progress)

    def foreseen(self, bundle: Bundle, bump: str | None = None) -> tuple[Number, Suggestion]:
        """The number `publish` would give the bundle now, and the reasons."""
        from nbdeploy.keep import store

        return store.foreseen(self.registry, self.settings.bentoml_home, bundle.manifest, bump)

    def publish(
        self,
        bundle: str | Bundle,
        report: Any = None,
        *,
        bump: str | None = None,
        force: bool = False,
        skip_gate: str | None = None,
        again: bool = False,
    ) -> Version:
        """Give the bundle its version; what is live stays live. A bundle that has one gets no other unless `again`.

        Raises:
            GateRefused: `report`, of `validate`, is not that these very bytes passed.
        """
        from nbdeploy import admission

        bundle = self._bundle(bundle)
        known = self.registry.find(bundle.name, bundle.digest)
        if known is not None and known.state == "ok" and not again:
            return replace(admission.noted(self.registry, known, bundle, report), already_published=True)
        return admission.publish(
            self.settings, self.registry, bundle, report=report, skip=skip_gate, bump=bump, force=force
        )

    def deploy(
        self,
        model: Any,
        *,
        name: str | None = None,
        sample: Any = None,
        target: Any = None,
        data: Any = None,
        validate: Any = None,
        gate: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None,
        skip_gate: str | None = None,
        bump: str | None = None,
        launcher: str | None = None,
        workers: int | None = None,
        port: int | None = None,
        keys: Sequence[str] = (),
        again: bool = False,
        real_rows: bool = True,
        force: bool = False,
        no_auth: bool | None = None,
        strict_log: bool | None = None,
        require_compatible: bool = False,
        env: Sequence[str] | None = None,
        progress: Progress = silent,
    ) -> Service:
        """Bundle, check, judge, publish and serve; the same digest as live makes no new version unless `again`.

        Raises:
            GateRefused: with the failing checks and the report; nothing was published.
        """
        from nbdeploy import admission, gating
        from nbdeploy.capture import bundle as staging

        asked = gating.asked(
            self.settings,
            self.registry,
            notebook=validate,
            data=data,
            target=target,
            gate=gate,
            parameters=parameters,
            skip=skip_gate,
            name=name,
        )
        wanted = Running(launcher, workers, port, None if env is None else tuple(env), no_auth, strict_log)
        progress("bundle")
        made = partial(
            self.bundle,
            model,
            name=name,
            sample=sample,
            target=target,
            keys=keys,
            real_rows=real_rows,
            cross_validated=asked is not None,
        )
        with ExitStack() as stack:
            bundle = stack.enter_context(staging.kept(made))
            for warning in bundle.warnings:
                progress(warning)
            deployment = self._deployment(bundle.name)
            stack.enter_context(deployment.turn(progress))
            live = self.registry.live(bundle.name)
            if live is not None and live.digest == bundle.digest and not again:
                progress(Conclusion(f"no new version: this is {live.name} {live.version}, live already"))
                return gating.not_again(asked, replace(deployment.serve(live, wanted, progress), already_live=True))
            if require_compatible:
                self._refuse_breaking(bundle.manifest)
            judging = None if asked is None else gating.Judging(asked, asked.of(bundle), progress)

            def commit(also: Also) -> Version:
                progress("publish")
                report = judging and judging.report
                return admission.publish(
                    self.settings,
                    self.registry,
                    bundle,
                    report=report,
                    skip=skip_gate,
                    bump=bump,
                    force=force,
                    live=True,
                    also=also,
                )

            service = deployment.take_over(bundle, wanted, commit, progress, judge=judging)
            published = [version.digest for version in self.registry.versions(bundle.name)]
            staging.clear(self.settings.bundles, bundle, published)
        return replace(service, report=judging and judging.report)

    def serve(
        self,
        what: str | Bundle,
        *,
        version: str | None = None,
        launcher: str | None = None,
        workers: int | None = None,
        port: int | None = None,
        env: Sequence[str] | None = None,
        force: bool = False,
        no_auth: bool | None = None,
        strict_log: bool | None = None,
        require_compatible: bool = False,
        progress: Progress = silent,
    ) -> Service:
        """Make a version live and serve it, the live one by default; a Bundle is tried in memory, unregistered."""
        from nbdeploy import admission
        from nbdeploy.keep import store

        if not isinstance(what, str):
            return trial.in_memory(self.settings, self.registry, self._bundle(what))
        wanted = Running(launcher, workers, port, None if env is None else tuple(env), no_auth, strict_log)
        name, number = _named(what, version)
        deployment = self._deployment(self._chosen(name, number).name)
        with deployment.turn(progress):
            chosen = self._chosen(name, number)
            if require_compatible and not force:
                self._refuse_breaking(store.manifest_of(chosen))
            admission.admit(self.settings, self.registry, chosen, force=force)
            return deployment.serve(chosen, wanted, progress)

    def rollback(self, name: str, to: str | None = None, *, progress: Progress = silent) -> Service:
        """Serve the version that was live before the live one first was, or `to`; it proves itself before it takes over."""
        from nbdeploy import admission
        from nbdeploy.keep.history import rollback_target

        self.registry.get(name, to)
        deployment = self._deployment(name)
        with deployment.turn(progress):
            target = self.registry.get(name, to) if to else rollback_target(self.registry, name)
            admission.admit(self.settings, self.registry, target, before=True)
            return deployment.serve(target, Running(), progress, kind="rolled back")

    # services

    def services(self, *, all: bool = False) -> Services:  # noqa: A002 - the option's name
        """What is running, as probed now; with `all` also what is stopped.

        The services say so themselves: those that run are found without the registry.
        """
        from nbdeploy.run import memory
        from nbdeploy.run.services import Services, ServiceState, services

        states = [*services(self.settings.services), *memory.states(self.settings.services)]
        found = {state.name: state for state in states if all or state.state != "stopped"}
        if all:
            found = {name: ServiceState(name, "stopped") for name in self.names()} | found
        return Services([found[name] for name in sorted(found)])

    def attach(self, name: str) -> Service:
        """A handle on a running service, from anywhere."""
        return self._deployment(name).attach()

    def stop(self, name: str) -> None:
        """Return when every process of the service is gone."""
        self._deployment(name).stop()

    def logs(self, name: str, *, lines: int = 50, follow: bool = False, progress: Progress = silent) -> Iterator[str]:
        """The last lines the service wrote; with `follow` also those to come. Where the registry cannot be read, `progress` is
        told, and whoever has a folder has a log.
        """
        return self._deployment(name).logs(progress, lines=lines, follow=follow)

    def names(self) -> list[str]:
        """Every name that has a version."""
        return self.registry.names()

    def token_file(self, name: str) -> Path:
        """Where the service's token lies; the file is yours alone."""
        path = self._deployment(name).folder / tokens.FILE
        if not path.exists():
            raise NotFound("token for", name, self.names())
        return path

    def token(self, name: str) -> str:
        return tokens.read(self.token_file(name).parent, name)

    # versions

    def versions(self, name: str) -> Versions:
        """All versions of the name, newest first."""
        return self.registry.versions(name).marked(self._deployment(name).serving())

    def show(self, name: str, version: str | None = None) -> VersionDetails:
        """Everything known of a version, the live one by default."""
        from nbdeploy.keep import store

        details = store.details(self.registry, name, version)
        serving = details.version.version == self._deployment(name).serving()
        return replace(details, version=replace(details.version, serving=serving))

    def diff(self, name: str, a: str, b: str) -> Diff:
        """What was added, removed and changed from version `a` to version `b`."""
        from nbdeploy.keep import diff, store

        old, new = (store.manifest_of(self.registry.get(name, version)) for version in (a, b))
        return diff.Diff.between(name, (a, old), (b, new))

    def at(self, name: str, time: str | datetime) -> Moment:
        """Which version was live, and whether it was served, at "14:00", "2026-11-02 14:00" or an ISO time with a zone."""
        from nbdeploy.keep import history

        return history.at(self.registry, name, str(time))

    def remove(self, name: str, version: str | None = None) -> list[Version]:
        """Delete a version, or everything of a name that is not serving; the versions that are gone."""
        from nbdeploy.keep import store

        self.registry.versions(name)
        deployment = self._deployment(name)
        with deployment.turn(silent):
            gone = store.remove(self.registry, self.settings.bentoml_home, name, version, serving=deployment.serving())
            if version is None:
                deployment.forget_choices()
                deployment.forget()
        return gone

    def recover(self) -> Recovery:
        """Put the homes in order: rebuild the registry where it is lost, clear what a crash left behind."""
        from nbdeploy.capture import bundle
        from nbdeploy.judge import report, sandbox
        from nbdeploy.keep import recover

        running = [state for state in self.services() if state.running]
        serving = {state.name: state.version for state in running if state.version}
        found = recover.recover(self.registry, self.settings.bentoml_home, serving=serving)
        found.cleaned.extend(f"bundles/{name}" for name in bundle.sweep(self.settings.bundles))
        found.cleaned.extend(f"services/{name}" for name in sweep(self.settings.services))
        found.cleaned.extend(f"reports/.drafts/{name}" for name in report.sweep(self.settings.reports))
        found.cleaned.extend(f"{sandbox.HOME}/{name}" for name in sandbox.sweep(self.settings))
        told = {state.name: state for state in running}
        for name in self.names():
            self._deployment(name).recall(told.get(name))
        return found

    # judged

    def validate(
        self,
        what: str | Bundle,
        notebook: str | os.PathLike[str] | None = None,
        *,
        data: Any = None,
        target: Any = None,
        gate: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None,
        junit: str | os.PathLike[str] | None = None,
        progress: Progress = silent,
    ) -> Report:
        """Have a notebook judge NAME, NAME:VERSION, NAME@DIGEST12 or a bundle, by default the template of its task.

        The report comes back whatever its verdict; what it says of a published version is noted on it. `junit` is a file
        for the checks as JUnit XML.
        """
        from nbdeploy import gating

        asked = gating.Gate.asked(
            self.settings,
            self.registry,
            notebook=notebook,
            data=data,
            target=target,
            gate=gate,
            parameters=parameters,
        )
        return gating.validate(asked, what, progress, None if junit is None else Path(junit))

    def new_validation(
        self, what: str | None = None, file: str | os.PathLike[str] | None = None, *, force: bool = False
    ) -> Path:
        """A copy of the validation notebook for a task, or for a version's task, to be edited."""
        from nbdeploy import gating

        return gating.new_validation(self.settings, self.registry, what, file, force=force)

    def replay(
        self,
        name: str,
        against: str,
        *,
        last: str | None = None,
        limit: int | None = None,
        gate: Sequence[str] = (),
        progress: Progress = silent,
    ) -> Replay:
        """Ask the version `against` what the service was asked ("1h", "7d": the last of it), and compare with the answers then."""
        from nbdeploy import hindsight

        versions = (names.checked(name), against)
        return hindsight.replay(self.settings, self.registry, versions, progress, last=last, limit=limit, gate=gate)

    def feedback(self, name: str, labels: Any, on: str = "request_id") -> Received:
        """Take in labels that came late: a frame (of pandas or polars), records, or a file, with a column `label`.

        They go by the column `on`: the request's id, with the place of the row in `row` where it had several, or a key
        that `--keys` kept.
        """
        self.registry.versions(name)
        return self._deployment(name).feedback(labels, on)

    def reproduce(self, name: str, version: str | None = None, *, progress: Progress = silent) -> Reproduction:
        """Run the notebook the version came from again, and say whether the same model comes out; the live one by default."""
        from nbdeploy import hindsight

        return hindsight.reproduce(self.settings, self.registry, self.registry.get(name, version), progress)

    # watched

    def monitor(self, name: str, *, last: str = "7d", every: str | None = None, progress: Progress = silent) -> Health:
        """How a service does, over the last while in windows: traffic, data, drift, live metrics and events on one page."""
        from nbdeploy import watching

        names.checked(name)
        return watching.monitor(self.settings, self.registry, name, progress, last=last, every=every)

    def predictions(self, name: str, *, last: str | None = None) -> Predictions:
        """What the service was asked and answered, as its log's policy keeps it; "1h", "7d": the last of it."""
        self.registry.versions(name)
        return self._deployment(name).predictions(last)

    def watch(self, name: str, say: Callable[[str], None] = print, *, interval: float | str | None = None) -> None:
        """Look every `interval` (seconds, or a text like 10s or 1m; 60), judge the rules and deliver what fires, until SIGTERM or Ctrl-C.

        Raises:
            Refused: another process watches this service.
        """
        from nbdeploy import alerting

        alerting.watch(self.settings, self.registry, names.checked(name), say, interval=interval)

    def alerts(
        self,
        name: str,
        *,
        when: str | None = None,
        preview: bool = False,
        last: str | None = None,
        rule: str | None = None,
        clear: str | None = None,
        windows: int | None = None,
        every: str | None = None,
        rows: int | None = None,
        repeat: str | None = None,
        send: Sequence[str] = (),
        remove: str | None = None,
        test: str | None = None,
        progress: Progress = silent,
    ) -> Alerts | Preview | Tested:
        """The rules of a service and what fires; with `when` a rule is added, or with `preview` only tried on the past.

        `alerts("penguins", when="error_rate>0.05", every="1h", windows=2, send=["ops"])`. `remove` takes a rule away,
        `test` sends a message to a channel.
        """
        from nbdeploy import alerting

        asked: dict[str, Any] = {"when": when, "preview": preview, "last": last, "rule": rule, "clear": clear}
        asked |= {
            "windows": windows,
            "every": every,
            "rows": rows,
            "repeat": repeat,
            "send": (send,) if isinstance(send, str) else tuple(send),
            "remove": remove,
            "test": test,
        }
        return alerting.alerts(self.settings, self.registry, names.checked(name), progress, asked)

    def noticed(self) -> Noticed | None:
        """Alerts for the notebook that none has shown yet, of every service; they are shown by now."""
        from nbdeploy.watch.notices import notices

        return notices(self.settings.services, self._noticed)

    def drift(
        self,
        name: str,
        *,
        last: str = "7d",
        every: str | None = None,
        against: str = "training",
        fail: bool = False,
        progress: Progress = silent,
    ) -> Divergence:
        """The rows of the last while beside training, the training of another version, or the time before ("7d")."""
        from nbdeploy import watching

        names.checked(name)
        return watching.drift(
            self.settings, self.registry, name, progress, last=last, every=every, against=against, fail=fail
        )

    def ci(
        self,
        provider: str | None = None,
        file: str | os.PathLike[str] | None = None,
        *,
        notebook: str | os.PathLike[str] | None = None,
        force: bool = False,
        gate: Sequence[str] = (),
        **words: str | None,
    ) -> Workflow:
        """Write a workflow for "github" or "gitlab" that trains, judges and publishes; for the rest see `workflow`."""
        from nbdeploy.judge.workflow import workflow

        paths = {"file": file and Path(file), "notebook": notebook and Path(notebook)}
        made = workflow(provider, Path.cwd(), gate=gate, **paths, **words)  # type: ignore[arg-type] # two of them are paths
        made.write(force=force)
        return made

    @overload
    def export(self, what: str, file: str | os.PathLike[str], /) -> Path: ...
    @overload
    def export(
        self,
        name: str,
        version: str | None = None,
        file: str | os.PathLike[str] | None = None,
        *,
        offline: str | os.PathLike[str] | None = None,
        kubernetes: str | os.PathLike[str] | None = None,
        compose: str | os.PathLike[str] | None = None,
        image: str | None = None,
        progress: Progress = silent,
    ) -> Path: ...
    @overload
    def export(self, name: str, *, prometheus: str | os.PathLike[str]) -> Scrape: ...
    def export(
        self,
        name: str,
        version: str | os.PathLike[str] | None = None,
        file: str | os.PathLike[str] | None = None,
        *,
        offline: str | os.PathLike[str] | None = None,
        kubernetes: str | os.PathLike[str] | None = None,
        compose: str | os.PathLike[str] | None = None,
        image: str | None = None,
        prometheus: str | os.PathLike[str] | None = None,
        progress: Progress = silent,
    ) -> Path | Scrape:
        """The version as one file, which `bentoml import` reads as well, or as a folder that serves it elsewhere.

        `export("penguins", "penguins.bento")` takes the live version, `export("penguins:1.2.0", "penguins.bento")` and
        `export("penguins", "1.2.0", "penguins.bento")` that one; `export("penguins", offline="folder")` needs no network
        and no nbdeploy where it is started; `kubernetes` and `compose` folders hold manifests that name `image`,
        `prometheus` folders what Prometheus and Grafana need to watch the service.
        """
        from nbdeploy import exporting

        folders = {"offline": offline, "kubernetes": kubernetes, "compose": compose, "prometheus": prometheus}
        if file is None and not any(folders.values()):
            version, file = None, version
        asked = _named(name, None if version is None else str(version))
        wish = exporting.Wish(*asked, {"file": file, **folders}, image)
        return exporting.export(self.settings, self.registry, wish, progress)

    def import_bundle(self, file: str | os.PathLike[str], trust: str | None = None) -> Version:
        """Take in an exported version. Without `trust`, its digest, it is stored and not served."""
        from nbdeploy.keep import arrival

        return arrival.import_bundle(Path(file), self.registry, self.settings.bentoml_home, trust=trust)

    def image(
        self,
        name: str,
        version: str | None = None,
        *,
        engine: str | None = None,
        tag: Sequence[str] = (),
        base: str | None = None,
        wheelhouse: str | os.PathLike[str] | None = None,
        progress: Progress = silent,
    ) -> Image:
        """A container image of a version, the live one by default; `tag` says what it is called in place of NAME:VERSION.

        `wheelhouse` is a folder of wheels that takes the place of every index.

        Raises:
            EngineMissing, ImageFailed: with the cause and the end of what the builder said.
        """
        from nbdeploy.keep import store
        from nbdeploy.run import engine as engines
        from nbdeploy.run import image
        from nbdeploy.run.packages import Source

        settings, chosen = self.settings, self._chosen(*_named(name, version))
        source = Source(None if wheelhouse is None else Path(wheelhouse).absolute())
        found = engines.find(engine or settings.engine)
        builder = image.Builder(found, settings.images, base or settings.base_image, source, progress)
        with store.handed_on(self.registry, chosen) as whole:
            return image.of_version(builder, self.registry, whole, tag)

    # the parts

    def _deployment(self, name: str) -> Deployment:
        return Deployment(self.settings, self.registry, names.checked(name))

    def _bundle(self, given: object) -> Bundle:
        from nbdeploy.capture.bundle import Bundle

        if not isinstance(given, str | Bundle):
            step = "`b = nbdeploy.bundle(model, sample=ROWS)` makes one"
            raise WrongUse(
                f"{an(type(given).__name__, capital=True)} is no bundle; {step}, and a text names one: NAME@DIGEST12."
            )
        return self.bundle_of(given) if isinstance(given, str) else given

    def _chosen(self, name: str, version: str | None) -> Version:
        """That version; else the live one; else, where none ever was, the newest."""
        if version is None and self.registry.live(name) is None:
            return next(iter(self.registry.versions(name)), None) or self.registry.get(name)
        return self.registry.get(name, version)

    def _refuse_breaking(self, manifest: Manifest) -> None:
        from nbdeploy.keep import semver, store

        live = self.registry.live(manifest.name)
        if live is None:
            return
        suggestion = semver.suggest(store.manifest_of(live), manifest)
        if suggestion.bump == "major":
            raise BreaksCallers(manifest.name, live.version, suggestion.reasons)


def _named(what: str, version: str | None) -> tuple[str, str | None]:
    """NAME:VERSION is read as well, but says the version only once."""
    reference = Reference.parse(what)
    if reference.version and version not in {None, reference.version}:
        raise WrongUse(f'"{what}" and version {version} name two versions; give one of them.')
    return reference.name, version or reference.version
