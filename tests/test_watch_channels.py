"""Channels: a webhook that meets every other side there is, what may be reached, what is never shown, e-mail, the log."""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import ipaddress
import json
import logging
import socket
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from watched import BEGIN, HOUR, receiving

from nbdeploy.errors import DeliveryFailed, Unsupported
from nbdeploy.watch import apprising, webhook
from nbdeploy.watch.alert import Alert
from nbdeploy.watch.channels import Address, Elsewhere, LogFile, channels_of
from nbdeploy.watch.masks import masked, without
from nbdeploy.watch.message import Message
from nbdeploy.watch.reach import NotAllowed, Reach

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HERE = Reach.of(["127.0.0.1"], "here")
ALERT = Alert("penguins", "errors", "error_rate>0.05", "firing", 0.12, 0.12, BEGIN, BEGIN, BEGIN + HOUR, "1.0.0")
MESSAGE = Message("penguins", "ops", BEGIN + HOUR, (ALERT,))


def failure(url: str, reach: Reach = HERE) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        webhook.post("ops", url, MESSAGE, reach)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None  # nor in what a traceback shows of where it came from
    return caught.value


def test_a_webhook_is_sent_json_with_an_id_that_never_changes() -> None:
    with receiving("200") as other:
        webhook.post("ops", other.url, MESSAGE, HERE)
        webhook.post("ops", other.url, MESSAGE, HERE)
    assert other.bodies[0] == other.bodies[1] == json.loads(json.dumps(MESSAGE.body()))
    assert other.keys == [MESSAGE.id] * 2 == [other.bodies[0]["id"]] * 2
    assert other.heads[0]["Content-Type"] == "application/json"
    assert other.bodies[0]["alerts"][0] == {
        "id": ALERT.id, "name": "penguins", "rule": "errors", "when": "error_rate>0.05", "state": "firing", "value": 0.12,
        "worst": 0.12, "since": "2026-11-16T00:00:00+00:00", "began": "2026-11-16T00:00:00+00:00",
        "ended": "2026-11-16T01:00:00+00:00", "version": "1.0.0", "held": 0, "note": "", "text": ALERT.text,
    }  # fmt: skip


def test_the_body_is_strict_json_whatever_the_value() -> None:
    odd = replace(ALERT, value=float("inf"), worst=float("nan"), note="\ud800\u2028é")
    with receiving("200") as other:
        webhook.post("ops", other.url, replace(MESSAGE, alerts=(odd,)), HERE)
    assert other.bodies[0]["alerts"][0]["value"] == "Infinity"
    assert other.bodies[0]["alerts"][0]["worst"] is None


@pytest.mark.parametrize(
    ("answer", "fact"),
    [
        ("500", "answered with 500"),
        ("404", "answered with 404, nothing there"),
        ("redirect", "answered with 307, a redirect, which is not followed"),
        ("garbage", "something that is not HTTP"),
        ("hangup", "something that is not HTTP"),
        ("huge", "something that is not HTTP"),
    ],
)
def test_an_answer_that_is_no_yes_is_a_failure_in_a_sentence(answer: str, fact: str) -> None:
    with receiving(answer) as other:
        assert fact in str(failure(other.url))
    assert other.strayed == 0


@pytest.mark.parametrize("answer", ["slow", "drip"])
def test_the_slow_are_not_waited_for(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "WHOLE", 0.5)
    with receiving(answer) as other:
        assert "did not answer within 0.5 s" in str(failure(other.url))


def test_a_body_without_end_is_not_read() -> None:
    with receiving("endless") as other:
        webhook.post("ops", other.url, MESSAGE, HERE)
    assert other.keys == [MESSAGE.id]


def test_the_other_side_may_say_when_to_come_again() -> None:
    def answering(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Slow\r\nRetry-After: 120\r\n\r\n")

    with serving(answering) as port:
        assert failure(f"http://127.0.0.1:{port}/s3cret").after == 120


def test_a_handshake_that_never_ends_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "WHOLE", 0.5)
    ended = threading.Event()

    def dripping(connection: socket.socket) -> None:
        """The head of a long TLS record, and then byte for byte."""
        connection.sendall(b"\x16\x03\x03\x3f\xff")
        while not ended.wait(0.05):
            connection.sendall(b"\x02")

    with serving(dripping) as port:
        found = failure(f"https://127.0.0.1:{port}/s3cret")
        ended.set()
    assert "127.0.0.1" in str(found)


def test_nobody_there_is_a_failure_in_a_sentence() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "cannot be reached" in str(failure(f"http://127.0.0.1:{port}/s3cret"))
    unknown = Reach(resolve=lambda host, port: (_ for _ in ()).throw(socket.gaierror(-2, "Name or service not known")))
    assert "Name or service not known" in str(failure("http://nowhere.invalid/s3cret", unknown))


@pytest.mark.parametrize(
    "url",
    [
        "http:///s3cret",
        "http://h:99999/s3cret",
        "http://h/s3cret\r\nX: 1",
        "http://h/s3 cret",
        "http://[::1/s3cret",
        "ftp://h/s3cret",
    ],
)
def test_an_address_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    failure(url)


