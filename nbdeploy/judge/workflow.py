"""A ready workflow for a CI system: train, check, judge, publish, keep the version and the reports.

The user's words go into shell lines as quoted arguments, each on one line of a YAML block, where no character but a line
end has a meaning; those the CI system itself would replace (`${{`) are refused.
"""

from __future__ import annotations

import platform
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy import names
from nbdeploy.errors import NotFound, Refused, UnknownOption, WrongUse
from nbdeploy.homes import writing
from nbdeploy.judge.conditions import Condition
from nbdeploy.judge.origin import magics
from nbdeploy.render import Card, Shown
from nbdeploy.runtime.environment import minor
from nbdeploy.templates import filled, template

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FILES = {"github": ".github/workflows/nbdeploy.yml", "gitlab": ".gitlab-ci.yml"}
OPTIONS = ("name", "sample", "target", "data", "validate")  # of the line that deploys, beside the conditions
_REPLACED = ("${{", "$[[")  # what GitHub and GitLab put other text for
_FLAG = re.compile(r"--(name|sample|target|data|validate|gate)(?:=(.*))?", re.DOTALL)


@dataclass(frozen=True)
class Workflow(Shown):
    """`words` are those of `nbdeploy up`: the options by name, `model` as NOTEBOOK.ipynb:VARIABLE."""

    provider: str
    model: str
    words: Mapping[str, str]
    gate: tuple[str, ...]
    file: Path

    def text(self) -> str:
        """The YAML."""
        name = self.words["name"]
        options = [word for key in OPTIONS if key in self.words for word in (f"--{key}", self.words[key])]
        options += [word for condition in self.gate for word in ("--gate", condition)]
        # Again, since a notebook that deploys by itself has published this very model without being judged.
        up = _line("nbdeploy", "up", self.model, *options, "--again", "--json")
        lines = {
            "@PYTHON@": minor(platform.python_version()),
            "@UP@": f"{up} > nbdeploy-version.json",
            "@EXPORT@": _line("nbdeploy", "export", name, f"{name}.bento"),
            "@STOP@": _line("nbdeploy", "stop", name),
            "@BUNDLE@": f"{name}.bento",
        }
        written = template("ci").joinpath(f"{self.provider}.yml").read_text(encoding="utf-8")
        return filled(written, lines)

    def write(self, *, force: bool) -> None:
        """Raises Refused where the file is there already."""
        if self.file.exists() and not force:
            raise Refused(
                f"{self.file} is there already and stays as it is. Name another file, or insist with --force."
            )
        with writing(self.file):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(self.text(), encoding="utf-8")

    def to_dict(self) -> dict[str, Any]:
        told = {"provider": self.provider, "file": str(self.file), "model": self.model}
        return {**told, **self.words, "gate": list(self.gate)}

    def card(self) -> Card:
        facts = [("trains", self.model), *self.words.items(), *(("gate", text) for text in self.gate)]
        return Card(
            title=str(self.file),
            status="written",
            tone="good",
            facts=facts,
            notes=(("neutral", "look it over, then commit it: git add " + shlex.quote(str(self.file))),),
        )


def workflow(
    provider: str | None,
    folder: Path,
    *,
    file: Path | None = None,
    notebook: Path | None = None,
    model: str | None = None,
    gate: Sequence[str] = (),
    **words: str | None,
) -> Workflow:
    """From what is said, else from the notebook's own `%deploy` line of that model or name; `folder` is the repository's.

    Raises:
        WrongUse: something is missing, or cannot be put into a workflow; NotFound; BadCondition.
    """
    chosen = provider or ("gitlab" if (folder / ".gitlab-ci.yml").exists() else "github")
    if chosen not in FILES:
        raise UnknownOption(chosen, "CI system", sorted(FILES))
    path = _notebook(folder, notebook)
    own = _chosen(path, model, words.get("name"))
    said = {key: value for key, value in words.items() if value is not None}
    merged = {key: str(value) for key, value in {**own.words, **said}.items()}
    variable = model or own.model
    if variable is None:
        raise WrongUse(f"{path.name} has no %deploy line, so say which variable is the model: --model clf")
    if "sample" not in merged:
        raise WrongUse(f"A sample of the rows {variable} will be asked about is needed: --sample X_train")
    merged["name"] = names.checked(merged["name"]) if "name" in merged else names.from_variable(variable)
    conditions = tuple(gate) or own.gate
    if not {"data", "validate"} & merged.keys():
        raise WrongUse(
            "A workflow without a judgement would publish anything: give --data X_test,y_test or --validate NOTEBOOK."
        )
    for condition in conditions:
        Condition.parse(condition)
    where = file or folder / FILES[chosen]
    made = Workflow(chosen, f"{_relative(path, folder)}:{variable}", merged, conditions, where)
    for text in (made.model, *merged.values(), *conditions):
        _refuse_unfit(text)
    return made


