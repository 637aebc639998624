"""How labels are written, beside the classes of the model: in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbdeploy.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST = 5
ROOM = 60  # characters of a label; the rest is cut
DIGITS = 4_300  # of a whole number: Python writes no longer ones


def written(label: Any) -> str:
    """As Python writes it, cut."""
    if isinstance(label, int) and abs(label) >= 10**DIGITS:
        return f"a whole number of more than {DIGITS:,} digits"
    shown = repr(label)
    return shown if len(shown) <= ROOM else f"{shown[:ROOM]}… ({len(shown):,} characters)"


def listed(labels: Iterable[Any], classes: Sequence[Any] = ()) -> str:
    """The different ones of them, the first few; of a text that is nearly one of `classes`, which."""
    once = list(dict.fromkeys(_plain(label) for label in labels))
    shown = [f"{text}{_meant(text, classes)}" for text in once[:MOST]]
    return ", ".join(shown) + (", ..." if len(once) > MOST else "")


def coding(given: Iterable[Any], classes: Sequence[Any]) -> str:
    """The line that writes labels as the model does; of two for two it is not known which is which."""
    pairs = ", ".join(f"{label!r}: ..." for label in list(dict.fromkeys(given))[:2])
    return f'labels["label"].map({{{pairs}}}) to {listed(classes)}.'


def _plain(label: Any) -> str:
    if label == "" or isinstance(label, int):
        return written(label)
    return str(label)


def _meant(text: str, classes: Sequence[Any]) -> str:
    known = [label for label in classes if isinstance(label, str)]
    same = [label for label in known if label.casefold() == text.strip().casefold()]
    near = f' Did you mean "{same[0]}"?' if same else did_you_mean(text, known)
    return near.replace(" Did", ": did").removesuffix("?") + ("?" if near else "")
