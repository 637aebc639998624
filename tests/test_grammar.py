"""The one grammar: its data, the line's words, the references, and what parsing gives."""

from __future__ import annotations

import ast
import re
import shlex
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdeploy.capture.methods import first_line
from nbdeploy.errors import SampleMissing, UnknownOption, WrongUse
from nbdeploy.front import verbs
from nbdeploy.front.call import Call
from nbdeploy.front.commands import parse
from nbdeploy.front.grammar import VERBS
from nbdeploy.front.line import read, unfinished
from nbdeploy.reference import Reference

PATH = "up bundle check publish serve ps logs stop attach versions show diff rollback at remove export image import recover token"
GATE = "validate new-validation replay reproduce ci"
WATCH = "monitor predictions drift feedback alerts"
PANEL = "panel"


def test_a_verb_with_a_question_mark_asks_for_its_help() -> None:
    assert read("up?").words == ("up", "--help")
    assert read("up X[a]?").words == ("up", "X[a]?")


def test_only_the_first_line_of_a_model_s_error_is_told() -> None:
    assert first_line(ValueError("names differ.\n- age\n- mass\n")) == "ValueError: names differ."


def test_the_verbs_are_those_of_the_path_the_gate_the_watch_and_the_panel() -> None:
    assert list(VERBS) == [*PATH.split(), *GATE.split(), *WATCH.split(), PANEL]


def test_every_verb_is_carried_out() -> None:
    assert set(verbs._DO) == set(VERBS)


def test_every_verb_has_help_and_takes_json() -> None:
    for verb in VERBS.values():
        assert verb.help.endswith(".")
        assert verb.option("--json")
        assert all(item.help for item in verb.options), verb.name


def test_up_takes_every_option_of_the_contract() -> None:
    contract = (
        "--name --sample --target --data --validate --gate --skip-gate --bump --launcher --workers --port --keys --again "
        "--no-real-rows --force --no-auth --strict-log --require-compatible --env"
    )
    assert {flag for item in VERBS["up"].options for flag in item.flags} >= set(contract.split())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", ()),
        ("clf --name penguins --sample X_train", ("clf", "--name", "penguins", "--sample", "X_train")),
        ('clf --sample X[["a", "b"]]', ("clf", "--sample", 'X[["a", "b"]]')),
        ("make(x, y=1) --sample df.query('a > 1')", ("make(x, y=1)", "--sample", "df.query('a > 1')")),
        ('--skip-gate "too slow"', ("--skip-gate", "too slow")),
        ("--skip-gate='too slow'", ("--skip-gate=too slow",)),
        ('--skip-gate "say \\"no\\""', ("--skip-gate", 'say "no"')),
        ("--data X_test, y_test --name n", ("--data", "X_test,y_test", "--name", "n")),
        ("--data X,y", ("--data", "X,y")),
        ("at penguins 2026-11-02 14:00", ("at", "penguins", "2026-11-02", "14:00")),
        ("ps  # what runs", ("ps",)),
        ("clf --sample d['#']", ("clf", "--sample", "d['#']")),
        ("clf --sample $x --target {y}", ("clf", "--sample", "$x", "--target", "{y}")),
        ('clf --sample x[")"]', ("clf", "--sample", 'x[")"]')),
    ],
)
def test_a_line_is_taken_apart_at_blanks_and_expressions_stay_whole(line: str, words: tuple[str, ...]) -> None:
    assert read(line).words == words
    assert not read(line).quiet


@pytest.mark.parametrize("line", ["ps;", "ps ;", "ps ; ", "ps;;"])
def test_a_semicolon_at_the_end_quiets(line: str) -> None:
    assert read(line).words == ("ps",)
    assert read(line).quiet


@pytest.mark.parametrize("line", ["clf --sample X[", "clf --sample (a", 'clf --name "x', "up f('"])
def test_an_open_bracket_or_quote_is_wrong_use(line: str) -> None:
    with pytest.raises(WrongUse, match=r"missing|not closed"):
        read(line)


@given(st.lists(st.text(string.ascii_letters + string.digits + " .:=<>-+*/_é", min_size=1)))
def test_quoted_words_come_out_as_they_went_in(words: list[str]) -> None:
    assert read(" ".join(f'"{word}"' for word in words)).words == tuple(words)


