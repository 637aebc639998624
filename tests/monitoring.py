"""Debian's Prometheus for tests: its programs, and a server of our own that scrapes a service."""

from __future__ import annotations

import os
import shutil

import pytest


def program(name: str) -> str:
    """The path of prometheus or promtool. In CI a missing one fails the test; elsewhere it is skipped, and says why."""
    found = shutil.which(name)
    if found is not None:
        return found
    said = f"{name} is not installed: apt-get install prometheus"
    if os.environ.get("CI"):
        pytest.fail(said)
    pytest.skip(said)
