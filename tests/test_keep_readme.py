"""The README of a bundle shows text as text."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keep_world import COLUMNS, World, manifest

from nbdeploy.keep.readme import escaped
from nbdeploy.runtime.manifest import Column, Schema

if TYPE_CHECKING:
    from pathlib import Path

    from nbdeploy.settings import Settings

HOSTILE = [
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "![x](http://evil/x.png)",
    "http://evil.example",
    "www.evil.example",
    "someone@evil.example",
    "a | b",
    "`code`",
    "**bold** _it_",
    "# title\n# another",
    "$tag ${version}",
    "a\u202eb\x1b[31m",
    "&lt;b&gt;",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_a_model_never_becomes_markup(text: str) -> None:
    shown = escaped(text)
    assert not re.search(r"[<>|`@\n\x1b\u202e]|://|(?i:www\.)", shown)
    assert not re.search(r"(?<!\\)[\[\]*_#!$](?!\d+;)", shown.replace("&#", "&"))


@given(st.text(max_size=100))
def test_what_is_shown_reads_as_what_was_written(text: str) -> None:
    shown = html.unescape(re.sub(r"\\([\\*_{}\[\]#+!$^=])", r"\1", escaped(text)))
    plain = "".join(mark if mark.isprintable() else " " for mark in text)
    assert shown == " ".join(plain.split())


def test_the_card_tells_what_is_known(settings: Settings, tmp_path: Path) -> None:
    made = World(settings, tmp_path).publish(by="ada")
    text = (made.bundle / "README.md").read_text()
    for fact in ("# penguins:1.0.0", "first version", "ada", "Torgersen", "accuracy", "train.ipynb", made.digest):
        assert fact in text
    assert "$" not in text.replace("\\$", "")


def test_a_card_of_hostile_text_has_the_same_shape(settings: Settings, tmp_path: Path) -> None:
    world = World(settings, tmp_path)
    evil = "x | y\n\n# owned\n<img src=x onerror=alert(1)>"
    columns = (*COLUMNS, Column(evil, "category", "object", unseen=False, categories=(evil,)))
    made = world.publish(manifest(title=evil, schema=Schema("frame", columns), warnings=(evil,)), by=evil)
    lines = (made.bundle / "README.md").read_text().splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        "# penguins:1.0.0",
        "## Methods",
        "## Input",
        "## Training metrics",
        "## Where it comes from",
        "## Warnings",
        "## How to use it",
    ]
    assert not any("<img" in line for line in lines)
