"""MODEL, --sample, --target and --data are Python expressions of the user's, in the user's namespace."""

from __future__ import annotations

import re
from collections import ChainMap
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from nbdeploy import names
from nbdeploy.errors import NotAModel, UnknownOption, WrongUse
from nbdeploy.front.call import Call
from nbdeploy.front.grammar import VERBS

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

_FILE = re.compile(r"[^\s\[\](){}]+\.(csv|csv\.gz|tsv|parquet|feather|jsonl?|xlsx?|pkl|joblib)")
_READ_IT = "read it in a cell first, as pandas.read_csv does, and give the variable"
_SAY_WHERE = "write it with its folder: ./{}"
SERVED = ("predict", "transform", "predict_proba", "decision_function", "score_samples")


def resolve(call: Call, namespace: MutableMapping[str, Any]) -> Call:
    """The call with objects in the place of expressions, and the model's variable as the service's name."""
    verb, values = VERBS[call.verb], dict(call.values)
    if verb.of_kind("model"):
        if values.pop("trust", False):
            raise WrongUse("--trust is for saved model files on the command line; here the model is an object.")
        if "name" not in values:
            values["name"] = _name_for(values["model"])
    for item in verb.of_kind("data"):
        if item.name in values and not is_file(values[item.name], namespace):
            values[item.name] = evaluate(values[item.name], namespace, step=_SAY_WHERE.format(values[item.name]))
    for item in verb.of_kind("model", "expression"):
        if item.name in values and not _is_column(item.name, values, namespace):
            values[item.name] = evaluate(values[item.name], namespace)
    for item in verb.of_kind("bundle"):
        if values[item.name] in namespace:
            values[item.name] = namespace[values[item.name]]
    return Call(call.verb, values, call.json, words=dict(call.values))


def _is_column(option: str, values: Mapping[str, Any], namespace: Mapping[str, Any]) -> bool:
    """Whether --target names a column of the sample, and no variable."""
    text = values[option]
    return option == "target" and text not in namespace and text in list(getattr(values.get("sample"), "columns", ()))


def is_file(text: str, namespace: Mapping[str, Any]) -> bool:
    """Whether --data names files: `test.csv` is one unless there is a variable `test`."""
    parts = [part.strip() for part in text.split(",")]
    return all(_FILE.fullmatch(part) and part.partition(".")[0] not in namespace for part in parts)


def evaluate(text: str, namespace: Mapping[str, Any], *, step: str = _READ_IT) -> Any:
    """What `text` is in `namespace`; errors of the expression's own come out as they are. `step`: how a file is given here.

    Raises:
        WrongUse: where it is no expression, or names what is not there.
    """
    try:
        code = compile(text, "<%deploy>", "eval")
    except (SyntaxError, ValueError) as exc:  # ValueError: null bytes
        if _FILE.fullmatch(text):
            raise WrongUse(f'"{text}" looks like a file: {step}.') from exc
        raise WrongUse(f"`{text}` is not a Python expression; give a variable such as clf or X_train.") from exc
    try:
        return eval(code, _globals(namespace))  # noqa: S307 - the user's own line, in the user's own kernel
    except NameError as exc:
        if exc.name is None or exc.name in namespace:
            raise
        if _FILE.fullmatch(text):
            raise WrongUse(f'"{text}" looks like a file: {step}.') from exc
        raise UnknownOption(exc.name, "variable", variables(namespace)) from exc
    except AttributeError as exc:
        name = text.partition(".")[0]
        if not _FILE.fullmatch(text) or exc.name is None or exc.obj is not namespace.get(name):
            raise
        raise WrongUse(
            f'"{text}" was read as what the variable {name} holds under "{exc.name}", and {exc}. If it is a file, {step}.'
        ) from exc


def variables(namespace: Mapping[str, Any]) -> list[str]:
    """What the user has made, without what IPython put there."""
    hidden = {"In", "Out", "exit", "quit", "open", "get_ipython"}
    return sorted(
        name
        for name, value in namespace.items()
        if not name.startswith("_") and name not in hidden and not _is_imported(value)
    )


def _is_imported(value: Any) -> bool:
    """A module, or a class or function of one; other objects are not asked, some answer to every name."""
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        return value.__module__ != "__main__"
    return isinstance(value, ModuleType)


def models(namespace: Mapping[str, Any]) -> list[str]:
    """Variables that look as if they could be deployed."""
    return [name for name in variables(namespace) if _is_model(namespace[name])]


def refuse_data(expression: str, namespace: Mapping[str, Any]) -> None:
    """Raises NotAModel where a variable holds data: no sample makes a model of it."""
    value = namespace.get(expression)
    if value is not None and not callable(value) and not hasattr(value, "fit") and not _is_model(value):
        raise NotAModel(type(value).__name__, SERVED)


def _is_model(value: Any) -> bool:
    kind = type(value)
    return not isinstance(value, type) and any(callable(getattr(kind, method, None)) for method in SERVED)


def _name_for(expression: str) -> str:
    if not expression.isidentifier():
        raise WrongUse(f"`{expression}` is no variable to take the service's name from. Give one with --name NAME.")
    return names.from_variable(expression)


def _globals(namespace: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(namespace, ChainMap):
        return dict(namespace)
    return namespace if isinstance(namespace, dict) else dict(namespace)
