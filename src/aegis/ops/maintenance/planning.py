"""What to do, in which order, from what was found. Pure: no database, no clock of its own.

Need comes first, the calendar second: a table without dead rows is not vacuumed because a week is
over, unless something was written to it since.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from aegis.ops.maintenance.models import Step

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.ops.maintenance.models import IndexNeed, Needs, TableNeed

__all__ = ["Rules", "full_step", "make_plan"]

_MB: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """From when on something needs to be done."""

    #: Dead rows: so many at least, and this share.
    dead_rows: int = 1_000
    dead_share: float = 0.1
    #: Rows changed since the last ANALYZE; a bulk load is more at once.
    changed_rows: int = 1_000
    changed_share: float = 0.1
    #: Share of autovacuum_freeze_max_age.
    freeze_age: float = 0.5
    vacuum_every: timedelta = timedelta(days=7)
    reindex_every: timedelta = timedelta(days=30)
    #: A B-tree is rebuilt for this share of waste, or once a month for the smaller one.
    bloat: float = 0.3
    monthly_bloat: float = 0.1
    #: Smaller indexes are not worth it.
    least_index_bytes: int = 8 * _MB
    #: An index of vectors is rebuilt when so many rows were replaced, as a share of the table.
    vector_churn: float = 0.3


def make_plan(needs: Needs, *, now: datetime, rules: Rules | None = None) -> list[Step]:
    """Return the steps, the most urgent first.

    Invalid indexes come first, then tables that must be frozen. An index of vectors is rebuilt
    before its table is vacuumed: VACUUM repairs the graph node by node, which takes far longer
    than building it anew.
    """
    rules = rules or Rules()
    steps: list[Step] = []
    for index in needs.indexes:
        step = _index_step(index, now, rules)
        if step is not None:
            steps.append(step)
    for table in needs.tables:
        step = _table_step(table, now, rules)
        if step is not None:
            steps.append(step)
    return sorted(steps, key=lambda s: (-s.urgency, s.object))


def full_step(table: TableNeed, *, reason: str) -> Step:
    """Return the step that rewrites a table; somebody asked for it."""
    return Step(
        task="vacuum-full",
        schema=table.schema,
        name=table.name,
        reason=reason,
        urgency=0,
        size_bytes=table.size_bytes,
    )


def _index_step(index: IndexNeed, now: datetime, rules: Rules) -> Step | None:
    found = _index_need(index, now, rules)
    if found is None:
        return None
    reason, urgency = found
    return Step(
        task="drop-index" if index.leftover and not index.valid else "reindex",
        schema=index.schema,
        name=index.name,
        reason=reason,
        urgency=urgency,
        size_bytes=index.size_bytes,
        churn=index.churn,
    )


def _index_need(index: IndexNeed, now: datetime, rules: Rules) -> tuple[str, float] | None:
    if not index.valid:
        if index.leftover:
            return "left behind by a REINDEX that did not end", 1_001
        return "invalid: its build did not end", 1_000
    if index.size_bytes < rules.least_index_bytes:
        return None
    if index.method in ("hnsw", "ivfflat"):
        replaced = _replaced(index) / max(index.live_rows, 1)
        if replaced >= rules.vector_churn:
            return f"{replaced:.0%} of its vectors were replaced", 500 + min(replaced, 9)
        return None
    due = index.rebuilt_at is None or now - index.rebuilt_at >= rules.reindex_every
    if index.bloat is None:
        # Of other methods nothing is known but that rows were replaced.
        replaced = _replaced(index) / max(index.live_rows, 1)
        if due and index.method != "btree" and replaced >= 1:
            return f"monthly; {replaced:.0%} of its rows were replaced", 10
        return None
    if index.bloat >= rules.bloat:
        return f"about {index.bloat:.0%} empty", 100 + index.bloat
    if due and index.bloat >= rules.monthly_bloat:
        return f"monthly; about {index.bloat:.0%} empty", 10 + index.bloat
    return None


def _replaced(index: IndexNeed) -> int:
    """Return rows replaced since the last rebuild; counters may have begun anew meanwhile."""
    before = index.churn_before
    if before is None or before > index.churn:
        return index.churn
    return index.churn - before


def _table_step(table: TableNeed, now: datetime, rules: Rules) -> Step | None:
    if table.freeze_age >= rules.freeze_age:
        reason = f"{table.freeze_age:.0%} of autovacuum_freeze_max_age"
        return _step(table, "freeze", reason, 900 + table.freeze_age)
    dead = table.dead_rows / max(table.live_rows + table.dead_rows, 1)
    if table.dead_rows >= rules.dead_rows and dead >= rules.dead_share:
        # Of vectors, dead rows cost recall as well as time.
        urgency = 400 + 50 * table.vectors + dead
        return _step(table, "vacuum", f"{table.dead_rows:,} dead rows ({dead:.0%})", urgency)
    changed = table.changed_rows / max(table.live_rows, 1)
    never = table.analyzed_at is None and table.live_rows > 0
    bulk = table.changed_rows >= rules.changed_rows and changed >= rules.changed_share
    stale = table.vacuumed_at is None or now - table.vacuumed_at >= rules.vacuum_every
    written = table.dead_rows > 0 or table.inserted_rows > 0
    if stale and written and table.live_rows + table.dead_rows >= rules.changed_rows:
        since = "never" if table.vacuumed_at is None else f"on {table.vacuumed_at:%Y-%m-%d}"
        return _step(table, "vacuum", f"weekly; last {since}", 50 + changed)
    if never:
        return _step(table, "analyze", "never analyzed", 300)
    if bulk:
        reason = f"{table.changed_rows:,} rows changed since ANALYZE ({changed:.0%})"
        return _step(table, "analyze", reason, 200 + min(changed, 9))
    return None


def _step(table: TableNeed, task: str, reason: str, urgency: float) -> Step:
    return Step(
        task="freeze" if task == "freeze" else "vacuum" if task == "vacuum" else "analyze",
        schema=table.schema,
        name=table.name,
        reason=reason,
        urgency=urgency,
        size_bytes=table.size_bytes,
    )
