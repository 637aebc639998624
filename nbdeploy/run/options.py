"""How a service runs: chosen at its first deploy, kept per name, changed only while it is stopped.

The registry keeps it. A copy lies in the service's folder, for when the registry is damaged or lost; nobody else reads it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import Refused, UnknownOption, WrongUse
from nbdeploy.homes import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LAUNCHERS = ("local", "container", "memory")
FILE = "options.json"


def _within(number: Any, most: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= most


@dataclass(frozen=True, slots=True)
class Running:
    """None means: as it was, or the default."""

    launcher: str | None = None
    workers: int | None = None
    port: int | None = None
    env: tuple[str, ...] | None = None  # names of environment variables passed on
    no_auth: bool | None = None
    strict_log: bool | None = None
    log: dict[str, Any] | None = field(default=None, hash=False)  # what the settings say of its log (capture/policy.py)

    def __post_init__(self) -> None:
        if self.launcher is not None and self.launcher not in LAUNCHERS:
            raise UnknownOption(self.launcher, "launcher", LAUNCHERS)
        if self.workers is not None and not _within(self.workers, 64):
            raise WrongUse(f"--workers {self.workers!r} is not possible: give a number from 1 to 64.")
        if self.port is not None and not _within(self.port, 65_535):
            raise WrongUse(f"--port {self.port!r} is no port: give a number from 1 to 65535, or leave it out.")

    def over(self, kept: Mapping[str, Any]) -> Running:
        """These, and what was kept for the rest."""
        known = {field.name for field in fields(Running)}
        before: dict[str, Any] = {
            key: tuple(value) if key == "env" else value for key, value in kept.items() if key in known
        }
        return Running(**(before | self.given()))

    def given(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}

    def fits_running(self, name: str, kept: Mapping[str, Any]) -> None:
        """Raises Refused where something was asked for that a running service cannot change."""
        for key in ("launcher", "port"):
            wanted, has = getattr(self, key), kept.get(key)
            if wanted is not None and has is not None and wanted != has:
                raise Refused(
                    f"{name} is running with {key} {has}; `stop {name}` first, then serve it with {key} {wanted}."
                )


def save(folder: Path, kept: Mapping[str, Any]) -> None:
    """Old copy or new; one that cannot be written loses nothing while the registry is well, and `recover` writes it again."""
    with suppress(OSError):
        write_whole(folder / FILE, json.dumps(kept, indent=1).encode() + b"\n", 0o600)


def saved(folder: Path) -> dict[str, Any]:
    """The copy; nothing where there is none, or one that makes no sense."""
    try:
        raw = json.loads((folder / FILE).read_bytes())
        known = Running().over(raw).given()
    except (OSError, ValueError, TypeError, AttributeError, WrongUse):
        return {}
    return {key: raw[key] for key in known}
