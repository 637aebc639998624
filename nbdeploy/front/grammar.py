"""The verbs, their words and their options, as data.

The command, the magic, completion and help are all made from `VERBS`. A verb stands here only once it works.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "model",  # an expression; on the command line NOTEBOOK.ipynb:VARIABLE or a saved model file
    "expression",  # an expression; on the command line beside a saved model file a data path
    "data",  # an expression, or one or two data paths
    "name",
    "own name",  # one to be given, checked before anything is done
    "reference",  # NAME or NAME:VERSION
    "bundle",  # NAME@DIGEST12; in a notebook also a variable
    "version or bundle",  # NAME, NAME:VERSION or NAME@DIGEST12
    "version",
    "text",
    "pair",  # two words: NAME VALUE
    "words",  # the rest of the line, joined
    "file",
    "commas",  # A,B
    "number",
    "choice",
    "flag",
    "off",  # a flag that says no: --no-real-rows gives real_rows=False
]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A positional word, or with `flags` an option; `name` is the keyword of the workspace's verb."""

    name: str
    kind: Kind
    metavar: str = ""
    help: str = ""
    flags: tuple[str, ...] = ()
    required: bool = False
    multiple: bool = False
    choices: tuple[str, ...] = ()

    @property
    def takes_value(self) -> bool:
        return self.kind not in {"flag", "off"}


@dataclass(frozen=True, slots=True)
class Verb:
    name: str
    help: str
    parameters: tuple[Parameter, ...]

    @property
    def words(self) -> tuple[Parameter, ...]:
        return tuple(item for item in self.parameters if not item.flags)

    @property
    def options(self) -> tuple[Parameter, ...]:
        return tuple(item for item in self.parameters if item.flags)

    def option(self, flag: str) -> Parameter | None:
        return next((item for item in self.options if flag in item.flags), None)

    def of_kind(self, *kinds: Kind) -> tuple[Parameter, ...]:
        return tuple(item for item in self.parameters if item.kind in kinds)


def _word(name: str, kind: Kind, metavar: str, *, required: bool = True) -> Parameter:
    return Parameter(name, kind, metavar, required=required)


def _option(name: str, kind: Kind, metavar: str, help_: str, *, multiple: bool = False) -> Parameter:
    flags = (f"--{name.replace('_', '-')}",)
    return Parameter(name, kind, metavar, help_, flags, multiple=multiple)


def _flag(name: str, help_: str) -> Parameter:
    return Parameter(name, "flag", "", help_, (f"--{name.replace('_', '-')}",))


JSON = _flag("json", "Print one JSON value on stdout; progress goes to stderr.")

_MODEL = _word("model", "model", "MODEL")
_NAME = _word("name", "name", "NAME")
_WHAT = _word("what", "reference", "NAME[:VERSION]")
_BUNDLE = _word("bundle", "bundle", "NAME@DIGEST12")
_BUMP = Parameter(
    "bump",
    "choice",
    "",
    "Number the version higher than the change needs.",
    ("--bump",),
    choices=("patch", "minor", "major"),
)
_WINDOWS = (
    _option("last", "text", "SPAN", "The last 1h, 7d (the default), 4w."),
    _option("every", "text", "SPAN", "Windows of this length; by default as the span and the traffic suggest."),
)
_WRITE_OVER = _flag("force", "Write over a file that is there.")
_FORCE = _flag("force", "Insist; what was overridden is recorded.")
_CALL_IT = _option("name", "own name", "NAME", "The service's name; by default the variable's.")
_AGAIN = _flag("again", "A new version even if nothing changed.")
_SKIP_GATE = _option(
    "skip_gate", "text", "REASON", "Publish unjudged where the settings ask for a gate; the reason is kept."
)

