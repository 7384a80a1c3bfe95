"""The tools of each domain beside episodes and facts, through the SDK's own client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mcp import Client

from aegis.memory import Memory
from tests.mcp_face.clients import call, refused

if TYPE_CHECKING:
    pass


async def test_decision_lives_its_life(agent: Client) -> None:
    made = await call(
        agent,
        "memory_decision_record",
        task_context="Which queue?",
        alternatives=["postgres", {"name": "redis"}],
        chosen_option="postgres",
        reasoning="one server to back up",
    )
    pending = await call(agent, "memory_decision_list", outcome="pending")
    assert [d["id"] for d in pending["items"]] == [made["id"]]
    resolve = {"id": made["id"], "outcome": "success", "lessons": "keep it simple"}
    assert (await call(agent, "memory_decision_resolve", **resolve))["outcome_status"] == "success"
    assert "[decision_resolved]" in await refused(agent, "memory_decision_resolve", **resolve)
    (hit,) = (await call(agent, "memory_decision_recall", query="queue"))["results"]
    assert hit["decision"]["lessons_learned"] == "keep it simple"
    changed = await call(agent, "memory_decision_update", id=made["id"], user_feedback="positive")
    assert changed["user_feedback"] == "positive"
    assert (await call(agent, "memory_decision_get", id=made["id"]))["id"] == made["id"]
    await call(agent, "memory_decision_delete", id=made["id"])


async def test_decisions_teach(agent: Client) -> None:
    cause = await call(agent, "memory_record", event_type="error", summary="jobs got stuck")
    made = await call(
        agent,
        "memory_decision_record",
        task_context="Which queue?",
        alternatives=["postgres", "redis"],
        chosen_option="postgres",
        reasoning="one server",
        confidence=0.6,
        review_at="2026-01-01T00:00:00+00:00",
        episodes=[{"episode_id": cause["id"], "role": "trigger"}],
    )
    assert made["episodes"] == [{"episode_id": cause["id"], "role": "trigger"}]
    due = await call(agent, "memory_decision_due", limit=1)
    assert [d["id"] for d in due["items"]] == [made["id"]]
    assert await call(agent, "memory_decision_due", cursor=due["next_cursor"]) == {}
    await call(agent, "memory_decision_resolve", id=made["id"], outcome="failure")
    advice = await call(agent, "memory_decision_advise", question="queue?", options=["Postgres"])
    assert (advice["options"][0]["failure"], advice["options"][0]["success_rate"]) == (1, 0)
    found = await call(agent, "memory_decision_calibration")
    assert found["brier_score"] == pytest.approx(0.36)
    nothing = await call(agent, "memory_decision_advise", question="lunch")
    assert "No similar decision" in nothing["summary"]
    assert "min_similarity is -1" in await refused(
        agent, "memory_decision_advise", question="x", min_similarity=-1
    )


async def test_proposals_are_read_and_decided(agent: Client, agent_memory: Memory) -> None:
    for text in ("filled up at night", "filled up at night again", "filled up again at night"):
        await call(agent, "memory_record", event_type="error", summary=f"The disk of db1 {text}.")
    assert await call(agent, "memory_proposal_list") == {}
    await agent_memory.consolidation.run()
    (proposal,) = (await call(agent, "memory_proposal_list"))["items"]
    assert proposal["kind"] == "fact"
    accepted = await call(agent, "memory_proposal_accept", id=proposal["id"])
    assert (accepted["state"], accepted["decided_by"]) == ("accepted", "mcp")
    known = await call(agent, "memory_fact_get", id=accepted["fact_id"])
    assert known["content"] == proposal["content"]
    again = await refused(agent, "memory_proposal_accept", id=proposal["id"])
    assert again.endswith("[proposal_decided]")
    assert (await call(agent, "memory_proposal_undo", id=proposal["id"]))["state"] == "undone"
    listed = await call(agent, "memory_proposal_list", state="all")
    assert [p["state"] for p in listed["items"]] == ["undone"]
    assert (await refused(agent, "memory_proposal_reject", id=proposal["id"])).endswith(
        "[proposal_decided]"
    )
    assert (await refused(agent, "memory_proposal_get", id=99)).endswith("[not_found]")


async def test_audit_tells_an_agent_of_its_own_memory_alone(agent: Client) -> None:
    await call(agent, "memory_record", event_type="note", summary="ok")
    await call(agent, "memory_record", event_type="note", summary="ok", namespace="other")
    report = await call(agent, "memory_audit")
    assert (report["namespace"], report["episodes"]) == ("default", 1)
    assert [f["id"] for f in report["findings"]] == ["junk_empty"]


async def test_an_agent_repairs_its_own_memory_alone_and_looks_first(
    agent: Client, agent_memory: Memory
) -> None:
    for place in (None, "other"):
        await call(agent, "memory_record", event_type="note", summary="ok", namespace=place)
    dry = await call(agent, "memory_audit_repair", kind="junk_empty")
    assert (dry["dry_run"], dry["rows"]) == (True, 1)
    assert await agent_memory.count() == 1
    done = await call(agent, "memory_audit_repair", kind="junk_empty", dry_run=False)
    assert (done["rows"], done["held"]) == (1, 0)
    assert "quarantine restore" in done["undo"]
    assert [await agent_memory.count(), await agent_memory.count(namespace="other")] == [0, 1]
    for kind in ("namespaces_similar", "namespaces_skew"):
        assert "a person repairs it" in await refused(agent, "memory_audit_repair", kind=kind)
    assert "use one of remind, close" in await refused(
        agent, "memory_audit_repair", kind="decisions_open", way="archive"
    )


async def test_graph_is_written_and_searched(agent: Client) -> None:
    one = (await call(agent, "memory_record", event_type="note", summary="text"))["id"]
    made = await call(
        agent, "memory_graph_relate", source=f"episode:{one}", target="person:Bob", type="by"
    )
    assert (made["type"], made["found_by"]) == ("by", "hand")
    listed = await call(agent, "memory_graph_entities", of=f"episode:{one}")
    assert [e["name"] for e in listed["items"]] == ["Bob"]
    around = await call(agent, "memory_graph_neighbours", node="person:Bob")
    assert [n["kind"] for n in around["nodes"]] == ["entity", "episode"]
    way = await call(agent, "memory_graph_path", source=f"episode:{one}", target="person:Bob")
    assert len(way["nodes"]) == 2
    assert "[not_found]" in await refused(agent, "memory_graph_neighbours", node="person:Eve")
