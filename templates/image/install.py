"""Lays the packages of a lock where the interpreter finds them, and their bytecode beside them: install.py FROM TO LIST.

All processors share one pass over the files. Left uncompiled is what a pattern of the list matches, from the start of a path in FROM.
"""

from __future__ import annotations

import py_compile
import re
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

SOURCE, TARGET, LIST = map(Path, sys.argv[1:])
LEFT_OUT = re.compile("|".join(LIST.read_text(encoding="utf-8").split()))
UNCHECKED = py_compile.PycInvalidationMode.UNCHECKED_HASH  # nothing in an image changes
KILLED = 137  # as a shell says it: one of the processes was, most likely because memory ran out


def install(folder: Path) -> None:
    """The files of one folder. A `.py` that no interpreter reads, as templates have, is left without bytecode."""
    for path in (SOURCE / folder).iterdir():
        if path.is_dir():
            continue
        place = TARGET / folder / path.name
        shutil.copyfile(path, place)
        place.chmod(0o755 if path.stat().st_mode & 0o111 else 0o644)
        if path.suffix == ".py" and not LEFT_OUT.match(str(folder / path.name)):
            py_compile.compile(str(place), quiet=2, invalidation_mode=UNCHECKED)


if __name__ == "__main__":
    if not TARGET.parent.is_dir():  # that of the environment's Python
        sys.exit("another Python than " + TARGET.parent.name + ": " + sys.version.split()[0])
    folders = [Path(), *(path.relative_to(SOURCE) for path in SOURCE.rglob("*") if path.is_dir())]
    try:
        for each in folders:
            (TARGET / each).mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor() as pool:
            list(pool.map(install, folders))
    except BrokenProcessPool as exc:
        sys.stderr.write(str(exc) + "\n")
        sys.exit(KILLED)
    except OSError as exc:
        sys.exit(str(exc))
