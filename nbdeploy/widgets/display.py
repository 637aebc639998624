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

        View(overview, lambda: dict(shell.user_ns)).display()  # a copy: cells go on changing it while threads look

    shell.display_formatter.ipython_display_formatter.for_type_by_name(*TYPE, show)
    if _told not in shell.events.callbacks["post_run_cell"]:
        shell.events.register("post_run_cell", _told)


def unregister(shell: Any) -> None:
    formatter = shell.display_formatter.ipython_display_formatter
    formatter.deferred_printers.pop(TYPE, None)
    others = {kind: how for kind, how in formatter.type_printers.items() if (kind.__module__, kind.__name__) != TYPE}
    formatter.type_printers = others
    if _told in shell.events.callbacks["post_run_cell"]:
        shell.events.unregister("post_run_cell", _told)


def _told(result: Any) -> None:
    """Panels that are open hear of each cell."""
    if "nbdeploy.widgets.desk" in sys.modules:
        from nbdeploy.widgets.desk import cell_has_run

        cell_has_run(getattr(result.info, "raw_cell", None) or "")
