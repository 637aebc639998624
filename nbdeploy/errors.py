"""Everything nbdeploy raises on purpose.

NbdeployError                     exit code 1
├── WrongUse                      exit code 2; a UsageError in a magic
│   ├── BadName
│   ├── SampleMissing
│   ├── UnknownOption
│   ├── BadCondition
│   └── NotAModel
├── NotFound                      a name or version nobody knows
├── CannotTravel                  an object, class or function that works only in this kernel
├── UnsupportedData               a sample or column that has no JSON form
├── NotServable                   a model that cannot answer rows
├── Refused                       a rule of the registry or a gate says no
│   ├── CheckFailed
│   ├── GateRefused
│   ├── GateRequired
│   ├── VersionRefused
│   ├── BreaksCallers
│   ├── VersionIsLive
│   ├── DowngradeRefused
│   ├── Untrusted
│   └── NothingToRollBackTo
├── Corrupt                       stored bytes are not what was published
├── RegistryDamaged               registry.db is no longer what was written
├── RegistryTooNew                registry.db was written by a newer nbdeploy
├── RegistryUnavailable           registry.db cannot be opened or written just now
├── DiskFailed                    a file or folder cannot be read or written just now
│   ├── HomeUnavailable
│   └── StoreUnavailable
├── EnvironmentFailed             an environment for a lock could not be built
├── ImageFailed                   a container image could not be built
├── EngineMissing                 neither docker nor podman can be used
├── ServiceFailed                 a service could not start, take over or stop
│   ├── NotReady
│   ├── PortTaken
│   └── NotRunning
├── CallRefused                   a service answered a call with an error
├── NotebookFailed                a notebook run by papermill stopped at a cell
├── Unreachable                   nobody answered
├── DeliveryFailed                an alert's channel did not take a message
└── Unsupported                   this platform or this launcher cannot do it

Each class builds its own message: the value, the fact, the next step.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Problem = tuple[Any, Any, Any]  # of rows that were refused: column, fact and hint

MOST_PROBLEMS = 10  # of one refused call that are told
MOST_ROWS = 5  # of one problem that are named


def rebuild(cls: type[NbdeployError], state: dict[str, Any]) -> NbdeployError:
    error = cls.__new__(cls)
    error.__dict__.update(state)
    return error


class NbdeployError(Exception):
    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        return self.message()

    def message(self) -> str:
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild, (type(self), self.__dict__.copy())

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: the message says what a traceback would have to be read for."""
        return [f"{type(self).__name__}: {self}"]


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """' Did you mean "penguins"?' or ''."""
    if not isinstance(word, str):
        return ""
    cutoff = 0.5 if len(word) == 2 else 0.6  # of two letters one may be wrong
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f' Did you mean "{close[0]}"?' if close else ""


_SAID_WITH_AN = re.compile(r"(?!one|eu|u[fu]|uint|us[aeiou]|uni[^mn])[aeiou]|nd", re.IGNORECASE)
_SPELT_WITH_AN = re.compile(r"[FHLMNRSX](?=[A-Z])")


def an(word: str, *, capital: bool = False) -> str:
    """With its article, as it is said: a float, an int, a OneClassSVM, an SVC, an ndarray."""
    more = "n" if _SAID_WITH_AN.match(word) or _SPELT_WITH_AN.match(word) else ""
    return f"{'A' if capital else 'a'}{more} {word}"


def _listed(findings: Iterable[str]) -> str:
    return "".join(f"\n  - {finding}" for finding in findings)


def _below(log: str) -> str:
    return f"\n{log}" if log else ""


@dataclass(eq=False)
class WrongUse(NbdeployError):
    text: str
    exit_code: ClassVar[int] = 2

    def message(self) -> str:
        return self.text


@dataclass(eq=False)
class BadName(WrongUse):
    text: str  # the name
    near: str = ""  # the nearest name that is allowed
    step: str = ""  # where another can be given

    def message(self) -> str:
        near = f' For example "{self.near}".' if self.near else ""
        return (
            f'"{self.text}" cannot name a service: use 1 to 63 of a-z, 0-9, "-" and "_", beginning and ending with a '
            f"letter or digit, and no reserved word (latest, con, nul, ...).{near}{self.step}"
        )


@dataclass(eq=False)
class SampleMissing(WrongUse):
    text: str  # the model, as the user wrote it
    line: str = ""  # the line to write

    def message(self) -> str:
        return (
            f"{self.text} needs a sample of the rows it will be asked about, to know their columns and types: "
            f"{self.line or f'%deploy {self.text} --sample X_train --target y_train'}"
        )


