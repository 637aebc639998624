"""Publishing into the BentoML store: stage, fsync, rename, fsync, commit. Stopping anywhere leaves the old state or the new."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import Corrupt, NbdeployError, NotFound, Refused, StoreUnavailable, VersionIsLive
from nbdeploy.homes import path_of, sync_folder, write_whole
from nbdeploy.keep import bento, trust
from nbdeploy.keep.event import this_user
from nbdeploy.keep.semver import FIRST, Number, Suggestion, check_bump, next_number, settled, suggest
from nbdeploy.keep.staging import Store, link, sync_tree
from nbdeploy.keep.version import Version, VersionDetails
from nbdeploy.names import checked
from nbdeploy.runtime.clock import now
from nbdeploy.runtime.manifest import FILE, ManifestError, altered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nbdeploy.capture.bundle import Bundle
    from nbdeploy.keep.registry import Also, Books, Registry, View
    from nbdeploy.keep.staging import Workplace
    from nbdeploy.runtime.manifest import Manifest


def publish(
    folder: Path,
    manifest: Manifest,
    registry: Registry,
    bentoml_home: Path,
    *,
    bump: str | None = None,
    force: bool = False,
    gate: str = "none",
    report: Any = None,
    by: str | None = None,
    live: bool = True,
    also: Also | None = None,
) -> Version:
    """Issue the next version of the staged bundle, and make it live in the same commit, of which `also` is a part.

    The staged folder stays as it is: the published one holds the same files under second names. `report` is what the gate
    has to show, or the reason it was skipped; it is kept with the event.

    Raises:
        Corrupt: the staged bytes are not what its manifest says.
        DowngradeRefused: `bump` is less than the change needs.
    """
    checked(manifest.name)
    store = Store(bentoml_home)
    with failing(f"publishing {manifest.name}", store), store.workplace() as work:
        copy(folder, work.bundle, manifest)
        with entering(registry, store) as books:
            suggestion = _asked(books, manifest, bump, force=force)
            number = _number(books, store, manifest.name, suggestion)
            version = Version(
                name=manifest.name,
                version=str(number),
                live=live,
                serving=False,
                created=now(),
                digest=manifest.digest,
                bump="initial" if suggestion.reasons == _INITIAL else suggestion.bump,
                reason=suggestion.reason,
                gate=gate,
                by=by or this_user(),
                location=str(store.bundle(manifest.name, str(number))),
            )
            place(
                work, store, manifest, version, trust.mark(registry.path, version.name, version.version, version.digest)
            )
            books.issue(version)
            _tell(books, version, suggestion, bump, report)
            if live:
                books.point(version.name, version.version, by=version.by)
            if also is not None:
                also(books, version)
        with suppress(OSError):  # it is published; `recover` and the next version mend BentoML's pointer
            store.point_latest(version.name, version.version)
    return version


def foreseen(
    registry: Registry, bentoml_home: Path, manifest: Manifest, bump: str | None = None
) -> tuple[Number, Suggestion]:
    """What `publish` would call the bundle now, and why. Raises DowngradeRefused."""
    with registry.reading() as view:
        suggestion = _asked(view, manifest, bump, force=False)
        return _number(view, Store(bentoml_home), manifest.name, suggestion), suggestion


_INITIAL = ("first version",)


def copy(folder: Path, target: Path, manifest: Manifest) -> None:
    """The listed files of a bundle and nothing else, verified and on disk."""
    for name in (FILE, *manifest.files):
        source = folder / "src" / name
        if source.is_symlink() or not source.is_file():
            raise Corrupt(f"the bundle {folder}", f"{name} is missing", "bundle the model again")
        link(source, target / "src" / name)
    wrong = altered(target / "src", manifest)
    if wrong:
        raise Corrupt(f"the bundle {folder}", "; ".join(wrong[:3]), "bundle the model again")
    sync_tree(target)


@contextmanager
def entering(registry: Registry, store: Store) -> Iterator[Books]:
    """The registry's write transaction, in which folders enter the store; what fails is taken out again."""
    try:
        with registry.writing() as books:
            store.undo_unfinished(books)
            yield books
    except BaseException:  # Ctrl-C too must not leave a folder that no version is written for
        # The commit may have failed after the rename, and only another transaction can tell whether it did.
        with suppress(NbdeployError, OSError), registry.writing() as books:
            store.undo_unfinished(books)
        raise


