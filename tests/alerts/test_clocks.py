"""Alerts and messages where the clock was far ahead for a while, and is right again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.alerts.conftest import bad, good
from tests.alerts.test_observing import fire

if TYPE_CHECKING:
    from tests.alerts.conftest import Bench


async def test_message_of_a_clock_far_ahead_is_sent_all_the_same(bench: Bench) -> None:
    await fire(bench)
    async with bench.db.transaction() as conn:
        await conn.execute(
            "UPDATE alert_deliveries SET next_at = now() + INTERVAL '1 year', "
            "lease_until = now() + INTERVAL '1 year', lease_owner = 'gone'"
        )
    assert await bench.deliveries.deliver() == 1
    assert len(bench.receiver.got) == 1
    assert await bench.deliveries.deliver() == 0


async def test_alert_that_recovered_by_a_clock_far_ahead_is_over_by_the_right_one(
    bench: Bench,
) -> None:
    fired = await fire(bench)
    bench.clock.pass_(86_400 * 365)
    await bench.see(good(), lasting=True)
    bench.clock.pass_(-86_400 * 365)
    await bench.see(good(), lasting=True)
    bench.clock.pass_(120)
    await bench.see(good(), lasting=True)
    alert = await bench.alerts.get(fired)
    assert (alert.state, alert.resolved_at) == ("resolved", bench.clock.now)


async def test_condition_that_began_by_a_clock_far_ahead_fires_by_the_right_one(
    bench: Bench,
) -> None:
    bench.clock.pass_(86_400 * 365)
    await bench.see(bad())
    bench.clock.pass_(-86_400 * 365)
    assert (await bench.see(bad())).fired == []
    bench.clock.pass_(60)
    assert len((await bench.see(bad())).fired) == 1
