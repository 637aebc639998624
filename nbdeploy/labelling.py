"""Late labels taken in: of a table or a file, kept beside the log they belong to, and told what became of them."""

from __future__ import annotations

import json
import math
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy import parquet
from nbdeploy.errors import Corrupt, HomeUnavailable, NotFound, UnsupportedData, WrongUse, an
from nbdeploy.judge.scores import alike
from nbdeploy.keep import store
from nbdeploy.run import secret
from nbdeploy.run.feedback import FOLDER, Feedback, unkept
from nbdeploy.run.predictions import Predictions
from nbdeploy.runtime.retention import clean
from nbdeploy.turns import turn
from nbdeploy.watch.coding import coding, listed, written
from nbdeploy.watch.forms import Forms
from nbdeploy.watch.labels import REQUEST, Keys, column_of, join, no_key, of_frame, unchanged
from nbdeploy.watch.live import Log
from nbdeploy.watch.received import Received
from nbdeploy.watch.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from nbdeploy.keep.registry import Registry
    from nbdeploy.runtime.manifest import Manifest
    from nbdeploy.watch.labels import Joined

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".parquet", ".json", ".jsonl")
MISSING = {"", "na", "n/a", "nan", "none", "null", "<na>"}  # of a text file, where they are no label of the model's


@dataclass(frozen=True)
class Labelled:
    """A service's log and its labels, in `folder`. `manifests`: of its versions, the live one first. Labels may get as
    old as predictions, `retention_days`. `tasks`: of its versions, as far as they are known.
    """

    name: str
    folder: Path
    manifests: Callable[[], Iterator[Manifest]]
    retention_days: float | None = None
    tasks: Mapping[str, Task] = field(default_factory=dict)

    @cached_property
    def all_tasks(self) -> list[Task]:
        return [*self.tasks.values()] or [Task.of(manifest) for manifest in self.manifests()]

    @property
    def classes(self) -> tuple[Any, ...]:
        """Those of any version."""
        return tuple(dict.fromkeys(label for task in self.all_tasks for label in task.classes))

    def take(self, labels: Any, on: str = REQUEST) -> Received:
        """Keep labels that came, and say what became of them; what says nothing new is not kept twice.

        Raises:
            WrongUse: they are no table of labels, or the log has no such key.
            NotFound, UnsupportedData: of a file.
            DiskFailed: none of them is kept.
        """
        table = of_frame(table_of(labels, on, [str(label) for label in self.classes]), on, self._keys())
        self._check_key(on)
        if {task.name for task in self.all_tasks} == {"regression"}:
            table = self._numbers(table, file=isinstance(labels, str | Path) and str(labels).lower().endswith(_LINES))
        self._check_classes(table)
        with self._turn():
            return self._taken(table, on)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """What two processes give at once is taken one after the other: so the second knows what the first has kept."""
        with ExitStack() as stack:
            try:
                stack.enter_context(turn(self.folder / FOLDER, lambda _: None))
            except HomeUnavailable as exc:
                raise unkept(exc.path, exc.fact) from exc
            yield

    def _taken(self, table: pd.DataFrame, on: str) -> Received:
        feedback = Feedback(self.folder / FOLDER)
        before = feedback.frame()
        log = self._passed(before, table, on)
        rows = log.kept()
        forms = self._forms(table, rows, on)
        spread = forms.spread()
        earlier, now, after = _joins(rows, before, spread)
        fresh = spread[~unchanged(before, spread, earlier, now)]
        feedback.add(fresh, after=before["time"].max().timestamp() if len(before) else 0.0)
        uncleaned = self._clean(feedback.folder)
        labelled = len(after.labelled)
        if forms.both:  # counted is what was given, not each of its forms
            own = before["on"] == on
            before = before.assign(id=before["id"].mask(own, forms.united(before["id"])))
            rows = rows.assign(**{column_of(on): forms.united(rows[column_of(on)])})
            earlier, now, after = _joins(rows, before, forms.labels)
        counts = {name: after.counts[name] - earlier.counts[name] for name in ("repeated", "corrections")}
        return Received(
            name=self.name,
            on=on,
            **{**now.counts, **counts},
            kept=fresh.index.nunique(),
            matched=len(now.labelled),
            rows=log.rows,
            labelled=labelled,
            earlier_unknown=max(after.unknown - now.unknown, 0),
            earlier_surplus=max(after.surplus - now.surplus, 0),
            warnings=(*self._warnings(now, forms.labels), *uncleaned),
        )

    def _clean(self, folder: Path) -> Iterable[str]:
        """What to say where labels that are too old cannot be removed; those that came are kept all the same."""
        try:
            clean(folder, self.retention_days, None)
        except OSError as exc:
            fact = f"These labels are kept, but what is too old in {folder} cannot be removed ({exc})"
            return [f"{fact}: see to the rights of that folder; the next labels try again."]
        return []

    def _check_key(self, on: str) -> None:
        if on == REQUEST:
            return
        if on in Predictions(self.folder / "predictions").rounded():
            raise WrongUse(
                f'The log has "{on}" rounded ("bucket"), so several rows would share a label; join by request_id, or let the '
                "settings keep or hash it from now on."
            )
        if not any(on in manifest.schema.keys for manifest in self.manifests()):
            raise no_key(on, list(self._keys()))

    def _keys(self) -> Iterator[str]:
        """Those of any version that labels can go by."""
        every = dict.fromkeys(key for manifest in self.manifests() for key in manifest.schema.keys)
        log = Predictions(self.folder / "predictions")
        lost = log.rounded() | log.dropped()
        yield from (key for key in every if key not in lost)

    def _check_classes(self, table: pd.DataFrame) -> None:
        """Labels in another coding than the model's would replace good ones: none of them is taken."""
        given = {alike(label): label for label in table["label"] if label is not None}
        known = {alike(label) for label in self.classes}
        if not given or not known or given.keys() & known:
            return
        raise WrongUse(
            f"No label is one of the classes of {self.name}: it answers {listed(self.classes)}, and these are "
            f"{listed(given.values())}. Nothing was taken: write the labels as the model does, "
            f"{coding(given.values(), self.classes)}"
        )

    def _numbers(self, table: pd.DataFrame, *, file: bool) -> pd.DataFrame:
        """Labels of a regression, which are numbers also where a file has texts."""
        wrong = [row for row, label in enumerate(table["label"]) if label is not None and not _is_number(label)]
        if wrong:
            shown = ", ".join(f"{written(table['label'][row])} in {_place(row, file)}" for row in wrong[:5])
            more = ", ..." if len(wrong) > 5 else ""
            raise WrongUse(
                f"{self.name} answers with numbers, and {_counted(wrong)} no number: {shown}{more}. Nothing was taken: "
                "write numbers, or leave empty what is not known yet."
            )
        numbers = [float(label) if isinstance(label, str) else label for label in table["label"]]
        return table.assign(label=_objects(numbers))

    def _passed(self, before: pd.DataFrame, table: pd.DataFrame, on: str) -> Log:
        """The log, read once, with all rows that have a label."""
        asked = [before, table]
        if on != REQUEST and (self.folder / secret.FILE).exists():
            asked.append(table.assign(id=_objects(self._hashes(table["id"]))))
        log = Log(_together(*asked))
        for batch in Predictions(self.folder / "predictions").batches(log.columns):
            log.add(batch)
        return log

    def _forms(self, table: pd.DataFrame, rows: pd.DataFrame, on: str) -> Forms:
        """Where the log's policy has hashed that key, the labels do not tell it either."""
        hashed = on != REQUEST and (self.folder / secret.FILE).exists()
        return Forms.of(table, rows[column_of(on)] if hashed else [], self._hashes(table["id"]) if hashed else [])

    def _hashes(self, ids: pd.Series[Any]) -> list[str | None]:
        hasher = secret.hasher(self.folder)
        return [hasher(value) for value in ids]

    def _warnings(self, joined: Joined, table: pd.DataFrame) -> Iterable[str]:
        other = list(self._strange(joined, table))
        if other:
            told = "1 label is" if len(other) == 1 else f"{len(other):,} labels are"
            own = tuple(dict.fromkeys(name for _, known in other for name in known))
            given = listed((label for label, _ in other), own)
            yield (
                f"{told} none of the model's classes ({given}); it answers {listed(own)}. "
                "They count as classes of their own, so no answer is right there."
            )
        numbers = any(isinstance(value, int | float) for value in table["id"])
        if joined.unknown and (zeros := self._with_zeros(table)):
            yield f'"{zeros}" is in the log, with zeros in front: read the key as text, dtype={{"...": str}}.'
        elif joined.unknown and numbers and not len(joined.labelled):
            yield 'The ids are numbers here, and texts in the log: read that column as text, dtype={"...": str}.'

    def _with_zeros(self, table: pd.DataFrame) -> str | None:
        """A key of the log that one of the ids is without its zeros in front."""
        on = str(table["on"].iloc[0])
        if on == REQUEST:
            return None
        given = set(Keys.of(table["id"]).texts)
        for batch in Predictions(self.folder / "predictions").batches([REQUEST, column_of(on)]):
            for text in Keys.of(batch[column_of(on)]).texts if column_of(on) in batch.columns else ():
                if isinstance(text, str) and text[:1] == "0" and text not in given and text.lstrip("0") in given:
                    return str(text)
        return None

    def _strange(self, joined: Joined, table: pd.DataFrame) -> Iterator[tuple[Any, tuple[Any, ...]]]:
        """Labels that none of the versions knows that answered their rows, and what those know; any version of a label
        that is for no row.
        """
        asked: dict[int, tuple[Any, ...]] = {}
        for place, version in zip(joined.places.tolist(), joined.frame["version"].tolist(), strict=True):
            if place >= 0 and version in self.tasks:
                asked[place] = tuple(dict.fromkeys((*asked.get(place, ()), *self.tasks[version].classes)))
        every = self.classes
        read = {known: {alike(name) for name in known} for known in {every, *asked.values()}}
        for place, label in enumerate(table["label"]):
            known = asked.get(place, every)
            if label is not None and known and alike(label) not in read[known]:
                yield label, known


