"""`%deploy` and `%%deploy`: a line to one call of the workspace, whose result is the cell's value.

What a line needs is imported when there is one: `%load_ext nbdeploy` has 100 ms.
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections import ChainMap
from typing import TYPE_CHECKING, Any

from IPython.core.completer import context_matcher
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand

from nbdeploy.front import grammar
from nbdeploy.widgets import display

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping, Sequence

    from nbdeploy.front.call import Call
    from nbdeploy.front.line import Line
    from nbdeploy.render.progress import Surface
    from nbdeploy.workspace import Workspace

    Namespace = MutableMapping[str, Any]

PROGRAM = "%deploy"
FUNCTION = "predict"  # what a %%deploy cell defines


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, shown as one line."""

    def _render_traceback_(self) -> list[str]:
        return [f"KeyboardInterrupt: {self}"]


@magics_class
class DeployMagics(Magics):  # type: ignore[misc] # IPython is untyped to us
    def __init__(self, shell: Any, workspace: Callable[[], Workspace]) -> None:
        super().__init__(shell)
        self.workspace = workspace

        @context_matcher(identifier="nbdeploy")  # type: ignore[untyped-decorator] # IPython's
        def matcher(context: Any) -> Any:
            from nbdeploy.front.completion import Completion

            return Completion(self.namespace, workspace).complete(context.text_until_cursor)

        self.matcher = matcher

    @no_var_expand  # type: ignore[untyped-decorator] # as above
    @needs_local_scope  # type: ignore[untyped-decorator]
    @line_cell_magic  # type: ignore[untyped-decorator]
    def deploy(self, line: str, cell: str | None = None, local_ns: Namespace | None = None) -> Any:
        from nbdeploy.errors import WrongUse
        from nbdeploy.front.line import read

        try:
            return self._deploy(read(line), cell, local_ns or {})
        except WrongUse as exc:
            raise UsageError(str(exc)) from None

    def _deploy(self, line: Line, cell: str | None, local_ns: Namespace) -> Any:
        from nbdeploy.errors import SampleMissing
        from nbdeploy.front import commands, expressions, verbs
        from nbdeploy.runtime.function import Function

        namespace: Namespace = ChainMap(local_ns, self.namespace()) if local_ns else self.namespace()
        words = _with_verb(line.words, namespace) if cell is None else [*_of_cell(line.words), *line.words]
        try:
            call = commands.parse(words, PROGRAM)
        except SampleMissing as exc:
            expressions.refuse_data(exc.text, namespace)
            raise
        if call is None:
            return None
        if cell is not None:
            self._execute(cell)
        call = expressions.resolve(call, namespace)
        if cell is not None:
            call.values["model"] = Function(call.values["model"])
        if call.verb == "monitor" and call.values.get("watch"):
            verbs.watch(call, self.workspace(), lambda text: print(text, flush=True))  # noqa: T201 - watching is printing
            return None
        result = self._perform(call, quiet=line.quiet)
        if not (call.json or line.quiet) and (noticed := self.workspace().noticed()) is not None:
            self._display(noticed)
        if call.json:
            print(verbs.dumps(result))  # noqa: T201 - --json is about stdout
            return None
        return None if line.quiet and not _assigned(self.namespace()) else result

    def _perform(self, call: Call, *, quiet: bool) -> Any:
        from nbdeploy.errors import GateRefused
        from nbdeploy.front import verbs
        from nbdeploy.render.progress import Progress

        progress = Progress(self._surface(quiet=quiet, as_json=call.json), listing="%deploy ps")
        try:
            with progress:
                result = _shown(call, verbs.perform(call, self.workspace(), progress))
        except GateRefused as refused:
            if not call.json:
                self._display(refused.report)
            raise
        except KeyboardInterrupt:
            raise Interrupted(progress.interruption()) from None
        return self._told(call, result, quiet=quiet)

    def _told(self, call: Call, result: Any, *, quiet: bool) -> Any:
        """The report of a gate is shown before the service it let pass, and before the exception that refuses."""
        from nbdeploy.front import verbs

        refused = call.verb in {"validate", "replay"} and getattr(result, "verdict", "") == "refused"
        if call.json and refused:
            print(verbs.dumps(result))  # noqa: T201 - --json is about stdout
        elif call.values.get("code") and not call.json:
            self.shell.set_next_input(str(result))
            return None
        elif refused or (
            getattr(result, "report", None) is not None and call.verb == "up" and not (quiet or call.json)
        ):
            self._display(result if refused else result.report)
        if refused:
            raise verbs.refusal(result)
        return result

    def _display(self, report: Any) -> None:
        from IPython.display import display

        display(report)

    def _execute(self, cell: str) -> None:
        """Run the cell in the user's namespace, so that it is found there, and in the history, as any other."""
        from nbdeploy.errors import WrongUse

        shell = self.shell
        source = shell.transform_cell(cell)
        name = shell.compile.cache(source, shell.execution_count, raw_code=cell)
        tree = shell.transform_ast(shell.compile.ast_parse(source, filename=name))
        if FUNCTION not in _defined(tree):
            raise WrongUse(f"A %%deploy cell defines {FUNCTION}(rows); this one does not.")
        exec(shell.compile(tree, name, "exec"), shell.user_ns)  # noqa: S102 - the user's own cell, in the user's own kernel

    def _surface(self, *, quiet: bool, as_json: bool) -> Surface:
        from nbdeploy.render.progress import Silent, Written, surface

        if quiet:
            return Silent()
        return Written(sys.stderr) if as_json else surface(notebook=hasattr(self.shell, "kernel"))

    def namespace(self) -> dict[str, Any]:
        namespace: dict[str, Any] = self.shell.user_ns
        return namespace


