"""`python -m benchmarks`: serving beside its peers, then what we promise about time."""

from __future__ import annotations

import sys

from benchmarks import figures, serving

sys.exit(max(serving.main(), figures.main()))
