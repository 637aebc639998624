"""Who may ask what (F49, F51, F56, F57)."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import TOKEN, TOKEN_SHA256, Toy, app_of, ask, rows

from nbdeploy.runtime import gate
from nbdeploy.runtime.gate import allowed_hosts, host_of
from nbdeploy.runtime.predlog import PredictionLog
from nbdeploy.runtime.schema import Contract, Refusal

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}


def status(verb: str = "POST", path: str = "/predict", **headers: str | None) -> int:
    """The status of a good request with some headers changed; None leaves one out."""
    given_headers: dict[str, str] = dict(GOOD)
    for name, value in headers.items():
        given_headers.pop(name.replace("_", "-"), None)
        if value is not None:
            given_headers[name.replace("_", "-")] = value
    app = app_of(token_sha256=TOKEN_SHA256)
    return asyncio.run(ask(app, verb, path, body=rows(1.0), headers=given_headers)).status


def test_a_good_request_passes() -> None:
    assert status() == 200


@pytest.mark.parametrize("verb", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "CONNECT", "post", ""])
def test_predict_takes_post_only(verb: str) -> None:
    reply = asyncio.run(ask(app_of(), verb, "/predict"))
    assert reply.status == 405
    assert reply.headers["allow"] == "POST"
    assert reply.code == "method_not_allowed"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/metadata"])
@pytest.mark.parametrize("verb", ["HEAD", "POST", "OPTIONS"])
def test_reading_routes_take_get_only(verb: str, path: str) -> None:
    reply = asyncio.run(ask(app_of(), verb, path))
    assert (reply.status, reply.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize(
    "path",
    [
        "/predict/",
        "//predict",
        "/Predict",
        "/pr%65dict",
        "/predict%2f",
        "/../predict",
        "/predict/../metadata",
        "/%2e%2e/etc/passwd",
        "/static_content/../app.py",
        "/static_content/%2e%2e/app.py",
        "/static_content/a/b",
        "/static_content/",
        "/predict_proba",
        "/feedback/",
        "/healthz",
        "/schema.json",
        "/docs.json",
        "/",
        "*",
    ],
)
def test_other_paths_are_not_found(path: str) -> None:
    assert status("GET", path) == 404
    assert status("POST", path) == 404


def test_bentoml_routes_pass_only_where_there_is_a_bentoml_app() -> None:
    async def bentoml(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    app = app_of(fallthrough=lambda: bentoml)
    for path in ("/", "/schema.json", "/docs.json", "/static_content/swagger-ui.css"):
        reply = asyncio.run(ask(app_of(fallthrough=lambda: bentoml), "GET", path))
        assert (reply.status, reply.json.keys() - {"info"}) == (200, set())
        assert ("info" in reply.json) == (path == "/docs.json")
        assert reply.headers["x-request-id"]
    assert asyncio.run(ask(app, "GET", "/static_content/../x")).status == 404
    assert asyncio.run(ask(app, "POST", "/schema.json")).status == 405


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", 200),
        ("localhost:3000", 200),
        ("LOCALHOST:3000", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:3000", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("evil.example:3000", 403),
        ("user@localhost", 403),
        ("localhost:port", 403),
        ("localhost/../x", 403),
        ("", 403),
    ],
)
def test_only_loopback_is_a_host(host: str, expected: int) -> None:
    assert status(host=host) == expected


def test_hosts_can_be_allowed() -> None:
    hosts = allowed_hosts({"NBDEPLOY_ALLOWED_HOSTS": "Models.Example, other.example"})
    assert hosts == ("models.example", "other.example")
    passing = gate.Gate({}, hosts=hosts, token_sha256=None, max_body=1)
    route = gate.Route("GET", "metadata", "/metadata")
    passing.check(route, {"method": "GET", "headers": [(b"host", b"models.example:80")]})
    with pytest.raises(Refusal):
        passing.check(route, {"method": "GET", "headers": [(b"host", b"evil.example")]})


def test_the_environment_names_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBDEPLOY_ALLOWED_HOSTS", "models.example")
    from typing import cast

    from nbdeploy.runtime.app import App, Identity

    app = App(cast("Any", Toy()), Identity("toy", "1.0.0", "sha256:x"), token_sha256=None)
    assert asyncio.run(ask(app, "GET", "/metadata", headers={"host": "models.example"})).status == 200


def test_a_request_without_host_or_with_two_is_refused() -> None:
    check = gate.Gate({}, token_sha256=None, max_body=1).check
    route = gate.Route("GET", "metadata", "/metadata")
    for headers in ([], [(b"host", b"localhost"), (b"host", b"localhost")]):
        with pytest.raises(Refusal) as caught:
            check(route, {"method": "GET", "headers": headers})
        assert caught.value.status == 403


def test_health_is_open_to_any_host_without_token() -> None:
    app = app_of(token_sha256=TOKEN_SHA256)
    for path in ("/livez", "/readyz"):
        assert asyncio.run(ask(app, "GET", path, headers={"host": "10.1.2.3"})).status == 200


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://localhost:8888", 200),
        ("https://127.0.0.1", 200),
        ("http://evil.example", 403),
        ("null", 403),
        ("http://localhost.evil.example", 403),
        ("file://localhost", 403),
        ("", 403),
    ],
)
def test_an_origin_must_be_local(origin: str, expected: int) -> None:
    assert status(origin=origin) == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer  {TOKEN}",
        f"Bearer {TOKEN} ",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN_SHA256}",
        "Bearer " + "x" * 1_000_000,
        "Bearer \xff\xfe",
    ],
)
def test_f49_a_wrong_token_is_401_with_a_constant_text(value: str | None) -> None:
    headers = {"content-type": "application/json"} | ({} if value is None else {"authorization": value})
    reply = asyncio.run(ask(app_of(token_sha256=TOKEN_SHA256), headers=headers, body=rows(1)))
    assert reply.status == 401
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert reply.json["error"] == {
        "code": "unauthorized",
        "message": "Send the service's token as Authorization: Bearer TOKEN.",
        "details": [],
    }


def test_the_scheme_may_be_in_small_letters() -> None:
    assert status(authorization=f"bearer {TOKEN}") == 200


def test_two_authorization_headers_are_401() -> None:
    app = app_of(token_sha256=TOKEN_SHA256)
    reply = asyncio.run(ask(app, headers=[*GOOD.items(), ("authorization", f"Bearer {TOKEN}")], body=rows(1)))
    assert reply.status == 401


def test_a_token_in_the_query_does_not_count() -> None:
    app = app_of(token_sha256=TOKEN_SHA256)
    assert asyncio.run(ask(app, "GET", "/metadata?token=" + TOKEN, headers={})).status == 404
    assert asyncio.run(ask(app, "GET", "/metadata", headers={})).status == 401


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", 200),
        ("Application/JSON", 200),
        ("application/json; charset=utf-8", 200),
        ('application/json;charset="UTF-8"', 200),
        ("application/json; charset=latin-1", 415),
        ("application/json, text/plain", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/vnd.bentoml+pickle", 415),
        ("application/jsonx", 415),
        (None, 415),
    ],
)
def test_only_json_is_a_content_type(content_type: str | None, expected: int) -> None:
    assert status(content_type=content_type) == expected


def test_the_order_is_route_host_origin_token_type() -> None:
    bad: dict[str, str | None] = {"host": "evil", "origin": "http://evil", "authorization": "no", "content_type": "no"}
    seen = [
        status("GET", "/nowhere", **bad),
        status("GET", "/predict", **bad),
        status("POST", "/predict", **bad),
        status("POST", "/predict", **bad | {"host": "localhost"}),
        status("POST", "/predict", **bad | {"host": "localhost", "origin": None}),
        status(content_type="no"),
    ]
    assert seen == [404, 405, 403, 403, 401, 415]


def test_the_token_is_compared_by_its_hash_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(given_hash: bytes, known: bytes) -> bool:
        compared.append((given_hash, known))
        return given_hash == known

    monkeypatch.setattr("nbdeploy.runtime.gate.hmac.compare_digest", compare)
    assert status() == 200
    assert status(authorization="Bearer x") == 401
    assert status(authorization=None) == 401
    assert [len(pair[0]) for pair in compared] == [64, 64, 64]


def test_f50_a_wrong_token_costs_no_decoding_no_call_and_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = Toy()
    app = app_of(toy, token_sha256=TOKEN_SHA256, log=PredictionLog(tmp_path / "log"))

    def refuse(*_: Any) -> None:
        raise AssertionError("what nobody may ask was decoded")

    monkeypatch.setattr(Contract, "decode", refuse)
    headers = GOOD | {"authorization": "Bearer wrong"}
    assert [asyncio.run(ask(app, body=rows(1.0), headers=headers)).status for _ in range(3)] == [401] * 3
    assert (toy.calls, app.in_flight) == ([], 0)
    assert list((tmp_path / "log").glob("*.log")) == []
    app.close()


@given(st.text(max_size=30))
def test_no_text_but_a_host_has_one(text: str) -> None:
    host = host_of(text)
    assert host is None or (host in text.lower() and "@" not in text and "/" not in text)


@given(st.text(alphabet="abc./%-_~\\:;?#\x00é", max_size=20))
def test_no_path_but_ours_has_a_route(path: str) -> None:
    table = gate.routes(["predict"], bentoml=True)
    checked = gate.Gate(table, token_sha256=None, max_body=1)
    raw = f"/{path}".encode()
    asset = re.fullmatch("/static_content/[A-Za-z0-9_-][A-Za-z0-9._-]*", f"/{path}")
    if raw in table or asset:
        assert checked.route({"path": f"/{path}", "raw_path": raw}).method
    else:
        with pytest.raises(Refusal):
            checked.route({"path": f"/{path}", "raw_path": raw})
