"""SQL of prices of models, each from a time on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.db import execute, fetch_all
from aegis.sessions.models import ModelPrice

if TYPE_CHECKING:
    from aegis.db import Connection

__all__ = ["list_priced_sessions", "list_prices", "put_price"]


async def list_prices(conn: Connection) -> list[ModelPrice]:
    """Return all prices, by model, the newest first."""
    return await fetch_all(
        conn,
        ModelPrice,
        """
        SELECT model, valid_from, input_usd, output_usd, cache_write_5m_usd, cache_write_1h_usd,
               cache_read_usd, known_on, note
        FROM model_prices
        ORDER BY model, valid_from DESC
        """,
    )


async def put_price(conn: Connection, price: ModelPrice) -> None:
    """Write a price, in place of one of the same model and time."""
    await execute(
        conn,
        """
        INSERT INTO model_prices (
            model, valid_from, input_usd, output_usd, cache_write_5m_usd, cache_write_1h_usd,
            cache_read_usd, known_on, note
        )
        VALUES (
            %(model)s, %(valid_from)s, %(input_usd)s, %(output_usd)s, %(cache_write_5m_usd)s,
            %(cache_write_1h_usd)s, %(cache_read_usd)s, %(known_on)s, %(note)s
        )
        ON CONFLICT (model, valid_from) DO UPDATE
        SET input_usd = excluded.input_usd,
            output_usd = excluded.output_usd,
            cache_write_5m_usd = excluded.cache_write_5m_usd,
            cache_write_1h_usd = excluded.cache_write_1h_usd,
            cache_read_usd = excluded.cache_read_usd,
            known_on = excluded.known_on,
            note = excluded.note
        """,
        {name: getattr(price, name) for name in ModelPrice.__slots__},
    )


async def list_priced_sessions(conn: Connection, price: ModelPrice) -> list[object]:
    """Return the ids of sessions with messages that this price may hold for, locked in order."""
    cursor = await conn.execute(
        """
        SELECT s.id
        FROM claude_sessions s
        WHERE EXISTS (
            SELECT FROM session_usage u
            WHERE u.session_id = s.id
              AND starts_with(u.model, %(model)s)
              AND u.at >= %(valid_from)s
        )
        ORDER BY s.id
        FOR UPDATE
        """,
        {"model": price.model, "valid_from": price.valid_from},
    )
    return [row[0] for row in await cursor.fetchall()]
