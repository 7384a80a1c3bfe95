"""Calls of applications: each that was answered is on the disk."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from aegis.errors import InvalidInput, Unavailable
from aegis.keys.asgi import ApiKeys
from aegis.usage.asgi import Metered, report
from tests.statements import rows

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.db import Database
    from aegis.keys import Keys
    from aegis.usage import Usage


async def thing(request: Any) -> PlainTextResponse:
    report(request.scope, tokens=5, cost_usd="0.5")
    report(request.scope, tokens=2)
    return PlainTextResponse(request.path_params["id"], status_code=201)


async def broken(_: Any) -> PlainTextResponse:
    raise RuntimeError("on purpose")


def application(usage: Usage) -> Metered:
    routes = [Route("/things/{id}", thing), Route("/broken", broken)]
    app = Starlette(routes=routes)

    async def named(scope: Any, receive: Any, send: Any) -> None:
        # Starlette does not say which route it took; FastAPI does.
        path = scope["path"]
        scope["aegis.endpoint"] = "/things/{id}" if path.startswith("/things/") else path
        await app(scope, receive, send)

    return Metered(named, usage)


def asking(app: Any, key: str) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers)


async def test_a_call_is_an_event_with_what_it_reported(
    usage: Usage, keys: Keys, db: Database
) -> None:
    issued = await keys.issue("acme")
    async with asking(ApiKeys(application(usage), keys), issued.key) as http:
        assert (await http.get("/things/7")).status_code == 201
        assert (await http.get("/broken")).status_code == 500
    newest, oldest = await usage.events()
    assert (oldest.endpoint, oldest.method, oldest.status_code) == ("/things/{id}", "GET", 201)
    assert (oldest.tokens_used, oldest.cost_usd) == (7, Decimal("0.500000"))
    assert (oldest.customer_id, oldest.api_key_id) == ("acme", issued.record.id)
    assert oldest.source == "middleware"
    assert oldest.response_time_ms is not None
    assert (newest.endpoint, newest.status_code) == ("/broken", 500)
    assert await rows(db, "SELECT sum(calls), sum(errors) FROM usage_hourly") == [(2, 1)]


async def test_a_call_that_was_refused_is_none(usage: Usage, keys: Keys) -> None:
    async with asking(ApiKeys(application(usage), keys), "aegis_live_nobody") as http:
        assert (await http.get("/things/7")).status_code == 401
    assert await usage.events() == []


async def test_many_calls_at_once_are_all_counted(usage: Usage, keys: Keys, db: Database) -> None:
    issued = await keys.issue("acme", tier="enterprise")
    async with asking(ApiKeys(application(usage), keys), issued.key) as http:
        answers = await asyncio.gather(*(http.get(f"/things/{n}") for n in range(200)))
    assert {a.status_code for a in answers} == {201}
    assert await rows(db, "SELECT sum(calls), sum(tokens) FROM usage_daily") == [(200, 1400)]


async def test_an_answer_whose_event_cannot_be_written_is_not_given(
    usage: Usage, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = await keys.issue("acme")

    async def down(_: Any) -> None:
        raise Unavailable("PostgreSQL does not answer.")

    monkeypatch.setattr(usage.meter, "record", down)
    async with asking(ApiKeys(application(usage), keys), issued.key) as http:
        refused = await http.get("/things/7")
    assert refused.status_code == 503
    assert refused.text != "7"


@pytest.mark.parametrize("wrong", [{"tokens": -1}, {"tokens": 2**31}, {"cost_usd": "-1"}])
def test_what_a_call_cannot_have_used_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="The call reports"):
        report({}, **wrong)


SERVED = """
import asyncio, sys
import aegis
from aegis.keys.models import Verification
from aegis.usage.asgi import Metered

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})

async def main():
    async with aegis.connect() as client:
        metered = Metered(app, client.usage)
        async def call(worker):
            while True:
                scope = {"type": "http", "method": "GET", "path": "/", "aegis.endpoint": "/",
                         "aegis.key": Verification(valid=True, code="VALID", customer_id="acme")}
                async def send(message):
                    if message["type"] == "http.response.start":
                        sys.stdout.write("answered\\n")
                        sys.stdout.flush()
                await metered(scope, None, send)
        await asyncio.gather(*(call(n) for n in range(16)))

asyncio.run(main())
"""


async def test_what_was_answered_before_a_kill_is_billable(
    usage: Usage, db: Database, dsn: str, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "AEGIS_DATABASE_URL": dsn,
        "AEGIS_DATA_DIR": str(tmp_path),
        "AEGIS_EMBEDDER": "none",
    }
    for _ in range(3):
        before = (await rows(db, "SELECT coalesce(sum(calls), 0) FROM usage_daily"))[0][0]
        child = subprocess.Popen(
            [sys.executable, "-c", SERVED], env=environment, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        answered = sum(1 for _ in (child.stdout.readline() for _ in range(300)))
        child.send_signal(signal.SIGKILL)
        answered += len(child.stdout.read().splitlines())
        child.wait()
        counted = (await rows(db, "SELECT sum(calls) FROM usage_daily"))[0][0] - before
        # Up to one call a worker was written and not answered: billed at most, lost never.
        assert answered <= counted <= answered + 16
    assert (await usage.reconcile()).differences == []
