"""A notebook run in a fresh kernel: the one door to papermill."""

from nbdeploy.execution.watched import DONE, Ended, Limits, execute
from nbdeploy.execution.whole import read, run

__all__ = ["DONE", "Ended", "Limits", "execute", "read", "run"]
