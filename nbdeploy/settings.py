"""Homes, limits and time-outs: frozen once read, and read anew where their file was changed.

The nearest `nbdeploy.toml`, or `pyproject.toml` with a `[tool.nbdeploy]` table, found upward from the notebook, is
read first; environment variables `NBDEPLOY_*` win over it.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nbdeploy.errors import UnknownOption, WrongUse, an

if TYPE_CHECKING:
    from collections.abc import Mapping

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Settings:
    home: Path
    bentoml_home: Path
    require_gate: bool = False
    gate: tuple[str, ...] = ()  # conditions of every gate
    thresholds: dict[str, Any] = field(
        default_factory=dict, hash=False
    )  # of every gate, by metric (judge/thresholds.py)
    log: dict[str, Any] = field(default_factory=dict, hash=False)  # what a service logs (capture/policy.py)
    alerts: dict[str, Any] = field(default_factory=dict, hash=False, repr=False)  # holds addresses (watch/plan.py)
    allowed_hosts: tuple[str, ...] = ()  # beside loopback
    ready_timeout: float = 120.0  # seconds a candidate may take until its golden rows are answered
    predict_timeout: float = 30.0  # seconds
    drain_timeout: float = 30.0  # seconds an old worker may take to finish what it began
    gate_timeout: float = 600.0  # seconds a gate notebook may take in all
    max_body: int = 10_000_000  # bytes
    max_rows: int = 10_000
    engine: str | None = None  # docker or podman; None: the first that works
    base_image: str = "docker.io/library/python:{python}-slim"  # {python}: the minor version
    container_memory: str = "2g"  # of one container, as the engine spells it; more is a killed worker
    container_pids: int = 512  # processes and threads of one container

    @property
    def registry(self) -> Path:
        return self.home / "registry.db"

    @property
    def services(self) -> Path:
        return self.home / "services"

    @property
    def reports(self) -> Path:
        return self.home / "reports"

    @property
    def images(self) -> Path:
        return self.home / "images"

    @property
    def environments(self) -> Path:
        return self.home / "envs"

    @property
    def bundles(self) -> Path:
        return self.home / "bundles"

    @classmethod
    def load(cls, start: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
        """Settings for a notebook or script in folder `start` (the working directory by default)."""
        source, values = _from_file((start or Path.cwd()).resolve())
        known = {item.name: str(item.type) for item in fields(cls)}
        for key in values:
            if key not in known:
                raise UnknownOption(key, f"setting (in {source})", sorted(known))
        given = {key: _typed(key, value, known[key], str(source)) for key, value in values.items()}
        for key, kind in known.items():
            variable = f"NBDEPLOY_{key.upper()}"
            if variable in environ and key != "bentoml_home":
                given[key] = _typed(key, environ[variable], kind, variable)
        given.setdefault("home", Path("~/.nbdeploy").expanduser())
        if environ.get("BENTOML_HOME"):
            given["bentoml_home"] = Path(environ["BENTOML_HOME"])
        given.setdefault("bentoml_home", Path("~/bentoml").expanduser())
        for key in ("home", "bentoml_home"):
            given[key] = _spelled(key, given[key].absolute())
        return cls(**given)


class Current:
    """The settings as they are now, for one folder: loaded again when a file or a variable they come from is another."""

    def __init__(self) -> None:
        self._start = Path.cwd().resolve()
        self._seen: object = None
        self._settings: Settings | None = None

    def __call__(self) -> Settings:
        """Raises what `Settings.load` does, until the file is mended."""
        seen = _marks(self._start), {key: value for key, value in os.environ.items() if key in _VARIABLES}
        if self._settings is None or seen != self._seen:
            self._settings = None
            self._settings, self._seen = Settings.load(self._start), seen
        return self._settings


_VARIABLES = {"BENTOML_HOME", *(f"NBDEPLOY_{item.name.upper()}" for item in fields(Settings))}


def _marks(start: Path) -> list[tuple[str, int, int, int]]:
    """What tells that a file the settings could come from was written, made or removed."""
    found = []
    for folder in (start, *start.parents):
        for name in ("nbdeploy.toml", "pyproject.toml"):
            try:
                stat = (folder / name).stat()
            except OSError:  # mostly not there; what cannot be read is said by who reads it
                continue
            found.append((str(folder / name), stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return found


def _from_file(start: Path) -> tuple[Path | None, dict[str, Any]]:
    for folder in (start, *start.parents):
        own = folder / "nbdeploy.toml"
        if own.is_file():
            table = _read(own)
            _refuse_tool(own, table)
            return own, table
        project = folder / "pyproject.toml"
        if project.is_file():
            table = _read(project).get("tool", {}).get("nbdeploy")
            if table is not None:
                return project, table
    return None, {}


def _refuse_tool(path: Path, table: Mapping[str, Any]) -> None:
    """What was meant for the other file."""
    if "tool" not in table:
        return
    inner = table["tool"].get("nbdeploy", {}) if isinstance(table["tool"], dict) else {}
    name = next((key for key, value in inner.items() if isinstance(value, dict)), None)
    there = f"[tool.nbdeploy.{name}]" if name else "[tool.nbdeploy]"
    here = f"write [{name}]" if name else "leave that line out, its settings stand at the top"
    raise WrongUse(f"{there} is how pyproject.toml says it; in {path} {here}.")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise WrongUse(f"{path} is not valid TOML: {exc}. Mend it, or move it away.") from exc


def _typed(key: str, value: Any, kind: str, source: str) -> Any:
    """The value as its field wants it; text from the environment and numbers from TOML alike."""
    try:
        if kind == "Path":
            return Path(str(value)).expanduser()
        if kind.startswith("str"):
            return str(value)
        if kind == "bool":
            return _flag(value)
        if kind == "float":
            return _positive(float(value))
        if kind == "int":
            return _positive(int(value))
        if kind.startswith("dict"):
            return _table(value)
        if key == "gate":  # a slice's value may hold a comma, so that the environment has one condition on a line
            return tuple(value.splitlines() if isinstance(value, str) else value)
        hosts = value.split(",") if isinstance(value, str) else value
        return tuple(str(host).strip() for host in hosts if str(host).strip())
    except (ValueError, TypeError) as exc:
        raise WrongUse(f"{key} = {value!r} in {source} is not {an(kind)}: {exc}.") from exc


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("write it as tables in nbdeploy.toml or pyproject.toml")
    return value


def _spelled(key: str, path: Path) -> Path:
    try:
        str(path).encode()
    except UnicodeEncodeError as exc:
        shown = ascii(str(path))
        raise WrongUse(
            f"{key} = {shown} is no text in this locale; set PYTHONUTF8=1, or choose a folder of ASCII."
        ) from exc
    return path


def _flag(value: Any) -> bool:
    text = str(value).strip().lower()
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off", ""}:
        return False
    raise ValueError("say true or false")


def _positive(value: Number) -> Number:
    if value <= 0:
        raise ValueError("it must be above zero")
    return value
