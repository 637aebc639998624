"""Labels that come late: joined to the rows they belong to, and counted.

They are joined by the request's id and the row's place in it, or by a business key that was logged with the rows. The
label that came last counts. A label may be missing (not known yet); it changes nothing then.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import WrongUse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

REQUEST = "request_id"
COLUMNS = (
    "id",
    "row",
    "label",
)  # of a table of labels, in the order they came; row None: the only row, or any by a key


@dataclass(frozen=True)
class Joined:
    """`frame`: the answered rows of the log with a column `label`, None where there is none yet; the rest are counts.

    given: labels that came. empty: without a value. repeated: the same as before. corrections: another than before.
    unknown: no such row in the log. surplus: more labels than the request had rows. unplaced: one label without a row for
    a request of several. shared: rows that have their key, and so their label, in common with another.
    """

    frame: pd.DataFrame
    given: int
    empty: int
    repeated: int
    corrections: int
    unknown: int
    surplus: int
    unplaced: int
    shared: int

    @property
    def labelled(self) -> pd.DataFrame:
        return self.frame[self.frame["label"].notna()]

    @property
    def rest(self) -> pd.DataFrame:
        return self.frame[self.frame["label"].isna()]

    @property
    def coverage(self) -> float:
        return len(self.labelled) / len(self.frame) if len(self.frame) else 0.0

    def to_dict(self) -> dict[str, Any]:
        counts = {name: value for name, value in asdict(self).items() if name != "frame"}
        return {"rows": len(self.frame), "labelled": len(self.labelled), "coverage": self.coverage, **counts}


def of_requests(feedback: Iterable[tuple[str, Sequence[Any]]]) -> pd.DataFrame:
    """Labels as `POST /feedback` has them: a request's id and a label for each of its rows."""
    import pandas as pd

    lines = [(request, row, label) for request, labels in feedback for row, label in enumerate(labels)]
    return pd.DataFrame(lines, columns=list(COLUMNS), dtype=object)


def of_frame(frame: pd.DataFrame, on: str = REQUEST) -> pd.DataFrame:
    """Labels of a table: the column `on`, one of labels, and maybe `row`, the place in the request.

    Raises:
        WrongUse: a column is missing, or it is not clear which one holds the labels.
    """
    import pandas as pd

    names = [str(name) for name in frame.columns]
    others = [name for name in names if name not in {on, "row"}]
    label = "label" if "label" in others else others[0] if len(others) == 1 else None
    if on not in names or label is None:
        raise WrongUse(f'Labels need a column "{on}" and one called "label"; this table has {", ".join(names)}.')
    rows = frame["row"].astype(object) if "row" in names else [None] * len(frame)
    columns = {"id": frame[on].astype(object), "row": rows, "label": frame[label].astype(object)}
    return pd.DataFrame(columns, dtype=object).reset_index(drop=True)


def join(predictions: pd.DataFrame, labels: pd.DataFrame, on: str = REQUEST) -> Joined:
    """`predictions` as `predictions().frame()` has them; `labels` of `of_requests` or `of_frame`.

    Raises:
        WrongUse: the log has no such key.
    """
    import pandas as pd

    column = REQUEST if on == REQUEST else f"key.{on}"
    if column not in predictions.columns and len(predictions):
        logged = [name.removeprefix("key.") for name in predictions.columns if name.startswith("key.")]
        known = ", ".join([REQUEST, *logged])
        raise WrongUse(
            f'The log has no key "{on}" to join labels by; it has {known}. `--keys {on}` at deploy keeps one.'
        )
    answered = predictions[predictions["row"].notna()].reset_index(drop=True)
    ids = _texts(answered[column]) if len(answered) else pd.Series([], dtype=object)
    places = answered["row"].astype(int) if on == REQUEST else pd.Series(0, index=answered.index)
    given, counts = _settled(labels, ids, by_row=on == REQUEST)
    keys: Any = pd.MultiIndex.from_arrays([ids, places])
    found = given.reindex(keys).to_numpy(dtype=object)
    known = keys.isin(given.index)
    frame = answered.assign(
        label=pd.Series([item if there else None for item, there in zip(found, known, strict=True)], dtype=object)
    )
    lost = given.index[~given.index.isin(keys)]
    surplus = int(lost.get_level_values(0).isin(ids).sum())
    shared = int(ids[known].duplicated(keep=False).sum()) if on != REQUEST else 0
    return Joined(frame, **counts, unknown=len(lost) - surplus, surplus=surplus, shared=shared)


def _settled(labels: pd.DataFrame, ids: pd.Series[Any], *, by_row: bool) -> tuple[pd.Series[Any], dict[str, int]]:
    """The last label of each id and row, and what was passed over for it."""
    import pandas as pd

    valued = labels[labels["label"].notna()]
    table = pd.DataFrame({"id": _texts(valued["id"]), "row": valued["row"], "label": valued["label"]}, dtype=object)
    unplaced = 0
    if by_row:
        several = set(ids[ids.duplicated()])
        open_ = table["row"].isna()
        loose = open_ & table["id"].isin(several)
        unplaced = int(loose.sum())
        table = table[~loose]
    table["row"] = table["row"].fillna(0).astype(int) if by_row else 0
    before = table.groupby(["id", "row"], sort=False)["label"].shift()
    again = before.notna()
    same = again & (before == table["label"])
    last = table.drop_duplicates(["id", "row"], keep="last").set_index(["id", "row"])["label"]
    return last, {
        "given": len(labels),
        "empty": len(labels) - len(valued),
        "repeated": int(same.sum()),
        "corrections": int((again & ~same).sum()),
        "unplaced": unplaced,
    }


def _texts(values: pd.Series[Any]) -> pd.Series[Any]:
    """Keys as texts: files know no types, and pandas makes floats of whole numbers where one is missing."""
    return values.map(_text).astype(object)


def _text(value: Any) -> str | None:
    if value is None or value != value:  # noqa: PLR0124  # NaN
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
