"""Cards as aligned text. Control characters become visible escapes: a column's name cannot steer a terminal."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbdeploy.render.card import Card, Table, Tone

ICONS: dict[Tone, str] = {"good": "✓", "warning": "!", "bad": "✗", "neutral": "•"}
WIDEST = 60  # characters of a cell
LONGEST = 400  # of a fact or note; the rest is cut

_COLOURS: dict[Tone, str] = {"good": "32", "warning": "33", "bad": "31", "neutral": "2"}


def card(card: Card, *, colour: bool = False) -> str:
    """`colour` only where a terminal is known to read."""
    blocks = [_title(card, colour=colour)]
    if card.facts:
        label = max(_width(cut(name, WIDEST)) for name, _ in card.facts)
        blocks.append("\n".join(f"  {_pad(cut(name, WIDEST), label)}  {cut(value)}" for name, value in card.facts))
    blocks += [_indented(table(item)) for item in card.tables]
    if card.code:
        blocks.append("\n".join(f"  {text(label)}:\n    {text(line)}" for label, line in card.code))
    if card.notes:
        blocks.append("\n".join(_note(tone, note, colour=colour) for tone, note in card.notes))
    tight = len(card.tables) + len(card.code) == 0
    return ("\n" if tight else "\n\n").join(blocks) if len(blocks) > 1 else blocks[0]


def table(table: Table) -> str:
    if not table.rows:
        return text(table.empty)
    rows = [[cut(cell, WIDEST) for cell in row] for row in (table.headers, *table.rows)]
    widths = [max(_width(row[index]) for row in rows) for index in range(len(table.headers))]
    return "\n".join(
        "  ".join(_pad(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def text(value: Any) -> str:
    """One line of printable text."""
    return "-" if value is None else "".join(_visible(str(value)))


def _visible(value: str) -> Iterator[str]:
    for char in value:
        hidden = unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and char != "\u200d"
        yield char.encode("unicode_escape").decode() if hidden else char


def icon(tone: Tone, *, colour: bool) -> str:
    return _paint(_COLOURS[tone], ICONS[tone]) if colour else ICONS[tone]


def _title(card: Card, *, colour: bool) -> str:
    title = _paint("1", cut(card.title)) if colour else cut(card.title)
    if not card.status:
        return title
    status = f"{ICONS[card.tone]} {text(card.status)}"
    return f"{title}  {_paint(_COLOURS[card.tone], status) if colour else status}"


def _note(tone: Tone, note: str, *, colour: bool) -> str:
    return f"  {icon(tone, colour=colour)} {cut(note)}"


def _paint(code: str, shown: str) -> str:
    return f"\x1b[{code}m{shown}\x1b[0m"


def _indented(block: str) -> str:
    return "\n".join(f"  {line}" for line in block.splitlines())


def cut(value: Any, room: int = LONGEST) -> str:
    shown = text(value)
    return shown if len(shown) <= room else shown[: room - 1] + "…"


def percent(share: float, digits: int | None = None) -> str:
    """With so many digits behind the point; without `digits` two figures below ten, else whole."""
    if digits is not None:
        return f"{share * 100:.{digits}f} %"
    return f"{share * 100:.2g} %" if share < 0.1 else f"{share * 100:.0f} %"


def counted(count: int, word: str) -> str:
    """1 row, 2,340 rows."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def figures(value: float, digits: int = 3) -> str:
    """The first so many; a large number is written out: 1,000 and not 1e+03."""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if 10**digits <= abs(rounded) < 1e15 else f"{rounded:.{digits}g}"


def number(value: float) -> str:
    """A whole number to its last figure, so that a count is never rounded; of any other the first three."""
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else figures(value)


def _pad(cell: str, width: int) -> str:
    return cell + " " * (width - _width(cell))


def _width(shown: str) -> int:
    """Columns in a terminal: wide characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in shown
    )
