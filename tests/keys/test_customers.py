"""Limits that all keys of a customer share: beside each key's own, all or nothing, exact."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.keys import Keys, Limit
from aegis.keys.headers import limit_headers, refuse
from tests.keys.test_processes import hammer
from tests.statements import rows

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database

MONTH_S = 31 * 86_400


async def pair(keys: Keys, **arguments: Any) -> tuple[str, str]:
    """Issue two keys of one customer."""
    arguments = {"tier": "enterprise", **arguments}
    return (await keys.issue("acme", **arguments)).key, (await keys.issue("acme", **arguments)).key


async def test_keys_of_a_customer_share_a_rate_and_others_do_not(keys: Keys) -> None:
    one, two = await pair(keys)
    stranger = (await keys.issue("other", tier="enterprise")).key
    await keys.customers.set("acme", rate_limit=3)
    codes = [(await keys.verify(key)).code for key in (one, two, one, two, one)]
    assert codes == ["VALID"] * 3 + ["RATE_LIMITED"] * 2
    assert (await keys.verify(stranger)).code == "VALID"
    found = await keys.verify(two)
    assert [(x.name, x.shared, x.exceeded) for x in found.limits] == [
        ("requests", False, False), ("customer", True, True)
    ]  # fmt: skip
    await keys.customers.set("acme", rate_limit=None)
    found = await keys.verify(two)
    assert found.code == "VALID"
    assert [x.name for x in found.limits] == ["requests"]


async def test_what_the_key_refuses_is_not_counted_of_the_customer(keys: Keys) -> None:
    one, two = await pair(keys, rate_limit=1)
    await keys.customers.set("acme", rate_limit=10, monthly_quota=10)
    assert (await keys.verify(one)).code == "VALID"
    for _ in range(3):
        assert (await keys.verify(one)).code == "RATE_LIMITED"
        keys._verifier.forget()
    found = await keys.verify(two)
    assert [x.remaining for x in found.limits] == [0, 8]
    assert found.customer_quota is not None
    assert found.customer_quota.remaining == 8


async def test_shared_quota_is_a_ceiling_over_the_keys_own(keys: Keys) -> None:
    one, two = await pair(keys, tier="pro", monthly_quota=3)
    await keys.customers.set("acme", monthly_quota=5)
    # The first key's overage is its own affair, until the customer's quota ends.
    assert [(await keys.verify(one)).code for _ in range(4)] == ["VALID"] * 4
    assert (await keys.verify(two)).code == "VALID"
    found = await keys.verify(two)
    assert found.code == "QUOTA_EXCEEDED"
    assert found.quota is not None
    assert found.customer_quota is not None
    assert (found.quota.exceeded, found.customer_quota.exceeded) == (False, True)
    assert (found.quota.remaining, found.customer_quota.remaining) == (2, 0)
    refusal = refuse(found, scope=None, now_s=0)
    assert json.loads(refusal.body)["violated-policies"] == ["customer-month"]
    assert b"The customer's quota" in refusal.body
    headers = dict(limit_headers(found, now_s=0))
    assert headers["X-RateLimit-Resource"] == "customer-month"
    assert '"customer-month";q=5;w=' in headers["RateLimit-Policy"]
    customer = await keys.customers.grant("acme", 2, note="as agreed")
    assert (customer.granted, customer.used, customer.remaining) == (7, 5, 2)
    assert (await keys.verify(two)).code == "VALID"
    kinds = [e.kind for e in await keys.customers.ledger("acme")]
    assert kinds == ["topup", "grant"]


async def test_named_limit_is_shared_where_the_call_says_so(keys: Keys) -> None:
    one, two = await pair(keys)
    shared = Limit(name="t", limit=5, window_s=MONTH_S, cost=3, shared=True)
    own = Limit(name="t2", limit=5, window_s=MONTH_S, cost=3)
    assert (await keys.verify(one, limits=[shared, own])).code == "VALID"
    found = await keys.verify(two, limits=[shared, own])
    assert found.code == "RATE_LIMITED"
    assert [(x.name, x.exceeded, x.shared) for x in found.limits] == [
        ("requests", False, False), ("t", True, True), ("t2", False, False)
    ]  # fmt: skip
    # All or nothing: the second key's own limit was not touched.
    assert (await keys.verify(two, limits=[own])).code == "VALID"
    await keys.customers.set("acme", limits={"t": {"limit": 100, "window_s": MONTH_S}})
    found = await keys.verify(two, limits=[shared])
    assert (found.code, found.limits[1].limit, found.limits[1].remaining) == ("VALID", 100, 94)


async def test_tightest_limit_is_named_in_headers(keys: Keys) -> None:
    one, _ = await pair(keys, rate_limit=100)
    await keys.customers.set("acme", rate_limit=10)
    found = await keys.verify(one, cost=5)
    headers = dict(limit_headers(found, now_s=0))
    assert headers["X-RateLimit-Resource"] == "customer"
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("10", "5")
    assert headers["RateLimit-Policy"] == '"requests";q=100;w=60, "customer";q=10;w=60'


async def test_new_quota_holds_for_this_month_and_never_below_what_was_used(keys: Keys) -> None:
    one, _ = await pair(keys)
    await keys.customers.set("acme", monthly_quota=10)
    await keys.verify(one, cost=6)
    with pytest.raises(InvalidInput, match="used 6 already; use 6 or more") as told:
        await keys.customers.set("acme", monthly_quota=5)
    assert told.value.code == "quota_below_used"
    assert (await keys.customers.get("acme")).monthly_quota == 10
    assert (await keys.customers.set("acme", monthly_quota=8)).remaining == 2
    entries = await keys.customers.ledger("acme")
    assert [(e.kind, e.amount) for e in entries] == [("adjust", -2), ("grant", 10)]
    assert (await keys.customers.set("acme", monthly_quota=None)).remaining is None
    assert (await keys.verify(one, cost=100)).code == "VALID"


async def test_month_that_ends_adds_up_to_nothing(keys: Keys, db: Database) -> None:
    one, _ = await pair(keys)
    await keys.customers.set("acme", monthly_quota=10)
    await keys.verify(one, cost=4)
    for table in ("api_customer_ledger", "api_customers"):
        await rows(db, f"UPDATE {table} SET period = period - interval '1 month'")
    assert (await keys.customers.get("acme")).remaining == 10
    found = await keys.verify(one)
    assert found.customer_quota is not None
    assert found.customer_quota.remaining == 9
    sums = await rows(
        db, "SELECT sum(amount) FROM api_customer_ledger GROUP BY period ORDER BY period"
    )
    assert sums == [(0,), (10,)]


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"rate_limit": 0}, {"rate_limit": -1}, {"rate_limit": True}, {"monthly_quota": -1},
        {"monthly_quota": 2**40}, {"limits": {"customer": {"limit": 1, "window_s": 1}}},
        {"limits": {"x": {"limit": 1, "window_s": 1, "shared": True}}}, {"colour": "red"},
    ],
)  # fmt: skip
async def test_limit_that_makes_no_sense_is_refused(keys: Keys, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await keys.customers.set("acme", **changes)
    with pytest.raises(NotFound):
        await keys.customers.get("acme")


async def test_customer_without_a_quota_has_none_to_top_up(keys: Keys) -> None:
    with pytest.raises(NotFound):
        await keys.customers.grant("acme", 5)
    await keys.customers.set("acme", rate_limit=5)
    with pytest.raises(Conflict, match="nothing to top up"):
        await keys.customers.grant("acme", 5)


async def test_several_keys_in_several_processes_admit_what_they_share_and_not_one_more(
    keys: Keys, db: Database, settings: Settings, dsn: str
) -> None:
    issued = [
        (await keys.issue("acme", tier="enterprise", rate_limit=1_000_000)).key for _ in range(6)
    ]
    await keys.customers.set("acme", monthly_quota=2500)
    limits = [{"name": "m", "limit": 2000, "window_s": MONTH_S, "shared": True}]
    codes, _ = hammer(settings, dsn, issued, 20, limits)
    assert codes == {"VALID": 2000, "RATE_LIMITED": 3 * 64 * 20 - 2000}
    customer = await keys.customers.get("acme")
    assert (customer.used, customer.remaining) == (2000, 500)
    codes, _ = hammer(settings, dsn, issued, 10, [])
    assert codes == {"VALID": 500, "QUOTA_EXCEEDED": 3 * 64 * 10 - 500}
    [(counted,)] = await rows(db, "SELECT used FROM api_customers")
    assert counted == 2500


@pytest.mark.servers("18", "16")
async def test_batches_in_any_order_never_wait_in_a_circle(
    keys: Keys, db: Database, dsn: str
) -> None:
    """Many connections ask about customers and keys in random orders, rotated keys among them."""
    secret = keys._vault.ensure()[-1]
    issued = [
        await keys.issue(f"customer {n % 4}", tier="enterprise", rate_limit=1_000_000)
        for n in range(12)
    ]
    for n in range(3):
        await keys.customers.set(f"customer {n}", rate_limit=1_000_000, monthly_quota=1_000_000)
    hashes = [secret.hash(one.key) for one in issued]
    for one in issued[::3]:
        hashes.append(secret.hash((await keys.rotate(one.record.id)).key))
    shuffled = random.Random(4)

    async def ask() -> int:
        admitted = 0
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
            await conn.execute("SET deadlock_timeout = '20ms'")
            for _ in range(40):
                chosen = shuffled.sample(hashes, 8)
                requests = [
                    {"number": n, "hashes": [text], "costs": [1],
                     **({"shared": True, "limits": [
                         {"name": "s", "limit": 10**6, "window_s": 60, "shared": True}
                     ]} if shuffled.random() < 0.3 else {})}
                    for n, text in enumerate(chosen)
                ]  # fmt: skip
                cursor = await conn.execute(
                    "SELECT codes FROM aegis_verify_calls(%s::jsonb, true)", (json.dumps(requests),)
                )
                codes = [code for (some,) in await cursor.fetchall() for code in some]
                assert codes == ["VALID"] * 8
                admitted += 8
        return admitted

    total = sum(await asyncio.gather(*(ask() for _ in range(6))))
    [(used,)] = await rows(db, "SELECT sum(used) FROM api_customers WHERE monthly_quota > 0")
    assert 0 < used <= total
