"""Rows that others wrote, as plain SQL allows them: none of them breaks a read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aegis.memory import EpisodeFilter, Memory
from aegis.memory.store import episodes as store
from aegis.memory.store import facts
from aegis.memory.validate import MAX_JSON_DEPTH
from aegis.wire.cursor import EPISODES
from tests.db.rows import execute

if TYPE_CHECKING:
    from aegis.db import Database

pytestmark = pytest.mark.servers("18", "16")


async def every_page(memory: Memory, size: int, **where: Any) -> list[str]:
    """Return the summaries of all pages, in their order."""
    found: list[str] = []
    cursor = None
    while True:
        page = await memory.list(limit=size, before=EPISODES.at(cursor), **where)
        found += [episode.summary for episode in page]
        cursor = EPISODES.page(page, size)["next_cursor"]
        if cursor is None:
            return found


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 50])
async def test_undated_rows_come_last_and_are_all_reached(
    dsn: str, plain_memory: Memory, size: int
) -> None:
    execute(
        dsn,
        """
        INSERT INTO episodic_memory (event_type, summary, timestamp, created_at)
        SELECT 'note', 'undated ' || n, NULL, CASE WHEN n > 1 THEN NOW() END
        FROM generate_series(1, 4) AS n
        """,
        """
        INSERT INTO episodic_memory (event_type, summary, timestamp)
        SELECT 'note', 'dated ' || n, '2025-01-01Z'::timestamptz + (n / 2) * '1 s'::interval
        FROM generate_series(1, 4) AS n
        """,
    )
    wanted = [f"{kind} {n}" for kind in ("dated", "undated") for n in (4, 3, 2, 1)]
    assert await every_page(plain_memory, size) == wanted
    since = (await plain_memory.list(limit=4))[-1].timestamp
    assert await every_page(plain_memory, size, since=since) == wanted[:4]


# The wheel of 16 has no auto_explain.
@pytest.mark.servers("18")
async def test_pages_and_missing_vectors_are_read_from_an_index(
    dsn: str, db: Database, plain_memory: Memory
) -> None:
    execute(
        dsn,
        """
        INSERT INTO episodic_memory (event_type, summary, timestamp, embedding)
        SELECT 'note', n::text, '2025-01-01T00:00:00Z', '[1,2]' FROM generate_series(1, 20000) AS n
        """,
        """
        INSERT INTO semantic_memory (concept, content, embedding)
        SELECT 'c', n::text, '[1,2]' FROM generate_series(1, 5000) AS n
        """,
        "ANALYZE episodic_memory, semantic_memory",
    )
    (last,) = await plain_memory.list(limit=1)
    async with db.connection() as conn:
        await conn.execute("LOAD 'auto_explain'")
        notices: list[str] = []
        conn.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        await conn.execute(
            """
            SELECT set_config(name, value, false)
            FROM (VALUES ('auto_explain.log_min_duration', '0'),
                         ('auto_explain.log_level', 'notice')) AS s (name, value)
            """
        )
        where = EpisodeFilter(namespace="default")
        for before in (None, (last.timestamp, last.id)):
            assert len(await store.list_episodes(conn, where, limit=10, before=before)) == 10
        assert await store.list_unembedded(conn, after_id=0, limit=10) == []
        assert await facts.list_unembedded_facts(conn, after_id=0, limit=10) == []
    plans = "\n".join(notices)
    assert plans.count("using idx_episodic_namespace_timestamp") == 2, plans
    assert "using idx_episodic_unembedded" in plans
    assert "using idx_semantic_unembedded" in plans
    assert "Sort" not in plans
    assert "Seq Scan" not in plans


@pytest.mark.parametrize("depth", [MAX_JSON_DEPTH, MAX_JSON_DEPTH + 100, 900, 5000])
async def test_deep_json_is_read_as_a_value_or_as_its_text(
    dsn: str, plain_memory: Memory, depth: int
) -> None:
    nested = '{"a":' * depth + "1" + "}" * depth
    execute(
        dsn,
        f"INSERT INTO episodic_memory (event_type, summary, details) VALUES ('n', 'x', '{nested}')",
        f"INSERT INTO semantic_memory (concept, content, metadata) VALUES ('c', 'x', '{nested}')",
    )
    (episode,) = await plain_memory.list()
    (fact,) = await plain_memory.facts.list()
    assert episode.details is not None
    assert fact.metadata == episode.details
    assert (await plain_memory.recall("x"))[0].episode.details == episode.details
    if depth == MAX_JSON_DEPTH:
        assert "unparsed" not in episode.details
    else:
        assert episode.details == {"unparsed": nested.replace(":", ": ")}


async def test_json_number_of_any_length_is_read(dsn: str, plain_memory: Memory) -> None:
    digits = "7" * 5000
    execute(
        dsn,
        f"""
        INSERT INTO episodic_memory (event_type, summary, details)
        VALUES ('n', 'x', '{{"n": {digits}}}')
        """,
    )
    (episode,) = await plain_memory.list()
    assert episode.details == {"unparsed": f'{{"n": {digits}}}'}


async def test_brackets_in_texts_are_no_depth(plain_memory: Memory) -> None:
    details = {'"[{\\': ["[" * 500, '\\"{' * 500, {"wide": [[]] * 500}]}
    episode = await plain_memory.record("n", "x", details=details)
    assert (await plain_memory.get(episode.id)).details == details
