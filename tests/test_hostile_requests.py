"""F19, F41 to F45, F49, F51: malformed and hostile requests against a real local service, byte by byte over a socket.

Every answer is strict JSON in the envelope, with the right status, code, row, column and hint, and holds no value that was
sent. After each of them a valid row is answered exactly as in the kernel.
"""

from __future__ import annotations

import gzip
import json
import random
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from nbdeploy.run.feedback import Feedback
from nbdeploy.settings import Settings
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nbdeploy.run.service import Service

pytestmark = pytest.mark.slow
CANARY = "canary-5f0c1d"
LEAVE_OUT = "leave it out, or have it named with --keys when the model is deployed"
NUMBER = 987654321.125  # as CANARY, where a number is due
SENT = (CANARY.encode(), b"987654321", b"1.5e", b"9007199254740993")
GOOD = {"island": "Dream", "bill": 44.5, "mass": 4100.0, "age": 3, "tagged": True}


@dataclass
class World:
    service: Service
    model: Any
    token: str
    logs: Callable[[], str]

    @property
    def port(self) -> int:
        return int(self.service.url.rpartition(":")[2])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One service for the file: "island" refuses the unseen, "mass" and others null; "bill" takes null."""
    home = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NBDEPLOY_HOME", str(home / "nbdeploy"))
        patch.setenv("BENTOML_HOME", str(home / "bentoml"))
        workspace = Workspace(Settings.load(home))
        X, model = fitted()
        service = workspace.deploy(model, name="hostile", sample=X)
        try:
            yield World(service, model, workspace.token("hostile"), lambda: "\n".join(workspace.logs("hostile")))
        finally:
            workspace.stop("hostile")


def fitted() -> tuple[pd.DataFrame, Any]:
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "island": rng.choice(["Biscoe", "Dream"], 60),
            "bill": rng.normal(44, 5, 60),
            "mass": rng.normal(4200, 800, 60),
            "age": rng.integers(1, 20, 60),
            "tagged": rng.random(60) > 0.5,
        }
    )
    steps = make_column_transformer(
        (OneHotEncoder(handle_unknown="error"), ["island"]),
        (SimpleImputer(), ["bill"]),
        (StandardScaler(), ["mass"]),
        remainder="passthrough",
    )
    return X, make_pipeline(steps, LogisticRegression(max_iter=5000)).fit(X, X["mass"] > 4200)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body, parse_constant=_not_strict)


def _not_strict(constant: str) -> None:
    raise AssertionError(f"{constant} is not strict JSON")


def head_of(world: World, verb: str = "POST", path: str = "/predict", **headers: str | None) -> bytes:
    """`headers` replace the good ones by name (with _ for -); None leaves one out."""
    good: dict[str, str | None] = {"host": "127.0.0.1", "authorization": f"Bearer {world.token}"}
    if verb == "POST":
        good["content-type"] = "application/json"
    good |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in good.items() if value is not None]
    return "\r\n".join([f"{verb} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


def exchange(world: World, pieces: Iterable[bytes], *, head_only: bool = False) -> Answer | None:
    """Send it all, then read one answer to its end; None where the connection was closed without one."""
    with socket.create_connection(("127.0.0.1", world.port), timeout=40) as raw:
        for piece in pieces:
            raw.sendall(piece)
        received = b""
        with suppress(ConnectionResetError):
            while b"\r\n\r\n" not in received and (more := raw.recv(65_536)):
                received += more
            head, _, body = received.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            length = 0 if head_only else int(headers.get("content-length", "0"))
            while len(body) < length and (more := raw.recv(65_536)):
                body += more
        if not received:
            return None
        assert first.startswith("HTTP/1.1 ")
        return Answer(int(first.split()[1]), headers, body)


def send(world: World, body: bytes, *, verb: str = "POST", path: str = "/predict", **headers: str | None) -> Answer:
    framing = {} if "transfer_encoding" in headers else {"content_length": str(len(body))}
    answer = exchange(world, [head_of(world, verb, path, **framing, **headers) + body], head_only=verb == "HEAD")
    assert answer is not None, "closed without an answer"
    return answer


def refused(answer: Answer, status: int, code: str) -> list[dict[str, Any]]:
    """The details of an answer that is what every refusal is."""
    assert (answer.status, answer.json["error"]["code"]) == (status, code), answer.body[:500]
    assert answer.json.keys() == {"error", "request_id"}
    assert answer.json["error"].keys() == {"code", "message", "details"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"] == answer.json["request_id"] != ""
    for value in SENT:
        assert value not in answer.body
    return list(answer.json["error"]["details"])


def rows(*given: Any) -> bytes:
    return json.dumps({"rows": given}).encode()


def with_text(column: str, text: str) -> bytes:
    """A body in which one cell is written as `text`."""
    return rows(GOOD, GOOD | {column: "@"}).replace(b'"@"', text.encode())


@pytest.fixture(autouse=True)
def _a_valid_row_is_answered_as_in_the_kernel_afterwards(world: World) -> Iterator[None]:
    yield
    answer = send(world, rows(GOOD))
    assert answer.status == 200, answer.body
    expected = world.model.predict(pd.DataFrame([GOOD]))
    assert answer.json["predictions"] == expected.tolist()
    proba = send(world, rows(GOOD), path="/predict_proba").json["predictions"][0]
    np.testing.assert_array_equal(list(proba.values()), world.model.predict_proba(pd.DataFrame([GOOD]))[0])


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("mass", "true"),
        ("mass", f'"{CANARY}"'),
        ("mass", '"1.5"'),
        ("mass", "null"),
        ("mass", "1e999"),
        ("mass", "-1e999"),
        ("mass", '"Infinity"'),
        ("mass", '"NaN"'),
        ("mass", "[4100.0]"),
        ("mass", '{"value": 987654321}'),
        ("mass", "9" * 400),
        ("age", "true"),
        ("age", '"3"'),
        ("age", "3.5"),
        ("age", "null"),
        ("age", "9223372036854775808"),
        ("age", "-9223372036854775809"),
        ("age", "9" * 400),
        ("age", "1e30"),
        ("tagged", "1"),
        ("tagged", '"true"'),
        ("tagged", "null"),
        ("island", f'"{CANARY}"'),
        ("island", '"dream"'),
        ("island", '""'),
        ("island", "null"),
        ("island", "987654321"),
        ("island", "true"),
        ("island", '"\\ud800"'),
        ("island", '["Dream"]'),
    ],
)
def test_f43_a_value_that_does_not_fit_is_named_by_row_and_column(world: World, column: str, text: str) -> None:
    details = refused(send(world, with_text(column, text)), 422, "invalid_rows")
    assert [(each["row"], each["column"]) for each in details] == [(1, column)]
    assert details[0]["problem"]


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("mass", "4100"),
        ("mass", "-0.0"),
        ("mass", "9007199254740993"),
        ("mass", "1e-400"),
        ("bill", "null"),
        ("age", "-9223372036854775808"),
        ("age", "9223372036854775807"),
        ("island", '"\\u0044ream"'),
    ],
)
def test_f43_an_odd_value_that_fits_is_answered_as_in_the_kernel(world: World, column: str, text: str) -> None:
    answer = send(world, with_text(column, text), path="/predict_proba")
    assert answer.status == 200, answer.body
    frame = pd.DataFrame([GOOD, GOOD | {column: json.loads(text)}]).astype({"mass": float, "bill": float})
    expected = world.model.predict_proba(frame)
    np.testing.assert_array_equal([list(each.values()) for each in answer.json["predictions"]], expected)


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name not in names}


@pytest.mark.parametrize(
    ("row", "column", "hint"),
    [
        (without("age"), "age", "every column must be present, null or not"),
        (without("mass") | {"Mass": NUMBER}, "Mass", 'did you mean "mass"?'),
        (without("mass") | {"mas": NUMBER}, "mas", 'did you mean "mass"?'),
        (without("island") | {" island ": CANARY}, " island ", 'did you mean "island"?'),
        (GOOD | {"extra": CANARY}, "extra", LEAVE_OUT),
        (GOOD | {"__class__": CANARY}, "__class__", LEAVE_OUT),
        (GOOD | {"": NUMBER}, "", LEAVE_OUT),
        ([], None, None),
        (["Dream", 44.5, NUMBER, 3, True], None, None),
        (CANARY, None, None),
        (None, None, None),
        ([GOOD], None, None),
    ],
)
def test_f44_a_row_of_other_columns_is_refused_with_a_hint(
    world: World, row: Any, column: str | None, hint: str | None
) -> None:
    details = refused(send(world, rows(GOOD, GOOD, row)), 422, "invalid_rows")
    assert {each["row"] for each in details} == {2}
    found = next(each for each in details if each.get("column") == column)
    assert found["hint"] == hint


def test_f44_reordered_columns_are_answered_as_in_the_notebook(world: World) -> None:
    turned = dict(reversed(GOOD.items()))
    assert send(world, rows(turned)).json["predictions"] == world.model.predict(pd.DataFrame([GOOD])).tolist()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \r\n\t",
        b"{",
        CANARY.encode(),
        b"null",
        b"3",
        b"[]",
        rows(GOOD)[1:-1],
        f'"{CANARY}"'.encode(),
        json.dumps([GOOD]).encode(),
        rows(GOOD) + CANARY.encode(),
        rows(GOOD) + rows(GOOD),
        b'{"rows": [], "rows": []}',
        b'{"rows": [{"mass": 1, "mass": 987654321}]}',
        with_text("mass", "NaN"),
        with_text("mass", "Infinity"),
        with_text("mass", "-Infinity"),
        with_text("mass", "1."),
        with_text("mass", "0x10"),
        with_text("mass", "01"),
        with_text("mass", "1_000"),
        with_text("mass", "9" * 10_000),
        with_text("island", f"'{CANARY}'"),
        with_text("island", '"\\x41"'),
        with_text("island", '"a\nb"'),
        b"\xef\xbb\xbf" + rows(GOOD),
        rows(GOOD).decode().encode("utf-16"),
        rows(GOOD).decode().encode("utf-32"),
        rows(GOOD).replace(b"Dream", b"Dr\xffam"),
        rows(GOOD).replace(b"Dream", b"\xed\xa0\x80"),
        rows(GOOD).replace(b"Dream", b"\xc0\xaf"),
        gzip.compress(rows(GOOD), mtime=0),
        b'{"rows": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000,
        b"//" + rows(GOOD),
        rows(GOOD) + b"\x00",
        b"rows=1&rows=2",
    ],
    ids=lambda body: repr(body[:30]),
)
def test_f41_what_is_not_one_json_object_is_400(world: World, body: bytes) -> None:
    assert refused(send(world, body), 400, "bad_json") == []


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"rows": null}',
        b'{"rows": {}}',
        b'{"rows": "canary-5f0c1d"}',
        b'{"Rows": []}',
        b'{"rows": [], "version": "canary-5f0c1d"}',
        b'{"instances": []}',
        json.dumps(GOOD).encode(),
    ],
)
def test_f41_an_object_of_another_shape_is_422(world: World, body: bytes) -> None:
    answer = send(world, body)
    refused(answer, 422, "invalid_rows")
    assert "rows" in answer.json["error"]["message"]


def test_f45_rows_are_counted(world: World) -> None:
    assert send(world, b'{"rows": []}').json["predictions"] == []
    full = send(world, rows(*[GOOD] * 10_000))
    assert (full.status, len(full.json["predictions"])) == (200, 10_000)
    refused(send(world, rows(*[GOOD] * 10_001)), 413, "too_many_rows")
    refused(send(world, b'{"rows":[' + b"1," * 1_000_000 + b"1]}"), 413, "too_many_rows")


def test_f42_a_million_keys_and_a_long_text_are_refused_and_not_sent_back(world: World) -> None:
    for body in (
        rows(GOOD | {f"column {number}": NUMBER for number in range(200_000)}),
        rows(GOOD | {"island": CANARY + "x" * 9_000_000}),
        rows(GOOD | {CANARY[::-1] + "y" * 9_000_000: 1}),
    ):
        answer = send(world, body)
        refused(answer, 422, "invalid_rows")
        assert len(answer.body) < 100_000


def big(*, chunked: bool) -> Iterator[bytes]:
    for _ in range(11 * 16):
        yield (b"10000\r\n" + b" " * 65_536 + b"\r\n") if chunked else b" " * 65_536
    if chunked:
        yield b"0\r\n\r\n"


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_of_11_mb_is_413_also_for_a_client_that_still_sends(world: World, chunked: bool) -> None:
    framing = {"transfer_encoding": "chunked"} if chunked else {"content_length": str(11 * 2**20)}
    answer = exchange(world, [head_of(world, **framing), *big(chunked=chunked)])
    assert answer is not None
    refused(answer, 413, "body_too_large")


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/json5",
        "application/json, text/plain",
        "application/vnd.bentoml+pickle",
        "application/octet-stream",
    ],
)
def test_f51_other_content_types_are_415(world: World, content_type: str | None) -> None:
    refused(send(world, rows(GOOD), content_type=content_type), 415, "not_json")


@pytest.mark.parametrize("verb", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "DELETE"])
def test_f51_other_methods_are_405(world: World, verb: str) -> None:
    answer = send(world, b"", verb=verb, X_HTTP_Method_Override="POST")
    assert answer.headers["allow"] == "POST"
    assert not any(name.startswith("access-control") for name in answer.headers)
    if verb == "HEAD":
        assert answer.status == 405
    else:
        refused(answer, 405, "method_not_allowed")


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/Predict",
        "/predict/",
        "//predict",
        "/./predict",
        "/%70redict",
        "/predict%00",
        "/predict;x",
        "/predict.json",
        "/__init__",
        "/fit",
        "/get_params",
        "/../../etc/passwd",
        "/static_content/../../../etc/passwd",
        "/static_content/%2e%2e%2fservice.py",
        "/..%2f..%2fetc%2fpasswd",
        "/bundle/src/model.pkl",
        "/healthz",
        "http://127.0.0.1/healthz",
    ],
)
def test_f56_only_the_paths_of_the_table_exist(world: World, path: str) -> None:
    refused(send(world, rows(GOOD), path=path), 404, "not_found")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "127.0.0.1@evil.example", "", "localhost."]
)
def test_f51_another_host_is_403_on_every_route_but_health(world: World, host: str) -> None:
    for verb, path in (("POST", "/predict"), ("GET", "/metadata"), ("GET", "/metrics"), ("GET", "/docs.json")):
        refused(send(world, b"", verb=verb, path=path, host=host), 403, "host_not_allowed")
    assert send(world, b"", verb="GET", path="/readyz", host=host).status == 200


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://127.0.0.1.evil.example", "file://", "http://localhost@evil.example"],
)
def test_f51_another_origin_is_403(world: World, origin: str) -> None:
    refused(send(world, rows(GOOD), origin=origin), 403, "origin_not_allowed")


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer canary-5f0c1d",
        "Basic {token}",
        "{token}",
        "Bearer {token}x",
        "Bearer  {token}",
        "Bearer {token}, Bearer {token}",
        "Bearer " + "x" * 12_000,
        "Bearer \xff\xfe",
    ],
)
def test_f49_without_the_token_it_is_401(world: World, value: str | None) -> None:
    given = value if value is None else value.format(token=world.token)
    answer = send(world, rows(GOOD), authorization=given)
    refused(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_f49_a_token_in_the_query_or_sent_twice_is_401(world: World) -> None:
    query = send(world, rows(GOOD), path=f"/predict?token={world.token}&access_token={world.token}", authorization=None)
    refused(query, 401, "unauthorized")
    doubled = head_of(world, content_length="2", x=f"1\r\nAuthorization: Bearer {world.token}")
    answer = exchange(world, [doubled + b"{}"])
    assert answer is not None
    refused(answer, 401, "unauthorized")


def raw(world: World, *pieces: bytes) -> Answer | None:
    return exchange(world, pieces)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20, 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /livez\r\n\r\n", 400),
        (b"GET /livez HTTP/3.0\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nX: a\r\n b: c\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"c" * 65_536 + b"\r\n\r\n", 431),
        (b"GET /" + b"c" * 65_536 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", 431),
        (b"\x00" * 1_000_000, 400),
        (random.Random(7).randbytes(65_536), 400),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_f19_what_is_not_http_is_refused_or_closed(world: World, sent: bytes, status: int) -> None:
    answer = raw(world, sent)
    if answer is not None:
        assert answer.status == status
        assert answer.json["error"]["code"] in {"bad_request", "headers_too_large"}


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: {n}\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: {n}",
        "Content-Length: {n}\r\nContent-Length: 3",
        "Content-Length: {n}\r\nContent-Length: {n}",
        "Content-Length: +{n}",
        "Content-Length: -1",
        "Content-Length: 0x20",
        "Content-Length: 99999999999999999999999",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding:\x0bchunked",
    ],
)
def test_f19_a_body_framed_in_two_ways_reaches_nobody(world: World, framing: str) -> None:
    body = rows(GOOD)
    head = head_of(world).removesuffix(b"\r\n") + framing.format(n=len(body)).encode() + b"\r\n\r\n"
    answer = raw(world, head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    assert answer is None or 400 <= answer.status < 500, answer


@pytest.mark.thorough
def test_f17_headers_that_never_end_are_given_up(world: World) -> None:
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", world.port), timeout=120) as slow:  # never given up, it times out
        slow.sendall(b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        assert send(world, rows(GOOD)).status == 200
        received = b""
        while more := slow.recv(65_536):
            received += more
    assert time.monotonic() - begun > 5, "a slow client has its time"
    assert received.startswith(b"HTTP/1.1 408")


def test_nothing_that_was_sent_is_in_the_services_own_log(world: World) -> None:
    text = world.logs()
    assert CANARY not in text
    assert world.token not in text
    assert "Traceback" not in text


LABELLED = {"request_id": "0123456789abcdef00000001", "labels": [True, None]}


def labels(**changed: Any) -> bytes:
    return json.dumps(LABELLED | changed).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        CANARY.encode(),
        b"[]",
        labels() + CANARY.encode(),
        labels() + labels(),
        b'{"request_id": "a", "labels": [], "labels": [true]}',
        labels(labels=["@"]).replace(b'"@"', b"NaN"),
        labels(labels=["@"]).replace(b'"@"', b"9" * 10_000),
        labels().replace(b"0123", b"\xff123"),
        labels().decode().encode("utf-16"),
        gzip.compress(labels(), mtime=0),
        b'{"request_id": "a", "labels": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda body: repr(body[:30]),
)
def test_f41_feedback_that_is_not_one_json_object_is_400(world: World, body: bytes) -> None:
    assert refused(send(world, body, path="/feedback"), 400, "bad_json") == []


@pytest.mark.parametrize(
    "changed",
    [
        {"labels": None},
        {"labels": CANARY},
        {"labels": {"0": CANARY}},
        {"labels": [CANARY]},
        {"labels": [NUMBER]},
        {"labels": [1]},
        {"labels": [[True]]},
        {"labels": [{CANARY: True}]},
        {"labels": [CANARY * 100_000]},
        {"request_id": None},
        {"request_id": 987654321},
        {"request_id": ""},
        {"request_id": "../../" + CANARY},
        {"request_id": CANARY + "\x00"},
        {"request_id": CANARY + "é"},
        {"request_id": CANARY * 20},
        {"request_id": [CANARY]},
        {"rows": [GOOD]},
        {CANARY: 1},
    ],
    ids=lambda changed: repr(changed)[:40],
)
def test_f43_feedback_of_another_shape_or_kind_is_422(world: World, changed: dict[str, Any]) -> None:
    if changed.get("request_id") == "../../" + CANARY:  # an id is looked up, never opened
        assert send(world, labels(**changed), path="/feedback").status == 200
        return
    refused(send(world, labels(**changed), path="/feedback"), 422, "invalid_labels")


def test_f45_labels_are_counted_like_rows(world: World) -> None:
    full = send(world, labels(labels=[True] * 10_000), path="/feedback")
    assert (full.status, full.json["accepted"]) == (200, 10_000)
    refused(send(world, labels(labels=[True] * 10_001), path="/feedback"), 413, "too_many_rows")
    answer = exchange(world, [head_of(world, path="/feedback", content_length=str(11 * 2**20)), *big(chunked=False)])
    assert answer is not None
    refused(answer, 413, "body_too_large")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"authorization": None}, 401, "unauthorized"),
        ({"authorization": f"Bearer {CANARY}"}, 401, "unauthorized"),
        ({"host": "evil.example"}, 403, "host_not_allowed"),
        ({"origin": "https://evil.example"}, 403, "origin_not_allowed"),
        ({"content_type": "text/plain"}, 415, "not_json"),
        ({"content_type": None}, 415, "not_json"),
    ],
)
def test_f49_f51_nobody_else_says_what_is_right(
    world: World, headers: dict[str, str | None], status: int, code: str
) -> None:
    before = len(Feedback(world.service.folder / "feedback").frame())
    given: dict[str, Any] = {"path": "/feedback", **headers}
    refused(send(world, labels(), **given), status, code)
    assert len(Feedback(world.service.folder / "feedback").frame()) == before