def tasks_of(registry: Registry, name: str) -> dict[str, Task]:
    """By version; those that cannot be read are passed over."""
    found = {}
    for version in registry.versions(name):
        with suppress(Corrupt):
            found[version.version] = Task.of(store.manifest_of(version))
    return found


def manifests_of(registry: Registry, name: str) -> Iterator[Manifest]:
    """Of every version, the live one first; those that cannot be read are passed over."""
    live = registry.live(name)
    others = [version for version in registry.versions(name) if live is None or version.version != live.version]
    for version in (*((live,) if live is not None else ()), *others):
        with suppress(Corrupt):
            yield store.manifest_of(version)


def _joins(rows: pd.DataFrame, before: pd.DataFrame, labels: pd.DataFrame) -> tuple[Joined, Joined, Joined]:
    """Of the labels that came before, of these, and of both."""
    return join(rows, before), join(rows, labels), join(rows, _together(before, labels))


def _together(*parts: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([part for part in parts if len(part)] or [parts[-1]], ignore_index=True)


# what the user gave


def table_of(labels: Any, on: str, classes: Iterable[str] = ()) -> pd.DataFrame:
    """A frame of pandas or polars, a Series by id, records, or the path of a file, as a frame.

    Raises:
        WrongUse, NotFound, UnsupportedData.
    """
    import pandas as pd

    if isinstance(labels, str | Path):
        return _read(Path(labels), on, set(classes))
    if isinstance(labels, pd.Series):
        labels = labels.rename("label").to_frame()
    if isinstance(labels, pd.DataFrame):
        return labels.reset_index() if on in labels.index.names and on not in labels.columns else labels
    if hasattr(labels, "get_columns") and hasattr(labels, "to_dict"):  # polars
        return pd.DataFrame(labels.to_dict(as_series=False), dtype=object)  # long ids stay exact beside a null
    if isinstance(labels, dict) or (isinstance(labels, list) and all(isinstance(item, dict) for item in labels)):
        try:
            return pd.DataFrame(labels, dtype=object)
        except ValueError as exc:
            raise WrongUse(f"These labels are no table ({exc}); {_WANTED.format(on)}.") from exc
    raise WrongUse(f"{an(type(labels).__name__, capital=True)} is no table of labels; {_WANTED.format(on)}.")


_WANTED = 'give a frame with the columns "{}" and "label", or the path of a CSV, Parquet or JSON lines file'


def _read(path: Path, on: str, classes: set[str]) -> pd.DataFrame:
    name = path.name.lower()
    if not path.is_file():
        raise NotFound("file of labels", str(path))
    if not name.endswith(SUFFIXES):
        raise UnsupportedData(str(path), "is no table this reads", f"give a file ending in {', '.join(SUFFIXES)}")
    if name.endswith(".parquet"):
        found: pd.DataFrame = parquet.frame(path, exact=True)
        return found
    try:
        return _typed(path, name, on, classes)
    except (ValueError, UnicodeDecodeError, OSError) as exc:  # pandas' parser errors are ValueErrors
        raise UnsupportedData(str(path), f"cannot be read ({exc})", "mend the file") from exc


def _typed(path: Path, name: str, on: str, classes: set[str]) -> pd.DataFrame:
    """Of a CSV file all texts: which label a text is, is known where it is compared, and 007 stays what it is."""
    import pandas as pd

    if name.endswith((".json", ".jsonl")):
        text = path.read_text(encoding="utf-8")
        found = (
            [json.loads(line) for line in text.splitlines() if line.strip()] if name.endswith("l") else json.loads(text)
        )
        return table_of(found, on)
    separator = "\t" if name.endswith(".tsv") else ","
    frame = pd.read_csv(
        path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True
    )
    _check_separator(path, list(frame.columns), separator)
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes what has no name for an index
        names = ", ".join(map(str, frame.columns))
        raise UnsupportedData(
            str(path),
            f"has lines with more cells than its first line names ({names})",
            "name them all, or none too many",
        )
    for column in frame.columns:
        frame[column] = _objects(
            [None if text.lower() in MISSING and text not in classes else text for text in frame[column].fillna("")]
        )
    if "row" in frame.columns:
        frame["row"] = pd.to_numeric(frame["row"])
    return frame


def _check_separator(path: Path, names: Sequence[str], expected: str) -> None:
    """One column whose name has another separator in it is a whole line."""
    found = next((other for other in _SEPARATORS if other != expected and len(names) == 1 and other in names[0]), None)
    if found is not None:
        told = f"is separated by {_SEPARATORS[found]}, expected {_SEPARATORS[expected]}"
        raise UnsupportedData(str(path), told, f'read it yourself: pd.read_csv("{path}", sep={found!r}, dtype=str)')


_SEPARATORS = {";": ";", "\t": "tab", "|": "|", ",": ","}


def _objects(values: Iterable[Any]) -> pd.Series[Any]:
    import pandas as pd

    return pd.Series(list(values), dtype=object)


def _is_number(label: Any) -> bool:
    if isinstance(label, bool):
        return False
    try:
        return math.isfinite(float(label))
    except (TypeError, ValueError, OverflowError):
        return False


_LINES = (".csv", ".csv.gz", ".tsv")  # where a row is a line, below one of names


def _place(row: int, file: bool) -> str:
    return f"line {row + 2}" if file else f"row {row} (from 0)"


def _counted(rows: list[int]) -> str:
    return "1 label is" if len(rows) == 1 else f"{len(rows)} labels are"