@dataclass(eq=False)
class UnknownOption(WrongUse):
    """A word of a command line nobody knows; `kind` is "verb", "option", "launcher" and the like."""

    text: str
    kind: str
    known: Sequence[str]
    meant: str = ""  # where another word for it is known

    def message(self) -> str:
        hint = f' Did you mean "{self.meant}"?' if self.meant else did_you_mean(self.text, self.known)
        return f'There is no {self.kind} "{self.text}".{hint or " Known: " + ", ".join(self.known[:60]) + "."}'


@dataclass(eq=False)
class BadCondition(WrongUse):
    """A condition of a gate that cannot be read; `position` is where, counted from 0."""

    text: str
    position: int
    fact: str
    hint: str = ""

    def message(self) -> str:
        shown = "".join(char if char.isprintable() else " " for char in self.text)
        return (
            f'The condition "{shown}" cannot be read: {self.fact}.{self.hint}\n'
            f"    {shown}\n    {' ' * self.position}^\n"
            "Write metric>=0.9, metric@column=value>=0.8, metric.low>=0.8, metric>=live or metric<=live*1.02."
        )


@dataclass(eq=False)
class NotAModel(WrongUse):
    text: str  # the type's name
    served: Sequence[str]

    def message(self) -> str:
        return f"{an(self.text, capital=True)} is no fitted model, which has one of the methods {', '.join(self.served)}; deploy one that has."


@dataclass(eq=False)
class NotFound(NbdeployError):
    """`kind` is "service", "version", "bundle", ...; `known` what exists, for the hint."""

    kind: str
    value: str
    known: Sequence[str] = ()

    def message(self) -> str:
        known = [name for name in self.known if name != self.value]  # a folder may be called what a file should be
        hint = did_you_mean(self.value, known)
        if not hint and known:
            shown = ", ".join(known[:8])
            hint = f" There is: {shown}{', ...' if len(known) > 8 else '.'}"
        return f'There is no {self.kind} "{self.value}".{hint}'


@dataclass(eq=False)
class CannotTravel(NbdeployError):
    """`path` leads to the object (model.steps[0][1].lock_), `fact` says what it is, `advice` what to do."""

    path: str
    fact: str
    advice: str
    cell: str | None = None  # "In[3]"

    def message(self) -> str:
        where = f" (see {self.cell})" if self.cell else ""
        return f"{self.path}{where} {self.fact}, which cannot leave this kernel; {self.advice}."


@dataclass(eq=False)
class UnsupportedData(NbdeployError):
    """`where` is "the sample" or 'column "age"'."""

    where: str
    fact: str
    advice: str

    def message(self) -> str:
        return f"{self.where} {self.fact}; {self.advice}."


@dataclass(eq=False)
class NotServable(NbdeployError):
    model: str
    fact: str
    advice: str

    def message(self) -> str:
        return f"{self.model} {self.fact}; {self.advice}."


@dataclass(eq=False)
class Refused(NbdeployError):
    text: str

    def message(self) -> str:
        return self.text


@dataclass(eq=False)
class CheckFailed(Refused):
    """The away-from-home check; `findings` are sentences, the culprit first."""

    text: str  # the bundle
    findings: Sequence[str] = ()

    def message(self) -> str:
        said = f"{self.text} does not answer away from this kernel as it does here; nothing was published."
        return said + _listed(self.findings)


@dataclass(eq=False)
class GateRefused(Refused):
    """`findings` are the failing checks as sentences, `report` the Report, or Replay, with its evidence."""

    text: str  # name:version or name@digest
    findings: Sequence[str]
    page: str  # where the report can be read; "" of a replay
    report: Any = None
    published: bool = False  # judged after it was published, so it stays

    def message(self) -> str:
        held = "" if self.published else "; nothing was published"
        page = f"\nThe report: {self.page}" if self.page else ""
        return f"The gate refuses {self.text}{held}.{_listed(self.findings)}{page}"


@dataclass(eq=False)
class GateRequired(Refused):
    text: str  # the name
    step: str = "give --validate and --data, or --skip-gate with a reason"

    def message(self) -> str:
        return f"{self.text} was not judged and the settings say require_gate = true: {self.step}."


