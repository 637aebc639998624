"""The outbox: what waits for each channel goes out, in order, once; what fails is tried again, later and later.

A message leaves the queue when the other side has taken it. Should this process be killed between the two, it is sent once
more, with the same id: that is as often as an unreliable line allows, and a receiver knows it by its id.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nbdeploy.errors import DeliveryFailed, NbdeployError, an
from nbdeploy.watch.book import PATIENCE
from nbdeploy.watch.channels import NOTEBOOK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbdeploy.watch.book import Post
    from nbdeploy.watch.channels import Channel
    from nbdeploy.watch.ledger import Ledger
    from nbdeploy.watch.message import Message

FIRST, LONGEST = 5.0, 900.0  # seconds until a second try; between two
FARTHEST = timedelta(hours=2)  # beyond what the other side may ask for


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Outbox:
    """Of one name. Only one process may deliver at a time: the one that holds the watcher's lock.

    `taken`: messages the other side has, and the ledger could not take note of; they are not sent again.
    """

    ledger: Ledger
    channels: Mapping[str, Channel]
    clock: Callable[[], datetime] = now
    draw: Callable[[], float] = field(default=random.random)  # from 0 to 1
    taken: set[str] = field(default_factory=set, repr=False)

    def deliver(self) -> list[str]:
        """Everything that is due; a line for each thing that became of it, but for a failure that goes on."""
        said = []
        for name, post in self.ledger.read().posts.items():
            if name == NOTEBOOK or not post.waiting:
                continue
            if name not in self.channels:
                said.append(self._drop(name, post.waiting, "there is no such channel any more"))
                continue
            old = [message for message in post.waiting if self.clock() - message.queued > PATIENCE]
            said += [self._drop(name, old, f"it waited for more than {PATIENCE.days} days")] if old else []
            said += self._empty(name, [message for message in post.waiting if message not in old], post)
        return said

    def due(self) -> datetime | None:
        """When there is something to deliver next."""
        waiting = [post for name, post in self.ledger.read().posts.items() if post.waiting and name != NOTEBOOK]
        return min((self._due(post) or self.clock() for post in waiting), default=None)

    def _due(self, post: Post) -> datetime | None:
        """None where it is due now, also where the clock was set back meanwhile: nobody waits for so long."""
        if post.due is None or not timedelta(0) < post.due - self.clock() <= FARTHEST:
            return None
        return post.due

    def _empty(self, name: str, waiting: list[Message], post: Post) -> list[str]:
        """In order: nothing overtakes a message that failed."""
        if self._due(post) is not None:
            return []
        attempts, said = post.attempts, list[str]()
        for message in waiting:
            try:
                self._send(name, message)
            except Exception as exc:  # noqa: BLE001  # whatever a sender raises: the channels after it have their turn
                line = self._failed(name, exc, attempts + 1)
                return [*said, line] if attempts == 0 or post.fact != _fact(exc) else said
            self._sent(name, message)
            said.append(f"sent to {name}: {message.title}")
            attempts = 0
        return said

    def _send(self, name: str, message: Message) -> None:
        if message.id not in self.taken:
            self.channels[name].send(message)
            self.taken.add(message.id)

    def _sent(self, name: str, message: Message) -> None:
        with self.ledger.turn() as page:
            page.add({"sent": {"channel": name, "ids": [message.id], "time": self.clock().isoformat()}})
        self.taken.discard(message.id)

    def _failed(self, name: str, error: Exception, attempts: int) -> str:
        wait = self._wait(attempts, getattr(error, "after", None))
        fact = _fact(error)
        due = self.clock() + timedelta(seconds=wait)
        line = {"channel": name, "time": self.clock().isoformat(), "fact": fact}
        with self.ledger.turn() as page:
            page.add({"failed": line | {"attempts": attempts, "due": due.isoformat()}})
        return f"{name} failed: {fact}; tried again in {wait:.0f} s"

    def _wait(self, attempts: int, asked: float | None) -> float:
        """Twice as long each time, and between half and all of that, so that many do not come back at once."""
        longest = min(FIRST * 2.0 ** min(attempts - 1, 20), LONGEST)
        return max(longest * (0.5 + self.draw() / 2), asked or 0.0)

    def _drop(self, name: str, messages: list[Message], why: str) -> str:
        with self.ledger.turn() as page:
            page.add({"dropped": {"channel": name, "ids": [message.id for message in messages]}})
        return f"{len(messages)} message{'s' if len(messages) > 1 else ''} to {name} dropped: {why}"


def _fact(error: Exception) -> str:
    """What no one has masked may hold the address: of that only the kind is told."""
    if isinstance(error, DeliveryFailed):
        return error.fact
    return str(error) if isinstance(error, NbdeployError) else f"its sender stopped with {an(type(error).__name__)}"
