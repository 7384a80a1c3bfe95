"""What is planned, and in which order; when the window is open."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from aegis.ops.maintenance.models import IndexNeed, Needs, TableNeed
from aegis.ops.maintenance.planning import make_plan
from aegis.ops.maintenance.window import closes_at

NOW = datetime(2026, 5, 1, 2, 0, tzinfo=UTC)
MB = 1 << 20

TABLE = TableNeed(
    schema="public",
    name="t",
    size_bytes=100 * MB,
    live_rows=100_000,
    dead_rows=0,
    changed_rows=0,
    inserted_rows=0,
    freeze_age=0.1,
    vacuumed_at=NOW - timedelta(days=1),
    analyzed_at=NOW - timedelta(days=1),
    vectors=False,
    bloat=None,
)
INDEX = IndexNeed(
    schema="public",
    name="i",
    table="t",
    method="btree",
    valid=True,
    leftover=False,
    size_bytes=100 * MB,
    bloat=0.0,
    churn=0,
    live_rows=100_000,
    churn_before=0,
    rebuilt_at=None,
)


def tasks(*, tables: list[TableNeed] | None = None, indexes: list[IndexNeed] | None = None):
    plan = make_plan(Needs(tables=tables or [], indexes=indexes or []), now=NOW)
    return [(step.task, step.name) for step in plan]


def test_what_needs_nothing_is_left_alone() -> None:
    assert tasks(tables=[TABLE], indexes=[INDEX]) == []
    # Not even because a week and a month are over, where nothing was written.
    idle = replace(TABLE, vacuumed_at=NOW - timedelta(days=90))
    old = replace(INDEX, rebuilt_at=NOW - timedelta(days=90))
    assert tasks(tables=[idle], indexes=[old]) == []


@pytest.mark.parametrize(
    ("change", "task"),
    [
        ({"dead_rows": 50_000}, "vacuum"),
        ({"dead_rows": 999}, None),
        ({"dead_rows": 5_000}, None),
        ({"dead_rows": 5_000, "vacuumed_at": NOW - timedelta(days=8)}, "vacuum"),
        ({"inserted_rows": 5, "vacuumed_at": None}, "vacuum"),
        ({"freeze_age": 0.6}, "freeze"),
        ({"freeze_age": 0.6, "dead_rows": 50_000}, "freeze"),
        ({"changed_rows": 50_000}, "analyze"),
        ({"changed_rows": 900}, None),
        ({"analyzed_at": None}, "analyze"),
        ({"analyzed_at": None, "live_rows": 0}, None),
    ],
)
def test_tables_by_need(change: dict[str, object], task: str | None) -> None:
    assert tasks(tables=[replace(TABLE, **change)]) == ([] if task is None else [(task, "t")])  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("change", "task"),
    [
        ({"valid": False}, "reindex"),
        ({"valid": False, "leftover": True}, "drop-index"),
        # Its name alone makes no leftover: somebody may have called an index so.
        ({"valid": True, "leftover": True}, None),
        ({"valid": False, "size_bytes": 0}, "reindex"),
        ({"bloat": 0.4}, "reindex"),
        ({"bloat": 0.2}, "reindex"),
        ({"bloat": 0.2, "rebuilt_at": NOW - timedelta(days=3)}, None),
        ({"bloat": 0.2, "rebuilt_at": NOW - timedelta(days=31)}, "reindex"),
        ({"bloat": 0.05}, None),
        ({"bloat": 0.9, "size_bytes": MB}, None),
        ({"bloat": None}, None),
        ({"method": "hnsw", "bloat": None, "churn": 40_000}, "reindex"),
        ({"method": "hnsw", "bloat": None, "churn": 40_000, "churn_before": 30_000}, None),
        # Counters were reset: what they count now is what was replaced since.
        ({"method": "hnsw", "bloat": None, "churn": 40_000, "churn_before": 90_000}, "reindex"),
        ({"method": "gin", "bloat": None, "churn": 150_000}, "reindex"),
        ({"method": "gin", "bloat": None, "churn": 50_000}, None),
    ],
)
def test_indexes_by_need(change: dict[str, object], task: str | None) -> None:
    assert tasks(indexes=[replace(INDEX, **change)]) == ([] if task is None else [(task, "i")])  # pyright: ignore[reportArgumentType]


def test_the_most_urgent_comes_first_and_vectors_are_rebuilt_before_their_table_is_vacuumed() -> (
    None
):
    assert tasks(
        tables=[
            replace(TABLE, name="loaded", changed_rows=50_000),
            replace(TABLE, name="dead", dead_rows=60_000),
            replace(TABLE, name="vectors", dead_rows=60_000, vectors=True),
            replace(TABLE, name="old", freeze_age=0.9),
        ],
        indexes=[
            replace(INDEX, name="empty", bloat=0.5),
            replace(INDEX, name="hnsw", method="hnsw", bloat=None, churn=60_000),
            replace(INDEX, name="broken", valid=False),
            replace(INDEX, name="left_ccnew", valid=False, leftover=True),
        ],
    ) == [
        ("drop-index", "left_ccnew"),
        ("reindex", "broken"),
        ("freeze", "old"),
        ("reindex", "hnsw"),
        ("vacuum", "vectors"),
        ("vacuum", "dead"),
        ("analyze", "loaded"),
        ("reindex", "empty"),
    ]


@pytest.mark.parametrize(
    ("window", "now", "closes"),
    [
        ("01:00-05:00", "02:00", "05:00"),
        ("01:00-05:00", "01:00", "05:00"),
        ("01:00-05:00", "05:00", None),
        ("01:00-05:00", "00:59", None),
        ("23:00-02:00", "23:30", "02:00+1"),
        ("23:00-02:00", "01:59", "02:00"),
        ("23:00-02:00", "02:00", None),
        ("03:00-03:00", "02:59", "03:00"),
        ("always", "12:00", "12:00+1"),
    ],
)
def test_windows(window: str, now: str, closes: str | None) -> None:
    day = datetime(2026, 5, 1, tzinfo=UTC)

    def at(text: str) -> datetime:
        hours, _, days = text.partition("+")
        hour, minute = map(int, hours.split(":"))
        return day + timedelta(days=int(days or 0), hours=hour, minutes=minute)

    assert closes_at(window, at(now)) == (None if closes is None else at(closes))
