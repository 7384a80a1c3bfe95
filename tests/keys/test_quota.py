"""The ledger of quota: grants, resets, roll-overs, top-ups, overage."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aegis.errors import Conflict, InvalidInput, NotFound
from tests.statements import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.db import Database
    from aegis.keys import Keys

NOBODY = "00000000-0000-4000-8000-000000000000"


async def sums(db: Database) -> dict[str, int]:
    """Return what each month of the one key's ledger adds up to."""
    found = await rows(
        db, "SELECT to_char(period, 'YYYY-MM'), sum(amount)::int FROM api_quota_ledger GROUP BY 1"
    )
    return dict(found)


async def kinds(keys: Keys, key_id: str) -> list[tuple[str, int]]:
    return [(e.kind, e.amount) for e in reversed(await keys.quota.ledger(key_id))]


async def back(db: Database, months: int = 1) -> None:
    """Let the month that is open have begun some months earlier."""
    await rows(db, f"UPDATE api_quota_ledger SET period = period - interval '{months} month'")
    await rows(db, f"UPDATE api_key_meters SET period = period - interval '{months} month'")


async def test_month_is_granted_once_at_the_first_call(keys: Keys) -> None:
    issued = await keys.issue("acme", monthly_quota=100)
    key_id = issued.record.id
    assert await keys.quota.ledger(key_id) == []
    assert (await keys.quota.balance(key_id)).remaining == 100
    await asyncio.gather(*(keys.verify(issued.key) for _ in range(30)))
    assert await kinds(keys, key_id) == [("grant", 100)]
    balance = await keys.quota.balance(key_id)
    assert (balance.granted, balance.used, balance.remaining) == (100, 30, 70)


async def test_next_month_closes_the_one_before_to_nothing(keys: Keys, db: Database) -> None:
    issued = await keys.issue("acme", monthly_quota=100)
    await keys.verify(issued.key, cost=30)
    await back(db)
    assert (await keys.quota.balance(issued.record.id)).remaining == 100
    await keys.verify(issued.key, cost=5)
    assert await kinds(keys, issued.record.id) == [
        ("grant", 100), ("usage", -30), ("reset", -70), ("grant", 100),
    ]  # fmt: skip
    assert sorted((await sums(db)).values()) == [0, 100]


@pytest.mark.parametrize(
    ("most", "months", "carried"), [(50, 1, 50), (1000, 1, 70), (1000, 3, 270), (120, 3, 120)]
)
async def test_unused_quota_is_carried_over_up_to_the_tier_s_limit(
    keys: Keys, db: Database, most: int, months: int, carried: int
) -> None:
    await keys.tiers.set("pro", rollover_limit=most)
    issued = await keys.issue("acme", tier="pro", monthly_quota=100)
    await keys.verify(issued.key, cost=30)
    await back(db, months)
    expected = await keys.quota.balance(issued.record.id)
    await keys.verify(issued.key, cost=0)
    assert ("rollover", carried) in await kinds(keys, issued.record.id)
    balance = await keys.quota.balance(issued.record.id)
    assert balance == expected
    assert balance.remaining == 100 + carried


async def test_overage_is_one_row_that_grows_and_only_where_the_tier_allows_it(
    keys: Keys, db: Database
) -> None:
    issued = await keys.issue("acme", tier="pro", monthly_quota=10)
    for cost in (8, 5, 1):
        found = await keys.verify(issued.key, cost=cost)
        assert found.valid
    assert await kinds(keys, issued.record.id) == [("grant", 10), ("overage", 4)]
    assert found.quota is not None
    assert (found.quota.remaining, found.quota.overage) == (0, 4)
    # What was topped up later does not pay for what was accepted above.
    balance = await keys.quota.grant(issued.record.id, 5, note="paid")
    assert (balance.remaining, balance.overage) == (5, 4)
    await keys.tiers.set("pro", overage_allowed=False)
    assert (await keys.verify(issued.key, cost=6)).code == "QUOTA_EXCEEDED"
    assert (await keys.verify(issued.key, cost=5)).code == "VALID"
    await back(db)
    await keys.verify(issued.key)
    assert sorted((await sums(db)).values()) == [0, 10]


async def test_top_up_before_the_first_call_opens_the_month(keys: Keys) -> None:
    issued = await keys.issue("acme", monthly_quota=1)
    balance = await keys.quota.grant(issued.record.id, 4)
    assert (balance.granted, balance.remaining) == (5, 5)
    assert (await keys.verify(issued.key, cost=5)).valid


async def test_refused_key_is_admitted_right_after_its_top_up(keys: Keys) -> None:
    issued = await keys.issue("acme", monthly_quota=0)
    assert (await keys.verify(issued.key)).code == "QUOTA_EXCEEDED"
    await keys.quota.grant(issued.record.id, 1)
    assert (await keys.verify(issued.key)).code == "VALID"


