"""SQL of plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg import errors as pg
from psycopg.types.json import Jsonb

from aegis.billing.models import Plan
from aegis.db import fetch_all, fetch_one
from aegis.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from aegis.db import Connection

__all__ = ["insert_plan", "list_plans"]

_COLUMNS: Final = "p.name, p.version, p.valid_from, p.terms, p.created_at"


async def insert_plan(
    conn: Connection, *, name: str, valid_from: date, terms: Mapping[str, Any]
) -> Plan:
    """Add the next version of a plan (`Conflict`: one begins on that day already)."""
    try:
        return await fetch_one(
            conn,
            Plan,
            "INSERT INTO billing_plans AS p (name, version, valid_from, terms) "
            "SELECT %(name)s, coalesce(max(b.version), 0) + 1, %(valid_from)s, %(terms)s "
            "FROM billing_plans b WHERE b.name = %(name)s RETURNING " + _COLUMNS,
            {"name": name, "valid_from": valid_from, "terms": Jsonb(terms)},
            missing=f"Plan {name} was not added.",
        )
    except pg.UniqueViolation:
        raise Conflict(
            f"Plan {name} has a version from {valid_from} already, and a version never changes; "
            "let the new one begin on another day.",
            code="plan_exists",
        ) from None


async def list_plans(conn: Connection, *, name: str | None = None) -> list[Plan]:
    """Return the versions of all plans, or of one: by name, the newest first."""
    return await fetch_all(
        conn,
        Plan,
        "SELECT "
        + _COLUMNS
        + """
        FROM billing_plans p
        WHERE %(name)s::text IS NULL
           OR p.name = %(name)s
        ORDER BY p.name, p.valid_from DESC
        """,
        {"name": name},
    )
