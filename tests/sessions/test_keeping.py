"""Old events go in batches, sessions stay; prices are dated, and may be set."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from aegis.db import fetch_value
from aegis.errors import InvalidInput
from aegis.memory import Memory
from aegis.sessions import sweeping
from aegis.sessions.models import ModelPrice
from aegis.sessions.service import Sessions

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database

ROWS = """
INSERT INTO claude_sessions (session_id, status, tool_calls, source)
VALUES ('old', 'completed', 7, 'hook'), ('runs', 'running', 1, NULL);
INSERT INTO session_events (session_id, key, event, at)
SELECT id, session_id || n, 'PostToolUse', now() - make_interval(days => n)
FROM claude_sessions, generate_series(1, 300) AS n;
"""


async def value(db: Database, query: Any) -> Any:
    async with db.transaction() as conn:
        return await fetch_value(conn, query)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, session_events_keep_days=180)


@pytest.fixture
async def sessions(db: Database) -> Sessions:
    async with db.connection() as conn:
        await conn.execute(ROWS)
    return Sessions(Memory(db, None, namespace="default"))


async def test_old_events_of_ended_sessions_go_and_everything_else_stays(
    sessions: Sessions, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "_DROPPED", 50)
    swept = await sessions.sweep()
    assert swept.dropped == 121
    assert await value(db, "SELECT count(*) FROM session_events") == 600 - 121
    assert await value(db, "SELECT tool_calls FROM claude_sessions WHERE session_id = 'old'") == 7
    assert (await sessions.sweep()).dropped == 0
    with pytest.raises(InvalidInput):
        await sessions.drop_events(keep_days=0)
    assert await sessions.drop_events(keep_days=10) == 179 - 9


async def test_prices_say_as_of_when_they_are_known(sessions: Sessions) -> None:
    prices = await sessions.prices.list()
    assert prices
    assert all(price.known_on is not None and price.note for price in prices)
    assert all("not checked" in (price.note or "") for price in prices)


async def test_new_price_counts_from_its_time_on_and_sessions_are_summed_anew(
    sessions: Sessions, db: Database
) -> None:
    now = datetime.now(UTC)
    async with db.transaction() as conn:
        await conn.execute(
            """
            INSERT INTO session_usage (session_id, message_key, at, model, input_tokens,
                                       output_tokens, cache_write_5m_tokens, cache_write_1h_tokens,
                                       cache_read_tokens)
            SELECT id, 'm' || n, now() - make_interval(days => 3 * n), 'claude-fable-5-2', 1000000,
                   0, 0, 0, 0
            FROM claude_sessions, generate_series(0, 1) AS n
            WHERE session_id = 'old'
            """
        )
    price = ModelPrice(
        model="claude-fable",
        valid_from=now - timedelta(days=1),
        input_usd=Decimal(4),
        output_usd=Decimal(20),
        cache_write_5m_usd=Decimal(5),
        cache_write_1h_usd=Decimal(8),
        cache_read_usd=Decimal("0.4"),
    )
    assert await sessions.prices.put(price) == 1
    async with db.transaction() as conn:
        cursor = await conn.execute(
            "SELECT cost_usd, unpriced_messages FROM claude_sessions WHERE session_id = 'old'"
        )
        assert await cursor.fetchone() == (Decimal(4), 1)
    (known,) = [one for one in await sessions.prices.list() if one.model == "claude-fable"]
    assert known.known_on == now.date()
    for wrong in ({"input_usd": Decimal(-1)}, {"model": " "}, {"output_usd": Decimal("NaN")}):
        fields: dict[str, Any] = {
            **{name: getattr(price, name) for name in ModelPrice.__slots__},
            **wrong,
        }
        with pytest.raises(InvalidInput):
            await sessions.prices.put(ModelPrice(**fields))