def place(work: Workplace, store: Store, manifest: Manifest, version: Version, proof: str) -> None:
    """Write the files beside src/ and rename the whole into the store."""
    bento.write(work.bundle, manifest, version, proof)
    for path in work.bundle.rglob("*"):
        if path.relative_to(work.bundle).parts[0] != "src":
            sync_folder(path)
    work.bundle.chmod(0o700)  # golden rows are the user's own data; the store itself may be open to others
    sync_folder(work.bundle)
    work.aim(version.name, version.version, version.digest)
    version.bundle.parent.mkdir(parents=True, exist_ok=True)
    work.bundle.rename(version.bundle)
    for folder in (version.bundle.parent, store.bentos):
        sync_folder(folder)


def sign(registry: Path, version: Version) -> None:
    """Let the bundle bear the mark of this home, so that it is trusted again should the registry be lost."""
    proof = trust.mark(registry, version.name, version.version, version.digest)
    write_whole(version.bundle / bento.FILE, bento.bento_yaml(version.manifest(), version, proof).encode())


@dataclass
class Aftermath:
    """What holds if the file system fails from here on."""

    holds: str = StoreUnavailable.holds
    again: str = StoreUnavailable.again


@contextmanager
def failing(doing: str, store: Store) -> Iterator[Aftermath]:
    """The file system's errors become ours, and say what was done before."""
    after = Aftermath()
    try:
        yield after
    except OSError as exc:
        path, fact = path_of(exc) or str(store.home), exc.strerror or str(exc)
        raise StoreUnavailable(doing, path, fact, after.holds, after.again) from exc


def _asked(view: View, manifest: Manifest, bump: str | None, *, force: bool) -> Suggestion:
    check_bump(bump)
    known = view.versions(manifest.name)
    if not known:
        return Suggestion("major", ("every earlier version was removed",) if view.issued(manifest.name) else _INITIAL)
    base = _base(view, known)
    try:
        suggestion = suggest(base.manifest(), manifest)
    except ManifestError:
        suggestion = Suggestion("major", (f"{base.tag} cannot be read, so nothing could be compared",))
    return settled(suggestion, bump, force=force)


def _base(view: View, known: list[Version]) -> Version:
    """What a new version is compared with: the live one, else the highest."""
    name = known[0].name
    return view.live(name) or max(known, key=lambda item: Number.parse(item.version))


def _number(view: View, store: Store, name: str, suggestion: Suggestion) -> Number:
    """The smallest number never issued; one whose folder somebody else put into the store counts as issued."""
    issued = {Number.parse(text) for text in view.issued(name)}
    taken = issued | {number for number in map(_maybe, _children(store.bentos / name)) if number}
    known = view.versions(name)
    if not issued:
        return FIRST if FIRST not in taken else next_number(FIRST, "patch", taken)
    base = Number.parse(_base(view, known).version) if known else max(issued)
    return next_number(base, suggestion.bump, taken)