def load(shell: Any, workspace: Callable[[], Workspace]) -> None:
    unload(shell)
    magics = DeployMagics(shell, workspace)
    shell.register_magics(magics)
    display.register(shell)
    shell.Completer.custom_matchers.append(magics.matcher)


def unload(shell: Any) -> None:
    magics = shell.magics_manager.registry.pop(DeployMagics.__name__, None)
    if magics is None:
        return
    display.unregister(shell)
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop(DeployMagics.deploy.__name__, None)
    shell.Completer.custom_matchers.remove(magics.matcher)


def _with_verb(words: Sequence[str], namespace: Namespace) -> list[str]:
    """`MODEL ...` is `up MODEL ...`; a word that is neither verb nor variable is told so here."""
    from nbdeploy.errors import UnknownOption, did_you_mean
    from nbdeploy.front import expressions

    first = words[0] if words else "--help"
    if first in grammar.VERBS or first in {"--help", "-h", "--version"}:
        return list(words)
    if first.isidentifier() and first not in namespace:
        known = [*grammar.VERBS, *expressions.variables(namespace)]
        near = known if did_you_mean(first, known) else list(grammar.VERBS)
        raise UnknownOption(first, "verb or variable", near, grammar.MEANT.get(first, ""))
    return ["up", *words]


def _of_cell(words: Sequence[str]) -> list[str]:
    from nbdeploy.errors import SampleMissing, WrongUse

    if any(word in {"--help", "-h"} for word in words):
        return ["up"]
    if not any(word.startswith("--name") for word in words):
        raise WrongUse("A %%deploy cell needs the service's name: %%deploy --name NAME --sample X_train")
    if not any(word.startswith("--sample") for word in words):
        raise SampleMissing(f"{FUNCTION}(rows)", "%%deploy --name NAME --sample X_train")
    return ["up", FUNCTION]


def _defined(tree: ast.Module) -> set[str]:
    """Names bound at the top of a cell."""
    found: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef):
            found.add(statement.name)
        elif isinstance(statement, ast.Assign):
            found |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
        elif isinstance(statement, ast.ImportFrom | ast.Import):
            found |= {alias.asname or alias.name for alias in statement.names}
    return found


def _shown(call: Call, result: Any) -> Any:
    """A log is an iterator: followed here and now, or read whole."""
    from nbdeploy.front import verbs

    if call.verb != "logs":
        return result
    if not call.values.get("follow"):
        return verbs.Lines(tuple(result))
    for line in result:
        print(line, flush=True)  # noqa: T201 - following is printing
    return None


def _assigned(namespace: dict[str, Any]) -> bool:
    """Whether the line's value goes somewhere: `s = %deploy clf;` is quiet without our help, `%deploy clf;` is not."""
    frame = sys._getframe()  # noqa: SLF001 - the only way to the caller's line
    while frame.f_back is not None and frame.f_globals is not namespace:
        frame = frame.f_back
    return not linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith("get_ipython()")


DeployMagics.deploy.__doc__ = grammar.summary(PROGRAM)
