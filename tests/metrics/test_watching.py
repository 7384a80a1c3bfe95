"""Samples through the watcher: anomalies once, restarts, false marks, rules by hand."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aegis.db import fetch_value
from aegis.errors import InvalidInput, NotFound, Unavailable
from aegis.metrics.models import MetricRule, Sample
from aegis.metrics.store import anomalies as anomaly_store
from aegis.metrics.watching.series import Container
from tests.metrics.lab import Lab

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database


async def test_spike_is_one_anomaly_one_alert_and_is_over(lab: Lab) -> None:
    for _ in range(4):
        await lab.run(0.5, cpu=95.0)
        await lab.watch()
    (anomaly,) = await lab.found()
    assert (anomaly.kind, anomaly.status, anomaly.observed) == ("spike", "open", 95.0)
    assert anomaly.severity in ("warning", "critical")
    assert anomaly.expected is not None and 15 < anomaly.expected < 30
    assert "rose to 95" in anomaly.explanation
    await lab.alerts.tick()
    (alert,) = await lab.alerts.list()
    assert (alert.state, alert.labels["container"]) == ("firing", "web")
    assert alert.title == "web: CPU is unusually high"
    assert alert.observed == "95%"
    await lab.run(60)
    await lab.watch()
    (anomaly,) = await lab.found()
    assert anomaly.status == "resolved"
    assert anomaly.ended_at is not None
    await lab.run(3)
    await lab.watch()
    await lab.alerts.tick()
    assert await lab.alerts.list() == []


async def test_same_time_same_incident_after_a_restart_that_saved_nothing(lab: Lab) -> None:
    await lab.watcher.aclose()
    await lab.run(2, cpu=95.0)
    lab.watcher = lab.new_watcher()
    await lab.watch()
    before = await lab.found()
    # The process dies: its lease runs out, its state is that of the last save.
    async with lab.db.transaction() as conn:
        await conn.execute("UPDATE metric_watch SET lease_until = now() - INTERVAL '1 s'")
    lab.watcher = lab.new_watcher()
    await lab.watch()
    assert [one.id for one in await lab.found()] == [one.id for one in before]
    assert len(await lab.alerts.list()) == 1


async def test_state_that_was_saved_gives_what_going_on_gives(lab: Lab) -> None:
    for _ in range(3):
        await lab.run(20)
        await lab.watch()
        await lab.watcher.aclose()
        lab.watcher = lab.new_watcher()
    await lab.run(2, cpu=95.0)
    await lab.watch()
    restarted = await lab.found()
    state = Container("web")
    # The same samples through one container that never stopped.
    async with lab.db.transaction() as conn:
        cursor = await conn.execute(
            "SELECT extract(epoch FROM timestamp)::float8, cpu_percent FROM container_metrics "
            "ORDER BY timestamp"
        )
        found = {
            finding.incident: finding
            for at, cpu in await cursor.fetchall()
            for finding in state.update(at, {"cpu_percent": cpu})
        }
    last = list(found.values())[-1]
    assert restarted[0].score == pytest.approx(last.score)
    assert restarted[0].started_at.timestamp() == last.started_at


async def test_one_process_watches_and_the_other_takes_over(lab: Lab) -> None:
    other = lab.new_watcher()
    assert (await other.round()).elsewhere
    await lab.watcher.aclose()
    await lab.run(2, cpu=95.0)
    assert (await other.round()).opened == 1
    assert (await lab.watch()).elsewhere
    async with lab.db.transaction() as conn:
        await conn.execute("UPDATE metric_watch SET lease_until = now() - INTERVAL '1 s'")
    assert not (await lab.watch()).elsewhere
    assert (await other.round()).elsewhere
    assert len(await lab.found()) == 1


async def test_two_rounds_at_once_write_each_anomaly_once(lab: Lab) -> None:
    await lab.watcher.aclose()
    await lab.run(2, cpu=95.0)
    await asyncio.gather(*(lab.new_watcher().round() for _ in range(4)))
    assert len(await lab.found()) == 1


async def test_what_could_not_be_written_is_written_by_the_next_round(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lab.run(2, cpu=95.0)

    async def down(*_: object, **__: object) -> bool:
        raise Unavailable("The database does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(anomaly_store, "put", down)
        with pytest.raises(Unavailable):
            await lab.watch()
    assert await lab.found() == []
    await lab.watch()
    assert len(await lab.found()) == 1
    assert len(await lab.alerts.list()) == 1


async def test_acknowledged_alert_is_an_acknowledged_anomaly(lab: Lab) -> None:
    await lab.run(2, cpu=95.0)
    await lab.watch()
    (alert,) = await lab.alerts.list()
    await lab.alerts.acknowledge(alert.id)
    await lab.run(1, cpu=97.0)
    await lab.watch()
    (anomaly,) = await lab.found()
    assert (anomaly.status, anomaly.observed) == ("acknowledged", 97.0)
    assert anomaly.acknowledged_at is not None


async def test_false_alarm_is_not_raised_again_unless_it_is_much_worse(lab: Lab) -> None:
    await lab.run(2, cpu=60.0)
    await lab.watch()
    (alert,) = await lab.alerts.list()
    await lab.alerts.mark_false(alert.id)
    assert await lab.alerts.silences() == []
    (anomaly,) = await lab.found()
    assert (anomaly.status, anomaly.marked_false_at is not None) == ("resolved", True)
    # It goes on, ends, and comes again: the same pattern is known to be none.
    await lab.run(2, cpu=60.0)
    await lab.watch()
    await lab.run(120)
    await lab.watch()
    await lab.run(2, cpu=60.0)
    await lab.watch()
    assert await lab.alerts.list() == []
    await lab.run(120)
    await lab.run(2, cpu=900.0)
    await lab.watch()
    assert len(await lab.alerts.list()) == 1


async def test_what_begins_in_many_containers_at_once_is_one_message(
    db: Database, settings: Settings
) -> None:
    from dataclasses import replace

    lab = Lab(db, replace(settings, alert_channels="ops=https://a.example"))
    await lab.alerts.channels.announce()
    names = [f"c{number}" for number in range(12)]
    await lab.run(300, names=names)
    await lab.watch()
    await lab.run(1.5, names=names, cpu=95.0)
    await lab.watch()
    assert len(await lab.alerts.list()) == 12
    (message,) = await lab.alerts.channels.deliveries()
    assert len(message.entries) == 12


async def test_anomalies_of_one_container_at_one_time_are_linked(lab: Lab) -> None:
    await lab.run(300, names=["two"], mem=30.0)
    await lab.watch()
    await lab.run(2, names=["two"], mem=90.0, cpu=95.0)
    await lab.watch()
    first, second = sorted(await lab.found(container_name="two"), key=lambda one: one.id)
    assert {first.metric, second.metric} == {"cpu_percent", "mem_percent"}
    assert (first.first_id, second.first_id) == (None, first.id)


async def test_leak_is_told_with_the_time_at_which_it_is_full(lab: Lab) -> None:
    given = [
        Sample(
            container_name="leaky",
            timestamp=lab.now + timedelta(seconds=30 * number),
            mem_percent=40 + number / 40,
        )
        for number in range(1, 1_000)
    ]
    lab.now = given[-1].timestamp
    await lab.metrics.record(given)
    await lab.watch()
    (leak,) = [one for one in await lab.found() if one.kind == "leak"]
    assert "Memory rises by 3 an hour" in leak.explanation
    assert leak.evidence is not None
    full = datetime.fromisoformat(leak.evidence["full_at"])
    assert timedelta(hours=10) < full - lab.now < timedelta(hours=14)


async def test_restarts_in_a_loop(lab: Lab) -> None:
    for _ in range(5):
        await lab.run(2, names=["loop"], net=50.0)
        await lab.run(0.5, names=["loop"], net=1.0)
    await lab.watch()
    (loop,) = [one for one in await lab.found() if one.kind == "restart_loop"]
    assert (loop.severity, loop.status) == ("critical", "open")
    await lab.run(17, names=["loop"], net=1.0)
    await lab.watch()
    (loop,) = [one for one in await lab.found() if one.kind == "restart_loop"]
    assert loop.status == "resolved"


async def test_silent_container_is_noted_and_told_by_a_rule_alone(lab: Lab) -> None:
    await lab.telemetry.put_rule(
        MetricRule(name="must-run", kind="absence", container="we*", value=120, for_s=0)
    )
    await lab.run(5, names=["other"])
    await lab.watch()
    (silence,) = [one for one in await lab.found() if one.kind == "silence"]
    assert (silence.severity, silence.container_name) == ("info", "web")
    (alert,) = await lab.alerts.list()
    assert alert.condition_id == "rule:must-run:web"
    await lab.run(1, names=["other", "web"])
    await lab.watch()
    lab.now += timedelta(minutes=3)
    await lab.alerts.tick()
    assert await lab.alerts.list() == []
    (silence,) = [one for one in await lab.found() if one.kind == "silence"]
    assert silence.status == "resolved"


async def test_nothing_measured_at_all_is_one_alert(lab: Lab) -> None:
    await lab.run(5, names=[f"c{number}" for number in range(30)])
    await lab.watch()
    before = {one.id for one in await lab.found()}
    lab.now += timedelta(minutes=10)
    await lab.watch()
    # Samples may be on their way: the watcher is here before them.
    assert await lab.alerts.list() == []
    lab.now += timedelta(minutes=1)
    await lab.watch()
    assert {one.id for one in await lab.found()} == before
    (alert,) = await lab.alerts.list()
    assert (alert.condition_id, alert.state) == ("nothing-measured", "firing")


async def test_threshold_and_rate_hold_clear_and_end_with_their_rule(lab: Lab) -> None:
    await lab.telemetry.put_rule(
        MetricRule(name="low", kind="threshold", value=50, above=False, for_s=120)
    )
    await lab.telemetry.put_rule(
        MetricRule(name="jump", kind="rate", value=1_000, for_s=0, severity="critical")
    )
    await lab.run(0.5)
    await lab.watch()
    states = {one.condition_id: one.state for one in await lab.alerts.list()}
    assert states == {"rule:low:web": "pending"}
    await lab.run(2.5)
    await lab.watch()
    (alert,) = await lab.alerts.list()
    assert (alert.state, alert.threshold) == ("firing", "below 50%")
    await lab.telemetry.delete_rule("low")
    lab.now += timedelta(minutes=2)
    await lab.alerts.tick()
    assert await lab.alerts.list() == []
    with pytest.raises(NotFound):
        await lab.telemetry.delete_rule("low")


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "magic"},
        {"metric": "disk"},
        {"value": float("nan")},
        {"kind": "absence", "value": 1},
        {"for_s": -1},
        {"name": "a b"},
        {"container": ""},
        {"severity": "info"},
    ],
)
async def test_rule_that_cannot_be_is_refused(lab: Lab, wrong: dict[str, Any]) -> None:
    given: dict[str, Any] = {"name": "r", "kind": "threshold", "value": 1.0, **wrong}
    with pytest.raises(InvalidInput):
        await lab.telemetry.put_rule(MetricRule(**given))


async def test_names_of_plain_sql_do_not_stop_the_watch(lab: Lab) -> None:
    name = "evil\n\x1b[31m\u202e"
    async with lab.db.transaction() as conn:
        for number in range(700):
            await conn.execute(
                """
                INSERT INTO container_metrics (container_name, timestamp, cpu_percent)
                VALUES (%(name)s, %(at)s, %(cpu)s)
                """,
                {
                    "name": name,
                    "at": lab.now + timedelta(seconds=30 * number),
                    "cpu": 99.0 if number > 690 else 5 + number % 3,
                },
            )
    lab.now += timedelta(seconds=30 * 700)
    await lab.watch()
    assert any(one.container_name == name for one in await lab.found())
    assert all(sign.isprintable() for a in await lab.alerts.list() for sign in a.title)


async def test_unreadable_state_is_learned_anew(lab: Lab) -> None:
    await lab.watcher.aclose()
    async with lab.db.transaction() as conn:
        await conn.execute("UPDATE metric_watch_states SET state = decode('00ff', 'hex')")
    lab.watcher = lab.new_watcher()
    await lab.run(5)
    assert (await lab.watch()).points > 0
    await lab.watcher.aclose()
    async with lab.db.transaction() as conn:
        assert await fetch_value(conn, "SELECT length(state) > 1000 FROM metric_watch_states")


async def test_clock_that_was_put_back_and_gaps_raise_nothing(lab: Lab) -> None:
    lab.now -= timedelta(hours=1)
    await lab.run(10)
    await lab.watch()
    lab.now += timedelta(hours=8)
    await lab.run(30)
    await lab.watch()
    assert [one for one in await lab.found() if one.severity != "info"] == []
