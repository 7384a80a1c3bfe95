"""Room that is taken and not used, as estimated from statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.ops.health.looking import check, rows, size
from aegis.ops.health.models import Limits, Seen
from aegis.ops.stats.bloat import INDEX_BLOAT, TABLE_BLOAT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.ops.health.models import Ask

__all__ = ["CHECKS"]


@check(
    "index-bloat",
    "indexes",
    "Bloated indexes",
    means="Empty pages are read and cached with the rest.",
    advice="`aegis maintenance run` rebuilds them beside themselves; writers go on.",
    limits=Limits(warning=100, critical=None, least=30),
    unit="MB wasted",
    least_of="waste in per cent",
)
async def index_bloat(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Estimate what B-trees waste."""
    found = await rows(conn, INDEX_BLOAT, {"pages": 1_280})
    seen: list[Seen] = []
    for name, table, taken, needed in found:
        wasted = max(0, taken - needed)
        if 100 * wasted < ask.limits.least * taken:
            continue
        seen.append(
            Seen(
                object=name,
                observed=f"about {size(wasted)} of {size(taken)} wasted, on {table}",
                value=wasted / (1 << 20),
                fix=f"REINDEX INDEX CONCURRENTLY {name};",
            )
        )
    return seen


@check(
    "table-bloat",
    "vacuum",
    "Bloated tables",
    means="Most of the table is empty; whole reads and the cache pay for it.",
    advice="VACUUM makes the room usable again; only VACUUM FULL, which locks the table, gives it "
    "back (`aegis maintenance run --full TABLE`).",
    limits=Limits(warning=70, least=20),
    unit="% wasted",
    least_of="MB wasted",
)
async def table_bloat(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Estimate what tables waste."""
    found = await rows(conn, TABLE_BLOAT, {"pages": 2_560})
    seen: list[Seen] = []
    for name, taken, needed in found:
        wasted = max(0, taken - needed)
        if wasted < ask.limits.least * (1 << 20):
            continue
        seen.append(
            Seen(
                object=name,
                observed=f"about {size(wasted)} of {size(taken)} wasted",
                value=100 * wasted / taken,
                fix=f"aegis maintenance run --full {name}",
            )
        )
    return seen


CHECKS = (index_bloat, table_bloat)
