"""What a version says it came from: its notebook, the line that named it, the commit; and what has changed there since."""

from __future__ import annotations

import ast
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy.capture.provenance import code_of
from nbdeploy.capture.repository import NoRepository, commits_since
from nbdeploy.errors import Refused
from nbdeploy.execution import whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbdeploy.keep.version import Version
    from nbdeploy.runtime.manifest import Manifest

_DATA = (
    ".csv",
    ".tsv",
    ".parquet",
    ".json",
    ".jsonl",
    ".feather",
    ".xlsx",
    ".npy",
    ".npz",
    ".pkl",
    ".txt",
    ".db",
    ".gz",
)


@dataclass(frozen=True)
class Origin:
    """`call` names the variables that were bundled; empty where the notebook itself must do it."""

    manifest: Manifest
    notebook: Path
    call: dict[str, Any]

    @classmethod
    def of(cls, version: Version, manifest: Manifest) -> Origin:
        """Raises Refused where no notebook is known, or it is gone."""
        told = manifest.provenance
        path, commit = told.get("notebook"), (told.get("git") or {}).get("commit")
        if not isinstance(path, str):
            reason = told.get("reasons", {}).get("notebook", "it was not deployed from one")
            raise Refused(
                f"{version.tag} does not say which notebook it came from ({reason}), so it cannot be made again. Deploy "
                f"from a saved notebook, or with `nbdeploy up NOTEBOOK.ipynb:MODEL`; later versions then can."
            )
        if not Path(path).is_file():
            back = f", for example with: git show {commit}:./{Path(path).name}" if commit else ""
            raise Refused(f"{version.tag} came from {path}, which is gone. Put the notebook back there{back}")
        return cls(manifest, Path(path), told.get("call") or {})

    @property
    def commit(self) -> str | None:
        commit = (self.manifest.provenance.get("git") or {}).get("commit")
        return commit if isinstance(commit, str) else None

    def since(self) -> list[str]:
        """Sentences on what was touched after the version was made, and when."""
        return [*self._notebook(), *self._modules(), *self._commits(), *self._data()]

    def imports(self) -> set[str]:
        """Top-level modules the notebook's code imports."""
        trees = [node for source in sources(self.notebook) for node in ast.walk(_tree(source))]
        plain = {alias.name for node in trees if isinstance(node, ast.Import) for alias in node.names}
        froms = {node.module for node in trees if isinstance(node, ast.ImportFrom) and node.module and not node.level}
        return {name.partition(".")[0] for name in plain | froms}

    def _notebook(self) -> Iterator[str]:
        then, now = self.manifest.provenance.get("notebook_code"), code_of(self.notebook)
        if then and then != now:
            yield (
                f"{self.notebook.name} was edited, or saved, since: its code was {_short(then)}, it is {_short(now)}, "
                f"written {_time(self.notebook)}"
            )

    def _modules(self) -> Iterator[str]:
        for name, path, digest in self._local():
            if not path.is_file():
                yield f"the module {name} is not beside the notebook any more"
            elif "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                yield f"{path.name} was edited since, written {_time(path)}"

    def _commits(self) -> Iterator[str]:
        if self.commit is None:
            return
        try:
            found = commits_since(self.commit, [self.notebook, *(path for _, path, _ in self._local())])
        except NoRepository as exc:
            yield f"git does not tell what happened since {self.commit[:7]}: {exc}"
        else:
            yield from (f"since {self.commit[:7]}: {line}" for line in found)

    def _data(self) -> Iterator[str]:
        """Files the code names that are newer than the version."""
        made = datetime.fromisoformat(self.manifest.created)
        for path in sorted(self._files()):
            if datetime.fromtimestamp(path.stat().st_mtime, UTC) > made:
                yield f"{path.name} was written {_time(path)}, after the version was made"

    def _files(self) -> set[Path]:
        nodes = [node for source in sources(self.notebook) for node in ast.walk(_tree(source))]
        texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        named = {text for text in texts if text.endswith(_DATA) and "\0" not in text and len(text) < 1_000}
        return {path for text in named if (path := self.notebook.parent / text).is_file()}

    def _local(self) -> list[tuple[str, Path, str]]:
        """Name, file beside the notebook and digest of each local module that travelled."""
        found = self.manifest.code.get("local_modules", ())
        return [(name, self.notebook.parent / inside, digest) for name, inside, digest in found]


def sources(notebook: Path) -> list[str]:
    """Its code cells as Python; lines of magics and commands left out."""
    return [re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", source) for source in _code(notebook)]


def magics(notebook: Path, name: str) -> list[str]:
    """What follows `%name` on each line of the code cells, continued lines whole, also where its value is assigned."""
    code = "\n".join(source.replace("\\\n", " ") for source in _code(notebook))
    return re.findall(rf"(?m)^\s*(?:[\w, ]+=\s*)?%{name}[ \t]+(.+?);?\s*$", code)


def _code(notebook: Path) -> list[str]:
    cells = whole.read(notebook).cells
    return [cell.source for cell in cells if cell.cell_type == "code"]


def _tree(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return ast.Module([], [])


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def _time(path: Path) -> str:
    return f"{datetime.fromtimestamp(path.stat().st_mtime, UTC):%Y-%m-%d %H:%M} UTC"
