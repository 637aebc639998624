"""Bundles that answer nothing but are whole: what the registry and the store need to see of one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbdeploy.keep.registry import Registry
from nbdeploy.keep.staging import Store
from nbdeploy.keep.store import publish
from nbdeploy.runtime.manifest import FILE, FORMAT, Column, Manifest, Method, Output, Schema, digest_of

if TYPE_CHECKING:
    from pathlib import Path

    from nbdeploy.keep.version import Version
    from nbdeploy.settings import Settings

COLUMNS = (
    Column("bill", "number", "float64", nullable=True, low=32.1, high=59.6),
    Column("mass", "integer", "int64", low=2700, high=6300),
    Column("island", "category", "object", unseen=False, categories=("Biscoe", "Dream", "Torgersen")),
)
METHODS = (
    Method("predict", Output("array", "<U9")),
    Method("predict_proba", Output("array", "float64", (2,), labels=("Adelie", "Gentoo"))),
)
# Enough of a service for BentoML to load and serve it.
SERVICE = b"""
import json
import pathlib
import bentoml

NAME = json.loads(pathlib.Path(__file__).parents[1].joinpath("manifest.json").read_bytes())["name"]

@bentoml.service(name=NAME)
class ModelService:
    @bentoml.api
    def predict(self, rows: list) -> list:
        return [len(row) for row in rows]
"""


def manifest(name: str = "penguins", **changes: Any) -> Manifest:
    """A manifest without files and digest; `changes` are fields of it."""
    facts: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "title": "Penguins of Palmer",
        "model": {
            "class": "sklearn.linear_model.LogisticRegression",
            "task": "classification",
            "parameters": {"C": 1.0},
        },
        "methods": METHODS,
        "schema": Schema("frame", COLUMNS, library="pandas"),
        "artefact": "model.pkl",
        "environment": {
            "python": "3.11.2",
            "implementation": "cpython",
            "platform": "linux-x86_64",
            "requirements": ["bentoml==1.4.39", "scikit-learn==1.9.0"],
            "modules": ["sklearn"],
            "same_minor": False,
        },
        "code": {"definitions": [{"name": "clip", "kind": "function", "cell": "In[3]", "by": "source"}]},
        "created": "2026-11-02T14:00:00.000Z",
        "provenance": {"notebook": "train.ipynb", "data": {"rows": 333, "sha256": "ab"}},
        "metrics": {"training": {"accuracy": 0.99}},
        "files": {},
        "digest": "",
    }
    made = Manifest(**{**facts, **changes})
    return replace(made, digest=made.computed_digest())


def stage(folder: Path, like: Manifest | None = None, *, model: bytes = b"model 1") -> Manifest:
    """Write a bundle into `folder`, as capture does, and give its manifest."""
    files = {
        "model.pkl": model,
        "golden.json": b'{"rows": [], "answers": {}, "edge": []}',
        "captured/notebook_code.py": b"def clip(x):\n    return x\n",
        "nbdeploy_runtime/__init__.py": b"",
        "nbdeploy_runtime/service.py": SERVICE,
    }
    src = folder / "src"
    for name, content in files.items():
        (src / name).parent.mkdir(parents=True, exist_ok=True)
        (src / name).write_bytes(content)
    digests = {name: digest_of(src / name) for name in sorted(files)}
    draft = replace(like or manifest(), files=digests, digest="")
    made = replace(draft, digest=draft.computed_digest())
    (src / FILE).write_bytes(made.dumps())
    python = folder / "env" / "python"
    python.mkdir(parents=True, exist_ok=True)
    (python / "requirements.txt").write_text("".join(f"{line}\n" for line in made.environment["requirements"]))
    return made


class World:
    """A home with its store, and bundles one call away."""

    def __init__(self, settings: Settings, tmp_path: Path) -> None:
        self.settings = settings
        self.folder = tmp_path / "bundles"
        self.registry = Registry(settings.registry)
        self.store = Store(settings.bentoml_home)
        self.count = 0

    def publish(self, like: Manifest | None = None, *, model: bytes | None = None, **options: Any) -> Version:
        self.count += 1
        folder = self.folder / str(self.count)
        made = stage(folder, like, model=model or b"model %d" % self.count)
        return publish(folder, made, self.registry, self.settings.bentoml_home, **options)

    def live(self) -> str | None:
        found = self.registry.live("penguins")
        return found.version if found else None

    def folders(self) -> list[str]:
        """What BentoML would list; the same as the registry does."""
        bentos = self.settings.bentoml_home / "bentos" / "penguins"
        return sorted(path.name for path in bentos.iterdir() if path.is_dir()) if bentos.is_dir() else []

    def staged(self) -> list[Path]:
        staging = self.store.staging
        return [path for path in staging.iterdir() if path.is_dir()] if staging.is_dir() else []
