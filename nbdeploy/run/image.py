"""A version as a container image: a system, on it the packages of its lock, each made once, and one layer with the bundle."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbdeploy.ephemeral import ephemeral, sweep
from nbdeploy.errors import ImageFailed, Refused, WrongUse
from nbdeploy.homes import failing, private, write_whole
from nbdeploy.render import Card, Shown
from nbdeploy.run import engine, sbom
from nbdeploy.run.installers import Runner
from nbdeploy.run.packages import LOCK, Collector, Source, Target, pins_of
from nbdeploy.run.system import CONTEXT, System
from nbdeploy.runtime.listener import PORT
from nbdeploy.templates import template
from nbdeploy.turns import turn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from nbdeploy.capture.bundle import Bundle
    from nbdeploy.keep.registry import Registry
    from nbdeploy.keep.version import Version
    from nbdeploy.run.engine import Engine

BASE = "docker.io/library/python:{python}-slim"
DEPENDENCIES = "localhost/nbdeploy-dependencies"
ENTRY = "nbdeploy_runtime/contained.py"  # what an image starts
USER = 10001  # that of templates/image
OWN = "io.nbdeploy."  # labels of ours
LICENCES = "licences.json"
WAITING = "waiting: another process builds the image of the same lock"
RECIPE = ("dependencies.Containerfile", "install.py", "uncompiled.txt")
MODEL = ".model-"  # what the engine reads, in folders that go; of a lock: CONTEXT


@dataclass(frozen=True)
class Image(Shown):
    """An image that was built. `sbom` and `lock` are the files that say what is in it; they are in it as well."""

    name: str
    version: str
    reference: str
    tags: tuple[str, ...]
    id: str
    digest: str
    gate: str
    size: int  # bytes, as the engine counts them
    engine: str
    base: str
    dependencies: str
    reused: bool  # the image of the lock was there already
    packages: int
    seconds: float
    sbom: Path
    lock: Path

    def to_dict(self) -> dict[str, Any]:
        known = {key: getattr(self, key) for key in self.__dataclass_fields__}
        return known | {"tags": list(self.tags), "sbom": str(self.sbom), "lock": str(self.lock)}

    def card(self) -> Card:
        how = "only the model's layer was written" if self.reused else "with the image of its lock"
        facts = (
            ("tags", ", ".join(self.tags)),
            ("id", self.id[:12]),
            ("size", f"{self.size / 1e6:.0f} MB, {self.packages} packages"),
            ("built", f"with {self.engine} in {self.seconds:.1f} s: {how}"),
            ("digest", self.digest),
            ("gate", self.gate),
            ("SBOM", self.sbom),
            ("lock", self.lock),
        )
        return Card(
            f"{self.name} {self.version} as an image", "good", "built", facts=facts, code=(("run it", self._line()),)
        )

    def _line(self) -> str:
        hard = "--read-only --tmpfs /tmp --cap-drop=all --security-opt=no-new-privileges"
        return f"{self.engine} run --rm -p 127.0.0.1:{PORT}:{PORT} {hard} {self.tags[0]}"


@dataclass(frozen=True)
class Layers:
    """The image of a lock."""

    reference: str
    lock: str
    licences: Mapping[str, str]
    reused: bool


@dataclass(frozen=True)
class Plan:
    """What the image of a lock is made of, and where what is known of it is kept."""

    lines: Sequence[str]
    target: Target
    system: System
    reference: str
    folder: Path


@dataclass(frozen=True)
class Builder:
    """`home` is NBDEPLOY_HOME/images; `base` may hold "{python}", the minor version."""

    engine: Engine
    home: Path
    base: str = BASE
    source: Source = field(default_factory=Source)
    progress: Callable[[str], None] = lambda _text: None

    def image(self, bundle: Bundle, tags: Sequence[str], labels: Mapping[str, str]) -> Layers:
        """Build it under the tags.

        Raises:
            Refused: the bundle was made by an nbdeploy without images.
            ImageFailed: with the cause.
        """
        manifest = bundle.manifest
        refuse_comma(self.home)
        if ENTRY not in manifest.files:
            raise Refused(
                f"{bundle.reference} was bundled by an nbdeploy that made no images; deploy it again with --again."
            )
        with ExitStack() as later:
            layers = self._dependencies(bundle, later)
            self.progress("building the model's layer")
            arguments = {"DEPENDENCIES": layers.reference} | dict(zip(_names(labels), labels.values(), strict=True))
            words = [word for item in arguments.items() for word in ("--build-arg", "=".join(item))]
            what = f"The image of {bundle.reference}"
            with failing("building the image", self.home):
                sweep(self.home, MODEL)
                with ephemeral(self.home, MODEL) as folder:
                    self._lay_out(bundle, folder, layers, labels)
                    with self.engine.building(what, folder, "model.Containerfile", tags, words):
                        later.close()
        return layers

    def _lay_out(self, bundle: Bundle, folder: Path, layers: Layers, labels: Mapping[str, str]) -> None:
        """What the engine reads: the listed files of the bundle and nothing else."""
        from nbdeploy.keep import archive

        for name in archive.listed(bundle.manifest):
            source, place = bundle.folder / name, folder / "bundle" / name
            if source.is_file() and not source.is_symlink():
                place.parent.mkdir(parents=True, exist_ok=True)
                _second_name(source, place)
        version = labels.get("org.opencontainers.image.version") or bundle.digest.removeprefix("sha256:")[:12]
        text = sbom.sbom(bundle.manifest, version, pins_of(layers.lock), layers.licences)
        (folder / "bundle" / sbom.FILE).write_text(text, encoding="utf-8")
        text = (template("image") / "model.Containerfile").read_text(encoding="utf-8")
        (folder / "model.Containerfile").write_text(labelled(text, labels), encoding="utf-8")

    def dependencies(self, bundle: Bundle) -> Layers:
        """The image of the bundle's lock, made where there is none yet."""
        with ExitStack() as later:
            return self._dependencies(bundle, later)

    def _dependencies(self, bundle: Bundle, later: ExitStack) -> Layers:
        """What it was made from goes with `later`: thousands of files, and something else can be done meanwhile."""
        plan = self._plan(bundle)
        with turn(plan.folder, lambda _folder: self.progress(WAITING)):
            lock = _read(plan.folder / LOCK)
            if lock and self.engine.image(plan.reference) is not None:
                licences = json.loads(_read(plan.folder / LICENCES) or "{}")
                return Layers(plan.reference, lock, licences, reused=True)
            self.progress(f"building the image of the lock: {len(plan.lines)} packages, once for each lock")
            with failing("building the image", self.home):
                sweep(plan.folder, CONTEXT)
                return self._build(plan, later.enter_context(ephemeral(plan.folder, CONTEXT)), lock)

    def base_for(self, python: str) -> str:
        """Not by `str.format`, which would fall over any other brace. Raises WrongUse: an engine would read it as an option."""
        if self.base.startswith("-") or not self.base.strip():
            raise WrongUse(f'"{self.base}" names no base image; write REGISTRY/NAME:TAG, as in --base {BASE}.')
        return self.base.replace("{python}", python)

    def _plan(self, bundle: Bundle) -> Plan:
        from nbdeploy.keep.bento import requirements_text

        lines = requirements_text(bundle.manifest).splitlines()
        python = _minor(bundle)
        base = self.base_for(python)
        found = self.engine.pull("The image", base)
        target = Target(python, str(found.get("Architecture") or "amd64"))
        system = System(self.engine, self.home / "systems", base, str(found.get("Id")), found.get("Config") or {})
        key = _key(lines, target, system.key)
        return Plan(lines, target, system, f"{DEPENDENCIES}:{key}", self.home / "dependencies" / key)

    def _build(self, plan: Plan, context: Path, known: str | None) -> Layers:
        collector = Collector(plan.target, self.source, Runner(self.progress))
        with plan.system.made(self.progress):
            lock = collector.collect(plan.lines, context, known)
            licences = sbom.licences(context / "packages")
            for name in RECIPE:
                shutil.copyfile(template("image") / name, context / name)
        arguments = ["--build-arg", f"SYSTEM={plan.system.reference}", "--build-arg", f"PYTHON={plan.target.python}"]
        self.engine.build("The image of the lock", context, RECIPE[0], [plan.reference], arguments)
        write_whole(plan.folder / LICENCES, json.dumps(licences, indent=1).encode())
        write_whole(plan.folder / LOCK, lock.encode())
        return Layers(plan.reference, lock, licences, reused=False)


