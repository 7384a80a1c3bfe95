"""Relations by hand, merges of entities and items of stores come back from an export."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, LiteralString

import pytest

from aegis.errors import InvalidInput
from aegis.memory import Memory
from aegis.memory.exporting import export_file
from aegis.memory.importing import import_path

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.db import Database
    from aegis.memory.embedding import Embedder
    from aegis.memory.exporting import Format
    from aegis.memory.importing import Kind

SPRING = datetime(2026, 3, 1, tzinfo=UTC)
AUTUMN = datetime(2026, 9, 1, tzinfo=UTC)


async def fill(memory: Memory) -> None:
    ann = await memory.record("note", "Ann Baker wrote to Bob", timestamp=SPRING)
    annie = await memory.record("note", "a page about Annie", related_memories=[ann.id])
    fact = await memory.facts.record("the flat", "is let")
    await memory.graph.build()
    relate = memory.graph.relate
    await relate(ann.id, "person:Ann Baker", "mentions")
    await relate(annie.id, "person:Annie", "mentions")
    await relate("person:Annie", "project:Apollo", "works on", weight=0.25, valid_from=SPRING)
    await relate(f"fact:{fact.id}", ann.id, "follows from", valid_from=SPRING, valid_to=AUTUMN)
    await relate(ann.id, annie.id, "related", weight=0.5)
    await memory.graph.merge_entities("person:Ann Baker", "person:Annie")
    put = memory.items.put
    await put(["users", "1"], "likes", {"tea": -0.0, "n": 1e20}, texts=[("tea", "green tea")])
    await put(["users", "1"], "gone", {}, ttl_minutes=1_000_000)


async def beside(memory: Memory) -> dict[str, Any]:
    """Return all of it, ids told by what they stand for."""
    place = {"place": memory.namespace}
    statements: dict[str, LiteralString] = {
        "relations": """
            SELECT r.type, r.weight, r.valid_from, r.valid_to, r.recorded_at,
                   a.summary, b.concept, c.name, d.summary, e.concept, f.name
            FROM graph_relations r
            LEFT JOIN episodic_memory a ON a.id = r.from_episode
            LEFT JOIN semantic_memory b ON b.id = r.from_fact
            LEFT JOIN graph_entities c ON c.id = r.from_entity
            LEFT JOIN episodic_memory d ON d.id = r.to_episode
            LEFT JOIN semantic_memory e ON e.id = r.to_fact
            LEFT JOIN graph_entities f ON f.id = r.to_entity
            WHERE r.namespace = %(place)s
              AND r.found_by = 'hand'
              AND (r.type <> 'related' OR r.weight < 1)
            ORDER BY 1, 6, 7, 8, 9, 10, 11, 5
        """,
        "merged": """
            SELECT m.kind, m.name, k.kind, k.name
            FROM graph_entities m
            JOIN graph_entities k ON k.id = m.merged_into
            WHERE m.namespace = %(place)s
            ORDER BY 2
        """,
        "items": """
            SELECT i.path, i.key, i.value::text, i.verbatim, i.created_at, i.updated_at,
                   i.ttl_minutes, i.expires_at, v.field, v.embedding_model, v.embedding::text,
                   v.pending
            FROM store_items i
            LEFT JOIN store_vectors v ON v.item_id = i.id
            WHERE i.namespace = %(place)s
            ORDER BY 1, 2
        """,
    }
    async with memory.database.transaction() as conn:
        return {
            name: await (await conn.execute(statement, place)).fetchall()
            for name, statement in statements.items()
        }


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
async def test_what_stands_beside_memories_comes_back(
    db: Database, embedder: Embedder, tmp_path: Path, format: Format
) -> None:
    here = Memory(db, embedder, namespace="here")
    await fill(here)
    path = tmp_path / f"out.{format}"
    told = await export_file(here, path, format=format)
    there = Memory(db, embedder, namespace="there")
    kind: Kind = format
    first = await import_path(there, kind, path)
    assert (first.recorded, first.skipped, first.dangling) == (told.items, 0, 0)
    assert await beside(there) == await beside(here)
    hits = await there.items.search(["users"], query="green tea", limit=1)
    assert hits[0].item.key == "likes"
    again = await import_path(there, kind, path)
    assert (again.recorded, again.dangling) == (0, 0)
    assert await beside(there) == await beside(here)


async def test_what_was_changed_since_is_not_taken_back(
    db: Database, embedder: Embedder, tmp_path: Path
) -> None:
    here = Memory(db, embedder, namespace="here")
    await fill(here)
    await export_file(here, tmp_path / "out.jsonl")
    there = Memory(db, embedder, namespace="there")
    await import_path(there, "jsonl", tmp_path / "out.jsonl")
    await there.graph.relate("person:Ann Baker", "project:Apollo", "works on", valid_from=SPRING)
    await there.items.put(["users", "1"], "likes", {"tea": "black"})
    await import_path(there, "jsonl", tmp_path / "out.jsonl")
    found = await beside(there)
    assert [r[1] for r in found["relations"] if r[0] == "works_on"] == [1.0]
    assert json.loads(found["items"][1][2]) == {"tea": "black"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"kind": "item", "path": [], "key": "k", "value": {}}, "namespace is empty"),
        ({"kind": "item", "path": ["a"], "key": "k", "value": 1}, "value is 1"),
        ({"kind": "item", "path": ["a"], "key": "k", "value": {}, "ttl_minutes": 5}, "together"),
        (
            {
                "kind": "item",
                "path": ["a"],
                "key": "k",
                "value": {},
                "found_by": [{"field": "f", "model": "m", "vector": "[1, null]"}],
            },
            "found_by.vector",
        ),
        ({"kind": "relation", "start": {"kind": "episode", "id": 0}, "type": "x"}, "start.id"),
        ({"kind": "relation", "start": {"kind": "ghost"}, "type": "x"}, "start.kind"),
        ({"kind": "relation", "start": {"kind": "fact", "id": 1}, "type": "?"}, "type is"),
        ({"kind": "merge", "kept": {"kind": "fact", "id": 1}, "merged": {"kind": "fact", "id": 2}},
         "only entities"),
    ],
)  # fmt: skip
async def test_a_broken_row_is_named(
    db: Database, embedder: Embedder, tmp_path: Path, line: dict[str, Any], said: str
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(InvalidInput, match="line 1") as refused:
        await import_path(Memory(db, embedder, namespace="n"), "jsonl", path)
    assert said in refused.value.message


async def test_an_object_of_somebody_else_is_still_an_episode(
    db: Database, embedder: Embedder, tmp_path: Path
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"kind": "item", "text": "a lamp"}\n{"kind": "merge", "text": "of branches"}\n'
    )
    memory = Memory(db, embedder, namespace="n")
    assert (await import_path(memory, "jsonl", path)).recorded == 2
    assert {e.event_type for e in await memory.list()} == {"item", "merge"}
