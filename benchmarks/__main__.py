"""`python -m benchmarks` is `python -m benchmarks.serving`."""

from __future__ import annotations

import sys

from benchmarks.serving import main

sys.exit(main())
