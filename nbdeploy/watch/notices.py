"""What waits for a notebook: shown by the next `%deploy` of any kernel, once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nbdeploy.errors import NbdeployError
from nbdeploy.watch.alerts import Noticed
from nbdeploy.watch.channels import NOTEBOOK
from nbdeploy.watch.ledger import FILE, FOLDER, Ledger

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

    from nbdeploy.watch.message import Message

    Seen = MutableMapping[Path, tuple[int, int]]


def notices(services: Path, seen: Seen) -> Noticed | None:
    """Of every service in the folder. `seen` remembers, by ledger, how it was when nothing of it was left to show."""
    found: list[Message] = []
    problems: list[str] = []
    for path in sorted(services.glob(f"*/{FOLDER}/{FILE}")):
        try:
            if seen.get(path) != _state(path):
                found += _taken(Ledger(path.parent))
                seen[path] = _state(path)
        except FileNotFoundError:
            continue  # the service was removed meanwhile
        except (NbdeployError, OSError) as exc:  # the line that was typed is carried out all the same
            problems.append(str(exc))
    alerts = tuple(alert for message in found for alert in message.alerts)
    return Noticed(alerts, tuple(problems)) if alerts or problems else None


def _taken(ledger: Ledger) -> list[Message]:
    """Of two kernels that look at the same time, one has them."""
    if not ledger.read().post(NOTEBOOK).waiting:
        return []
    with ledger.turn() as page:
        waiting = page.book.post(NOTEBOOK).waiting
        if waiting:
            ids = [message.id for message in waiting]
            page.add({"sent": {"channel": NOTEBOOK, "ids": ids, "time": datetime.now(UTC).isoformat()}})
    return waiting


def _state(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size
