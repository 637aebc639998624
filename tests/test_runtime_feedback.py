"""`POST /feedback`: what may be sent, what is refused and how, and that what was acknowledged is written."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from toy import TOKEN, TOKEN_SHA256, Reply, Toy, app_of, ask, manifest

from nbdeploy.run.feedback import Feedback
from nbdeploy.runtime.feedback import Clock, FeedbackLog, kinds_of
from nbdeploy.runtime.limits import Limits
from nbdeploy.runtime.manifest import Method, Output

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nbdeploy.runtime.app import App

ID = "0123456789abcdef00000001"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "feedback"


@pytest.fixture
def app(folder: Path) -> Iterator[App]:
    made = app_of(feedback=FeedbackLog(folder), limits=Limits(max_rows=5, max_body=500))
    yield made
    made.close()


def send(app: App, body: Any, **headers: str) -> Reply:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.run(ask(app, "POST", "/feedback", body=text, headers=given))


def kept(folder: Path) -> list[tuple[Any, ...]]:
    frame = Feedback(folder).frame()
    return list(frame[["on", "id", "row", "label"]].itertuples(index=False, name=None))


def test_labels_are_kept_in_row_order_and_counted(app: App, folder: Path) -> None:
    reply = send(app, {"request_id": ID, "labels": [1.5, None, 2]})
    assert (reply.status, reply.json) == (
        200,
        {"accepted": 2, "empty": 1, "request_id": reply.headers["x-request-id"]},
    )
    assert kept(folder) == [
        ("request_id", ID, 0, 1.5),
        ("request_id", ID, 1, None),
        ("request_id", ID, 2, 2),
    ]


def test_no_labels_are_taken_and_nothing_is_written(app: App, folder: Path) -> None:
    assert send(app, {"request_id": ID, "labels": []}).json["accepted"] == 0
    assert not folder.exists()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "bad_json"),
        (b"  ", 400, "bad_json"),
        (b"\xff\xfe", 400, "bad_json"),
        (b'{"request_id": "a", "labels": [1]} x', 400, "bad_json"),
        (b'{"request_id": "a", "request_id": "b", "labels": [1]}', 400, "bad_json"),
        (b'{"request_id": "a", "labels": [NaN]}', 400, "bad_json"),
        (b'[{"request_id": "a"}]', 400, "bad_json"),
        (b"[" * 200, 400, "bad_json"),
        ({}, 422, "invalid_labels"),
        ({"request_id": ID}, 422, "invalid_labels"),
        ({"labels": [1]}, 422, "invalid_labels"),
        ({"request_id": ID, "labels": [1], "more": 1}, 422, "invalid_labels"),
        ({"request_id": ID, "labels": 1}, 422, "invalid_labels"),
        ({"request_id": ID, "labels": {"0": 1}}, 422, "invalid_labels"),
        ({"request_id": 7, "labels": [1]}, 422, "invalid_labels"),
        ({"request_id": "", "labels": [1]}, 422, "invalid_labels"),
        ({"request_id": "a b", "labels": [1]}, 422, "invalid_labels"),
        ({"request_id": "a\n", "labels": [1]}, 422, "invalid_labels"),
        ({"request_id": "x" * 129, "labels": [1]}, 422, "invalid_labels"),
        ({"request_id": ID, "labels": [1, [1]]}, 422, "invalid_labels"),
        ({"request_id": ID, "labels": [{"a": 1}]}, 422, "invalid_labels"),
        ({"request_id": ID, "labels": ["canary-1"]}, 422, "invalid_labels"),  # a number is wanted
        ({"request_id": ID, "labels": [True]}, 422, "invalid_labels"),
        (b'{"request_id": "a", "labels": [1e999]}', 422, "invalid_labels"),
        (b'{"request_id": "a", "labels": [-1%s]}' % (b"0" * 309), 422, "invalid_labels"),  # no metric can hold it
        ({"request_id": ID, "labels": [1] * 6}, 413, "too_many_rows"),
        ({"request_id": ID, "labels": ["x" * 600]}, 413, "body_too_large"),
    ],
)
def test_what_is_no_feedback_is_refused_in_the_envelope(
    app: App, folder: Path, body: Any, status: int, code: str
) -> None:
    reply = send(app, body)
    assert (reply.status, reply.code) == (status, code), reply.body
    assert reply.json["request_id"] == reply.headers["x-request-id"]
    assert b"canary" not in reply.body
    assert not folder.exists()


def test_every_label_that_does_not_fit_is_named_by_its_row(app: App) -> None:
    details = send(app, {"request_id": ID, "labels": [1, "a", None, True]}).json["error"]["details"]
    assert details == [
        {"row": 1, "column": "label", "problem": "must be a number, as the model's labels are"},
        {"row": 3, "column": "label", "problem": "must be a number, as the model's labels are"},
    ]


@pytest.mark.parametrize(
    ("classes", "taken", "refused"),
    [
        (("no", "yes"), ["yes", "maybe"], [1, True]),
        ((0, 1), [1, 1.0, 7], ["1", True]),
        ((False, True), [True], [1, "True"]),
        ((0, "other"), [1, "x"], [True]),
    ],
)
def test_labels_are_of_the_kind_of_the_models(
    folder: Path, classes: tuple[Any, ...], taken: list[Any], refused: list[Any]
) -> None:
    method = Method("predict_proba", Output("array", "float64", (2,), labels=classes))
    app = app_of(Toy(manifest(method)), feedback=FeedbackLog(folder))
    assert send(app, {"request_id": ID, "labels": taken}).status == 200
    for label in refused:
        assert send(app, {"request_id": ID, "labels": [label]}).status == 422
    long = send(app, {"request_id": ID, "labels": ["x" * 1_001]})
    assert long.status == 422
    app.close()


def test_where_the_manifest_does_not_know_labels_may_be_anything() -> None:
    unknown = manifest(Method("predict", Output("list")))
    unknown.model["task"] = "classification"
    assert kinds_of(unknown) == {"number", "text", "boolean"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": "Bearer wrong"}, 401),
        ({"host": "evil.example"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_the_gate_is_that_of_predictions(folder: Path, headers: dict[str, str], status: int) -> None:
    app = app_of(token_sha256=TOKEN_SHA256, feedback=FeedbackLog(folder))
    good = {"authorization": f"Bearer {TOKEN}"}
    body = {"request_id": ID, "labels": [1]}
    assert send(app, body, **(good | headers)).status == status
    assert not folder.exists()
    assert send(app, body, **good).status == 200
    app.close()


@pytest.mark.parametrize("verb", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(app: App, verb: str) -> None:
    reply = asyncio.run(ask(app, verb, "/feedback"))
    assert (reply.status, reply.headers["allow"]) == (405, "POST")


def test_a_service_that_keeps_nothing_says_so() -> None:
    reply = send(app_of(), {"request_id": ID, "labels": [1]})
    assert (reply.status, reply.code) == (404, "labels_not_kept")
    assert "was given no folder" in reply.json["error"]["message"]


def test_a_version_that_is_not_in_use_takes_no_labels(folder: Path) -> None:
    app = app_of(version=None, feedback=FeedbackLog(folder))
    assert send(app, {"request_id": ID, "labels": [1]}).status == 503
    assert not folder.exists()


def test_labels_that_cannot_be_written_are_not_acknowledged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_of(feedback=FeedbackLog(folder))

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("nbdeploy.runtime.predlog.os.write", full)
        reply = send(app, {"request_id": ID, "labels": [1]})
    assert (reply.status, reply.code) == (503, "log_unavailable")
    assert reply.headers["retry-after"] == "1"
    assert send(app, {"request_id": ID, "labels": [2]}).status == 200
    assert kept(folder) == [("request_id", ID, 0, 2)]
    app.close()


def test_strict_labels_are_acknowledged_after_they_are_on_the_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_of(feedback=FeedbackLog(folder, strict=True))

    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    assert send(app, {"request_id": ID, "labels": [1]}).status == 200
    monkeypatch.setattr("nbdeploy.runtime.predlog.os.fsync", broken)
    assert send(app, {"request_id": ID, "labels": [2]}).status == 503
    monkeypatch.undo()
    app.close()


def test_feedback_is_counted_under_its_route(app: App) -> None:
    send(app, {"request_id": ID, "labels": [1]})
    send(app, {"request_id": ID})
    text = app.metrics.text().decode()
    told = [line for line in text.splitlines() if 'route="/feedback"' in line and "requests_total" in line]
    assert sorted(line.rpartition(" ")[2] for line in told if 'status="200"' in line or 'status="422"' in line) == [
        "1",
        "1",
    ]


def test_time_does_not_go_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    first = clock.now()
    monkeypatch.setattr("nbdeploy.runtime.feedback.time.time", lambda: first - 3_600)
    assert clock.now() == first
