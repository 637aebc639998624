"""Where an overview is displayed as the panel: in a kernel that has the extension loaded. Elsewhere it is a card."""

from __future__ import annotations

import sys
from typing import Any

TYPE = ("nbdeploy.overview", "Overview")


def register(shell: Any = None) -> None:
    """By default with the shell of this process. Costs nothing before a panel is asked for."""
    if shell is None and "IPython" in sys.modules:
        from IPython.core.getipython import get_ipython

        shell = get_ipython()
    if not hasattr(shell, "kernel"):
        return

    def show(overview: Any) -> None:
        from nbdeploy.widgets.view import View

        View(overview, lambda: shell.user_ns).display()

    shell.display_formatter.ipython_display_formatter.for_type_by_name(*TYPE, show)


def unregister(shell: Any) -> None:
    formatter = shell.display_formatter.ipython_display_formatter
    formatter.deferred_printers.pop(TYPE, None)
    formatter.type_printers = {
        kind: how for kind, how in formatter.type_printers.items() if (kind.__module__, kind.__name__) != TYPE
    }
