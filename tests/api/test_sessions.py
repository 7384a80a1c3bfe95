"""Sessions over HTTP, and read over MCP: the same, whichever way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from mcp import Client

from aegis.api import session_answers as answers
from aegis.mcp.server import create_server

if TYPE_CHECKING:
    import httpx2

    from aegis.client import Aegis

EVENT: dict[str, Any] = {
    "key": "hook:1", "event": "UserPromptSubmit", "at": 1777626000.5, "session_id": "s1",
    "namespace": "default", "text": "Why did the backup fail?",
}  # fmt: skip


async def test_event_is_recorded_once_and_read_by_every_route(http: httpx2.AsyncClient) -> None:
    for _ in range(2):
        told = await http.post("/v1/sessions/hook", json=EVENT)
        assert (told.status_code, told.json()) == (200, {"context": None})
    page = (await http.get("/v1/sessions?status=running&limit=1")).json()
    answers.SessionPage.model_validate(page)
    assert page["items"][0]["prompts"] == 1
    end = (await http.get("/v1/sessions", params={"cursor": page["next_cursor"]})).json()
    assert end["items"] == []
    detail = (await http.get("/v1/sessions/s1")).json()
    answers.SessionDetail.model_validate(detail)
    for route in ("/v1/sessions/events", "/v1/sessions/s1/events"):
        events = (await http.get(route)).json()
        answers.SessionEvents.model_validate(events)
        assert [e["text"] for e in events["items"]] == [EVENT["text"]]
    swept = (await http.post("/v1/sessions/sweep")).json()
    assert swept["closed"] == ["s1"]


@pytest.mark.parametrize(
    "change",
    [{"event": None}, {"key": 5}, {"at": "now"}, {"at": 1e99}, {"text": "x" * 9_000},
     {"text": "a\x00b"}, {"details": []}, {"new": 1}, {"session_id": "x" * 101},
     {"agent_id": "y" * 60, "session_id": "x" * 60}, {"namespace": " "}],
)  # fmt: skip
async def test_event_that_is_none_is_refused_in_one_line(
    http: httpx2.AsyncClient, change: dict[str, Any]
) -> None:
    refused = await http.post("/v1/sessions/hook", json=EVENT | change)
    assert refused.status_code == 422
    assert len(refused.json()["detail"].splitlines()) == 1
    assert (await http.get("/v1/sessions")).json()["items"] == []


async def test_routes_refuse_what_they_do_not_know(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/v1/sessions/nobody")).status_code == 404
    for query in ("status=gone", "cursor=x", "limit=0", "stat=running", "cursor=WzEsMl0"):
        assert (await http.get(f"/v1/sessions?{query}")).status_code == 422
    assert (await http.get("/v1/sessions/events?after=-1")).status_code == 422


async def test_agents_read_sessions_over_mcp(http: httpx2.AsyncClient, client: Aegis) -> None:
    await http.post("/v1/sessions/hook", json=EVENT)
    async with Client(create_server(client.memory)) as agent:
        listed = await agent.call_tool("session_list", {})
        got = await agent.call_tool("session_get", {"session_id": "s1"})
        events = await agent.call_tool("session_events", {"after": 0})
        missing = await agent.call_tool("session_get", {"session_id": "nobody"})
    assert listed.structured_content is not None
    assert listed.structured_content["items"][0]["session_id"] == "s1"
    assert got.structured_content is not None
    assert got.structured_content["session"]["command"] == EVENT["text"]
    assert events.structured_content is not None
    assert len(events.structured_content["items"]) == 1
    assert missing.is_error