@dataclass(eq=False)
class VersionRefused(Refused):
    text: str  # name:version

    def message(self) -> str:
        return (
            f"{self.text} was refused by its gate after it was published, so it does not go live: `show {self.text}` "
            f"tells the failing checks. Judge it again with `validate {self.text}`, or insist with "
            f"`serve {self.text} --force`, which is recorded."
        )


@dataclass(eq=False)
class BreaksCallers(Refused):
    text: str  # the name
    live: str
    reasons: Sequence[str]

    def message(self) -> str:
        return (
            f"The new version would break callers of {self.text}:{self.live}: {'; '.join(self.reasons)}. "
            "Leave --require-compatible out to publish it as a major version."
        )


@dataclass(eq=False)
class VersionIsLive(Refused):
    text: str  # name:version
    doing: str
    alone: bool = False  # the name has no other version

    def message(self) -> str:
        name = self.text.partition(":")[0]
        first = "roll back or serve another version first"
        step = f"it is the only version: `stop {name}`, then `remove {name}`" if self.alone else first
        return f"{self.text} is live, so it cannot be {self.doing}; {step}."


@dataclass(eq=False)
class DowngradeRefused(Refused):
    text: str  # the bump asked for
    needed: str
    reason: str

    def message(self) -> str:
        return (
            f"--bump {self.text} is less than this change needs: {self.needed}, because {self.reason}. "
            "Leave --bump out, or insist with --force (it is recorded)."
        )


@dataclass(eq=False)
class Untrusted(Refused):
    text: str  # name:version
    digest: str

    def message(self) -> str:
        name = self.text.partition(":")[0]
        return (
            f"{self.text} is not trusted here, and loading it runs its code. If you trust its origin, import the file it "
            f"came from, or one made with `nbdeploy export {self.text} {name}.bento`: "
            f"`nbdeploy import {name}.bento --trust {self.digest}`"
        )


@dataclass(eq=False)
class NothingToRollBackTo(Refused):
    text: str  # name:version

    def message(self) -> str:
        return f"{self.text} is the first version that went live; there is none before it. `versions` lists all, --to picks one."


@dataclass(eq=False)
class Corrupt(NbdeployError):
    what: str
    fact: str
    advice: str = "restore it from an export with `nbdeploy import FILE`, or deploy again with --again"

    def message(self) -> str:
        return f"{self.what} is not as it was published: {self.fact}; {self.advice}."


@dataclass(eq=False)
class RegistryDamaged(NbdeployError):
    """`moved` is where the damaged file lies now, for `recover` to read what it can."""

    path: str
    fact: str
    moved: str

    def message(self) -> str:
        return (
            f"The registry {self.path} is damaged: {self.fact}. It lies at {self.moved}; `nbdeploy recover` rebuilds it "
            "from that file and the bundles in the store. Running services are not touched."
        )


@dataclass(eq=False)
class RegistryTooNew(NbdeployError):
    path: str
    found: int
    known: int

    def message(self) -> str:
        return (
            f"The registry {self.path} was written by a newer nbdeploy (schema {self.found}, this one knows {self.known}), "
            "so it is only read: upgrade nbdeploy to change it."
        )


@dataclass(eq=False)
class RegistryUnavailable(NbdeployError):
    path: str
    fact: str
    advice: str

    def message(self) -> str:
        return f"The registry {self.path} cannot be used: {self.fact}; {self.advice}."


@dataclass(eq=False)
class DiskFailed(NbdeployError):
    doing: str  # "publishing penguins"
    path: str
    fact: str
    holds: str = "Nothing was changed"  # what is true now
    again: str = "try again"
    named_by: ClassVar[str] = ""

    def message(self) -> str:
        return (
            f"{self.doing} failed at {self.path}: {self.fact}. {self.holds}; see to the disk and the rights of that "
            f"folder{self.named_by}, then {self.again}."
        )


class HomeUnavailable(DiskFailed):
    named_by = " (NBDEPLOY_HOME names the home)"


class StoreUnavailable(DiskFailed):
    named_by = " (BENTOML_HOME names the store)"


@dataclass(eq=False)
class EnvironmentFailed(NbdeployError):
    """An environment for a lock could not be built; `log` is the end of what uv or pip said, without secrets."""

    fact: str
    advice: str
    log: str = ""
    what: str = "The environment of this bundle"

    def message(self) -> str:
        return f"{self.what} cannot be built: {self.fact}; {self.advice}.{_below(self.log)}"


