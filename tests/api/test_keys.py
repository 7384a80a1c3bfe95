"""Keys over HTTP: managed by the operator, verified for other services, and used on /v1 itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import httpx2
import pytest

from aegis.api import key_answers as answers
from aegis.api.app import create_app
from aegis.api.scopes import scope_of
from aegis.client import Aegis
from aegis.errors import Unavailable
from tests.api.conftest import TOKEN

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database

NOBODY = "00000000-0000-4000-8000-000000000000"


async def issue(http: httpx2.AsyncClient, **body: Any) -> dict[str, Any]:
    made = await http.post("/v1/keys", json={"customer_id": "acme", **body})
    assert made.status_code == 201, made.text
    return made.json()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_life_of_a_key(http: httpx2.AsyncClient) -> None:
    made = await issue(
        http, name="n", tier="pro", scopes=["a:b"], expires_at="2099-01-01T00:00:00+00:00",
        limits={"t": {"limit": 5, "window_s": 60}},
    )  # fmt: skip
    answers.IssuedKey.model_validate(made)
    place = f"/v1/keys/{made['record']['id']}"
    answers.ApiKey.model_validate((await http.get(place)).json())
    page = (await http.get("/v1/keys", params={"customer_id": "acme", "limit": 1})).json()
    answers.KeyPage.model_validate(page)
    assert made["key"] not in str(page)
    changed = await http.patch(place, json={"name": "m", "rate_limit": 5, "monthly_quota": None})
    assert (changed.json()["name"], changed.json()["effective_rate_limit"]) == ("m", 5)
    assert (await http.post(f"{place}/disable")).json()["enabled"] is False
    assert (await http.post(f"{place}/enable")).json()["enabled"] is True
    ended = await http.post(f"{place}/expire", json={"expires_at": None})
    assert ended.json()["expires_at"] is None
    rotated = (await http.post(f"{place}/rotate", json={"grace_s": 60})).json()
    assert rotated["key"] != made["key"]
    balance = await http.post(f"{place}/grants", json={"amount": 7, "note": "n"})
    answers.Balance.model_validate(balance.json())
    assert (balance.status_code, balance.json()["remaining"]) == (201, 1_000_007)
    assert (await http.get(f"{place}/balance")).json() == balance.json()
    ledger = (await http.get(f"{place}/ledger")).json()
    answers.LedgerPage.model_validate(ledger)
    assert [e["kind"] for e in ledger["items"]] == ["topup", "grant"]
    assert (await http.post(f"{place}/revoke")).json()["revoked_at"] is not None
    assert (await http.post(f"{place}/enable")).status_code == 409


async def test_other_services_ask_for_a_verdict(http: httpx2.AsyncClient) -> None:
    made = await issue(http, scopes=["a:b"], rate_limit=10)
    body = {
        "key": made["key"], "scope": "a:b", "cost": 4,
        "limits": [{"name": "tokens", "limit": 100, "window_s": 60, "cost": 30}],
    }  # fmt: skip
    first = (await http.post("/v1/keys/verify", json=body)).json()
    answers.Verification.model_validate(first)
    assert (first["valid"], first["code"], first["customer_id"]) == (True, "VALID", "acme")
    assert [(x["name"], x["remaining"]) for x in first["limits"]] == [
        ("requests", 6), ("tokens", 70),
    ]  # fmt: skip
    await http.post("/v1/keys/verify", json=body)
    third = await http.post("/v1/keys/verify", json=body)
    assert (third.status_code, third.json()["code"]) == (200, "RATE_LIMITED")
    unknown = (await http.post("/v1/keys/verify", json={"key": "x"})).json()
    answers.Verification.model_validate(unknown)
    assert (unknown["code"], unknown["key_id"]) == ("NOT_FOUND", None)
    wrong = await http.post("/v1/keys/verify", json={"key": made["key"], "cost": -1})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_input")
    assert made["key"] not in wrong.text


async def test_limits_of_customers_and_bindings_are_set_and_read(http: httpx2.AsyncClient) -> None:
    made = await issue(http, namespaces=[{"namespace": "n"}, {"namespace": "m", "write": False}])
    answers.IssuedKey.model_validate(made)
    bound = [{"namespace": "n", "write": True}, {"namespace": "m", "write": False}]
    assert made["record"]["namespaces"] == bound
    freed = await http.patch(f"/v1/keys/{made['record']['id']}", json={"namespaces": None})
    assert freed.json()["namespaces"] is None
    refused = await http.patch(f"/v1/keys/{made['record']['id']}", json={"namespaces": []})
    assert (refused.status_code, "use 1 to 100" in refused.text) == (422, True)
    place = "/v1/keys/customers/acme"
    assert (await http.get(place)).status_code == 404
    changed = await http.patch(place, json={"rate_limit": 50, "monthly_quota": 10})
    answers.Customer.model_validate(changed.json())
    assert (changed.json()["keys"], changed.json()["remaining"]) == (1, 10)
    limits = [{"name": "t", "limit": 5, "window_s": 60, "shared": True}]
    body = {"key": made["key"], "limits": limits}
    found = (await http.post("/v1/keys/verify", json=body)).json()
    answers.Verification.model_validate(found)
    assert [x["name"] for x in found["limits"]] == ["requests", "customer", "t"]
    assert found["customer_quota"]["remaining"] == 9
    granted = await http.post(f"{place}/grants", json={"amount": 5})
    assert (granted.status_code, granted.json()["remaining"]) == (201, 14)
    ledger = (await http.get(f"{place}/ledger")).json()
    answers.CustomerLedgerPage.model_validate(ledger)
    assert [e["kind"] for e in ledger["items"]] == ["topup", "grant"]
    answers.CustomerPage.model_validate((await http.get("/v1/keys/customers")).json())


async def test_tiers_are_read_and_changed(http: httpx2.AsyncClient) -> None:
    answers.Tiers.model_validate((await http.get("/v1/keys/tiers")).json())
    changed = await http.patch(
        "/v1/keys/tiers/pro", json={"price_usd": "249.50", "monthly_quota": None}
    )
    answers.Tier.model_validate(changed.json())
    assert (changed.json()["price_usd"], changed.json()["monthly_quota"]) == ("249.50", None)
    assert (await http.patch("/v1/keys/tiers/gold", json={"rate_limit": 5})).status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/keys", {"customer_id": "a", "tier": "gold"}, 422),
        ("POST", "/v1/keys", {"customer_id": "a", "rate_limit": -1}, 422),
        ("POST", "/v1/keys", {"customer_id": "a", "key_hash": "x"}, 422),
        ("POST", "/v1/keys", {"customer_id": "a", "expires_at": "2020-01-01T00:00:00Z"}, 422),
        ("POST", "/v1/keys", {}, 422),
        ("GET", f"/v1/keys/{NOBODY}", None, 404),
        ("GET", "/v1/keys/nobody", None, 404),
        ("POST", f"/v1/keys/{NOBODY}/grants", {"amount": 1}, 404),
        ("GET", "/v1/keys?limit=0", None, 422),
        ("GET", "/v1/keys?colour=red", None, 422),
    ],
)
async def test_what_makes_no_sense_is_refused(
    http: httpx2.AsyncClient, method: str, path: str, body: Any, status: int
) -> None:
    answer = await http.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_key_with_the_scope_of_a_route_may_use_it_and_no_other(
    http: httpx2.AsyncClient,
) -> None:
    reader = bearer((await issue(http, scopes=["memory:read"], rate_limit=20))["key"])
    found = await http.post("/v1/memory/recall", json={"query": "x"}, headers=reader)
    assert (found.status_code, found.json()) == (200, {"results": [], "warnings": []})
    assert found.headers["ratelimit"].startswith('"requests";r=19;t=3')
    note = {"event_type": "note", "summary": "s"}
    for method, path, body in (
        ("POST", "/v1/memory/episodes", note), ("GET", "/v1/keys", None),
        ("POST", "/v1/keys", {"customer_id": "x"}), ("GET", "/v1/status", None),
        ("POST", "/mcp", {}), ("GET", "/v1/nothing", None),
    ):  # fmt: skip
        refused = await http.request(method, path, json=body, headers=reader)
        assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied"), path
    # Whoever could issue or rotate keys would be the operator.
    manager = bearer((await issue(http, scopes=["keys:*", "memory:*"]))["key"])
    assert (await http.get("/v1/keys", headers=manager)).status_code == 200
    assert (await http.post("/v1/memory/episodes", json=note, headers=manager)).status_code == 201
    forbidden = await http.post("/v1/keys", json={"customer_id": "x"}, headers=manager)
    assert forbidden.status_code == 403
    operator = bearer((await issue(http, scopes=["*"]))["key"])
    made = await http.post("/v1/keys", json={"customer_id": "x"}, headers=operator)
    assert made.status_code == 201


async def test_key_s_limit_holds_on_our_own_routes(http: httpx2.AsyncClient) -> None:
    made = await issue(http, scopes=["*"], rate_limit=1)
    assert (await http.get("/v1/status", headers=bearer(made["key"]))).status_code == 200
    limited = await http.get("/v1/status", headers=bearer(made["key"]))
    assert limited.status_code == 429
    assert limited.json()["type"].endswith("#quota-exceeded")
    assert 50 <= int(limited.headers["retry-after"]) <= 60
    await http.post(f"/v1/keys/{made['record']['id']}/disable")
    refused = await http.get("/v1/status", headers=bearer(made["key"]))
    assert (refused.status_code, refused.json()["code"]) == (401, "key_disabled")


async def test_operator_token_needs_no_database_and_has_no_limit(
    db: Database, settings: Settings
) -> None:
    client = Aegis(db, None, replace(settings, embedder="none", keys_when_down="open"))

    class Down:
        def transaction(self) -> Any:
            raise Unavailable("It does not answer.", code="db_unreachable")

        connection = transaction

    issued = await client.keys.issue("acme", scopes=["*"])
    client.keys._verifier._db = cast("Database", Down())
    transport = httpx2.ASGITransport(app=create_app(client, token=TOKEN))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        assert (await http.get("/v1/status", headers=bearer(TOKEN))).status_code == 200
        # Open for what others serve; never for the memory.
        refused = await http.get("/v1/status", headers=bearer(issued.key))
        assert refused.status_code == 503


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v1/memory/episodes", "memory:read"),
        ("POST", "/v1/memory/decisions/advise", "memory:read"),
        ("POST", "/v1/memory/facts/recall/", "memory:read"),
        ("DELETE", "/v1/memory/episodes/1", "memory:write"),
        ("POST", "/v1/memory/episodes", "memory:write"),
        ("POST", "/v1/memoryx/recall", "operator"),
        ("POST", "/v1/keys/verify", "keys:verify"),
        ("GET", "/v1/keys", "keys:read"),
        ("PATCH", "/v1/keys/tiers/pro", "operator"),
        ("POST", "/mcp", "operator"),
        ("GET", "/", "operator"),
    ],
)
def test_each_route_has_its_scope(method: str, path: str, scope: str) -> None:
    assert scope_of(method, path) == scope
