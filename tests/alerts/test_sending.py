"""What a message says, and how each kind of channel gets it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aegis.alerts.addresses import parse_addresses
from aegis.alerts.message import render
from aegis.alerts.sending import send
from aegis.db import fetch_value
from aegis.errors import ConfigError, Unavailable
from tests.alerts.conftest import Bench
from tests.alerts.receivers import http_receiver, smtp_receiver

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.alerts.message import Message
    from aegis.db import Database

DOWN = Unavailable("Channel 'ops' cannot be reached.", code="alert_channel_unavailable")


def _message() -> Message:
    entry = {
        "alert_id": 7, "kind": "fired", "severity": "critical", "title": "Disk <!channel> & *x*",
        "condition_state": "critical", "observed": "97 %", "threshold": "90 %",
        "advice": "aegis maintenance plan", "link": None, "at": "2026-05-01T03:05:00+00:00",
        "began_at": "2026-05-01T03:00:00+00:00", "over_at": None,
    }  # fmt: skip
    return render("11111111-2222-3333-4444-555555555555", [entry], host="box")


async def test_no_address_is_in_the_database_or_in_an_error(bench: Bench, db: Database) -> None:
    await bench.alerts.channels.test()
    async with db.transaction() as conn:
        text = await fetch_value(
            conn,
            """
            SELECT string_agg(t::text, ' ')
            FROM (SELECT c::text AS t FROM alert_channels c
                  UNION ALL SELECT d::text FROM alert_deliveries d) AS rows
            """,
        )
    assert "secret-token" not in text
    assert "secret-token" not in repr(bench.alerts.channels.addresses)
    (address,) = bench.alerts.channels.addresses.values()
    with pytest.raises(Unavailable) as caught:
        await send(replace(address, url="http://127.0.0.1:9/secret-token"), _message())
    assert "secret-token" not in str(caught.value)


def test_message_says_at_three_in_the_morning_what_since_when_how_much_and_what_to_do() -> None:
    assert _message().subject == "[box] CRITICAL: Disk <!channel> & *x*"
    assert _message().body.splitlines() == [
        "CRITICAL  Disk <!channel> & *x*",
        "  since     2026-05-01 03:00 UTC, 5 min",
        "  observed  97 %; limit 90 %",
        "  do        aegis maintenance plan",
        "  take it   aegis alerts ack 7",
    ]


async def test_webhook_gets_signed_json() -> None:
    async with http_receiver() as receiver:
        (address,) = parse_addresses(f"a={receiver.url}/hook#secret=key").values()
        await send(address, _message())
        (request,) = receiver.requests
    assert request.path == "/hook"
    stamp, _, mac = request.headers["x-aegis-signature"].partition(",v1=")
    wanted = hmac.new(
        b"key", stamp.removeprefix("t=").encode() + b"." + request.body, hashlib.sha256
    )
    assert mac == wanted.hexdigest()
    document = json.loads(request.body)
    assert document["delivery_id"] == request.headers["x-aegis-delivery"]
    assert document["alerts"][0]["advice"] == "aegis maintenance plan"


async def test_slack_gets_text_that_pings_nobody() -> None:
    async with http_receiver() as receiver:
        (address,) = parse_addresses(f"a=slack+{receiver.url}/x").values()
        await send(address, _message())
        (request,) = receiver.requests
    document = json.loads(request.body)
    assert document["text"] == "[box] CRITICAL: Disk &lt;!channel&gt; &amp; *x*"
    assert "<" not in document["attachments"][0]["text"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(500, Unavailable), (429, Unavailable), (404, ConfigError), (302, ConfigError)],
)
async def test_status_says_whether_it_is_worth_trying_again(
    status: int, kind: type[Exception]
) -> None:
    async with http_receiver(status=status) as receiver:
        (address,) = parse_addresses(f"a={receiver.url}").values()
        with pytest.raises(kind):
            await send(address, _message())
        assert len(receiver.requests) == 1


async def test_receiver_that_never_answers_is_given_up() -> None:
    async with http_receiver(answers=False) as receiver:
        (address,) = parse_addresses(f"a={receiver.url}").values()
        with pytest.raises(Unavailable, match="longer than"):
            await send(address, _message(), timeout_s=0.2)


async def test_email_arrives_as_text() -> None:
    async with smtp_receiver() as receiver:
        url = f"smtp+plain://{receiver.address}/?to=ann@example.org&from=aegis@example.org"
        (address,) = parse_addresses(f"a={url}").values()
        await send(address, _message())
        (mail,) = receiver.mails
    assert "Subject: [box] CRITICAL: Disk" in mail
    assert "To: ann@example.org" in mail
    assert "Message-ID: <11111111-2222-3333-4444-555555555555@aegis>" in mail
    assert "take it   aegis alerts ack 7" in mail


async def test_command_gets_json_and_its_status_counts(tmp_path: Path) -> None:
    script = tmp_path / "page"
    script.write_text(f"#!/bin/sh\ncat > {tmp_path}/got\nenv > {tmp_path}/env\nexit 3\n")
    script.chmod(0o700)
    (address,) = parse_addresses(f"a=command:{script}").values()
    with pytest.raises(Unavailable, match="status 3"):
        await send(address, _message())
    assert json.loads((tmp_path / "got").read_text())["severity"] == "critical"
    assert "AEGIS" not in (tmp_path / "env").read_text()
    script.chmod(0o600)
    with pytest.raises(ConfigError, match="cannot be run"):
        await send(address, _message())


async def test_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    script = tmp_path / "page"
    script.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {tmp_path}/child\nwait\n")
    script.chmod(0o700)
    (address,) = parse_addresses(f"a=command:{script}").values()
    with pytest.raises(Unavailable, match="longer than"):
        await send(address, _message(), timeout_s=1.0)
    child = int((tmp_path / "child").read_text())
    # It was sent its end; the kernel takes its time with that.
    async with asyncio.timeout(30):
        while await asyncio.to_thread(_state_of, child) not in {None, "Z"}:
            await asyncio.sleep(0.01)


def _state_of(pid: int) -> str | None:
    from pathlib import Path

    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return None


async def test_anything_of_apprise() -> None:
    async with http_receiver() as receiver:
        host = receiver.url.removeprefix("http://")
        (address,) = parse_addresses(f"a=json://{host}/x").values()
        assert (address.kind, address.shown) == ("apprise", "json://…")
        await send(address, _message())
        (request,) = receiver.requests
        assert json.loads(request.body)["title"].startswith("[box] CRITICAL")
    with pytest.raises(ConfigError, match="no address that apprise knows"):
        (address,) = parse_addresses("a=nonsense://x").values()
        await send(address, _message())


@pytest.mark.parametrize(
    "wrong",
    [
        "https://x.example/token",
        "a=token",
        "a=https:///token",
        "a=command:relative-token",
        "a=smtp://host/token",
        "a=https://x/token#nope=1",
        "a=https://x/token#least=low",
        "a=https://x/token#quiet=25:00-07:00",
        "a=https://x/token#quiet=07:00-07:00",
        "a=https://x/token#quiet=sun-funday@22:00-07:00",
        "a=https://x/token#quiet=22:00-07:00&zone=Mars/Olympus",
        "a=https://x/token#quiet=22:00-07:00&zone=../../etc/passwd",
        "a=https://x/token#zone=Europe/Berlin",
        "a=https://x/token a=https://y/token",
        "b d=https://[x/token",
    ],
)
def test_address_that_is_none_is_refused_without_being_repeated(wrong: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_addresses(wrong)
    assert "token" not in str(caught.value)


def test_addresses_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "channels"
    file.write_text("# whom to wake\nops=https://a.example/x#least=critical&quiet=22:00-06:30\n")
    (address,) = parse_addresses(f"@{file}").values()
    assert (address.least_severity, str(address.quiet)) == ("critical", "22:00-06:30 UTC")
    assert parse_addresses(None) == parse_addresses("") == {}
    with pytest.raises(ConfigError):
        parse_addresses(f"@{tmp_path}/none")