def test_a_password_in_the_address_is_sent_as_one() -> None:
    with receiving("200") as other:
        webhook.post("ops", f"http://user:p%40ss@127.0.0.1:{other.port}/x", MESSAGE, HERE)
    assert other.heads[0]["Authorization"] == "Basic dXNlcjpwQHNz"
    assert other.heads[0]["Host"] == f"127.0.0.1:{other.port}"


# what may be reached

INSIDE = [
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.5.4",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.8",
    "192.88.99.1",
    "fec0::1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2002:c0a8:101::",
    "2001:0:7f00:1:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "100::1",
]
OUTSIDE = ["93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_that_are_not_of_the_public_internet_are_not_reached(address: str) -> None:
    with pytest.raises(NotAllowed, match="not of the public internet"):
        Reach(resolve=lambda host, port: [address]).address("hooks.example.com", 443)


@pytest.mark.parametrize("address", OUTSIDE)
def test_addresses_of_the_public_internet_are(address: str) -> None:
    assert Reach(resolve=lambda host, port: [address]).address("hooks.example.com", 443) == address


@given(st.ip_addresses(v=4))
def test_wrapping_an_address_in_version_6_reaches_nothing_more(address: ipaddress.IPv4Address) -> None:
    packed = int(address)
    wrapped = [
        ipaddress.IPv6Address((0xFFFF << 32) | packed),
        ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) | packed),
        ipaddress.IPv6Address((0x2002 << 112) | (packed << 80)),
    ]
    assert all(Reach().allows(address) or not Reach().allows(form) for form in wrapped)


def test_one_address_of_several_that_is_inside_refuses_the_host() -> None:
    with pytest.raises(NotAllowed, match=r"10\.0\.0\.1"):
        Reach(resolve=lambda host, port: ["8.8.8.8", "10.0.0.1"]).address("both.example.com", 80)


