"""Words about somebody in every place that memory has, put there by the calls that everybody uses.

What needs an endpoint outside, which fails in its own words, is written by the same store call.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aegis.memory import NewEpisode
from aegis.memory.store import graphiti, registry
from tests.memory.change.conftest import WordEmbedder, client

if TYPE_CHECKING:
    from aegis.db import Database
    from aegis.memory import Memory
    from aegis.memory.embedding import Embedder

FAILED = {
    "calls": 0,
    "texts": 0,
    "tokens": 0,
    "failures": 1,
    "usd_per_million_tokens": None,
    "provider": "openai",
}
#: Tables without words of their own, whose rows go with those that have them.
BESIDE = ("episodic_vectors", "semantic_vectors", "graph_queue", "memory_usage", "session_usage")


async def fill_everywhere(
    memory: Memory, db: Database, embedder: Embedder, name: str
) -> dict[str, int]:
    """Write about somebody in the graph, in items, drafts, quarantine and what failed."""
    said = f"{name} called the bakery on Main Street about the delivery of bread rolls."
    await memory.record_many([NewEpisode(event_type="note", summary=said)] * 2)
    done = await memory.audit.repair("duplicates_exact", dry_run=False)
    assert done.rows == 1
    await _graph(memory, name)
    bob = await memory.record("note", "Bob mentioned the weather")
    await memory.graph.relate(bob.id, "person:Bob", "mentions")
    await memory.graph.relate(bob.id, f"person:{name}", "knows")
    first = datetime(2026, 1, 5, 9, tzinfo=UTC)
    await memory.record_many(
        [
            NewEpisode(
                event_type="error",
                summary=f"The printer of {name} ran out of paper during the {part} report.",
                timestamp=first + timedelta(days=day),
                session_id=f"p{day}",
            )
            for day, part in enumerate(("weekly", "weekly sales", "weekly cost"))
        ]
    )
    run = await memory.consolidation.run()
    assert run.proposed
    await _items(memory, db, embedder, name)
    await _sessions(db, name)
    async with db.transaction() as conn:
        await graphiti.mark_failed(conn, bob.id, attempts=3, error=f"ValueError: {name}?")
        await registry.add_usage(
            conn, [FAILED | {"model": embedder.model, "last_error": f"refused: {name}"}]
        )
    both = client(db, embedder, WordEmbedder("new-model", 16))
    await both.models.begin()
    await both.models.fill()
    await memory.graph.build()
    ada = await memory.record("note", f"{name} is not read for the graph yet")
    return {"bob": bob.id, "unread": ada.id}


async def _graph(memory: Memory, name: str) -> None:
    """Make the subject an entity, an alias of another, and part of what a merge remembers."""
    for other in ("A. Z.", "Somebody"):
        page = await memory.record("note", f"a page about {other}")
        await memory.graph.relate(page.id, f"person:{other}", "mentions")
    page = await memory.record("note", f"a page about {name}")
    await memory.graph.relate(page.id, f"person:{name}", "mentions")
    await memory.graph.merge_entities("person:A. Z.", f"person:{name}")
    await memory.graph.merge_entities("person:A. Z.", "person:Somebody")
    file = await memory.record("note", "a folder")
    word = name.split()[-1].lower()
    await memory.graph.relate(file.id, f"file:/home/{name}/x.txt", word)


async def _sessions(db: Database, name: str) -> None:
    """Let one session be about somebody, another hear of them, and a third bear the name."""
    async with db.transaction() as conn:
        await conn.execute(
            """
            INSERT INTO claude_sessions
                (session_id, source, title, command, metadata, transcript_path, cost_usd)
            VALUES
                ('about', 'hook', %(name)s, %(name)s, jsonb_build_object('for', %(name)s::text),
                 '/home/' || %(name)s || '/about.jsonl', 0.5),
                ('hears', 'hook', 'Bread', NULL, NULL, NULL, 0.25),
                ('of ' || %(name)s, 'hook', NULL, NULL, NULL, NULL, 0.1)
            """,
            {"name": name},
        )
        await conn.execute(
            """
            INSERT INTO session_events (session_id, key, event, at, text)
            SELECT s.id, e.key, 'UserPromptSubmit', now(), e.text
            FROM claude_sessions s
            CROSS JOIN (VALUES ('1', 'write to ' || %(name)s), ('2', 'buy bread')) AS e (key, text)
            WHERE s.session_id = 'hears'
            """,
            {"name": name},
        )
        await conn.execute(
            """
            INSERT INTO session_usage
                (session_id, message_key, at, model, input_tokens, output_tokens,
                 cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens)
            SELECT id, 'm', now(), 'claude-sonnet-4-5', 1, 1, 0, 0, 0
            FROM claude_sessions
            """
        )


async def _items(memory: Memory, db: Database, embedder: Embedder, name: str) -> None:
    await memory.items.put(["people", name], "1", {"likes": "tea"})
    await memory.items.put(["people"], name, {"likes": "tea"})
    await memory.items.put(["people"], "2", {"who": [name]}, texts=[("who", name)])
    await memory.items.put(["people"], "4", {"who": "Bob"}, texts=[("who", "Bob")])
    away = WordEmbedder(embedder.model, embedder.dimensions)
    away.away = True
    # The text waits for its vector, and the value says nothing of it.
    waiting = client(db, away).items
    await waiting.put(["people"], "3", {"who": "?"}, texts=[("who", f"this is {name}")])
