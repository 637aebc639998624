"""The gate in the path: what is asked of a version, and where the notebook that judges it finds the services."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy.capture.bundle import Bundle
from nbdeploy.errors import GateRequired, WrongUse
from nbdeploy.judge import gatebook, validation
from nbdeploy.judge.heldout import held_out
from nbdeploy.judge.thresholds import conditions
from nbdeploy.judge.validation import Order, Reached
from nbdeploy.keep import store, trust
from nbdeploy.reference import Reference
from nbdeploy.templates import template
from nbdeploy.trial import trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from nbdeploy.judge.conditions import Condition
    from nbdeploy.judge.gatebook import Gatebook
    from nbdeploy.judge.heldout import HeldOut
    from nbdeploy.judge.report import Report
    from nbdeploy.keep.registry import Registry
    from nbdeploy.keep.version import Version
    from nbdeploy.run.launcher import Candidate
    from nbdeploy.settings import Settings

    Progress = Callable[[str], None]

TASKS = ("classification", "regression", "unsupervised")
SUPERVISED = ("classification", "regression")


@dataclass(frozen=True)
class Gate:
    """What is asked: read, and found to make sense, before anything is bundled or started."""

    settings: Settings
    registry: Registry
    data: Any = None
    target: Any = None
    book: Gatebook | None = None  # None: the template of the model's task
    conditions: tuple[Condition, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def asked(
        cls,
        settings: Settings,
        registry: Registry,
        *,
        notebook: str | Path | None,
        data: Any,
        target: Any,
        gate: Sequence[str | Path],
        parameters: Mapping[str, Any] | None = None,
    ) -> Gate:
        """Raises WrongUse, NotFound: for a condition, a notebook or a parameter that cannot be used."""
        asked = conditions([gate] if isinstance(gate, str) else gate, settings)
        book = None if notebook is None else gatebook.read(Path(notebook))
        if book is not None:
            validation.check_parameters(book, parameters or {})
        return cls(settings, registry, data, target, book, asked, dict(parameters or {}))

    def of(self, bundle: Bundle, version: str | None = None) -> Order:
        """The same for one bundle: its held-out rows read, the template of its task chosen.

        Raises:
            UnsupportedData, NotFound, WrongUse.
        """
        task = str(bundle.manifest.model.get("task", "other"))
        held = self._held(bundle, required=self.book is None and task in SUPERVISED)
        book = self.book
        if book is None:
            book = gatebook.read(template(f"validate_{_of_task(task, held)}.ipynb"))
            validation.check_parameters(book, self.parameters)
        return Order(
            bundle=bundle, version=version, book=book, held=held, conditions=self.conditions, parameters=self.parameters
        )

    def _held(self, bundle: Bundle, *, required: bool) -> HeldOut | None:
        if self.data is None:
            return None
        recorded = (bundle.manifest.provenance.get("target") or {}).get("name")
        return held_out(self.data, self.target, schema=bundle.manifest.schema, recorded=recorded, required=required)

    def judge(self, order: Order, candidate: Candidate, token_file: str, progress: Progress) -> Report:
        """The report on a candidate that answers under nobody's name yet.

        Raises:
            GateRefused: with the failing checks and the report.
        """
        progress("gate")
        with ExitStack() as stack:
            url = candidate.url
            if url.startswith("memory://"):  # out of the notebook's reach
                url, token_file = (
                    stack.enter_context(trial(self.settings, self.registry, order.bundle, progress)).url,
                    "",
                )
            live_url = stack.enter_context(self._live(order.bundle, progress))
            report = validation.validate(order, Reached(url, token_file, live_url), self.settings, progress)
        validation.refuse(report)
        return report

    def validate(self, bundle: Bundle, version: str | None, progress: Progress) -> Report:
        """The report on a bundle, published or not, whatever its verdict."""
        order = self.of(bundle, version)
        progress("gate")
        with (
            trial(self.settings, self.registry, bundle, progress) as client,
            self._live(bundle, progress) as live_url,
        ):
            return validation.validate(order, Reached(client.url, live_url=live_url), self.settings, progress)

    @contextmanager
    def _live(self, bundle: Bundle, progress: Progress) -> Iterator[str]:
        """Where the live version answers: a service of its own, so that nothing of this is logged as traffic."""
        live = self.registry.live(bundle.name)
        if live is None or live.digest == bundle.digest:
            yield ""
            return
        with trial(self.settings, self.registry, published(self.registry, live), progress) as client:
            yield client.url


def refuse_contradictions(
    settings: Settings, *, asked: bool, conditions: bool, skip: str | None, name: str | None = None
) -> None:
    """What is said of the gate must make sense before anything is done.

    Raises:
        WrongUse; GateRequired where the settings ask for a judgement, and there will be none.
    """
    if skip is not None and not skip.strip():
        raise WrongUse("--skip-gate needs a reason: it is shown on the version for ever.")
    if skip is not None and (asked or conditions):
        raise WrongUse(
            "--skip-gate leaves the gate out, so --data, --validate and --gate have nothing to do; choose one."
        )
    if conditions and not asked:
        raise WrongUse("--gate needs rows to judge on: give --data X_test,y_test.")
    if settings.require_gate and not asked and skip is None:
        raise GateRequired(name or "The model")


def published(registry: Registry, version: Version) -> Bundle:
    """The bundle of a version whose code may run, as it was published."""
    trust.require_trusted(registry, version)
    return Bundle(version.bundle, store.intact(version))


def found(settings: Settings, registry: Registry, what: str | Bundle) -> tuple[Bundle, str | None]:
    """The bundle that NAME[:VERSION] or NAME@DIGEST12 names, and its version where it has one."""
    from nbdeploy.capture import bundle

    if not isinstance(what, str):
        return what, None
    reference = Reference.parse(what)
    if reference.digest:
        return bundle.find(settings.bundles, str(reference)), None
    version = registry.get(reference.name, reference.version)
    return published(registry, version), version.version


def note(registry: Registry, report: Report) -> None:
    """Write the verdict on a published version into the registry."""
    if report.version is not None:
        registry.record(report.name, "validated", report.version, report=report.to_dict())


def template_for(settings: Settings, registry: Registry, what: str | None) -> Path:
    """The template of a task, or of the task of a version."""
    if what is None or what in TASKS:
        return template(f"validate_{what or TASKS[0]}.ipynb")
    bundle, _ = found(settings, registry, what)
    return template(f"validate_{_of_task(str(bundle.manifest.model.get('task', 'other')), None)}.ipynb")


def _of_task(task: str, held: HeldOut | None) -> str:
    """Where a model does not say what it is, its labels do."""
    if task in SUPERVISED:
        return task
    if task == "other" and held is not None and held.target is not None:
        import numpy as np

        return "regression" if np.asarray(held.target).dtype.kind == "f" else "classification"
    return "unsupervised"
