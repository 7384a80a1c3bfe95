"""SQL of tokens and costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.db import execute

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from aegis.db import Connection
    from aegis.sessions.models import Message

__all__ = ["add_usage", "sum_usage"]


async def add_usage(conn: Connection, row_id: UUID, messages: Sequence[Message]) -> int:
    """Add messages to a session's usage and return how many rows were added or grew.

    A message that another session holds with the same time is that one's: a session that is
    resumed or forked under a new name begins with a copy of the old one's lines.
    """
    return await execute(
        conn,
        """
        INSERT INTO session_usage AS u (
            session_id, message_key, at, model, input_tokens, output_tokens,
            cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens
        )
        SELECT
            %(id)s,
            n.key,
            n.at,
            n.model,
            n.input,
            n.output,
            n.write_5m,
            n.write_1h,
            n.read
        FROM unnest(
            %(keys)s::text[],
            %(times)s::timestamptz[],
            %(models)s::text[],
            %(input)s::bigint[],
            %(output)s::bigint[],
            %(write_5m)s::bigint[],
            %(write_1h)s::bigint[],
            %(read)s::bigint[]
        ) AS n (key, at, model, input, output, write_5m, write_1h, read)
        WHERE NOT EXISTS (
            SELECT
            FROM session_usage o
            WHERE o.message_key = n.key
              AND o.at = n.at
              AND o.session_id <> %(id)s
        )
        ORDER BY n.key
        ON CONFLICT (session_id, message_key) DO UPDATE
        SET at = least(u.at, excluded.at),
            input_tokens = greatest(u.input_tokens, excluded.input_tokens),
            output_tokens = greatest(u.output_tokens, excluded.output_tokens),
            cache_write_5m_tokens =
                greatest(u.cache_write_5m_tokens, excluded.cache_write_5m_tokens),
            cache_write_1h_tokens =
                greatest(u.cache_write_1h_tokens, excluded.cache_write_1h_tokens),
            cache_read_tokens = greatest(u.cache_read_tokens, excluded.cache_read_tokens)
        WHERE excluded.output_tokens > u.output_tokens
           OR excluded.input_tokens > u.input_tokens
           OR excluded.cache_read_tokens > u.cache_read_tokens
        """,
        {
            "id": row_id,
            "keys": [m.key for m in messages],
            "times": [m.at for m in messages],
            "models": [m.model for m in messages],
            "input": [m.input_tokens for m in messages],
            "output": [m.output_tokens for m in messages],
            "write_5m": [m.cache_write_5m_tokens for m in messages],
            "write_1h": [m.cache_write_1h_tokens for m in messages],
            "read": [m.cache_read_tokens for m in messages],
        },
    )


async def sum_usage(conn: Connection, row_id: UUID) -> None:
    """Work out a session's tokens and cost anew, from its messages and the prices at their times.

    A price holds for the models whose names begin with its own; the longest, then the latest wins.
    """
    await execute(
        conn,
        """
        WITH priced AS (
            SELECT
                u.*,
                (
                    u.input_tokens * p.input_usd
                    + u.output_tokens * p.output_usd
                    + u.cache_write_5m_tokens * p.cache_write_5m_usd
                    + u.cache_write_1h_tokens * p.cache_write_1h_usd
                    + u.cache_read_tokens * p.cache_read_usd
                ) / 1000000 AS usd
            FROM session_usage u
            LEFT JOIN LATERAL (
                SELECT m.*
                FROM model_prices m
                WHERE starts_with(u.model, m.model)
                  AND m.valid_from <= u.at
                ORDER BY length(m.model) DESC, m.valid_from DESC
                LIMIT 1
            ) AS p ON true
            WHERE u.session_id = %(id)s
        ), totals AS (
            SELECT
                coalesce(sum(input_tokens), 0) AS input,
                coalesce(sum(output_tokens), 0) AS output,
                coalesce(sum(cache_write_5m_tokens + cache_write_1h_tokens), 0) AS written,
                coalesce(sum(cache_read_tokens), 0) AS read,
                sum(usd) AS usd,
                count(*) FILTER (WHERE usd IS NULL) AS unpriced
            FROM priced
        )
        UPDATE claude_sessions s
        SET input_tokens = t.input,
            output_tokens = t.output,
            cache_write_tokens = t.written,
            cache_read_tokens = t.read,
            cost_usd = t.usd,
            unpriced_messages = t.unpriced
        FROM totals t
        WHERE s.id = %(id)s
        """,
        {"id": row_id},
    )
