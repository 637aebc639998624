"""`Finding`: one thing that is wrong, in words, with what to do next; the worst first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from nbdeploy.judge.estimate import Estimate
from nbdeploy.judge.metrics import metric
from nbdeploy.render.plain import ICONS, counted, percent
from nbdeploy.watch.axis import clock
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.drift import DRIFTED, SUSPECTED
from nbdeploy.watch.incumbent import UNFIT
from nbdeploy.watch.promise import GATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nbdeploy.render import Tone
    from nbdeploy.watch.compared import Compared, Track
    from nbdeploy.watch.health import Health
    from nbdeploy.watch.incumbent import Incumbent
    from nbdeploy.watch.live import Live
    from nbdeploy.watch.window import Window

MOST = 6  # columns that are told one by one
ERRORS = 0.01  # share of requests from which failures are worse than a thing to look at
REFUSED = 0.05
SLOWER = 2.0  # times the median window's p95
ASKED = 20  # requests of a window whose latency counts
DUPLICATES = 0.2
FLATTERED = 0.05  # better on rows it knew; four times that share of an error
ORDER: dict[Tone, int] = {"bad": 0, "warning": 1, "neutral": 2, "good": 3}
NEXT = {
    "units": "ask whoever fills this column whether its unit changed; until it is mended the answers are about other things",
    "swapped": "look where these two are filled in: a call that passes them by position, or a renamed field",
    "missing": "look where this column is filled in; a model that takes a missing value answers without this knowledge",
    "constant": "look where this column is filled in: a default or a stuck source gives one value for all",
    "unseen": "the model has not learnt these values: check their spelling, or train on rows that have them",
    "doubt": "labels (feedback) say whether the answers are right",
    "mean": "see whether the answers are still right (feedback); if this is how the world is now, train again on recent rows",
}
TOLD = ("accuracy", "f1_macro", "roc_auc", "r2", "mae", "rmse")  # one of them is told


@dataclass(frozen=True)
class Finding:
    tone: Tone
    text: str
    next: str = ""

    @property
    def icon(self) -> str:
        return ICONS[self.tone]

    def to_dict(self) -> dict[str, Any]:
        return {"tone": self.tone, "text": self.text, "next": self.next}


def findings(health: Health) -> list[Finding]:
    found = [
        *_of_service(health),
        *_of_alerts(health),
        *_of_traffic(health),
        *_of_metrics(health),
        *_of_drift(health),
        *_of_rows(health),
        *_of_log(health),
        *_of_parts(health),
    ]
    return sorted(found, key=lambda one: ORDER[one.tone])


def tone(health: Health) -> Tone:
    worst = health.findings[0].tone if health.findings else "good"
    if worst != "neutral":
        return worst
    return "good" if health.log.kept else "neutral"


def verdict(health: Health) -> str:
    wrong = sum(one.tone == "bad" for one in health.findings)
    looks = sum(one.tone == "warning" for one in health.findings)
    if wrong:
        more = f", {looks} more to look at" if looks else ""
        return f"{wrong} thing{'s are' if wrong > 1 else ' is'} wrong{more}"
    if looks:
        return f"{looks} thing{'s' if looks > 1 else ''} to look at"
    return "nothing wrong is seen" if health.log.kept else "nothing to judge by yet"


# the parts


def _of_service(health: Health) -> Iterator[Finding]:
    state, name = health.service.state, health.name
    if state in {"dead", "failed", "unknown"}:
        why = f": {health.service.failure}" if health.service.failure else ""
        yield Finding("bad", f"The service is {state}{why}", f"nbdeploy logs {name}, then nbdeploy serve {name}")
    elif state == "degraded":
        yield Finding("warning", f"The service is degraded{_why(health.service.failure)}", f"nbdeploy logs {name}")
    elif state == "stopped":
        yield Finding("neutral", "The service is stopped; this is what it did before", f"nbdeploy serve {name}")
    if health.service.lacking:
        yield Finding("warning", health.service.lacking)


def _why(fact: str | None) -> str:
    return f": {fact}" if fact else ""


def _of_alerts(health: Health) -> Iterator[Finding]:
    for line in health.alerts:
        yield Finding("bad", f"Alert: {line.text}", f"nbdeploy alerts {health.name}")


def _of_traffic(health: Health) -> Iterator[Finding]:
    if isinstance(health.traffic, NotComputable):
        return
    whole = health.traffic.whole
    if not whole.requests:
        span = health.axis.said().partition(" in ")[0]
        yield Finding(
            "neutral", f"The log has no request of the last {span}", f"nbdeploy attach {health.name} shows how to ask"
        )
        return
    if whole.errors:
        share = whole.errors / whole.requests
        words = f"{whole.errors:,} of {counted(whole.requests, 'request')} failed (5xx, {percent(share)})"
        yield Finding("bad" if share >= ERRORS else "warning", words, f"nbdeploy logs {health.name} has the tracebacks")
    now = health.incumbent
    if now is not None and now.refuses:
        yield Finding("bad", refusing(now), _instead(health.name, now))
        if now.refused >= whole.refused / 2:
            return
    if whole.refused and whole.refused / whole.requests >= REFUSED:
        codes = ", ".join(f"{count:,} {code}" for code, count in list(health.log.refusals.items())[:3])
        columns = ", ".join(f"{name} {count:,}" for name, count in list(health.log.refused.items())[:3])
        words = f"{whole.refused:,} of {counted(whole.requests, 'request')} {_were(whole.refused)} refused (4xx, {percent(whole.refused / whole.requests)}): {codes}"
        words += f"; for their columns {columns}" if columns else ""
        yield Finding("warning", words, "the answer to each names row, column and problem: ask the callers for it")
    yield from _slower(health)


def refusing(now: Incumbent) -> str:
    """That the live version is not what its callers need."""
    beside = "" if now.before is None else f"; of the version before, {percent(now.before)}"
    words = f"Since {now.version} went live {now.refused:,} of {counted(now.requests, 'request')} {_are(now.refused)} refused ({UNFIT})"
    return f"{words}: {now.code or 'without a code'}{beside}"


def _instead(name: str, now: Incumbent) -> str:
    """What to do about a version that is wrong for its callers."""
    why = f"nbdeploy predictions {name} and the answers themselves say why"
    return f"nbdeploy rollback {name} brings {now.back} back; {why}" if now.back else f"{why}; deploy what takes them"


def _slower(health: Health) -> Iterator[Finding]:
    values = [
        float(value)
        for reading in health.readings
        if not isinstance(value := reading.value("p95_ms"), NotComputable)
        and _number(reading.value("requests")) >= ASKED
    ]
    if len(values) < 5:
        return
    usual = sorted(values[:-1])[len(values[:-1]) // 2]
    if values[-1] >= SLOWER * usual and values[-1] - usual > 10:
        words = f"Answers take longer: p95 is {values[-1]:.3g} ms now, {usual:.3g} ms in the usual window"
        yield Finding("warning", words, f"nbdeploy ps shows the workers; nbdeploy logs {health.name}")


def _number(value: float | NotComputable) -> float:
    return 0.0 if isinstance(value, NotComputable) else value


def _of_metrics(health: Health) -> Iterator[Finding]:
    if not isinstance(health.live, NotComputable):
        for one in _latest(health, {one.version: one for one in health.live.versions}):
            yield from _worse(health, one.version, one.metrics, f"on {counted(one.labelled, 'labelled row')}", "bad")
        yield from _of_labels(health, health.live)
        if told := [warning.replace(" input.", " ") for warning in health.live.warnings]:
            more = f" And so in {len(told) - 1} more." if len(told) > 1 else ""
            step = "the live metrics speak of the labelled rows alone; label a sample of the rest"
            yield Finding("warning", told[0] + more, step)
    for version, found in _latest(health, {name: (name, found) for name, found in health.expected.items()}):
        gate = health.promises.get(version)
        if not isinstance(found, NotComputable) and gate is not None and gate.of == GATE:
            yield from _worse(health, version, found.metrics, "expected without labels", "warning")


def _of_labels(health: Health, live: Live) -> Iterator[Finding]:
    """Labels that say nothing of the answers."""
    reasons = [value for one in live.versions for value in one.metrics.values() if isinstance(value, NotComputable)]
    computed = any(isinstance(value, Estimate) for one in live.versions for value in one.metrics.values())
    if live.labelled and not computed:
        why = f": {reasons[0].reason}" if reasons else ""
        step = "compare the labels with the answers: are they written as the model's classes are?"
        yield Finding(
            "warning",
            f"{counted(live.labelled, 'row')} {_have(live.labelled)} a label, and no live metric can be computed{why}",
            step,
        )
    span = health.axis.said().partition(" in ")[0]
    step = "give the request_id that came with the answer, or a key that was logged with it"
    older = "of older requests that the log still has they count with a longer --last; else "
    gone = "the log has no older requests, as where they got too old for it; else "
    step = (older if health.log.older else gone) + step
    if count := live.labels.get("unknown", 0):
        tone: Tone = "neutral" if live.labelled else "warning"
        yield Finding(tone, f"{count:,} label{_s(count)} of no request in the log of the last {span}", step)
    if count := live.labels.get("surplus", 0):
        words = f"{count:,} label{_s(count)} of a row that the request does not have"
        yield Finding("warning", words, "rows are counted from 0, a label for each row of the request")


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _s(count: int) -> str:
    return " is" if count == 1 else "s are"


def _worse(
    health: Health, version: str, metrics: Mapping[str, Estimate | NotComputable], where: str, how: Tone
) -> Iterator[Finding]:
    """The first metric that is surely worse than it was before the version went live."""
    promise = health.promises.get(version)
    for name in TOLD if promise else ():
        now, before = metrics.get(name), promise.metrics.get(name) if promise else None
        if (
            promise
            and isinstance(now, Estimate)
            and before is not None
            and _surely_worse(name, now, before, promise.of)
        ):
            title = known.title if (known := metric(name)) else name
            words = f"{title} of {version} is {now} {where}; it was {before} {promise.of}"
            step = "see below which columns changed, then train again on recent labelled rows"
            if health.incumbent is not None and health.incumbent.back is not None:
                step += f", or bring {health.incumbent.back} back: nbdeploy rollback {health.name}"
            yield _told(health, version, Finding(how if promise.of == GATE else "warning", words, step))
            return


def _latest(health: Health, by_version: Mapping[str, Any]) -> list[Any]:
    """That of the live version; in want of it, the last one."""
    if health.incumbent is not None and health.incumbent.version in by_version:
        return [by_version[health.incumbent.version]]
    return list(by_version.values())[-1:]


def _told(health: Health, version: str, found: Finding) -> Finding:
    """Of a version that is not live it is history: nothing to be done about."""
    if not health.past(version):
        return found
    return Finding("neutral", f"{found.text} ({version} is not live any more)")


def _surely_worse(name: str, now: Estimate, before: Estimate, of: str) -> bool:
    """The whole interval lies on the worse side of what was, of its interval where it has one. Rows a model knows flatter
    it, so that beside training it takes more.
    """
    known = metric(name)
    if known is None or known.greater_is_better is None or now.low is None or now.high is None:
        return False
    if known.greater_is_better:
        bound = before.value if before.low is None else before.low
        return now.high < (bound if of == GATE else bound - FLATTERED)
    bound = before.value if before.high is None else before.high
    return now.low > (bound if of == GATE else bound * (1 + 4 * FLATTERED))


def _of_drift(health: Health) -> Iterator[Finding]:
    if (found := health.version) is not None:
        for one in _of_columns(health, found):
            yield _told(health, found.version, one)


def _of_columns(health: Health, found: Compared) -> Iterator[Finding]:
    if found.reason is not None:
        yield Finding("neutral", f"Rows of {found.version} are not compared with training: {found.reason}")
    swapped = {name for swap in found.swapped for name in (swap.first, swap.second)}
    for swap in found.swapped:
        yield Finding("bad", f"{swap.text}{_since(found.track(swap.first))}", NEXT["swapped"])
    told = [track for track in found.ranked if track in found.drifted and track.name not in swapped]
    for track in told[:MOST]:
        yield Finding("bad", drifted(track), NEXT.get(_kind(track), NEXT["mean"]))
    if len(told) > MOST:
        names = ", ".join(track.column for track in told[MOST : MOST + 5])
        more = f" and {len(told) - MOST - 5} more" if len(told) > MOST + 5 else ""
        yield Finding("bad", f"{len(told) - MOST} more columns drifted: {names}{more}", f"nbdeploy drift {health.name}")
    for track in found.suspected:
        if track.now.doubt:
            yield Finding("neutral", f"{drifted(track)}; {track.now.doubt}", NEXT["doubt"])
    if suspected := [track for track in found.suspected if not track.now.doubt]:
        count = len(suspected)
        names = ", ".join(track.column for track in suspected[:5]) + (", ..." if count > 5 else "")
        words = f"{names} {'is' if count == 1 else 'are'} beyond the threshold in the last window; it takes two on end to be sure"
        yield Finding("warning", words, "look again after the next window")
    yield from ended(found)


def ended(found: Compared) -> Iterator[Finding]:
    """Columns that drifted and are again as they should be."""
    told = []
    for track in found.tracks:
        past = list(_episodes(found, track.name))
        if past and track.now.verdict not in {DRIFTED, SUSPECTED} and past[-1][0].began and past[-1][-1].ended:
            subject = "The answers" if track.name == "prediction" else track.column
            times = "" if len(past) == 1 else " twice, last" if len(past) == 2 else f" {len(past)} times, last"
            began, until = clock(past[-1][0].began), clock(past[-1][-1].ended)
            told.append(f"{subject} had drifted{times} from {began} to {until}")
    if told:
        more = f", and so {len(told) - MOST} more" if len(told) > MOST else ""
        yield Finding("neutral", "; ".join(told[:MOST]) + more)


def _episodes(found: Compared, name: str) -> Iterator[list[Window]]:
    """Windows on end in which a column had drifted, oldest first, with those before them in which it was suspected."""
    judged = [(drift[name].verdict, drift.window) for drift in found.drifts]
    for beyond, stretch in groupby(judged, lambda pair: pair[0] in {DRIFTED, SUSPECTED}):
        windows = list(stretch)
        while windows and windows[-1][0] != DRIFTED:
            windows.pop()
        if beyond and windows:
            yield [window for _, window in windows]


def drifted(track: Track) -> str:
    """What happened to a column that drifted."""
    subject = "The answers" if track.name == "prediction" else track.column
    return f"{subject}: {track.what or 'not as in training'}{_since(track)}"


def _since(track: Track) -> str:
    return "" if track.since is None else f", since {clock(track.since)}"


def _kind(track: Track) -> str:
    return track.now.shifts[0].kind if track.now.shifts else ""


def _of_rows(health: Health) -> Iterator[Finding]:
    """What drift does not say."""
    shares = [(_number(reading.value("duplicates")), _number(reading.value("rows"))) for reading in health.readings]
    rows = sum(count for _, count in shares)
    if rows >= 100 and (share := sum(share * count for share, count in shares) / rows) >= DUPLICATES:
        words = f"{percent(share)} of the rows came before in the same window"
        yield Finding(
            "neutral", words, "a caller that asks again, or a cache that is missing: repeated rows weigh double here"
        )
    found = health.version
    broken = [track for track in found.tracks if isinstance(track.now.verdict, NotComputable)] if found else []
    if found is not None and broken and len(broken) == len(found.tracks) and found.rows:
        [(reason, _)] = Counter(str(track.now.verdict) for track in broken).most_common(1)
        yield Finding("neutral", f"No column can be compared with {found.called}: {reason}")


def _of_log(health: Health) -> Iterator[Finding]:
    log = health.log
    if log.damaged or log.torn:
        words = f"{counted(log.damaged, 'record')} of the log {_are(log.damaged)} damaged and {log.torn:,} torn; {'it is' if log.damaged + log.torn == 1 else 'they are'} passed over"
        yield Finding("warning", words, "a disk that fails, or a machine that lost power: look at its own log")
    if log.unlogged:
        words = f"{counted(log.unlogged, 'answered row')} could not be written to the log; nothing here speaks of them"
        yield Finding("warning", words, f"make room on the disk; nbdeploy logs {health.name} says what failed")
    if log.future:
        words = f"{counted(log.future, 'answered row')} {_have(log.future)} a time in the future; nothing here speaks of them"
        yield Finding("warning", words, "the machine's clock was ahead of its time, or is behind it now: see to it")
    if log.answered > log.kept:
        words = (
            f"The log keeps {log.kept:,} of {counted(log.answered, 'answered row')}; drift and quality speak of these"
        )
        yield Finding("neutral", words)


def _of_parts(health: Health) -> Iterator[Finding]:
    for part, reason in health.failed.items():
        yield Finding("warning", f"{part}: {reason}")


def blind(found: Compared) -> str:
    """How much could happen unseen."""
    values = sorted(track.now.visible for track in found.tracks if track.now.visible is not None and _ordered(track))
    if not values:
        return ""
    least, most = f"{values[0]:.2g}", f"{values[-1]:.2g}"
    among = least if least == most else f"{least} to {most}"
    by = "" if least == most else ", by column"
    return f"The smallest shift of a mean seen at this traffic is {among} training standard deviations{by}"


def _ordered(track: Track) -> bool:
    return any(test.name == "wasserstein" for test in track.now.tests)
