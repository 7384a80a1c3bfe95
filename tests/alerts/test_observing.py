"""Conditions become alerts: held, fired once, not flapping, silenced, escalated, over."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from aegis.alerts.models import Condition, Rule
from aegis.alerts.service import Alerts
from aegis.db import Database, fetch_value
from aegis.errors import Conflict, InvalidInput, NotFound, Unavailable
from tests.alerts.conftest import bad, good

if TYPE_CHECKING:
    from tests.alerts.conftest import Bench

pytestmark = pytest.mark.servers("18", "16")


async def value(db: Database, query: Any) -> Any:
    async with db.transaction() as conn:
        return await fetch_value(conn, query)


async def fire(bench: Bench, *conditions: Condition) -> int:
    """Let conditions fire; the number of the newest alert."""
    wanted = conditions or (bad(),)
    await bench.see(*wanted)
    bench.clock.pass_(60)
    return max((await bench.see(*wanted)).fired)


async def test_fires_after_its_time_once_and_is_over_after_its_time(bench: Bench) -> None:
    assert (await bench.see(bad())).fired == []
    bench.clock.pass_(59)
    assert (await bench.see(bad())).fired == []
    bench.clock.pass_(1)
    (fired,) = (await bench.see(bad())).fired
    bench.clock.pass_(600)
    assert (await bench.see(bad())).fired == []
    assert await bench.deliver() == ["[box] warning: backup.age is bad"]
    await bench.see(good())
    bench.clock.pass_(119)
    assert (await bench.see(good())).recovered == []
    bench.clock.pass_(1)
    assert (await bench.see(good())).recovered == [fired]
    assert await bench.deliver() == ["[box] OK: over: backup.age is bad"]
    alert = await bench.alerts.get(fired)
    assert (alert.state, alert.resolved_at) == ("resolved", bench.clock.now)
    assert await bench.alerts.list() == []


async def test_a_value_that_swings_around_its_limit_is_one_message(bench: Bench) -> None:
    await fire(bench)
    for _ in range(20):
        bench.clock.pass_(60)
        await bench.see(good())
        bench.clock.pass_(60)
        await bench.see(bad())
    assert len(await bench.deliver()) == 1
    assert await value(bench.db, "SELECT count(*) FROM alerts") == 1


async def test_what_was_bad_too_shortly_leaves_nothing(bench: Bench) -> None:
    for _ in range(5):
        await bench.see(bad())
        bench.clock.pass_(30)
        await bench.see(good())
        bench.clock.pass_(30)
    assert await value(bench.db, "SELECT count(*) FROM alerts") == 0
    assert await bench.deliver() == []


async def test_unknown_neither_fires_nor_ends_an_alert_but_is_told_when_it_lasts(
    bench: Bench,
) -> None:
    fired = await fire(bench)
    bench.clock.pass_(3_600)
    await bench.see(bad(state="unknown"))
    assert (await bench.alerts.get(fired)).state == "firing"
    await bench.see(bad("disk.used", "unknown"))
    bench.clock.pass_(899)
    assert (await bench.see(bad("disk.used", "unknown"))).fired == []
    bench.clock.pass_(1)
    assert len((await bench.see(bad("disk.used", "unknown"))).fired) == 1
    await bench.deliver()
    assert any("could not be found out" in m.body for _, m in bench.receiver.got)


async def test_unknown_before_bad_does_not_count_as_bad(bench: Bench) -> None:
    await bench.see(bad(state="unknown"))
    bench.clock.pass_(600)
    assert (await bench.see(bad())).fired == []
    bench.clock.pass_(60)
    assert len((await bench.see(bad())).fired) == 1


async def test_worse_is_told_again_even_when_it_was_acknowledged(bench: Bench) -> None:
    fired = await fire(bench)
    await bench.alerts.acknowledge(fired, by="ann", note="on it")
    await bench.deliver()
    assert (await bench.see(bad(state="critical"))).worsened == [fired]
    assert await bench.deliver() == ["[box] CRITICAL: got worse: backup.age is bad"]
    alert = await bench.alerts.get(fired)
    assert (alert.severity, alert.acknowledged_at, alert.note) == ("critical", None, "on it")
    # Better, but not good: noted, not told.
    await bench.see(bad())
    assert (await bench.alerts.get(fired)).severity == "critical"
    assert await bench.deliver() == []
    kinds = [event.kind for event in await bench.alerts.history(fired)]
    assert kinds == ["eased", "worsened", "acknowledged", "fired"]


async def test_complete_observation_ends_what_it_does_not_name(bench: Bench) -> None:
    fired = await fire(bench, bad("a"), bad("b"))
    await bench.see(bad("a"))
    assert len(await bench.alerts.list(states=["firing"])) == 2
    await bench.see(bad("a"), complete=True)
    bench.clock.pass_(120)
    assert (await bench.see(bad("a"), complete=True)).recovered == [fired]


async def test_lasting_condition_fires_and_is_over_without_another_look(bench: Bench) -> None:
    await bench.see(bad(), lasting=True)
    bench.clock.pass_(60)
    assert await bench.alerts.tick() == 1
    await bench.see(good(), lasting=True)
    bench.clock.pass_(120)
    assert await bench.alerts.tick() == 1
    assert len(await bench.deliver()) == 1
    assert await bench.alerts.list() == []


async def test_what_does_not_last_fires_on_a_second_look_alone(bench: Bench) -> None:
    await bench.see(bad())
    bench.clock.pass_(6_000)
    assert await bench.alerts.tick() == 0
    assert len((await bench.see(bad())).fired) == 1


async def test_hold_of_the_condition_counts_before_that_of_the_rule(bench: Bench) -> None:
    assert len((await bench.see(bad("now", hold_s=0.0))).fired) == 1
    since = bench.clock.now
    bench.clock.pass_(200)
    assert len((await bench.see(bad("long", since=since, hold_s=200.0))).fired) == 1


async def test_rule_with_the_highest_priority_counts(bench: Bench) -> None:
    await bench.alerts.put_rule(
        Rule(name="backups", condition="backup.*", hold_s=0, priority=5, least_severity="critical")
    )
    await bench.alerts.put_rule(Rule(name="a", condition="backup.*", hold_s=0, priority=1))
    assert (await bench.see(bad())).fired == []
    assert len((await bench.see(bad(state="critical"))).fired) == 1
    await bench.alerts.delete_rule("backups")
    assert len((await bench.see(bad("backup.verify"))).fired) == 1
    with pytest.raises(InvalidInput, match="no channel 'nobody'"):
        await bench.alerts.put_rule(Rule(name="x", channels=["nobody"]))
    with pytest.raises(NotFound):
        await bench.alerts.delete_rule("backups")


async def test_silence_keeps_quiet_until_it_ends(bench: Bench) -> None:
    made = await bench.alerts.silence(condition="backup.*", seconds=3_600, reason="move")
    fired = await fire(bench)
    assert (await bench.see(bad())).silenced == 1
    assert await bench.deliver() == []
    assert (await bench.alerts.get(fired)).told_at is None
    bench.clock.pass_(3_600)
    await bench.alerts.tick()
    assert await bench.deliver() == ["[box] warning: backup.age is bad"]
    with pytest.raises(NotFound):
        await bench.alerts.unsilence(made.id)


async def test_what_recovers_under_a_silence_is_never_told(bench: Bench) -> None:
    made = await bench.alerts.silence(labels={"container": "web*"}, seconds=600)
    await fire(bench, bad(labels={"container": "web-1"}))
    await bench.see(good())
    bench.clock.pass_(120)
    await bench.see(good())
    await bench.alerts.unsilence(made.id)
    await bench.alerts.tick()
    assert await bench.deliver() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"seconds": 86_401},
        {"seconds": -1},
        {"seconds": float("inf"), "source": "a"},
        {"seconds": float("nan"), "source": "a"},
        {"seconds": 1e300, "source": "a"},
        {"source": "a"},
        {"seconds": 5, "condition": ""},
        {"seconds": 5, "labels": {"a": 1}},
    ],
)
async def test_silence_that_cannot_be_is_refused(bench: Bench, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await bench.alerts.silence(**wrong)


async def test_false_alarm_ends_it_and_keeps_the_same_quiet(bench: Bench) -> None:
    fired = await fire(bench)
    await bench.deliver()
    marked = await bench.alerts.mark_false(fired, by="ann", note="test machine")
    assert (marked.state, marked.marked_false_at) == ("resolved", bench.clock.now)
    await fire(bench)
    assert await bench.deliver() == []
    await fire(bench, bad("other"))
    assert len(await bench.deliver()) == 1
    with pytest.raises(Conflict):
        await bench.alerts.mark_false(fired)
    with pytest.raises(Conflict):
        await bench.alerts.acknowledge(fired)


async def test_false_alarm_of_a_name_with_signs_of_globs_silences_it_alone(bench: Bench) -> None:
    fired = await fire(bench, bad("table:[a]*"))
    await bench.alerts.mark_false(fired)
    await bench.deliver()
    await fire(bench, bad("table:a-long"), bad("table:[a]*"))
    assert await bench.deliver() == ["[box] warning: table:a-long is bad"]


async def test_escalates_once_when_nobody_takes_it_on(bench: Bench) -> None:
    named = "ops=https://a.example boss=https://b.example#least=critical"
    settings = replace(bench.settings, alert_channels=named)
    bench.deliveries._channels = bench.alerts.channels = Alerts(bench.db, settings).channels
    await bench.alerts.channels.announce()
    await bench.alerts.put_rule(
        Rule(name="r", hold_s=0, channels=["ops"], escalate_s=900, escalate_to=["boss"])
    )
    taken, left = (await bench.see(bad("taken", "critical"), bad("left", "critical"))).fired
    await bench.alerts.acknowledge(taken)
    bench.clock.pass_(899)
    assert await bench.alerts.tick() == 0
    bench.clock.pass_(1)
    assert await bench.alerts.tick() == 1
    bench.clock.pass_(9_000)
    assert await bench.alerts.tick() == 0
    await bench.deliver()
    assert {(name, m.entries[0]["kind"]) for name, m in bench.receiver.got} == {
        ("ops", "fired"),
        ("boss", "escalated"),
    }
    assert len(bench.receiver.got) == 2
    await bench.see(good("left"))
    bench.clock.pass_(120)
    await bench.see(good("left"))
    await bench.deliver()
    # Who was woken hears that it is over.
    assert {name for name, m in bench.receiver.got if "over" in m.subject} == {"ops", "boss"}
    assert (await bench.alerts.get(left)).escalated_at is not None


async def test_reminds_while_it_lasts_untaken(bench: Bench) -> None:
    await bench.alerts.put_rule(Rule(name="r", hold_s=0, remind_s=600))
    (fired,) = (await bench.see(bad())).fired
    for _ in range(3):
        await bench.deliver()
        bench.clock.pass_(600)
        await bench.alerts.tick()
    await bench.alerts.acknowledge(fired)
    bench.clock.pass_(600)
    await bench.alerts.tick()
    await bench.deliver()
    assert len(bench.receiver.got) == 4
    assert "still so" in bench.receiver.subjects[-1]


async def test_without_a_channel_it_is_told_as_soon_as_there_is_one(bench: Bench) -> None:
    async with bench.db.transaction() as conn:
        await conn.execute("DELETE FROM alert_channels")
    fired = await fire(bench)
    await bench.alerts.tick()
    assert (await bench.alerts.get(fired)).told_at is None
    await bench.alerts.channels.announce()
    await bench.alerts.tick()
    await bench.alerts.tick()
    assert len(await bench.deliver()) == 1


async def test_two_processes_that_see_the_same_fire_it_once(bench: Bench, dsn: str) -> None:
    async with await Database.open(dsn, bench.settings, min_size=1) as other:
        second = Alerts(other, bench.settings, now=bench.clock)
        many = [bad(f"c{number}", hold_s=0.0) for number in range(50)]
        seen = await asyncio.gather(
            *(one.observe("doctor", many) for one in (bench.alerts, second) * 4)
        )
        await asyncio.gather(*(one.tick() for one in (bench.alerts, second) * 4))
    assert sorted(id for one in seen for id in one.fired) == sorted(
        alert.id for alert in await bench.alerts.list(limit=100)
    )
    assert len(await bench.deliver()) == 1


async def test_what_cannot_be_written_changes_nothing(bench: Bench) -> None:
    """The messages are part of the transaction: without them, the alert does not fire either."""
    await bench.see(bad())
    bench.clock.pass_(60)
    async with bench.db.transaction() as conn:
        await conn.execute("ALTER TABLE alert_deliveries RENAME TO gone")
    with pytest.raises(Exception, match="alert_deliveries"):
        await bench.see(bad())
    async with bench.db.transaction() as conn:
        await conn.execute("ALTER TABLE gone RENAME TO alert_deliveries")
    (alert,) = await bench.alerts.list()
    assert alert.state == "pending"
    assert len((await bench.see(bad())).fired) == 1
    assert len(await bench.deliver()) == 1


async def test_database_outage_is_told_and_the_next_observation_makes_up_for_it(
    bench: Bench, dsn: str
) -> None:
    broken = await Database.open(dsn, replace(bench.settings, pool_timeout_s=0.2), min_size=1)
    await broken.close()
    with pytest.raises(Unavailable):
        await Alerts(broken, bench.settings).observe("doctor", [bad()])
    assert await fire(bench) > 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "a\nb"},
        {"id": "x" * 201},
        {"state": "awful"},
        {"title": "\x1b[31mred"},
        {"title": "\ud800"},
        {"source": "other"},
        {"labels": {"bad name": "x"}},
        {"labels": {f"l{n}": "x" for n in range(21)}},
        {"hold_s": float("nan")},
        {"observed": "x" * 2_001},
    ],
)
async def test_condition_that_cannot_be_is_refused_whole(
    bench: Bench, wrong: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput):
        await bench.see(bad("fine", hold_s=0.0), replace(bad("y"), **wrong))
    with pytest.raises(InvalidInput):
        await bench.see(bad("same"), bad("same"))
    assert await value(bench.db, "SELECT count(*) FROM alerts") == 0


async def test_keep_deletes_what_was_over_long_ago_and_nothing_else(bench: Bench) -> None:
    await fire(bench, bad("old"), bad("lasts"))
    await bench.see(good("old"))
    bench.clock.pass_(120)
    await bench.see(good("old"))
    assert await bench.alerts.keep() == 0
    bench.clock.pass_(181 * 86_400)
    assert await bench.alerts.keep() == 1
    (left,) = await bench.alerts.list()
    assert left.condition_id == "lasts"
