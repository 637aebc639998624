"""A leaf: nouns describe themselves as cards and tables, this turns them into text and small static HTML."""

from nbdeploy.render.card import Card, Shown, Table, Tone

__all__ = ["Card", "Shown", "Table", "Tone"]
