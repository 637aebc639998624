"""The source of live objects, found by bytecode; literals that read back as what they were."""

from __future__ import annotations

import ast
import math
from typing import Any

import pytest
from executed import Shell
from hypothesis import given
from hypothesis import strategies as st

from nbdeploy.capture.freeze import MISSING, evaluated, literal, segment
from nbdeploy.capture.lookups import changes_closure, evaluates_text, imported, needed_at_once, only_in_text, used
from nbdeploy.capture.notebook import Notebook, parsed
from nbdeploy.capture.source import bound_by, find_class, find_function, normal


@pytest.fixture
def shell() -> Shell:
    return Shell()


def source_of(shell: Shell, name: str) -> str:
    found = find_function(shell.user_ns[name].__code__, Notebook(shell))
    assert found is not None
    return ast.unparse(found.node)


def label_of(shell: Shell, value: Any) -> str:
    found = find_function(value.__code__, Notebook(shell))
    assert found is not None
    return found.place.label


def test_a_function_is_found_in_its_own_cell_not_in_a_newer_one_of_that_name(shell: Shell) -> None:
    shell.run("def f(x):\n    return x + 1")
    old = shell.user_ns["f"]
    shell.run("def f(x):\n    return x + 2")
    assert label_of(shell, old) == "In[1]"
    assert label_of(shell, shell.user_ns["f"]) == "In[2]"


def test_a_text_run_twice_has_the_number_of_its_last_run(shell: Shell) -> None:
    shell.run("def f(x):\n    return x + 1")
    shell.run("def f(x):\n    return x + 1")
    assert label_of(shell, shell.user_ns["f"]) == "In[2]"


def test_cells_that_share_a_file_name_are_told_apart_by_bytecode(shell: Shell) -> None:
    shell.run("def f(x):\n    return x + 1", filename="<same>")
    shell.run("def g(x):\n    return x + 2", filename="<same>")
    assert label_of(shell, shell.user_ns["f"]) == "In[1]"


@pytest.mark.parametrize(
    "cell",
    [
        "a, b = (lambda x: x + 1), (lambda x: x + 2)",
        "a = lambda x: (x) if x else (0); b = lambda x: [lambda y: x * y, f'{x}']",
        "b, a = lambda: 1, lambda: (lambda: 1)",
        "a = lambda x: x and x.y\nb = lambda *k, **w: dict(k, **w)",
        "a = lambda x, y=(lambda z: z): y(x)\nb = (\n  lambda x:\n  x\n)",
    ],
)
def test_lambdas_on_one_line_are_told_apart(shell: Shell, cell: str) -> None:
    shell.run(cell)
    for name in ("a", "b"):
        live = shell.user_ns[name]
        again = eval(source_of(shell, name))
        assert normal(again.__code__) == normal(live.__code__)


def test_equal_lambdas_are_the_ones_at_their_own_place(shell: Shell) -> None:
    shell.run("a = [lambda x: x,   lambda x: x]\nsecond = a[1]")
    found = find_function(shell.user_ns["second"].__code__, Notebook(shell))
    assert found is not None
    assert isinstance(found.node, ast.Lambda)
    assert found.node.col_offset == 20


def test_a_code_object_nobody_wrote_is_not_found(shell: Shell) -> None:
    shell.run("exec('def f(x): return x + 12345')")
    assert find_function(shell.user_ns["f"].__code__, Notebook(shell)) is None


def test_a_constant_of_another_type_is_another_function(shell: Shell) -> None:
    shell.run("def f(): return 1.0, -0.0, (1, True)")
    for other in ("1, -0.0, (1, True)", "1.0, 0.0, (1, True)", "1.0, -0.0, (1, 1)"):
        code = compile(f"def f(): return {other}", "x", "exec").co_consts[0]
        assert find_function(code, Notebook(shell)) is None


def test_a_class_is_found_by_a_method_and_without_methods_by_its_attributes(shell: Shell) -> None:
    shell.run("class A:\n    def f(self): return 1\nclass P:\n    k = 1")
    first = dict(shell.user_ns)
    shell.run("class A:\n    def f(self): return 2\nclass P:\n    k = 2")
    notebook = Notebook(shell)
    labels = [find_class(scope[name], notebook) for scope in (first, shell.user_ns) for name in ("A", "P")]
    assert [found.place.label if found else None for found in labels] == ["In[1]", "In[1]", "In[2]", "In[2]"]


