"""The prediction log, read: also while it is written, and past what is damaged."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nbdeploy import parquet
from nbdeploy.errors import WrongUse
from nbdeploy.homes import refuse_file, writing
from nbdeploy.render import Card, Shown
from nbdeploy.run import copies, onetable, secret
from nbdeploy.run.copies import copy_of
from nbdeploy.run.glance import Glance
from nbdeploy.run.piece import SHOWN, SIZE, Bounds, Piece, heads, micros, ordered, piece
from nbdeploy.run.segments import REQUEST, Lines, growing
from nbdeploy.runtime.policy import WORDS
from nbdeploy.runtime.records import SUFFIX
from nbdeploy.runtime.segments import NoFile, worker_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd


@dataclass(frozen=True, slots=True)
class Record:
    """One request. `rows`, `predictions` and `keys` are empty where it was refused; then `code` says why.

    `refused` names the columns it was refused for. They are empty as well where the log's policy keeps no rows of it: then `count` is how many it had, and it was answered
    (200). `worker` is the process that answered. `changed`: what the policy made of columns of these rows; keys are not
    among them.
    """

    time: datetime
    request_id: str
    version: str
    schema: str
    method: str
    status: int
    milliseconds: float
    rows: list[Any] = field(default_factory=list)
    predictions: list[Any] = field(default_factory=list)
    keys: list[Any] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    code: str | None = None
    count: int = 0
    worker: int = 0
    changed: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def asked(self) -> int:
        """How many rows it had; of a refused one nobody knows."""
        return len(self.rows) or self.count


class Predictions(Shown):
    """The log in a service's `predictions` folder. `torn` and `damaged` count what the last reading passed over.

    `within` is a view of it: requests from `since` on, before `until`; either may be None.
    """

    def __init__(self, folder: Path, since: datetime | None = None, until: datetime | None = None) -> None:
        self.folder = folder
        self.since = since
        self.until = until
        self.torn = 0
        self.damaged = 0

    def within(self, since: datetime | None = None, until: datetime | None = None) -> Predictions:
        """Of this view, what was asked from `since` on and before `until`."""
        lows = [item for item in (self.since, since) if item is not None]
        highs = [item for item in (self.until, until) if item is not None]
        return Predictions(self.folder, max(lows, default=None), min(highs, default=None))

    def __iter__(self) -> Iterator[Record]:
        """In the order they were written by each process; those of several workers one after the other."""
        self.torn = self.damaged = 0
        for path in self.segments():
            lines = Lines(path)
            worker = worker_of(path)
            yield from filter(self._inside, (_record(raw, worker, lines.policy) for raw in lines))
            self._pass_over(lines)

    def __repr__(self) -> str:
        return f"<Predictions in {self.folder}; .frame() is a table of them>"

    def card(self) -> Card:
        return Glance.of(self).card()

    def to_dict(self) -> dict[str, Any]:
        """Counts, policies and the last rows."""
        return Glance.of(self).to_dict()

    def frame(self) -> pd.DataFrame:
        """A line for each row that was answered, by time: the request, its keys, its input, its prediction.

        Input columns are named `input.NAME`, keys `key.NAME`; a probability or the like of several numbers stays one
        object. Requests that were refused, and those whose rows were not kept, have a line without input.
        """
        return _by_time([*self.parts()], SHOWN)

    def requests(self) -> pd.DataFrame:
        """A line for each request, by time, without what was asked and answered: cheap where `frame` is not."""
        return _by_time([*self.parts(REQUEST, requests=True)], REQUEST)

    def pieces(self) -> Iterator[Piece]:
        """Its segments that lie in this view, one open at a time."""
        self.torn = self.damaged = 0
        segments = self.segments()
        copies.make(segments)
        with parquet.reading(threads=1) as reader:  # half the work: several would put what they read in order again
            for path in segments:
                with piece(reader, path, self._bounds) as one:
                    if one is not None:
                        yield one
                        self._pass_over(one)

    def parts(self, columns: Sequence[str] | None = None, *, requests: bool = False) -> Iterator[pd.DataFrame]:
        """Of each segment its lines, or with `requests` one of each request; of `columns` those it has, and `rows`."""
        for one in self.pieces():
            yield one.frame(columns, requests=requests)

    def tail(self, count: int) -> pd.DataFrame:
        """The last lines of `frame`, read from the end."""
        found = _by_time([], SHOWN)
        with parquet.reading() as reader:
            for path in reversed(self.segments()):
                since = found["time"].min() if len(found) >= count else None
                with piece(reader, path, self.within(since)._bounds) as one:  # noqa: SLF001 - a view of this one
                    frame = None if one is None else one.frame(last=count)
                if frame is not None and len(frame):
                    found = _by_time([frame, found] if len(found) else [frame], SHOWN).tail(count)
        return found.reset_index(drop=True)

    def empty(self) -> bool:
        """Whether this view has no request; read as far as the first one."""
        with parquet.reading() as reader:
            for path in self.segments():
                with piece(reader, path, self._bounds) as one:
                    if one is not None and len(one.frame([SHOWN[0]], last=1)):
                        return False
        return True

    def batches(
        self, columns: Sequence[str] | None = None, size: int = SIZE, *, categories: bool = False
    ) -> Iterator[pd.DataFrame]:
        """`frame` in parts of at most `size` lines, in the order of the segments; only `columns` where they are named.

        A column that a part has no values of is null in it. Rows that are lists of numbers may be arrays of them here.
        With `categories` texts of few different values may be categorical, each part with its own.
        """
        for one in self.pieces():
            yield from one.batches(columns, size, categories=categories)

    def write_parquet(self, folder: Path) -> list[Path]:
        """A file for each segment that has requests in this view, in `frame`'s columns, all of the same types; the files."""
        refuse_file(folder)
        with writing(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        written: dict[Path, set[str]] = {}
        kinds = onetable.kinds_of(self._heads())
        with parquet.reading() as reader:
            for path in self.segments():
                with piece(reader, path, self._bounds) as one:
                    frame = None if one is None else one.frame()
                if frame is not None and len(frame):
                    target = folder / f"{path.stem}.parquet"
                    written[target] = reader.save(onetable.typed(_by_time([frame], SHOWN), kinds), target)
            onetable.unify(reader, written)
        return list(written)

    def policy(self, schema: str) -> Mapping[str, str]:
        """`hash`, `bucket` or `drop` by column, of rows logged with this schema in this view; kept columns are not named.

        Where the policy was changed meanwhile, the one that keeps the least.
        """
        return self.policies().get(schema, {})

    def policies(self) -> Mapping[str, Mapping[str, str]]:
        """The same by schema."""
        found: dict[str, dict[str, str]] = {}
        for head in self._heads():
            words = found.setdefault(head["schema"], {})
            for name, word in (head["policy"] | head.get("keys_policy", {})).items():
                words[name] = max(word, words.get(name, "keep"), key=WORDS.index)
        return found

    def rounded(self) -> frozenset[str]:
        """Keys of this view that stand for several, so that labels cannot be joined by them."""
        return self._keys_under("bucket")

    def dropped(self) -> frozenset[str]:
        """Keys of which this view has nothing, at least for a time."""
        return self._keys_under("drop")

    def hashed(self, value: object) -> str | None:
        """What a value has become in a column that is hashed: to look for it, or to join by it.

        Raises:
            WrongUse: nothing was hashed here.
            ServiceFailed: the secret is gone, or damaged.
        """
        if not (self.folder.parent / secret.FILE).exists() and not self._any_hashed():
            raise WrongUse(
                f"Nothing of {self.folder.parent.name} was hashed so far, so there are no hashes to look for. Ask for them with "
                'columns = {COLUMN = "hash"} under [log] of nbdeploy.toml (or [tool.nbdeploy.log]), for what is logged '
                "after the next deploy or serve."
            )
        return secret.hasher(self.folder.parent)(value)

    def segments(self) -> list[Path]:
        """Its files, by when they were begun."""
        return sorted(self.folder.glob(f"*{SUFFIX}"))

    def size(self, *, unread: bool = False) -> int:
        """Bytes of its segments; with `unread` of closed ones that nobody made a copy of yet, which takes a while."""
        found = 0
        for path in self.segments():
            with suppress(FileNotFoundError, NoFile):  # retention took it meanwhile, or it is no segment
                found += 0 if unread and (copy_of(path).exists() or growing(path)) else path.lstat().st_size
        return found

    @property
    def _bounds(self) -> Bounds:
        return Bounds.of(self.since, self.until)

    def _pass_over(self, read: Lines | Piece) -> None:
        self.torn += read.torn
        self.damaged += read.damaged

    def _any_hashed(self) -> bool:
        """In the whole log, not in this view alone."""
        return any("hash" in words.values() for words in Predictions(self.folder).policies().values())

    def _keys_under(self, asked: str) -> frozenset[str]:
        heads = (head.get("keys_policy", {}).items() for head in self._heads())
        return frozenset(name for words in heads for name, word in words if word == asked)

    def _heads(self) -> Iterator[Mapping[str, Any]]:
        """Of segments that have requests in this view, as far as that is known without reading a growing one."""
        with parquet.reading() as reader:
            for path in self.segments():
                yield from heads(reader, path, self._bounds)

    def _inside(self, record: Record) -> bool:
        return self._bounds.hold(micros(record.time))


_FIELDS = {item.name for item in fields(Record)} - {"worker", "changed"}


def _record(raw: Mapping[str, Any], worker: int, policy: Mapping[str, str]) -> Record:
    known = {name: raw[name] for name in _FIELDS & raw.keys()}
    return Record(**{**known, "time": datetime.fromtimestamp(raw["time"], UTC)}, worker=worker, changed=policy)


def _by_time(frames: list[pd.DataFrame], fixed: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    if not frames:
        return pd.DataFrame(columns=list(fixed))
    frame = parquet.joined(frames)
    if "input" in frame:
        lists = [row.tolist() if hasattr(row, "tolist") else row for row in frame["input"]]
        frame = frame.assign(input=pd.Series(lists, index=frame.index, dtype=object))
    return ordered(frame, fixed).sort_values("time", kind="stable", ignore_index=True)
