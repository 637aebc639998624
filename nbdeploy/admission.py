"""What becomes of a judgement: a version that passed is published, one that was refused does not go live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbdeploy.errors import GateRequired, VersionRefused, WrongUse
from nbdeploy.judge import validation
from nbdeploy.keep import store

if TYPE_CHECKING:
    from nbdeploy.capture.bundle import Bundle
    from nbdeploy.judge.report import Report
    from nbdeploy.keep.registry import Also, Registry
    from nbdeploy.keep.version import Version
    from nbdeploy.settings import Settings


def reason(skip: str) -> str:
    """Raises WrongUse where a skipped gate is given none."""
    if not any(char.isalnum() for char in skip):
        raise WrongUse("--skip-gate needs a reason: it is shown on the version for ever.")
    return skip.strip()


def publish(
    settings: Settings,
    registry: Registry,
    bundle: Bundle,
    *,
    report: Any = None,
    skip: str | None = None,
    bump: str | None = None,
    force: bool = False,
    live: bool = False,
    also: Also | None = None,
) -> Version:
    """Publish what passed its gate, or what may do without.

    Raises:
        GateRefused: the report does not let these bytes pass; GateRequired.
    """
    if report is not None and skip is not None:
        raise WrongUse("--skip-gate leaves the gate out, and a report was given: choose one.")
    stored = None if report is None else validation.require_valid(report, bundle, registry.live(bundle.name))
    if settings.require_gate and stored is None and skip is None:
        raise GateRequired(bundle.name)
    return store.publish(
        bundle.folder,
        bundle.manifest,
        registry,
        settings.bentoml_home,
        bump=bump,
        force=force,
        gate="passed" if stored is not None else "none" if skip is None else "skipped",
        report=summary(stored) if stored is not None else None if skip is None else reason(skip),
        live=live,
        also=also,
    )


def admit(
    settings: Settings, registry: Registry, version: Version, *, force: bool = False, before: bool = False
) -> None:
    """Let a published version go live, or refuse; what is live already may go on.

    `before`: it was live once, when the settings may not have asked for a gate. What `force` overrides is recorded.

    Raises:
        VersionRefused, GateRequired.
    """
    live = registry.live(version.name)
    if live is not None and live.version == version.version:
        return
    error: VersionRefused | GateRequired | None = None
    if version.gate == "refused":
        error = VersionRefused(version.tag)
    elif settings.require_gate and version.gate == "none" and not before:
        error = GateRequired(version.tag, f"judge it with `validate {version.tag}`, or insist with --force")
    if error is None:
        return
    if not force:
        raise error
    registry.record(version.name, "gate overridden", version.version)


def summary(report: Report) -> dict[str, Any]:
    """What the registry keeps of a report: numbers and checks, no tables and texts; the rest lies in its folder."""
    told = report.to_dict()
    metrics = {name: record for name, record in told["metrics"].items() if record["type"] in {"number", "estimate"}}
    return {**told, "metrics": metrics}


def noted(registry: Registry, version: Version, bundle: Bundle, report: Any) -> Version:
    """A version that was published before, with the report it is given now. Raises GateRefused."""
    if report is None:
        return version
    stored = validation.require_valid(report, bundle, registry.live(bundle.name))
    registry.record(version.name, "validated", version.version, report=summary(stored))
    return version.judged(stored.verdict)
