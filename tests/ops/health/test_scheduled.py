"""What a scheduler calls: checks become alerts, counters snapshots."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from aegis.client import Aegis
from aegis.ops.scheduled import check_health, run_maintenance, take_snapshot

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database


async def test_what_is_not_well_becomes_an_alert_and_is_over_when_it_is_mended(
    db: Database, settings: Settings
) -> None:
    client = Aegis(db, None, replace(settings, embedder="none"))
    async with db.connection() as conn:
        await conn.execute("CREATE TABLE leaky (password text)")
    found = await check_health(client)
    assert found["warning"] >= 1
    # As the worker stores it.
    assert json.loads(json.dumps(found, allow_nan=False))["alerts"]["conditions"] >= 1

    async def state() -> str | None:
        async with db.transaction() as conn:
            cursor = await conn.execute(
                """
                SELECT condition_state FROM alerts
                WHERE condition_id = 'secret-columns' ORDER BY id DESC LIMIT 1
                """
            )
            row = await cursor.fetchone()
        return None if row is None else row[0]

    assert await state() == "warning"
    async with db.connection() as conn:
        await conn.execute("DROP TABLE leaky")
    await check_health(client)
    assert await state() != "warning"


async def test_snapshots_and_maintenance_say_what_they_did(
    db: Database, settings: Settings
) -> None:
    always = replace(settings, embedder="none", maintenance_window="always")
    client = Aegis(db, None, always)
    taken, done = await take_snapshot(client), await run_maintenance(client)
    assert taken["relations"] > 100
    assert done["failed"] == 0
    assert json.dumps([taken, done], allow_nan=False)
