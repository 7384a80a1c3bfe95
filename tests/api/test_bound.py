"""Keys that are bound to namespaces: every route, with every way to name another one."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from aegis.api import bound
from aegis.api.app import create_app, create_routes
from aegis.api.bound import access_of
from tests.api.conftest import TOKEN

if TYPE_CHECKING:
    from aegis.client import Aegis

MINE, SEEN, FOREIGN = "mine", "seen", "foreign"
METHODS = ("get", "put", "post", "patch", "delete")
EPISODE = {"event_type": "note", "summary": "a secret of somebody"}
#: Bodies that a route accepts; `namespace` is put in where the route does not take it as a
#: parameter.
BODIES: dict[str, dict[str, Any]] = {
    "POST /v1/memory/recall": {"query": "secret"},
    "POST /v1/memory/context": {"query": "secret"},
    "POST /v1/memory/facts/recall": {"query": "secret"},
    "POST /v1/memory/decisions/recall": {"query": "secret"},
    "POST /v1/memory/decisions/advise": {"question": "secret"},
    "POST /v1/memory/episodes": EPISODE,
    "PATCH /v1/memory/episodes/{episode_id}": {"summary": "changed"},
    "POST /v1/memory/facts": {"concept": "c", "content": "d"},
    "PATCH /v1/memory/facts/{fact_id}": {"content": "changed"},
    "POST /v1/memory/decisions": {
        "task_context": "c", "alternatives": ["a"], "chosen_option": "a", "reasoning": "r"
    },
    "PATCH /v1/memory/decisions/{decision_id}": {"reasoning": "changed"},
    "POST /v1/memory/decisions/{decision_id}/outcome": {"outcome": "success"},
    "PUT /v1/memory/holds/{episode_id}": {"reason": "r"},
    "POST /v1/memory/graph/relations": {"source": "person:Ann", "target": "person:Bob"},
    "POST /v1/memory/graph/relations/end": {"source": "person:Ann", "target": "person:Bob"},
    "POST /v1/memory/graph/merges": {"kept": "person:Ann", "merged": "person:Bob"},
    "POST /v1/research": {"query": "secret", "provider": "local"},
}  # fmt: skip
PARAMETERS: dict[str, dict[str, str]] = {
    "GET /v1/memory/graph/neighbours": {"node": "person:Ann"},
    "GET /v1/memory/graph/path": {"source": "person:Ann", "target": "person:Bob"},
    "GET /v1/memory/graph/draw": {"node": "person:Ann"},
}
IDS = {
    "session_id": "s1", "job_id": "3f0e8a52-9c1d-4a57-8a36-0d5b7c1c2e11",
}  # fmt: skip

DESCRIBED: dict[str, Any] = create_routes().openapi()


def described() -> dict[str, dict[str, Any]]:
    """Return every route, as OpenAPI has it."""
    return {
        f"{method.upper()} {path}": operation
        for path, operations in DESCRIBED["paths"].items()
        for method, operation in operations.items()
        if method in METHODS
    }


def named(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]


ROUTES = described()
CLASSIFIED = [*named(bound.READS), *named(bound.WRITES), *named(bound.FREE), *named(bound.REFUSED)]
WITHIN = [*named(bound.READS), *named(bound.WRITES)]


def test_every_route_is_classified_once() -> None:
    assert len(set(CLASSIFIED)) == len(CLASSIFIED)
    assert set(CLASSIFIED) - set(ROUTES) <= {"POST /mcp"}
    for route in set(ROUTES) - set(CLASSIFIED):
        path = route.split(" ")[1]
        assert any(path == begin or path.startswith(f"{begin}/") for begin in bound.CLOSED), (
            f"{route} is new: say in api/bound.py what keys bound to namespaces may do there"
        )
        assert access_of(*route.split(" ")) == "refused"


def test_each_route_within_a_namespace_takes_one() -> None:
    for route in WITHIN:
        parameters = [p["name"] for p in ROUTES[route].get("parameters", [])]
        assert ("namespace" in parameters) != (namespace_is_in_body(route)), route


def namespace_is_in_body(route: str) -> bool:
    content = ROUTES[route].get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rsplit("/", 1)[-1]
    properties = DESCRIBED["components"]["schemas"].get(name, {}).get("properties", {})
    return "namespace" in properties or "episodes" in properties


def asked(route: str, namespace: str | None) -> dict[str, Any]:
    """Return a request that the route accepts, with a namespace or without one."""
    method, template = route.split(" ")
    path = template
    for part in template.split("/"):
        if part.startswith("{"):
            path = path.replace(part, IDS.get(part[1:-1], "1"))
    body = BODIES.get(route)
    parameters = dict(PARAMETERS.get(route, {}))
    if route == "POST /v1/memory/episodes/batch":
        body = {"episodes": [{**EPISODE, **({"namespace": namespace} if namespace else {})}]}
    elif namespace is not None and namespace_is_in_body(route):
        assert body is not None, f"{route} needs a body in this test"
        body = {**body, "namespace": namespace}
    elif namespace is not None:
        parameters["namespace"] = namespace
    return {"method": method, "url": path, "params": parameters, "json": body}


async def key_of(client: Aegis, namespaces: Any, scopes: tuple[str, ...] = ("*",)) -> str:
    made = await client.keys.issue(
        "acme", tier="enterprise", rate_limit=1_000_000, scopes=scopes, namespaces=namespaces
    )
    return made.key


async def fill(client: Aegis, namespace: str) -> None:
    """Put one of everything into a namespace."""
    memory = client.memory
    await memory.record(
        event_type="note", summary=f"secret of {namespace}", namespace=namespace, session_id="s1"
    )
    await memory.facts.record(
        concept=f"secret {namespace}", content="something", namespace=namespace
    )
    await memory.decisions.record(
        task_context=f"secret of {namespace}",
        alternatives=["a"],
        chosen_option="a",
        reasoning="r",
        namespace=namespace,
    )
    await memory.graph.relate("person:Ann", "person:Bob", namespace=namespace)


@pytest.fixture
async def filled(client: Aegis) -> Aegis:
    # The foreign ones get the lowest ids: those that a bound key tries.
    for namespace in (FOREIGN, client.memory.namespace, SEEN):
        await fill(client, namespace)
    return client


@functools.lru_cache(maxsize=1)
def application(client: Aegis) -> Any:
    """Return the application of a client: making one takes longer than a hundred requests."""
    return create_app(client, token=TOKEN)


async def send(client: Aegis, key: str, route: str, namespace: str | None) -> Any:
    transport = httpx2.ASGITransport(app=application(client))
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://127.0.0.1:8734",
        headers={"Authorization": f"Bearer {key}"},
    ) as http:  # fmt: skip
        return await http.request(**asked(route, namespace))


async def test_bound_key_works_in_no_other_namespace_on_any_route(filled: Aegis) -> None:
    key = await key_of(filled, [MINE, {"namespace": SEEN, "write": False}])
    for route in WITHIN:
        answer = await send(filled, key, route, FOREIGN)
        assert answer.status_code == 403, (route, answer.text)
        assert answer.json()["code"] == "namespace_denied", route
        assert "bound to mine, seen" in answer.json()["detail"], route


async def test_bound_key_only_reads_where_it_is_bound_to_read(filled: Aegis) -> None:
    key = await key_of(filled, [MINE, {"namespace": SEEN, "write": False}])
    for route in named(bound.WRITES):
        answer = await send(filled, key, route, SEEN)
        assert (answer.status_code, answer.json()["code"]) == (403, "namespace_denied"), route
        assert "only reads it" in answer.json()["detail"], route
    for route in named(bound.READS):
        answer = await send(filled, key, route, SEEN)
        assert answer.status_code in (200, 404), (route, answer.text)


async def test_first_namespace_is_the_default_and_nothing_leaks_on_any_route(
    filled: Aegis,
) -> None:
    key = await key_of(filled, [MINE, SEEN])
    for route in named(bound.READS):
        answer = await send(filled, key, route, None)
        assert answer.status_code in (200, 404), (route, answer.text)
        for other in (FOREIGN, filled.memory.namespace, SEEN):
            assert f"secret of {other}" not in answer.text, route
            assert f"secret {other}" not in answer.text, route
    before = await everything(filled, FOREIGN)
    ours = await everything(filled, filled.memory.namespace)
    for route in named(bound.WRITES):
        answer = await send(filled, key, route, None)
        assert answer.status_code in (200, 201, 202, 204, 404, 422), (route, answer.text)
    # What was written without a name is in the first namespace, and everybody else's as it was.
    assert len(await filled.memory.list(namespace=MINE)) >= 2
    assert [f.concept for f in await filled.memory.facts.list(namespace=MINE)] == ["c"]
    assert await everything(filled, FOREIGN) == before
    assert await everything(filled, filled.memory.namespace) == ours


async def everything(client: Aegis, namespace: str) -> Any:
    memory = client.memory
    return (
        await memory.list(namespace=namespace),
        await memory.facts.list(namespace=namespace),
        await memory.decisions.list(namespace=namespace),
        await memory.graph.entities(namespace=namespace),
    )


async def test_first_namespace_that_is_read_only_takes_no_writes(filled: Aegis) -> None:
    key = await key_of(filled, [{"namespace": SEEN, "write": False}, MINE])
    refused = await send(filled, key, "POST /v1/memory/episodes", None)
    assert (refused.status_code, refused.json()["code"]) == (403, "namespace_denied")
    assert (await send(filled, key, "POST /v1/memory/episodes", MINE)).status_code == 201


async def test_batch_ends_at_a_foreign_episode(filled: Aegis) -> None:
    key = await key_of(filled, [MINE])
    theirs = await filled.memory.list(namespace=FOREIGN)
    transport = httpx2.ASGITransport(app=application(filled))
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://127.0.0.1:8734",
        headers={"Authorization": f"Bearer {key}"},
    ) as http:  # fmt: skip
        answer = await http.post(
            "/v1/memory/episodes/batch",
            json={"episodes": [EPISODE, {**EPISODE, "namespace": FOREIGN}]},
        )
    assert (answer.status_code, answer.json()["code"]) == (403, "namespace_denied")
    # As with any line that cannot be accepted: those before it are recorded.
    assert len(await filled.memory.list(namespace=MINE)) == 1
    assert await filled.memory.list(namespace=FOREIGN) == theirs


async def test_route_without_a_namespace_is_refused(client: Aegis) -> None:
    key = await key_of(client, [MINE])
    others = ("GET /v1/status", "GET /v1/alerts", "POST /v1/executions", "GET /v1/none", "GET /")
    for route in (*named(bound.REFUSED), *others):
        answer = await send(client, key, route, None)
        assert (answer.status_code, answer.json()["code"]) == (403, "namespace_denied"), route


async def test_route_about_nobody_s_memory_is_open(client: Aegis) -> None:
    key = await key_of(client, [MINE], scopes=("usage:read", "memory:read"))
    assert (await send(client, key, "GET /v1/usage", None)).status_code == 200
    # A namespace is no scope.
    denied = await send(client, key, "POST /v1/memory/episodes", None)
    assert (denied.status_code, denied.json()["code"]) == (403, "permission_denied")


async def test_unbound_key_goes_where_it_went(filled: Aegis) -> None:
    key = await key_of(filled, None)
    for namespace in (FOREIGN, MINE, SEEN):
        answer = await send(filled, key, "GET /v1/memory/episodes", namespace)
        assert answer.status_code == 200
    assert (await send(filled, key, "GET /v1/status", None)).status_code == 200


async def test_binding_is_changed_and_shown(client: Aegis) -> None:
    made = await client.keys.issue("acme", scopes=["memory:read"], namespaces=[FOREIGN])
    assert (await send(client, made.key, "GET /v1/memory/episodes", FOREIGN)).status_code == 200
    changed = await client.keys.bind(made.record.id, [MINE])
    assert changed.namespaces is not None
    assert [(b.namespace, b.write) for b in changed.namespaces] == [(MINE, True)]
    assert (await send(client, made.key, "GET /v1/memory/episodes", FOREIGN)).status_code == 403
    assert (await client.keys.bind(made.record.id, None)).namespaces is None
    assert (await send(client, made.key, "GET /v1/memory/episodes", FOREIGN)).status_code == 200
