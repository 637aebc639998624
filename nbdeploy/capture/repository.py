"""The git repository around a notebook: commit, branch, remote, whether it was clean. The one door to git."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TIMEOUT = 3.0  # seconds; a network file system may hang
# Looking at a repository must neither write to it, nor run what its configuration names, nor ask for a password.
_QUIET = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
_OPTIONS = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")


class NoRepository(Exception):
    """A reason to be noted beside the missing facts; nobody sees it as an error."""


def repository(folder: Path) -> dict[str, Any]:
    """{"commit", "branch", "remote", "dirty", "changed"}: changed are up to 20 tracked files with uncommitted changes.

    Raises:
        NoRepository: with the reason.
    """
    found: dict[str, Any] = {"commit": None, "branch": None, "remote": None, "dirty": False, "changed": []}
    for line in _git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no").splitlines():
        if line.startswith("# branch.oid "):
            found["commit"] = _or_none(line.removeprefix("# branch.oid "), "(initial)")
        elif line.startswith("# branch.head "):
            found["branch"] = _or_none(line.removeprefix("# branch.head "), "(detached)")
        elif line and not line.startswith("#"):
            found["dirty"] = True
            found["changed"].append(_path(line))
    found["changed"] = found["changed"][:20]
    try:
        found["remote"] = without_secrets(_git(folder, "config", "--get", "remote.origin.url").strip()) or None
    except NoRepository:
        found["remote"] = None
    return found


def commits_since(commit: str, paths: Sequence[Path]) -> list[str]:
    """Of each commit since that touched one of the paths, "abc1234 2026-03-01 subject", newest first; what is not
    committed yet comes before. The paths lie in the first one's folder, or below it.

    Raises:
        NoRepository: with the reason; also where the commit is not known there.
    """
    if not re.fullmatch(r"[0-9a-f]{7,64}", commit):
        raise NoRepository("there is no such commit")
    folder, named = paths[0].parent, [str(path) for path in paths]
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", *named).splitlines()
    log = _git(folder, "log", "--format=%h %cs %s", "--max-count=20", f"{commit}..HEAD", "--", *named).splitlines()
    return [*(f"not committed: {line[3:]}" for line in changed), *log]


def without_secrets(text: str) -> str:
    """The text with user and password taken out of every URL in it."""
    return re.sub(r"(\b[a-zA-Z][\w+.-]*://)[^/\s\"'<>]*@", r"\1", text)


def _or_none(text: str, none: str) -> str | None:
    return None if text == none else text


def _path(line: str) -> str:
    """The path of a porcelain v2 entry: after 8 fields for a change, 9 for a rename, 10 for a conflict."""
    fields = {"1": 8, "2": 9, "u": 10}.get(line[0], 1)
    return line.split(" ", fields)[-1].partition("\t")[0]


def _git(folder: Path, *arguments: str) -> str:
    argv = ["git", "-C", str(folder), *_OPTIONS, *arguments]
    environ = {
        key: value for key, value in os.environ.items() if key not in {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}
    }
    try:
        done = subprocess.run(
            argv, capture_output=True, timeout=TIMEOUT, check=False, env=environ | _QUIET, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as exc:
        raise NoRepository(f"git took longer than {TIMEOUT:g} s") from exc
    except OSError as exc:
        raise NoRepository(f"git cannot be run: {exc.strerror}") from exc
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise NoRepository(without_secrets(said[0])[:200] if said else f"git ended with {done.returncode}")
    return done.stdout.decode(errors="replace")
