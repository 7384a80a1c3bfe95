"""Facts and decisions over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aegis.api import answers

if TYPE_CHECKING:
    import httpx2

FACTS = "/v1/memory/facts"
DECISIONS = "/v1/memory/decisions"
DECISION: dict[str, Any] = {
    "task_context": "Which queue?",
    "alternatives": ["postgres", {"name": "redis", "cost": 3}],
    "chosen_option": "postgres",
    "reasoning": "one server to back up",
}


async def test_fact_lives_its_life(http: httpx2.AsyncClient) -> None:
    made = (await http.post(FACTS, json={"concept": "tea", "content": "no sugar"})).json()
    answers.Fact.model_validate(made)
    place = f"{FACTS}/{made['id']}"
    assert (await http.get(place)).json() == made
    changed = (await http.patch(place, json={"confidence": 0.5})).json()
    assert (changed["confidence"], changed["content"]) == (0.5, "no sugar")
    found = (await http.post(f"{FACTS}/recall", json={"query": "sugar in tea"})).json()
    answers.FactHits.model_validate(found)
    assert found["results"][0]["fact"]["id"] == made["id"]
    page = (await http.get(FACTS, params={"concept": "tea"})).json()
    answers.FactPage.model_validate(page)
    assert (await http.delete(place)).status_code == 204
    assert (await http.get(place)).status_code == 404


async def test_pages_of_facts_lead_to_every_fact_once(http: httpx2.AsyncClient) -> None:
    for n in range(5):
        await http.post(FACTS, json={"concept": f"c{n}", "content": "x"})
    first = (await http.get(FACTS, params={"limit": 3})).json()
    rest = (await http.get(FACTS, params={"limit": 3, "cursor": first["next_cursor"]})).json()
    concepts = {fact["concept"] for fact in first["items"] + rest["items"]}
    assert (concepts, rest["next_cursor"]) == ({f"c{n}" for n in range(5)}, None)


async def test_fact_ends_and_is_put_back(http: httpx2.AsyncClient) -> None:
    made = (await http.post(FACTS, json={"concept": "Ann", "content": "lives in Paris"})).json()
    place = f"{FACTS}/{made['id']}"
    rome = {"concept": "Ann", "content": "lives in Rome", "valid_from": "2030-01-01T00:00:00Z"}
    refused = await http.post(FACTS, json=rome | {"on_conflict": "refuse"})
    assert (refused.status_code, refused.json()["code"]) == (409, "fact_contradicts")
    later = (await http.post(FACTS, json=rome)).json()
    page = (await http.get(FACTS, params={"valid_at": "2031-01-01T00:00:00+00:00"})).json()
    assert [fact["id"] for fact in page["items"]] == [later["id"]]
    asked = {"query": "lives", "as_of": "2020-01-01T00:00:00Z"}
    assert (await http.post(f"{FACTS}/recall", json=asked)).json() == {"results": []}
    steps = (await http.get(f"{place}/history")).json()
    answers.FactSteps.model_validate(steps)
    assert [s["action"] for s in steps["items"]] == ["superseded", "created"]
    answers.FactSources.model_validate((await http.get(f"{place}/sources")).json())
    wanted = {"step": steps["items"][0]["id"]}
    assert (await http.post(f"{place}/undo", json=wanted)).json() == made
    again = await http.post(f"{place}/undo", json=wanted)
    assert (again.status_code, again.json()["code"]) == (409, "undone")
    assert (await http.post(f"{place}/undo")).json()["code"] == "nothing_to_undo"
    assert (await http.get(FACTS, params={"as_of": "yesterday"})).status_code == 422
    assert (await http.get(f"{FACTS}/999/history")).status_code == 404


async def test_decision_is_resolved_once(http: httpx2.AsyncClient) -> None:
    made = (await http.post(DECISIONS, json=DECISION)).json()
    answers.Decision.model_validate(made)
    assert (made["outcome_status"], made["alternatives"]) == ("pending", DECISION["alternatives"])
    place = f"{DECISIONS}/{made['id']}"
    outcome = {"outcome": "success", "lessons": "keep it simple", "feedback": "positive"}
    resolved = (await http.post(f"{place}/outcome", json=outcome)).json()
    assert (resolved["outcome_status"], resolved["user_feedback"]) == ("success", "positive")
    again = await http.post(f"{place}/outcome", json={"outcome": "failure"})
    assert (again.status_code, again.json()["code"]) == (409, "decision_resolved")
    found = (await http.post(f"{DECISIONS}/recall", json={"query": "queue"})).json()
    answers.DecisionHits.model_validate(found)
    assert found["results"][0]["decision"] == resolved
    listed = (await http.get(DECISIONS, params={"outcome": "success"})).json()
    answers.DecisionPage.model_validate(listed)
    changed = (await http.patch(place, json={"lessons_learned": "simpler"})).json()
    assert changed["lessons_learned"] == "simpler"
    assert (await http.delete(place)).status_code == 204


@pytest.mark.parametrize(
    "fields",
    [
        {"alternatives": []},
        {"alternatives": "postgres"},
        {"alternatives": [3]},
        {"chosen_option": "kafka"},
        {"reasoning": ""},
        {"episode_id": -1},
    ],
)
async def test_decision_that_makes_no_sense_is_refused(
    http: httpx2.AsyncClient, fields: dict[str, Any]
) -> None:
    response = await http.post(DECISIONS, json=DECISION | fields)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")


async def test_decision_of_an_unknown_episode_is_refused(http: httpx2.AsyncClient) -> None:
    response = await http.post(DECISIONS, json=DECISION | {"episode_id": 999})
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_decisions_teach_over_http(http: httpx2.AsyncClient) -> None:
    episode = (
        await http.post("/v1/memory/episodes", json={"event_type": "error", "summary": "stuck"})
    ).json()
    stated = {
        "confidence": 0.8,
        "review_at": "2026-01-01T00:00:00+00:00",
        "episodes": [{"episode_id": episode["id"], "role": "trigger"}],
    }
    made = (await http.post(DECISIONS, json=DECISION | stated)).json()
    answers.Decision.model_validate(made)
    assert {name: made[name] for name in stated} == stated
    due = (await http.get(f"{DECISIONS}/due", params={"limit": 1})).json()
    answers.DecisionPage.model_validate(due)
    assert [d["id"] for d in due["items"]] == [made["id"]]
    after = {"limit": 1, "cursor": due["next_cursor"]}
    assert (await http.get(f"{DECISIONS}/due", params=after)).json()["items"] == []
    await http.post(f"{DECISIONS}/{made['id']}/outcome", json={"outcome": "success"})

    asked = {"question": "Which queue?", "options": ["Postgres", "kafka"]}
    advice = (await http.post(f"{DECISIONS}/advise", json=asked)).json()
    answers.Advice.model_validate(advice)
    assert [(r["option"], r["success"]) for r in advice["options"]] == [
        ("Postgres", 1),
        ("kafka", 0),
    ]
    assert advice["options"][0]["episode_ids"] == sorted([episode["id"], made["episode_id"]])
    found = (await http.get(f"{DECISIONS}/calibration")).json()
    answers.Calibration.model_validate(found)
    assert found["brier_score"] == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("method", "path", "arguments", "status"),
    [
        ("POST", "", {"json": DECISION | {"confidence": 1.5}}, 422),
        ("POST", "", {"json": DECISION | {"review_at": "2026-01-01"}}, 422),
        ("POST", "", {"json": DECISION | {"episodes": [999]}}, 404),
        ("POST", "", {"json": DECISION | {"episodes": [{"episode_id": 1, "role": "x"}]}}, 422),
        ("POST", "/advise", {"json": {"question": " "}}, 422),
        ("POST", "/advise", {"json": {"question": "x", "options": []}}, 422),
        ("POST", "/advise", {"json": {"question": "x", "min_similarity": 2}}, 422),
        ("POST", "/advise", {"json": {"question": "x", "more": 1}}, 422),
        ("GET", "/calibration", {"params": {"bins": 0}}, 422),
        ("GET", "/due", {"params": {"days": -1}}, 422),
        ("GET", "/due", {"params": {"cursor": "%%%"}}, 422),
        ("GET", "/due", {"params": {"when": 1}}, 422),
    ],
)
async def test_what_makes_no_sense_is_refused(
    http: httpx2.AsyncClient, method: str, path: str, arguments: dict[str, Any], status: int
) -> None:
    response = await http.request(method, DECISIONS + path, **arguments)
    assert response.status_code == status, response.text


@pytest.mark.parametrize("outcome", ["pending", "great", ""])
async def test_outcome_that_is_none_is_refused(http: httpx2.AsyncClient, outcome: str) -> None:
    made = (await http.post(DECISIONS, json=DECISION)).json()
    response = await http.post(f"{DECISIONS}/{made['id']}/outcome", json={"outcome": outcome})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")


@pytest.mark.parametrize("confidence", [-0.1, 1.5, "high", None])
async def test_confidence_outside_of_its_range_is_refused(
    http: httpx2.AsyncClient, confidence: Any
) -> None:
    body = {"concept": "c", "content": "x", "confidence": confidence}
    assert (await http.post(FACTS, json=body)).status_code == 422
