"""The grammar as click commands, and the one parser of both front ends."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from nbdeploy.errors import SampleMissing, UnknownOption, WrongUse
from nbdeploy.front.call import Call
from nbdeploy.front.grammar import MEANT, VERBS
from nbdeploy.front.saved import MODELS
from nbdeploy.names import checked
from nbdeploy.reference import Reference, check_version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nbdeploy.front.grammar import Parameter, Verb

    Names = Callable[[], Sequence[str]]

EPILOG = """\b
In a notebook:  %load_ext nbdeploy
                %deploy clf --name penguins --sample X_train --target y_train
In a terminal:  nbdeploy up train.ipynb:clf --name penguins --sample X_train --target y_train

`VERB --help` tells its options. Exit codes: 0 done, 1 refused or failed, 2 wrong use."""


def parse(words: Sequence[str], program: str) -> Call | None:
    """The call that `words` ask for; None when they asked for help, which is then printed."""
    try:
        with group().make_context(program, list(words) or ["--help"]) as context:
            call: Call = group().invoke(context)
            return call
    except click.exceptions.Exit:
        return None
    except click.NoSuchOption as exc:
        known = [] if exc.ctx is None else [flag for item in exc.ctx.command.params for flag in _shown_flags(item)]
        raise UnknownOption(exc.option_name, "option", known) from None
    except click.UsageError as exc:
        usage = f"\n{exc.ctx.get_usage()}" if exc.ctx is not None else ""
        raise WrongUse(exc.format_message() + usage) from None


@cache
def group(names: Names | None = None) -> _Group:
    """All verbs; `names` are the services, for the shell's completion."""
    commands = {verb.name: _command(verb, names) for verb in VERBS.values()}
    made = _Group(
        "nbdeploy",
        commands=commands,
        help="From a fitted model in a notebook to a running, versioned service.",
        epilog=EPILOG,
        subcommand_metavar="VERB ...",
        context_settings={"help_option_names": ["--help", "-h"], "terminal_width": 100},
    )
    return click.version_option(package_name="nbdeploy", message="nbdeploy %(version)s")(made)


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(VERBS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise UnknownOption(args[0], "verb", list(self.commands), MEANT.get(args[0], ""))
        return super().resolve_command(ctx, args)


class _Command(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """One word too many: the message says where such words go."""
        ctx.allow_extra_args = True
        super().parse_args(ctx, args)
        if ctx.args and not ctx.resilient_parsing:
            word = ctx.args[0]
            given = word.partition("=")
            step = f" Options are written --{given[0]} {given[2]}." if given[0].isidentifier() and given[1] else ""
            cut = [item for item in ctx.params.get("gate") or () if re.fullmatch(r"\w+", item)]
            if cut:  # at the blank, or by the shell, which takes ">= 0.9" for a file to write to
                step = f' Put the condition in quotes: --gate "{cut[0]}>=0.9".'
            if not step and any(item.name == "sample" for item in self.params):
                step = f" Rows are given with --sample {word}, labels with --target."
            raise click.UsageError(f'"{word}" is one word too many.{step}', ctx)
        return []


def _command(verb: Verb, names: Names | None) -> click.Command:
    def call(**values: Any) -> Call:
        return _call(verb, values)

    return _Command(
        verb.name,
        callback=call,
        help=verb.help,
        short_help=verb.help,
        params=[_parameter(item, names) for item in verb.parameters],
    )


def _call(verb: Verb, values: dict[str, Any]) -> Call:
    asked_json = values.pop("json")
    given = {name: value for name, value in values.items() if value not in (None, False, ())}
    for item in verb.of_kind("off"):
        if given.pop(item.name, False):
            given[item.name] = False
    if verb.of_kind("model") and "sample" not in given:
        path = click.get_current_context().command_path.replace("%deploy up", "%deploy")
        rows = "X_train --target y_train" if not given["model"].endswith(MODELS) else "rows.csv --target labels.csv"
        raise SampleMissing(given["model"], f"{path} {given['model']} --sample {rows}")
    return Call(verb.name, given, asked_json)


def _parameter(item: Parameter, names: Names | None) -> click.Parameter:
    if not item.flags:
        several = item.kind == "words"
        return click.Argument(
            [item.name],
            required=item.required,
            metavar=item.metavar,
            nargs=-1 if several else 1,
            type=click.Choice(item.choices) if item.choices else _Word(item, names),
            callback=_joined if several else None,
        )
    if not item.takes_value:
        return click.Option([*item.flags, item.name], is_flag=True, help=item.help)
    return click.Option(
        [*item.flags, item.name],
        help=item.help,
        metavar=item.metavar or None,
        multiple=item.multiple,
        nargs=2 if item.kind == "pair" else 1,
        type=click.Choice(item.choices)
        if item.choices
        else _Number(min=1)
        if item.kind == "number"
        else _Word(item, names),
    )


def _joined(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> str:
    del context, parameter
    return " ".join(value)


class _Number(click.IntRange):
    name = "whole number"


class _Word(click.types.StringParamType):
    """Text, checked and completed as the grammar's kind asks."""

    def __init__(self, item: Parameter, names: Names | None) -> None:
        self.item = item
        self.name = item.metavar or item.kind
        self.names = names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        del param, ctx
        if not isinstance(value, str):
            return value
        return _READ.get(self.item.kind, str)(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        del ctx, param
        if self.item.kind in {"file", "model", "expression", "data"}:
            return [CompletionItem(incomplete, type="file")]
        if self.item.kind in {"name", "reference", "version or bundle"} and self.names is not None:
            return [CompletionItem(name) for name in self.names() if name.startswith(incomplete)]
        return []


def _shown_flags(item: click.Parameter) -> list[str]:
    return [flag for flag in item.opts if flag.startswith("--")]


def _name(text: str) -> str:
    reference = Reference.parse(text)
    if reference.version or reference.digest:
        raise WrongUse(f'"{text}" should be a name alone: {reference.name}')
    return reference.name


def _stored(text: str) -> Reference:
    reference = Reference.parse(text)
    if reference.digest:
        raise WrongUse(f'"{text}" names an unpublished bundle: `publish {text}` gives it a version first.')
    return reference


def _judged(text: str) -> str:
    return str(Reference.parse(text))


def _commas(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


_READ: dict[str, Callable[[str], Any]] = {
    "name": _name,
    "own name": checked,
    "reference": _stored,
    "version": check_version,
    "version or bundle": _judged,
    "commas": _commas,
    "file": Path,
}