async def test_new_quota_is_an_adjustment_and_never_a_second_grant(keys: Keys) -> None:
    issued = await keys.issue("acme", monthly_quota=100)
    key_id = issued.record.id
    await keys.verify(issued.key, cost=40)
    await keys.update(key_id, monthly_quota=60)
    await keys.update(key_id, monthly_quota=60)
    await keys.update(key_id, tier="developer", monthly_quota=None)
    assert await kinds(keys, key_id) == [("grant", 100), ("adjust", -40), ("adjust", 49_940)]
    assert (await keys.quota.balance(key_id)).remaining == 49_960


async def test_quota_below_what_was_used_is_refused_and_changes_nothing(keys: Keys) -> None:
    issued = await keys.issue("acme", tier="developer", rate_limit=100_000)
    key_id = issued.record.id
    await keys.verify(issued.key, cost=1500)
    for change in ({"monthly_quota": 1499}, {"tier": "free"}):
        with pytest.raises(InvalidInput, match=r"1,500 already; use 1,500 or more") as told:
            await keys.update(key_id, **change)
        assert told.value.code == "quota_below_used"
    record = await keys.get(key_id)
    assert (record.tier, record.monthly_quota) == ("developer", None)
    assert await kinds(keys, key_id) == [("grant", 50_000)]
    await keys.update(key_id, monthly_quota=1500)
    assert (await keys.verify(issued.key)).code == "QUOTA_EXCEEDED"


async def test_tier_s_new_quota_leaves_months_alone_that_have_begun(keys: Keys) -> None:
    begun, fresh = await keys.issue("a"), await keys.issue("b")
    await keys.verify(begun.key)
    await keys.tiers.set("free", monthly_quota=5)
    assert (await keys.quota.balance(begun.record.id)).granted == 1000
    assert (await keys.quota.balance(fresh.record.id)).granted == 5


async def test_key_without_a_quota_has_no_ledger(keys: Keys) -> None:
    issued = await keys.issue("acme", tier="enterprise")
    found = await keys.verify(issued.key)
    assert (found.valid, found.quota) == (True, None)
    assert (await keys.quota.balance(issued.record.id)).remaining is None
    with pytest.raises(Conflict) as told:
        await keys.quota.grant(issued.record.id, 5)
    assert told.value.code == "key_without_quota"


async def test_clock_that_is_set_back_over_the_end_of_a_month_grants_nothing_again(
    keys: Keys, db: Database
) -> None:
    issued = await keys.issue("acme", tier="pro", monthly_quota=10)
    await keys.verify(issued.key, cost=6)
    await back(db, -1)
    for cost in (4, 3):
        assert (await keys.verify(issued.key, cost=cost)).valid
    assert await kinds(keys, issued.record.id) == [("grant", 10), ("overage", 3)]
    # The month comes once more, and goes on where it was.
    await back(db, 1)
    assert (await keys.verify(issued.key, cost=1)).valid
    assert await kinds(keys, issued.record.id) == [("grant", 10), ("overage", 4)]


@pytest.mark.parametrize("amount", [0, -1, 1.5, True, 2**31, "5"])
async def test_top_up_that_makes_no_sense_is_refused(keys: Keys, amount: Any) -> None:
    issued = await keys.issue("acme")
    with pytest.raises(InvalidInput, match="amount is"):
        await keys.quota.grant(issued.record.id, amount)


@pytest.mark.parametrize("key_id", [NOBODY, "nobody", "", "x" * 999, "'; DROP TABLE api_keys"])
async def test_unknown_key_has_no_quota(keys: Keys, key_id: str) -> None:
    for call in (
        keys.quota.balance(key_id),
        keys.quota.ledger(key_id),
        keys.quota.grant(key_id, 1),
    ):
        with pytest.raises(NotFound):
            await call


