"""What the audit log says of the real pgaudit, and that what it proposes does what it says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg

from aegis.db import Database
from aegis.security.audit.pgaudit import PROPOSED, PgAudit, look

if TYPE_CHECKING:
    from aegis.config import Settings
    from tests.debian.root import Root


async def state(dsn: str, settings: Settings) -> PgAudit:
    async with await Database.open(dsn, settings, min_size=1) as db:
        return await look(db)


async def test_what_is_proposed_can_be_done_and_writes_what_passes_aegis_by(
    prod: str, root: Root, settings: Settings
) -> None:
    found = await state(prod, settings)
    assert found.state == "differs"
    assert found.version is not None
    with psycopg.connect(prod, autocommit=True) as conn:
        try:
            for statement in found.statements:
                conn.execute(statement.encode())
            # The server reads its files anew in its own time.
            until = time.monotonic() + 30
            while (found := await state(prod, settings)).state != "ok":
                assert time.monotonic() < until, found
            with psycopg.connect(prod, autocommit=True) as stranger:
                stranger.execute("DELETE FROM api_keys WHERE name = 'past Aegis'")
                stranger.execute("DELETE FROM episodic_memory WHERE summary = 'not watched'")
        finally:
            for name in PROPOSED:
                conn.execute(f"ALTER SYSTEM RESET {name}".encode())
            conn.execute("SELECT pg_reload_conf()")
            conn.execute("DROP OWNED BY aegis_audited")
            conn.execute("DROP ROLE aegis_audited")
    log = "".join(path.read_text() for path in root.share.glob("*/log"))
    audited = [line for line in log.splitlines() if "AUDIT:" in line]
    assert any("past Aegis" in line and "WRITE" in line for line in audited)
    assert not any("not watched" in line for line in audited)
