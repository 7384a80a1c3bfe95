"""Consolidation and audit over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aegis.api import upkeep_answers as answers

if TYPE_CHECKING:
    import httpx2

MEMORY = "/v1/memory"
DISK = ("filled up at night.", "filled up at night again.", "filled up at night.")


async def _record(http: httpx2.AsyncClient) -> None:
    for text in DISK:
        body = {"event_type": "error", "summary": f"The disk of db1 {text}"}
        assert (await http.post(f"{MEMORY}/episodes", json=body)).status_code == 201


async def test_proposals_live_their_life(http: httpx2.AsyncClient) -> None:
    for n, text in enumerate(DISK):
        body = {
            "event_type": "error",
            "summary": f"The disk of db1 {text}",
            "source_id": f"log:{n}",
        }
        assert (await http.post(f"{MEMORY}/episodes", json=body)).status_code == 201
    dry = (await http.post(f"{MEMORY}/consolidation", json={"dry_run": True})).json()
    answers.Consolidated.model_validate(dry)
    assert (len(dry["drafts"]), dry["proposed"]) == (1, [])
    done = (await http.post(f"{MEMORY}/consolidation")).json()
    answers.Consolidated.model_validate(done)
    assert len(done["proposed"]) == 1
    page = (await http.get(f"{MEMORY}/proposals", params={"limit": 1})).json()
    answers.ProposalPage.model_validate(page)
    (proposal,) = page["items"]
    rest = {"limit": 1, "cursor": page["next_cursor"]}
    assert (await http.get(f"{MEMORY}/proposals", params=rest)).json()["items"] == []
    place = f"{MEMORY}/proposals/{proposal['id']}"
    assert (await http.get(place)).json() == proposal
    rejected = (await http.post(f"{place}/reject")).json()
    assert (rejected["state"], rejected["decided_by"]) == ("rejected", "http")
    accepted = (await http.post(f"{place}/accept")).json()
    answers.Proposal.model_validate(accepted)
    fact = (await http.get(f"{MEMORY}/facts/{accepted['fact_id']}")).json()
    assert fact["content"] == proposal["content"]
    again = await http.post(f"{place}/accept")
    assert (again.status_code, again.json()["code"]) == (409, "proposal_decided")
    assert (await http.post(f"{place}/undo")).json()["state"] == "undone"
    assert (await http.get(f"{MEMORY}/facts/{accepted['fact_id']}")).status_code == 404
    assert (await http.get(f"{MEMORY}/proposals/99")).status_code == 404


async def test_what_is_found_is_repaired_and_put_back(http: httpx2.AsyncClient) -> None:
    await _record(http)
    report = (await http.get(f"{MEMORY}/audit")).json()
    answers.AuditReport.model_validate(report)
    (found,) = report["findings"]
    # Recorded word for word a second time, it was marked as an echo at once.
    assert (found["id"], found["count"]) == ("junk_echoes", 1)
    asked: dict[str, Any] = {"kind": "junk_echoes"}
    dry = (await http.post(f"{MEMORY}/audit/repair", json=asked)).json()
    answers.Repaired.model_validate(dry)
    assert (dry["dry_run"], dry["rows"]) == (True, 1)
    done = (await http.post(f"{MEMORY}/audit/repair", json=asked | {"dry_run": False})).json()
    assert (done["dry_run"], done["rows"]) == (False, 1)
    page = (await http.get(f"{MEMORY}/quarantine")).json()
    answers.QuarantinePage.model_validate(page)
    (entry,) = page["items"]
    restored = await http.post(f"{MEMORY}/quarantine/restore", json={"entries": [entry["id"]]})
    assert restored.json() == {"restored": 1}
    assert (await http.get(f"{MEMORY}/quarantine")).json()["items"] == []
    assert (await http.get(f"{MEMORY}/audit")).json() == report


async def test_a_repair_is_done_in_the_way_that_is_asked_for(http: httpx2.AsyncClient) -> None:
    for way in ("follow", "archive", None):
        asked: dict[str, Any] = {"kind": "facts_expired", "way": way}
        done = (await http.post(f"{MEMORY}/audit/repair", json=asked)).json()
        answers.Repaired.model_validate(done)
        assert (done["way"], done["rows"]) == (way or "follow", 0)
    asked = {"kind": "facts_expired", "way": "remind"}
    refused = await http.post(f"{MEMORY}/audit/repair", json=asked)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "proposals?state=maybe", None),
        ("GET", "proposals?limit=0", None),
        ("GET", "audit?namespace=%00", None),
        ("GET", "quarantine?kind=junk", None),
        ("POST", "audit/repair", {"kind": "everything"}),
        ("POST", "quarantine/restore", {}),
        ("POST", "quarantine/restore", {"entries": [1], "kind": "junk_echoes"}),
        ("POST", "quarantine/restore", {"entries": [-1]}),
        ("POST", "consolidation", {"since": "yesterday"}),
        ("POST", "proposals/0/accept", None),
    ],
)
async def test_value_that_cannot_be_accepted_is_refused(
    http: httpx2.AsyncClient, method: str, path: str, body: Any
) -> None:
    refused = await http.request(method, f"{MEMORY}/{path}", json=body)
    assert refused.status_code == 422, refused.text
    assert refused.json()["code"] == "invalid_input"
