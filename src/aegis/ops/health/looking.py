"""What the checks are written with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from aegis.ops.health.models import Check, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from psycopg.sql import SQL, Composed

    from aegis.db import Connection
    from aegis.ops.health.models import Group, Run

__all__ = ["check", "megabytes", "rows", "seconds", "size", "value"]


def check(
    id: str,
    group: Group,
    title: str,
    *,
    means: str,
    advice: str,
    limits: Limits | None = None,
    unit: str = "",
    least_of: str = "",
    below: bool = False,
    fine: str = "none",
) -> Callable[[Run], Check]:
    """Make a check of the function that looks."""

    def make(run: Run) -> Check:
        return Check(
            id=id,
            group=group,
            title=title,
            means=means,
            advice=advice,
            run=run,
            limits=limits or Limits(),
            unit=unit,
            least_of=least_of,
            below=below,
            fine=fine,
        )

    return make


async def rows(
    conn: Connection,
    sql: LiteralString | SQL | Composed,
    params: Mapping[str, Any] | None = None,
) -> list[Any]:
    """Return the rows of a statement."""
    cursor = await conn.execute(sql, params)
    return await cursor.fetchall()


async def value(
    conn: Connection,
    sql: LiteralString | SQL | Composed,
    params: Mapping[str, Any] | None = None,
) -> Any:
    """Return the first column of the first row, None without one."""
    found = await rows(conn, sql, params)
    return found[0][0] if found else None


def size(count: float) -> str:
    """Return bytes as people read them."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1024:
            return f"{count:,.0f} {unit}" if unit in ("B", "kB") else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TB"


def megabytes(count: float) -> float:
    """Return bytes as mebibytes."""
    return count / (1 << 20)


def seconds(count: float) -> str:
    """Return a span as people read it: `12 s`, `5 min`, `3.2 h`, `4.0 d`."""
    if count < 120:
        return f"{count:,.0f} s"
    if count < 7_200:
        return f"{count / 60:,.0f} min"
    if count < 172_800:
        return f"{count / 3_600:,.1f} h"
    return f"{count / 86_400:,.1f} d"
