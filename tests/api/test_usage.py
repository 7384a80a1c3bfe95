"""Usage over HTTP: reported, asked for, and every call of /v1 itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aegis.api import usage_shapes as shapes
from aegis.api.scopes import scope_of

if TYPE_CHECKING:
    import httpx2

    from aegis.client import Aegis


def event(event_id: str = "e1", **fields: Any) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "customer_id": "acme",
        "endpoint": "/things/{id}",
        "method": "GET",
        "status_code": 200,
        **fields,
    }


async def issue(http: httpx2.AsyncClient, customer: str, *scopes: str) -> dict[str, str]:
    made = await http.post("/v1/keys", json={"customer_id": customer, "scopes": [*scopes]})
    assert made.status_code == 201
    return {"Authorization": f"Bearer {made.json()['key']}"}


async def test_every_accepted_call_of_v1_is_one_event(
    http: httpx2.AsyncClient, client: Aegis
) -> None:
    headers = await issue(http, "acme", "keys:read")
    listed = (await http.get("/v1/keys")).json()["items"][0]
    assert (await http.get(f"/v1/keys/{listed['id']}", headers=headers)).status_code == 200
    assert (await http.get("/v1/keys?colour=red", headers=headers)).status_code == 422
    # Not let in: no event. Without a key, or by the operator: none.
    assert (await http.get("/v1/memory/episodes", headers=headers)).status_code == 403
    assert (await http.get("/healthz")).status_code == 200
    assert (await http.get("/v1/nothing/4711")).status_code == 404
    found = await client.usage.events()
    assert [(e.customer_id, e.method, e.endpoint, e.status_code) for e in found] == [
        ("acme", "GET", "/v1/keys", 422),
        ("acme", "GET", "/v1/keys/{key_id}", 200),
    ]
    assert {e.source for e in found} == {"v1"}
    assert [e.api_key_id for e in found] == [listed["id"], listed["id"]]


async def test_a_body_that_is_too_large_was_let_in_and_is_counted(
    http: httpx2.AsyncClient, client: Aegis
) -> None:
    headers = await issue(http, "acme", "*")
    refused = await http.post("/v1/keys", content=b" " * (5 * 2**20), headers=headers)
    assert refused.status_code == 413
    assert [(e.endpoint, e.status_code) for e in await client.usage.events()] == [
        ("(no route)", 413)
    ]


async def test_events_come_alone_and_in_batches(http: httpx2.AsyncClient) -> None:
    one = await http.post("/v1/usage/events", json=event("a"))
    shapes.Recorded.model_validate(one.json())
    assert (one.status_code, one.json()["recorded"]) == (200, 1)
    many = {"events": [event("a"), event("b"), event("c", tokens_used=-1)]}
    refused = await http.post("/v1/usage/events", json=many)
    assert (refused.status_code, refused.json()["code"]) == (422, "events_refused")
    assert "line 3: tokens_used is -1" in refused.json()["detail"]
    some = (await http.post("/v1/usage/events", json={**many, "partial": True})).json()
    assert (some["recorded"], some["duplicates"]) == (1, 1)
    assert [(r["line"], r["event_id"]) for r in some["rejected"]] == [(3, "c")]


async def test_questions_have_the_shapes_that_are_described(http: httpx2.AsyncClient) -> None:
    await http.post("/v1/usage/events", json={"events": [event("a", cost_usd="0.5"), event("b")]})
    params = {"customer_id": "acme", "granularity": "all", "group": "endpoint"}
    report = (await http.get("/v1/usage", params=params)).json()
    shapes.Report.model_validate(report)
    assert [(i["group"], i["calls"], i["cost_usd"]) for i in report["items"]] == [
        ("GET /things/{id}", 2, "0.500000")
    ]
    top = (await http.get("/v1/usage/top", params={"by": "customer", "limit": 1})).json()
    assert shapes.Report.model_validate(top).items[0].group == "acme"
    page = (await http.get("/v1/usage/events", params={"customer_id": "acme", "limit": 1})).json()
    shapes.EventPage.model_validate(page)
    params = {"customer_id": "acme", "limit": 1, "cursor": page["next_cursor"]}
    following = (await http.get("/v1/usage/events", params=params)).json()
    assert {page["items"][0]["event_id"], following["items"][0]["event_id"]} == {"a", "b"}
    shapes.Partitions.model_validate((await http.get("/v1/usage/partitions")).json())
    done = (await http.post("/v1/usage/reconcile", json={})).json()
    assert shapes.Reconciled.model_validate(done).differences == []


async def test_a_customer_s_key_speaks_of_its_own_customer_alone(http: httpx2.AsyncClient) -> None:
    mine = await issue(http, "acme", "usage:read", "usage:write")
    await http.post("/v1/usage/events", json=event("x", customer_id="other"))
    wrote = await http.post("/v1/usage/events", json=event("y"), headers=mine)
    assert wrote.json()["recorded"] == 1
    foreign = event("z", customer_id="other")
    refused = await http.post("/v1/usage/events", json=foreign, headers=mine)
    assert (refused.status_code, "'acme' alone" in refused.json()["detail"]) == (422, True)
    seen = (await http.get("/v1/usage/events", headers=mine)).json()["items"]
    assert {e["customer_id"] for e in seen} == {"acme"}
    top = (await http.get("/v1/usage/top", headers=mine)).json()["items"]
    assert [i["group"] for i in top] == ["acme"]
    for path in ("", "/top", "/events"):
        asked = await http.get(f"/v1/usage{path}?customer_id=other", headers=mine)
        assert asked.status_code == 403
    for method, path in (("GET", "partitions"), ("POST", "reconcile")):
        assert (await http.request(method, f"/v1/usage/{path}", headers=mine)).status_code == 403


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/usage?granularity=week", 422),
        ("/v1/usage?group=colour", 422),
        ("/v1/usage?since=yesterday", 422),
        ("/v1/usage?limit=0", 422),
        ("/v1/usage?api_key_id=x", 422),
        ("/v1/usage?customer_id=%00", 422),
        ("/v1/usage/events?cursor=x", 422),
        ("/v1/usage/events?cursor=WyIyMDI2IiwgMV0", 422),
        ("/v1/usage/events?since=0001-01-01T00:00:00%2B00:00", 422),
    ],
)
async def test_what_makes_no_sense_is_refused(
    http: httpx2.AsyncClient, path: str, status: int
) -> None:
    assert (await http.get(path)).status_code == status


async def test_scopes_of_usage() -> None:
    assert scope_of("POST", "/v1/usage/events") == "usage:write"
    assert scope_of("GET", "/v1/usage/events") == "usage:read"
    assert scope_of("GET", "/v1/usage") == scope_of("GET", "/v1/usage/top") == "usage:read"
    assert scope_of("POST", "/v1/usage/reconcile") == scope_of("GET", "/v1/usage/partitions")
    assert scope_of("GET", "/v1/usage/partitions") == "operator"


async def test_late_events_are_accepted_over_http(http: httpx2.AsyncClient) -> None:
    at = (datetime.now(UTC) - timedelta(days=34)).isoformat()
    late = await http.post("/v1/usage/events", json=event("late", created_at=at))
    assert late.json()["recorded"] == 1
