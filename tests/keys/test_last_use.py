"""When a key was used last, and the meters that know it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.statements import rows

if TYPE_CHECKING:
    from aegis.db import Database
    from aegis.keys import Keys


async def test_last_use_is_seen_at_once_and_written_once_a_minute(keys: Keys, db: Database) -> None:
    async def written() -> datetime | None:
        [(at,)] = await rows(db, "SELECT last_used_at FROM api_keys")
        return at

    issued = await keys.issue("acme")
    assert issued.record.last_used_at is None
    await keys.verify(issued.key)
    used = (await keys.get(issued.record.id)).last_used_at
    assert used is not None
    assert datetime.now(UTC) - used < timedelta(seconds=30)
    assert await written() is None
    await keys.close()
    first = await written()
    assert first == used
    # A minute has not passed: the row stays, whoever writes.
    await keys.verify(issued.key)
    keys._verifier._used.add(issued.record.id)
    await keys.close()
    assert await written() == first
    await rows(db, "UPDATE api_keys SET last_used_at = now() - interval '61 s'")
    await keys.verify(issued.key)
    await keys.close()
    assert await written() == (await keys.get(issued.record.id)).last_used_at


async def test_last_use_goes_forwards_alone_and_waits_for_nobody(keys: Keys, db: Database) -> None:
    issued = await keys.issue("acme")
    other = await keys.issue("acme")
    await keys.verify(issued.key)
    await keys.verify(other.key)
    await rows(db, "UPDATE api_keys SET last_used_at = now() + interval '1 h' WHERE id = %s",
               issued.record.id)  # fmt: skip
    keys._verifier._used.add(issued.record.id)
    async with db.transaction() as conn:
        await conn.execute("SELECT FROM api_keys WHERE id = %s FOR UPDATE", (issued.record.id,))
        await keys.close()
    ahead = (await keys.get(issued.record.id)).last_used_at
    assert ahead is not None
    assert ahead > datetime.now(UTC) + timedelta(minutes=30)
    [(at,)] = await rows(db, "SELECT last_used_at FROM api_keys WHERE id = %s", other.record.id)
    assert at is not None


async def test_call_that_takes_nothing_is_a_use_once_a_minute(keys: Keys, db: Database) -> None:
    issued = await keys.issue("acme", tier="enterprise")
    await keys.verify(issued.key, cost=0)
    first = (await keys.get(issued.record.id)).last_used_at
    await keys.verify(issued.key, cost=0)
    assert first is not None
    assert (await keys.get(issued.record.id)).last_used_at == first
    await rows(db, "UPDATE api_key_meters SET rate_at = rate_at - 61000000")
    await keys.verify(issued.key, cost=0)
    later = (await keys.get(issued.record.id)).last_used_at
    assert later is not None
    assert later >= first


async def test_key_that_another_program_inserted_gets_its_meter(keys: Keys, db: Database) -> None:
    issued = [await keys.issue("acme", tier="enterprise", rate_limit=2) for _ in range(3)]
    await rows(db, "DELETE FROM api_key_meters WHERE api_key_id = %s", issued[1].record.id)
    found = await asyncio.gather(*(keys.verify(i.key) for i in issued for _ in range(3)))
    for first in range(0, 9, 3):
        codes = sorted(f.code for f in found[first : first + 3])
        assert codes == ["RATE_LIMITED", "VALID", "VALID"]


async def test_two_questions_about_one_key_in_one_statement_count_together(keys: Keys) -> None:
    issued = await keys.issue("acme", scopes=["a", "b"], rate_limit=3, monthly_quota=100)
    found = await asyncio.gather(
        *(keys.verify(issued.key, scope=scope) for scope in ("a", "b", "c", "a", "b"))
    )
    codes = [f.code for f in found]
    assert codes.count("FORBIDDEN") == 1
    assert codes.count("VALID") == 3
    assert (await keys.quota.balance(issued.record.id)).used == 3