_STAGING = (
    _CALL_IT,
    _option("sample", "expression", "ROWS", "Rows as the model will be asked about; they give the columns and types."),
    _option("target", "expression", "LABELS", "The label to be predicted, for training metrics and the drift profile."),
    _option("keys", "commas", "A,B", "Extra columns accepted and logged, never given to the model."),
    Parameter("real_rows", "off", "", "Keep no row of the sample in the bundle.", ("--no-real-rows",)),
    _flag("trust", "Load a saved model file (command line); a pickle runs code when it is loaded."),
)
_DATA = _option("data", "data", "DATA", "Held-out rows to judge the model on: D with its target, X,y, or a file.")
_CONDITION = _option(
    "gate", "text", "EXPR", "A condition, such as accuracy>=0.9 or f1_macro>=live, or a YAML file.", multiple=True
)
_GIVEN = Parameter("parameters", "pair", "NAME VALUE", "A parameter of the notebook.", ("-p",), multiple=True)
_GATE = (
    _DATA,
    _option("validate", "file", "NOTEBOOK", "The notebook that judges it; by default the template of its task."),
    _CONDITION,
    _GIVEN,
    _SKIP_GATE,
)
_RUNNING = (
    Parameter(
        "launcher",
        "choice",
        "",
        "How it runs; kept per name.",
        ("--launcher",),
        choices=("local", "container", "memory"),
    ),
    _option("workers", "number", "N", "Processes that answer; kept per name."),
    _option("port", "number", "PORT", "The port, chosen at the first deploy and kept per name."),
    _option("env", "text", "VARIABLE", "Pass this environment variable on to the service.", multiple=True),
    _FORCE,
    _flag("no_auth", "Serve without a token (loopback only)."),
    _flag("strict_log", "Answer only once the prediction is on disk."),
    _flag("require_compatible", "Refuse a version that would break callers of the live one."),
)

