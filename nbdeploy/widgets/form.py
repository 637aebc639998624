"""What is chosen on the tabs Deploy and Validation, as the words of a line."""

from __future__ import annotations

from dataclasses import dataclass

OPTIONS = ("name", "sample", "target", "data", "bump", "launcher")  # of `up`, those that take one word


@dataclass(frozen=True)
class DeployForm:
    model: str = ""
    name: str = ""
    sample: str = ""
    target: str = ""
    data: str = ""
    gate: str = ""  # conditions, one a line
    bump: str = ""
    launcher: str = ""

    @property
    def lacking(self) -> str:
        """What to do first; "" when it can be deployed."""
        if not self.model:
            return "Fit a model in a cell; its variable can then be chosen here."
        if not self.sample:
            return "Choose the rows the model was fitted on as its sample: they give the columns and types."
        if self.gate.strip() and not self.data:
            return "Conditions need held-out rows to be judged on: choose them, or leave the conditions empty."
        return ""

    def deploy(self) -> list[str]:
        given = [word for option in OPTIONS for word in _option(option, getattr(self, option))]
        return ["up", self.model, *given, *_conditions(self.gate)]

    def bundle(self) -> list[str]:
        """To look at schema and warnings first."""
        given = [word for option in OPTIONS[:3] for word in _option(option, getattr(self, option))]
        return ["bundle", self.model, *given]


@dataclass(frozen=True)
class GateForm:
    name: str = ""
    version: str = ""
    notebook: str = ""
    data: str = ""
    target: str = ""
    gate: str = ""

    @property
    def lacking(self) -> str:
        if not self.name:
            return "Nothing is published yet: deploy a model first."
        if not self.data and not self.notebook:
            return "Choose held-out rows, such as X_test,y_test or a file, or name a notebook that has its own."
        return ""

    def validate(self) -> list[str]:
        what = f"{self.name}:{self.version}" if self.version else self.name
        words = ["validate", what, *([self.notebook] if self.notebook else [])]
        return [*words, *_option("data", self.data), *_option("target", self.target), *_conditions(self.gate)]


def _option(name: str, value: str) -> list[str]:
    return [f"--{name}", value] if value else []


def _conditions(text: str) -> list[str]:
    return [word for line in text.splitlines() if line.strip() for word in ("--gate", line.strip())]
