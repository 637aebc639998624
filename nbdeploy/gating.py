"""The gate in the path: what is asked of a version, and where the notebook that judges it finds the services."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy import admission
from nbdeploy.errors import GateRequired, NotFound, WrongUse
from nbdeploy.homes import writing
from nbdeploy.judge import gatebook, junit, validation
from nbdeploy.judge.conditions import require_recorded
from nbdeploy.judge.heldout import check_files, held_out
from nbdeploy.judge.metrics import RECORDED
from nbdeploy.judge.thresholds import conditions
from nbdeploy.judge.validation import Order, Reached
from nbdeploy.keep import store
from nbdeploy.reference import Reference
from nbdeploy.templates import template
from nbdeploy.trial import trial

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    from nbdeploy.capture.bundle import Bundle
    from nbdeploy.judge.conditions import Condition
    from nbdeploy.judge.gatebook import Gatebook
    from nbdeploy.judge.heldout import HeldOut
    from nbdeploy.judge.report import Report
    from nbdeploy.keep.registry import Registry
    from nbdeploy.keep.version import Version
    from nbdeploy.run.launcher import Candidate
    from nbdeploy.run.service import Service
    from nbdeploy.settings import Settings

    Progress = Callable[[str], None]

TASKS = ("classification", "regression", "unsupervised")
SUPERVISED = ("classification", "regression")
OWN_NUMBERS = " A notebook of your own, given with --validate, may record others."


@dataclass(frozen=True)
class Gate:
    """What is asked of a version: read, and found to make sense, before anything is bundled or started."""

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
        notebook: str | os.PathLike[str] | None,
        data: Any = None,
        target: Any = None,
        gate: Sequence[str | Path] = (),
        parameters: Mapping[str, Any] | None = None,
    ) -> Gate:
        """Raises WrongUse, NotFound: for a condition, a notebook or a parameter that cannot be used."""
        given = [gate] if isinstance(gate, str | Path) else gate
        if not isinstance(given, Sequence):
            raise WrongUse(f'gate={gate!r} is no condition: give texts such as ["accuracy>=0.9"], or a YAML file.')
        if data is None and notebook is None:
            raise WrongUse(
                f"{'--gate' if given else 'A gate'} needs rows to judge on, or a notebook that has them: "
                "give --data X_test,y_test, or --validate NOTEBOOK."
            )
        asked = conditions(given, settings)
        check_files(data)
        book = None if notebook is None else gatebook.read(Path(notebook))
        if book is not None:
            validation.check_parameters(book, parameters or {})
        else:
            every = frozenset().union(*RECORDED.values())
            require_recorded(asked, every, "the built-in validation notebooks", OWN_NUMBERS)
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
            task = _of_task(task, held)
            book = gatebook.read(template(f"validate_{task}.ipynb"))
            require_recorded(self.conditions, RECORDED[task], book.path.name, OWN_NUMBERS)
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
            live, live_url = stack.enter_context(self._live(order, progress))
            report = validation.validate(order, Reached(url, token_file, live_url, live), self.settings, progress)
        validation.refuse(report)
        return report

    def validate(self, bundle: Bundle, version: str | None, progress: Progress) -> Report:
        """The report on a bundle, published or not, whatever its verdict."""
        order = self.of(bundle, version)
        progress("gate")
        with (
            trial(self.settings, self.registry, bundle, progress) as client,
            self._live(order, progress) as (live, live_url),
        ):
            return validation.validate(order, Reached(client.url, "", live_url, live), self.settings, progress)

    @contextmanager
    def _live(self, order: Order, progress: Progress) -> Iterator[tuple[Version | None, str]]:
        """The other version that is live, and where it answers if the notebook asks: a service of its own, so that
        nothing of this is logged as traffic.
        """
        live = self.registry.live(order.bundle.name)
        if live is None or live.digest == order.bundle.digest:
            yield None, ""
        elif "live_url" not in order.book.declared:
            yield live, ""
        else:
            with trial(self.settings, self.registry, store.runnable(self.registry, live), progress) as client:
                yield live, client.url


@dataclass
class Judging:
    """The judgement of one deploy, called with its candidate; then `report` is there."""

    gate: Gate
    order: Order
    progress: Progress
    report: Report | None = None

    def __call__(self, candidate: Candidate, token_file: str) -> None:
        self.report = self.gate.judge(self.order, candidate, token_file, self.progress)


def not_again(gate: Gate | None, service: Service) -> Service:
    """What is live already is not judged by deploying it again; that is said."""
    if gate is None:
        return service
    told = f"nothing was judged: {service.name}:{service.version} is live already; `validate {service.name}` judges it"
    return replace(service, warnings=(*service.warnings, told))


def asked(
    settings: Settings,
    registry: Registry,
    *,
    notebook: str | os.PathLike[str] | None,
    data: Any,
    target: Any,
    gate: Sequence[str | Path],
    parameters: Mapping[str, Any] | None,
    skip: str | None,
    name: str | None,
) -> Gate | None:
    """The gate of a deploy, None where there is none.

    Raises:
        WrongUse: what is said of the gate contradicts itself.
        GateRequired: the settings ask for a judgement, and there would be none.
    """
    wanted = data is not None or notebook is not None or bool(gate)
    if skip is not None:
        admission.reason(skip)
        if wanted:
            raise WrongUse("--skip-gate leaves the gate out: give it, or --data, --validate and --gate, not both.")
        return None
    if wanted:
        return Gate.asked(
            settings, registry, notebook=notebook, data=data, target=target, gate=gate, parameters=parameters
        )
    if parameters:
        raise WrongUse("-p gives a parameter to the notebook of a gate: give --data or --validate too.")
    if settings.require_gate:
        raise GateRequired(name or "The model")
    return None


def validate(gate: Gate, what: str | Bundle, progress: Progress, xml: Path | None = None) -> Report:
    """The report on NAME[:VERSION], NAME@DIGEST12 or a bundle, whatever its verdict; it is noted on a version."""
    bundle, version = _found(gate.settings, gate.registry, what)
    report = gate.validate(bundle, version, progress)
    if version is not None:
        gate.registry.record(report.name, "validated", version, report=admission.summary(report))
    if xml is not None:
        junit.write(report, xml)
    return report


def new_validation(
    settings: Settings, registry: Registry, what: str | None, file: str | os.PathLike[str] | None, *, force: bool
) -> Path:
    """A copy of the template of a task, or of a version's task, to be edited.

    Raises:
        WrongUse: the file is there already; NotFound.
    """
    if what is not None and what.endswith(".ipynb") and file is None:
        what, file = None, what
    task = what or TASKS[0]
    if task not in TASKS:
        try:
            bundle, _ = _found(settings, registry, task)
        except NotFound as exc:
            if exc.kind != "service":
                raise
            raise NotFound("task or service", exc.value, [*TASKS, *exc.known]) from None
        task = _of_task(str(bundle.manifest.model.get("task", "other")), None)
    source = template(f"validate_{task}.ipynb")
    target = Path(source.name if file is None else file)
    if target.suffix != ".ipynb":
        raise WrongUse(f"{target} would be no notebook: name a file ending in .ipynb.")
    if target.exists() and not force:
        raise WrongUse(f"{target} is there already: --force writes over it, another name keeps both.")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    return target


def _found(settings: Settings, registry: Registry, what: str | Bundle) -> tuple[Bundle, str | None]:
    """The bundle, and its version where it has one."""
    from nbdeploy.capture import bundle

    if not isinstance(what, str):
        return what, None
    reference = Reference.parse(what)
    if reference.digest:
        return bundle.find(settings.bundles, str(reference)), None
    version = registry.get(reference.name, reference.version)
    return store.runnable(registry, version), version.version


def _of_task(task: str, held: HeldOut | None) -> str:
    """Where a model does not say what it is, its labels do."""
    if task in SUPERVISED:
        return task
    if task == "other" and held is not None and held.target is not None:
        import numpy as np

        return "regression" if np.asarray(held.target).dtype.kind == "f" else "classification"
    return "unsupervised"
