"""What becomes of a service: its log read once, beside what its versions were trained on."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any, TypeVar

from nbdeploy.capture.profile import Profile
from nbdeploy.deployment import Deployment
from nbdeploy.errors import NbdeployError, NotFound, NothingToRollBackTo, WrongUse, did_you_mean
from nbdeploy.keep.history import rollback_target
from nbdeploy.run.feedback import FOLDER as FEEDBACK
from nbdeploy.run.feedback import Feedback
from nbdeploy.run.predictions import Predictions
from nbdeploy.run.services import ServiceState
from nbdeploy.runtime.counters import total
from nbdeploy.runtime.identity import schema_id
from nbdeploy.spans import span
from nbdeploy.watch import labelled, promise
from nbdeploy.watch.axis import Axis, axis, floored, said
from nbdeploy.watch.baseline import Baseline
from nbdeploy.watch.budget import Budget
from nbdeploy.watch.calibration import Calibration
from nbdeploy.watch.compared import Compared, compared
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.divergence import Divergence
from nbdeploy.watch.firing import Firing, firing
from nbdeploy.watch.health import Health, LogState
from nbdeploy.watch.incumbent import Incumbent, incumbent
from nbdeploy.watch.live import Live, Log
from nbdeploy.watch.outlook import Outlook, outlook
from nbdeploy.watch.readings import readings
from nbdeploy.watch.served import Served, read
from nbdeploy.watch.task import Task
from nbdeploy.watch.tenure import tenures, within
from nbdeploy.watch.traffic import traffic
from nbdeploy.watch.window import Window, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from nbdeploy.keep.event import Event
    from nbdeploy.keep.registry import Registry
    from nbdeploy.keep.version import Version
    from nbdeploy.runtime.manifest import Manifest
    from nbdeploy.settings import Settings

    Progress = Callable[[str], None]

Made = TypeVar("Made")

LAST = "7d"
AT_ONCE = 0.5  # of the false alarms that are accepted: for one window far beyond
SIZES = 2  # of each doubling of a window's rows that have thresholds of their own
THRESHOLDS = "thresholds"  # under the home: a cache, which may be removed
MUCH = 32 * 2**20  # bytes of a log that take seconds to read for the first time
TARGET = "target"  # is counted in training, and never sent


def monitor(
    settings: Settings,
    registry: Registry,
    name: str,
    progress: Progress,
    *,
    last: str = LAST,
    every: str | None = None,
) -> Health:
    """Everything that is known of a service over the last while, in windows.

    Raises:
        NotFound: there is and was no such service.
        WrongUse: no spans of time, or too many windows.
    """
    look = _look(settings, registry, name, last, every)
    look.begin(progress)
    return look.health(progress)


def drift(
    settings: Settings,
    registry: Registry,
    name: str,
    progress: Progress,
    *,
    last: str = LAST,
    every: str | None = None,
    against: str = "training",
    fail: bool = False,
) -> Divergence:
    """The rows of the last while beside training, another version's training ("1.2.0"), or the time before ("7d").

    Raises:
        NotFound: there is no such service or version.
        WrongUse: no spans of time, or too many windows.
    """
    look = _look(settings, registry, name, last, every)
    if against != "training" and not _is_span(against):
        if hint := did_you_mean(against, ["training"]):
            raise WrongUse(f'"{against}" is no version, no span of time and not "training".{hint}')
        registry.get(name, against)
    look.begin(progress)
    return replace(look.divergence(against, progress), fail=fail)


def _look(settings: Settings, registry: Registry, name: str, last: str, every: str | None) -> Look:
    """At a service that is there, over a time in which something can be seen."""
    look = Look(Deployment(settings, registry, name), span(last), _width(every))
    look.must_exist()
    look.must_fit()
    return look


def _width(every: str | None) -> timedelta | None:
    """Of a window."""
    width = None if every is None else span(every)
    if width is not None and not width:
        raise WrongUse(f'A window of "{every}" holds nothing; give --every a longer one, like 10m or 1h.')
    return width


@dataclass
class Look:
    """One look at a service, as it was at `now`. `failed` names parts that could not be made, and why: none of them hides
    the others. `until` is when its requests had been read.
    """

    deployment: Deployment
    last: timedelta
    every: timedelta | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    failed: dict[str, NotComputable] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    until: datetime = field(init=False)

    @property
    def name(self) -> str:
        return self.deployment.name

    @property
    def folder(self) -> Path:
        return self.deployment.folder

    def must_exist(self) -> None:
        """Also a service whose registry is damaged."""
        try:
            self.deployment.registry.versions(self.name)
        except NotFound:
            if not self.log.folder.is_dir():
                raise
        except NbdeployError as exc:
            self.failed["registry"] = NotComputable(str(exc))

    def must_fit(self) -> None:
        """Raises WrongUse for spans that nothing can be seen in, before anything is read."""
        if self.last <= timedelta(0):
            raise WrongUse("A span of no time shows nothing; write --last like 30m, 1h or 7d.")
        if self.every is not None:
            axis(self.now, self.last, self.every)

    def begin(self, progress: Progress) -> None:
        progress("watch")
        if (unread := self.log.size(unread=True)) > MUCH:
            progress(f"{unread / 1e6:,.0f} MB for the first time; later looks are quick")

    def health(self, progress: Progress) -> Health:
        requests = self._attempt("log", lambda: self.requests)
        axis = self.axis
        flow = self._attempt(
            "traffic",
            lambda: traffic(
                self.requests, axis.began, max(axis.now, axis.begin(axis.count - 1) + timedelta(seconds=1)), axis.every
            ),
        )
        baselines = {version: self._baseline(version) for version in self._versions()}
        labels = self._attempt("labels", self._labels)
        known = {version: item for version, item in baselines.items() if isinstance(item, Baseline)}
        manifests = {version: manifest for version in baselines if (manifest := self._manifest(version)) is not None}
        tasks = {version: Task.of(manifest) for version, manifest in manifests.items()}
        log = None if isinstance(labels, NotComputable) or labels.empty else Log(labels, axis.every, known, tasks)
        served = self._attempt("log", lambda: self._read(known, log))
        if isinstance(served, NotComputable):
            served, log = {}, None
        versions = tuple(self._compare(version, baselines[version], served, progress) for version in baselines)
        live = self._attempt("live metrics", lambda: self._live(log, manifests))
        outlook_ = self._attempt("expected", lambda: self._outlook(served, log, versions))
        seen = Outlook() if isinstance(outlook_, NotComputable) else outlook_
        events = self._events()
        live_version = self._attempt("live version", lambda: self._incumbent(events))
        return Health(
            name=self.name,
            axis=axis,
            service=self._state(),
            readings=tuple(readings(axis, flow, versions, labelled.by_place(live, axis), seen.windows)),
            traffic=flow,
            versions=versions,
            live=live,
            expected=seen.versions,
            promises={version: self._promised(version) for version in manifests},
            tenures=tuple(tenures(events, axis.began, self.now)),
            events=tuple(within(events, axis.began, self.now)),
            alerts=self._firing(),
            log=LogState() if isinstance(requests, NotComputable) else self._log_state(requests, served, live),
            failed=self.failed,
            incumbent=None if isinstance(live_version, NotComputable) else live_version,
        )

    def divergence(self, against: str, progress: Progress) -> Divergence:
        versions = self._versions()
        if not versions:
            reason = self.failed.get("log") or NotComputable("there are no rows in this time")
            return Divergence(self.name, self.axis, Compared("", against, reason=reason))
        baseline = self._baseline(versions[-1])
        if isinstance(baseline, Baseline) and against != "training":
            baseline = self._against(baseline, against)
        served = {} if isinstance(baseline, NotComputable) else self._read({versions[-1]: baseline}, None)
        return Divergence(self.name, self.axis, self._compare(versions[-1], baseline, served, progress))

    def _against(self, own: Baseline, against: str) -> Baseline | NotComputable:
        """The rows of `own`'s version over other bins, or over its own as an earlier time filled them."""
        if _is_span(against):
            return self._earlier(own, span(against), against)
        self.deployment.registry.get(self.name, against)  # a version that never was is wrong use
        other = self._trained(against)
        if isinstance(other, NotComputable):
            return other
        return replace(own, profile=other.profile, called=f"the training of {against}", own=against == own.version)

    def _earlier(self, own: Baseline, before: timedelta, written: str) -> Baseline | NotComputable:
        """Rows of any version with the same schema."""
        axis = Axis(self.axis.began - before, self.axis.began, before, self.axis.began)
        log = Predictions(self.log.folder).within(axis.began, axis.ended)
        asked = log.requests()
        alike = [str(version) for version in asked.loc[asked["schema"] == own.schema, "version"].unique()]
        baselines = {version: replace(own, version=version, own=version == own.version) for version in alike}
        served = read(log.pieces(), baselines, axis)
        wholes = [whole for one in served.values() if (whole := one.whole()) is not None]
        if not wholes:
            return NotComputable(f"there are no rows with this schema in the {written} before")
        whole = reduce(Window.merged, wholes)
        return replace(own, profile=whole.profile, called=f"the {said(before)} before", fitted=False)

    # the log

    @cached_property
    def log(self) -> Predictions:
        """From the first window on that may be looked at."""
        return Predictions(self.folder / "predictions").within(self._since)

    @property
    def _since(self) -> datetime:
        return floored(self.now - self.last, self.every or timedelta(minutes=1))

    @cached_property
    def _asked(self) -> pd.DataFrame:
        """What lies in the future too: a clock may have been set back."""
        found = self.log.requests()
        self.until = self.now + timedelta(seconds=time.monotonic() - self.began)
        return found

    @cached_property
    def requests(self) -> pd.DataFrame:
        """What comes while the log is read, once for the requests and once for the rows, is left for the next look."""
        return self._asked[self._asked["time"] < self.now]

    @cached_property
    def axis(self) -> Axis:
        return axis(self.now, self.last, self.every, None if "log" in self.failed else self.requests)

    @cached_property
    def policies(self) -> Mapping[str, Mapping[str, str]]:
        """By schema; of all versions at once, since every segment is asked."""
        return self.log.policies()

    def _read(self, baselines: Mapping[str, Baseline], log: Log | None) -> dict[str, Served]:
        return read(self.view.pieces(), baselines, self.axis, passing=None if log is None else log.read)

    @cached_property
    def view(self) -> Predictions:
        """The part of it that the axis shows."""
        return self.log.within(self.axis.began, self.now)

    def _versions(self) -> list[str]:
        """Those that answered, the one that answered last at the end."""
        if "log" in self.failed:
            return []
        times = self.requests.groupby("version", sort=False)["time"].max()
        return [str(version) for version in times.sort_values(kind="stable").index]

    # versions

    def _baseline(self, version: str) -> Baseline | NotComputable:
        return self._attempt(f"version {version}", lambda: self._trained(version))

    def _trained(self, version: str) -> Baseline | NotComputable:
        found = self._published(version)
        if isinstance(found, NotComputable):
            return found
        manifest = found.manifest()
        schema, proba = manifest.schema, [item for item in manifest.methods if item.name == "predict_proba"]
        labels = proba[0].output.labels if proba else None
        return Baseline(
            version=version,
            profile=Profile.from_dict(json.loads((found.src / "profile.json").read_bytes())),
            schema=schema_id(schema),
            container=schema.container,
            columns=tuple(column.name for column in schema.columns) or None,
            labels={str(label): label for label in labels or ()},
            policy=self.policies.get(schema_id(schema), {}),
        )

    def _published(self, version: str) -> Version | NotComputable:
        try:
            found = self.deployment.registry.get(self.name, version)
        except NotFound:
            return NotComputable(f"version {version} was removed, and what it was trained on with it")
        if not found.src.is_dir():
            return NotComputable(f"the bundle of version {version} is gone: {found.src}")
        return found

    def _manifest(self, version: str) -> Manifest | None:
        found = self._attempt(f"version {version}", lambda: self._published(version))
        if isinstance(found, NotComputable):
            return None
        manifest = self._attempt(f"version {version}", found.manifest)
        return None if isinstance(manifest, NotComputable) else manifest

    def _promised(self, version: str) -> promise.Promise:
        found = self._attempt(f"version {version}", lambda: promise.of(self.deployment.registry, self.name, version))
        return promise.Promise() if isinstance(found, NotComputable) else found

    def _compare(
        self, version: str, baseline: Baseline | NotComputable, served: Mapping[str, Served], progress: Progress
    ) -> Compared:
        if isinstance(baseline, NotComputable):
            return Compared(version, "training", reason=baseline)
        if version not in served:
            return Compared(version, baseline.called, reason=self.failed.get("log"))
        progress(f"comparing {version} with {baseline.called}")
        found = self._attempt(f"drift of {version}", lambda: self._compared(served[version]))
        return Compared(version, baseline.called, reason=found) if isinstance(found, NotComputable) else found

    def _compared(self, served: Served) -> Compared:
        baseline = served.baseline
        budget = Budget(max(self.axis.monthly, 1.0), 1.0, 2, AT_ONCE)
        folder = self.deployment.settings.home / THRESHOLDS
        parts = {name: counts for name, counts in parts_of(baseline.profile).items() if name != TARGET}
        calibration = Calibration(parts, budget, folder, called=baseline.called, sizes=SIZES)
        found = compared(served, calibration, self._refused(baseline.version))
        self._attempt("thresholds", calibration.save)
        return found

    def _refused(self, version: str) -> dict[int, Counter[str]]:
        """By place the requests that were refused for a column."""
        requests = self.requests
        inside = (requests["version"] == version) & (requests["time"] >= self.axis.began)
        own = requests[inside & requests["refused"].notna()]
        found: dict[int, Counter[str]] = {}
        for place, columns in zip(self.axis.places(own["time"]).tolist(), own["refused"], strict=True):
            found.setdefault(place, Counter()).update(columns)
        return found

    def _live(self, log: Log | None, manifests: Mapping[str, Manifest]) -> Live | NotComputable:
        if not manifests:
            return NotComputable("no version that answered is known any more")
        return labelled.live(log, Task.of(list(manifests.values())[-1]))

    def _labels(self) -> pd.DataFrame:
        """Those that can be joined."""
        found = Feedback(self.folder / FEEDBACK).frame()
        if rounded := self.view.rounded() & set(found["on"]):
            told = f"the log has {', '.join(sorted(rounded))} rounded, so labels by it are not joined"
            self.failed.setdefault("labels", NotComputable(told))
        return found[~found["on"].isin(rounded)].reset_index(drop=True)

    def _outlook(self, served: Mapping[str, Served], log: Log | None, versions: Sequence[Compared]) -> Outlook:
        labelled_rows = None if log is None else log.joined.labelled
        return outlook(served, labelled_rows, {one.version: one.drifting for one in versions})

    # the rest

    def _state(self) -> ServiceState:
        found = self._attempt("service", self.deployment.state)
        return ServiceState(self.name, "unknown") if isinstance(found, NotComputable) else found

    def _firing(self) -> tuple[Firing, ...]:
        found = self._attempt("alerts", lambda: firing(self.folder))
        return () if isinstance(found, NotComputable) else found

    def _events(self) -> list[Event]:
        found = self._attempt("events", lambda: self.deployment.registry.events(self.name))
        return [] if isinstance(found, NotComputable) else found

    def _incumbent(self, events: Sequence[Event]) -> Incumbent | None:
        back = None
        if events:
            with suppress(NotFound, NothingToRollBackTo):
                back = rollback_target(self.deployment.registry, self.name).version
        return incumbent(events, back, None if "log" in self.failed else self.requests)

    def _log_state(self, requests: pd.DataFrame, served: Mapping[str, Served], live: Live | NotComputable) -> LogState:
        inside = requests[requests["time"] >= self.axis.began]
        answered = inside["status"] == 200
        later = self._asked[(self._asked["time"] > self.until) & (self._asked["status"] == 200)]
        refused = inside[inside["status"].between(400, 499)]
        codes = refused["code"].fillna(refused["status"].astype(str)).value_counts()
        return LogState(
            answered=int(inside.loc[answered, "rows"].sum()),
            kept=sum(one.rows for one in served.values()),
            torn=self.view.torn,
            damaged=self.view.damaged,
            unlogged=self._unlogged(),
            future=int(later["rows"].sum()),
            older=not isinstance(live, NotComputable) and bool(live.labels.get("unknown")) and self._older(),
            refusals={str(code): int(count) for code, count in codes.items()},
            refused=dict(Counter(name for names in inside["refused"].dropna() for name in names).most_common()),
        )

    def _older(self) -> bool:
        found = self._attempt("log", Predictions(self.log.folder).within(until=self.axis.began).empty)
        return found is False

    def _unlogged(self) -> int:
        """Since the service began; a folder without counters has none."""
        folder = self.view.folder / "metrics"
        found = self._attempt("counters", lambda: total(folder).counters if folder.is_dir() else Counter())
        counted: Counter[Any] = Counter() if isinstance(found, NotComputable) else found
        return sum(count for key, count in counted.items() if key[0] == "unlogged_rows")

    def _attempt(self, part: str, make: Callable[[], Made]) -> Made | NotComputable:
        try:
            return make()
        except Exception as exc:  # noqa: BLE001 - whatever one part of the page meets, its reason stands in its place
            reason = NotComputable(str(exc) if isinstance(exc, NbdeployError) else f"{type(exc).__name__}: {exc}")
            self.failed.setdefault(part, reason)
            return reason


def _is_span(text: str) -> bool:
    return text[-1:] in "smhdw" and text[:-1].strip().isdecimal()
