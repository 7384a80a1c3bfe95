"""`/v1/alerts`: observe, list, take on, silence; what is refused."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from aegis.alerts import models
from aegis.api import alerts as routes
from aegis.api.scopes import scope_of

if TYPE_CHECKING:
    import httpx2

    from aegis.db import Database

DISK = {"id": "disk", "state": "critical", "title": "Disk is full", "hold_s": 0}


async def observe(http: httpx2.AsyncClient, **more: Any) -> Any:
    body = {"source": "ours", "conditions": [{**DISK, **more}]}
    return await http.post("/v1/alerts/observations", json=body)


async def test_another_program_s_condition_fires_is_taken_on_and_marked(
    http: httpx2.AsyncClient,
) -> None:
    done = await observe(http)
    assert done.status_code == 200, done.text
    (number,) = routes.ObservedAnswer.model_validate_json(done.content).fired
    page = routes.AlertList.model_validate_json((await http.get("/v1/alerts")).content)
    assert [(item.id, item.state) for item in page.items] == [(number, "firing")]
    taken = await http.post(f"/v1/alerts/{number}/ack", json={"by": "ann", "note": "on it"})
    assert taken.json()["acknowledged_by"] == "ann"
    false = await http.post(f"/v1/alerts/{number}/false", json={})
    assert false.json()["state"] == "resolved"
    again = await http.post(f"/v1/alerts/{number}/ack", json={})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert (await http.get("/v1/alerts")).json()["items"] == []
    over = (await http.get("/v1/alerts", params={"state": "resolved"})).json()["items"]
    assert [item["id"] for item in over] == [number]
    history = (await http.get("/v1/alerts/history", params={"alert_id": number})).json()["items"]
    assert [event["kind"] for event in history] == ["marked_false", "acknowledged", "fired"]
    assert len((await http.get("/v1/alerts/silences")).json()["items"]) == 1


async def test_silences_are_made_and_ended(http: httpx2.AsyncClient) -> None:
    made = await http.post("/v1/alerts/silences", json={"source": "ours", "seconds": 60})
    assert made.status_code == 201, made.text
    number = routes.SilenceAnswer.model_validate_json(made.content).id
    assert (await observe(http)).json()["silenced"] == 1
    assert (await http.delete(f"/v1/alerts/silences/{number}")).status_code == 204
    assert (await http.delete(f"/v1/alerts/silences/{number}")).status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [{"state": "awful"}, {"id": ""}, {"title": "a\u0007"}, {"hold_s": "soon"}, {"more": 1}],
)
async def test_what_is_no_condition_is_a_problem(http: httpx2.AsyncClient, wrong: Any) -> None:
    response = await observe(http, **wrong)
    assert response.status_code in (400, 422), response.text
    assert response.json()["code"] == "invalid_input"
    assert (await http.get("/v1/alerts")).json()["items"] == []


async def test_lists_that_are_empty(http: httpx2.AsyncClient) -> None:
    for path in ("channels", "deliveries", "silences", "history"):
        assert (await http.get(f"/v1/alerts/{path}")).json() == {"items": []}
    assert (await http.get("/v1/metrics/anomalies")).json() == {"items": []}
    assert (await http.get("/v1/alerts/7")).status_code == 404


async def test_messages_that_were_given_up_are_sent_again(
    http: httpx2.AsyncClient, db: Database
) -> None:
    async with db.transaction() as conn:
        await conn.execute(
            """
            INSERT INTO alert_deliveries (channel, group_key, entries, critical, state, last_error)
            VALUES ('ops', 'a', '[]', false, 'dead', 'HTTP 404'),
                   ('ops', 'b', '[]', false, 'dead', 'HTTP 404'),
                   ('team', 'c', '[]', false, 'dead', 'HTTP 404'),
                   ('ops', 'd', '[]', false, 'sent', NULL)
            """
        )

    async def listed(state: str) -> list[str]:
        found = await http.get("/v1/alerts/deliveries", params={"state": state})
        page = routes.AlertDeliveryList.model_validate_json(found.content)
        return [item.group_key for item in page.items]

    async def retry(**body: Any) -> Any:
        return await http.post("/v1/alerts/deliveries/retry", json=body)

    assert await listed("dead") == ["c", "b", "a"]
    number = (await http.get("/v1/alerts/deliveries")).json()["items"][-1]["id"]
    assert (await retry(id=number)).json() == {"retried": 1}
    assert await listed("pending") == ["a"]
    again = await retry(id=number)
    assert (again.status_code, again.json()["code"]) == (404, "not_found")
    assert (await retry(channel="team")).json() == {"retried": 1}
    assert (await retry()).json() == {"retried": 1}
    assert (await listed("dead"), await listed("sent")) == ([], ["d"])
    assert (await retry()).json() == {"retried": 0}
    for wrong in ({"id": "7"}, {"id": -1}, {"more": 1}, {"channel": "\ud800"}, {"channel": "a b"}):
        # As a sender of any make may write it; httpx refuses half of a pair.
        refused = await http.post(
            "/v1/alerts/deliveries/retry",
            content=json.dumps(wrong).encode(),
            headers={"Content-Type": "application/json"},
        )
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input"), wrong
    for query in ({"state": "odd"}, {"channel": "a b"}):
        refused = await http.get("/v1/alerts/deliveries", params=query)
        assert refused.status_code in (400, 422)


def test_only_reading_is_for_keys() -> None:
    assert scope_of("GET", "/v1/alerts/7") == "alerts:read"
    assert scope_of("POST", "/v1/alerts/7/ack") == "operator"
    assert scope_of("POST", "/v1/alerts/deliveries/retry") == "operator"


def test_the_answers_have_the_fields_of_the_models() -> None:
    for answer, model in (
        (routes.AlertAnswer, models.Alert),
        (routes.AlertEventAnswer, models.AlertEvent),
        (routes.SilenceAnswer, models.Silence),
        (routes.ChannelAnswer, models.Channel),
        (routes.AlertDeliveryAnswer, models.Delivery),
        (routes.ObservedAnswer, models.Observed),
    ):
        assert set(answer.model_fields) == {field.name for field in fields(model)}
