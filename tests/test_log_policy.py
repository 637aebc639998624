"""[log] of the settings: from the settings to what lies in the log, and to what lies nowhere (F55)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from ofage import OfAge

from nbdeploy.capture import policy
from nbdeploy.errors import Refused, ServiceFailed, UnknownOption, WrongUse
from nbdeploy.run import rules, secret
from nbdeploy.run.predictions import Predictions
from nbdeploy.runtime.manifest import Column, Schema
from nbdeploy.runtime.model import ServedModel
from nbdeploy.runtime.policy import Policy
from nbdeploy.runtime.records import head
from nbdeploy.runtime.rules import Rules
from nbdeploy.settings import Settings
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nbdeploy.run.service import Service

pytestmark = pytest.mark.slow
SECRET = "correct-horse-battery-staple"
SCHEMA = Schema(
    "frame",
    (
        Column("age", "integer", "int64"),
        Column("island", "category", "str", categories=("Dream",)),
        Column("remark", "text", "str"),
    ),
    library="pandas",
    keys=("customer",),
)


def people(count: int = 300) -> pd.DataFrame:
    ages = np.arange(count) % 80
    return pd.DataFrame(
        {
            "age": ages,
            "email": [f"{SECRET}-{number}@example.org" for number in range(count)],
            "remark": [f"remark {SECRET} {number}" for number in range(count)],
            "town": [f"town-{number % 7}" for number in range(count)],
            "customer": range(count),
        }
    )


def workspace_of(settings: Settings, log: dict[str, Any]) -> Workspace:
    return Workspace(replace(settings, log=log))


@pytest.fixture
def served(settings: Settings) -> Iterator[tuple[Workspace, Service]]:
    columns = {"email": "drop", "age": "bucket", "town": "hash", "customer": "hash"}
    workspace = workspace_of(settings, {"columns": columns})
    service = workspace.deploy(OfAge(), name="people", sample=people(), keys=["customer"], launcher="memory")
    yield workspace, service
    workspace.stop("people")


def everything(folder: Path) -> Iterator[tuple[Path, bytes]]:
    return ((path, path.read_bytes()) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("log", "word"),
    [
        ({"column": {}}, "columns"),
        ({"columns": ["age"]}, "table"),
        ({"columns": {"age": "remove"}}, "drop"),
        ({"sample": 1.5}, "0 to 1"),
        ({"sample": True}, "number"),
        ({"sample": float("nan")}, "number"),
        ({"retention_days": -1}, "at least 0"),
        ({"rotate_bytes": 0.5}, "whole"),
        ({"rotate_minutes": 0}, "at least"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(log: dict[str, Any], word: str) -> None:
    with pytest.raises(WrongUse, match=word):
        policy.checked(log)


def test_free_text_is_dropped_unless_it_is_to_be_kept() -> None:
    assert policy.columns({}, SCHEMA) == {"remark": "drop"}
    assert policy.columns({"columns": {"remark": "keep"}}, SCHEMA) == {}
    assert policy.columns({"columns": {"customer": "hash"}}, SCHEMA) == {"remark": "drop", "customer": "hash"}


def test_a_category_has_no_bucket() -> None:
    with pytest.raises(WrongUse, match='"island" is of kind category'):
        policy.columns({"columns": {"island": "bucket"}}, SCHEMA)


@pytest.mark.parametrize(
    ("word", "told"), [({"town": "bucket"}, '"town" is of kind category'), ({"customer": "bucket"}, "is a key")]
)
def test_what_has_no_bucket_keeps_nothing_published_from_serving(
    word: dict[str, str], told: str, settings: Settings
) -> None:
    plain, strict = workspace_of(settings, {}), workspace_of(settings, {"columns": word})
    for rows in (people(), people().drop(columns="email")):
        plain.deploy(OfAge(), name="people", sample=rows, keys=["customer"], launcher="memory")
    try:
        with pytest.raises(WrongUse, match=told):
            strict.deploy(OfAge(), name="people", sample=people(), keys=["customer"], launcher="memory", again=True)
        said: list[str] = []
        service = strict.rollback("people", progress=said.append)
        assert service.version == "1.0.0"
        [line] = [line for line in said if told in line]
        assert "So nothing of it is logged; let [log] of the settings say keep" in line
        service.client.call("predict", people(2))
        frame = service.predictions().frame()
        assert {f"input.{name}" for name in word}.isdisjoint(frame)
        assert {f"key.{name}" for name in word}.isdisjoint(frame)
        assert "input.age" in frame
    finally:
        plain.stop("people")


def test_a_table_for_a_name_that_no_service_has_is_told(settings: Settings) -> None:
    log = {"poeple": {"columns": {"age": "drop"}}, "column": {"age": "drop"}}
    workspace = workspace_of(settings, log)
    said: list[str] = []
    workspace.deploy(OfAge(), name="people", sample=people()[["age"]], launcher="memory", progress=said.append)
    try:
        fact = 'the settings have [log.{0}], and no service is called "{0}": it holds for nobody.'
        wanted = [fact.format("poeple") + ' Did you mean "people"?', fact.format("column") + ' Did you mean "columns"?']
        assert [line for line in said if "it holds for nobody" in line] == wanted
        said.clear()
        workspace.serve("people", progress=said.append)
        assert [line for line in said if "it holds for nobody" in line] == wanted
    finally:
        workspace.stop("people")


def test_a_misspelled_column_is_named_with_the_one_that_was_meant() -> None:
    with pytest.raises(WrongUse, match=r'"remarks" .*, and people has no such column\. Did you mean "remark"'):
        policy.refuse_unknown({"columns": {"remarks": "drop"}}, "people", SCHEMA)


def test_a_deploy_with_a_misspelled_column_makes_nothing(settings: Settings) -> None:
    workspace = workspace_of(settings, {"columns": {"emial": "drop"}})
    with pytest.raises(WrongUse, match='Did you mean "email"'):
        workspace.deploy(OfAge(), name="people", sample=people(), launcher="memory")
    assert workspace.names() == []
    assert not list(settings.bundles.glob("people@*"))


def test_the_settings_file_says_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.nbdeploy.log]\ncolumns = {age = "bucket"}\nsample = 0.5\n')
    assert Settings.load(tmp_path).log == {"columns": {"age": "bucket"}, "sample": 0.5}


def test_each_column_is_logged_as_its_policy_says(served: tuple[Workspace, Service]) -> None:
    _, service = served
    rows = people().tail(3)
    service.client.call("predict", rows)
    frame = service.predictions().frame()
    assert {"input.email", "input.remark"}.isdisjoint(frame.columns)
    hashed = secret.hasher(service.folder)
    assert list(frame["input.town"]) == [hashed(town) for town in rows["town"]]
    assert list(frame["key.customer"]) == [hashed(str(number)) for number in rows["customer"]]
    profile = json.loads((service.bundle / "src" / "profile.json").read_bytes())
    edges = profile["columns"]["age"]["edges"]
    found, given = np.asarray(frame["input.age"]), np.asarray(rows["age"])
    assert list(np.searchsorted(edges, found, "right")) == list(np.searchsorted(edges, given, "right"))
    assert list(found) != list(given)


@pytest.mark.parametrize("word", ["keep", "drop"])
def test_where_nothing_was_hashed_that_is_said_and_how_to_ask_for_it(tmp_path: Path, word: str) -> None:
    log = segment(tmp_path / "people" / "predictions", word)
    with pytest.raises(WrongUse, match=r'Nothing of people was hashed so far.*columns = \{COLUMN = "hash"\}'):
        log.hashed(7)


def test_a_secret_that_is_gone_is_told_as_a_loss(tmp_path: Path) -> None:
    log = segment(tmp_path / "people" / "predictions", "hash")
    with pytest.raises(ServiceFailed, match=r"log\.key is gone"):
        log.within(until=datetime.fromtimestamp(1, UTC)).hashed(7)
    secret.ensure(tmp_path / "people")
    assert log.hashed(7) == log.hashed("7")


def segment(folder: Path, word: str) -> Predictions:
    """A log whose policy says so of its key."""
    folder.mkdir(parents=True)
    (folder / "0-1.log").write_bytes(head("s", Policy({"customer": word}), {"x": "number"}, ["customer"]))
    return Predictions(folder)


def test_readers_are_told_what_is_missing_and_why(served: tuple[Workspace, Service]) -> None:
    _, service = served
    service.client.call("predict", people().head(1))
    [record] = service.predictions()
    wanted = {"age": "bucket", "email": "drop", "remark": "drop", "town": "hash", "customer": "hash"}
    assert service.predictions().policy(record.schema) == wanted
    assert service.predictions().policy("another") == {}


def test_f55_what_is_dropped_lies_nowhere(served: tuple[Workspace, Service], tmp_path: Path) -> None:
    """Neither what was sent nor what the sample had; not in the log, its copies, the bundle or the registry."""
    workspace, service = served
    service.client.call("predict", people())
    service.predictions().frame()
    workspace.stop("people")
    service.predictions().frame()  # closed now: read by its copy
    assert list(service.predictions().folder.glob("*.log"))
    column = [path for path, content in everything(tmp_path) if f"{SECRET}-".encode() in content]
    assert column == [], "the dropped column"
    text = {path.name for path, content in everything(service.folder) if SECRET.encode() in content}
    assert text == set(), "free text, which the settings do not name"


def test_the_secret_of_hashes_is_for_its_owner_alone(served: tuple[Workspace, Service]) -> None:
    _, service = served
    path = service.folder / secret.FILE
    assert path.stat().st_mode & 0o777 == 0o600
    kept = path.read_text().strip()
    assert secret.ensure(service.folder) == kept
    others = [one for one, content in everything(service.folder) if one != path and kept.encode() in content]
    assert others == []


def test_the_policy_is_kept_for_the_name(served: tuple[Workspace, Service], settings: Settings) -> None:
    """Served again from a folder without settings, the log is what it was."""
    workspace, _ = served
    workspace.stop("people")
    service = Workspace(settings).serve("people")
    service.client.call("predict", people().head(2))
    frame = service.predictions().frame()
    assert "input.email" not in frame.columns
    assert set(frame["input.town"].str.len()) == {24}


def test_another_policy_starts_the_same_version_anew(served: tuple[Workspace, Service], settings: Settings) -> None:
    _, service = served
    service.client.call("predict", people().head(2))
    again = workspace_of(settings, {"columns": {"email": "hash"}}).serve("people")
    assert again.version == "1.0.0"
    again.client.call("predict", people().head(2))
    frame = again.predictions().frame()
    assert list(frame["input.email"].notna()) == [False, False, True, True]
    [schema] = set(frame["schema"])
    assert again.predictions().policy(schema)["email"] == "drop", "of both, what keeps the least"
    since = frame["time"].iloc[2].to_pydatetime()
    assert again.predictions().within(since).policy(schema)["email"] == "hash"


def test_a_request_that_is_not_sampled_is_counted_and_says_so(settings: Settings) -> None:
    workspace = workspace_of(settings, {"sample": 0.0})
    service = workspace.deploy(OfAge(), name="people", sample=people()[["age"]], launcher="memory")
    service.predict(people()[["age"]].head(3))
    [record] = service.predictions()
    assert (record.status, record.rows, record.predictions, record.count, record.version) == (200, [], [], 3, "1.0.0")
    requests = service.predictions().requests()
    assert list(requests["rows"]) == [3]
    assert requests["milliseconds"][0] > 0
    workspace.stop("people")


def test_an_older_version_may_lack_a_column_but_not_all_of_them(
    served: tuple[Workspace, Service], settings: Settings
) -> None:
    workspace, _ = served
    smaller = people().drop(columns=["email"])
    workspace_of(settings, {}).deploy(OfAge(), name="people", sample=smaller, keys=["customer"], launcher="memory")
    assert workspace.serve("people").version == "2.0.0", "email is a column of 1.0.0"
    said: list[str] = []
    workspace_of(settings, {"columns": {"emails": "drop"}}).serve("people", progress=said.append)
    assert [line.endswith('people has no such column. Did you mean "email"?') for line in said if "emails" in line] == [
        True
    ]


def test_a_worker_that_knows_no_policy_logs_nothing(settings: Settings) -> None:
    """A bundle made before there were policies would keep what is to be dropped."""
    workspace = workspace_of(settings, {"columns": {"email": "drop"}})
    bundle = workspace.bundle(OfAge(), name="people", sample=people())
    files = {name: digest for name, digest in bundle.manifest.files.items() if name != rules.RUNTIME}
    assert len(files) == len(bundle.manifest.files) - 1
    older = replace(bundle, manifest=replace(bundle.manifest, files=files))
    decided = rules.decided({"columns": {"email": "drop"}}, older, settings.services / "people", print)
    told: list[str] = []
    assert rules.understood(decided, bundle, told.append, strict=True)
    assert not told
    assert not rules.understood(decided, older, told.append, strict=False)
    assert "nothing is logged" in told[0]
    assert '"email" (drop)' in told[0]
    with pytest.raises(Refused, match="strict-log"):
        rules.understood(decided, older, told.append, strict=True)
    plain = replace(decided, policy=replace(decided.policy, columns={}))
    assert rules.understood(plain, older, told.append, strict=True)


def test_unknown_words_are_wrong_use() -> None:
    with pytest.raises(UnknownOption, match='no policy of a log for "age"'):
        policy.columns({"columns": {"age": "rm"}}, SCHEMA)


def test_served_by_others_a_bundle_keeps_no_more_than_its_settings_said(settings: Settings) -> None:
    """A container, an offline folder or plain `bentoml serve` has no settings, and no secret to hash with."""
    log = {"columns": {"email": "drop", "age": "bucket", "town": "hash", "remark": "keep"}, "sample": 0.5}
    bundle = workspace_of(settings, log).bundle(OfAge(), name="people", sample=people(), keys=["customer"])
    model = ServedModel.load(bundle.src)
    policy_there = Rules.of({}, model, bundle.src).policy
    assert policy_there.columns == {"email": "drop", "age": "bucket", "town": "drop"}
    assert policy_there.sample == 0.5
    assert len(policy_there.edges["age"]) > 10
    ordered = rules.decided({}, bundle, settings.services / "people", print)
    assert Rules.of(ordered.to_dict(), model, bundle.src) == ordered


def test_settings_edited_in_a_running_kernel_are_those_of_the_next_verb(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del settings  # its homes are the environment's
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "nbdeploy.toml"
    file.write_text('[log]\ncolumns = {age = "keep"}\n')
    workspace = Workspace()
    service = workspace.deploy(OfAge(), name="people", sample=people(), launcher="memory")
    try:
        service.predict(people(1).assign(age=41))
        file.write_text('[log]\ncolumns = {age = "bukcet"}\n')
        with pytest.raises(UnknownOption, match='Did you mean "bucket"'):
            workspace.serve("people")
        file.write_text('[log]\ncolumns = {age = "hash"}\n')
        again = workspace.deploy(OfAge(), name="people", sample=people(), launcher="memory")
        again.predict(people(1).assign(age=41))
        logged = [record.rows[0]["age"] for record in workspace.predictions("people")]
    finally:
        workspace.stop("people")
    assert logged[0] == 41
    assert logged[1] not in {41, None}
    assert again.version == service.version


def test_a_name_has_a_table_of_its_own_over_the_general_one() -> None:
    log = {"sample": 0.5, "columns": {"age": "drop"}, "wine": {"sample": 1, "columns": {"acid": "hash"}}, "rent": {}}
    assert policy.of(log, "wine") == {"sample": 1, "columns": {"age": "drop", "acid": "hash"}}
    assert policy.of(log, "rent") == {"sample": 0.5, "columns": {"age": "drop"}}
    with pytest.raises(UnknownOption, match=r'setting in \[log.wine\] of the settings "smaple"'):
        policy.of({"wine": {"smaple": 1}}, "wine")


def test_a_column_of_one_model_blocks_no_other(settings: Settings) -> None:
    rooms = people().rename(columns={"age": "rooms"})[["rooms"]].assign(age=1)
    plain = workspace_of(settings, {})
    for rows in (people(), people().drop(columns="email")):
        plain.deploy(OfAge(), name="rent", sample=rows, launcher="memory", again=True)
    strict = workspace_of(settings, {"columns": {"rooms": "drop"}})
    try:
        said: list[str] = []
        strict.rollback("rent", progress=said.append)
        assert 'the settings say what is logged of "rooms" ([log]), and rent has no such column.' in said
        assert strict.serve("rent").version == "1.0.0"
        assert len(strict.predictions("rent").frame()) == 0
        with pytest.raises(WrongUse, match=r"rent has no such column.*\[log.NAME\]"):
            strict.deploy(OfAge(), name="rent", sample=people(), launcher="memory", again=True)
        strict.deploy(OfAge(), name="house", sample=rooms, launcher="memory")
        strict.deploy(OfAge(), name="rent", sample=people(), launcher="memory", again=True)
        owned = workspace_of(settings, {"rent": {"columns": {"rooms": "drop"}}})
        with pytest.raises(WrongUse, match="rent has no such column"):
            owned.deploy(OfAge(), name="rent", sample=people(), launcher="memory", again=True)
        owned.deploy(OfAge(), name="house", sample=rooms, launcher="memory", again=True)
    finally:
        for name in plain.names():
            plain.stop(name)


def test_a_table_written_for_pyproject_is_told_as_it_is_written_here(tmp_path: Path) -> None:
    (tmp_path / "nbdeploy.toml").write_text('[tool.nbdeploy.log]\ncolumns = {age = "drop"}\n')
    with pytest.raises(WrongUse, match=r"\[tool.nbdeploy.log\] is how pyproject.toml says it; in .* write \[log\]\."):
        Settings.load(tmp_path)
    assert policy.WHERE.startswith("[log]")
