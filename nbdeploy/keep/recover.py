"""Bringing registry, store and staging together again after a crash, a lost file or a hand in the store."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import Corrupt, NbdeployError, RegistryDamaged
from nbdeploy.homes import sync_folder
from nbdeploy.keep import bento, damage, trust
from nbdeploy.keep.arrival import described
from nbdeploy.keep.event import this_user
from nbdeploy.keep.registry import Registry, create
from nbdeploy.keep.salvage import salvage
from nbdeploy.keep.semver import Number
from nbdeploy.keep.staging import Store
from nbdeploy.keep.store import failing, intact, sign
from nbdeploy.names import checked
from nbdeploy.render import Card, Shown
from nbdeploy.runtime.clock import now
from nbdeploy.runtime.manifest import Manifest, ManifestError, altered
from nbdeploy.turns import turn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbdeploy.keep.registry import Books
    from nbdeploy.keep.version import Version
    from nbdeploy.render import Tone


@dataclass(frozen=True)
class Recovery(Shown):
    """What was found and done. Versions are written NAME:VERSION."""

    rebuilt: str | None = None  # the damaged file the registry was rebuilt from
    adopted: list[str] = field(default_factory=list)
    untrusted: list[str] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)  # publishes that had not been committed
    cleaned: list[str] = field(default_factory=list)  # staging folders and removed versions
    corrupt: dict[str, str] = field(default_factory=dict)
    strangers: list[str] = field(
        default_factory=list
    )  # folders in the store that break `bentoml list` and are not ours
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @property
    def clean(self) -> bool:
        return not any(self.to_dict().values())

    def card(self) -> Card:
        facts = [
            ("rebuilt from", self.rebuilt),
            ("adopted", ", ".join(self.adopted)),
            ("not trusted yet", ", ".join(self.untrusted)),
            ("undone", ", ".join(self.undone)),
            ("cleaned", ", ".join(self.cleaned)),
        ]
        notes: list[tuple[Tone, str]] = [("bad", f"{tag} is corrupt: {fact}") for tag, fact in self.corrupt.items()]
        notes += [("warning", f"{folder} is no Bento and breaks `bentoml list`") for folder in self.strangers]
        notes += [("warning", text) for text in self.notes]
        tone: Tone = "warning" if self.corrupt or self.strangers or self.notes else "good"
        status = "everything is in order" if self.clean else "recovered"
        return Card(title="recover", tone=tone, status=status, facts=[fact for fact in facts if fact[1]], notes=notes)


def recover(registry: Registry, bentoml_home: Path, *, serving: Mapping[str, str] | None = None) -> Recovery:
    """Make registry and store agree; others who want to wait. `serving` says what answers now (name -> version), for names
    whose pointer was lost.
    """
    store = Store(bentoml_home)
    found = Recovery()
    with turn(registry.path.parent, _silent), failing("recovering", store) as after:
        after.holds = "What was put in order so far holds"
        try:
            with registry.writing() as books:
                _reconcile(books, registry.path, store, found, serving or {})
        except RegistryDamaged as exc:
            found = Recovery(rebuilt=exc.moved)
            _rebuild(registry, store, found, serving or {})
        found.cleaned.extend(f"staging/{name}" for name in store.sweep())
        for name in {version.partition(":")[0] for version in (*found.adopted, *found.corrupt, *found.undone)}:
            store.tidy(name, latest=True)
    return found


def _silent(_text: str) -> None:
    """Who waits for another recovery finds everything in order."""


def _rebuild(registry: Registry, store: Store, found: Recovery, serving: Mapping[str, str]) -> None:
    """A new registry, complete before it gets its name, so that an interrupted rebuild is none."""
    draft = registry.path.with_name(f"{registry.path.name}.rebuilding")
    for leftover in (draft, Path(f"{draft}-wal"), Path(f"{draft}-shm")):
        leftover.unlink(missing_ok=True)
    create(draft)
    with Registry(draft).writing() as books:
        for file in damage.damaged(registry.path)[:1]:
            found.notes.append(salvage(file, books))
        _reconcile(books, registry.path, store, found, serving)
    _put_log_aside(registry.path)
    draft.rename(registry.path)
    sync_folder(registry.path.parent)


def _put_log_aside(path: Path) -> None:
    """A write-ahead log whose registry is gone must not meet the new one: SQLite would take its pages for those of that file.

    Aside it counts as a damaged registry, so that nobody begins an empty one before this is over.
    """
    with suppress(FileNotFoundError):
        Path(f"{path}-wal").rename(path.with_name(f"{path.name}.damaged-{now()}"))


def _reconcile(books: Books, path: Path, store: Store, found: Recovery, serving: Mapping[str, str]) -> None:
    found.undone.extend(store.undo_unfinished(books))
    for name in books.names():
        for version in books.versions(name, removed=True):
            _inspect(books, path, store, version, found)
    for folder in _folders(store):
        _consider(books, path, store, folder, found)
    for name in books.names():
        if books.live_number(name) is None and books.versions(name):
            _repoint(books, name, serving.get(name), found)


def _inspect(books: Books, path: Path, store: Store, version: Version, found: Recovery) -> None:
    """A registered version: whole, gone or corrupt."""
    if version.state == "removed":
        if version.bundle.is_dir() and bento.labels(version.bundle).get("digest") == version.digest:
            store.discard(version.bundle)
            found.cleaned.append(version.tag)
        return
    fact = _fault(version)
    if fact is None:
        _mend(books, path, version, found)
        return
    if version.state != "corrupt":
        books.add(version.name, "corrupt", version.version, fact=fact)
    if version.bundle.is_dir():
        place = store.isolate(version.bundle, f"{version.name}-{version.version}")
        fact += f"; it was moved to {place}"
    found.corrupt[version.tag] = fact
    if version.live:
        found.notes.append(f"{version.tag} is live and corrupt: `nbdeploy rollback {version.name}`, or deploy again")


def _mend(books: Books, path: Path, version: Version, found: Recovery) -> None:
    """The files are whole; its trust, its mark and its bento.yaml shall be so as well."""
    trusted, believed = trust.is_trusted(books, version.digest), _believed(path, version)
    if believed and not trusted:
        books.add(version.name, "recovered", version.version, trusted=True)
    elif version.state == "corrupt":
        books.add(version.name, "recovered", version.version, trusted=trusted)
        found.adopted.append(version.tag)
    elif not (version.bundle / bento.FILE).is_file():
        proof = trust.mark(path, version.name, version.version, version.digest) if trusted else ""
        bento.write(version.bundle, version.manifest(), version, proof)
        found.notes.append(f"the bento.yaml of {version.tag} was written again")
    elif trusted and not believed:
        sign(path, version)


def _believed(path: Path, version: Version) -> bool:
    """Whether the bundle bears the mark of this home."""
    return trust.marked(
        path, version.name, version.version, version.digest, bento.labels(version.bundle).get("proof", "")
    )


def _fault(version: Version) -> str | None:
    if not version.bundle.is_dir():
        return "its folder is gone"
    try:
        intact(version)
    except Corrupt as exc:
        return exc.fact
    return None


def _folders(store: Store) -> list[Path]:
    if not store.bentos.is_dir():
        return []
    names = [path for path in sorted(store.bentos.iterdir()) if path.is_dir()]
    return [path for name in names for path in sorted(name.iterdir()) if path.is_dir() and not path.is_symlink()]


def _consider(books: Books, path: Path, store: Store, folder: Path, found: Recovery) -> None:
    """A folder in the store that the registry does not know: one of ours to adopt, or somebody else's."""
    name, number = folder.parent.name, folder.name
    if number in books.issued(name):
        return
    if not (folder / "src" / "manifest.json").is_file():
        if not (folder / bento.FILE).is_file():
            found.strangers.append(str(folder))
        return
    try:
        version = _adoptable(store, folder)
    except (NbdeployError, ManifestError) as exc:
        place = store.isolate(folder, f"{name}-{number}")
        found.corrupt[f"{name}:{number}"] = f"{exc}; it was moved to {place}"
        return
    trusted = _believed(path, version) or trust.is_trusted(books, version.digest)
    books.issue(version)
    books.add(name, "recovered", number, trusted=trusted)
    found.adopted.append(version.tag)
    if not trusted:
        found.untrusted.append(version.tag)


