"""SQL over `embedding_models`: which model is asked, which one is changed to, what calls cost."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, LiteralString

from aegis.db import execute, fetch_all, fetch_optional, fetch_value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection

__all__ = [
    "MODEL_STATES",
    "EmbeddingModel",
    "ModelState",
    "add_usage",
    "beside_state",
    "claim_active",
    "end_beside",
    "forget_beside",
    "hand_over",
    "list_carried",
    "list_models",
    "list_used",
    "lock_models",
    "register",
    "seconds_since_change",
    "set_mixed",
    "set_paused",
    "set_state",
]

ModelState = Literal["active", "filling", "standby", "retired"]
MODEL_STATES: tuple[ModelState, ...] = ("active", "filling", "standby", "retired")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingModel:
    """One embedding model of a database."""

    model: str
    dimensions: int
    #: Where it runs: `builtin`, `openai` (any compatible endpoint) or `custom`.
    provider: str
    state: ModelState
    #: Whether the work on its change is held up.
    paused: bool
    #: Whether rows may carry its vectors though it is not the active one.
    mixed: bool
    #: Whether its vectors of all episodes stand beside them, and are searched there.
    beside: bool
    usd_per_million_tokens: Decimal | None
    calls: int
    texts: int
    tokens: int
    cost_usd: Decimal
    failures: int
    last_error: str | None
    last_used_at: datetime | None
    created_at: datetime
    changed_at: datetime


_COLUMNS: LiteralString = """
    m.model,
    m.dimensions,
    m.provider,
    m.state,
    m.paused,
    m.mixed,
    coalesce(m.beside_until = 'infinity', false) AS beside,
    m.usd_per_million_tokens,
    m.calls,
    m.texts,
    m.tokens,
    m.cost_usd,
    m.failures,
    m.last_error,
    m.last_used_at,
    m.created_at,
    m.changed_at
