"""The watcher in trouble: containers gone, clocks that are wrong, samples that are late."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from aegis.metrics.models import MetricRule, Sample
from aegis.metrics.watching.watcher import Watcher
from tests.metrics.lab import Lab

if TYPE_CHECKING:
    import pytest

    from aegis.config import Settings
    from aegis.db import Database


async def test_alarm_of_a_container_that_is_gone_is_over_after_an_hour(lab: Lab) -> None:
    await lab.run(300, names=["job", "web"])
    await lab.watch()
    await lab.run(2, names=["job"], cpu=95.0)
    await lab.run(20)
    await lab.watch()
    assert await lab.all_alerts() == {"anomaly:job:cpu_percent": "firing"}
    await lab.run(50)
    await lab.watch()
    (spike,) = [one for one in await lab.found(container_name="job") if one.kind == "spike"]
    assert spike.status == "resolved"
    assert "It is not measured any more." in spike.explanation
    assert await lab.all_alerts() == {}


async def test_nothing_is_over_only_because_nothing_is_measured(lab: Lab) -> None:
    await lab.run(2, cpu=95.0)
    await lab.watch()
    lab.now += timedelta(hours=3)
    await lab.watch()
    lab.now += timedelta(minutes=1)
    await lab.watch()
    (spike,) = await lab.found()
    assert spike.status == "open"
    assert set(await lab.all_alerts()) == {"anomaly:web:cpu_percent", "nothing-measured"}


async def test_loop_of_a_container_that_is_gone_lasts_until_it_is_forgotten(
    db: Database, settings: Settings
) -> None:
    lab = Lab(db, settings)
    for _ in range(5):
        await lab.run(2, names=["loop", "web"], net=50.0)
        await lab.run(0.5, names=["loop", "web"], net=1.0)
    await lab.run(120, names=["web"], net=2.0)
    await lab.watch()
    loops = [one for one in await lab.found(container_name="loop") if one.kind == "restart_loop"]
    assert [one.status for one in loops] == ["open"]
    lab.now += timedelta(days=2)
    await lab.run(5, names=["web"], net=3.0)
    await lab.watch()
    assert [one for one in await lab.found(statuses=["open"]) if one.container_name == "loop"] == []
    assert "restart_loop:loop:restarts" not in await lab.all_alerts()


async def test_what_is_open_and_lasts_nowhere_after_a_start_is_over(lab: Lab) -> None:
    await lab.run(2, cpu=95.0)
    await lab.watch()
    assert await lab.all_alerts() == {"anomaly:web:cpu_percent": "firing"}
    await lab.watcher.aclose()
    async with lab.db.transaction() as conn:
        await conn.execute("UPDATE metric_watch_states SET state = 'broken'")
    await lab.run(10)
    lab.watcher = lab.new_watcher()
    await lab.watch()
    (anomaly,) = await lab.found()
    assert anomaly.status == "resolved"
    assert await lab.all_alerts() == {}


async def test_incidents_before_and_after_a_lost_state_are_two(lab: Lab) -> None:
    await lab.run(2, cpu=95.0)
    await lab.run(60)
    await lab.watch()
    await lab.watcher.aclose()
    async with lab.db.transaction() as conn:
        await conn.execute("DELETE FROM metric_watch_states")
        await conn.execute("UPDATE metric_watch SET done_until = %s", [lab.now])
    lab.watcher = lab.new_watcher()
    await lab.run(360)
    await lab.watch()
    await lab.run(2, cpu=95.0)
    assert (await lab.watch()).opened == 1
    newer, older = await lab.found()
    assert (older.status, newer.status) == ("resolved", "open")
    assert newer.started_at - older.started_at > timedelta(hours=6)


async def test_samples_that_waited_for_the_database_are_judged_when_they_come(lab: Lab) -> None:
    before = lab.now
    await lab.telemetry.put_rule(
        MetricRule(name="must-run", kind="absence", value=120, for_s=0, severity="critical")
    )
    await lab.watch()
    # The database is back: the watcher is there before the samples.
    lab.now += timedelta(hours=1)
    await lab.watch()
    lab.now = before
    await lab.run(40)
    await lab.run(2, cpu=95.0)
    await lab.run(18)
    assert (await lab.watch()).samples >= 120
    (spike,) = [one for one in await lab.found() if one.kind == "spike"]
    assert spike.observed == 95.0
    assert abs(spike.started_at - (before + timedelta(minutes=40, seconds=30))).seconds < 1
    # It was over before anybody could be told, and nothing was missed meanwhile.
    assert spike.status == "resolved"
    assert await lab.all_alerts() == {}


async def test_watch_goes_on_at_once_when_the_clock_was_put_back(lab: Lab) -> None:
    for hour in range(6):
        await lab.run(60, net=100.0 + hour / 10)
    await lab.watch()
    lab.now -= timedelta(hours=5)
    # What comes now has times that others had before it: with those between, counters would jump.
    for step in range(20):
        await lab.run(1, net=200.0 + step / 10)
        await lab.watch()
    assert [one for one in await lab.found() if one.severity != "info"] == []
    await lab.run(2, cpu=95.0, net=202.0)
    await lab.watch()
    assert [one.kind for one in await lab.found() if one.status == "open"] == ["spike"]
    # So it does after a restart.
    await lab.watcher.aclose()
    lab.watcher = lab.new_watcher()
    await lab.run(60, net=202.0)
    await lab.watch()
    assert [one for one in await lab.found() if one.kind == "restart_loop"] == []


async def test_lease_of_a_clock_that_was_wrong_holds_up_nobody(lab: Lab) -> None:
    async with lab.db.transaction() as conn:
        await conn.execute("UPDATE metric_watch SET lease_until = now() + INTERVAL '1 year'")
    assert not (await lab.new_watcher().round()).elsewhere


async def test_gap_of_days_ends_what_lasted_and_raises_nothing(lab: Lab) -> None:
    await lab.run(2, cpu=95.0)
    await lab.watch()
    await lab.watcher.aclose()
    lab.now += timedelta(days=4)
    lab.watcher = lab.new_watcher()
    await lab.run(30)
    await lab.watch()
    assert [one for one in await lab.found() if one.status != "resolved"] == []
    assert await lab.all_alerts() == {}


async def test_limit_on_what_a_container_has_not_says_nothing_of_it(lab: Lab) -> None:
    await lab.telemetry.put_rule(
        MetricRule(name="full", kind="threshold", metric="disk_percent", value=90, for_s=0)
    )
    for _ in range(8):
        await lab.run(3, names=["web", "job"])
        await lab.watch()
    assert await lab.all_alerts() == {}


async def test_limit_says_nothing_new_of_who_is_silent_and_ends_with_who_is_gone(
    lab: Lab,
) -> None:
    await lab.telemetry.put_rule(MetricRule(name="hot", kind="threshold", value=50, for_s=0))
    await lab.run(2, names=["web", "job"], cpu=80.0)
    await lab.watch()
    await lab.run(2)
    await lab.watch()
    hot = "rule:hot:job"
    for _ in range(4):
        await lab.run(10)
        await lab.watch()
        assert (await lab.all_alerts())[hot] == "firing"
        # After a start, too.
        await lab.watcher.aclose()
        lab.watcher = lab.new_watcher()
    await lab.run(10)
    await lab.watch()
    assert hot not in await lab.all_alerts()


async def test_more_names_than_are_watched_leave_the_others_alone(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegis.metrics.watching.watcher._MOST_CONTAINERS", 3)
    await lab.run(1, names=["web", *(f"noise{number}" for number in range(20))])
    assert (await lab.watch()).points == 3 * 2
    await lab.run(2, cpu=95.0)
    await lab.watch()
    assert [one.container_name for one in await lab.found()] == ["web"]


async def test_samples_out_of_order_and_twice_raise_nothing(lab: Lab) -> None:
    given: list[Sample] = []
    for step in range(240):
        lab.now += timedelta(seconds=30)
        given.append(
            Sample(
                container_name="web",
                timestamp=lab.now,
                cpu_percent=20 + lab.rng.random() * 4,
                net_io_mb=100.0 + step,
            )
        )
    lab.rng.shuffle(given)
    for part in (given[:150], given[150:], given):
        await lab.metrics.record(part)
        await lab.watch()
    assert await lab.found() == []
    assert await lab.all_alerts() == {}


async def test_single_round_misses_what_is_not_measured_at_once(lab: Lab) -> None:
    await lab.watcher.aclose()
    lab.now += timedelta(minutes=10)
    await Watcher(lab.db, lab.alerts, now=lab.clock, patient=False).round()
    assert [a.condition_id for a in await lab.alerts.list()] == ["nothing-measured"]
