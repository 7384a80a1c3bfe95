"""Every tool, through the SDK's own client: over stdio, over HTTP and in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from mcp import Client

from aegis.mcp.server import create_server
from aegis.memory import Memory
from tests.mcp_face.clients import call, over_http, over_stdio, refused
from tests.serving import serving

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.db import Database

OTHER_TOOLS = {
    "worker_list",
    "provider_rate_list",
    "provider_rate_set",
    "key_list",
    "key_customers",
    "security_check",
    "key_get",
    "key_ledger",
    "key_tiers",
    "usage_show",
    "usage_top",
    "usage_events",
    "usage_partitions",
    "alert_list",
    "alert_get",
    "alert_ack",
    "alert_deliveries",
    "alert_retry",
    "audit_log_list",
    "metrics_latest",
    "metrics_chart",
    "metrics_anomalies",
    *(f"research_{what}" for what in ("start", "status", "result", "list", "cancel")),
    "intel_changes",
    "intel_change",
    "intel_report",
    "intel_pages",
    "intel_check",
    "intel_watch",
    "intel_acknowledge",
    "backup_status",
    "doctor",
    "encrypted_columns",
    "maintenance_plan",
    *(f"job_{what}" for what in ("enqueue", "list", "get", "cancel", "retry")),
    *(
        f"schedule_{what}"
        for what in ("list", "add", "remove", "pause", "resume", "run", "history")
    ),
    *(
        f"workflow_{what}"
        for what in (
            *("list", "show", "save", "types", "run", "status", "history", "executions"),
            *("signal", "pause", "resume", "cancel", "retry", "fork"),
        )
    ),
    *(f"billing_{what}" for what in ("preview", "invoices", "invoice_get", "entries", "plans")),
}
TOOLS = {
    *("session_list", "session_get", "session_events"),
    *(
        [
            "memory_record",
            "memory_recall",
            "memory_context",
            "memory_get",
            "memory_list",
            "memory_update",
            "memory_delete",
        ]
    ),
    *(
        f"memory_fact_{verb}"
        for verb in (
            "record",
            "recall",
            "get",
            "list",
            "update",
            "delete",
            "history",
            "sources",
            "undo",
        )
    ),
    *("memory_forget_plan", "memory_policy_list", "memory_archive_list"),
    *("memory_graphiti_status", "memory_graphiti_sync"),
    *(
        f"memory_decision_{verb}"
        for verb in (
            *("record", "resolve", "recall", "get", "list", "update", "delete"),
            *("advise", "calibration", "due"),
        )
    ),
    *(f"memory_graph_{verb}" for verb in ("neighbours", "path", "entities", "relate")),
    *(f"memory_proposal_{verb}" for verb in ("list", "get", "accept", "reject", "undo")),
    *(f"memory_model_{verb}" for verb in ("list", "status", "plan")),
    "memory_audit",
    "memory_audit_repair",
}
READING = (
    *("recall", "context", "get", "list", "history", "sources"),
    *("advise", "calibration", "due", "plan", "audit"),
    *("neighbours", "path", "entities", "status", "events"),
)
#: What asks somebody beyond this database.
OUTSIDE = {"memory_graphiti_sync"}
READS = {name for name in TOOLS if name.rpartition("_")[2] in READING}
DESTROYING = ("update", "delete", "undo", "accept", "reject", "repair")
DESTROYS = {name for name in TOOLS if name.rpartition("_")[2] in DESTROYING}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("connect", [over_stdio, over_http])
async def test_agent_records_and_recalls_over_both_transports(
    tmp_path: Path, dsn: str, connect: Any, mode: str
) -> None:
    async with connect(tmp_path / "data", dsn, mode) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS | OTHER_TOOLS
        made = await call(client, "memory_record", event_type="note", summary="The cat sat.")
        found = await call(client, "memory_recall", query="where is the cat?")
        assert [hit["id"] for hit in found["results"]] == [made["id"]]
        assert "[not_found]" in await refused(client, "memory_get", id=999)


async def test_http_without_the_token_or_from_elsewhere_is_refused(
    tmp_path: Path, dsn: str
) -> None:
    with serving(tmp_path / "data", database_url=dsn, embedder="none") as served:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        token = {"Authorization": f"Bearer {served.token}"}
        evil = token | {"Host": "evil.example"}
        foreign = token | {"Origin": "https://evil.example", "Accept": "application/json"}
        url = f"{served.url}/mcp"
        assert httpx2.post(url, json=body).status_code == 401
        assert httpx2.post(url, json=body, headers=evil).status_code == 421
        assert httpx2.post(url, json=body, headers=foreign).status_code == 403


async def test_annotations_are_honest(agent: Client) -> None:
    for tool in (await agent.list_tools()).tools:
        notes = tool.annotations
        assert notes is not None
        assert notes.read_only_hint is (tool.name in READS), tool.name
        assert notes.destructive_hint is (tool.name in DESTROYS), tool.name
        undoes = tool.name.endswith("_undo")
        assert notes.idempotent_hint is (tool.name in READS | DESTROYS and not undoes), tool.name
        assert notes.open_world_hint is (tool.name in OUTSIDE), tool.name
        assert tool.title
        assert tool.description
        assert tool.input_schema["additionalProperties"] is False


async def test_tools_keep_their_order(agent: Client) -> None:
    first = [tool.name for tool in (await agent.list_tools()).tools]
    assert first == [tool.name for tool in (await agent.list_tools()).tools]
    assert first[:2] == ["memory_record", "memory_recall"]


async def test_server_says_what_it_is_for(agent: Client) -> None:
    assert "memory_recall" in (agent.instructions or "")


async def test_episode_lives_its_life(agent: Client) -> None:
    made = await call(
        agent,
        "memory_record",
        event_type="error",
        summary="Deploy failed",
        importance="high",
        tags=["deploy"],
        timestamp="2026-05-01T09:00:00+02:00",
        details={"exit": 3},
    )
    assert made["timestamp"] == "2026-05-01T07:00:00+00:00"
    (hit,) = (await call(agent, "memory_recall", query="deploy", tags=["deploy"]))["results"]
    assert (hit["id"], "why" in hit, "details" in hit) == (made["id"], True, False)
    assert (await call(agent, "memory_get", id=made["id"]))["details"] == {"exit": 3}
    changed = await call(agent, "memory_update", id=made["id"], importance="low")
    assert (changed["importance"], changed["tags"]) == ("low", ["deploy"])
    assert await call(agent, "memory_delete", id=made["id"]) == {"deleted": made["id"]}
    assert "[not_found]" in await refused(agent, "memory_delete", id=made["id"])


async def test_context_is_text_for_a_prompt(agent: Client) -> None:
    made = await call(
        agent,
        "memory_record",
        event_type="error",
        summary="Deploy failed",
        timestamp="2026-05-01T09:00:00+02:00",
    )
    block = await call(agent, "memory_context", query="deploy", budget_tokens=100)
    assert block["text"] == f"[e{made['id']} 2026-05-01 error] Deploy failed"
    assert block["ids"] == [made["id"]]
    (hit,) = (await call(agent, "memory_recall", query="deploy"))["results"]
    assert hit["why"] == (
        "Found by its words (rank 1: deploy); from 2026-05-01, importance medium."
    )
    assert "budget_tokens" in await refused(agent, "memory_context", query="x", budget_tokens=0)


async def test_pages_lead_to_everything(agent: Client) -> None:
    for n in range(5):
        await call(agent, "memory_record", event_type="note", summary=f"number {n}")
    first = await call(agent, "memory_list", limit=3)
    rest = await call(agent, "memory_list", limit=3, cursor=first["next_cursor"])
    assert len({e["id"] for e in first["items"] + rest["items"]}) == 5
    assert "next_cursor" not in rest


async def test_fact_lives_its_life(agent: Client) -> None:
    made = await call(agent, "memory_fact_record", concept="tea", content="no sugar")
    found = await call(agent, "memory_fact_recall", query="sugar")
    assert [hit["fact"]["id"] for hit in found["results"]] == [made["id"]]
    changed = await call(agent, "memory_fact_update", id=made["id"], confidence=0.5)
    assert changed["confidence"] == 0.5
    assert (await call(agent, "memory_fact_get", id=made["id"]))["content"] == "no sugar"
    assert len((await call(agent, "memory_fact_list", concept="tea"))["items"]) == 1
    await call(agent, "memory_fact_delete", id=made["id"])
    assert "[not_found]" in await refused(agent, "memory_fact_get", id=made["id"])
    steps = (await call(agent, "memory_fact_history", id=made["id"]))["items"]
    assert [s["action"] for s in steps] == ["deleted", "updated", "created"]
    assert (await call(agent, "memory_fact_undo", id=made["id"]))["confidence"] == 0.5
    assert "[undone]" in await refused(
        agent, "memory_fact_undo", id=made["id"], step=steps[0]["id"]
    )
    (said,) = (await call(agent, "memory_fact_sources", id=made["id"]))["items"]
    assert said["content"] == "no sugar"
    old = await call(agent, "memory_fact_list", as_of="2020-01-01T00:00:00+00:00")
    assert old.get("items", []) == []


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("memory_record", {"event_type": "n", "summary": ""}, "summary is empty"),
        ("memory_record", {"event_type": "n"}, "summary"),
        ("memory_record", {"event_type": "n", "summary": "s", "importance": "x"}, "use one of low"),
        ("memory_record", {"event_type": "n", "summary": "s", "timestamp": "2026-05-01"}, "zone"),
        ("memory_record", {"event_type": "n", "summary": "s", "details": [1]}, "details"),
        ("memory_record", {"event_type": "n", "summary": "s", "tag": ["a"]}, "tag"),
        ("memory_recall", {"query": "x", "k": 0}, "k is 0"),
        ("memory_recall", {"query": "x", "mode": "magic"}, "mode is 'magic'"),
        ("memory_list", {"cursor": "nonsense"}, "[cursor_invalid]"),
        (
            "memory_update",
            {"id": 1},
            "There is nothing to change; give at least one of context, decision",
        ),
        ("memory_get", {"id": -1}, "ids are whole numbers"),
        ("memory_fact_record", {"concept": "c", "content": "x", "confidence": 7}, "from 0 to 1"),
        (
            "memory_decision_record",
            {"task_context": "t", "alternatives": [], "chosen_option": "a", "reasoning": "r"},
            "alternatives is empty",
        ),
        ("memory_decision_resolve", {"id": 1, "outcome": "great"}, "use one of success"),
    ],
)
async def test_value_that_cannot_be_accepted_is_explained_to_the_model(
    agent: Client, name: str, arguments: dict[str, Any], says: str
) -> None:
    assert says in await refused(agent, name, **arguments)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({}, "query is missing. [invalid_input]"),
        ({"query": 7}, "query is 7; input should be a valid string. [invalid_input]"),
        (
            {"query": "x", "nmaespace": "y"},
            "'nmaespace' is no argument of memory_recall; use query,",
        ),
        ({"query": "x", "tags": [1]}, "tags.0 is 1; input should be a valid string."),
        ({"k": "many"}, "query is missing; k is 'many'; input should be"),
    ],
)
async def test_argument_that_does_not_fit_is_named_in_one_line(
    agent: Client, arguments: dict[str, Any], line: str
) -> None:
    said = await refused(agent, "memory_recall", **arguments)
    assert line in said
    assert said.endswith("[invalid_input]")
    assert "\n" not in said
    assert "http" not in said


async def test_http_offers_no_stream(tmp_path: Path, dsn: str) -> None:
    with serving(tmp_path / "data", database_url=dsn, embedder="none") as served:
        for method in ("GET", "DELETE"):
            done = served.http().request(
                method, "/mcp", headers={"Accept": "text/event-stream"}, timeout=10
            )
            assert (done.status_code, done.headers["allow"]) == (405, "POST")
            assert done.json()["code"] == "method_not_allowed"


async def test_crash_does_not_tell_the_model_about_the_inside(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory(db, None, namespace="default")

    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret of the inside")

    monkeypatch.setattr(memory, "get", broken)
    async with Client(create_server(memory)) as client:
        assert "secret" not in await refused(client, "memory_get", id=1)