"""


async def list_used(conn: Connection) -> list[EmbeddingModel]:
    """Return the active model and the one that it is changed to or from: two rows at most."""
    return await fetch_all(
        conn,
        EmbeddingModel,
        "SELECT " + _COLUMNS + "FROM embedding_models m WHERE m.state <> 'retired'",
    )


async def list_models(conn: Connection) -> list[EmbeddingModel]:
    """Return all models, those in use first."""
    return await fetch_all(
        conn,
        EmbeddingModel,
        "SELECT "
        + _COLUMNS
        + """
        FROM embedding_models m
        ORDER BY array_position(ARRAY['active', 'filling', 'standby', 'retired'], m.state),
                 m.created_at DESC,
                 m.model
        """,
    )


async def list_carried(conn: Connection) -> list[tuple[str | None, int, int]]:
    """Return (model, episodes, facts) that carry its vector; reads both tables."""
    cursor = await conn.execute(
        """
        SELECT c.model, sum(c.episodes)::bigint, sum(c.facts)::bigint
        FROM (
            SELECT e.embedding_model AS model, count(*) AS episodes, 0 AS facts
            FROM episodic_memory e
            WHERE e.embedding IS NOT NULL
            GROUP BY e.embedding_model
            UNION ALL
            SELECT f.embedding_model, 0, count(*)
            FROM semantic_memory f
            WHERE f.embedding IS NOT NULL
            GROUP BY f.embedding_model
        ) AS c
        GROUP BY c.model
        """
    )
    return [(row[0], row[1], row[2]) for row in await cursor.fetchall()]


async def lock_models(conn: Connection) -> list[EmbeddingModel]:
    """Return the models in use; nobody else changes any until the transaction ends."""
    await execute(conn, "LOCK TABLE embedding_models IN SHARE ROW EXCLUSIVE MODE")
    return await list_used(conn)


async def claim_active(conn: Connection, model: str, *, dimensions: int, provider: str) -> None:
    """Make the model the active one where there is none."""
    await execute(
        conn,
        """
        INSERT INTO embedding_models (model, dimensions, provider, state)
        SELECT %(model)s, %(dimensions)s, %(provider)s, 'active'
        WHERE NOT EXISTS (SELECT FROM embedding_models WHERE state = 'active')
        ON CONFLICT DO NOTHING
        """,
        {"model": model, "dimensions": dimensions, "provider": provider},
    )


async def hand_over(conn: Connection, model: str, *, dimensions: int, provider: str) -> bool:
    """Make `model` active instead of one that no row carries and that is not being changed."""
    models = await lock_models(conn)
    active = next((m for m in models if m.state == "active"), None)
    if active is None or len(models) > 1:
        return False
    carried: bool = await fetch_value(
        conn,
        """
        SELECT EXISTS (SELECT FROM episodic_memory WHERE embedding_model = %(model)s)
            OR EXISTS (SELECT FROM semantic_memory WHERE embedding_model = %(model)s)
        """,
        {"model": active.model},
    )
    if carried:
        return False
    await set_state(conn, active.model, "retired")
    await register(conn, model, dimensions=dimensions, provider=provider, state="active")
    return True


async def register(
    conn: Connection, model: str, *, dimensions: int, provider: str, state: ModelState
) -> None:
    """Give the model a state, whether it is known already or not; its counters stay."""
    await execute(
        conn,
        """
        INSERT INTO embedding_models AS m (model, dimensions, provider, state)
        VALUES (%(model)s, %(dimensions)s, %(provider)s, %(state)s)
        ON CONFLICT (model) DO UPDATE
        SET dimensions = excluded.dimensions,
            provider = excluded.provider,
            state = excluded.state,
            paused = false,
            mixed = false,
            beside_until = NULL,
            changed_at = now()
        """,
        {"model": model, "dimensions": dimensions, "provider": provider, "state": state},
    )


async def set_state(
    conn: Connection,
    model: str,
    state: ModelState,
    *,
    paused: bool = False,
    mixed: bool = False,
    beside: bool = False,
) -> None:
    """Set what the model is for, as of now; `beside`: its vectors are searched beside the rows."""
    await execute(
        conn,
        """
        UPDATE embedding_models
        SET state = %(state)s,
            paused = %(paused)s,
            mixed = %(mixed)s,
            beside_until = CASE WHEN %(beside)s THEN timestamptz 'infinity' END,
            changed_at = clock_timestamp()
        WHERE model = %(model)s
        """,
        {"model": model, "state": state, "paused": paused, "mixed": mixed, "beside": beside},
    )


async def set_paused(conn: Connection, *, paused: bool) -> EmbeddingModel | None:
    """Hold the change up or let it go on; None where there is none."""
    return await fetch_optional(
        conn,
        EmbeddingModel,
        """
        UPDATE embedding_models AS m
        SET paused = %(paused)s
        WHERE m.state IN ('filling', 'standby')
        RETURNING
        """
        + _COLUMNS,
        {"paused": paused},
    )


async def set_mixed(conn: Connection, model: str, *, mixed: bool) -> None:
    """Say whether rows may carry this model, which is not the active one."""
    await execute(
        conn,
        """
        UPDATE embedding_models
        SET mixed = %(mixed)s
        WHERE model = %(model)s
          AND state IN ('filling', 'standby')
        """,
        {"model": model, "mixed": mixed},
    )


async def end_beside(conn: Connection, model: str, *, after_s: float) -> None:
    """Have the model's vectors searched in the rows alone; new ones are copied a while longer.

    Some processes go on searching beside the rows until they look at the registry again.
    """
    await execute(
        conn,
        """
        UPDATE embedding_models
        SET beside_until = clock_timestamp() + make_interval(secs => %(after_s)s)
        WHERE model = %(model)s
          AND beside_until = 'infinity'
        """,
        {"model": model, "after_s": after_s},
    )


async def beside_state(conn: Connection, model: str) -> Literal["searched", "over"] | None:
    """Return whether the model's vectors beside rows that carry them may be searched by anybody."""
    return await fetch_value(
        conn,
        """
        SELECT CASE WHEN m.beside_until > clock_timestamp() THEN 'searched'
                    WHEN m.beside_until IS NOT NULL THEN 'over'
               END
        FROM embedding_models m
        WHERE m.model = %(model)s
        """,
        {"model": model},
    )


async def forget_beside(conn: Connection, model: str) -> None:
    """Say that no vectors of the model are left beside rows that carry them."""
    await execute(
        conn,
        """
        UPDATE embedding_models
        SET beside_until = NULL
        WHERE model = %(model)s
          AND beside_until <= clock_timestamp()
        """,
        {"model": model},
    )


async def seconds_since_change(conn: Connection, model: str) -> float:
    """Return for how long the model has been in its state, by the server's clock."""
    return await fetch_value(
        conn,
        """
        SELECT extract(epoch FROM clock_timestamp() - m.changed_at)::float8
        FROM embedding_models m
        WHERE m.model = %(model)s
        """,
        {"model": model},
    )


async def add_usage(conn: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Add calls to the counters of known models; `usd_per_million_tokens` is their price now."""
    for row in rows:
        await execute(
            conn,
            """
            UPDATE embedding_models
            SET calls = calls + %(calls)s,
                texts = texts + %(texts)s,
                tokens = tokens + %(tokens)s,
                cost_usd = cost_usd + coalesce(
                    %(tokens)s * %(usd_per_million_tokens)s::numeric / 1000000, 0
                ),
                usd_per_million_tokens = coalesce(
                    %(usd_per_million_tokens)s::numeric, usd_per_million_tokens
                ),
                provider = %(provider)s,
                failures = failures + %(failures)s,
                last_error = coalesce(%(last_error)s, last_error),
                last_used_at = now()
            WHERE model = %(model)s
            """,
            row,
        )
