"""A model that does what its rows ask for: fail, or take its time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

SAMPLE = np.arange(40.0).reshape(10, 4)
WELL = [1.0, 0.0, 0.0, 0.0]
FAIL = [-777.25, 0.0, 0.0, 0.0]
SLOW = [777.25, 0.0, 0.0, 0.0]
SECONDS = 1.2


@dataclass
class Moody:
    """Another factor is another version."""

    factor: float

    def predict(self, rows: Any) -> Any:
        if (rows[:, 0] == -777.25).any():
            raise ValueError("as asked")
        if (rows[:, 0] == 777.25).any():
            time.sleep(1.2)
        return rows[:, 0] * self.factor
