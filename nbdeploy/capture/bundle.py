"""From live objects to a folder: everything of a bundle but its version, `bento.yaml` and README."""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy.capture import fitted
from nbdeploy.errors import Corrupt, NotFound, UnsupportedData
from nbdeploy.homes import failing, private
from nbdeploy.render import Card, Shown, Table
from nbdeploy.runtime.clock import now
from nbdeploy.runtime.manifest import FILE, FORMAT, Manifest, ManifestError, altered, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

    from nbdeploy.capture.code import CapturedModel
    from nbdeploy.capture.environment import Lock
    from nbdeploy.capture.golden import Observed

PROFILED = 1_000  # rows whose predictions enter the profile
SLOW = 1_000  # milliseconds for the golden rows
RUNTIME = Path(__file__).parents[1] / "runtime"


@dataclass(frozen=True)
class Model:
    """What the user hands over: the fitted model, rows like those it will be asked about, and their labels."""

    object: Any
    name: str
    sample: Any
    target: Any = None
    keys: Sequence[str] = ()
    real_rows: bool = True
    cross_validated: bool = False  # whether its scores by folds are wanted, as by a gate
    log: Mapping[str, Any] = field(default_factory=dict)  # what the settings say of its log (capture/policy.py)
    elsewhere: Callable[[], Container[str]] = frozenset  # columns that others have, so that the settings may name them

    @property
    def hidden(self) -> frozenset[str]:
        """Columns that are marked `drop`: of their values nothing is stored, so none is in the golden rows or the profile."""
        return frozenset(name for name, word in self.log.get("columns", {}).items() if word == "drop")


@dataclass(frozen=True)
class Bundle(Shown):
    """A folder holding `src/` and `env/`, not yet published; `reference` names it: NAME@DIGEST12."""

    folder: Path
    manifest: Manifest

    @property
    def src(self) -> Path:
        return self.folder / "src"

    @property
    def requirements(self) -> Path:
        return self.folder / "env" / "python" / "requirements.txt"

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def reference(self) -> str:
        return f"{self.name}@{short(self.digest)}"

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.manifest.warnings

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(method.name for method in self.manifest.methods)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "digest": self.digest,
            "reference": self.reference,
            "methods": list(self.methods),
            "schema": self.manifest.to_dict()["schema"],
            "warnings": list(self.warnings),
            "folder": str(self.folder),
        }

    def card(self) -> Card:
        size = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        return Card(
            title=self.reference,
            status="bundle",
            facts=(
                ("model", self.manifest.model["class"]),
                ("methods", ", ".join(self.methods)),
                ("columns", len(self.manifest.schema.columns)),
                ("size", f"{size / 1e6:.1f} MB"),
                ("requirements", f"{len(self.manifest.environment['requirements'])} pinned packages"),
            ),
            tables=(schema_table(self.manifest),),
            notes=tuple(("warning", text) for text in self.warnings),
        )


def short(digest: str) -> str:
    """The first twelve hex digits, as in NAME@DIGEST12."""
    return digest.removeprefix("sha256:")[:12]


def schema_table(manifest: Manifest) -> Table:
    rows = [
        (
            column.name,
            column.kind,
            "yes" if column.nullable else "no",
            _range(column.categories, column.low, column.high),
        )
        for column in manifest.schema.columns
    ]
    return Table(("column", "kind", "null", "seen"), rows)


def _range(categories: Sequence[Any] | None, low: Any, high: Any) -> str:
    if categories is not None:
        shown = ", ".join(str(value) for value in categories[:4])
        return f"{shown}, ... ({len(categories)})" if len(categories) > 4 else shown
    if low is None:
        return ""
    return f"{low:g} to {high:g}" if isinstance(low, (int, float)) else f"{low} to {high}"


def stage(model: Model, home: Path, shell: Any = None) -> Bundle:
    """Write the bundle into `home`/NAME@DIGEST12.

    Raises:
        CannotTravel, UnsupportedData, NotServable: with the object or column, and what to do.
        NotAModel, WrongUse: data, or a class.
    """
    from nbdeploy.capture import policy
    from nbdeploy.capture.code import capture_model
    from nbdeploy.capture.environment import lock, warm
    from nbdeploy.capture.golden import observe
    from nbdeploy.capture.methods import SERVED
    from nbdeploy.capture.schema import infer, without_keys

    warm()
    fitted.refuse_no_model(model.object, SERVED)
    model = _features(model)
    captured = capture_model(model.object, shell=shell)
    schema = infer(model.sample, keys=tuple(model.keys))
    policy.refuse_unknown(model.log, model.name, schema, model.elsewhere)
    policy.columns(model.log, schema)
    model = replace(model, sample=without_keys(model.sample, model.keys))
    fitted.refuse_target(model.object, model.sample, model.target)
    observed = observe(model.object, model.sample, schema, real_rows=model.real_rows, hidden=model.hidden)
    modules = captured.modules | ({"polars"} if schema.library == "polars" else set())
    locked = lock(modules, frames=schema.container in {"frame", "series"})
    observed, predictions = _predictions(model, observed)
    observed = replace(observed, warnings=(*fitted.warnings(model.object, model.sample), *observed.warnings))
    files = _files(captured, locked, observed, model, predictions)
    facts = _facts(model, captured, locked, observed, shell)
    with failing(f"bundling {model.name}", home):
        return _write(home, model.name, files, facts, locked)


