"""docs/architecture.md names the modules there are, each in the section of its folder, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECTIONS = {
    "### Front ends and API": ("", "front"),
    "### Leaves": ("", "render", "execution"),
    "### `widgets`": ("widgets",),
    "### `capture`": ("capture",),
    "### `keep`": ("keep",),
    "### `run`": ("run", "judge"),
    "### `watch`": ("watch",),
    "### `runtime`": ("runtime",),
}


def tables() -> dict[str, list[str]]:
    """The modules of each section's table, by its heading, as they are written."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    found = {}
    for heading in SECTIONS:
        section = text.partition(f"\n{heading}")[2].partition("\n#")[0]
        first_cells = re.findall(r"^\| ([^|]*) \|", section, flags=re.MULTILINE)
        found[heading] = re.findall(r"`([\w/]+\.py)`", " ".join(first_cells))
    return found


def modules(folder: str) -> set[str]:
    return {path.name for path in (ROOT / "nbdeploy" / folder).glob("*.py")} - ({"__init__.py"} if folder else set())


def test_every_module_has_its_line_and_no_other_has_one() -> None:
    found = tables()
    listed = [name for names in found.values() for name in names]
    top = {name for heading in list(SECTIONS)[:2] for name in found[heading]}
    assert modules("") <= top
    for heading, folders in SECTIONS.items():
        names = {name.rpartition("/")[2] for name in found[heading]}
        there = set().union(*(modules(folder) for folder in folders))
        lacking = set().union(*(modules(folder) for folder in folders if folder)) - names
        assert not lacking, f"{heading} lacks {sorted(lacking)}"
        assert not names - there, f"{heading} names {sorted(names - there)}, which are gone"
    assert len(listed) == len({(heading, name) for heading, names in found.items() for name in names})
