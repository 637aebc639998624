"""From a fitted model in a notebook to a running, versioned service.

    %load_ext nbdeploy
    %deploy clf --name penguins --sample X_train --target y_train

The functions here are the verbs of a default `Workspace`, made when first used, and what a gate notebook says:
`record` and `expect`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbdeploy.judge.records import expect, record
    from nbdeploy.workspace import Workspace

    _default = Workspace()
    alerts = _default.alerts
    at = _default.at
    attach = _default.attach
    bundle = _default.bundle
    check = _default.check
    deploy = _default.deploy
    diff = _default.diff
    export = _default.export
    feedback = _default.feedback
    import_bundle = _default.import_bundle
    monitor = _default.monitor
    panel = _default.panel
    predictions = _default.predictions
    publish = _default.publish
    rollback = _default.rollback
    serve = _default.serve
    services = _default.services
    stop = _default.stop
    validate = _default.validate
    versions = _default.versions

__all__ = [
    "Workspace",
    "alerts",
    "at",
    "attach",
    "bundle",
    "check",
    "deploy",
    "diff",
    "expect",
    "export",
    "feedback",
    "import_bundle",
    "monitor",
    "panel",
    "predictions",
    "publish",
    "record",
    "rollback",
    "serve",
    "services",
    "stop",
    "validate",
    "versions",
]


def __getattr__(name: str) -> Any:
    if name == "Workspace":
        from nbdeploy.workspace import Workspace as Class

        return Class
    if name in {"expect", "record"}:
        from nbdeploy.judge import records

        return getattr(records, name)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nbdeploy import default

    if name == "panel":
        from nbdeploy.widgets import display

        display.register()
    return getattr(default.workspace(), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: Any) -> None:
    from nbdeploy import default, magics
    from nbdeploy.capture import stale

    stale.watch(shell)
    magics.load(shell, default.workspace)


def unload_ipython_extension(shell: Any) -> None:
    from nbdeploy import magics
    from nbdeploy.capture import stale

    magics.unload(shell)
    stale.unwatch(shell)
