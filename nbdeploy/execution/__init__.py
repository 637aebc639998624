"""A notebook run in a fresh kernel: the one door to papermill."""

from nbdeploy.execution.watched import DONE, FILE, Ended, Limits, execute
from nbdeploy.execution.whole import read, run

__all__ = ["DONE", "FILE", "Ended", "Limits", "execute", "read", "run"]
