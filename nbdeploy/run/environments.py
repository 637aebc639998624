"""An interpreter that satisfies a bundle's lock: this one, or one built for it under `NBDEPLOY_HOME/envs`.

A virtual environment cannot be moved once made, so it is built in place, under a lock that the tools it starts inherit,
and a marker written last says that it is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import site
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import EnvironmentFailed, Refused, Unsupported
from nbdeploy.homes import private, write_whole
from nbdeploy.run import installers
from nbdeploy.runtime import environment as runtime_environment
from nbdeploy.runtime.environment import installed_distributions, minor, problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from nbdeploy.settings import Settings

MARKER = "complete.json"
_SCHEMES = ("https", "git+https", "git+ssh")


def interpreter_for(
    environment: Mapping[str, Any],
    requirements: Path,
    settings: Settings,
    progress: Callable[[str], None] = lambda _text: None,
) -> Path:
    """The kernel's own interpreter where it satisfies the manifest's `environment`; else one built once per lock.

    Raises:
        EnvironmentFailed: no interpreter of that minor version, or uv and pip both failed; says why.
        Refused: the lock holds a line that is no plain requirement.
    """
    found = problems(environment) or _problems_of_a_fresh_one(environment)
    if not found:
        return Path(sys.executable)
    return _built(environment, requirements, (), settings, progress, because=found[0])


def kernel_for(
    environment: Mapping[str, Any],
    requirements: Path,
    more: Sequence[str],
    settings: Settings,
    progress: Callable[[str], None] = lambda _text: None,
) -> Path:
    """An interpreter for a notebook: as `interpreter_for`, and where one is built also with ipykernel, nbdeploy itself and
    the distributions `more`, in versions the lock allows.

    Raises:
        EnvironmentFailed, Refused: as `interpreter_for`.
    """
    found = problems(environment)
    if not found:
        return Path(sys.executable)
    added = (*sorted({"ipykernel", *more} - {"nbdeploy"}), _ourselves())
    return _built(environment, requirements, added, settings, progress, because=found[0])


def _built(
    environment: Mapping[str, Any],
    requirements: Path,
    added: Sequence[str],
    settings: Settings,
    progress: Callable[[str], None],
    *,
    because: str,
) -> Path:
    """The interpreter of the environment for this lock and what is `added` to it; built where there is none yet."""
    lines = read_lock(requirements)
    python = minor(str(environment["python"]))
    folder = settings.environments / _key([*lines, *(f"+ {name}" for name in added)], python)
    if not _whole(folder):
        count = len(lines) + len(added)
        progress(f"this interpreter does not fit ({because}): building an environment of {count} packages")
        with _locked(folder, progress) as held:
            if not _whole(folder):
                _build(folder, lines, python, installers.Runner(progress, held), added)
    return installers.python_of(folder)


def _ourselves() -> str:
    """How another environment gets this nbdeploy: from the folder it is installed from, else as that version."""
    origin = json.loads(metadata.distribution("nbdeploy").read_text("direct_url.json") or "{}")
    url = str(origin.get("url", ""))
    return f"nbdeploy @ {url}" if url.startswith("file://") else f"nbdeploy=={metadata.version('nbdeploy')}"


def _problems_of_a_fresh_one(environment: Mapping[str, Any]) -> list[str]:
    """This kernel may find packages where its workers, started without PYTHONPATH and its sys.path, do not."""
    places = {str(found.path.parent) for found in installed_distributions().values()}
    if places <= {*site.getsitepackages(), site.getusersitepackages()}:
        return []
    return _asked(Path(sys.executable), environment, Path(sys.executable), installers.Runner(lambda _text: None))


def read_lock(path: Path) -> list[str]:
    """The requirements of a lock, parsed, none of them able to do more than name a package.

    Raises:
        Refused: an option (-e, --index-url), a local file, a plain-text or unpinned requirement.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement as exc:
            raise Refused(
                f'{path} holds "{_short(text)}", which is no requirement; only "name==version" is installed.'
            ) from exc
        if not _is_plain(requirement.url, [specifier.operator for specifier in requirement.specifier]):
            raise Refused(f'{path} holds "{_short(text)}"; only "name==version", https and git+https are installed.')
        found.append(str(requirement))
    return sorted(found)


def _is_plain(url: str | None, operators: list[str]) -> bool:
    if url is not None:
        return url.split("://", 1)[0] in _SCHEMES and "://" in url
    return operators == ["=="]


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _key(lines: list[str], python: str) -> str:
    return hashlib.sha256("\n".join([f"python {python}", *lines]).encode()).hexdigest()[:32]


def _whole(folder: Path) -> bool:
    """Complete, and its base interpreter is still there (its python is a link)."""
    return (folder / MARKER).is_file() and installers.python_of(folder).exists()


@contextlib.contextmanager
def _locked(folder: Path, progress: Callable[[str], None]) -> Iterator[int]:
    """One builder at a time. The lock is held as long as any process that inherited it lives, so that a uv or pip whose
    kernel was killed is not joined by a second one.
    """
    try:
        import fcntl
    except ImportError as exc:
        raise Unsupported("Building an environment for a bundle", "install its requirements.txt by hand") from exc
    private(folder.parent)
    with folder.with_suffix(".lock").open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another process that builds this environment")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _build(folder: Path, lines: list[str], python: str, run: installers.Runner, added: Sequence[str] = ()) -> None:
    base = installers.find_python(python, run)
    try:
        tool = _install(folder, lines, base, run, added)
        _verify(folder, lines, python, run)
    except BaseException:  # Ctrl-C too must not leave the environment half built
        shutil.rmtree(folder, ignore_errors=True)
        raise
    facts = {"python": str(base), "tool": tool, "requirements": lines}
    write_whole(folder / MARKER, json.dumps(facts, indent=1).encode())
    run.say("the environment is built")


def _install(folder: Path, lines: list[str], base: Path, run: installers.Runner, added: Sequence[str] = ()) -> str:
    """With uv, and where uv cannot (a private index may be known to pip alone), with pip; the tool that did it."""
    for tool in installers.available():
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            tool.create(base, folder, run)
            lock = folder / "requirements.txt"
            lock.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            tool.install(folder, lock, run)
            if added:
                tool.add(folder, lock, added, run)
        except OSError as exc:
            raise installers.explained(str(exc), folder) from exc
        except EnvironmentFailed as exc:
            if tool.last:
                raise
            run.say(f"{tool.name} could not: {exc.fact}; trying pip")
        else:
            return tool.name
    raise EnvironmentFailed("neither uv nor pip was found", "install uv: pip install uv")


def _verify(folder: Path, lines: list[str], python: str, run: installers.Runner) -> None:
    found = _asked(installers.python_of(folder), {"python": python, "requirements": lines}, folder, run)
    if found:
        raise EnvironmentFailed("; ".join(found[:5]), "deploy the model again from a kernel that works")


def _asked(python: Path, environment: Mapping[str, Any], folder: Path, run: installers.Runner) -> list[str]:
    """What another interpreter says, by the same code a worker asks."""
    code = (
        "import json, runpy, sys; print(json.dumps(runpy.run_path(sys.argv[1])['problems'](json.loads(sys.argv[2]))))"
    )
    wanted = {key: environment[key] for key in ("python", "implementation", "requirements") if key in environment}
    argv = [str(python), "-P", "-c", code, runtime_environment.__file__, json.dumps(wanted)]
    found: list[str] = json.loads(run.output(argv, folder))
    return found
