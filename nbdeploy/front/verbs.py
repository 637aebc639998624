"""What each verb asks of the workspace: the one table behind command and magic."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import GateRefused, WrongUse, an
from nbdeploy.front.session import session
from nbdeploy.render import Card, Shown
from nbdeploy.wording import worded

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbdeploy.front.call import Call
    from nbdeploy.reference import Reference
    from nbdeploy.workspace import Workspace

    Values = dict[str, Any]
    Progress = Callable[[str], None]


@dataclass(frozen=True)
class Said(Shown):
    """The answer of a verb that leaves no noun behind."""

    text: str
    facts: dict[str, Any]

    def card(self) -> Card:
        return Card(self.text, tone="good")

    def to_dict(self) -> dict[str, Any]:
        return self.facts


@dataclass(frozen=True)
class Lines:
    """What a service wrote; shown as it is."""

    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)

    __repr__ = __str__

    def to_dict(self) -> list[str]:
        return list(self.lines)


def perform(call: Call, workspace: Workspace, progress: Progress) -> Any:
    with worded(call.words):
        return _DO[call.verb](workspace, dict(call.values), progress)


def dumps(result: Any) -> str:
    """One JSON value, strict: NaN and infinities, which JSON lacks, are null."""
    return json.dumps(_strict(plain(result)), ensure_ascii=False, allow_nan=False, indent=1, default=str)


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def plain(result: Any) -> Any:
    if hasattr(result, "to_dict"):
        return result.to_dict()
    return result if result is None or isinstance(result, (dict, list)) else str(result)


def _up(workspace: Workspace, values: Values, progress: Progress) -> Any:
    if "parameters" in values:
        values["parameters"] = dict(values["parameters"])
    return workspace.deploy(values.pop("model"), **values, progress=progress)


def _bundle(workspace: Workspace, values: Values, progress: Progress) -> Any:
    progress("bundle")
    return workspace.bundle(values.pop("model"), **values)


def _check(workspace: Workspace, values: Values, progress: Progress) -> Any:
    return workspace.check(_bundle_of(workspace, values["bundle"]), progress=progress)


def _publish(workspace: Workspace, values: Values, progress: Progress) -> Any:
    bundle = _bundle_of(workspace, values.pop("bundle"))
    progress("publish")
    return workspace.publish(bundle, **values)


def _serve(workspace: Workspace, values: Values, progress: Progress) -> Any:
    what: Reference = values.pop("what")
    return workspace.serve(what.name, version=what.version, **values, progress=progress)


def _ps(workspace: Workspace, values: Values, progress: Progress) -> Any:
    del progress
    return workspace.services(**values)


def _logs(workspace: Workspace, values: Values, progress: Progress) -> Any:
    return workspace.logs(values.pop("name"), **values, progress=progress)


def _stop(workspace: Workspace, values: Values, progress: Progress) -> Any:
    del progress
    workspace.stop(values["name"])
    return Said(f"{values['name']} is stopped", {"name": values["name"], "state": "stopped"})


def _attach(workspace: Workspace, values: Values, progress: Progress) -> Any:
    del progress
    return workspace.attach(values["name"])


def _versions(workspace: Workspace, values: Values, progress: Progress) -> Any:
    del progress
    return workspace.versions(values["name"])


def _show(workspace: Workspace, values: Values, progress: Progress) -> Any:
    del progress
    return workspace.show(values["what"].name, values["what"].version)


def _diff(workspace: Workspace, values: Values, progress: Progress) -> Any:
    del progress
    return workspace.diff(values["name"], values["a"], values["b"])


def _rollback(workspace: Workspace, values: Values, progress: Progress) -> Any:
    return workspace.rollback(values["name"], to=values.get("to"), progress=progress)


def _at(workspace: Workspace, values: Values, progress: Progress) -> Any:
    del progress
    return workspace.at(values["name"], values["time"])


def _remove(workspace: Workspace, values: Values, progress: Progress) -> Any:
    del progress
    what: Reference = values["what"]
    gone = [item.version for item in workspace.remove(what.name, what.version)]
    text = f"{what} is removed" if what.version else f"{what} is removed, with {', '.join(gone)}"
    return Said(text, {"name": what.name, "version": what.version, "removed": True, "versions": gone})


def _export(workspace: Workspace, values: Values, progress: Progress) -> Any:
    what: Reference = values.pop("what")
    facts = {"name": what.name, "version": what.version}
    if "prometheus" in values:
        return workspace.export(str(what), **values)
    if values.keys() == {"file"}:
        path = workspace.export(what.name, what.version, values["file"])
        return Said(f"{what} is in {path}", {**facts, "file": str(path)})
    path = workspace.export(str(what), **values, progress=progress)
    sums = hashlib.sha256((path / "SHA256SUMS").read_bytes()).hexdigest()
    next_ = next(text for kind, text in _NEXT.items() if kind in values)
    text = f"{what} is in {path}; {next_}. sha256 of its SHA256SUMS: {sums}"
    return Said(text, {**facts, "folder": str(path), "sums": f"sha256:{sums}"})


_NEXT = {
    "offline": "there, ./start serves it",
    "kubernetes": "its README has the lines that apply it",
    "compose": "its README has the lines that start it",
}


def _image(workspace: Workspace, values: Values, progress: Progress) -> Any:
    what: Reference = values.pop("what")
    return workspace.image(what.name, what.version, **values, progress=progress)


def _import(workspace: Workspace, values: Values, progress: Progress) -> Any:
    del progress
    return workspace.import_bundle(values["file"], trust=values.get("trust"))


def _recover(workspace: Workspace, values: Values, progress: Progress) -> Any:
    del values, progress
    return workspace.recover()


def _replay(workspace: Workspace, values: Values, progress: Progress) -> Any:
    if "against" not in values:
        raise WrongUse(f"replay needs the version to ask: replay {values['name']} --against VERSION")
    return workspace.replay(values.pop("name"), values.pop("against"), **values, progress=progress)


def _monitor(workspace: Workspace, values: Values, progress: Progress) -> Any:
    if "interval" in values:
        raise WrongUse("--interval is of --watch: give both, or neither.")
    file = values.pop("html", None)
    health = workspace.monitor(values.pop("name"), **values, progress=progress)
    if file is None:
        return health
    path = health.write(file)
    return Said(f"{health.name}: {health.verdict}. The page is in {path}", {"name": health.name, "file": str(path)})


def watch(call: Call, workspace: Workspace, say: Progress) -> None:
    """`monitor --watch`, which goes on: each line is said as it comes."""
    values = {key: value for key, value in call.values.items() if key != "watch"}
    if stray := sorted(values.keys() - {"name", "interval"}):
        raise WrongUse(f"--{stray[0]} is of the page; --watch shows none, its rules have windows of their own.")
    if call.json:
        raise WrongUse("--json prints one value at the end, and --watch has none; choose one of them.")
    workspace.watch(values.pop("name"), say, **values)


def _alerts(workspace: Workspace, values: Values, progress: Progress) -> Any:
    return workspace.alerts(values.pop("name"), **values, progress=progress)


def _predictions(workspace: Workspace, values: Values, progress: Progress) -> Any:
    del progress
    folder = values.pop("parquet", None)
    found = workspace.predictions(values["name"], last=values.get("last"))
    if folder is None:
        return found
    files = [str(file) for file in found.write_parquet(Path(folder))]
    many = "1 Parquet file is" if len(files) == 1 else f"{len(files)} Parquet files are"
    when = f" in the last {values['last']}" if values.get("last") else ""
    text = f"{many} in {folder}" if files else f"Nothing is logged of {values['name']}{when} to write"
    return Said(text, {"name": values["name"], "files": files})


def _drift(workspace: Workspace, values: Values, progress: Progress) -> Any:
    return workspace.drift(values.pop("name"), **values, progress=progress)


def _reproduce(workspace: Workspace, values: Values, progress: Progress) -> Any:
    return workspace.reproduce(values["what"].name, values["what"].version, progress=progress)


def _feedback(workspace: Workspace, values: Values, progress: Progress) -> Any:
    del progress
    return workspace.feedback(values.pop("name"), values.pop("labels"), **values)


def _validate(workspace: Workspace, values: Values, progress: Progress) -> Any:
    parameters = dict(values.pop("parameters", ()))
    return workspace.validate(
        values.pop("what"), values.pop("notebook", None), parameters=parameters, **values, progress=progress
    )


def _new_validation(workspace: Workspace, values: Values, progress: Progress) -> Any:
    del progress
    path = workspace.new_validation(values.pop("what", None), values.pop("file", None), **values)
    next_ = f"nbdeploy validate NAME {path} --data X_test,y_test"
    text = f"{path} is yours to edit. Next: {next_} (in a notebook %deploy in place of nbdeploy)"
    return Said(text, {"file": str(path)})


def _panel(workspace: Workspace, values: Values, progress: Progress) -> Any:
    del progress
    return session().cell() if values.pop("code", False) else workspace.panel(**values)


def exit_code(result: Any) -> int:
    """1 of a result that is a verdict, and says no."""
    return 1 if getattr(result, "verdict", None) == "refused" else int(getattr(result, "exit_code", 0))


def refusal(judged: Any) -> GateRefused:
    """What a refused report or replay is as an exception: a notebook that runs in CI goes red by it."""
    failing = [str(check) for check in judged.checks if check.passed is False]
    return GateRefused(judged.subject, failing, str(getattr(judged, "html", "")), judged, published=True)


def _ci(workspace: Workspace, values: Values, progress: Progress) -> Any:
    del progress
    return workspace.ci(values.pop("provider", None), values.pop("file", None), **values)


def _token(workspace: Workspace, values: Values, progress: Progress) -> Any:
    """The file's path; the token itself is printed by the command only."""
    del progress
    path = workspace.token_file(values["name"])
    return Said(f"The token of {values['name']} lies in {path}", {"token_file": str(path)})


