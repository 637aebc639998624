"""How a version's requests are logged, decided in the kernel: by the settings, as far as its own runtime knows how."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbdeploy.capture import policy
from nbdeploy.errors import Refused
from nbdeploy.run import secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from nbdeploy.capture.bundle import Bundle
    from nbdeploy.runtime.rules import Rules

RUNTIME = "nbdeploy_runtime/policy.py"  # in bundles whose workers know policies


def decided(log: Mapping[str, Any], bundle: Bundle, folder: Path, progress: Callable[[str], None]) -> Rules:
    """`progress` is told what cannot be obeyed of it: that keeps no version from serving.

    Raises:
        WrongUse, UnknownOption: the settings are wrong, whatever the version.
    """
    rules = policy.rules(log, bundle.manifest.schema, bundle.src, progress)
    if not secret.needed(rules.policy):
        return rules
    return replace(rules, policy=replace(rules.policy, secret=secret.ensure(folder)))


def understood(rules: Rules, bundle: Bundle, progress: Callable[[str], None], *, strict: bool) -> bool:
    """Whether the version may log at all: one made before there were policies would keep what is to be dropped.

    Raises:
        Refused: it must (`strict`), and may not.
    """
    if rules.policy.keeps_all or RUNTIME in bundle.manifest.files:
        return True
    columns = ", ".join(f'"{name}" ({word})' for name, word in rules.policy.columns.items())
    asked = columns or f"a sample of {rules.policy.sample:g}"
    fact = f"{bundle.name} was bundled by an older nbdeploy, whose worker cannot do what the log's policy asks: {asked}"
    if strict:
        raise Refused(f"{fact}; and --strict-log lets nothing pass unlogged. Deploy the model again.")
    progress(
        f"{fact}. So nothing is logged while it serves; deploy the model again, or keep these columns in the settings."
    )
    return False