@dataclass(frozen=True)
class _Line:
    """A `%deploy` line of a notebook."""

    model: str | None
    words: Mapping[str, str]
    gate: tuple[str, ...]

    @property
    def name(self) -> str:
        """The service it deploys."""
        return self.words.get("name") or (self.model or "").lower().strip("_")


def _chosen(notebook: Path, model: str | None, name: str | None) -> _Line:
    """The line that speaks of the model and the name that are said; a lone line also lends itself to others.

    Raises:
        WrongUse: several lines could be meant, or none of several.
    """
    lines = _deploying(notebook)
    if len(lines) < 2:
        return lines[0] if lines else _Line(None, {}, ())
    found = [line for line in lines if model in (None, line.model)]
    if model is None or len(found) > 1:
        found = [line for line in found if name in (None, line.name)]
    if len(found) == 1:
        return found[0]
    listed = "; ".join(f"--model {line.model} --name {line.name}" for line in lines[:8])
    more = "; ..." if len(lines) > 8 else ""
    said = " ".join(f"--{key} {value}" for key, value in (("model", model), ("name", name)) if value is not None)
    which = f"{'none' if not found else 'more than one'} of them fits {said}" if said else "none of them is chosen"
    raise WrongUse(f"{notebook.name} has {len(lines)} %deploy lines and {which}. Choose one: {listed}{more}.")


def _deploying(notebook: Path) -> list[_Line]:
    """The lines that deploy a variable, as far as they can be read; of those for one model and name the last."""
    found = {}
    for line in magics(notebook, "deploy"):
        try:
            parts = shlex.split(line)
        except ValueError:
            continue
        parts = parts[1:] if parts[:1] == ["up"] else parts
        if parts and parts[0].isidentifier() and any(part.startswith("--sample") for part in parts):
            options = list(_options(parts[1:]))
            gates = tuple(value for key, value in options if key == "gate")
            made = _Line(parts[0], {key: value for key, value in options if key != "gate"}, gates)
            found[made.model, made.name] = made
    return list(found.values())


def _options(parts: Sequence[str]) -> list[tuple[str, str]]:
    found = []
    for place, part in enumerate(parts):
        match = _FLAG.fullmatch(part)
        if match:
            following = parts[place + 1] if place + 1 < len(parts) else ""
            found.append((match[1], following if match[2] is None else match[2]))
    return found


def _notebook(folder: Path, given: Path | None) -> Path:
    there = sorted(path for path in folder.glob("*.ipynb"))
    if given is not None:
        path = given if given.is_absolute() else folder / given
        if not path.is_file():
            raise NotFound("notebook", str(given), [item.name for item in there])
        return path
    deploying = [path for path in there if _deploys(path)]
    candidates = deploying or there
    if len(candidates) == 1:
        return candidates[0]
    found = f"there are {', '.join(path.name for path in candidates[:8])}" if candidates else f"{folder} holds none"
    raise WrongUse(f"Say which notebook trains the model, with --notebook: {found}.")


def _deploys(notebook: Path) -> bool:
    try:
        return bool(magics(notebook, "deploy"))
    except WrongUse:  # of another's torn file: one that was named is told
        return False


def _relative(notebook: Path, folder: Path) -> str:
    try:
        path = notebook.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        raise WrongUse(f"{notebook} lies outside {folder}: run `ci` in the repository's own folder.") from None
    return f"./{path}" if path.startswith("-") else path


def _refuse_unfit(text: str) -> None:
    """Raises WrongUse for what would not come out of YAML and CI as it went in."""
    if not text.isprintable():
        raise WrongUse(f"{text!a} cannot stand in a workflow: it holds a line end or a control character.")
    for replaced in _REPLACED:
        if replaced in text:
            raise WrongUse(f'"{text}" cannot stand in a workflow: CI systems put something else for {replaced}.')


def _line(*words: str) -> str:
    return " ".join(map(shlex.quote, words))