def test_a_decorated_function_is_found_with_its_decorators(shell: Shell) -> None:
    shell.run("def deco(fn):\n    fn.tag = 1\n    return fn\n\n@deco\n@deco\ndef f(x):\n    return x")
    found = find_function(shell.user_ns["f"].__code__, Notebook(shell))
    assert found is not None
    assert segment(found.text, found.node, {}).startswith("@deco\n@deco\ndef f")
    assert segment(found.text, found.node, {}, decorated=False).startswith("def f")


def test_an_expression_is_replaced_where_it_stands() -> None:
    text = parsed("class Ü:\n    é = K; f = 'ä' + K\n")
    node: Any = text.statements[0]
    assert segment(text, node, {node.body[0].value: "33", node.body[1].value: "4"}) == "class Ü:\n    é = 33; f = 4"


ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20)
HASHABLE = st.booleans() | st.integers() | st.text(max_size=5)
VALUES = st.recursive(
    ATOMS | st.frozensets(HASHABLE, max_size=3) | st.sets(HASHABLE, max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(HASHABLE, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_a_literal_reads_back_as_the_value_it_was(value: Any) -> None:
    text = literal(value)
    assert text is not None
    again = eval(text)
    assert type(again) is type(value)
    assert literal(again) == text
    if not (isinstance(value, float) and math.isnan(value)) and "nan" not in text:
        assert again == value


@pytest.mark.parametrize(
    "value", [object(), [object()], {1: print}, "x" * 5000, list(range(5000)), type("I", (int,), {})(3)]
)
def test_what_has_no_short_literal_has_none(value: Any) -> None:
    assert literal(value) is None


def test_a_list_that_holds_itself_has_no_literal() -> None:
    value: list[Any] = []
    value.append(value)
    assert literal(value) is None


def test_only_names_attributes_and_literals_are_evaluated() -> None:
    def means(text: str) -> Any:
        return evaluated(ast.parse(text, mode="eval").body, {"math": math, "k": 3})

    assert means("math.pi") == math.pi
    assert means("k") == 3
    assert means("len") is len
    assert means("(1, 'a')") == (1, "a")
    assert means("missing") is MISSING
    assert means("k()") is MISSING
    assert means("math.nothing") is MISSING


def code(text: str) -> Any:
    return compile(text, "x", "exec", dont_inherit=True).co_consts[0]


def test_names_a_function_looks_up() -> None:
    text = "def f(a):\n    b = a.attr + G\n    def g():\n        return [H(i) for i in K]\n    return frame.query('x > @LIMIT and y < @a')"
    assert set(used(code(text))) == {"G", "H", "K", "frame", "LIMIT"}


def test_names_a_definition_needs_at_once() -> None:
    text = "@deco(A)\nclass C(Base, metaclass=M):\n    x = K\n    y = x + 1\n    z = [L for _ in x]\n    def f(self, d=D) -> R:\n        return LATER"
    assert set(needed_at_once(compile(text, "x", "exec", dont_inherit=True))) >= {
        "deco",
        "A",
        "Base",
        "M",
        "K",
        "L",
        "D",
        "R",
    }
    assert not {"LATER", "x", "y"} & set(needed_at_once(compile(text, "x", "exec", dont_inherit=True)))


def test_modules_imported_inside_a_function() -> None:
    found = imported(code("def f():\n    import a.b\n    from c import d\n    return 1"))
    assert found == {"a.b", "c", "c.d"}


def test_names_only_in_evaluated_text() -> None:
    known = frozenset({"K", "L", "x"})
    assert only_in_text(code("def f(x):\n    return eval('x + K')"), known) == {"K": "eval()"}
    assert only_in_text(code("def f(x):\n    return eval('x + K') + K"), known) == {}
    assert only_in_text(code("def f(x):\n    return globals()['L']"), known) == {"L": "globals()"}
    assert only_in_text(code("def f(x):\n    return 'K'"), known) == {}
    assert evaluates_text(code("def f(x):\n    return eval(x)"))


def test_a_closure_that_changes_its_variable_is_noticed() -> None:
    made = code(
        "def outer():\n    n = 0\n    def f():\n        nonlocal n\n        n += 1\n    def g():\n        return n\n    return f, g"
    )
    f, g = (each for each in made.co_consts if hasattr(each, "co_code"))
    assert changes_closure(f)
    assert not changes_closure(g)


def test_names_a_statement_binds() -> None:
    def bound(text: str) -> set[str]:
        return bound_by(ast.parse(text).body[0])

    assert bound("import a.b as c, d.e") == {"c", "d"}
    assert bound("for i, (j, *k) in x:\n    l = 1") == {"i", "j", "k", "l"}
    assert bound("def f(a):\n    b = 1") == {"f"}
    assert bound("x = [y for y in z]") == {"x"}
    assert bound("if (n := 3): pass") == {"n"}