def test_addresses_inside_are_reached_where_the_settings_allow_them() -> None:
    allowed = Reach.of(["10.0.0.0/8", "fd00::/8"], "here")
    for address, fine in (("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("fd00::5", True), ("192.168.0.1", False)):
        assert allowed.allows(ipaddress.ip_address(address)) == fine


def test_a_host_is_asked_for_once_and_what_was_checked_is_connected_to() -> None:
    """A name that answers with another address the second time (DNS rebinding) gets nobody inside."""
    asked = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"] if len(asked) == 1 else ["203.0.113.1"]

    with receiving("200") as other:
        webhook.post("ops", f"http://hooks.example.com:{other.port}/x", MESSAGE, replace(HERE, resolve=resolve))
    assert asked == [("hooks.example.com", other.port)]
    assert other.heads[0]["Host"] == f"hooks.example.com:{other.port}"


def test_a_refused_address_is_never_connected_to() -> None:
    with receiving("200") as other:
        assert 'write allow = ["127.0.0.1"]' in str(failure(other.url, Reach()))
    assert other.keys == []


def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving("200") as other, receiving("200") as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        webhook.post("ops", other.url, MESSAGE, HERE)
    assert (len(other.keys), len(proxy.keys)) == (1, 0)


# what is never shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.com/services/T0/s3cret", "https://hooks.example.com/***"),
        ("https://user:s3cret@example.com:8443", "https://***@example.com:8443"),
        ("http://example.com/?key=s3cret", "http://example.com/***"),
        ("slack://s3cretA/s3cretB/s3cretC", "slack://***"),
        ("mailto://user:s3cret@example.com", "mailto://***"),
        ("tgram://s3cret", "tgram://***"),
        ("https://[s3cret", "***"),
    ],
)
def test_of_an_address_its_scheme_and_a_webhook_s_host_are_shown(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_every_piece_of_an_address_is_taken_out_of_what_others_say() -> None:
    url = "mailto://robot:p%40ssw0rd@smtp.example.com?to=boss@example.com"
    said = "login of robot with p@ssw0rd (p%40ssw0rd) at smtp.example.com for boss@example.com failed"
    cleaned = without(said, url)
    for piece in ("robot", "p@ssw0rd", "p%40ssw0rd", "boss"):
        assert piece not in cleaned
    assert cleaned.endswith("failed")


def test_an_address_may_lie_in_a_variable_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_URL", "https://hooks.example.com/s3cret")
    (tmp_path / "url").write_text("https://hooks.example.com/s3cret\n", encoding="utf-8")
    for address in (Address("ops", env="OPS_URL"), Address("ops", file=str(tmp_path / "url"))):
        assert address.found() == "https://hooks.example.com/s3cret"
        assert "s3cret" not in address.shown + repr(address)
        assert "hooks.example.com" in address.shown
    for missing, fact in (
        (Address("ops", env="NOT_SET"), "NOT_SET is not set"),
        (Address("ops", file="/no"), "cannot be read"),
    ):
        with pytest.raises(DeliveryFailed, match=fact):
            missing.found()


# e-mail and the rest


def mail(url: str) -> Elsewhere:
    return Elsewhere("mail", Address("mail", url), Reach())


@pytest.mark.slow
def test_an_e_mail_arrives_through_apprise() -> None:
    with smtp() as (port, received):
        mail(f"mailto://127.0.0.1:{port}?from=robot@example.com&to=boss@example.com&mode=insecure").send(MESSAGE)
    (told,) = received
    message = email.message_from_bytes(told, policy=email.policy.default)
    assert message["Subject"] == "nbdeploy: penguins: errors fires"
    assert "error_rate>0.05) fires: 0.12" in "".join(
        part.get_content() for part in message.walk() if part.get_content_type() == "text/plain"
    )


def test_an_e_mail_that_cannot_be_sent_is_a_failure_without_a_secret(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DeliveryFailed) as caught:
        mail(
            f"mailto://robot:s3cretpass@127.0.0.1:{port}?from=robot@example.com&to=boss@example.com&mode=insecure"
        ).send(MESSAGE)
    assert "mailto://*** did not take it" in str(caught.value)
    assert not any(piece in f"{caught.value}{capfd.readouterr()}{caplog.text}" for piece in ("s3cretpass", "boss@"))


def test_a_scheme_nobody_knows_is_a_failure_without_the_address() -> None:
    with pytest.raises(DeliveryFailed) as caught:
        mail("nosuchthing://s3cret/token").send(MESSAGE)
    assert "s3cret" not in str(caught.value)
    assert logging.getLogger("apprise").propagate


def test_of_an_address_nothing_is_repeated_not_even_the_ends_of_its_password() -> None:
    said = "Failed to send to mailtos://P...W@1...1/?from=x"
    assert apprising._why(said, "mailtos://Pass-W@127.0.0.1/?from=x") == ": Failed to send to ***"


def test_without_apprise_the_command_that_brings_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(Unsupported, match=r'pip install "apprise>=1\.9"') as caught:
        mail("mailto://user:s3cret@example.com").send(MESSAGE)
    assert "s3cret" not in str(caught.value)


# the log


def test_the_log_has_a_line_for_each_alert_once(tmp_path: Path) -> None:
    log = channels_of({}, Reach(), tmp_path)["log"]
    for _ in range(3):
        log.send(MESSAGE)
    log.send(replace(MESSAGE, alerts=(replace(ALERT, state="resolved"),)))
    lines = (tmp_path / "alerts.log").read_text(encoding="utf-8").splitlines()
    assert [line.split()[2] for line in lines] == ["firing", "resolved"]
    assert (tmp_path / "alerts.log").stat().st_mode & 0o777 == 0o600


def test_a_torn_line_of_the_log_is_left_and_a_name_cannot_forge_one(tmp_path: Path) -> None:
    log = LogFile(tmp_path)
    log.path.write_bytes(b"2026-11-16T01:00:00+00:00 0123 fir")
    log.send(replace(MESSAGE, alerts=(replace(ALERT, note="", rule="a\nb\x1b[2J"),)))
    lines = log.path.read_text(encoding="utf-8").split("\n")
    assert len(lines) == 3
    assert "\x1b" not in lines[1]


def test_the_log_does_not_grow_without_end(tmp_path: Path) -> None:
    log = LogFile(tmp_path, largest=200)
    for number in range(20):
        log.send(replace(MESSAGE, alerts=(replace(ALERT, since=BEGIN + number * HOUR),)))
    assert {path.name for path in tmp_path.iterdir()} == {"alerts.log", "alerts.log.1"}
    assert all(path.stat().st_size < 1000 for path in tmp_path.iterdir())


# other sides


@contextlib.contextmanager
def serving(answer: Any) -> Iterator[int]:
    """One connection, answered by a function."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):  # cut off, as the test wants it
                answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)


@contextlib.contextmanager
def smtp() -> Iterator[tuple[int, list[bytes]]]:
    """A mail server that takes everything."""
    received: list[bytes] = []
    ready: list[int] = []
    loop = asyncio.new_event_loop()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            word = line[:4].upper()
            if word == b"DATA":
                writer.write(b"354 go on\r\n")
                received.append((await reader.readuntil(b"\r\n.\r\n"))[:-5])
            if word == b"QUIT":
                writer.write(b"221 bye\r\n")
                await writer.drain()
                break
            writer.write(b"250 fine\r\n")
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        async with server:
            ready.append(server.sockets[0].getsockname()[1])
            started.set()
            await ended.wait()

    started, ended = threading.Event(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert started.wait(5)
    try:
        yield ready[0], received
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(5)
        loop.close()


def test_what_a_sender_stops_with_is_told_without_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_name: str, url: str, *_: object) -> None:
        raise TypeError(f"cannot send to {url}")

    monkeypatch.setattr(webhook, "post", broken)
    channel = Elsewhere("ops", Address("ops", "https://hooks.example.com/s3cret"), HERE)
    with pytest.raises(DeliveryFailed, match="its sender stopped with TypeError: cannot send to") as caught:
        channel.send(MESSAGE)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
