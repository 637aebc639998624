"""Labels that come late: joined to the rows they belong to, and counted.

They are joined by the request's id and the row's place in it, or by a business key that was logged with the rows. The
label that came last counts. A label may be missing (not known yet); it changes nothing then.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdeploy.errors import WrongUse, did_you_mean
from nbdeploy.judge.scores import alike
from nbdeploy.runtime.columns import values_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

REQUEST = "request_id"
FURTHEST = 2**53  # beyond it floats are no exact places, and no request is that long
ANSWERS = ("predict", "predict_proba")  # methods whose answers a label can be held against
COLUMNS = ("on", "id", "row", "label")
# of a table of labels, in the order they came; `on` is request_id or a key's name; row None: the only row, or any by a key


@dataclass(frozen=True)
class Joined:
    """`frame`: the answered rows of the log with a column `label`, None where there is none yet; the rest are counts.

    given: labels that came. empty: without a value. repeated: the same as before. corrections: another than before.
    unknown: no such row in the log. Of requests without rows in the log: unkept where its policy kept none, refused (or
    failed), rowless where there were none, unjudged where another method answered. surplus: more labels than the request
    had rows. unplaced: one label without a row for a request of several. shared: rows that have their key, and so their
    label, in common with another.
    """

    frame: pd.DataFrame
    places: NDArray[np.intp]  # of each row's label in the table of labels, -1 for none
    given: int = 0
    empty: int = 0
    repeated: int = 0
    corrections: int = 0
    unknown: int = 0
    unkept: int = 0
    refused: int = 0
    rowless: int = 0
    unjudged: int = 0
    surplus: int = 0
    unplaced: int = 0
    shared: int = 0

    @property
    def labelled(self) -> pd.DataFrame:
        return self.frame[self.frame["label"].notna()]

    @property
    def rest(self) -> pd.DataFrame:
        return self.frame[self.frame["label"].isna()]

    @property
    def coverage(self) -> float:
        return len(self.labelled) / len(self.frame) if len(self.frame) else 0.0

    @property
    def counts(self) -> dict[str, int]:
        return {name: value for name, value in vars(self).items() if isinstance(value, int)}

    def to_dict(self) -> dict[str, Any]:
        return {"rows": len(self.frame), "labelled": len(self.labelled), "coverage": self.coverage, **self.counts}


def of_frame(frame: pd.DataFrame, on: str = REQUEST, keys: Iterable[str] = ()) -> pd.DataFrame:
    """Labels of a table: the column `on`, one of labels, and maybe `row`, the place in the request. As JSON has them.

    `keys` of the log are told where the table has no `on`.

    Raises:
        WrongUse: a column is missing, it is not clear which one holds the labels, or they are no single values.
    """
    import pandas as pd

    names = [str(name) for name in frame.columns]
    others = [name for name in names if name not in {on, "row"}]
    label = "label" if "label" in others else others[0] if len(others) == 1 else None
    if on not in names or label is None or len(set(names)) < len(names):
        raise WrongUse(_columns_wanted(on, names, keys))
    named = frame.set_axis(names, axis=1)
    columns = {
        "on": [on] * len(frame),
        "id": _values(named[on], on),
        "row": _places(named["row"]) if "row" in names else [None] * len(frame),
        "label": _values(named[label], label),
    }
    return pd.DataFrame(columns, dtype=object)


def _columns_wanted(on: str, names: Sequence[str], keys: Iterable[str]) -> str:
    told = f'Labels need a column "{on}" and one called "label"; this table has {", ".join(names) or "no columns"}.'
    if on in names:
        return f'{told} Name the one that holds them: labels.rename(columns={{"...": "label"}})'
    logged = [key for key in keys if key != on]
    there = [key for key in logged if key in names and key != "label"]
    if near := did_you_mean(on, there or _like(on, names)):
        return told + near
    if there:
        return f"{told} The log has a key {there[0]}: feedback NAME labels --on {there[0]}."
    return f"{told} A key of the log will do as well, with --on: {', '.join(logged)}." if logged else told


def _like(on: str, names: Sequence[str]) -> list[str]:
    """Columns that are `on` written longer or shorter; none where any of them may be the one of labels."""
    own = on.lower()
    others = [name for name in names if name != "label"] if "label" in names else []
    return [name for name in others if name.lower() in own or own in name.lower()]


def _values(column: pd.Series[Any], name: str) -> list[Any]:
    """JSON values; moments as the log has them, and whole numbers exact also beside a missing one."""
    inferred = column.infer_objects()
    rounded = inferred.dtype.kind == "f" and column.dtype == object and column.map(_is_long).any()
    try:
        found = values_of((column if rounded else inferred).reset_index(drop=True))
    except TypeError as exc:
        raise WrongUse(f'The column "{name}" holds what is no label: {exc}; give numbers, texts or booleans.') from exc
    if any(isinstance(value, list | dict) for value in found):
        raise WrongUse(f'The column "{name}" holds lists; give one value a row.')
    return [None if value == "NaN" and column.dtype.kind == "f" else value for value in found]


def _is_long(value: Any) -> bool:
    return isinstance(value, int) and abs(value) > FURTHEST


def _places(column: pd.Series[Any]) -> list[int | None]:
    found = _values(column, "row")
    if not all(value is None or (_whole(value) and value >= 0) for value in found):
        raise WrongUse(
            'The column "row" holds places in a request, counted from 0; leave it out where there is one row each.'
        )
    for line, value in enumerate(found):
        if value is not None and value > FURTHEST:
            raise WrongUse(f'The column "row" holds {value}, which is no place in a request: row {line} (from 0).')
    return [None if value is None else int(value) for value in found]


def _whole(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())


def join(predictions: pd.DataFrame, labels: pd.DataFrame, on: str = REQUEST) -> Joined:
    """`predictions` as `predictions().frame()` has them; `labels` of `of_frame` or `Feedback.frame`.

    Labels without a column `on` go by `on`. A label by a key and one by the request are the same row's: the later counts.

    Raises:
        WrongUse: the log has no such key.
    """
    import pandas as pd

    table = labels if "on" in labels.columns else labels.assign(on=on)
    table = table.reset_index(drop=True)
    answered = predictions[predictions["row"].notna()].reset_index(drop=True)
    bare = _bare(predictions)
    newest = np.full(len(answered), -1, dtype=np.intp)
    counts: Counter[str] = Counter()
    for way, part in table.groupby("on", sort=False):
        ids = logged_keys(predictions, answered, str(way))
        found, told = _found(part, ids, answered["row"], bare if way == REQUEST else None)
        newest = np.maximum(newest, found)
        counts += told
    values = [*table["label"].tolist(), None]  # -1 is the last of them
    said = pd.Series([values[place] for place in newest.tolist()], dtype=object)
    return Joined(answered.assign(label=said), newest, **counts)


def logged_keys(predictions: pd.DataFrame, answered: pd.DataFrame, on: str) -> Keys:
    """What the rows of the log go by. Raises WrongUse where the log has no such key."""
    column = column_of(on)
    if column not in predictions.columns and len(predictions):
        logged = [name.removeprefix("key.") for name in predictions.columns if name.startswith("key.")]
        raise no_key(on, logged)
    return Keys.of(answered[column] if column in answered.columns else [])


def column_of(on: str) -> str:
    return REQUEST if on == REQUEST else f"key.{on}"


def no_key(on: str, logged: Sequence[str]) -> WrongUse:
    known = ", ".join([REQUEST, *logged])
    return WrongUse(f'The log has no key "{on}" to join labels by; it has {known}. `--keys {on}` at deploy keeps one.')


@dataclass(frozen=True)
class Keys:
    """Keys as texts. `numbers` marks those that were numbers: there 7, 7.0, "7.0" and "007" of a file are one."""

    texts: NDArray[Any]
    numbers: NDArray[np.bool_]

    @classmethod
    def of(cls, values: Any) -> Keys:
        import pandas as pd

        column = pd.Series(values, dtype=object)
        if pd.api.types.infer_dtype(column, skipna=False) in {"string", "empty"}:
            return cls(column.to_numpy(), np.zeros(len(column), dtype=bool))
        numbers = column.map(lambda value: isinstance(value, int | float) and value == value)  # noqa: PLR0124  # NaN
        return cls(column.map(_text).to_numpy(dtype=object), numbers.to_numpy(dtype=bool))

    def __len__(self) -> int:
        return len(self.texts)

    def known(self, ids: Iterable[str | None]) -> dict[str, str]:
        """The key that each of `ids` is here; those that are none are left out."""
        own, numbers = set(self.texts), set(self.texts[self.numbers])
        found = {name: name if name in own else number_of(name) for name in set(ids) if name is not None}
        return {name: key for name, key in found.items() if key is not None and (key in numbers or key == name in own)}


def _found(
    labels: pd.DataFrame, keys: Keys, rows: pd.Series[Any], bare: Mapping[str, str] | None
) -> tuple[NDArray[np.intp], Counter[str]]:
    """For each row of the log the place of its label in the whole table, -1 for none; and the counts. `bare` says why
    requests have no rows; None by a key.
    """
    import pandas as pd

    by_row = bare is not None
    valued = labels[labels["label"].notna()]
    ids = pd.Series(Keys.of(valued["id"]).texts, index=valued.index, dtype=object)
    known = keys.known(ids)
    table = pd.DataFrame({"id": ids.map(lambda name: known.get(name, name)), "row": valued["row"]}, dtype=object)
    nameless = int(ids.isna().sum())
    table = table[table["id"].notna()]
    counts = Counter(given=len(labels), empty=len(labels) - len(valued))
    if by_row:
        texts = pd.Series(keys.texts, dtype=object)  # of pandas' own texts each would be looked up one by one
        several = set(texts[texts.duplicated()])
        loose = table["row"].isna() & table["id"].isin(several)
        counts["unplaced"] = int(loose.sum())
        table = table[~loose]
    table["row"] = table["row"].fillna(0).astype(int) if by_row else 0
    last = table.drop_duplicates(["id", "row"], keep="last")
    index = pd.MultiIndex.from_arrays([last["id"], last["row"]])
    wanted = pd.MultiIndex.from_arrays([keys.texts, rows.astype(int) if by_row else np.zeros(len(keys), dtype=int)])
    places = index.get_indexer(wanted)
    hits = places >= 0
    there = pd.MultiIndex.from_arrays([table["id"], table["row"]]).isin(wanted)
    counts += _again(table, labels["label"], there)
    lost = last[~np.isin(np.arange(len(last)), places[hits])]
    surplus = lost["id"].isin(set(keys.texts))
    counts["surplus"] = int(surplus.sum())
    counts["unknown"] = nameless
    counts.update(lost["id"][~surplus].map(lambda name: (bare or {}).get(name, "unknown")))
    if not by_row:
        counts["shared"] = int(pd.Series(keys.texts[hits]).duplicated(keep=False).sum())
    at = last.index.to_numpy(dtype=np.intp)
    return np.where(hits, at[places] if len(at) else -1, -1), counts


def _again(table: pd.DataFrame, labels: pd.Series[Any], there: NDArray[np.bool_]) -> Counter[str]:
    """How often a label came for a row that had one: the same, or, `there` in the log, another. Two texts are the same
    where they are equal.
    """
    said = labels.loc[table.index]
    places = [table["id"], table["row"]]
    read, text = said.map(alike), said.map(lambda label: label if isinstance(label, str) else None)
    before, earlier = (part.groupby(places, sort=False).shift() for part in (read, text))
    again = before.notna()
    same = again & (before == read) & ((earlier == text) | earlier.isna() | text.isna())
    return Counter(repeated=int(same.sum()), corrections=int((again & ~same & there).sum()))


def unchanged(before: pd.DataFrame, labels: pd.DataFrame, earlier: Joined, now: Joined) -> NDArray[np.bool_]:
    """Which of `labels` say nothing new: empty ones, and those that are what was said before of the same
    id and row, and what the rows have. `earlier` and `now` are `before` and `labels`, joined to the same rows.
    """
    import pandas as pd

    both = pd.concat([part[list(COLUMNS)] for part in (before, labels) if len(part)] or [labels], ignore_index=True)
    rows = both["row"].map(lambda row: -1 if row is None else row)
    keys = both.groupby([both["on"], Keys.of(both["id"]).texts, rows], sort=False, dropna=False).ngroup()
    said = _exact(both["label"])
    same = said.groupby(keys).ffill().groupby(keys).shift() == said
    own = keys.iloc[len(both) - len(labels) :].reset_index(drop=True)
    there = now.places >= 0
    other = _exact(now.frame["label"]).to_numpy()[there] != _exact(earlier.frame["label"]).to_numpy()[there]
    news = own.isin(own[now.places[there][other]])
    kept = same.iloc[len(both) - len(labels) :].to_numpy() & ~news.to_numpy()
    return np.asarray(labels["label"].isna().to_numpy(dtype=bool) | kept)


def _exact(labels: pd.Series[Any]) -> pd.Series[Any]:
    """Labels as texts that tell 1, True and "1" apart, but not 1 and 1.0; NaN where there is none."""
    return labels.map(lambda label: repr(int(label) if _whole(label) else label)).where(labels.notna())


def _bare(predictions: pd.DataFrame) -> dict[str, str]:
    """Requests of which the log has no rows, and which of the counts of `Joined` that is."""
    lines = predictions[predictions["row"].isna()]
    if "status" not in lines.columns:
        return {}
    methods = lines["method"] if "method" in lines.columns else [ANSWERS[0]] * len(lines)
    sizes = lines["rows"] if "rows" in lines.columns else [1] * len(lines)
    several = zip(lines[REQUEST], lines["status"], methods, sizes, strict=True)
    return {name: _why_bare(status, method, size) for name, status, method, size in several}


def _why_bare(status: int, method: str, rows: int) -> str:
    if status != 200:
        return "refused"
    if method not in ANSWERS:
        return "unjudged"
    return "unkept" if rows else "rowless"


def _text(value: Any) -> str | None:
    """Keys as texts: files know no types, and pandas makes floats of whole numbers where one is missing."""
    if value is None or value != value:  # noqa: PLR0124  # NaN
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def number_of(text: str) -> str | None:
    """A number of a file as the log's numbers are written; None of any other text."""
    read = alike(text)
    if not isinstance(read, Decimal) or not (text[:1].isdigit() or text[:1] in "+-"):
        return None
    return str(int(read)) if read == read.to_integral_value() else str(float(read))