def _bundle_of(workspace: Workspace, bundle: Any) -> Any:
    if not isinstance(bundle, str) and not isinstance(bundle, Shown):
        raise WrongUse(
            f"{an(type(bundle).__name__, capital=True)} is no bundle; `b = %deploy bundle MODEL --sample ROWS` makes one."
        )
    if isinstance(bundle, str) and "@" not in bundle:
        raise WrongUse(f'"{bundle}" names no bundle: write NAME@DIGEST12, as `bundle` shows it.')
    return workspace.bundle_of(bundle) if isinstance(bundle, str) else bundle


_DO: dict[str, Callable[[Workspace, Values, Progress], Any]] = {
    "up": _up,
    "bundle": _bundle,
    "check": _check,
    "publish": _publish,
    "serve": _serve,
    "ps": _ps,
    "logs": _logs,
    "stop": _stop,
    "attach": _attach,
    "versions": _versions,
    "show": _show,
    "diff": _diff,
    "rollback": _rollback,
    "at": _at,
    "remove": _remove,
    "export": _export,
    "image": _image,
    "import": _import,
    "recover": _recover,
    "replay": _replay,
    "reproduce": _reproduce,
    "validate": _validate,
    "new-validation": _new_validation,
    "ci": _ci,
    "monitor": _monitor,
    "predictions": _predictions,
    "drift": _drift,
    "feedback": _feedback,
    "alerts": _alerts,
    "token": _token,
    "panel": _panel,
}
