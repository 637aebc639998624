"""What every way of running obeys: prepare a candidate, let it take over, stop it, say how it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from nbdeploy.runtime.limits import Limits
from nbdeploy.runtime.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from nbdeploy.run.services import ServiceState


@dataclass(frozen=True)
class Launch:
    """`environment` is what a worker gets beside the variables every worker gets; `port` None keeps the name's own."""

    name: str
    bundle: Path  # the folder that holds src/
    digest: str
    python: Path
    folder: Path  # services/NAME
    registry: Path
    workers: int = 1
    port: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    token_sha256: str | None = None
    log: bool = True
    log_rules: Rules = field(default_factory=Rules)
    strict_log: bool = False
    limits: Limits = field(default_factory=Limits)
    ready_timeout: float = 120.0
    drain_timeout: float = 30.0
    loop: str = "uvloop"  # or asyncio, which needs nothing installed
    container: dict[str, list[str]] | None = None  # command lines of a container engine, for its relay


class Candidate(Protocol):
    """A new version beside the one that serves. It ends with `activate` or with `discard`."""

    @property
    def url(self) -> str:
        """A private loopback address that answers as the service will; the same token."""

    @property
    def public(self) -> str:
        """Where it will answer once it has taken over."""

    def activate(self, version: str, bundle: Path) -> str:
        """Take over; returns the service's url once no new request can reach the old version.

        The registry must have the version as live already: should this process end in between, it is asked.
        """

    def discard(self) -> None:
        """Leave everything as it was; harmless after `activate`, and when called twice."""


class Launcher(Protocol):
    @property
    def name(self) -> str: ...

    def prepare(self, launch: Launch, progress: Callable[[str], None]) -> Candidate:
        """Block until the bundle's golden rows are answered by its workers.

        Raises:
            NotReady: with the end of the log; PortTaken: with who has it. The old version serves on.
        """

    def stop(self, name: str, folder: Path) -> None:
        """Return when every process of the service is gone, draining ones too.

        Raises:
            NotRunning
        """

    def state(self, folder: Path) -> ServiceState: ...

    def logs(self, folder: Path, *, lines: int = 50, follow: bool = False) -> Iterator[str]: ...