def of_version(builder: Builder, registry: Registry, version: Version, tags: Sequence[str] = ()) -> Image:
    """The image of a published version, as it was published, and whose code may run.

    Raises:
        Untrusted, Corrupt, ImageFailed.
    """
    from nbdeploy.keep import store

    if builder.source.wheelhouse is not None and not builder.source.wheelhouse.is_dir():
        raise WrongUse(f"--wheelhouse {builder.source.wheelhouse} is no folder; name the one that holds the wheels.")
    for tag in tags:
        if not engine.REFERENCE.fullmatch(tag) or len(tag) > engine.LONGEST:
            raise WrongUse(f'"{tag}" is no image reference; write NAME:TAG or REGISTRY/NAME:TAG, in small letters.')
    return build(builder, store.runnable(registry, version), version.version, version.gate, tags)


def build(builder: Builder, bundle: Bundle, version: str, gate: str, tags: Sequence[str] = ()) -> Image:
    """The image of a published version, and beside it the files that say what is in it."""
    began = time.monotonic()
    named = tuple(tags) or (f"{bundle.name}:{version}",)
    layers = builder.image(bundle, named, labels(bundle, version, gate))
    base = builder.base_for(_minor(bundle))
    beside = private(builder.home / bundle.name / version)
    pins = pins_of(layers.lock)
    write_whole(beside / LOCK, layers.lock.encode())
    write_whole(beside / sbom.FILE, sbom.sbom(bundle.manifest, version, pins, layers.licences).encode())
    found = builder.engine.image(named[0])
    if found is None:
        raise ImageFailed(f"The image of {bundle.name}:{version}", "it was built and is not there", "build it again")
    return Image(
        name=bundle.name,
        version=version,
        reference=named[0],
        tags=named,
        id=str(found["Id"]).removeprefix("sha256:"),
        digest=bundle.digest,
        gate=gate,
        size=int(found["Size"]),
        engine=builder.engine.name,
        base=base,
        dependencies=layers.reference,
        reused=layers.reused,
        packages=len(pins),
        seconds=time.monotonic() - began,
        sbom=beside / sbom.FILE,
        lock=beside / LOCK,
    )


