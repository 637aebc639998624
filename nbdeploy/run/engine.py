"""docker or podman, each by its own command line: the one door to a container engine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import EngineMissing, ImageFailed, ServiceFailed, UnknownOption
from nbdeploy.run.installers import without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ENGINES = ("docker", "podman")  # where both work, the one somebody started a daemon for
PATIENCE = 20.0  # seconds for an engine to say that it works
ANSWER = 60.0  # seconds for it to answer a question, or to remove a container or an image
KEPT = 400  # lines of a builder's output that are looked through for the cause
SHOWN = 15  # of them that are shown
MERCY = 30.0  # seconds a builder that is called off has to clear up
LOOK = 0.1  # seconds between two looks whether it has
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
REFERENCE = re.compile(
    rf"(?:[a-zA-Z0-9][a-zA-Z0-9.-]*(?::\d{{1,5}})?/)?{_PART}(?:/{_PART})*(:\w[\w.-]{{0,127}})?(@sha256:[0-9a-f]{{64}})?",
    re.ASCII,
)
LONGEST = 512  # characters of one


@dataclass(frozen=True)
class Engine:
    name: str
    program: str

    @property
    def podman(self) -> bool:
        return self.name == "podman"

    def ask(self, *words: str) -> str | None:
        """What it answers; None where it says no.

        Raises:
            ServiceFailed: it says nothing at all.
        """
        try:
            done = _run([self.program, *words], ANSWER)
        except subprocess.TimeoutExpired:
            asked = f"`{self.name} {' '.join(words[:2])}` had no answer within {ANSWER:g} s"
            advice = f"see whether `{self.name} version` answers, restart the engine if it does not, and try again"
            raise ServiceFailed(self.name, asked, advice) from None
        return done.stdout if done.returncode == 0 else None

    def image(self, reference: str) -> dict[str, Any] | None:
        """All it knows of an image that lies here; None where there is none."""
        told = self.ask("image", "inspect", reference)
        try:
            found: list[dict[str, Any]] = json.loads(told) if told else []
        except ValueError:
            advice = f"see what `{self.program} image inspect {reference}` says"
            raise ServiceFailed(self.name, "what it tells of an image is not JSON", advice) from None
        return found[0] if found else None

    @staticmethod
    def labels(image: dict[str, Any]) -> dict[str, str]:
        """Of what `image` told."""
        return dict((image.get("Config") or {}).get("Labels") or {})

    def do(self, what: str, words: Sequence[str]) -> None:
        """Carry it out; it ends with us.

        Raises:
            ImageFailed: with the cause and the end of what was said.
        """
        with self.doing(what, words):
            pass

    @contextlib.contextmanager
    def doing(self, what: str, words: Sequence[str]) -> Iterator[None]:
        """Carry it out beside the block: it is done when the block has ended, and given up where the block fails.

        Raises:
            ImageFailed: with the cause and the end of what was said.
        """
        with subprocess.Popen(
            [self.program, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            try:
                yield
                said = deque((line.rstrip() for line in process.stdout or ()), KEPT)
                code = process.wait()
            except BaseException:  # Ctrl-C too must not leave a builder running
                self._end(process)
                raise
        if code != 0:
            raise explained(self, what, code, said)

    def _end(self, process: subprocess.Popen[str]) -> None:
        """Let it clear up: docker's client tells its daemon; podman leaves what it was building, unless a step of it fails."""
        deadline = time.monotonic() + MERCY
        try:
            if not self.podman:
                process.send_signal(signal.SIGINT)
            while process.poll() is None and time.monotonic() < deadline:
                for step in _below(process.pid) if self.podman else ():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(step, signal.SIGKILL)
                time.sleep(LOOK)
        finally:  # somebody may be in a greater hurry
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def build(self, what: str, folder: Path, file: str, tags: Sequence[str], arguments: Sequence[str]) -> None:
        """Raises ImageFailed."""
        with self.building(what, folder, file, tags, arguments):
            pass

    @contextlib.contextmanager
    def building(
        self, what: str, folder: Path, file: str, tags: Sequence[str], arguments: Sequence[str]
    ) -> Iterator[None]:
        """An image from the folder, beside the block, without any network: whatever it needs lies there.

        A builder of podman's lives on when we are killed, and what it reads may be swept away then: so it names nothing, we do.

        Raises:
            ImageFailed
        """
        built = folder / "image.id"
        own = ["--format", "docker", "--layers=false", "--pull=never", "--iidfile", str(built)] if self.podman else []
        named = [] if self.podman else [word for tag in tags for word in ("--tag", tag)]
        words = [
            "build",
            *own,
            "--network",
            "none",
            "--file",
            str(folder / file),
            *named,
            *arguments,
            str(folder),
        ]
        try:
            with self.doing(what, words):
                yield
            if self.podman:
                self.do(what, ["tag", built.read_text(encoding="ascii").strip(), *tags])
        except BaseException:  # it was built perhaps, and nobody would find it without a name
            with contextlib.suppress(OSError, ServiceFailed):
                self.ask("rmi", built.read_text(encoding="ascii").strip())
            raise

    def pull(self, what: str, reference: str) -> dict[str, Any]:
        """What is known of it. Raises ImageFailed: it is neither here nor where it should come from."""
        found = self.image(reference)
        if found is None:
            self.do(what, ["pull", "--quiet", reference])
            found = self.image(reference)
        return found or {}