@pytest.fixture(scope="module")
def plain(cluster: Any, template: str) -> Iterator[psycopg.Connection[Any]]:
    with cluster.database(template) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.lists(st.integers(0, 40), min_size=1, max_size=4)),
        st.tuples(st.just("topup"), st.integers(1, 50)),
        st.tuples(st.just("overage"), st.booleans()),
        # Below 0 for a clock that was set back over the end of a month.
        st.tuples(st.just("month"), st.integers(-2, 3)),
        st.tuples(st.just("kill"), st.integers(0, 40)),
    ),
    max_size=25,
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@given(st.integers(0, 100), st.none() | st.integers(0, 150), st.integers(0, 60), OPERATIONS)
def test_ledger_never_goes_below_nothing_without_a_row_of_overage(
    plain: psycopg.Connection[Any],
    quota: int,
    shared: int | None,
    rollover: int,
    operations: list[tuple[str, Any]],
) -> None:
    for table in ("api_quota_ledger", "api_keys", "api_customer_ledger", "api_customers"):
        plain.execute(f"DELETE FROM {table}".encode())
    if shared is not None:
        plain.execute(
            "INSERT INTO api_customers (customer_id, monthly_quota) VALUES ('c', %s)", (shared,)
        )
    plain.execute("UPDATE api_tiers SET rollover_limit = %s WHERE name = 'pro'", (rollover,))
    plain.execute(
        "INSERT INTO api_keys (customer_id, key_hash, key_prefix, tier, rate_limit, monthly_quota)"
        " VALUES ('c', 'h', 'p', 'pro', 1000000, %s)",
        (quota,),
    )
    plain.execute("INSERT INTO api_key_meters (api_key_id) SELECT id FROM api_keys")
    accepted = 0
    for what, value in operations:
        if what == "call":
            accepted += _call(plain, value)
        elif what == "kill":
            # The process dies between the answer and the commit: nothing was spent.
            with plain.transaction(force_rollback=True):
                _call(plain, [value])
        elif what == "topup":
            _top_up(plain, value)
        elif what == "overage":
            plain.execute("UPDATE api_tiers SET overage_allowed = %s WHERE name = 'pro'", (value,))
        else:
            _shift(plain, value)
    _check_books(plain, accepted)
    if shared is not None:
        _check_shared(plain, shared, accepted)


def _shift(plain: psycopg.Connection[Any], by: int) -> None:
    """Let all months be so many months earlier."""
    # Far away and back: row by row, one month would meet the next.
    for months in (by + 1_200, -1_200):
        for table in (
            "api_quota_ledger", "api_key_meters", "api_customer_ledger", "api_customers"
        ):  # fmt: skip
            shift = f"UPDATE {table} SET period = period - make_interval(months => %s)"
            plain.execute(shift.encode(), (months,))


def _call(plain: psycopg.Connection[Any], costs: list[int]) -> int:
    """Return what was accepted of calls that came together."""
    row = plain.execute(
        "SELECT codes FROM aegis_verify_calls(jsonb_build_array(jsonb_build_object("
        "'number', 0, 'hashes', ARRAY['h'], 'costs', %s::bigint[])), false)",
        (costs,),
    ).fetchone()
    assert row is not None
    assert set(row[0]) <= {"VALID", "QUOTA_EXCEEDED"}
    return sum(c for c, code in zip(costs, row[0], strict=True) if code == "VALID")


def _top_up(plain: psycopg.Connection[Any], amount: int) -> None:
    plain.execute(
        "WITH changed AS (UPDATE api_key_meters SET granted = granted + %s WHERE period IS NOT NULL"
        " RETURNING api_key_id, period) INSERT INTO api_quota_ledger (api_key_id, period, kind,"
        " amount) SELECT api_key_id, period, 'topup', %s FROM changed",
        (amount, amount),
    )


def _check_books(plain: psycopg.Connection[Any], accepted: int) -> None:
    found = plain.execute(
        "SELECT l.period = m.period, sum(l.amount)::int,"
        " -coalesce(sum(l.amount) FILTER (WHERE l.kind = 'usage'), 0)::int,"
        " coalesce(sum(l.amount) FILTER (WHERE l.kind = 'overage'), 0)::int,"
        " m.granted, m.used, m.overage"
        " FROM api_quota_ledger l JOIN api_key_meters m USING (api_key_id)"
        " GROUP BY l.period, m.period, m.granted, m.used, m.overage"
    ).fetchall()
    billed = 0
    for is_open, total, usage, overage, granted, used, over in found:
        if is_open:
            assert total == granted + over
            assert overage == over
            assert total - used >= 0
            billed += used
        else:
            assert total == 0
            billed += usage
    assert billed == accepted


def _check_shared(plain: psycopg.Connection[Any], shared: int, accepted: int) -> None:
    """Hold that no month of the customer took more than all keys may, and that all is in it."""
    found = plain.execute(
        "SELECT l.period = c.period, sum(l.amount)::int,"
        " -coalesce(sum(l.amount) FILTER (WHERE l.kind = 'usage'), 0)::int, c.granted, c.used"
        " FROM api_customer_ledger l JOIN api_customers c USING (customer_id)"
        " GROUP BY l.period, c.period, c.granted, c.used"
    ).fetchall()
    counted = 0
    for is_open, total, usage, granted, used in found:
        spent = used if is_open else usage
        assert total == (granted if is_open else 0)
        assert 0 <= spent <= shared
        counted += spent
    assert counted == accepted
