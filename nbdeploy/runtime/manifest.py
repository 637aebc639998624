"""What a bundle says about itself: `manifest.json`.

FORMAT is the number of its shape. When a field is added that older runtimes may ignore, leave the number. When a field
changes its meaning, or older runtimes would answer wrongly without it, add one, and teach `Manifest.load` to read the
number before it. Reading a manifest never loads the model.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1
FILE = "manifest.json"
KEYED = frozenset({"frame", "records"})  # containers whose rows are objects
# Facts about how the bundle came to be; they may differ between two bundles that answer the same.
UNCOVERED = ("digest", "created", "provenance", "metrics", "warnings")


class ManifestError(ValueError):
    """The manifest is missing, not JSON, or of a format this runtime cannot read."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the input.

    kind: integer | number | boolean | text | category | datetime | timedelta | any.
    `categories` are the JSON values seen (kind category only), `low` and `high` the range seen (integer, number and
    datetime; a datetime as ISO text). `nullable` and `unseen` tell whether the model answered rows with a null, or
    with a value outside `categories`; both were tried in the kernel. `nonfinite`: the sample held infinite numbers, so
    the texts "Infinity" and "-Infinity" stand for them (and "NaN" where null means something else). `null` is what a
    null becomes in a column of Python objects: "nan", "NA" or "NaT"; None where it stays None.
    """

    name: str
    kind: str
    dtype: str
    label: str | int | float | bool | None = None  # the column's own label where that is not the text `name`
    nullable: bool = False
    unseen: bool = True
    categories: tuple[Any, ...] | None = None
    ordered: bool = False
    low: Any = None
    high: Any = None
    missing: bool = False  # the sample itself had missing values here
    nonfinite: bool = False
    null: str | None = None


@dataclass(frozen=True, slots=True)
class Schema:
    """The input: `container` is what the model is given.

    container: frame (pandas or polars, see `library`) | series | array | records | texts | values.
    frame and records have `columns`; an array has `dtype` and the `shape` of one row; series, texts and values have one
    column called "value". `keys` are extra columns accepted and logged, never given to the model.
    """

    container: str
    columns: tuple[Column, ...] = ()
    library: str | None = None  # "pandas", "polars", "numpy"
    dtype: str | None = None
    shape: tuple[int, ...] = ()
    name: str | None = None  # of a series
    keys: tuple[str, ...] = ()

    @property
    def keyed(self) -> bool:
        """Whether a row is an object by column, not a list or one value."""
        return self.container in KEYED


@dataclass(frozen=True, slots=True)
class Output:
    """What one method returns, so that a client can give back what the kernel's model would.

    container: array | frame | series | list | sparse | arrays (a list of arrays, one an output) | tuple.
    `shape` is that of one row's answer: () for a label, (3,) for three probabilities.
    """

    container: str
    dtype: str | None = None
    shape: tuple[int, ...] = ()
    columns: tuple[Any, ...] = ()
    dtypes: tuple[str, ...] = ()
    labels: tuple[Any, ...] | None = None  # classes_, in order, where the answer is keyed by class
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Method:
    """A served method. `rowwise`: rows of several requests may share one call and get the same answers.
    `deterministic`: the same row gets the same answer twice. `milliseconds`: one call with the golden rows, in the kernel.
    """

    name: str
    output: Output
    rowwise: bool = True
    deterministic: bool = True
    milliseconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Manifest:
    """`files` maps each file of the bundle, relative to the manifest's folder, to its "sha256:..."."""

    format: int
    name: str
    title: str
    model: dict[str, Any]  # class, task (classification | regression | clustering | transform | other), parameters
    methods: tuple[Method, ...]
    schema: Schema
    artefact: str  # the file the model is loaded from
    environment: dict[str, Any]  # python, implementation, platform, requirements, modules, same_minor
    code: dict[str, Any]  # definitions, local_modules, data (what travels and why)
    files: dict[str, str]
    digest: str
    created: str
    provenance: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        try:
            raw = json.loads((folder / FILE).read_bytes())
        except (OSError, ValueError) as exc:
            raise ManifestError(f"{folder / FILE} cannot be read: {exc}") from exc
        return cls.from_dict(raw)

    @classmethod
    def from_dict(cls, raw: Any) -> Manifest:
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            found = raw.get("format") if isinstance(raw, dict) else type(raw).__name__
            raise ManifestError(f"manifest format {found!r}; this runtime reads {FORMAT}")
        try:
            return cls(
                **{
                    **raw,
                    "methods": tuple(_method(item) for item in raw["methods"]),
                    "schema": _schema(raw["schema"]),
                    "warnings": tuple(raw.get("warnings", ())),
                }
            )
        except (KeyError, TypeError) as exc:
            raise ManifestError(f"the manifest lacks or misspells a field: {exc}") from exc

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def dumps(self) -> bytes:
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"

    def computed_digest(self) -> str:
        """sha256 over what makes the bundle answer as it does; the files enter by their hashes."""
        covered = {key: value for key, value in self.to_dict().items() if key not in UNCOVERED}
        for method in covered["methods"]:
            del method["milliseconds"]
        covered["code"] = _without_cells(covered["code"])
        text = json.dumps(covered, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def method(self, name: str) -> Method:
        return next(method for method in self.methods if method.name == name)


def _without_cells(code: dict[str, Any]) -> dict[str, Any]:
    """The number of the cell a definition came from changes whenever the notebook is run again."""
    definitions = [{key: item[key] for key in item if key != "cell"} for item in code.get("definitions", ())]
    return {**code, "definitions": definitions}


def digest_of(path: Path) -> str:
    """The file's sha256, read in pieces."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def altered(folder: Path, manifest: Manifest) -> list[str]:
    """What is not as the manifest says: sentences, empty when all is well."""
    found = []
    if manifest.computed_digest() != manifest.digest:
        found.append("the manifest was edited")
    for name, digest in manifest.files.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            found.append(f"{name} is missing")
        elif digest_of(path) != digest:
            found.append(f"{name} has changed")
    return found


def _column(raw: dict[str, Any]) -> Column:
    categories = raw.get("categories")
    return Column(**{**raw, "categories": None if categories is None else tuple(categories)})


def _schema(raw: dict[str, Any]) -> Schema:
    return Schema(
        **{
            **raw,
            "columns": tuple(_column(item) for item in raw.get("columns", ())),
            "shape": tuple(raw.get("shape", ())),
            "keys": tuple(raw.get("keys", ())),
        }
    )


def _method(raw: dict[str, Any]) -> Method:
    output = dict(raw["output"])
    for key in ("shape", "columns", "dtypes"):
        output[key] = tuple(output.get(key, ()))
    if output.get("labels") is not None:
        output["labels"] = tuple(output["labels"])
    return Method(**{**raw, "output": Output(**output)})


def schema_from(raw: dict[str, Any]) -> Schema:
    """A schema from its dictionary, as `/metadata` gives it."""
    return _schema(raw)


def method_from(raw: dict[str, Any]) -> Method:
    """A method from its dictionary, as `/metadata` gives it."""
    return _method(raw)
