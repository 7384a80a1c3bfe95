"""Other people's applications, protected in three lines."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import aegis
from aegis.errors import Unavailable
from aegis.keys import Verification
from aegis.keys.asgi import ApiKeys
from aegis.keys.fastapi import KeyGuard

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.keys import Keys


async def hello(request: Any) -> PlainTextResponse:
    return PlainTextResponse(f"hello {request.scope['aegis.key'].customer_id}")


async def opened(_: Any) -> PlainTextResponse:
    return PlainTextResponse("open")


def application() -> Starlette:
    return Starlette(routes=[Route("/reports", hello), Route("/open", opened)])


def asking(app: Any) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test")


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key", "x-api-key"])
async def test_any_application_is_protected(keys: Keys, header: str) -> None:
    issued = await keys.issue("acme", scopes=["reports:read"], rate_limit=2)
    app = ApiKeys(application(), keys, scope="reports:read", public=["/open"])
    async with asking(app) as http:
        headers = {header: f"Bearer {issued.key}" if header == "Authorization" else issued.key}
        first = await http.get("/reports", headers=headers)
        assert (first.status_code, first.text) == (200, "hello acme")
        assert first.headers["ratelimit-policy"].startswith(
            '"requests";q=2;w=60, "month";q=1000;w='
        )
        assert first.headers["ratelimit"].startswith('"requests";r=1;t=30, "month";r=999;t=')
        assert first.headers["x-ratelimit-remaining"] == "1"
        await http.get("/reports", headers=headers)
        limited = await http.get("/reports", headers=headers)
        assert limited.status_code == 429
        assert limited.json()["violated-policies"] == ["requests"]
        assert 25 < int(limited.headers["retry-after"]) <= 30
        assert (await http.get("/open")).text == "open"
        nobody = await http.get("/reports")
        assert (nobody.status_code, nobody.json()["code"]) == (401, "unauthenticated")
        assert nobody.headers["content-type"] == "application/problem+json"


async def test_scope_and_cost_may_depend_on_the_call(keys: Keys) -> None:
    issued = await keys.issue("acme", scopes=["open:*"], rate_limit=10)
    app = ApiKeys(
        application(), keys,
        scope=lambda call: call["path"].strip("/") + ":read",
        cost=lambda call: 7 if call["path"] == "/open" else 1,
    )  # fmt: skip
    async with asking(app) as http:
        assert (await http.get("/reports", headers=bearer(issued.key))).status_code == 403
        assert (await http.get("/open", headers=bearer(issued.key))).status_code == 200
        limited = await http.get("/open", headers=bearer(issued.key))
        assert limited.headers["x-ratelimit-remaining"] == "3"


async def test_client_is_opened_when_needed_and_closed_at_the_end(
    keys: Keys, dsn: str, settings: Settings
) -> None:
    issued = await keys.issue("acme")
    own = replace(settings, database_url=dsn, embedder="none")
    app = ApiKeys(application(), aegis.connect(settings=own))
    async with asking(app) as http:
        assert (await http.get("/reports", headers=bearer(issued.key))).text == "hello acme"
    assert app._gate._keys is not None

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.shutdown"}

    async def send(_: Any) -> None: ...

    async def quiet(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    app._app = quiet
    await app({"type": "lifespan"}, receive, send)
    assert app._gate._keys is None


@pytest.mark.parametrize(("policy", "status"), [("closed", 503), ("open", 200)])
async def test_database_down_closes_or_opens_the_gate(
    settings: Settings, policy: Any, status: int
) -> None:
    nowhere = replace(
        settings, database_url="postgresql://a:b@127.0.0.1:1/none", keys_when_down=policy
    )
    app = ApiKeys(application(), aegis.connect(settings=nowhere))
    async with asking(app) as http:
        answer = await http.get("/reports", headers=bearer("aegis_live_x"))
    assert answer.status_code == status
    if status == 503:
        assert answer.headers["retry-after"] == "5"
        assert "127.0.0.1" not in answer.text


async def test_websocket_without_a_key_is_closed_before_it_opens(keys: Keys) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    app = ApiKeys(application(), keys)
    await app({"type": "websocket", "path": "/reports", "headers": []}, receive, send)
    assert [m["type"] for m in sent] == ["websocket.close"]


async def test_fastapi_route_gets_its_key_or_refuses(keys: Keys) -> None:
    issued = await keys.issue("acme", scopes=["reports:read"])
    app = FastAPI()
    guard = KeyGuard(app, keys)

    @app.get("/reports")
    async def reports(
        key: Verification = Depends(guard.require("reports:read")),  # noqa: B008
    ) -> dict[str, Any]:
        return {"customer": key.customer_id}

    @app.get("/admin", dependencies=[Depends(guard.require("admin"))])
    async def admin() -> None: ...

    @app.get("/open")
    async def free() -> str:
        return "open"

    async with asking(app) as http:
        found = await http.get("/reports", headers=bearer(issued.key))
        assert found.json() == {"customer": "acme"}
        assert found.headers["ratelimit"].startswith('"requests";r=59;t=1')
        forbidden = await http.get("/admin", headers=bearer(issued.key))
        assert (forbidden.status_code, forbidden.json()["code"]) == (403, "permission_denied")
        assert forbidden.headers["content-type"] == "application/problem+json"
        assert (await http.get("/reports")).status_code == 401
        assert (await http.get("/open")).json() == "open"
    await guard.close()


async def test_trouble_in_the_middle_is_logged_and_not_told(
    keys: Keys, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any, **__: Any) -> Verification:
        raise Unavailable("at 10.0.0.5", code="db_unreachable")

    monkeypatch.setattr(keys, "verify", broken)
    async with asking(ApiKeys(application(), keys)) as http:
        answer = await http.get("/reports", headers=bearer("aegis_live_secret"))
    assert (answer.status_code, answer.json()["code"]) == (503, "db_unreachable")
    assert "10.0.0.5" not in answer.text
    assert "keys.unverified" in caplog.text
    assert "aegis_live_secret" not in caplog.text