@given(st.text())
def test_any_text_is_read_or_refused_in_one_way(text: str) -> None:
    try:
        line = read(text)
    except WrongUse:
        return
    assert all(isinstance(word, str) for word in line.words)


EXPRESSIONS = (
    st.recursive(
        st.sampled_from(["a", "X_train", "1", "'b c'", "None"]),
        lambda inner: st.one_of(
            st.builds("[{}, {}]".format, inner, inner),
            st.builds("f({}, k={})".format, inner, inner),
            st.builds("a[{}]".format, inner),
            st.builds("{{'k': {}}}".format, inner),
        ),
    )
    .map(lambda text: ast.unparse(ast.parse(text, mode="eval")))
    .filter(lambda text: not text.startswith("'"))
)


@given(EXPRESSIONS)
def test_any_bracketed_expression_stays_one_word(expression: str) -> None:
    assert read(f"clf --sample {expression} --name n").words == ("clf", "--sample", expression, "--name", "n")


@given(st.text(string.ascii_letters + "-_ []()'\",=", max_size=30))
def test_an_unfinished_line_loses_nothing(text: str) -> None:
    before, fragment = unfinished(text)
    assert text.endswith(fragment)
    assert all(
        word in text.replace("'", "").replace('"', "").replace(" ", "") or " " in word or "'" in word or '"' in word
        for word in before
    )


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("penguins", Reference("penguins")),
        ("penguins:1.2.0", Reference("penguins", "1.2.0")),
        ("penguins@0123456789ab", Reference("penguins", None, "0123456789ab")),
        ("penguins@sha256:0123456789abcdef", Reference("penguins", None, "0123456789abcdef")),
    ],
)
def test_references_are_read_in_one_place(text: str, reference: Reference) -> None:
    assert Reference.parse(text) == reference


@pytest.mark.parametrize(
    "text", ["", ":", "a:", "a:1", "a:latest", "a:1.2.0:3", "../x", "a/b", "a@12", "a b", "a:01.2.3"]
)
def test_other_writings_are_wrong_use(text: str) -> None:
    with pytest.raises(WrongUse):
        Reference.parse(text)


@given(st.text())
def test_any_text_is_a_reference_that_writes_itself_back_or_is_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except WrongUse:
        return
    assert Reference.parse(str(reference)) == Reference(
        reference.name, reference.version, reference.digest and reference.digest[:12]
    )


@pytest.mark.parametrize(
    ("line", "verb", "values"),
    [
        ("up clf --sample X", "up", {"model": "clf", "sample": "X"}),
        (
            "up clf --sample X --target y --name n --keys a,b --no-real-rows --again --bump minor --workers 2 --port 8000",
            "up",
            {
                "model": "clf", "sample": "X", "target": "y", "name": "n", "keys": ("a", "b"), "real_rows": False,
                "again": True, "bump": "minor", "workers": 2, "port": 8000,
            },
        ),
        (
            "up clf --sample X --data X,y --gate accuracy>=0.9 --gate f1>=0.8 --validate v.ipynb --skip-gate why",
            "up",
            {
                "model": "clf", "sample": "X", "data": "X,y", "gate": ("accuracy>=0.9", "f1>=0.8"),
                "validate": "v.ipynb", "skip_gate": "why",
            },
        ),
        ("serve penguins:1.0.0 --env A --env B", "serve", {"what": Reference("penguins", "1.0.0"), "env": ("A", "B")}),
        (
            "validate penguins:1.0.0 v.ipynb --data a.csv --target y --gate r2>=0 -p limit 0.7 -p note >=",
            "validate",
            {
                "what": "penguins:1.0.0", "notebook": Path("v.ipynb"), "data": "a.csv", "target": "y",
                "gate": ("r2>=0",), "parameters": (("limit", "0.7"), ("note", ">=")),
            },
        ),
        ("validate penguins@0123456789abcd --junit j.xml", "validate", {"what": "penguins@0123456789ab", "junit": Path("j.xml")}),
        ("new-validation", "new-validation", {}),
        ("new-validation regression v.ipynb --force", "new-validation", {"what": "regression", "file": Path("v.ipynb"), "force": True}),
        ("ps", "ps", {}),
        ("ps --all", "ps", {"all": True}),
        ("logs penguins -f --lines 5", "logs", {"name": "penguins", "follow": True, "lines": 5}),
        ("rollback penguins --to 1.0.0", "rollback", {"name": "penguins", "to": "1.0.0"}),
        ("at penguins 2026-11-02 14:00", "at", {"name": "penguins", "time": "2026-11-02 14:00"}),
        ("diff penguins 1.0.0 1.1.0", "diff", {"name": "penguins", "a": "1.0.0", "b": "1.1.0"}),
    ],
)  # fmt: skip
def test_a_call_holds_what_was_given_and_nothing_else(line: str, verb: str, values: dict[str, Any]) -> None:
    call = parse(shlex.split(line), "nbdeploy")
    assert call is not None
    shown = {name: str(value) if name == "validate" else value for name, value in call.values.items()}
    assert (call.verb, shown, call.json) == (verb, values, False)


