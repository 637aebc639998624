"""The documents name what there is: every verb, every setting, every class of word a gate knows."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from nbdeploy.front.grammar import VERBS
from nbdeploy.judge import thresholds
from nbdeploy.judge.conditions import Condition
from nbdeploy.judge.validation import OURS
from nbdeploy.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_in_the_readme(verb: str) -> None:
    words = set(re.findall(r"`[^`]*`", README))
    assert any(re.search(rf"\b{verb}\b", word) for word in words)


@pytest.mark.parametrize("setting", [item.name for item in dataclasses.fields(Settings)])
def test_every_setting_is_in_the_guide(setting: str) -> None:
    assert f"`{setting}`" in GUIDE


@pytest.mark.parametrize("word", [*OURS, *thresholds.KEYS])
def test_every_word_of_a_gate_is_in_the_guide(word: str) -> None:
    gates = GUIDE.partition("## Gates")[2].partition("\n## ")[0]
    assert re.search(rf"\b{word}\b", gates)


def test_every_condition_in_the_documents_can_be_read() -> None:
    shown = re.findall(r'--gate "([^"]+)"', README + GUIDE)
    shown += re.findall(r"^\| `([a-z][^`]*(?:>=|<=)[^`]*)`", GUIDE, re.MULTILINE)
    assert len(shown) >= 7
    for text in shown:
        assert Condition.parse(text)
