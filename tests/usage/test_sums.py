"""Sums are what their events add up to, whoever writes, changes and deletes them."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import InvalidInput
from aegis.usage.histogram import RELATIVE_ERROR, bucket_of, percentile
from aegis.usage.spans import add_months, choose, month_of, widen
from tests.statements import rows
from tests.usage.conftest import event

if TYPE_CHECKING:
    from aegis.db import Database
    from aegis.usage import Usage

INSERT = """
INSERT INTO api_usage_events (customer_id, endpoint, method, status_code, response_time_ms)
VALUES ('acme', '/x', 'GET', 200, 12), ('acme', '/x', 'GET', 404, NULL), ('b', '/x', 'GET', 200, 0)
"""


async def test_programs_that_write_the_table_themselves_are_counted(
    usage: Usage, db: Database
) -> None:
    await rows(db, INSERT)
    assert await rows(db, "SELECT sum(calls), sum(errors) FROM usage_daily") == [(3, 1)]
    await rows(db, "UPDATE api_usage_events SET tokens_used = 9, customer_id = 'c' WHERE "
                   "customer_id = 'b'")  # fmt: skip
    await rows(db, "DELETE FROM api_usage_events WHERE status_code = 404")
    found = "SELECT customer_id, calls, errors, tokens FROM usage_hourly WHERE calls > 0 ORDER BY 1"
    assert await rows(db, found) == [("acme", 1, 0, 0), ("c", 1, 0, 9)]
    assert (await usage.reconcile()).differences == []


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_sums_hold_under_any_interleaving_of_batches_retries_and_failures(
    usage: Usage, db: Database, seed: int
) -> None:
    rng = random.Random(seed)
    now = datetime.now(UTC)
    known = [
        event(
            f"e{n}",
            customer_id=rng.choice(["a", "b"]),
            endpoint=rng.choice(["/x", "/y"]),
            status_code=rng.choice([200, 500]),
            tokens_used=rng.randrange(100),
            cost_usd=str(Decimal(rng.randrange(10**6)) / 10**6),
            response_time_ms=rng.choice([None, 0, 1, rng.randrange(10_000)]),
            created_at=now - timedelta(hours=rng.randrange(34 * 24)),
        )
        for n in range(120)
    ]

    async def send(batch: list[Any]) -> None:
        work = asyncio.create_task(usage.record(batch))
        if rng.random() < 0.3:
            # The sender gives up somewhere in the middle, and does not know what became of it.
            await asyncio.sleep(rng.random() / 100)
            work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    for _ in range(3):
        batches = [rng.sample(known, rng.randrange(1, 40)) for _ in range(8)]
        await asyncio.gather(*(send(batch) for batch in batches))
        await rows(db, "SELECT 1")
    await usage.record(known)
    for table in ("usage_hourly", "usage_daily"):
        [sums] = await rows(db, f"SELECT sum(calls), sum(tokens), sum(cost_usd) FROM {table}")
        assert sums == (
            120,
            sum(e["tokens_used"] for e in known),
            sum(Decimal(e["cost_usd"]) for e in known),
        )
    assert (await usage.reconcile()).differences == []


async def test_reconcile_names_what_differs_and_puts_it_right(usage: Usage, db: Database) -> None:
    await rows(db, INSERT)
    await rows(db, "UPDATE usage_daily SET calls = calls + 1 WHERE customer_id = 'b'")
    await rows(db, "UPDATE usage_hourly SET response_histogram = '{7}' WHERE customer_id = 'acme'")
    await rows(db, "DELETE FROM usage_hourly WHERE customer_id = 'b'")
    found = await usage.reconcile()
    assert [(d.table, d.customer_id, d.calls, d.calls_of_events) for d in found.differences] == [
        ("usage_hourly", "acme", 2, 2),
        ("usage_hourly", "b", 0, 1),
        ("usage_daily", "b", 2, 1),
    ]
    assert (found.events, found.fixed) == (3, False)
    assert (await usage.reconcile(month_of(datetime.now(UTC)), fix=True)).fixed
    assert (await usage.reconcile()).differences == []
    with pytest.raises(InvalidInput, match="month is"):
        await usage.reconcile(month_of(datetime.now(UTC)).replace(year=1999))


async def test_questions_are_answered_by_time_and_group(usage: Usage) -> None:
    day = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=2)
    await usage.record(
        [
            event("a", created_at=day, response_time_ms=100, cost_usd="1"),
            event("b", created_at=day + timedelta(hours=1), response_time_ms=300),
            event("c", created_at=day + timedelta(hours=1), endpoint="/other", status_code=500),
            event("d", created_at=day, customer_id="big", tokens_used=5),
        ]
    )
    hours = await usage.show(since=day, until=day + timedelta(hours=2), customer_id="acme")
    assert (hours.granularity, [(i.at, i.calls) for i in hours.items]) == (
        "hour",
        [(day, 1), (day + timedelta(hours=1), 2)],
    )
    by_endpoint = await usage.show(group="endpoint", granularity="all")
    assert {(i.group, i.calls) for i in by_endpoint.items} == {
        ("GET /v1/things/{id}", 3),
        ("GET /other", 1),
    }
    one = (await usage.show(granularity="all", customer_id="acme")).items[0]
    assert (one.mean_ms, one.errors) == (200, 1)
    assert one.p50_ms == pytest.approx(100, rel=RELATIVE_ERROR)
    assert one.p99_ms == pytest.approx(300, rel=RELATIVE_ERROR)
    top = await usage.top(limit=1)
    assert [(i.group, i.calls) for i in top.items] == [("acme", 3)]
    by_tokens = await usage.top(order="tokens")
    assert [i.group for i in by_tokens.items] == ["big", "acme"]
    assert (await usage.show(endpoint="/nothing")).items == []
    with pytest.raises(InvalidInput, match="since is"):
        await usage.show(since=day, until=day)
    with pytest.raises(InvalidInput, match="granularity is"):
        await usage.show(granularity="week")  # pyright: ignore[reportArgumentType]


async def test_pages_of_events_miss_none_and_repeat_none(usage: Usage) -> None:
    at = datetime.now(UTC)
    await usage.record([event(f"e{n}", created_at=at) for n in range(7)])
    seen: list[int] = []
    before = None
    while page := await usage.events(limit=3, before=before):
        seen += [e.id for e in page]
        before = (page[-1].created_at, page[-1].id)
    assert seen == sorted(set(seen), reverse=True)
    assert len(seen) == 7


async def test_the_database_and_this_code_count_in_the_same_buckets(db: Database) -> None:
    times = [*range(-2, 2000), *(10**n + d for n in range(4, 9) for d in (-1, 0, 1)), 2**31 - 1]
    found = await rows(
        db, "SELECT aegis_usage_bucket(t) FROM unnest(%s::int[]) WITH ORDINALITY AS u (t, n) "
            "ORDER BY n", times,
    )  # fmt: skip
    assert [bucket for (bucket,) in found] == [bucket_of(t) for t in times]


@given(st.lists(st.integers(0, 600_000), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_within_its_error(times: list[int], share: float) -> None:
    import math

    counts = [0] * max(bucket_of(t) for t in times)
    for t in times:
        counts[bucket_of(t) - 1] += 1
    exact = sorted(times)[max(math.ceil(share * len(times)), 1) - 1]
    found = percentile(counts, share)
    assert found is not None
    assert abs(found - exact) <= exact * RELATIVE_ERROR * (1 + 1e-9)


def test_no_calls_have_no_percentile() -> None:
    assert percentile([], 0.5) is None
    assert percentile([0, 0], 0.5) is None


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.timedeltas(timedelta(seconds=1), timedelta(days=400)),
    st.sampled_from(["hour", "day"]),
)
def test_a_span_is_widened_and_never_cut(at: datetime, span: timedelta, unit: Any) -> None:
    since, until = widen(at, at + span, unit)
    step = timedelta(hours=1) if unit == "hour" else timedelta(days=1)
    assert at - step < since <= at
    assert at + span <= until < at + span + step
    assert (until - since) % step == timedelta(0)


def test_months_and_granularity() -> None:
    at = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
    assert add_months(month_of(at), 1).isoformat() == "2026-02-01"
    assert add_months(month_of(at), -13).isoformat() == "2024-12-01"
    assert [choose(at, at + timedelta(days=d)) for d in (3, 4, 93, 94)] == [
        "hour", "day", "day", "month",
    ]  # fmt: skip
