"""`functools.singledispatch` of the notebook's functions: the default and all that is registered, as source."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from nbdeploy.capture.functions import kept_decorator
from nbdeploy.capture.module import Node
from nbdeploy.capture.source import is_closure

if TYPE_CHECKING:
    from nbdeploy.capture.define import Definitions

DECORATOR = "functools.singledispatch"


def define_dispatch(definitions: Definitions, value: Any) -> str:
    """The module's name for it. Raises NoSource."""
    inner = value.__wrapped__
    plain = inner.__name__
    name = definitions.name_for(value, plain)
    definitions.remember(value, name)
    definitions.bind("functools", functools)
    if name == plain and definitions.find(inner).is_top_level and not is_closure(inner):
        node = kept_decorator(definitions, inner, DECORATOR)
    else:
        expression, needs = definitions.frozen(inner, f"{name}_default")
        node = Node(name, "function", f"{name} = {DECORATOR}({expression})", needs=needs | {"functools"})
        definitions.add(node, definitions.find(inner))
    for kind, implementation in value.registry.items():
        if kind is not object:
            _register(definitions, node, kind, implementation)
    return name


def _register(definitions: Definitions, node: Node, kind: type, implementation: Any) -> None:
    hint = f"{node.name}_for_{kind.__name__}"
    for_kind, needs = definitions.frozen(kind, f"{hint}_kind")
    does, more = definitions.frozen(implementation, hint)
    node.text += f"\n{node.name}.register({for_kind}, {does})"
    node.needs |= needs | more
