"""A watcher as a process of its own, over windows of a second whose values follow the clock: to be killed.

python watching.py FOLDER URL
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from watched import Given

from nbdeploy.watch import look, outbox
from nbdeploy.watch.channels import channels_of
from nbdeploy.watch.ledger import Ledger
from nbdeploy.watch.outbox import Outbox
from nbdeploy.watch.plan import Plan
from nbdeploy.watch.watcher import Watcher, until_told

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbdeploy.watch.computable import NotComputable

RULE = {"when": "error_rate>0.05", "every": "1s", "repeat": "1s"}


def plan(url: str) -> Plan:
    rules = {"errors": RULE}
    return Plan.of(
        {"defaults": False, "rules": rules, "channels": {"ops": url}, "send": ["ops"], "allow": ["127.0.0.1"]}
    )


def values(began: datetime) -> Mapping[str, float | NotComputable]:
    """One second in two is bad."""
    return {"requests": 100.0, "error_rate": 0.1 * (int(began.timestamp()) % 2)}


def main(folder: Path, url: str) -> None:
    look.SETTLED = timedelta(0)
    outbox.FIRST = outbox.LONGEST = 0.1
    asked = plan(url)
    ledger = Ledger(folder)
    outgoing = Outbox(ledger, channels_of(asked.addresses, asked.reach, folder))
    watcher = Watcher(
        "penguins",
        asked,
        ledger,
        Given(values),
        outgoing,
        gone=lambda: False,
        say=lambda text: print(text, flush=True),
        interval=0.1,
    )
    with until_told() as ending:
        watcher.run(ending)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
