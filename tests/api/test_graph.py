"""`/v1/memory/graph`."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from aegis.api import graph_shapes as shapes
from aegis.memory.graph import models

if TYPE_CHECKING:
    import httpx2

PLACE = "/v1/memory/graph"


async def record(http: httpx2.AsyncClient, text: str) -> int:
    body = {"event_type": "note", "summary": text}
    return (await http.post("/v1/memory/episodes", json=body)).json()["id"]


async def test_graph_is_built_and_asked(http: httpx2.AsyncClient) -> None:
    one, two = await record(http, "Alice: see ABC-1"), await record(http, "closed ABC-1")
    built = (await http.post(f"{PLACE}/build", json={})).json()
    assert shapes.Built.model_validate(built).read == 2
    page = (await http.get(f"{PLACE}/entities", params={"limit": 1})).json()
    assert [e.name for e in shapes.EntityPage.model_validate(page).items] == ["ABC-1"]
    rest = {"limit": 1, "cursor": page["next_cursor"]}
    assert (await http.get(f"{PLACE}/entities", params=rest)).json()["items"][0]["name"] == "Alice"
    around = await http.get(f"{PLACE}/neighbours", params={"node": "ticket:ABC-1"})
    found = shapes.Neighbourhood.model_validate(around.json())
    assert {(n.kind, n.id) for n in found.nodes if n.depth} == {("episode", one), ("episode", two)}
    way = await http.get(f"{PLACE}/path", params={"source": f"episode:{one}", "target": str(two)})
    assert len(shapes.Path.model_validate(way.json()).relations) == 2
    drawn = await http.get(f"{PLACE}/draw", params={"node": str(one), "format": "graphml"})
    assert drawn.headers["content-type"] == "application/graphml+xml; charset=utf-8"
    ET.fromstring(drawn.text)


async def test_relations_and_merges_are_written_and_taken_back(http: httpx2.AsyncClient) -> None:
    one = await record(http, "text")
    for name in ("Bob", "Robert"):
        body = {"source": str(one), "target": f"person:{name}", "type": "works_on"}
        response = await http.post(f"{PLACE}/relations", json=body)
        assert response.status_code == 201
        shapes.Relation.model_validate(response.json())
    pair = {"kept": "person:Bob", "merged": "person:Robert"}
    merge = (await http.post(f"{PLACE}/merges", json=pair)).json()
    assert (await http.get(f"{PLACE}/merges")).json()["items"] == [merge]
    undone = await http.post(f"{PLACE}/merges/{merge['id']}/undo")
    assert undone.json()["undone_at"] is not None
    ended = await http.post(
        f"{PLACE}/relations/end", json={"source": str(one), "target": "person:Bob"}
    )
    assert [r.type for r in shapes.Relations.model_validate(ended.json()).items] == ["works_on"]


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        ("neighbours", {"node": "person:Nobody"}, 404),
        ("neighbours", {"node": "x"}, 422),
        ("neighbours", {"node": "episode:1", "depth": 9}, 422),
        ("entities", {"kind": "dog"}, 422),
        ("draw", {"node": "person:Nobody", "format": "png"}, 422),
    ],
)
async def test_mistakes_are_problems(
    http: httpx2.AsyncClient, path: str, params: dict[str, Any], status: int
) -> None:
    response = await http.get(f"{PLACE}/{path}", params=params)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "name", ["Node", "Relation", "Neighbourhood", "Path", "Entity", "Merge", "Built"]
)
def test_described_answer_has_the_fields_of_the_model(name: str) -> None:
    described, model = getattr(shapes, name), getattr(models, name)
    assert list(described.model_fields) == [field.name for field in fields(model)]
