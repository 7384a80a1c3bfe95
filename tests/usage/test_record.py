"""Events that other services report: each counted once, or refused by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import InvalidInput
from tests.statements import rows
from tests.usage.conftest import event

if TYPE_CHECKING:
    from aegis.db import Database
    from aegis.keys import Keys
    from aegis.usage import Usage

NOBODY = "00000000-0000-4000-8000-000000000000"


async def test_an_event_is_in_the_table_and_in_both_sums(usage: Usage, db: Database) -> None:
    at = datetime.now(UTC) - timedelta(days=1)
    found = await usage.record(
        [
            event("a", response_time_ms=10, tokens_used=7, cost_usd="0.25", created_at=at),
            event("b", response_time_ms=30, status_code=500, created_at=at.isoformat()),
        ]
    )
    assert (found.recorded, found.duplicates, found.rejected) == (2, 0, [])
    for table in ("usage_hourly", "usage_daily"):
        sums = "calls, errors, tokens, cost_usd, response_ms_sum, response_histogram"
        [row] = await rows(db, f"SELECT {sums} FROM {table}")
        assert row[:5] == (2, 1, 7, Decimal("0.250000"), 40)
        assert sum(row[5]) == 2
    [stored] = await usage.events(limit=1)
    assert (stored.event_id, stored.source, stored.endpoint) == ("b", "events", "/v1/things/{id}")
    assert stored.created_at == at


async def test_nothing_is_counted_twice(usage: Usage, db: Database) -> None:
    batch = [event("a"), event("b"), event("a", tokens_used=5)]
    first = await usage.record(batch)
    assert (first.recorded, first.duplicates) == (2, 1)
    again = await usage.record([*batch, event("a", customer_id="other")])
    # Another customer's `a` is another event.
    assert (again.recorded, again.duplicates) == (1, 3)
    assert await rows(db, "SELECT sum(calls), sum(tokens) FROM usage_daily") == [(3, 0)]
    assert await rows(db, "SELECT count(*) FROM api_usage_events") == [(3,)]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"event_id": None}, "event_id is missing"),
        ({"event_id": "x" * 201}, "event_id is"),
        ({"customer_id": None}, "customer_id and api_key_id are missing"),
        ({"customer_id": "a\x00b"}, "customer_id is"),
        ({"api_key_id": NOBODY}, "there is no such key"),
        ({"api_key_id": "x"}, "api_key_id is 'x'"),
        ({"endpoint": ""}, "endpoint is"),
        ({"endpoint": "/" * 201}, "endpoint is"),
        ({"method": "get"}, "method is 'get'"),
        ({"status_code": 99}, "status_code is 99"),
        ({"status_code": True}, "status_code is True"),
        ({"tokens_used": -1}, "tokens_used is -1"),
        ({"tokens_used": 2**31}, "tokens_used is"),
        ({"response_time_ms": -1}, "response_time_ms is -1"),
        ({"cost_usd": "-0.01"}, "cost_usd is '-0.01'"),
        ({"cost_usd": "NaN"}, "cost_usd is 'NaN'"),
        ({"cost_usd": "1e999999"}, "cost_usd is"),
        ({"cost_usd": "10000"}, "cost_usd is '10000'"),
        ({"cost_usd": "0.0000001"}, "cost_usd is '0.0000001'"),
        ({"created_at": "yesterday"}, "created_at is 'yesterday'"),
        ({"created_at": "2026-05-01T00:00:00"}, "with a zone"),
        ({"created_at": "0001-01-01T00:00:00+14:00"}, "created_at is"),
        ({"price": 1}, "'price' is no field"),
    ],
)
async def test_a_value_that_cannot_be_accepted_is_named(
    usage: Usage, db: Database, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInput, match="Nothing was recorded") as refused:
        await usage.record([event("good"), event(**({"event_id": "bad"} | fields))])
    assert f"line 2: {said}" in refused.value.message or said in refused.value.message
    assert refused.value.code == "events_refused"
    assert "line 1" not in refused.value.message
    assert await rows(db, "SELECT count(*) FROM api_usage_events") == [(0,)]


async def test_late_and_future_events_are_accepted_within_their_limits(usage: Usage) -> None:
    now = datetime.now(UTC)
    good = [
        event("late", created_at=now - timedelta(days=34, hours=23)),
        event("early", created_at=now + timedelta(minutes=4)),
    ]
    assert (await usage.record(good)).recorded == 2
    for created_at, said in (
        (now - timedelta(days=35, minutes=1), "more than 35 days ago"),
        (now + timedelta(minutes=6), "in the future"),
    ):
        with pytest.raises(InvalidInput, match=said):
            await usage.record([event("x", created_at=created_at)])


async def test_every_bad_line_is_named_or_skipped_when_asked(usage: Usage, db: Database) -> None:
    batch = [event(f"e{n}", **({"tokens_used": -n} if n % 2 else {})) for n in range(60)]
    with pytest.raises(InvalidInput) as refused:
        await usage.record(batch)
    for line in range(2, 61, 2):
        assert f"line {line}:" in refused.value.message or f" {line}" in refused.value.message
    found = await usage.record(batch, partial=True)
    assert (found.recorded, len(found.rejected)) == (30, 30)
    assert [r.line for r in found.rejected] == list(range(2, 61, 2))
    assert found.rejected[0].event_id == "e1"
    assert await rows(db, "SELECT sum(calls) FROM usage_daily") == [(30,)]


async def test_an_event_belongs_to_the_customer_of_its_key(usage: Usage, keys: Keys) -> None:
    key = (await keys.issue("acme")).record.id
    with pytest.raises(InvalidInput, match="is another customer's"):
        await usage.record([event("x", customer_id="evil", api_key_id=key)])
    told = event("y", api_key_id=key)
    del told["customer_id"]
    assert (await usage.record([told])).recorded == 1
    [stored] = await usage.events()
    assert (stored.customer_id, stored.api_key_id) == ("acme", key)


async def test_a_reporter_of_one_customer_reports_for_nobody_else(usage: Usage) -> None:
    with pytest.raises(InvalidInput, match="reports for 'acme' alone"):
        await usage.record([event("x", customer_id="other")], customer_id="acme")


@pytest.mark.parametrize("batch", [[], "text", [event()] * 10_001, ["text"], [None]])
async def test_what_is_no_batch_is_refused(usage: Usage, batch: Any) -> None:
    with pytest.raises(InvalidInput):
        await usage.record(batch)