def _features(model: Model) -> Model:
    """Without the columns the model is not given: the target where it names one, and the keys."""
    from nbdeploy.capture.schema import without_keys

    if isinstance(model.target, str):
        if model.target not in getattr(model.sample, "columns", ()):
            raise NotFound(
                "column for the target", model.target, [str(name) for name in getattr(model.sample, "columns", ())]
            )
        model = replace(model, target=model.sample[model.target], sample=without_keys(model.sample, (model.target,)))
    elif model.target is not None:
        fitted.refuse_one_row(model.object, model.sample)
        _fitting(model.sample, model.target)
    return model


def _fitting(sample: Any, target: Any) -> None:
    """Raises UnsupportedData where the target is not that of these rows."""
    from nbdeploy.capture.columns import length

    if isinstance(sample, dict | str):  # named where it is looked at
        return
    try:
        labels, rows = length(target), length(sample)
    except TypeError:  # no table, array or list: named where it is looked at
        return
    if labels != rows:
        raise UnsupportedData(
            "the target",
            f"has {labels} labels for the sample's {rows} rows",
            "give one label for each row, in their order",
        )


def _files(
    captured: CapturedModel, locked: Lock, observed: Observed, model: Model, predictions: Any
) -> dict[str, bytes]:
    """The content of src/, but for the manifest."""
    from nbdeploy.capture.profile import profile

    files = {"model.pkl": captured.pickle}
    files |= {f"captured/{name}": content for name, content in captured.files.items()}
    files |= {f"captured/{name}": path.read_bytes() for name, path in locked.copied}
    files["golden.json"] = _json(observed.golden)
    files["profile.json"] = _json(
        profile(model.sample, observed.schema, target=model.target, predictions=predictions, hidden=model.hidden)
    )
    for path in sorted(RUNTIME.glob("*.py")):
        files[f"nbdeploy_runtime/{path.name}"] = path.read_bytes()
    return files


