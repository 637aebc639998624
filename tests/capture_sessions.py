"""Fixtures: one kernel for all cases, its namespace emptied between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kernels import Fresh, Kernel
from sessions import Session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def fresh() -> Iterator[Fresh]:
    child = Fresh()
    yield child
    child.close()


@pytest.fixture(scope="session")
def shared_kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with Kernel(tmp_path_factory.mktemp("kernel")) as kernel:
        kernel.run("import numpy, pandas, sklearn.pipeline, sklearn.preprocessing, sklearn.linear_model")
        kernel.run(
            "import gc; gc.collect(); gc.freeze()"
        )  # each %reset collects; not what was just imported, ten times the work
        yield kernel


@pytest.fixture
def session(shared_kernel: Kernel, fresh: Fresh, tmp_path: Path) -> Session:
    return Session(shared_kernel, fresh, tmp_path)
