"""`Forms`: labels by a key, as the log has that key: in plain, hashed, or both where its policy was changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.watch.labels import Keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd


@dataclass(frozen=True)
class Forms:
    """`labels`: a line for each that was given, by one form of its id; hashed, unless the log has it in plain alone.

    `both`: the hash of each plain key that the log has in both forms. `plain`: that key, by the place in `labels`.
    """

    labels: pd.DataFrame
    both: Mapping[str, str]
    plain: Mapping[int, str]
    logged: Keys

    @classmethod
    def of(cls, labels: pd.DataFrame, logged: Any, hashes: Sequence[str | None]) -> Forms:
        """`logged`: keys of the log's rows. `hashes`: of the labels' ids."""
        keys = Keys.of(logged)
        own = set(keys.texts) - {None}
        if not own & set(hashes):
            return cls(labels, {}, {}, keys)
        texts = Keys.of(labels["id"]).texts
        known = keys.known(texts)
        pairs = [*zip((known.get(text) for text in texts), hashes, strict=True)]
        both = {key: hashed for key, hashed in pairs if key is not None and hashed is not None and hashed in own}
        ids = [hashed if key is None or key in both else key for key, hashed in pairs]
        plain = {place: key for place, (key, _) in enumerate(pairs) if key is not None and key in both}
        return cls(_by(labels, ids), both, plain, keys)

    def spread(self) -> pd.DataFrame:
        """A line for each form of an id that the log has; those of one label have its index in common."""
        if not self.plain:
            return self.labels
        forms = [
            [id_, self.plain[place]] if place in self.plain else [id_] for place, id_ in enumerate(self.labels["id"])
        ]
        return _by(self.labels, forms).explode("id")

    def united(self, ids: pd.Series[Any]) -> pd.Series[Any]:
        """Ids of labels or keys of rows, with the hash for those that the log has in both forms."""
        import pandas as pd

        texts = Keys.of(ids).texts
        known = self.logged.known(texts)
        one = [self.both.get(known.get(text, ""), id_) for text, id_ in zip(texts, ids, strict=True)]
        return pd.Series(one, index=ids.index, dtype=object)


def _by(labels: pd.DataFrame, ids: Sequence[Any]) -> pd.DataFrame:
    import pandas as pd

    return labels.assign(id=pd.Series(ids, index=labels.index, dtype=object))