def _run(argv: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=timeout, check=False
    )


def _below(pid: int) -> list[int]:
    """The step a podman is at: what the runtime it has started runs."""
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True) if child.ppid() != pid]
    except psutil.Error:
        return []


def find(wanted: str | None = None) -> Engine:
    """The engine that was asked for, or the first that works.

    Raises:
        EngineMissing: none is installed, or none answers; says which was tried, and what it said.
    """
    if wanted is not None and wanted not in ENGINES:
        raise UnknownOption(wanted, "container engine", ENGINES)
    tried = []
    for name in (wanted,) if wanted else ENGINES:
        program = shutil.which(name)
        if program is None:
            tried.append(f"{name} is not on PATH")
            continue
        fact = _trouble(program)
        if fact is None:
            return Engine(_true_name(program, name), program)
        tried.append(f"{name}: {fact}")
    raise EngineMissing("; ".join(tried))


def _trouble(program: str) -> str | None:
    """Why it cannot be used; None where it works."""
    try:
        done = _run([program, "version"], PATIENCE)
    except subprocess.TimeoutExpired:
        return f"no answer within {PATIENCE:g} s"
    except OSError as exc:
        return str(exc)
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return without_secrets(lines[-1]) if lines else f"exit code {done.returncode}"


def _true_name(program: str, name: str) -> str:
    """Some systems give podman the name docker as well."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, errors="replace", check=False)
    return "podman" if "podman" in done.stdout.lower() else name


def explained(engine: Engine, what: str, code: int, said: Sequence[str]) -> ImageFailed:
    """What a builder said, as fact and next step; the first pattern that is found names the cause."""
    text = without_secrets("\n".join(said))
    log = "\n".join([line for line in text.splitlines() if line.strip()][-SHOWN:])
    if code in {137, -signal.SIGKILL}:
        return ImageFailed(what, *_KILLED, log)
    for pattern, fact, advice in _CAUSES:
        match = re.search(pattern, text, re.IGNORECASE)
        if match:
            named = {"what": next((group for group in match.groups() if group), ""), "engine": engine.name}
            return ImageFailed(what, fact.format(**named), advice.format(**named), log)
    advice = "its last words are below" if log else f"it said nothing; see what `{engine.name} info` says"
    return ImageFailed(what, f"{engine.name} ended with exit code {code}", advice, log)


_KILLED = (
    "the builder was killed (137), most likely because memory ran out",
    "give this machine, or the engine's virtual machine, more memory, and build again",
)
_ABSENT = (
    r"manifest unknown|repository .* not found|pull access denied|name unknown|no such image|image not known"
    r"|short-name .* did not resolve|requested access to the resource is denied"
)
_UNREACHED = (
    r"no such host|dial tcp|i/o timeout|network is unreachable|connection refused|pinging container registry"
    r"|temporary failure in name resolution|TLS handshake timeout"
)
# Order matters: an engine that cannot pull speaks of the network as well, and of a manifest.
_CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"no space left on device|disk quota exceeded|not enough space",
        "there is no space left where {engine} keeps its images",
        "free some: `{engine} system df` shows what is used, `{engine} image prune` removes what no tag names",
    ),
    (  # all that podman says of a full disk while it makes a layer
        r"storing layer .* to file: io: read/write on closed pipe",
        "{engine} could not write a layer, most likely because no space is left where it works (TMPDIR, or /var/tmp)",
        "see `df` there, and free some, or set TMPDIR to a folder on another disk",
    ),
    (r"exit(?:ed with)?(?: code| status)?:? 137|signal: killed|\bOOM\b|out of memory|cannot allocate memory", *_KILLED),
    (
        r"cannot connect to (?:the docker daemon|podman)|is the docker daemon running|error during connect",
        "{engine} does not answer",
        "start it, or name the other engine with --engine",
    ),
    (
        r"permission denied while trying to connect|got permission denied|dial unix .*permission denied",
        "this user may not use {engine}",
        "join its group, or use rootless podman with --engine podman",
    ),
    (
        r"no subuid ranges|newuidmap|potentially insufficient uids",
        "{engine} has no user ids for this user's containers",
        "add ranges to /etc/subuid and /etc/subgid (man subuid), then `{engine} system migrate`",
    ),
    (
        r"x509|certificate (?:verify failed|signed by unknown authority)",
        "the registry's certificate is signed by an authority that {engine} does not know",
        "behind a proxy with its own CA, add the CA to the system's store and restart {engine}",
    ),
    (
        r"invalid reference format",
        "what it is to be built on is named by no image reference",
        "write REGISTRY/NAME:TAG with --base",
    ),
    (
        r"python3: (?:command )?not found|another Python than",
        "the base image lacks the Python that this version was made with",
        "name one that has it, as python3 in its PATH, with --base",
    ),
    (
        _ABSENT,
        "the base image is neither on this machine nor in its registry",
        "pull it or load it with `{engine} load`, or name another with --base",
    ),
    (
        _UNREACHED,
        "the base image is not on this machine, and its registry cannot be reached",
        "check network and proxy, load the image with `{engine} load`, or name one that is here with --base",
    ),
    (
        r"unknown flag: --mount|unknown instruction|the --mount option requires BuildKit|--chmod option requires",
        "this {engine} is too old to build it",
        "docker needs BuildKit (23 or newer), podman 4 or newer",
    ),
)
