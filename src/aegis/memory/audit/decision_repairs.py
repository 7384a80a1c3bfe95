"""Decisions that wait for an outcome: asked about again, or closed as nobody knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.memory.audit.report import Example, Repaired, excerpt
from aegis.memory.store import audit as store
from aegis.memory.store import quarantine
from aegis.memory.store.audit_checks import checks_of
from aegis.security.audit.recording import audited, note

if TYPE_CHECKING:
    from collections.abc import Callable

    from aegis.db import Database

__all__ = ["REMIND_DAYS", "repair_decisions"]

#: In how many days a decision is due again.
REMIND_DAYS = 14
_BATCH = 500
_EXAMPLES = 5
_WHAT = {"remind": f"due again in {REMIND_DAYS} days", "close": "closed, the outcome is not known"}


async def repair_decisions(
    db: Database,
    way: str,
    *,
    namespace: str | None,
    dry_run: bool,
    seen: Callable[[int], object],
) -> Repaired:
    """Have decisions asked about again (`remind`), or ask no more (`close`).

    One that is closed stays pending, with a `resolved_at`; an outcome may still be recorded.
    """
    (check,) = checks_of("decisions_open")
    found, changed, after = 0, 0, 0
    examples: list[Example] = []
    while True:
        async with audited(db) as conn:
            count, ids, first = await store.find_rows(
                conn,
                check,
                namespace=namespace,
                limit=store.MOST_COUNTED if dry_run else _BATCH,
                after=after,
            )
            done = 0
            if not dry_run and ids:
                if way == "remind":
                    done = await quarantine.remind(conn, ids, days=REMIND_DAYS)
                else:
                    done = await quarantine.close(conn, ids)
                if done:
                    note(conn, "memory.repair", "check", check.kind, rows=done, way=way)
        found += count
        changed += done
        examples = (examples + first)[:_EXAMPLES]
        seen(changed)
        if dry_run or count < _BATCH:
            break
        after = ids[-1]
    return Repaired(
        kind=check.kind,
        way=way,
        dry_run=dry_run,
        rows=found if dry_run else changed,
        held=0 if dry_run else found - changed,
        examples=[
            Example(
                table=e.table,
                id=e.id,
                namespace=e.namespace,
                excerpt=f"{excerpt(e.excerpt)} → {_WHAT[way]}",
            )
            for e in examples
        ],
        undo=f"aegis memory quarantine restore --kind {check.kind} --yes" if changed else None,
    )
