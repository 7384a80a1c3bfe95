"""`/v1/workflows`, `/v1/executions`, `/v1/approvals`: save, start, follow, tell, mend."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from aegis.api import workflow_shapes as shapes
from aegis.api.scopes import scope_of
from aegis.worker.loop import Worker
from aegis.workflows.examples import example
from aegis.workflows.execution import Execution, StepRecord
from aegis.workflows.running import kind_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aegis.client import Aegis

WAITING = {
    "name": "team/waiting",
    "start": "first",
    "nodes": {
        "first": {"type": "set", "params": {"value": "{{ input.n + 1 }}"}},
        "ask": {"type": "approval", "params": {"message": "Go on from {{ nodes.first }}?"}},
        "hear": {"type": "signal", "params": {"name": "word"}},
    },
    "edges": [
        {"from": "first", "to": "ask"},
        {"from": "ask", "to": "hear", "when": "nodes.ask.approved"},
    ],
    "required": ["n"],
}


@asynccontextmanager
async def working(client: Aegis) -> AsyncGenerator[None]:
    worker = Worker(client.db, [kind_of(client)], lease_s=10.0, grace_s=0.0)
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await asyncio.wait_for(task, 30)


async def started(http: httpx2.AsyncClient, **body: Any) -> str:
    answer = await http.post(
        "/v1/executions", json={"workflow": "team/waiting", "input": {"n": 1}, **body}
    )
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def waits(client: Aegis, id: str, node: str) -> None:
    async with asyncio.timeout(60):
        async for change in client.workflows.watch(id):
            if change.execution.reason == "waiting" and change.execution.current_node == node:
                return


async def test_workflows_are_saved_checked_drawn_compared_and_put_away(
    http: httpx2.AsyncClient,
) -> None:
    saved = await http.post("/v1/workflows", json={"graph": WAITING})
    assert (saved.status_code, saved.json()["new"]) == (201, True)
    same = await http.post("/v1/workflows", json={"yaml": json.dumps(WAITING)})
    assert (same.status_code, same.json()["new"]) == (200, False)
    await http.post("/v1/workflows", json={"graph": {**WAITING, "description": "Other."}})
    page = (await http.get("/v1/workflows")).json()["items"]
    assert [(item["name"], item["version"]) for item in page] == [("team/waiting", 2)]
    one = await http.get("/v1/workflows/team~waiting", params={"version": 1})
    assert shapes.DefinitionAnswer.model_validate_json(one.content).graph["start"] == "first"
    drawn = (await http.get("/v1/workflows/team~waiting/graph")).json()["mermaid"]
    assert drawn.startswith("flowchart TD")
    diff = (await http.get("/v1/workflows/team~waiting/diff", params={"old": 1})).json()["diff"]
    assert "+description: Other." in diff
    versions = (await http.get("/v1/workflows/team~waiting/versions")).json()["items"]
    assert [item["version"] for item in versions] == [2, 1]
    assert (await http.post("/v1/workflows/team~waiting/archive")).status_code == 204
    refused = await http.post(
        "/v1/executions", json={"workflow": "team/waiting", "input": {"n": 1}}
    )
    assert refused.status_code in (404, 409)
    assert (await http.post("/v1/workflows/team~waiting/activate")).status_code == 204
    assert (await http.delete("/v1/workflows/team~waiting")).status_code == 204
    assert (await http.get("/v1/workflows/team~waiting")).status_code == 404


async def test_every_problem_is_said_with_node_and_field(http: httpx2.AsyncClient) -> None:
    wrong = {"name": "x", "start": "a", "nodes": {"a": {"type": "htp"}, "b": {"type": "join"}}}
    checked = await http.post("/v1/workflows/check", json={"graph": wrong})
    problems = checked.json()["problems"]
    assert {(p["node"], p["field"]) for p in problems} >= {("a", "type"), ("b", "edges")}
    assert (await http.post("/v1/workflows", json={"graph": wrong})).status_code == 422
    assert (await http.get("/v1/workflows")).json()["items"] == []
    for body in ({}, {"graph": wrong, "yaml": "x"}, {"yaml": "a: &a [*a]"}, {"grph": {}}):
        assert (await http.post("/v1/workflows", json=body)).status_code == 422
    good = await http.post("/v1/workflows/check", json={"yaml": example("release-watch")})
    assert good.json() == {"problems": []}


async def test_types_of_nodes_are_listed_with_their_parameters(http: httpx2.AsyncClient) -> None:
    found = await http.get("/v1/workflows/types")
    items = {item.name: item for item in shapes.NodeTypes.model_validate_json(found.content).items}
    assert items["memory_record"].runs == "database"
    assert any(p["name"] == "url" and p["required"] for p in items["http"].params)


def events_of(text: str) -> list[tuple[int, str, Any]]:
    found: list[tuple[int, str, Any]] = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return found


async def test_an_execution_is_approved_told_and_followed_to_its_end(
    http: httpx2.AsyncClient, client: Aegis
) -> None:
    await http.post("/v1/workflows", json={"graph": WAITING})
    async with working(client):
        id = await started(http, key="k1")
        assert await started(http, key="k1") == id
        await waits(client, id, "ask")
        detail = await http.get(f"/v1/executions/{id}")
        shown = shapes.ExecutionDetailAnswer.model_validate_json(detail.content)
        assert shown.waiting[0].input["message"] == "Go on from 2?"
        answer = {"execution_id": id, "node": "ask", "by": "ada"}
        assert (await http.post("/v1/approvals", json=answer)).status_code == 204
        assert (await http.post("/v1/approvals", json=answer)).status_code == 409
        await waits(client, id, "hear")
        for key, status in (("s1", 201), ("s1", 200)):
            sent = await http.post(
                f"/v1/executions/{id}/signals",
                json={"name": "word", "payload": {"a": [1]}, "key": key},
            )
            assert sent.status_code in (status, 409)
        watched = await asyncio.wait_for(http.get(f"/v1/executions/{id}/watch"), 60)
    assert watched.headers["content-type"].startswith("text/event-stream")
    events = events_of(watched.text)
    assert [event for _, event, _ in events][-1] == "end"
    changes = [data for _, event, data in events if event == "change"]
    assert changes[-1]["execution"]["status"] == "completed"
    seqs = [step["seq"] for change in changes for step in change["steps"]]
    assert seqs == sorted(set(seqs))
    last = seqs[-2]
    again = await http.get(f"/v1/executions/{id}/watch", headers={"Last-Event-ID": str(last)})
    rest = [s["seq"] for _, e, d in events_of(again.text) if e == "change" for s in d["steps"]]
    assert rest == [seq for seq in seqs if seq > last]
    steps = shapes.StepPage.model_validate_json(
        (await http.get(f"/v1/executions/{id}/steps")).content
    )
    assert [step.seq for step in steps.items] == seqs
    detail = (await http.get(f"/v1/executions/{id}")).json()
    assert detail["output"] == {"a": [1]}


async def test_the_stream_ends_its_wait_when_the_reader_goes_away(
    http: httpx2.AsyncClient, client: Aegis
) -> None:
    from aegis.api.executions import _events

    await http.post("/v1/workflows", json={"graph": WAITING})
    id = await started(http)
    stream = _events(client.workflows.watch(id), 0)
    assert b"event: change" in await anext(stream)
    following = asyncio.ensure_future(anext(stream))
    done, _ = await asyncio.wait({following}, timeout=0.05)
    assert not done
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await stream.aclose()


async def test_executions_are_paused_resumed_cancelled_retried_and_forked(
    http: httpx2.AsyncClient, client: Aegis
) -> None:
    await http.post("/v1/workflows", json={"graph": WAITING})
    async with working(client):
        id = await started(http)
        await waits(client, id, "ask")
        paused = await http.post(f"/v1/executions/{id}/pause")
        assert paused.json()["status"] == "interrupted"
        resumed = await http.post(f"/v1/executions/{id}/resume", json={"input": {"n": 5}})
        assert resumed.json()["status"] == "running"
        cancelled = await http.post(f"/v1/executions/{id}/cancel", json={"reason": "enough"})
        assert (cancelled.json()["status"], cancelled.json()["reason"]) == ("failed", "cancelled")
        forked = await http.post(f"/v1/executions/{id}/fork", json={"from_step": 1})
        assert forked.status_code == 201, forked.text
        assert forked.json()["forked_from"] == id
        await waits(client, forked.json()["id"], "ask")
        retried = await http.post(f"/v1/executions/{id}/retry", json={"from_node": "first"})
        assert retried.json()["status"] == "running"
    page = await http.get("/v1/executions", params={"workflow": "team/waiting", "limit": 1})
    first = shapes.ExecutionPage.model_validate_json(page.content)
    assert first.next_cursor is not None
    rest = await http.get("/v1/executions", params={"cursor": first.next_cursor})
    assert {first.items[0].id, *(item["id"] for item in rest.json()["items"])} == {
        id,
        forked.json()["id"],
    }


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/executions/nonsense", None, 422),
        ("GET", "/v1/executions/00000000-0000-0000-0000-000000000000", None, 404),
        ("GET", "/v1/executions/00000000-0000-0000-0000-000000000000/watch", None, 404),
        ("GET", "/v1/executions?status=lost", None, 422),
        ("GET", "/v1/executions?wrokflow=x", None, 422),
        ("POST", "/v1/executions", {"workflow": "nothing"}, 404),
        ("POST", "/v1/executions", {"workflow": "team/waiting"}, 422),
        ("POST", "/v1/executions", {"workflow": "team/waiting", "input": [1]}, 422),
        ("POST", "/v1/executions", {"workflow": "team/waiting", "deadline": "soon"}, 422),
    ],
)
async def test_what_cannot_be_is_a_problem(
    http: httpx2.AsyncClient, method: str, path: str, body: Any, status: int
) -> None:
    await http.post("/v1/workflows", json={"graph": WAITING})
    answer = await http.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("value", ["x", "-1", "9999999999999"])
async def test_a_wrong_last_event_id_is_a_problem(http: httpx2.AsyncClient, value: str) -> None:
    path = "/v1/executions/00000000-0000-0000-0000-000000000000/watch"
    answer = await http.get(path, headers={"Last-Event-ID": value})
    assert answer.status_code == 422


def test_who_may_start_may_neither_save_nor_approve() -> None:
    assert scope_of("POST", "/v1/executions") == "workflows:run"
    assert scope_of("GET", "/v1/executions/x/watch") == "workflows:read"
    assert scope_of("POST", "/v1/approvals") == "workflows:approve"
    assert scope_of("POST", "/v1/workflows") == scope_of("POST", "/v1/keys")


@pytest.mark.parametrize(
    ("shape", "model"), [(shapes.ExecutionAnswer, Execution), (shapes.StepAnswer, StepRecord)]
)
def test_answers_have_the_fields_of_their_models(shape: Any, model: Any) -> None:
    assert list(shape.model_fields) == [f.name for f in fields(model)]
