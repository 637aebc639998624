"""`Book`: what is known of one name's alerts, as the lines of its ledger add up.

A line is an object with one key, the kind of what happened; each is whole in itself, so what belongs together (a rule
fires, and three messages wait for it) happened or did not.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from nbdeploy.watch.message import Message
from nbdeploy.watch.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbdeploy.watch.alert import Alert

REMEMBERED = 1000  # ids of alerts, so that none is told twice
RECENT = 20  # alerts, for lists
WAITING = 500  # messages of a channel; of more the oldest are dropped
PATIENCE = timedelta(days=7)  # and those that waited for longer


@dataclass
class Post:
    """How one channel does. `due` is when the first of `waiting` is tried again, `fact` why it was not sent."""

    waiting: list[Message] = field(default_factory=list)
    sent: datetime | None = None
    failed: datetime | None = None
    fact: str = ""
    attempts: int = 0
    due: datetime | None = None
    dropped: int = 0  # in all
    untold: int = 0  # of these, since the last message that said so


@dataclass
class Book:
    """`rules` are those added in a notebook, as tables by name; None: a built-in one that is switched off."""

    rules: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    standings: dict[str, Standing] = field(default_factory=dict)  # by Rule.key
    posts: dict[str, Post] = field(default_factory=dict)
    recent: list[dict[str, Any]] = field(default_factory=list)  # as Alert.kept gives them
    told: OrderedDict[str, None] = field(default_factory=OrderedDict)
    looked: datetime | None = None
    labels: str = ""  # those that were there then

    def post(self, channel: str) -> Post:
        return self.posts.setdefault(channel, Post())

    def apply(self, line: Mapping[str, Any]) -> None:
        """Lines of a newer nbdeploy that this one does not know are passed over."""
        for kind, content in line.items():
            if kind in _APPLY:
                _APPLY[kind](self, content)

    # what happens, as lines

    def looking(
        self,
        time: datetime,
        standings: Mapping[str, Standing],
        alerts: Sequence[Alert],
        messages: Sequence[Message],
        labels: str = "",
    ) -> dict[str, Any]:
        return {
            "looked": {
                "time": time.isoformat(),
                "labels": labels,
                "standings": {key: standing.kept() for key, standing in standings.items()},
                "alerts": [alert.kept() | {"id": alert.id} for alert in alerts],
                "messages": [message.kept() for message in messages],
            }
        }

    def whole(self) -> dict[str, Any]:
        """All of it in one line, in place of those before."""
        posts = {
            channel: {
                "waiting": [message.kept() for message in post.waiting],
                "sent": post.sent and post.sent.isoformat(),
                "failed": post.failed and post.failed.isoformat(),
                "fact": post.fact,
                "attempts": post.attempts,
                "due": post.due and post.due.isoformat(),
                "dropped": post.dropped,
                "untold": post.untold,
            }
            for channel, post in self.posts.items()
        }
        return {
            "whole": {
                "rules": self.rules,
                "standings": {key: standing.kept() for key, standing in self.standings.items()},
                "posts": posts,
                "recent": self.recent,
                "told": list(self.told),
                "looked": self.looked and self.looked.isoformat(),
                "labels": self.labels,
            }
        }


def _looked(book: Book, content: Mapping[str, Any]) -> None:
    book.looked, book.labels = datetime.fromisoformat(content["time"]), content["labels"]
    book.standings = {key: Standing.back(raw) for key, raw in content["standings"].items()}
    _alerted(book, content)


def _alerted(book: Book, content: Mapping[str, Any]) -> None:
    """Alerts, and the messages that tell of them."""
    book.recent = [*book.recent, *content["alerts"]][-RECENT:]
    book.told.update(dict.fromkeys(alert["id"] for alert in content["alerts"]))
    while len(book.told) > REMEMBERED:
        book.told.popitem(last=False)
    for raw in content["messages"]:
        message = Message.back(raw)
        post = book.post(message.channel)
        post.untold = 0
        post.waiting.append(message)
        if len(post.waiting) > WAITING:
            _drop(post, [old.id for old in post.waiting[:-WAITING]])


def _ruled(book: Book, content: Mapping[str, Any]) -> None:
    """{"name", "table"}: added; without "table" removed, with null there switched off."""
    if "table" in content:
        book.rules[content["name"]] = content["table"]
    else:
        book.rules.pop(content["name"], None)


def _sent(book: Book, content: Mapping[str, Any]) -> None:
    post = book.post(content["channel"])
    post.waiting = [message for message in post.waiting if message.id not in content["ids"]]
    post.sent, post.fact = datetime.fromisoformat(content["time"]), ""
    post.attempts, post.due = 0, None


def _failed(book: Book, content: Mapping[str, Any]) -> None:
    post = book.post(content["channel"])
    post.failed, post.fact = datetime.fromisoformat(content["time"]), content["fact"]
    post.attempts, post.due = content["attempts"], datetime.fromisoformat(content["due"])


def _dropped(book: Book, content: Mapping[str, Any]) -> None:
    _drop(book.post(content["channel"]), content["ids"])


def _drop(post: Post, ids: Sequence[str]) -> None:
    """What a dropped message would have told of those before it is told by the next as well."""
    gone = [message for message in post.waiting if message.id in ids]
    post.waiting = [message for message in post.waiting if message.id not in ids]
    post.dropped += len(gone)
    post.untold += len(gone) + sum(message.dropped for message in gone)
    post.attempts, post.due = 0, None


def _whole(book: Book, content: Mapping[str, Any]) -> None:
    book.rules = dict(content["rules"])
    book.standings = {key: Standing.back(raw) for key, raw in content["standings"].items()}
    book.recent = list(content["recent"])
    book.told = OrderedDict.fromkeys(content["told"])
    book.looked, book.labels = _moment(content["looked"]), content["labels"]
    book.posts = {
        channel: Post(
            [Message.back(item) for item in raw["waiting"]],
            *(_moment(raw["sent"]), _moment(raw["failed"]), raw["fact"], raw["attempts"], _moment(raw["due"])),
            *(raw["dropped"], raw["untold"]),
        )
        for channel, raw in content["posts"].items()
    }


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


_APPLY: dict[str, Callable[[Book, Any], None]] = {
    "looked": _looked,
    "alerted": _alerted,
    "ruled": _ruled,
    "sent": _sent,
    "failed": _failed,
    "dropped": _dropped,
    "whole": _whole,
}