def labelled(text: str, keys: Collection[str]) -> str:
    """A Containerfile that labels its image in one step, by keys of ours; podman's `--label` takes one of 50 ms for each."""
    names = _names(keys)
    pairs = [f'"{key}"="${{{name}}}"' for key, name in zip(keys, names, strict=True)]
    lines = [*(f"ARG {name}" for name in names), *([f"LABEL {' '.join(pairs)}"] if pairs else [])]
    return text.replace("# labels\n", "".join(f"{line}\n" for line in lines))


def _names(keys: Collection[str]) -> list[str]:
    """Of the arguments whose values they get: no text of a model is part of the file."""
    return [f"LABEL_{number}" for number in range(len(keys))]


def refuse_comma(home: Path) -> None:
    """Raises ImageFailed: an engine's mounts take a comma for the end of a path."""
    if "," in str(home.absolute()):
        fact = f"{home} has a comma in its path, and container engines cannot mount such a folder"
        raise ImageFailed("The image", fact, "set NBDEPLOY_HOME to a folder without one")


def labels(bundle: Bundle, version: str | None, gate: str | None) -> dict[str, str]:
    """OCI's own keys where they fit; what has no key of theirs has one of ours. Values are arguments, never a file's text."""
    manifest = bundle.manifest
    git = manifest.provenance.get("git") or {}
    known = {
        "org.opencontainers.image.title": manifest.name,
        "org.opencontainers.image.description": str(manifest.model.get("class", "")),
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.created": manifest.created,
        "org.opencontainers.image.source": git.get("remote"),
        "org.opencontainers.image.revision": git.get("commit"),
        f"{OWN}digest": manifest.digest,
        f"{OWN}gate": gate,
    }
    # A builder may read "${" in a label as the start of a substitution, and fail over one it does not know.
    return {key: " ".join(str(value).split()).replace("${", "%24{") for key, value in known.items() if value}


def _minor(bundle: Bundle) -> str:
    found = re.match(r"\d+\.\d+", str(bundle.manifest.environment["python"]))
    if found is None:
        raise Refused(f"{bundle.reference} names no version of Python; deploy it again.")
    return found[0]


def _key(lines: Sequence[str], target: Target, system: str) -> str:
    texts = [(template("image") / name).read_text(encoding="utf-8") for name in RECIPE]
    facts = [system, target.python, target.machine, *sorted(lines), *texts]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _second_name(source: Path, place: Path) -> None:
    """A model may be large, and is only read."""
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)
