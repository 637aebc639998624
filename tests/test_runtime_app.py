"""From bytes to bytes: statuses, envelope, slots, time-outs, activation."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from toy import DIGEST, Toy, app_of, ask, idle, manifest, rows, scope

from nbdeploy.run.predictions import Predictions
from nbdeploy.runtime.app import Limits
from nbdeploy.runtime.manifest import Method, Output
from nbdeploy.runtime.predlog import PredictionLog
from nbdeploy.runtime.replies import request_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from toy import Reply

    from nbdeploy.runtime.app import App

FAST = Limits(body_timeout=0.1, predict_timeout=0.2)
ENVELOPE = {"error", "request_id"}


def post(app: App, body: bytes, **options: Any) -> Reply:
    return asyncio.run(ask(app, body=body, **options))


def is_envelope(reply: Reply) -> bool:
    return (
        set(reply.json) == ENVELOPE
        and set(reply.json["error"]) == {"code", "message", "details"}
        and reply.json["request_id"] == reply.headers["x-request-id"]
        and reply.headers["content-type"] == "application/json"
    )


def test_an_answer_has_predictions_version_and_request_id() -> None:
    reply = post(app_of(), rows(1.0, 2.5))
    assert reply.status == 200
    assert reply.json == {"predictions": [2.0, 5.0], "version": "1.0.0", "request_id": reply.headers["x-request-id"]}
    assert reply.headers["content-length"] == str(len(reply.body))


@pytest.mark.parametrize("path", ["/", "/docs.json"])
def test_bentomls_pages_tell_of_this_service_and_load_nothing_from_elsewhere(path: str) -> None:
    async def bentoml(_scope: Any, _receive: Any, send: Any) -> None:
        said = {"openapi": "3.0.2", "info": {"title": "toy", "version": "None"}, "paths": {"/predict": {}}}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(said).encode()})

    reply = asyncio.run(ask(app_of(fallthrough=lambda: bentoml), "GET", path, headers={}))
    assert reply.headers["content-security-policy"] == "default-src 'self' 'unsafe-inline' data:"
    if path == "/docs.json":
        assert reply.json["paths"] == {"/predict": {}}
        info = reply.json["info"]
        assert (info["title"], info["version"]) == ("toy", "1.0.0")
        assert info["description"] == "Toy: Toy deployed with nbdeploy."


def test_before_activation_the_digest_stands_for_the_version() -> None:
    assert post(app_of(version=None), rows(1)).json["version"] == f"sha256:{'ab' * 6}"


def test_no_rows_give_no_predictions_and_no_call() -> None:
    toy = Toy()
    assert post(app_of(toy), b'{"rows": []}').json["predictions"] == []
    assert toy.calls == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe{}", 400),
        (b'{"rows": [{"x": NaN}]}', 400),
        (b'{"rows": [], "rows": []}', 400),
        (b'{"rows": []} x', 400),
        (b"[]", 400),
        (b"{}", 422),
        (b'{"rows": [{"x": "1"}]}', 422),
        (b'{"rows": [{"X": 1}]}', 422),
        (b'{"rows": [%s]}' % b",".join([b'{"x": 1}'] * 10_001), 413),
    ],
)
def test_a_body_that_does_not_fit_is_refused_in_the_envelope(body: bytes, status: int) -> None:
    toy = Toy()
    reply = post(app_of(toy), body)
    assert reply.status == status
    assert is_envelope(reply)
    assert toy.calls == []


def test_every_refusal_has_the_same_envelope() -> None:
    app = app_of(token_sha256="0" * 64)
    for verb, path in (("GET", "/nowhere"), ("GET", "/predict"), ("POST", "/predict"), ("GET", "/metadata")):
        assert is_envelope(asyncio.run(ask(app, verb, path)))


@pytest.mark.parametrize("error", [ValueError("a secret value"), SystemExit(3), KeyboardInterrupt(), MemoryError()])
def test_f46_whatever_the_model_raises_is_a_fixed_text(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Sequence[Any]) -> None:
        raise error

    reply = post(app_of(Toy(before=fail)), rows(1.0))
    assert (reply.status, reply.code) == (500, "model_error")
    assert is_envelope(reply)
    assert b"secret" not in reply.body
    assert type(error).__name__ in caplog.text


def test_what_cannot_be_encoded_is_the_models_fault() -> None:
    class Odd(Toy):
        def answer(self, method: str, rows: Sequence[Any]) -> list[Any]:
            return [object() for _ in rows]

    assert post(app_of(Odd()), rows(1.0)).code == "model_error"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (float("nan"), b"[null]"),
        (float("inf"), b'["Infinity"]'),
        (-float("inf"), b'["-Infinity"]'),
        ("NaN", b'["NaN"]'),
        ("\ud800", b'["\\ud800"]'),
        (2**70, b"[1180591620717411303424]"),
        ("é\n", '["é\\n"]'.encode()),
    ],
)
def test_f43_answers_are_strict_json(answer: Any, text: bytes) -> None:
    class Odd(Toy):
        def answer(self, method: str, rows: Sequence[Any]) -> list[Any]:
            return [answer for _ in rows]

    reply = post(app_of(Odd()), rows(1.0))
    assert reply.body.startswith(b'{"predictions":' + text)
    assert reply.status == 200


def test_a_key_of_half_a_character_is_kept(tmp_path: Path) -> None:
    app = app_of(log=PredictionLog(tmp_path))
    assert post(app, rb'{"rows": [{"x": 1, "id": "\ud800"}]}').status in {200, 422}
    assert len(list(Predictions(tmp_path))) == 1
    app.close()


def test_whatever_fails_after_the_model_everyone_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_of()
    monkeypatch.setattr(app._journal, "answered", lambda *_: 1 / 0)
    reply = post(app, rows(1.0))
    assert (reply.status, reply.code) == (500, "internal_error")


def test_a_fault_of_ours_is_in_the_envelope_too(monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_of()
    monkeypatch.setattr(app.gate, "check", lambda *_: 1 / 0)
    reply = post(app, rows(1.0))
    assert (reply.status, reply.code) == (500, "internal_error")
    assert is_envelope(reply)


def test_not_ready_is_503_with_retry_after() -> None:
    app = app_of()
    app.ready = False
    reply = post(app, rows(1.0))
    assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "not_ready", "1")
    reply = asyncio.run(ask(app, "GET", "/readyz"))
    assert reply.status == 503
    assert reply.json["state"] == "starting"
    assert asyncio.run(ask(app, "GET", "/livez")).status == 200


def test_readiness_says_who_it_is() -> None:
    reply = asyncio.run(ask(app_of(), "GET", "/readyz"))
    assert reply.json == {"name": "toy", "version": "1.0.0", "digest": DIGEST, "nonce": "nonce", "state": "ready"}


def test_metadata_tells_a_client_all_it_needs() -> None:
    found = asyncio.run(ask(app_of(), "GET", "/metadata")).json
    assert found["methods"][0]["route"] == "/predict"
    assert found["schema"]["columns"][0]["name"] == "x"
    assert found["input"]["type"] == "object"
    assert found["limits"]["max_rows"] == 10_000


def test_request_ids_never_repeat() -> None:
    first, second = request_ids(), request_ids()
    seen = {next(first) for _ in range(1_000)} | {next(second) for _ in range(1_000)}
    assert len(seen) == 2_000
    assert all(re.fullmatch("[0-9a-f]{24}", one) for one in seen)


# Bodies


def test_a_body_may_come_in_pieces() -> None:
    whole = rows(1.0, 2.0)
    reply = post(app_of(), b"", pieces=[whole[:5], b"", whole[5:9], whole[9:]])
    assert reply.json["predictions"] == [2.0, 4.0]


def test_an_announced_size_above_the_limit_is_413_unread() -> None:
    reply = post(app_of(limits=Limits(max_body=10)), rows(1.0))
    assert (reply.status, reply.code) == (413, "body_too_large")


def test_f41_pieces_are_counted_while_they_arrive_and_the_rest_is_read() -> None:
    app = app_of(limits=Limits(max_body=100))
    pieces = [b"x" * 60] * 50
    taken = list(pieces)
    reply = asyncio.run(ask(app, pieces=taken))
    assert reply.status == 413
    assert reply.headers["connection"] == "close"
    assert is_envelope(reply)


def test_after_a_refusal_a_bounded_amount_is_read() -> None:
    app = app_of(limits=Limits(max_body=100, max_drained=1_000))
    read = 0

    async def receive() -> Any:
        nonlocal read
        read += 50
        return {"type": "http.request", "body": b"x" * 50, "more_body": True}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append((read, message))

    headers = {"content-type": "application/json", "transfer-encoding": "chunked"}
    asyncio.run(app(scope("POST", "/predict", headers), receive, send))
    assert sent[0][1]["status"] == 413
    assert sent[1][0] == 150, "the answer goes out before the rest is read"
    assert not sent[-1][1].get("more_body")
    assert 1_000 <= read <= 1_200


def test_bodies_that_arrive_together_are_bounded() -> None:
    app = app_of(limits=Limits(max_body=100, max_buffered=100))

    async def both() -> list[int]:
        pieces = [[b" " * 60, rows(1.0)], [b" " * 60, rows(1.0)]]
        return sorted([reply.status for reply in await asyncio.gather(*(ask(app, pieces=one) for one in pieces))])

    assert asyncio.run(both()) == [200, 429]


def test_a_body_that_does_not_come_is_408_and_frees_its_slot() -> None:
    app = app_of(limits=FAST)

    async def stall() -> list[Any]:
        sent: list[Any] = []

        async def receive() -> Any:
            await asyncio.sleep(60)

        async def send(message: Any) -> None:
            sent.append(message)

        headers = {"content-type": "application/json", "content-length": "10"}
        await app(scope("POST", "/predict", headers), receive, send)
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()
        return sent

    sent = asyncio.run(stall())
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert app.in_flight == 0


def test_a_cancellation_from_outside_stays_one() -> None:
    app = app_of()

    async def cancel() -> bool:
        async def receive() -> Any:
            await asyncio.sleep(60)

        async def send(_: Any) -> None:
            raise AssertionError("nobody waits for an answer")

        headers = {"content-type": "application/json", "content-length": "10"}
        task = asyncio.ensure_future(app(scope("POST", "/predict", headers), receive, send))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return task.cancelled()

    assert asyncio.run(cancel())
    assert app.in_flight == 0


def test_f20_a_thousand_clients_that_go_away_leave_nothing() -> None:
    app = app_of()

    async def leave() -> None:
        for number in range(1_000):
            pieces = [b'{"rows"', b""][: number % 2 + 1]
            parts = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]

            async def receive(parts: list[Any] = parts) -> Any:
                return parts.pop(0) if parts else {"type": "http.disconnect"}

            async def send(_: Any) -> None:
                raise AssertionError("nobody waits for an answer")

            await app(scope("POST", "/predict", {"content-type": "application/json"}), receive, send)
        assert (await ask(app, body=rows(1.0))).status == 200

    asyncio.run(leave())
    assert app.in_flight == 0


# Load


def slow(seconds: float) -> Callable[[Sequence[Any]], None]:
    return lambda _: time.sleep(seconds)


def slow_toy(seconds: float) -> Toy:
    from toy import manifest

    from nbdeploy.runtime.manifest import Method, Output

    return Toy(manifest(Method("predict", Output("array"), milliseconds=seconds * 1_000)), slow(seconds))


def test_more_requests_than_slots_are_429_with_retry_after() -> None:
    app = app_of(slow_toy(0.05), limits=Limits(max_in_flight=3))

    async def load() -> list[Reply]:
        return await asyncio.gather(*(ask(app, body=rows(1.0)) for _ in range(8)))

    replies = asyncio.run(load())
    assert sorted(reply.status for reply in replies) == [200] * 3 + [429] * 5
    busy = next(reply for reply in replies if reply.status == 429)
    assert busy.headers["retry-after"] == "1"
    assert app.in_flight == 0


def test_health_is_answered_when_all_slots_are_taken() -> None:
    app = app_of(slow_toy(0.05), limits=Limits(max_in_flight=0))
    assert asyncio.run(ask(app, "GET", "/readyz")).status == 200


def test_a_timeout_is_504_and_holds_its_slot_until_the_work_ends() -> None:
    app = app_of(slow_toy(0.6), limits=FAST)

    async def wait() -> tuple[int, int, int]:
        reply = await ask(app, body=rows(1.0))
        held = app.in_flight
        await idle(app)
        return reply.status, held, (await ask(app, "GET", "/livez")).status

    assert asyncio.run(wait()) == (504, 1, 200)


def test_the_loop_is_free_while_a_slow_model_works() -> None:
    begun, answered = threading.Event(), threading.Event()

    def until_answered(_: Sequence[Any]) -> None:
        begun.set()
        assert answered.wait(60), "the loop waited for the model"

    app = app_of(Toy(manifest(Method("predict", Output("array"), milliseconds=300)), until_answered))

    async def both() -> None:
        predicting = asyncio.ensure_future(ask(app, body=rows(1.0)))
        await asyncio.to_thread(begun.wait, 60)
        assert (await ask(app, "GET", "/livez")).status == 200
        assert app.busy_for > 0, "a free loop does not hide that the model is at work"
        answered.set()
        assert (await predicting).status == 200
        assert app.busy_for == 0

    asyncio.run(both())


# Log


def test_what_was_answered_is_kept_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = PredictionLog(tmp_path)
    app = app_of(log=log)
    seen: list[int] = []
    release = app._release

    def releasing(*arguments: Any) -> None:
        seen.append(len(list(Predictions(tmp_path))))
        release(*arguments)

    monkeypatch.setattr(app, "_release", releasing)
    reply = post(app, json.dumps({"rows": [{"x": 1.5, "id": "a"}, {"x": 2}]}).encode())
    [record] = Predictions(tmp_path)
    assert seen == [1]
    assert record.request_id == reply.json["request_id"]
    assert (record.version, record.method, record.status) == ("1.0.0", "predict", 200)
    assert record.rows == [{"x": 1.5}, {"x": 2}]
    assert record.predictions == [3.0, 4.0]
    assert record.keys == [{"id": "a"}, {}]
    app.close()


def test_a_refused_request_is_kept_with_its_code_and_without_rows(tmp_path: Path) -> None:
    app = app_of(log=PredictionLog(tmp_path))
    post(app, b'{"rows": [{"x": "secret"}]}')
    asyncio.run(ask(app, "GET", "/nowhere"))
    asyncio.run(ask(app, headers={"content-type": "application/json", "host": "evil"}))
    post(app, b'{"rows": [{"x": "secret", "no column of ours": 1}, {"x": true}, {}]}')
    post(app, b"{}")
    app.close()
    records = list(Predictions(tmp_path))
    assert [(one.status, one.code, one.rows) for one in records] == [(422, "invalid_rows", [])] * 3
    assert [one.refused for one in records] == [["x"], ["x"], []], "columns of the model; no text of the request"
    assert "secret" not in next(tmp_path.glob("*.log")).read_text()
    assert "no column" not in next(tmp_path.glob("*.log")).read_text()
    assert [names or [] for names in Predictions(tmp_path).requests()["refused"]] == [["x"], ["x"], []]


def test_a_candidates_checks_are_neither_logged_nor_counted(tmp_path: Path) -> None:
    app = app_of(version=None, log=PredictionLog(tmp_path))
    post(app, rows(1.0))
    post(app, b"{}")
    assert list(Predictions(tmp_path)) == []
    app.identity.version = "2.0.0"
    post(app, rows(2.0))
    [record] = Predictions(tmp_path)
    assert record.version == "2.0.0"
    text = asyncio.run(ask(app, "GET", "/metrics")).body.decode()
    assert 'nbdeploy_requests_total{version="2.0.0",worker="0",route="/predict",status="200"} 1' in text
    app.close()


def test_f22_a_log_that_cannot_be_written_degrades_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = PredictionLog(tmp_path)
    app = app_of(log=log)
    assert app.state == "ready"

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(log, "_append", full)
        assert post(app, rows(1.0, 2.0)).status == 200
    assert app.state == "degraded"
    assert log.unlogged_rows == 2
    assert asyncio.run(ask(app, "GET", "/readyz")).json["state"] == "degraded"
    assert post(app, rows(1.0)).status == 200
    assert app.state == "ready"
    text = asyncio.run(ask(app, "GET", "/metrics")).body
    assert b'nbdeploy_unlogged_rows_total{version="1.0.0",worker="0"} 2' in text
    app.close()


def test_a_strict_log_that_cannot_be_written_is_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = PredictionLog(tmp_path, strict=True)
    app = app_of(log=log)

    async def run() -> None:
        assert (await ask(app, body=rows(1.0))).status == 200
        monkeypatch.setattr(log, "_append", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
        reply = await ask(app, body=rows(1.0))
        assert (reply.status, reply.code) == (503, "log_unavailable")
        assert is_envelope(reply)

    asyncio.run(run())
    app.close()


def test_the_life_span_of_a_server_is_acknowledged() -> None:
    app = app_of()
    incoming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    asyncio.run(app({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_websocket_is_closed() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    asyncio.run(app_of()({"type": "websocket"}, receive, send))
    assert sent == ["websocket.close"]
