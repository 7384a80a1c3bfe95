"""`/v1/research`: start, look, end; budgets and prices; whose scopes allow what."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from aegis.api import research_shapes as shapes
from aegis.api.scopes import scope_of
from aegis.research import models

if TYPE_CHECKING:
    import httpx2

    from aegis.client import Aegis


async def test_a_job_is_started_looked_at_and_deleted(
    http: httpx2.AsyncClient, client: Aegis
) -> None:
    await client.memory.record("learning", "The nightly report failed: disk full")
    body = {"query": "What of the nightly report?", "idempotency_key": "k"}
    started = await http.post("/v1/research", json=body)
    assert (started.status_code, started.json()["outcome"]) == (201, "new")
    again = await http.post("/v1/research", json=body)
    assert (again.status_code, again.json()["outcome"]) == (200, "same_key")
    job_id = started.json()["job"]["id"]
    assert (await http.delete(f"/v1/research/{job_id}")).status_code == 409
    await client.research.wait(job_id)
    shown = (await http.get(f"/v1/research/{job_id}")).json()
    assert "disk full" in shown["markdown"]
    assert (shown["job"]["status"], shown["job"]["cost_usd"]) == ("completed", "0")
    assert shown["citations"][0]["verified"] is True
    status = (await http.get(f"/v1/research/{job_id}/status")).json()
    assert status == shown["job"]
    page = (await http.get("/v1/research", params={"limit": 1})).json()
    assert [item["id"] for item in page["items"]] == [job_id]
    rest = await http.get("/v1/research", params={"limit": 1, "cursor": page["next_cursor"]})
    assert rest.json() == {"items": [], "next_cursor": None}
    assert (await http.delete(f"/v1/research/{job_id}")).status_code == 204
    assert (await http.get(f"/v1/research/{job_id}")).status_code == 404


async def test_cancel_budget_prices_and_providers(http: httpx2.AsyncClient) -> None:
    started = (await http.post("/v1/research", json={"query": "Q", "provider": "local"})).json()
    ended = await http.post(f"/v1/research/{started['job']['id']}/cancel")
    assert ended.json()["cancel_requested_at"] is not None
    put = await http.put("/v1/research/budget", json={"month_usd": "12.5"})
    assert put.json()["items"][1]["limit_usd"] == "12.5"
    assert (await http.get("/v1/research/budget")).json() == put.json()
    price = {
        **{"provider": "gemini", "model": "m", "meter": "searches", "usd": "14"},
        **{"per": 1000, "source": "list", "valid_from": "2026-01-01"},
    }
    assert (await http.put("/v1/research/prices", json=price)).json()["usd"] == "14"
    listed = await http.get("/v1/research/prices", params={"provider": "gemini"})
    assert [p["meter"] for p in listed.json()["items"]] == ["searches"]
    named = (await http.get("/v1/research/providers")).json()["items"]
    assert {p["name"]: p["ready"] for p in named} == {
        **{"local": True, "gemini": False, "perplexity": False, "claude": False}
    }


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"query": "q", "provider": "gemini"}, None, "research_key"),
        ({"query": "q", "provider": "bing"}, 422, "invalid_input"),
        ({"query": "", "provider": "local"}, 422, "invalid_input"),
        ({"query": "q", "budget_usd": 2.5}, 422, None),
        ({"query": "q", "more": 1}, 422, None),
    ],
)
async def test_what_cannot_be_started_is_said(
    http: httpx2.AsyncClient, body: dict[str, object], status: int | None, code: str | None
) -> None:
    response = await http.post("/v1/research", json=body)
    assert response.status_code == status or (status is None and response.status_code >= 400)
    assert code is None or response.json()["code"] == code
    assert (await http.get("/v1/research/nonsense")).status_code == 422


def test_spending_needs_a_scope_and_limits_are_the_operators() -> None:
    assert scope_of("GET", "/v1/research/x") == "research:read"
    assert scope_of("POST", "/v1/research") == "research:write"
    assert scope_of("PUT", "/v1/research/budget") == "operator"
    assert scope_of("PUT", "/v1/research/prices") == "operator"


def test_the_answers_have_the_fields_of_the_models() -> None:
    for answer, model in (
        (shapes.JobAnswer, models.Job),
        (shapes.StartedAnswer, models.Started),
        (shapes.JobDetailAnswer, models.JobDetail),
        (shapes.SourceAnswer, models.Source),
        (shapes.CitationAnswer, models.Citation),
        (shapes.CallAnswer, models.PricedCall),
        (shapes.MonthAnswer, models.Month),
        (shapes.PriceAnswer, models.Price),
        (shapes.ProviderAnswer, models.ProviderInfo),
    ):
        assert set(answer.model_fields) == {field.name for field in fields(model)}
