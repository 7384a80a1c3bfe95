"""Old rows go under a seal, and the rest still verifies; what is not whole is not sealed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from aegis.errors import AegisError, Conflict, InvalidInput
from aegis.security.audit.service import AuditLog
from tests.security.audit.conftest import fill, tamper

if TYPE_CHECKING:
    from aegis.db import Database

pytestmark = pytest.mark.servers("18", "16")


async def middle(log: AuditLog, seq: int) -> datetime:
    """Return a time between row `seq` and the next."""
    return (await log.get(seq + 1)).recorded_at


async def test_what_is_left_verifies_and_says_that_the_rest_went(
    db: Database, log: AuditLog
) -> None:
    await fill(db, 10)
    await log.head()
    at = await middle(log, 4)
    plan = await log.sealable(at)
    done = await log.seal(at)
    assert done is not None
    assert plan == done
    assert (done.from_seq, done.through_seq, done.rows) == (1, 4, 4)
    (row,) = await log.list(action="audit.seal")
    assert (row.seq, row.details["through_seq"], row.details["rows"]) == (11, 4, 4)
    found = await log.verify()
    assert (found.state, found.from_seq, found.rows) == ("ok", 5, 7)
    # And once more, on top of it.
    await log.seal(await middle(log, 7))
    found = await log.verify()
    assert (found.state, found.from_seq, found.rows) == ("ok", 8, 5)
    assert (await log.verify(complete=False)).state == "ok"
    # An anchor under a seal is still one.
    assert await log.sealable(datetime(2020, 1, 1, tzinfo=UTC)) is None


async def test_the_last_row_stays(db: Database, log: AuditLog) -> None:
    await fill(db, 3)
    done = await log.seal(datetime.now(UTC))
    assert done is not None
    assert done.through_seq == 2
    assert (await log.verify()).problems == 0


async def test_seals_cannot_be_made_up_changed_or_left_out(db: Database, log: AuditLog) -> None:
    await fill(db, 10)
    await log.seal(await middle(log, 3))
    await log.seal(await middle(log, 6))
    for statement, seq in (
        ("UPDATE audit_seals SET row_count = 9 WHERE through_seq = 3", 1),
        ("UPDATE audit_seals SET hash = sha256('x') WHERE through_seq = 6", 4),
        ("DELETE FROM audit_seals WHERE through_seq = 3", 1),
        ("TRUNCATE audit_seals", 1),
    ):
        async with db.transaction() as conn:
            await conn.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT * FROM audit_seals")
        await tamper(db, statement)
        found = await log.verify()
        assert found.state == "tampered", statement
        assert seq in {f.seq for f in found.findings}, statement
        await tamper(db, "TRUNCATE audit_seals", "INSERT INTO audit_seals SELECT * FROM kept")
    assert (await log.verify()).problems == 0


async def test_a_seal_without_the_secret_lets_rows_go_and_is_found(
    db: Database, log: AuditLog
) -> None:
    """The guard cannot know a signature; whoever may write the table gets past it, and is seen."""
    await fill(db, 6)
    async with db.transaction() as conn:
        await conn.execute(
            """
            INSERT INTO audit_seals
            SELECT seq, 1, hash, seq, now(), now(), now(), secret_id, signature
            FROM audit_log WHERE seq = 4
            """
        )
        await conn.execute("DELETE FROM audit_log WHERE seq <= 4")
    found = await log.verify()
    assert ("seal", 1) in {(f.kind, f.seq) for f in found.findings}


async def test_sealed_rows_that_come_back_are_found(db: Database, log: AuditLog) -> None:
    await fill(db, 5)
    async with db.transaction() as conn:
        await conn.execute("CREATE TABLE kept AS SELECT * FROM audit_log")
    await log.seal(await middle(log, 2))
    await tamper(db, "INSERT INTO audit_log SELECT * FROM kept WHERE seq = 1")
    assert "seal" in {f.kind for f in (await log.verify()).findings}


async def test_what_was_tampered_with_is_not_sealed(db: Database, log: AuditLog) -> None:
    await fill(db, 5)
    await tamper(db, "UPDATE audit_log SET object_id = 'x' WHERE seq = 2")
    with pytest.raises(Conflict, match="Row 2"):
        await log.seal(datetime.now(UTC))
    assert len(await log.list()) == 5
    with pytest.raises(InvalidInput):
        await log.seal(datetime.now(UTC) + timedelta(days=1))


async def test_rows_that_no_seal_covers_stay(db: Database, log: AuditLog) -> None:
    await fill(db, 5)
    await log.seal(await middle(log, 2))
    with pytest.raises(AegisError):
        async with db.transaction() as conn:
            await conn.execute("DELETE FROM audit_log WHERE seq = 3")
    # Somebody's temporary table does not stand in for the seals.
    with pytest.raises(AegisError):
        async with db.transaction() as conn:
            await conn.execute("CREATE TEMPORARY TABLE audit_seals (through_seq bigint)")
            await conn.execute("INSERT INTO pg_temp.audit_seals VALUES (99)")
            await conn.execute("DELETE FROM audit_log WHERE seq = 3")
