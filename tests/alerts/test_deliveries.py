"""Messages: at least once, grouped, storms held back, retried, dead ones visible."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aegis.alerts.service import Alerts
from aegis.alerts.work import Deliveries
from aegis.db import fetch_value
from aegis.db.lease import listen
from aegis.errors import ConfigError, InvalidInput, NotFound, Unavailable
from tests.alerts.conftest import Bench, bad, good

if TYPE_CHECKING:
    from aegis.alerts.addresses import Address
    from aegis.alerts.message import Message
    from aegis.config import Settings
    from aegis.db import Database

DOWN = Unavailable("Channel 'ops' cannot be reached.", code="alert_channel_unavailable")


async def fire(bench: Bench, *names: str, state: str = "warning") -> None:
    await bench.see(*(bad(name, state, hold_s=0.0) for name in names))


async def test_what_fires_together_is_one_message_with_the_worst_first(bench: Bench) -> None:
    await fire(bench, *(f"c{number:02}" for number in range(30)))
    await fire(bench, "disk", state="critical")
    (subject,) = await bench.deliver()
    assert subject == "[box] CRITICAL: disk is bad (and 30 more)"
    (_, message) = bench.receiver.got[0]
    assert len(message.entries) == 31
    assert message.body.startswith("CRITICAL  disk is bad\n  since     ")
    assert "… and 11 more: aegis alerts list" in message.body


async def test_storm_comes_as_one_message_and_loses_nothing(bench: Bench) -> None:
    for number in range(60):
        await bench.see(bad(f"c{number}", hold_s=0.0, group=f"g{number}"))
    subjects = await bench.deliver()
    assert len(subjects) == 21
    told = {entry["condition"] for _, m in bench.receiver.got for entry in m.entries}
    assert told == {f"c{number}" for number in range(60)}


async def test_receiver_down_for_an_hour_gets_everything_once(bench: Bench) -> None:
    bench.receiver.error = DOWN
    for number in range(5):
        await fire(bench, f"c{number}")
        await bench.deliver()
    await bench.see(good("c0"))
    bench.clock.pass_(3_600)
    await bench.see(good("c0"))
    bench.receiver.error = None
    await bench.deliver()
    told = [(e["condition"], e["kind"]) for _, m in bench.receiver.got for e in m.entries]
    assert sorted(told) == sorted(
        [*((f"c{number}", "fired") for number in range(5)), ("c0", "recovered")]
    )
    (channel,) = await bench.alerts.channels.list()
    assert (channel.failures, channel.last_error) == (0, None)


async def test_attempts_share_a_delivery_id_and_pause_longer_each_time(
    bench: Bench, db: Database
) -> None:
    ids: list[str] = []

    async def fails(_: Address, message: Message) -> None:
        ids.append(message.delivery_id)
        raise DOWN

    bench.deliveries._send = fails
    await fire(bench, "c")
    pauses: list[float] = []
    for _ in range(4):
        await bench.deliver()
        async with db.transaction() as conn:
            pauses.append(
                await fetch_value(
                    conn,
                    "SELECT extract(epoch FROM next_at - now())::float8 FROM alert_deliveries",
                )
            )
    assert len(ids) == 4
    assert len(set(ids)) == 1
    assert [round(pause / 5) for pause in pauses] == [1, 2, 4, 8]
    (waiting,) = await bench.alerts.channels.deliveries(states=["pending"])
    assert waiting.last_error == DOWN.message


async def test_refused_message_is_dead_after_a_while_and_can_be_tried_again(bench: Bench) -> None:
    bench.receiver.error = ConfigError("Channel 'ops' refuses it (HTTP 404).")
    await fire(bench, "c")
    for _ in range(6):
        await bench.deliver()
    (dead,) = await bench.alerts.channels.deliveries(states=["dead"])
    assert dead.attempts == 6
    bench.receiver.error = None
    assert await bench.deliver() == []
    assert await bench.alerts.channels.retry(channel="another") == 0
    assert await bench.alerts.channels.retry(dead.id) == 1
    assert len(await bench.deliver()) == 1
    assert await bench.alerts.channels.retry() == 0
    # It has arrived: that is no message to be sent again.
    for number in (dead.id, dead.id + 1):
        with pytest.raises(NotFound):
            await bench.alerts.channels.retry(number)
    for number in (0, 2**63):
        with pytest.raises(InvalidInput):
            await bench.alerts.channels.retry(number)


async def test_channel_that_fails_is_told_over_the_others(bench: Bench) -> None:
    bench.receiver.error = DOWN
    await fire(bench, "c")
    for _ in range(4):
        await bench.deliver()
    assert (await bench.alerts.check_channels()).fired == []
    await bench.deliver()
    await bench.alerts.check_channels()
    bench.clock.pass_(60)
    assert len((await bench.alerts.check_channels()).fired) == 1
    bench.receiver.error = None
    await bench.deliver()
    assert any("channel ops do not arrive" in subject for subject in bench.receiver.subjects)
    await bench.alerts.check_channels()
    bench.clock.pass_(120)
    assert len((await bench.alerts.check_channels()).recovered) == 1


async def test_what_was_claimed_once_is_not_added_to(bench: Bench) -> None:
    bench.receiver.error = DOWN
    await fire(bench, "first")
    await bench.deliver()
    await fire(bench, "second")
    assert len(await bench.alerts.channels.deliveries(states=["pending"])) == 2


async def test_sender_that_was_taken_for_dead_changes_nothing(bench: Bench, db: Database) -> None:
    await fire(bench, "c")
    async with db.transaction() as conn:
        await conn.execute("UPDATE alert_deliveries SET next_at = now()")
    (slow,) = await bench.deliveries.claim("slow", limit=5, lease_s=60)
    assert await bench.deliveries.claim("other", limit=5, lease_s=60) == []
    async with db.transaction() as conn:
        await conn.execute("UPDATE alert_deliveries SET lease_until = now() - interval '1 s'")
    (again,) = await bench.deliveries.claim("other", limit=5, lease_s=60)
    assert again.token > slow.token
    assert await bench.deliveries.renew([slow, again], lease_s=60) == {again.id}
    await bench.deliveries.run(slow)
    assert bench.receiver.got == []
    await bench.deliveries.run(again)
    assert len(bench.receiver.got) == 1
    assert await bench.deliveries.next_due() is None


async def test_released_message_is_due_at_once_and_its_attempt_not_counted(bench: Bench) -> None:
    await bench.alerts.channels.test()
    claims = await bench.deliveries.claim("a", limit=5, lease_s=60)
    async with aclosing(listen(bench.db)) as told, asyncio.timeout(30):
        assert await anext(told) is None
        await bench.deliveries.release(claims)
        # Workers sleep until the lease would have run out.
        assert await anext(told) == bench.deliveries.name
    assert await bench.deliveries.next_due() == 0
    (waiting,) = await bench.alerts.channels.deliveries()
    assert waiting.attempts == 0


async def test_two_senders_send_each_message_once(bench: Bench, settings: Settings) -> None:
    for number in range(40):
        await bench.alerts.channels.test("ops", by=str(number))
    other = Deliveries(bench.db, bench.alerts.channels, send=bench.receiver)
    await asyncio.gather(bench.deliveries.deliver(), other.deliver())
    ids = [message.delivery_id for _, message in bench.receiver.got]
    assert len(ids) == len(set(ids)) == 40


async def test_process_without_the_address_leaves_the_message_alone(
    bench: Bench, settings: Settings
) -> None:
    await fire(bench, "c")
    stranger = Deliveries(bench.db, Alerts(bench.db, settings).channels, send=bench.receiver)
    assert await stranger.deliver() == 0
    assert await stranger.next_due() is None
    assert len(await bench.deliver()) == 1


async def test_quiet_channel_hears_what_is_critical_at_once_and_the_rest_in_the_morning(
    bench: Bench,
) -> None:
    quiet = replace(bench.settings, alert_channels="ops=https://a.example#quiet=22:00-07:00")
    await Alerts(bench.db, quiet).channels.announce()
    bench.clock.now = bench.clock.now.replace(hour=23, minute=30)
    await fire(bench, "later")
    (waits,) = await bench.alerts.channels.deliveries()
    assert (waits.next_at.hour, waits.next_at.minute) == (7, 0)
    assert waits.next_at > bench.clock.now
    await bench.see(bad("now", "critical", hold_s=0.0, group="other"))
    critical = (await bench.alerts.channels.deliveries())[0]
    assert (critical.next_at - bench.clock.now).total_seconds() < 10


async def test_test_message_of_a_channel_that_is_not_there(bench: Bench) -> None:
    with pytest.raises(NotFound):
        await bench.alerts.channels.test("nobody")
