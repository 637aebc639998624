"""Tab in a `%deploy` line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.completer import provisionalcompleter
from recording import Noun, Recorder, a_shell

from nbdeploy import magics
from nbdeploy.errors import NotFound
from nbdeploy.front.completion import Completion
from nbdeploy.front.grammar import VERBS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from IPython.core.interactiveshell import InteractiveShell


class Model:
    def predict(self, rows: Any) -> Any:
        return rows


class Scaler:
    def transform(self, rows: Any) -> Any:
        return rows


NAMESPACE = {"clf": Model(), "scaler": Scaler(), "X_train": [1], "y_train": [2], "Model": Model, "_hidden": Model()}


@pytest.fixture
def workspace() -> Recorder:
    return Recorder(answers={"versions": [Noun({}, "1.1.0"), Noun({}, "1.0.0")]})


@pytest.fixture
def completion(workspace: Recorder) -> Completion:
    return Completion(lambda: NAMESPACE, workspace)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("%deploy ", sorted([*VERBS, "clf", "scaler"])),
        ("%deploy c", ["check", "ci", "clf"]),
        ("x = %deploy s", ["scaler", "serve", "show", "stop"]),
        ("    %deploy ver", ["versions"]),
        ("%deploy up ", ["clf", "scaler"]),
        ("%deploy clf --sam", ["--sample"]),
        ("%deploy clf --sample ", ["X_train", "clf", "scaler", "y_train"]),
        ("%deploy clf --sample X", ["X_train"]),
        ("%deploy clf --sample X_train --ta", ["--target"]),
        ("%deploy clf --sample X_train --sam", []),
        ("%deploy clf --sample X_train --bump ", ["major", "minor", "patch"]),
        ("%deploy clf --sample X_train --name ", []),
        ("%deploy stop ", ["churn", "penguins"]),
        ("%deploy stop p", ["penguins"]),
        ("%deploy serve penguins:", ["penguins:1.0.0", "penguins:1.1.0"]),
        ("%deploy serve penguins:1.1", ["penguins:1.1.0"]),
        ("%deploy rollback penguins --to ", ["1.0.0", "1.1.0"]),
        ("%deploy diff penguins ", ["1.0.0", "1.1.0"]),
        ("%deploy diff penguins 1.0.0 1.1", ["1.1.0"]),
        ("%deploy ps ", ["--all", "--json"]),
        ("%%deploy --name n --sample ", ["X_train", "clf", "scaler", "y_train"]),
        ("%deployx s", []),
        ("print('%deploy s", []),
        ("s", []),
    ],
)
def test_what_is_offered(text: str, words: list[str], completion: Completion) -> None:
    offered = completion.complete(text)
    assert [item.text for item in offered["completions"]] == words
    assert offered["suppress"] is bool(words)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("%deploy clf --", "--validate"),
        ("%deploy validate ", "penguins"),
        ("%deploy validate penguins --data ", "X_train"),
        ("%deploy validate penguins -p limit 0.7 --", "--junit"),
        ("%deploy new-", "new-validation"),
    ],
)
def test_the_gate_is_completed(completion: Completion, line: str, word: str) -> None:
    assert word in [item.text for item in completion.complete(line)["completions"]]


def test_a_failing_registry_is_no_error_at_a_key_press(workspace: Recorder, completion: Completion) -> None:
    workspace.answers["versions"] = NotFound("service", "x")
    assert completion.complete("%deploy rollback x --to ")["completions"] == []


@pytest.fixture
def shell(workspace: Recorder, tmp_path: Path) -> Iterator[InteractiveShell]:
    with a_shell(tmp_path) as shell:
        magics.load(shell, workspace)
        shell.user_ns.update(NAMESPACE)
        yield shell


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("x = %deploy serv", "x = %deploy serve"),
        ("%deploy serve penguins:1.0", "%deploy serve penguins:1.0.0"),
        ("%deploy clf --tar", "%deploy clf --target"),
        ("%deploy clf --sample X_", "%deploy clf --sample X_train"),
    ],
)
def test_ipython_puts_the_word_in_the_place_of_what_was_written(text: str, whole: str, shell: InteractiveShell) -> None:
    with provisionalcompleter():
        (found,) = shell.Completer.completions(text, len(text))
    assert text[: found.start] + found.text + text[found.end :] == whole


def test_other_lines_are_completed_as_before(shell: InteractiveShell) -> None:
    with provisionalcompleter():
        assert "X_train" in [item.text for item in shell.Completer.completions("print(X_tr", 10)]
        assert "%deploy" in [item.text for item in shell.Completer.completions("%depl", 5)]
