"""The tree of errors: drawn as it is, every message built by its class, every error able to travel."""

from __future__ import annotations

import dataclasses
import pickle
import re
from typing import Any

import pytest

from nbdeploy import errors
from nbdeploy.errors import NbdeployError, WrongUse


def tree(cls: type[NbdeployError]) -> list[type[NbdeployError]]:
    return [cls, *(found for child in cls.__subclasses__() for found in tree(child))]


CLASSES = [cls for cls in tree(NbdeployError) if cls.__module__ == errors.__name__]


SAID = (
    "a float",
    "an int",
    "an ndarray",
    "an SVC",
    "an LGBMClassifier",
    "a OneClassSVM",
    "a KMeans",
    "an unknown",
    "a union",
    "a UUID",
)


@pytest.mark.parametrize("said", SAID)
def test_a_word_has_the_article_it_is_said_with(said: str) -> None:
    article, _, word = said.partition(" ")
    assert errors.an(word) == said
    assert errors.an(word, capital=True) == f"{article.capitalize()} {word}"


def made(cls: type[NbdeployError]) -> NbdeployError:
    """One with something in every field."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # every class below the root is a dataclass
        kind = str(field.type)
        if kind.startswith("Sequence[Mapping"):
            values[field.name] = [{"row": 3, "column": "age", "problem": "is text", "hint": "send a number"}]
        elif kind.startswith(("Sequence", "tuple")):
            values[field.name] = ("alpha", "beta")
        else:
            values[field.name] = 404 if kind == "int" else f"<{field.name}>"
    return cls(**values)


@pytest.mark.parametrize("cls", CLASSES[1:], ids=lambda cls: cls.__name__)
def test_an_error_says_its_value_and_travels_between_processes(cls: type[NbdeployError]) -> None:
    error = made(cls)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert str(again) == str(error) != ""
    assert "<" in str(error)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"^([│├└─ ]*)([A-Z]\w+)", line):
            depth = len(match[1]) // 4
            above[depth:] = [match[2]]
            drawn[match[2]] = above[depth - 1] if depth else "Exception"
    drawn = {name: parent for name, parent in drawn.items() if hasattr(errors, name)}
    assert drawn == {cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES}


def test_wrong_use_ends_with_2_and_all_else_with_1() -> None:
    assert {cls.exit_code for cls in CLASSES if issubclass(cls, WrongUse)} == {2}
    assert {cls.exit_code for cls in CLASSES if not issubclass(cls, WrongUse)} == {1}


def test_what_is_not_there_is_not_meant() -> None:
    assert str(errors.NotFound("notebook", "a.ipynb", ["a.ipynb"])) == 'There is no notebook "a.ipynb".'
    assert "b1.ipynb" in str(errors.NotFound("notebook", "b.ipynb", ["b.ipynb", "b1.ipynb"]))