def test_json_is_no_value_of_the_call() -> None:
    assert parse(["ps", "--json"], "nbdeploy") == Call("ps", {}, json=True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rolback penguins", 'There is no verb "rolback". Did you mean "rollback"?'),
        ("xyz", 'There is no verb "xyz". Known: up, bundle'),
        ("list", 'There is no verb "list". Did you mean "ps"?'),
        ("up clf X", '"X" is one word too many. Rows are given with --sample X'),
        ("up clf sample=X", '"sample=X" is one word too many. Options are written --sample X.'),
        ("up clf --sample X --gate f1_macro >= 0.9", 'Put the condition in quotes: --gate "f1_macro>=0.9".'),
        ("up clf --sample X --gate f1_macro 0.9", 'Put the condition in quotes: --gate "f1_macro>=0.9".'),
        ("up clf --smaple X", 'There is no option "--smaple". Did you mean "--sample"?'),
        ("stop", "Missing argument 'NAME'."),
        ("stop a b", '"b" is one word too many'),
        ("stop a:1.0.0", "should be a name alone: a"),
        ("serve a@0123456789ab", "names an unpublished bundle"),
        ("rollback a --to x", '"x" is not a version'),
        ("up clf --sample X --bump tiny", "'tiny' is not one of 'patch', 'minor', 'major'"),
        ("up clf --sample X --launcher moon", "'moon' is not one of 'local'"),
        ("up clf --sample X --port zero", "'zero' is not a valid whole number"),
        ("up clf --sample", "requires an argument"),
    ],
)
def test_wrong_use_says_what_would_be_right(line: str, message: str) -> None:
    with pytest.raises(WrongUse) as caught:
        parse(line.split(), "nbdeploy")
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("program", "model", "line"),
    [
        ("%deploy", "clf", "%deploy clf --sample X_train --target y_train"),
        ("nbdeploy", "t.ipynb:clf", "nbdeploy up t.ipynb:clf --sample X_train --target y_train"),
        ("nbdeploy", "m.pkl", "nbdeploy up m.pkl --sample rows.csv --target labels.csv"),
    ],
)
def test_a_missing_sample_is_refused_with_the_line_to_write(program: str, model: str, line: str) -> None:
    with pytest.raises(SampleMissing) as caught:
        parse(["up", model], program)
    assert line in str(caught.value)


def test_every_option_is_in_help_and_near_words_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["up", "--help"], "nbdeploy") is None
    shown = capsys.readouterr().out
    assert {flag for item in VERBS["up"].options for flag in item.flags} <= set(re.findall(r"--?[a-z-]+", shown))
    with pytest.raises(UnknownOption, match="--validate"):
        parse(["up", "clf", "--validat", "x"], "nbdeploy")


@given(
    st.lists(st.sampled_from([*VERBS, "--json", "--sample", "x", "-f", "--", "a:1.0.0", "--port=1", ""]), max_size=6)
)
def test_any_words_give_a_call_or_wrong_use(words: list[str]) -> None:
    try:
        call = parse(words, "nbdeploy")
    except WrongUse:
        return
    assert call is None or call.verb in VERBS


def test_an_unknown_verb_is_told_with_every_verb_there_is() -> None:
    with pytest.raises(UnknownOption) as told:
        parse(["xyz"], "nbdeploy")
    assert str(told.value).endswith(f"Known: {', '.join(VERBS)}.")