def _children(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _maybe(text: str) -> Number | None:
    try:
        return Number.parse(text)
    except NbdeployError:
        return None


def _tell(books: Books, version: Version, suggestion: Suggestion, bump: str | None, report: Any) -> None:
    def told(kind: str, **detail: Any) -> None:
        books.add(version.name, kind, version.version, version.by, **detail)

    told("published", digest=version.digest, reasons=suggestion.reasons, report=report)
    if version.gate == "skipped":
        told("gate skipped", reason=report)
    if suggestion.reasons[0].startswith("forced below"):
        told("bump forced", asked=bump, reasons=suggestion.reasons)


def details(registry: Registry, name: str, version: str | None = None) -> VersionDetails:
    """Everything about a version, the live one by default.

    Raises:
        Corrupt: its manifest is gone or unreadable.
    """
    found = registry.get(name, version)
    events = registry.events(name, found.version)
    reports = [event.detail["report"] for event in events if event.detail.get("report") is not None]
    report = reports[-1] if reports else None
    return VersionDetails(found, manifest_of(found), tuple(events), report)


def manifest_of(version: Version) -> Manifest:
    try:
        return version.manifest()
    except ManifestError as exc:
        raise Corrupt(version.tag, str(exc)) from exc


def intact(version: Version) -> Manifest:
    """The manifest, once every file is found to be as it was published. Raises Corrupt."""
    manifest = manifest_of(version)
    wrong = altered(version.src, manifest)
    if manifest.digest != version.digest:
        wrong.insert(0, "it is another bundle")
    if wrong:
        raise Corrupt(version.tag, "; ".join(wrong[:3]))
    return manifest


def runnable(registry: Registry, version: Version) -> Bundle:
    """The bundle of a version whose code may run, as it was published. Raises Untrusted, Corrupt."""
    from nbdeploy.capture.bundle import Bundle

    trust.require_trusted(registry, version)
    return Bundle(version.bundle, intact(version))


@contextmanager
def handed_on(registry: Registry, version: Version) -> Iterator[Version]:
    """The version in a folder of its own, for whoever gives it to others: src/ as it was published, and what lies beside it
    written anew from the manifest, as no digest covers that.

    Raises:
        Corrupt: the bundle is not as it was published.
    """
    manifest, store = intact(version), Store(version.bundle.parents[2])
    with ExitStack() as stack:
        with failing(f"handing on {version.tag}", store):
            work = stack.enter_context(store.workplace())
            for name in (FILE, *manifest.files):
                link(version.src / name, work.bundle / "src" / name)
            with registry.reading() as view:
                issued = next(item for item in view.by_digest(version.digest) if item.tag == version.tag)
                trusted = trust.is_trusted(view, version.digest)
            proof = trust.mark(registry.path, version.name, version.version, version.digest) if trusted else ""
            bento.write(work.bundle, manifest, issued, proof)
        yield replace(version, location=str(work.bundle))


def remove(
    registry: Registry, bentoml_home: Path, name: str, version: str | None = None, *, serving: str | None = None
) -> list[Version]:
    """Remove one version, or the whole name. Their numbers are never issued again; their events stay.

    Raises:
        VersionIsLive: the version is live, or answers now.
        Refused: the whole name while it is serving.
    """
    store = Store(bentoml_home)
    with failing(f"removing {name}", store) as after:
        with registry.writing() as books:
            gone = _leaving(books, name, version, serving)
            for item in gone:
                books.add(name, "removed", item.version, digest=item.digest)
            if version is None and books.live_number(name):
                books.add(name, "taken down", previous=books.live_number(name))
        after.holds, after.again = "The removal is recorded, some files are left", "`nbdeploy recover`"
        for item in gone:
            if item.bundle.is_dir():
                store.discard(item.bundle)
    return [replace(item, live=False) for item in gone]


def _leaving(books: Books, name: str, version: str | None, serving: str | None) -> list[Version]:
    if version is not None:
        found = books.get(name, version)
        if found.live or version == serving:
            raise VersionIsLive(found.tag, "removed", alone=len(books.versions(name)) == 1)
        return [found]
    found_all = books.versions(name)
    if not found_all:
        raise NotFound("service", name, books.present())
    if serving is not None:
        raise Refused(f"{name} is serving {serving}, so it cannot be removed; `stop {name}` first.")
    return found_all
