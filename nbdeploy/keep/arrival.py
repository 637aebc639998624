"""Importing a version from a file: verified, kept apart until it is trusted, never run on the way."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from nbdeploy.errors import Corrupt, NbdeployError, NotFound, Refused
from nbdeploy.keep import bento
from nbdeploy.keep.archive import unlisted, unpack
from nbdeploy.keep.event import this_user
from nbdeploy.keep.semver import BUMPS, Number
from nbdeploy.keep.staging import Store, sync_tree
from nbdeploy.keep.store import entering, failing, intact, place, sign
from nbdeploy.keep.trust import agree, is_trusted, mark, trust_in
from nbdeploy.keep.version import Version
from nbdeploy.names import checked
from nbdeploy.runtime.clock import now, stamp
from nbdeploy.runtime.manifest import Manifest, ManifestError, altered

if TYPE_CHECKING:
    from pathlib import Path

    from nbdeploy.keep.registry import Books, Registry


def import_bundle(
    file: Path, registry: Registry, bentoml_home: Path, *, trust: str | None = None, by: str | None = None
) -> Version:
    """Store the version in `file` under its own number, not live; the one with the same digest if it is there already.

    `trust` is the digest the user expects; without it the version cannot be served yet (`require_trusted`).

    Raises:
        NotFound: there is no such file.
        Refused: the archive is not a whole bundle of ours, has another digest, or its number is taken.
    """
    if not file.is_file():
        raise NotFound("file", str(file))
    store = Store(bentoml_home)
    with failing(f"importing {file}", store) as after, store.workplace() as work:
        names = unpack(file, work.bundle)
        manifest = _manifest(work.bundle, file, names)
        if trust is not None:
            agree(str(file), trust, manifest.digest)
        sync_tree(work.bundle)
        with entering(registry, store) as books:
            version = described(work.bundle, manifest, store, by or this_user())
            present = _present(books, store, version)
            was_there = present is not None
            if present is None:
                believed = trust is not None or is_trusted(books, version.digest)
                proof = _proof(registry, version) if believed else ""
                place(work, store, manifest, version, proof)
                if version.version not in books.issued(version.name):
                    books.issue(version)
                books.add(version.name, "imported", version.version, version.by, trusted=believed, file=file.name)
                present = version
            if trust is not None:
                trust_in(books, present, trust)
            result = books.get(present.name, present.version)
        after.holds, after.again = f"{result.tag} is imported", "`nbdeploy recover`"
        if trust is not None:
            sign(registry.path, result)
        store.tidy(version.name, latest=True)
    return replace(result, already_there=was_there)


def _proof(registry: Registry, version: Version) -> str:
    return mark(registry.path, version.name, version.version, version.digest)


def _manifest(folder: Path, file: Path, names: set[str]) -> Manifest:
    """Its manifest, once every byte is accounted for."""
    try:
        manifest = Manifest.load(folder / "src")
    except ManifestError as exc:
        why = "a Bento that nbdeploy did not make" if "src/manifest.json" not in names else str(exc)
        raise Refused(f"{file} was not imported: it holds {why}. `bentoml import` reads Bentos of any kind.") from exc
    strange = unlisted(names, manifest)
    if strange:
        raise Refused(f'{file} was not imported: it holds "{strange[0]}", which its manifest does not list.')
    wrong = altered(folder / "src", manifest)
    if wrong:
        raise Refused(f"{file} was not imported: {'; '.join(wrong[:3])}. Get the file again.")
    return manifest


def described(folder: Path, manifest: Manifest, store: Store, by: str) -> Version:
    """What bento.yaml says of it, as far as it makes sense; nothing else is taken from that file."""
    said = bento.labels(folder)
    try:
        name = checked(manifest.name)
        number = str(Number.parse(said.get("version", "")))
        bento.requirements_text(manifest)
    except NbdeployError as exc:
        raise Refused(f"The archive was not imported: {exc}") from exc
    if said.get("name") != name:
        raise Refused(f"The archive was not imported: bento.yaml calls it {said.get('name')!r}, its manifest {name!r}.")
    bump = said.get("bump", "")
    reason = " ".join(said.get("reason", "").split())[:500]
    return Version(
        name=name,
        version=number,
        live=False,
        serving=False,
        created=_time(said.get("creation_time", "")),
        digest=manifest.digest,
        bump=bump if bump in {*BUMPS, "initial"} else "imported",
        reason=f"imported: {reason}" if reason else "imported",
        gate="none",  # what a gate said elsewhere is no promise here
        by=by,
        location=str(store.bundle(name, number)),
    )


def _time(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return now()
    return now() if moment.tzinfo is None else stamp(moment)


def _present(books: Books, store: Store, version: Version) -> Version | None:
    """The version of the same digest which is there and whole; None after making way for a new one.

    Raises:
        Refused: the number stands for other bytes.
    """
    same = books.find(version.name, version.digest)
    if same is not None:
        try:
            intact(same)
        except Corrupt:
            if same.version != version.version:
                same = None
        else:
            return same
    issued = {item.version: item.digest for item in books.versions(version.name, removed=True)}
    folder = store.bundle(version.name, version.version)
    there = bento.labels(folder).get("digest", "other") if folder.exists() else version.digest
    taken = issued.get(version.version, there)
    if taken != version.digest:
        raise Refused(
            f"{version.tag} stands for another bundle here ({taken}), the file holds {version.digest}. "
            "Numbers are never reused: import it into another NBDEPLOY_HOME, or publish it under another name."
        )
    if folder.exists():
        store.discard(folder)
    return None
