"""What happened between two readings: resets, crashes, growth, regressions. No database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from aegis.ops.stats.candidates import candidates, scans
from aegis.ops.stats.deltas import between, slope_per_day
from aegis.ops.stats.history import intervals, regressions
from aegis.ops.stats.models import Counters
from aegis.ops.stats.statements import Kept

T0 = datetime(2026, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
BASE = Counters(
    taken_at=T0,
    server_started_at=T0 - timedelta(days=9),
    stats_reset_at=None,
    statements_reset_at=None,
    database_bytes=1,
    connections=1,
    heap_hit=100,
    heap_read=10,
    index_hit=100,
    index_read=10,
    commits=5,
    rollbacks=1,
    deadlocks=0,
    temp_bytes=0,
    checksum_failures=0,
)


def kept(hours: float, calls: int, total_ms: float, *, query_id: int = 1, reset: int = 0) -> Kept:
    return Kept(
        query_id=query_id,
        query="SELECT $1",
        taken_at=T0 + hours * HOUR,
        statements_reset_at=T0 - timedelta(days=9) + reset * HOUR,
        calls=calls,
        total_ms=total_ms,
        rows=calls,
        blocks_hit=0,
        blocks_read=0,
    )


def test_an_interval_is_the_difference() -> None:
    now = replace(BASE, taken_at=T0 + HOUR, heap_hit=300, deadlocks=2)
    found = between(BASE, now)
    assert (found.whole, found.since, found.heap_hit, found.deadlocks) == (True, T0, 200, 2)


def test_counters_that_began_anew_are_what_is_known_since() -> None:
    reset_at = T0 + HOUR / 2
    now = replace(BASE, taken_at=T0 + HOUR, heap_hit=7, stats_reset_at=reset_at)
    found = between(BASE, now)
    assert (found.whole, found.since, found.heap_hit) == (False, reset_at, 7)
    # A crash loses counters without a reset.
    lost = between(BASE, replace(now, stats_reset_at=None))
    assert (lost.whole, lost.heap_hit) == (False, 7)


@given(st.lists(st.integers(0, 10**12), min_size=2, max_size=2), st.booleans())
def test_an_interval_is_never_negative(values: list[int], reset: bool) -> None:
    before = replace(BASE, commits=values[0])
    now = replace(
        BASE,
        taken_at=T0 + HOUR,
        commits=values[1],
        stats_reset_at=T0 + HOUR / 2 if reset else None,
    )
    assert 0 <= between(before, now).commits <= values[1]


def test_statements_are_counted_over_a_reset() -> None:
    readings = [kept(0, 100, 1_000), kept(1, 150, 1_500), kept(2, 20, 100, reset=5)]
    (found,) = intervals(readings, since=T0 + HOUR / 2, begun_at=T0)
    assert (found.calls, found.total_ms) == (70, 600)
    # An eviction by pg_stat_statements is a reset of one statement.
    (found,) = intervals([kept(0, 100, 1_000), kept(1, 30, 60)], since=T0 + HOUR / 2, begun_at=T0)
    assert (found.calls, found.mean_ms) == (30, 2)


def test_a_statement_that_is_new_began_with_nothing_and_one_that_was_there_did_not() -> None:
    late = [kept(1, 50, 500)]
    (found,) = intervals(late, since=T0 + HOUR / 2, begun_at=T0)
    assert found.calls == 50
    assert intervals([kept(0, 50, 500)], since=T0, begun_at=T0) == []


def test_what_became_slower_is_pointed_out_and_what_is_only_busier_is_not() -> None:
    slower = [kept(0, 0, 0), kept(24, 1_000, 10_000), kept(30, 1_100, 15_000)]
    busier = [
        kept(0, 0, 0, query_id=2),
        kept(24, 1_000, 10_000, query_id=2),
        kept(30, 9_000, 90_000, query_id=2),
    ]
    rare = [
        kept(0, 0, 0, query_id=3),
        kept(24, 1_000, 10_000, query_id=3),
        kept(30, 1_005, 99_000, query_id=3),
    ]
    (found,) = regressions(
        [*slower, *busier, *rare], since=T0 + 25 * HOUR, begun_at=T0, ratio=2, least_ms=1
    )
    assert (found.query_id, found.before_ms, found.mean_ms, found.ratio) == (1, 10, 50, 5)


def test_growth_is_the_middle_of_all_slopes() -> None:
    points = [(T0 + n * 24 * HOUR, 1_000.0 + 100 * n) for n in range(10)]
    assert slope_per_day(points) == 100
    # One bulk load does not change the forecast of all days to come.
    jump = [(at, value + (50_000 if n > 6 else 0)) for n, (at, value) in enumerate(points)]
    slope = slope_per_day(jump)
    assert slope is not None
    assert slope < 9_000
    assert slope_per_day(points[:2]) is None
    assert slope_per_day([(T0 + n * HOUR, 1.0) for n in range(9)]) is None
    many = [(T0 + n * HOUR, float(n)) for n in range(5_000)]
    slope = slope_per_day(many)
    assert slope is not None
    assert round(slope, 6) == 24


def test_columns_that_an_index_may_have() -> None:
    columns = ["customer_id", "at", "kind", "Odd Name"]
    assert candidates("(t.customer_id = $1)", columns) == [("customer_id",)]
    assert candidates("((at >= $1) AND ((kind)::text = $2))", columns) == [
        ("kind",),
        ("at",),
        ("kind", "at"),
    ]
    assert candidates('("Odd Name" IS NULL)', columns) == [("Odd Name",)]
    # Nothing that a B-tree serves, and nothing that is no column.
    assert candidates("((kind)::text ~~ $1)", columns) == []
    assert candidates("(lower(other) = $1)", columns) == []


def test_scans_are_found_at_any_depth() -> None:
    scan = {
        "Node Type": "Seq Scan",
        "Relation Name": "t",
        "Schema": "s",
        "Filter": "(a = 1)",
    }
    plan = {"Node Type": "Sort", "Plans": [{"Node Type": "Nested Loop", "Plans": [scan]}]}
    assert [(s.schema, s.table) for s in scans(plan)] == [("s", "t")]
    assert list(scans({"Node Type": "Seq Scan", "Relation Name": "t"})) == []