@dataclass(eq=False)
class ImageFailed(NbdeployError):
    """A container image could not be built; `log` is the end of what the builder said, without secrets."""

    what: str  # "The image of penguins:1.0.0"
    fact: str
    advice: str
    log: str = ""

    def message(self) -> str:
        return f"{self.what} cannot be built: {self.fact}; {self.advice}.{_below(self.log)}"


@dataclass(eq=False)
class EngineMissing(NbdeployError):
    tried: str  # "docker: Cannot connect ...; podman is not on PATH"

    def message(self) -> str:
        return (
            f"There is no container engine that works here ({self.tried}). Install podman or docker, or start the "
            "one there is; --engine or NBDEPLOY_ENGINE chooses between them."
        )


@dataclass(eq=False)
class ServiceFailed(NbdeployError):
    name: str
    fact: str
    advice: str

    def message(self) -> str:
        return f"{self.name}: {self.fact}; {self.advice}."


@dataclass(eq=False)
class NotReady(ServiceFailed):
    """A candidate that did not become ready; `log` is the end of its output."""

    log: str = ""
    findings: Sequence[str] = ()

    def message(self) -> str:
        return f"{self.name}: {self.fact}; {self.advice}.{_listed(self.findings)}{_below(self.log)}"


@dataclass(eq=False)
class PortTaken(ServiceFailed):
    name: str
    fact: str  # who has it
    advice: str = "choose another with --port, or leave it out"

    def kept(self) -> PortTaken:
        """The same where nobody asked for that port now."""
        step = f"{self.name} keeps that port for its callers: free it and try again, or give it another with --port"
        return PortTaken(self.name, self.fact, step)


@dataclass(eq=False)
class NotRunning(ServiceFailed):
    name: str
    fact: str = "is not running"
    advice: str = "`serve` starts it"

    def message(self) -> str:
        return f"{self.name} {self.fact}; {self.advice}."


@dataclass(eq=False)
class CallRefused(NbdeployError):
    """An error envelope of a service: HTTP status, its code, message and details (interface.md)."""

    status: int
    code: str
    text: str
    details: Sequence[Mapping[str, Any]] = field(default_factory=list)
    request_id: str | None = None

    def message(self) -> str:
        found = self._found()
        lines = [f"{self.text} (HTTP {self.status}, {self.code})"]
        lines += [_told(problem, rows) for problem, rows in list(found.items())[:MOST_PROBLEMS]]
        if len(found) > MOST_PROBLEMS:
            lines.append(f"  - and {len(found) - MOST_PROBLEMS} more")
        return "\n".join(lines)

    def _found(self) -> dict[Problem, list[Any]]:
        """The rows of each problem, which many rows often share."""
        found: dict[Problem, list[Any]] = {}
        for detail in self.details:
            problem = (detail.get("column"), detail.get("problem", ""), detail.get("hint"))
            found.setdefault(problem, []).append(detail.get("row"))
        return found


def _told(problem: Problem, rows: list[Any]) -> str:
    column, fact, hint = problem
    shown = ", ".join(str(row) for row in rows[:MOST_ROWS])
    row = f"{len(rows)} rows ({shown}{', ...' if len(rows) > MOST_ROWS else ''})" if len(rows) > 1 else f"row {shown}"
    where = [row] if rows[0] is not None else []
    where += [f"column {column}"] if column is not None else []
    return f"  - {', '.join(where)}{': ' if where else ''}{fact}{f'; {hint}' if hint else ''}"


@dataclass(eq=False)
class NotebookFailed(NbdeployError):
    """`kept` is the executed notebook, with the whole traceback."""

    notebook: str
    cell: str  # "In[3]"
    fact: str  # "ValueError: ..."
    kept: str

    def message(self) -> str:
        return f"{self.notebook} stopped at {self.cell} with {self.fact}. The executed notebook is kept: {self.kept}"


@dataclass(eq=False)
class Unreachable(NbdeployError):
    url: str
    fact: str

    def message(self) -> str:
        return f"{self.url} did not answer: {self.fact}. `ps` shows what is running."


@dataclass(eq=False)
class DeliveryFailed(NbdeployError):
    """`after` is in how many seconds the other side wants to be asked again, where it says so."""

    channel: str
    fact: str  # without the address, which may hold a secret
    after: float | None = None

    def message(self) -> str:
        return f"The channel {self.channel} did not take the message: {self.fact}."


@dataclass(eq=False)
class Unsupported(NbdeployError):
    what: str
    advice: str

    def message(self) -> str:
        return f"{self.what} is not possible here; {self.advice}."