_ALL = (
    Verb(
        "up",
        "Bundle, check, publish and serve a fitted model.",
        (_MODEL, *_STAGING, *_GATE, _BUMP, *_RUNNING, _AGAIN),
    ),
    Verb("bundle", "Make a bundle of a fitted model, without publishing it.", (_MODEL, *_STAGING)),
    Verb("check", "Ask an unpublished bundle, away from home, and compare its answers.", (_BUNDLE,)),
    Verb("publish", "Give an unpublished bundle its version.", (_BUNDLE, _BUMP, _FORCE, _SKIP_GATE, _AGAIN)),
    Verb("serve", "Make a published version live and serve it.", (_WHAT, *_RUNNING)),
    Verb("ps", "List the services.", (_flag("all", "Stopped ones too."),)),
    Verb(
        "logs",
        "Show what a service wrote.",
        (
            _NAME,
            _option("lines", "number", "N", "How many of the last lines; 50 by default."),
            Parameter("follow", "flag", "", "Go on as lines come; Ctrl-C ends it.", ("--follow", "-f")),
        ),
    ),
    Verb("stop", "Stop a service; returns when all its processes are gone.", (_NAME,)),
    Verb("attach", "Find a running service again.", (_NAME,)),
    Verb("versions", "List the versions of a name, newest first.", (_NAME,)),
    Verb("show", "Show all about a version; the live one by default.", (_WHAT,)),
    Verb(
        "diff",
        "What changed from version A to version B.",
        (_NAME, _word("a", "version", "A"), _word("b", "version", "B")),
    ),
    Verb(
        "rollback",
        "Serve the version that was live before this one.",
        (_NAME, _option("to", "version", "VERSION", "This version instead.")),
    ),
    Verb("at", "What was live at a time.", (_NAME, _word("time", "words", "TIME"))),
    Verb("remove", "Remove a version, or a name's service.", (_WHAT,)),
    Verb(
        "export",
        "Write a version for elsewhere: to one file, which `bentoml import` reads as well, or to a folder.",
        (
            _WHAT,
            _word("file", "file", "[FILE.bento]", required=False),
            _option("offline", "file", "DIR", "A folder that serves it without a network and without nbdeploy."),
            _option("kubernetes", "file", "DIR", "Manifests for Kubernetes; they name --image."),
            _option("compose", "file", "DIR", "A Compose file with the service and what watches it; it names --image."),
            _option("image", "text", "REF", "The version's image, as it is pulled there: REGISTRY/NAME:TAG."),
            _option("prometheus", "file", "DIR", "What Prometheus and Grafana need to watch the service."),
        ),
    ),
    Verb(
        "image",
        "Build a container image of a version, with docker or podman.",
        (
            _WHAT,
            Parameter(
                "engine", "choice", "", "By default the one that works.", ("--engine",), choices=("docker", "podman")
            ),
            _option("tag", "text", "TAG", "What to call it in place of NAME:VERSION.", multiple=True),
            _option("base", "text", "IMAGE", "The image it is built on: Debian with the version's Python."),
            _option("wheelhouse", "file", "DIR", "Take every package from this folder of wheels; no index is asked."),
        ),
    ),
    Verb(
        "import",
        "Take in an exported version; it is served only if trusted.",
        (
            _word("file", "file", "FILE"),
            _option("trust", "text", "DIGEST", "The digest you expect and trust; loading a model runs its code."),
        ),
    ),
    Verb("recover", "Put the homes in order after a crash.", ()),
    Verb("token", "The token of a service (in a notebook: where it lies).", (_NAME,)),
    Verb(
        "validate",
        "Have a notebook judge a version or a bundle; where it refuses, the exit code is 1.",
        (
            _word("what", "version or bundle", "NAME[:VERSION]"),
            _word("notebook", "file", "[NOTEBOOK]", required=False),
            _DATA,
            _option("target", "text", "COLUMN", "The column of the data that holds the labels."),
            _CONDITION,
            _GIVEN,
            _option("junit", "file", "FILE", "Write the checks as JUnit XML."),
        ),
    ),
    Verb(
        "new-validation",
        "Copy the validation notebook of a task (classification, regression, unsupervised), or of a version's, to be edited.",
        (
            _word("what", "text", "[TASK|NAME]", required=False),
            _word("file", "file", "[FILE]", required=False),
            _WRITE_OVER,
        ),
    ),
    Verb(
        "replay",
        "Ask a version what the service was asked, and compare with the answers then.",
        (
            _NAME,
            _option("against", "version", "VERSION", "The version that is asked."),
            _option("last", "text", "SPAN", "Only requests of the last 30m, 1h, 7d."),
            _option("limit", "number", "N", "Requests at most, spread evenly; 10000 by default."),
            _option(
                "gate", "text", "EXPR", "A condition, such as flip_rate<=0.02; exit code 1 if it fails.", multiple=True
            ),
        ),
    ),
    Verb("reproduce", "Run a version's notebook again and say whether the same model comes out.", (_WHAT,)),
    Verb(
        "ci",
        "Write a workflow that trains, judges and publishes a notebook's model.",
        (
            Parameter("provider", "choice", "[github|gitlab]", choices=("github", "gitlab")),
            _word("file", "file", "[FILE]", required=False),
            _option("notebook", "file", "NOTEBOOK", "The notebook that trains it; by default the one that deploys."),
            _option("model", "text", "VARIABLE", "The model; this and the rest by default as its %deploy line says."),
            _CALL_IT,
            _option("sample", "text", "ROWS", "As of `up`."),
            _option("target", "text", "LABELS", "As of `up`."),
            _option("data", "text", "DATA", "As of `up`: what the model is judged on."),
            _option("validate", "text", "NOTEBOOK", "As of `up`: the notebook that judges it."),
            _option("gate", "text", "EXPR", "As of `up`: a condition, such as accuracy>=0.9.", multiple=True),
            _WRITE_OVER,
        ),
    ),
    Verb(
        "monitor",
        "Show how a service does: traffic, data, drift, live metrics and events on one page.",
        (
            _NAME,
            *_WINDOWS,
            _option("html", "file", "FILE", "Write the page to a file instead."),
            _flag("watch", "Look again and again, judge the rules of `alerts` and deliver, until Ctrl-C."),
            _option(
                "interval", "text", "SPAN", "With --watch: between two looks, like 2.5 (seconds), 10s; 1m by default."
            ),
        ),
    ),
    Verb(
        "predictions",
        "Show what a service was asked and answered, or write it as Parquet files.",
        (
            _NAME,
            _option("last", "text", "SPAN", "Only the last 30m, 1h, 7d."),
            _option("parquet", "file", "DIR", "Write the rows there instead."),
        ),
    ),
    Verb(
        "drift",
        "Compare the rows of a service with training, column by column.",
        (
            _NAME,
            *_WINDOWS,
            _option("against", "text", "WHAT", "training (the default), another VERSION's, or the time before: 7d."),
            _flag("fail", "Exit with 1 where a column drifted, or none could be compared."),
        ),
    ),
    Verb(
        "feedback",
        "Take in labels that came late: a frame, or a CSV, Parquet or JSON lines file.",
        (
            _NAME,
            _word("labels", "data", "LABELS"),
            _option("on", "text", "KEY", "The column they go by: request_id (the default), or a key of `--keys`."),
        ),
    ),
    Verb(
        "alerts",
        "List a service's rules and what fires; add, preview or remove a rule, or test a channel.",
        (
            _NAME,
            _option("when", "text", "EXPR", "Add a rule: error_rate>0.05, drift@age>1, accuracy.low<0.8, p99_ms>200."),
            _flag("preview", "Only show when it would have fired."),
            _option("last", "text", "SPAN", "The history a preview looks at; 7d by default."),
            _option("rule", "text", "RULE", "The rule's name; by default its condition."),
            _option("clear", "text", "EXPR", "When it is over; by default a fifth of the bound back."),
            _option("windows", "number", "N", "So many windows on end; 1 by default."),
            _option("every", "text", "SPAN", "Their length; 5m for traffic, 1d for all else."),
            _option("rows", "number", "N", "Windows with fewer rows or requests are not judged; 20 by default."),
            _option("repeat", "text", "SPAN", "Tell it at most once in so long; 1h by default."),
            _option("send", "text", "CHANNEL", "Where it goes; by default to every channel.", multiple=True),
            _option("remove", "text", "RULE", "Take a rule away; a built-in one is switched off."),
            _option("test", "text", "CHANNEL", "Send a test message."),
        ),
    ),
    Verb(
        "panel",
        "Open the panel: deploy, try, watch and roll back by clicks that show their lines.",
        (_word("name", "name", "[NAME]", required=False), _flag("code", "What was clicked so far, as the next cell.")),
    ),
)

