"""Cards as small static HTML: inline styles only, no script, in the page's own colours.

Text keeps the page's colour, so it reads in light and dark; a tone adds an icon and a word, its colour is never alone.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from nbdeploy.render import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbdeploy.render.card import Card, Table, Tone

ROOM = 7000  # characters of HTML a table may take; the rows that do not fit are counted
SHORT = 30  # characters of a cell that is not broken into lines

_TONES: dict[Tone, str] = {"good": "#2e9e5b", "warning": "#c77c11", "bad": "#d64545", "neutral": "#8a8a8a"}
_LINE = "1px solid rgba(128,128,128,.3)"
_FACT = "text-align:left;vertical-align:top;padding:1px 16px 1px 0;border:0;background:none;font-weight:"
_CELL = "text-align:left;padding:3px 16px 3px 0;border:0"
_TABLE = "border-collapse:collapse;border:0;margin:8px 0 0;font-size:1em;width:auto;max-width:100%"
_CODE = (
    "display:block;padding:4px 8px;margin:2px 0 0;background:rgba(128,128,128,.12);color:inherit;border-radius:3px;"
    "white-space:pre-wrap;overflow-wrap:anywhere;user-select:all"
)


def card(card: Card) -> str:
    parts = [_title(card), _facts(card.facts), *(table(item) for item in card.tables)]
    parts += [code(label, line) for label, line in card.code]
    parts += [_note(tone, note) for tone, note in card.notes]
    return (
        f'<div style="border:{_LINE};border-left:4px solid {_TONES[card.tone]};border-radius:4px;padding:8px 14px 10px;'
        f'margin:2px 0;max-width:900px;box-sizing:border-box;font-size:13px;line-height:1.45;color:inherit">'
        f"{''.join(parts)}</div>"
    )


def line(shown: str, tone: Tone = "neutral") -> str:
    """One line, for progress."""
    return f'<div style="font-size:13px;opacity:.85">{icon(tone)} {text(shown)}</div>'


def table(table: Table, room: int = ROOM) -> str:
    if not table.rows:
        return f'<p style="margin:6px 0 0;opacity:.75">{text(table.empty)}</p>'
    heads = "".join(
        f'<th scope="col" style="{_CELL};opacity:.7;font-weight:600">{text(plain.cut(head, plain.WIDEST))}</th>'
        for head in table.headers
    )
    shown = _fitting(table.rows, room)
    rows = "".join(shown)
    more = len(table.rows) - len(shown)
    rest = f'<p style="margin:4px 0 0;opacity:.75">and {more} more</p>' if more else ""
    return (
        f'<div style="overflow-x:auto"><table style="{_TABLE}"><thead><tr style="border-bottom:{_LINE};background:none">'
        f"{heads}</tr></thead><tbody>{rows}</tbody></table></div>{rest}"
    )


def text(value: Any) -> str:
    """The one place where text becomes HTML."""
    return html.escape(plain.text(value))


def _title(card: Card) -> str:
    status = f'<span style="white-space:nowrap">{icon(card.tone)} {text(card.status)}</span>' if card.status else ""
    return (
        '<div style="display:flex;flex-wrap:wrap;column-gap:12px;align-items:baseline">'
        f'<strong style="font-size:15px;overflow-wrap:anywhere">{text(plain.cut(card.title))}</strong>{status}</div>'
    )


def _facts(facts: Sequence[tuple[str, Any]]) -> str:
    if not facts:
        return ""
    rows = "".join(
        f'<tr style="background:none"><th scope="row" style="{_FACT}400;opacity:.7;white-space:nowrap">{text(plain.cut(label, plain.WIDEST))}</th>'
        f'<td style="{_FACT}400;overflow-wrap:anywhere">{_value(value)}</td></tr>'
        for label, value in facts
    )
    return f'<table style="{_TABLE}"><tbody>{rows}</tbody></table>'


def _value(value: Any) -> str:
    shown = text(plain.cut(value))
    if str(value).startswith(("http://127.0.0.1:", "http://localhost:")):
        return f'<code style="background:none;color:inherit;padding:0">{shown}</code>'
    return shown


def _fitting(rows: Sequence[Sequence[Any]], room: int) -> list[str]:
    shown: list[str] = []
    for row in rows:
        shown.append(_row(row))
        if sum(map(len, shown)) > room:
            return shown[:-1]
    return shown


def _row(row: Sequence[Any]) -> str:
    return f'<tr style="background:none">{"".join(_cell(cell) for cell in row)}</tr>'


def _cell(cell: Any) -> str:
    shown = plain.cut(cell, plain.WIDEST)
    lines = ";white-space:nowrap" if len(shown) <= SHORT else ";min-width:10em;overflow-wrap:anywhere"
    return f'<td style="{_CELL}{lines}">{text(shown)}</td>'


def code(label: str, line: str) -> str:
    return (
        f'<div style="margin-top:8px"><span style="opacity:.7">{text(label)}</span>'
        f'<code style="{_CODE}">{text(line)}</code></div>'
    )


def _note(tone: Tone, note: str) -> str:
    return f'<p style="margin:8px 0 0">{icon(tone)} {text(plain.cut(note))}</p>'


def icon(tone: Tone) -> str:
    return f'<span style="color:{_TONES[tone]};font-weight:700" aria-hidden="true">{plain.ICONS[tone]}</span>'