def _adoptable(store: Store, folder: Path) -> Version:
    """The version a folder holds. Raises where it is not whole, or not what its place says."""
    checked(folder.parent.name)
    number = str(Number.parse(folder.name))
    manifest = Manifest.load(folder / "src")
    wrong = altered(folder / "src", manifest)
    if wrong:
        raise Corrupt(f"{folder.parent.name}:{number}", "; ".join(wrong[:3]))
    version = described(folder, manifest, store, this_user())
    if version.bundle != folder:
        raise Corrupt(f"{folder.parent.name}:{number}", f"it says it is {version.tag}")
    said = bento.labels(folder)
    return replace(version, reason=said.get("reason", "recovered"), by=said.get("by", version.by))


def _repoint(books: Books, name: str, serving: str | None, found: Recovery) -> None:
    """A name without a live version: what answers now is live; else a human has to say."""
    present = {version.version for version in books.versions(name)}
    if serving in present and serving is not None:
        books.point(name, serving)
        found.notes.append(f"{name}:{serving} answers now and is live again")
    elif not any(event.kind in {"live", "rolled back", "imported"} for event in books.events(name)):
        servable = {version.version for version in books.versions(name) if version.state == "ok"}
        newest = max(servable or present, key=Number.parse)
        step = f"`nbdeploy serve {name}:{newest}`, or another"
        if not servable:
            step = f"{name}:{newest} is not trusted yet; import its file with --trust DIGEST, or deploy again"
        found.notes.append(f"no version of {name} is live: {step}")
