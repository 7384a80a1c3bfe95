"""Episodes over HTTP: every route, and what each refuses."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from aegis.api import answers

if TYPE_CHECKING:
    import httpx2

EPISODES = "/v1/memory/episodes"


def cursor_of(value: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


async def record(http: httpx2.AsyncClient, **fields: Any) -> dict[str, Any]:
    body = {"event_type": "note", "summary": "The cat sat on the mat."} | fields
    response = await http.post(EPISODES, json=body)
    assert response.status_code == 201, response.text
    return response.json()


async def test_recorded_episode_comes_back_as_it_was_given(http: httpx2.AsyncClient) -> None:
    given = {
        "event_type": "task_complete",
        "summary": "Deployed 2.0 — ohne Ausfall",
        "timestamp": "2026-05-01T09:00:00+02:00",
        "details": {"files": [1, 2.5, None, {"deep": True}]},
        "context": {"repo": "x"},
        "importance": "high",
        "tags": ["deploy", "prod"],
        "metadata": {},
        "decision": "go",
        "session_id": "s-1",
        "source_id": "git:1",
    }
    made = await record(http, **given)
    found = (await http.get(f"{EPISODES}/{made['id']}")).json()
    assert found == made
    expected = given | {"timestamp": "2026-05-01T07:00:00+00:00"}
    assert {name: found[name] for name in given} == expected
    answers.Episode.model_validate(found)


async def test_same_source_id_is_recorded_once(http: httpx2.AsyncClient) -> None:
    first = await record(http, source_id="k")
    again = await record(http, source_id="k", summary="another")
    assert again == first


async def test_batch_records_in_order_and_skips_what_is_known(http: httpx2.AsyncClient) -> None:
    episodes = [
        {"event_type": "note", "summary": f"number {n}", "source_id": f"k{n}"} for n in range(3)
    ]
    first = (await http.post(f"{EPISODES}/batch", json={"episodes": episodes})).json()
    assert (len(first["ids"]), first["skipped"]) == (3, 0)
    again = (await http.post(f"{EPISODES}/batch", json={"episodes": episodes})).json()
    assert (again["ids"], again["skipped"]) == ([], 3)


async def test_pages_lead_to_every_episode_once(http: httpx2.AsyncClient) -> None:
    made = {(await record(http, summary=f"number {n}"))["id"] for n in range(7)}
    seen: list[int] = []
    cursor: str | None = None
    while True:
        params = {"limit": 3} | ({} if cursor is None else {"cursor": cursor})
        page = (await http.get(EPISODES, params=params)).json()
        answers.EpisodePage.model_validate(page)
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == 7
    assert set(seen) == made


async def test_list_filters(http: httpx2.AsyncClient) -> None:
    wanted = await record(http, event_type="error", tags=["a", "b"], importance="high")
    await record(http, tags=["a"])
    params = {"event_type": "error", "tag": ["a", "b"], "min_importance": "high"}
    page = (await http.get(EPISODES, params=params)).json()
    assert [item["id"] for item in page["items"]] == [wanted["id"]]


async def test_update_replaces_what_is_named_and_nothing_else(http: httpx2.AsyncClient) -> None:
    made = await record(http, tags=["a"], details={"x": 1})
    response = await http.patch(f"{EPISODES}/{made['id']}", json={"details": None, "decision": "d"})
    changed = response.json()
    assert (changed["details"], changed["decision"], changed["tags"]) == (None, "d", ["a"])


async def test_deleted_episode_is_gone(http: httpx2.AsyncClient) -> None:
    made = await record(http)
    response = await http.delete(f"{EPISODES}/{made['id']}")
    assert (response.status_code, response.content) == (204, b"")
    for call in (http.get, http.delete):
        gone = await call(f"{EPISODES}/{made['id']}")
        assert (gone.status_code, gone.json()["code"]) == (404, "not_found")


async def test_episode_that_a_decision_refers_to_is_kept(http: httpx2.AsyncClient) -> None:
    made = await record(http)
    body = {
        "task_context": "t",
        "alternatives": ["a"],
        "chosen_option": "a",
        "reasoning": "r",
        "episode_id": made["id"],
    }
    assert (await http.post("/v1/memory/decisions", json=body)).status_code == 201
    refused = await http.delete(f"{EPISODES}/{made['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


async def test_recall_ranks_and_explains(http: httpx2.AsyncClient) -> None:
    made = await record(http, summary="The database ran out of disk space at night")
    await record(http, summary="Lunch was good")
    response = await http.post("/v1/memory/recall", json={"query": "disk space", "k": 2})
    results = response.json()["results"]
    answers.Hits.model_validate(response.json())
    assert [len(results), results[0]["episode"]["id"]] == [2, made["id"]]
    assert results[0]["score"] >= results[1]["score"]
    assert results[0]["parts"]
    assert results[0]["why"].startswith("Found by its words (rank 1: disk")


async def test_context_is_text_within_the_budget(http: httpx2.AsyncClient) -> None:
    fields = {"timestamp": "2026-05-03T09:00:00+00:00"}
    first = await record(http, summary="The disk was full", **fields)
    second = await record(http, summary="A larger disk was ordered from the shop", **fields)
    body = {"query": "disk", "budget_tokens": 30}
    response = await http.post("/v1/memory/context", json=body)
    block = response.json()
    answers.ContextBlock.model_validate(block)
    assert block["tokens"] <= 30
    assert sorted(block["ids"] + block["left_out"]) == [first["id"], second["id"]]
    assert block["text"].startswith(f"[e{block['ids'][0]} 2026-05-03 note] ")
    refused = await http.post("/v1/memory/context", json={"query": "disk", "budget_tokens": 0})
    assert refused.status_code == 422
    assert "budget_tokens is 0" in refused.json()["detail"]


async def test_namespaces_never_meet(http: httpx2.AsyncClient) -> None:
    made = await record(http, namespace="other")
    assert (await http.get(f"{EPISODES}/{made['id']}")).status_code == 404
    found = await http.get(f"{EPISODES}/{made['id']}", params={"namespace": "other"})
    assert found.status_code == 200
    results = await http.post("/v1/memory/recall", json={"query": "cat"})
    assert results.json() == {"results": [], "warnings": []}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"importance": "urgent"}, "importance is 'urgent'; use one of low"),
        ({"summary": ""}, "summary is empty"),
        ({"summary": "  \n"}, "summary is empty"),
        ({"summary": "a\x00b"}, "NUL"),
        ({"summary": None}, "summary: "),
        ({"summary": 3}, "summary: "),
        ({"timestamp": "2026-05-01T09:00:00"}, "no time zone"),
        ({"timestamp": "yesterday"}, "timestamp is 'yesterday'; write a time such as"),
        ({"timestamp": 1777000000}, "timestamp is 1777000000; write a time such as"),
        ({"details": [1]}, "details: "),
        ({"details": "text"}, "details: "),
        ({"tags": "deploy"}, "tags: "),
        ({"tags": [""]}, "tags[0] is empty"),
        ({"related_memories": [0]}, "ids are whole numbers"),
        ({"related_memories": [1.5]}, "related_memories.0: "),
        ({"sumary": "typo"}, "sumary: this field is not known"),
        ({"embedding": [1.0, 2.0]}, "embedding needs embedding_model"),
        ({"namespace": " "}, "namespace is empty"),
    ],
)
async def test_value_that_cannot_be_accepted_is_named(
    http: httpx2.AsyncClient, fields: dict[str, Any], says: str
) -> None:
    body = {"event_type": "note", "summary": "s"} | fields
    response = await http.post(EPISODES, json=body)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "invalid_input")
    assert response.headers["content-type"] == "application/problem+json"
    assert says in problem["detail"]
    answers.Problem.model_validate(problem)
    assert (await http.get(EPISODES)).json()["items"] == []


@pytest.mark.parametrize(
    "raw",
    [
        b'{"event_type": "n", "summary": "s", "embedding": [NaN], "embedding_model": "m"}',
        b'{"event_type": "n", "summary": "s", "embedding": [Infinity], "embedding_model": "m"}',
        b'{"event_type": "n", "summary": "s", "details": {"x": NaN}}',
    ],
)
async def test_numbers_that_are_none_are_refused(http: httpx2.AsyncClient, raw: bytes) -> None:
    response = await http.post(EPISODES, content=raw, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")


@pytest.mark.parametrize(
    ("raw", "status"),
    [(b"", 422), (b"{", 400), (b"[1]", 422), (b"\xff\xfe", 400), (b"null", 422), (b'"x"', 422)],
)
async def test_body_that_is_no_object_is_refused(
    http: httpx2.AsyncClient, raw: bytes, status: int
) -> None:
    response = await http.post(EPISODES, content=raw, headers={"Content-Type": "application/json"})
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"{EPISODES}/999", 404, "not_found"),
        (f"{EPISODES}/0", 422, "invalid_input"),
        (f"{EPISODES}/{2**40}", 422, "invalid_input"),
        (f"{EPISODES}/abc", 422, "invalid_input"),
        (f"{EPISODES}?limit=0", 422, "invalid_input"),
        (f"{EPISODES}?limit=5000", 422, "invalid_input"),
        (f"{EPISODES}?cursor=!!!", 422, "cursor_invalid"),
        (f"{EPISODES}?cursor=WzFd", 422, "cursor_invalid"),
        (f"{EPISODES}?since=2026-05-01", 422, "invalid_input"),
        (f"{EPISODES}?min_importance=urgent", 422, "invalid_input"),
        ("/v1/memory/facts/999", 404, "not_found"),
        ("/v1/memory/facts?cursor=WzFd", 422, "cursor_invalid"),
        ("/v1/memory/decisions?outcome=great", 422, "invalid_input"),
        ("/v1/memory/recall", 405, "method_not_allowed"),
        (f"{EPISODES}?namespace=a%00b", 422, "invalid_input"),
        (f"{EPISODES}?session_id=a%00b", 422, "invalid_input"),
        (f"{EPISODES}?event_type=a%00b", 422, "invalid_input"),
        (f"{EPISODES}?tag=a%00b", 422, "invalid_input"),
        (f"{EPISODES}?since=2026-05-01T00:00:00%2B23:00", 422, "invalid_input"),
        (f"{EPISODES}?until=9999-12-31T23:59:59-12:00", 422, "invalid_input"),
        (f"{EPISODES}?cursor={cursor_of(['9999-12-31T23:59:59-12:00', 1])}", 422, "cursor_invalid"),
        (
            f"{EPISODES}?cursor={cursor_of(['2026-05-01T00:00:00+00:00', 2**70])}",
            422,
            "cursor_invalid",
        ),
        (f"{EPISODES}/1?namespace=a%00b", 422, "invalid_input"),
        ("/v1/memory/facts?namespace=a%00b", 422, "invalid_input"),
        ("/v1/memory/facts?concept=a%00b", 422, "invalid_input"),
        ("/v1/memory/facts?category=a%00b", 422, "invalid_input"),
        ("/v1/memory/decisions?namespace=a%00b", 422, "invalid_input"),
    ],
)
async def test_read_that_cannot_be_answered_says_why(
    http: httpx2.AsyncClient, path: str, status: int, code: str
) -> None:
    response = await http.get(path)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert "PostgreSQL" not in response.json()["detail"]


async def test_a_time_of_the_address_that_cannot_be_read_is_named(http: httpx2.AsyncClient) -> None:
    response = await http.get(f"{EPISODES}?since=yesterday&until=2026-05-01")
    assert response.json()["detail"] == (
        "since: it is 'yesterday'; write a time such as 2026-05-01T09:00:00+00:00; "
        "until: it is 2026-05-01T00:00:00, which has no time zone; add one, such as "
        "2026-05-01T00:00:00+00:00."
    )


@pytest.mark.parametrize(
    "path",
    [EPISODES, f"{EPISODES}/1", "/v1/memory/facts", "/v1/memory/facts/1", "/v1/memory/decisions"],
)
async def test_parameter_that_is_not_known_is_refused(http: httpx2.AsyncClient, path: str) -> None:
    response = await http.get(f"{path}?nmaespace=x")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")
    assert "'nmaespace'" in response.json()["detail"]
    assert "namespace" in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"query": "\xff\xfe"}', "not UTF-8"),
        (b"{", "not a JSON document"),
        (b'{"k": ' + b"9" * 5_000 + b"}", "not a JSON document"),
    ],
)
async def test_body_that_cannot_be_read_says_why(
    http: httpx2.AsyncClient, body: bytes, why: str
) -> None:
    response = await http.post(
        "/v1/memory/recall", content=body, headers={"Content-Type": "application/json"}
    )
    assert (response.status_code, response.json()["code"]) == (400, "json_invalid")
    assert why in response.json()["detail"]


async def test_update_of_nothing_or_of_what_is_fixed_is_refused(http: httpx2.AsyncClient) -> None:
    made = await record(http)
    for body in ({}, {"id": 5}, {"created_at": "2026-05-01T00:00:00+00:00"}):
        response = await http.patch(f"{EPISODES}/{made['id']}", json=body)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_input")