# Words of other tools, and what they are called here.
MEANT = {
    "deploy": "up",
    "run": "up",
    "start": "serve",
    "restart": "serve",
    "list": "ps",
    "ls": "ps",
    "status": "ps",
    "services": "ps",
    "kill": "stop",
    "down": "stop",
    "log": "logs",
    "history": "versions",
    "info": "show",
    "describe": "show",
    "compare": "diff",
    "undo": "rollback",
    "revert": "rollback",
    "delete": "remove",
    "rm": "remove",
    "save": "export",
    "containerize": "image",
    "build": "image",
    "load": "import",
}
VERBS = {verb.name: Verb(verb.name, verb.help, (*verb.parameters, JSON)) for verb in _ALL}


def summary(program: str) -> str:
    """The whole grammar on one page; `VERB --help` tells the rest."""
    up = VERBS["up"]
    lines = [f"{program} MODEL --sample ROWS ...", f"{program} VERB ...", "", "Verbs:"]
    lines += [
        f"  {verb.name:<9} {' '.join(item.metavar for item in verb.words):<26} {verb.help}" for verb in VERBS.values()
    ]
    lines += ["", f"Options of {program} MODEL, which is {program} {up.name} MODEL:"]
    lines += [f"  {_usage(item):<28} {item.help}" for item in up.options]
    return "\n".join([*lines, "", f"{program} VERB --help tells the options of a verb."])


def _usage(item: Parameter) -> str:
    return " ".join(filter(None, (item.flags[0], item.metavar or "|".join(item.choices))))
