"""What claims read where there is much: a long history, many pages, one host that has them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aegis.intel.store import work as pages
from aegis.research.store import claims as research
from aegis.worker.store import claims as jobs
from aegis.workflows.store import claims as executions
from tests.plans import plans_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aegis.db import Connection, Database

HISTORY = {
    "jobs": """
        INSERT INTO jobs (function, arguments, state, created_at, finished_at, attempts, token)
        SELECT 'history', '{}', 'completed', now() - n * INTERVAL '1 s',
               now() - n * INTERVAL '1 s', 1, 1
        FROM generate_series(1, 30000) AS n
    """,
    "workflow_executions": """
        WITH w AS (INSERT INTO workflows (name, graph, version) VALUES ('w', '{}', 1) RETURNING id),
        v AS (
            INSERT INTO workflow_versions (workflow_id, version, graph) SELECT id, 1, '{}' FROM w
        )
        INSERT INTO workflow_executions
            (workflow_id, version, context, status, started_at, completed_at)
        SELECT w.id, 1, '{}', 'completed', now() - n * INTERVAL '1 s', now()
        FROM w, generate_series(1, 30000) AS n
    """,
    "deep_briefing_jobs": """
        INSERT INTO deep_briefing_jobs (query, status, provider, created_at, completed_at)
        SELECT 'q', 'completed', 'local', now() - n * INTERVAL '1 s', now()
        FROM generate_series(1, 30000) AS n
    """,
}
ASKED: dict[str, tuple[Callable[[Connection], Awaitable[Any]], ...]] = {
    "jobs": (
        lambda conn: jobs.claim(
            conn, "w", limit=8, lease_s=60, functions=["history"], without_keys=[]
        ),
        lambda conn: jobs.seconds_to_next(conn, ["history"]),
    ),
    "workflow_executions": (
        lambda conn: executions.claim(conn, owner="w", limit=8, lease_s=60, without_keys=[]),
        executions.find_due_s,
    ),
    "deep_briefing_jobs": (
        lambda conn: research.claim_jobs(conn, "w", limit=8, lease_s=60, without=[]),
        research.seconds_to_next,
    ),
}


async def analyzed(db: Database, *statements: str) -> None:
    async with db.connection() as conn:
        for statement in statements:
            await conn.execute(statement.encode())
        await conn.execute("VACUUM ANALYZE")


@pytest.mark.parametrize("table", sorted(HISTORY))
async def test_what_is_finished_is_not_read_by_who_looks_for_work(db: Database, table: str) -> None:
    await analyzed(db, HISTORY[table])
    for ask in ASKED[table]:
        async with db.transaction() as conn:
            (plan,) = await plans_of(conn, ask)
        assert table not in plan.scanned
        assert plan.pages < 150, plan.root


#: 20,000 pages on 100 hosts.
PAGES = (
    """
    INSERT INTO competitors (name, domain) SELECT 'c' || n, 'c' || n || '.example'
    FROM generate_series(1, 100) AS n
    """,
    """
    INSERT INTO competitor_pages (competitor_id, url, page_type, next_check_at)
    SELECT (SELECT min(id) FROM competitors) + n % 100,
           'https://h' || (n % 100) || '.example/' || n, 'other',
           now() + n * INTERVAL '1 s'
    FROM generate_series(1, 20000) AS n
    """,
)


async def claim(conn: Connection, limit: int = 8) -> list[pages.Claimed]:
    return await pages.claim_pages(
        conn, "w", limit=limit, lease_s=60, per_host=1, without_hosts=["https://h7.example"]
    )


async def test_where_no_page_is_due_none_is_read(db: Database) -> None:
    await analyzed(db, *PAGES)
    for ask, most in ((claim, 100), (pages.seconds_until_due, 150)):
        async with db.transaction() as conn:
            (plan,) = await plans_of(conn, ask)
        assert "competitor_pages" not in plan.scanned
        assert plan.pages < most, plan.root


async def test_where_all_pages_are_due_the_first_are_taken_of_as_many_hosts(db: Database) -> None:
    await analyzed(
        db, *PAGES, "UPDATE competitor_pages SET next_check_at = next_check_at - INTERVAL '1 day'"
    )
    async with db.transaction() as conn:
        (plan,) = await plans_of(conn, pages.seconds_until_due)
        assert "competitor_pages" not in plan.scanned
        assert await pages.seconds_until_due(conn) == 0
        taken: list[pages.Claimed] = []

        async def take(conn: Connection) -> None:
            taken.extend(await claim(conn))

        (plan,) = await plans_of(conn, take)
    assert "competitor_pages" not in plan.scanned
    assert plan.pages < 4_000, plan.root
    assert len({row.host for row in taken}) == len(taken) == 8


async def test_pages_behind_those_of_hosts_that_want_patience_are_found(db: Database) -> None:
    await analyzed(
        db,
        *PAGES,
        "UPDATE competitor_pages SET next_check_at = next_check_at - INTERVAL '1 day'",
        # One host may be asked: its pages are due last of all.
        """
        UPDATE competitor_pages SET next_check_at = now() - INTERVAL '1 s'
        WHERE host = 'https://h5.example'
        """,
        """
        INSERT INTO competitor_hosts (host, next_request_at)
        SELECT DISTINCT host, now() + INTERVAL '1 hour' FROM competitor_pages
        WHERE host <> 'https://h5.example'
        """,
    )
    taken: list[pages.Claimed] = []

    async def take(conn: Connection) -> None:
        taken.extend(await claim(conn))

    async with db.transaction() as conn:
        (plan,) = await plans_of(conn, take)
        assert [row.host for row in taken] == ["https://h5.example"]
        assert "competitor_pages" not in plan.scanned
        assert plan.pages < 8_000, plan.root
        assert await claim(conn) == []
        # A look again is made at the latest when a lease or the first pause ends.
        left = await pages.seconds_until_due(conn)
        assert left is not None
        assert 0 < left <= 3_600