def _predictions(model: Model, observed: Observed) -> tuple[Observed, Any]:
    """What the model answers to rows spread over the sample, for the profile; to the golden rows if it is slow or fails."""
    from nbdeploy.capture.columns import length
    from nbdeploy.capture.methods import first_line
    from nbdeploy.capture.quiet import ask, undisturbed
    from nbdeploy.capture.rows import take

    method = next((item for item in observed.methods if item.name == "predict"), None)
    if method is None:
        return observed, None
    golden = observed.golden["answers"]["predict"]
    if method.milliseconds > SLOW:
        return observed, golden
    count = length(model.sample)
    rows = take(model.sample, range(0, count, -(-count // PROFILED)))
    try:
        with undisturbed():
            return observed, ask(model.object, "predict", rows)
    except Exception as exc:  # noqa: BLE001 - a model may raise anything; which rows a service refuses is known by now
        told = f"predict does not answer every row of the sample ({first_line(exc)}); the profile counts golden rows alone."
        return replace(observed, warnings=(*observed.warnings, told)), golden


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:  # half a character in an answer
        return json.dumps(value, allow_nan=False).encode()


def _facts(model: Model, captured: CapturedModel, locked: Lock, observed: Observed, shell: Any) -> dict[str, Any]:
    """Every field of the manifest but files and digest."""
    from nbdeploy.capture.metrics import parameters_of, task_of
    from nbdeploy.capture.provenance import provenance

    kind = type(model.object)
    task = task_of(model.object, model.target)
    return {
        "format": FORMAT,
        "name": model.name,
        "title": model.name,
        "model": {
            "class": f"{kind.__module__}.{kind.__qualname__}",
            "task": task,
            "parameters": parameters_of(model.object),
        },
        "methods": observed.methods,
        "schema": observed.schema,
        "artefact": "model.pkl",
        "environment": {
            "python": platform.python_version(),
            "implementation": sys.implementation.name,
            "platform": f"{sys.platform}-{platform.machine()}",
            "requirements": list(locked.requirements),
            "modules": list(locked.modules),
            "same_minor": captured.same_minor,
        },
        "code": {
            "definitions": [asdict(item) for item in captured.definitions],
            "local_modules": [list(item) for item in captured.local_modules],
            "data": [list(item) for item in captured.data],
        },
        "created": now(),
        "provenance": provenance(shell, captured, model.sample, model.target, model.object) | _logged(model),
        "metrics": _metrics(model, task),
        "warnings": (*captured.warnings, *_stale(model, captured, shell), *locked.warnings, *observed.warnings),
    }


def _logged(model: Model) -> dict[str, Any]:
    """For whoever serves the bundle by other means than ours: what is not to be logged there either."""
    said = {key: model.log[key] for key in ("columns", "sample") if key in model.log}
    return {"log": said} if said else {}


def _metrics(model: Model, task: str) -> dict[str, Any]:
    """Of the rows at hand; fitting anew costs time, so folds are scored only where they are wanted."""
    from nbdeploy.capture.metrics import training_metrics

    found = {"training": training_metrics(model.object, model.sample, model.target, task)}
    if model.cross_validated:
        from nbdeploy.capture.folds import cross_validation

        found["cross_validation"] = cross_validation(model.object, model.sample, model.target, task)
    return found


def _stale(model: Model, captured: CapturedModel, shell: Any) -> tuple[str, ...]:
    """Warnings of cells behind the model that were edited, deleted or run out of order since."""
    from nbdeploy import names
    from nbdeploy.capture import stale

    variable = None if shell is None else names.variable_of(model.object, shell.user_ns)
    return stale.warnings(shell, captured, cells=stale.cells_of(variable, shell) if variable else ())


def _write(home: Path, name: str, files: Mapping[str, bytes], facts: dict[str, Any], locked: Lock) -> Bundle:
    private(home)
    with _staging(home) as staging:
        src = staging / "src"
        for relative, content in files.items():
            path = src / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        python = staging / "env" / "python"
        python.mkdir(parents=True)
        (python / "requirements.txt").write_text(locked.text(), encoding="utf-8")
        (python / "version.txt").write_text(facts["environment"]["python"], encoding="utf-8")
        digests = {relative: digest_of(src / relative) for relative in sorted(files)}
        draft = Manifest(**facts, files=digests, digest="")
        manifest = replace(draft, digest=draft.computed_digest())
        (src / FILE).write_bytes(manifest.dumps())
        return Bundle(_settle(staging, home / f"{name}@{short(manifest.digest)}", manifest), manifest)


@contextmanager
def _staging(home: Path) -> Iterator[Path]:
    """A folder that is locked while somebody writes there; it is gone afterwards, or has another name."""
    folder = Path(tempfile.mkdtemp(prefix=".staging-", dir=home))
    with _locked(folder):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(home: Path) -> list[str]:
    """Remove what processes that died have left half made."""
    swept = []
    for folder in [*home.glob(".staging-*"), *home.glob(".old-*")]:
        with suppress(BlockingIOError, FileNotFoundError), _locked(folder):
            shutil.rmtree(folder, ignore_errors=True)
            swept.append(folder.name)
    return swept


@contextmanager
def kept(make: Callable[[], Bundle]) -> Iterator[Bundle]:
    """The bundle that `make` stages, which no other deploy clears away meanwhile."""
    while True:
        bundle = make()
        with ExitStack() as stack:
            try:
                stack.enter_context(_locked(bundle.folder, shared=True))
            except FileNotFoundError:
                continue
            if bundle.requirements.is_file():  # else it was cleared before it was locked
                yield bundle
                return


def clear(home: Path, current: Bundle, published: Iterable[str]) -> None:
    """Remove the staged copies of bundles with a published digest, but for those that are being deployed."""
    known = {short(digest) for digest in published}
    for folder in home.glob(f"{current.name}@*"):
        if folder != current.folder and folder.name.rpartition("@")[2] in known:
            with suppress(BlockingIOError, FileNotFoundError), _locked(folder):
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Raises BlockingIOError where somebody else has it; the lock of a process that died is free. One that is `shared`
    waits, and keeps out those that are not.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _settle(staging: Path, folder: Path, manifest: Manifest) -> Path:
    """Rename the staging folder. One that is there already and whole stays, with the newer provenance: another deploy may be
    at work in it.
    """
    try:
        staging.rename(folder)
    except OSError as exc:
        if exc.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        if not Bundle(folder, manifest).requirements.is_file() or altered(folder / "src", manifest):
            old = Path(tempfile.mkdtemp(prefix=".old-", dir=folder.parent))
            folder.rename(old / "bundle")
            staging.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            (staging / "src" / FILE).replace(folder / "src" / FILE)
    return folder


def find(home: Path, reference: str) -> Bundle:
    """The unpublished bundle NAME@DIGEST12.

    Raises:
        NotFound, Corrupt.
    """
    folder = home / reference
    known = sorted(path.name for path in home.glob("*@*")) if home.is_dir() else []
    if reference not in known:
        raise NotFound("bundle", reference, known)
    try:
        return Bundle(folder, Manifest.load(folder / "src"))
    except ManifestError as exc:
        raise Corrupt(f"The bundle {reference}", str(exc), "bundle the model again") from exc
