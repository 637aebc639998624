"""`Message`: what goes to one channel at once. The alerts of one look are one message, so a storm is one as well."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nbdeploy.runtime.clock import stamp
from nbdeploy.watch.alert import Alert

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1  # of the JSON body: raise it when a key goes or means something else; new keys need no new number
MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class Message:
    """`dropped`: messages to this channel before it that were never sent, because too many waited, or for too long."""

    name: str
    channel: str
    queued: datetime
    alerts: tuple[Alert, ...]
    dropped: int = 0
    test: bool = False

    @property
    def id(self) -> str:
        """The same however often it is sent: a receiver that has seen it has seen it."""
        parts = [self.channel, *(alert.id for alert in self.alerts), *([self.queued.isoformat()] if self.test else [])]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]

    @property
    def title(self) -> str:
        if self.test:
            return f"nbdeploy: a test from {self.name}"
        firing = [alert.rule for alert in self.alerts if alert.state == "firing"]
        over = len(self.alerts) - len(firing)
        told = [_counted(firing, "fires", "fire"), f"{over} over" if over and firing else "all over" if over else ""]
        return f"nbdeploy: {self.name}: {', '.join(filter(None, told))}"

    @property
    def text(self) -> str:
        if self.test:
            return f"{self.name}: this is a test of the channel {self.channel}; nothing is wrong"
        lines = [alert.text for alert in self.alerts[:MOST_LINES]]
        more = len(self.alerts) - len(lines)
        lines += [f"and {more} more"] if more else []
        lines += [f"messages never sent before this one: {self.dropped}"] if self.dropped else []
        return "\n".join(lines)

    def body(self) -> dict[str, Any]:
        """What a webhook is sent."""
        return {
            "format": FORMAT,
            "id": self.id,
            "name": self.name,
            "queued": stamp(self.queued),
            "test": self.test,
            "text": self.text,
            "alerts": [alert.to_dict() for alert in self.alerts],
            "dropped": self.dropped,
        }

    def kept(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "channel": self.channel,
            "queued": self.queued.isoformat(),
            "alerts": [alert.kept() for alert in self.alerts],
            "dropped": self.dropped,
        }

    @classmethod
    def back(cls, raw: Mapping[str, Any]) -> Message:
        """Of what `kept` gave."""
        alerts = tuple(Alert.back(item) for item in raw["alerts"])
        return cls(raw["name"], raw["channel"], datetime.fromisoformat(raw["queued"]), alerts, raw["dropped"])


def _counted(rules: list[str], one: str, many: str) -> str:
    if not rules:
        return ""
    return f"{rules[0]} {one}" if len(rules) == 1 else f"{len(rules)} rules {many}"
