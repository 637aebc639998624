"""States as probed, and the service as its user holds it."""

from __future__ import annotations

import http.server
import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from nbdeploy.render import Card
from nbdeploy.run import tokens
from nbdeploy.run.addresses import how_to_reach
from nbdeploy.run.ports import taken
from nbdeploy.run.service import Service
from nbdeploy.run.services import Services, ServiceState, probe, services
from nbdeploy.runtime.manifest import Column, Manifest, Method, Output, Schema
from nbdeploy.runtime.process import Process
from nbdeploy.runtime.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nbdeploy.settings import Settings

SINCE = "2026-11-02T14:00:00.000Z"


def test_the_list_of_services_tells_minutes_and_speaks_to_terminals_too() -> None:
    assert "nbdeploy up FILE" in str(Services([]))
    shown = str(Services([ServiceState("penguins", "ready", since=SINCE)]))
    assert "2026-11-02 14:00" in shown
    assert ":00.000Z" not in shown


@contextmanager
def answering(told: Any) -> Iterator[str]:
    """A service that answers /readyz, or anything, with this."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(told).encode() if not isinstance(told, bytes) else told
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def recorded(folder: Path, word: str = "ready", url: str | None = "http://127.0.0.1:1", **changes: Any) -> State:
    """A state file as this very process would write it."""
    folder.mkdir(parents=True, exist_ok=True)
    me = Process.current()
    state = State("penguins", word, SINCE, version="1.2.0", url=url, pid=me.pid, start=me.start, boot=me.boot)
    state = replace(state, digest="sha256:0", nonce="n", workers=2, **changes)
    state.write(folder)
    return state


def test_f14_a_service_is_ready_only_when_it_answers_with_its_own_nonce(tmp_path: Path) -> None:
    with answering({"name": "penguins", "nonce": "n", "state": "ready"}) as url:
        recorded(tmp_path, url=url)
        assert probe(tmp_path).state == "ready"
        recorded(tmp_path, url=url, pids=())
        assert probe(tmp_path).to_dict() == {
            "name": "penguins",
            "version": "1.2.0",
            "url": url,
            "launcher": "local",
            "state": "ready",
            "since": SINCE,
            "pid": Process.current().pid,
            "workers": 2,
        }
        recorded(tmp_path, url=url, pids=(), launcher="container")
        assert probe(tmp_path).to_dict()["pid"] is None
    strangers: tuple[Any, ...] = ({"name": "penguins", "nonce": "other"}, {"name": "other", "nonce": "n"}, [], {})
    for stranger in strangers:
        with answering(stranger) as url:
            recorded(tmp_path, url=url)
            assert probe(tmp_path).state == "unknown"
            assert probe(tmp_path).failure == f"something else answers at {url}"


def test_a_service_whose_log_cannot_be_written_is_degraded(tmp_path: Path) -> None:
    with answering({"name": "penguins", "nonce": "n", "state": "degraded"}) as url:
        recorded(tmp_path, url=url)
        assert probe(tmp_path).state == "degraded"


@pytest.mark.parametrize("told", [b"", b"not json"])
def test_a_living_process_that_does_not_answer_is_degraded(tmp_path: Path, told: bytes) -> None:
    with answering(told) as url:
        recorded(tmp_path, url=url)
        assert probe(tmp_path).state == "degraded"
    assert probe(tmp_path).state == "degraded", "nobody listens any more"


@pytest.mark.parametrize("word", ["starting", "failed"])
def test_what_is_not_ready_is_believed_while_its_process_lives(tmp_path: Path, word: str) -> None:
    recorded(tmp_path, word, failure="crashed in native code (SIGSEGV)")
    found = probe(tmp_path)
    assert (found.state, found.failure) == (word, "crashed in native code (SIGSEGV)")


def test_f09_another_process_with_its_number_is_not_the_service(tmp_path: Path) -> None:
    state = recorded(tmp_path)
    replace(state, start="1").write(tmp_path)
    found = probe(tmp_path)
    assert (found.state, found.pid) == ("dead", None)
    replace(state, boot="another boot").write(tmp_path)
    assert probe(tmp_path).state == "dead"


def test_a_service_of_another_container_is_unknown(tmp_path: Path) -> None:
    state = recorded(tmp_path)
    replace(state, boot=f"{Process.current().boot.split(' ')[0]} pid:[1]").write(tmp_path)
    assert probe(tmp_path).state == "unknown"


def test_nothing_is_no_service(tmp_path: Path) -> None:
    assert probe(tmp_path / "nobody").state == "stopped"
    assert list(services(tmp_path / "nowhere")) == []


def test_all_services_of_a_home_are_listed(settings: Settings) -> None:
    recorded(settings.services / "penguins", "stopped")
    recorded(settings.services / "other", "failed", failure="it crashed")
    (settings.services / "empty").mkdir()
    found = services(settings.services)
    assert [state.state for state in found] == ["failed", "stopped"]
    assert [entry["name"] for entry in found.to_dict()] == ["penguins", "penguins"]
    assert "it crashed" in str(found)
    assert "%deploy" in str(Services([]))


def test_the_owner_of_a_port_is_named(settings: Settings) -> None:
    recorded(settings.services / "penguins", port=4_000)
    recorded(settings.services / "dead", port=4_001, pid=None)
    assert "is that of the service penguins" in str(taken("new", 4_000, settings.services))
    assert "service" not in str(taken("new", 4_001, settings.services)).partition("; ")[0]
    assert "another process" in str(taken("new", 1, settings.services))


class Backend:
    """A launcher that remembers what it was asked."""

    name = "local"

    def __init__(self, state: str = "ready") -> None:
        self.stopped: list[str] = []
        self._state = ServiceState("penguins", state, "1.2.0", "http://127.0.0.1:4000", since=SINCE, pid=7)  # type: ignore[arg-type]

    def prepare(self, launch: Any, progress: Any) -> Any:
        raise NotImplementedError

    def stop(self, name: str, folder: Path) -> None:
        self.stopped.append(name)

    def state(self, folder: Path) -> ServiceState:
        return self._state

    def logs(self, folder: Path, *, lines: int = 50, follow: bool = False) -> Iterator[str]:
        yield f"{lines} {follow}"


@pytest.fixture
def service(tmp_path: Path) -> Service:
    schema = Schema("records", (Column("age", "number", "float64"),))
    methods = (Method("predict", Output("array")), Method("predict_proba", Output("array")))
    manifest = Manifest(1, "penguins", "", {}, methods, schema, "model.pkl", {}, {}, {}, "sha256:0", SINCE)
    (tmp_path / "bundle" / "src").mkdir(parents=True)
    (tmp_path / "bundle" / "src" / "golden.json").write_text(json.dumps({"rows": [{"age": 1.5, "who": "it's"}]}))
    tokens.ensure(tmp_path)
    return Service("penguins", "1.2.0", "http://127.0.0.1:4000", manifest, tmp_path, tmp_path / "bundle", Backend())


def test_a_service_has_the_methods_of_its_model_and_no_others(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        "nbdeploy.run.client.Client.call",
        lambda _, method, rows: asked.append((method, rows)) or [1],  # type: ignore[func-returns-value]
    )
    assert service.predict([{"age": 1}]) == [1]
    assert asked == [("predict", [{"age": 1}])]
    assert {"predict", "predict_proba", "stop"} <= set(dir(service))
    with pytest.raises(AttributeError, match="has no method 'transform'; there is: predict, predict_proba"):
        _ = service.transform
    assert not hasattr(service, "_repr_mimebundle_")


def test_a_service_shows_its_state_and_how_to_ask_it(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JUPYTERHUB_SERVICE_PREFIX", "CODESPACE_NAME", "COLAB_GPU", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    card = service.card()
    assert isinstance(card, Card)
    assert (card.title, card.status, card.tone) == ("penguins 1.2.0", "ready", "good")
    lines = dict(card.code)
    assert lines["in Python"] == 'nbdeploy.attach("penguins").predict(rows)'
    assert '"Authorization: Bearer $(nbdeploy token penguins)"' in lines["in a shell"]
    assert """'{"rows": [{"age": 1.5, "who": "it'"'"'s"}]}'""" in lines["in a shell"]
    assert lines["OpenAPI"].endswith("http://127.0.0.1:4000/docs.json")
    token = tokens.ensure(service.folder)
    assert token not in str(service) + repr(service) + service._repr_html_()


def test_an_example_too_long_for_a_line_is_a_file(service: Service) -> None:
    (service.bundle / "src" / "golden.json").write_text(json.dumps({"rows": [{"text": "x" * 2_000}]}))
    assert "-d @rows.json" in dict(service.card().code)["in a shell"]


def test_an_open_service_needs_no_token(service: Service) -> None:
    open_service = replace(service, authenticated=False)
    assert open_service.token_file is None
    assert "token" not in str(open_service)
    assert service.token_file == service.folder / "token"


def test_a_service_is_the_entry_of_ps_and_what_its_call_did(service: Service) -> None:
    told = replace(service, previous="1.1.0", already_live=True).to_dict()
    assert told["state"] == "ready"
    assert (told["previous"], told["already_live"]) == ("1.1.0", True)
    assert set(told) == {*ServiceState("n", "ready").to_dict(), "previous", "already_live"}


def test_a_service_stops_and_tells_its_log(service: Service) -> None:
    service.stop()
    assert isinstance(service.backend, Backend)
    assert service.backend.stopped == ["penguins"]
    assert list(service.logs(lines=3)) == ["3 False"]
    assert service.predictions().folder == service.folder / "predictions"


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"JUPYTERHUB_SERVICE_PREFIX": "/user/jo/"}, "/user/jo/proxy/4000/"),
        ({"CODESPACE_NAME": "fuzzy"}, "https://fuzzy-4000.app.github.dev/"),
        ({"COLAB_GPU": "0"}, "serve_kernel_port_as_window(4000)"),
        ({"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}, "ssh -L 4000:127.0.0.1:4000"),
    ],
)
def test_a_hosted_notebook_is_told_how_to_reach_the_address(environ: dict[str, str], words: str) -> None:
    assert words in (how_to_reach("http://127.0.0.1:4000", environ) or "")
    assert how_to_reach("http://127.0.0.1:4000", {}) is None
