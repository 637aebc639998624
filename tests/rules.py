"""A model whose worker starts at once: it needs numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

SAMPLE = np.arange(40.0).reshape(10, 4)


@dataclass
class Scaled:
    """A rule with one number: another number is another version."""

    factor: float

    def predict(self, rows: Any) -> Any:
        return rows[:, 0] * self.factor
