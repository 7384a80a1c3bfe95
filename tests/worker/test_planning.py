"""Times of schedules: zones, clocks that change, what was missed; pure."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import InvalidInput
from aegis.worker import cron, planning
from aegis.worker.models import Schedule

if TYPE_CHECKING:
    from aegis.worker.models import Missed

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def schedule(expression: str = "0 * * * *", *, next_at: datetime | None, **fields: Any) -> Schedule:
    values: dict[str, Any] = {
        "id": 1,
        "name": "s",
        "cron": expression,
        "timezone": "UTC",
        "function": "f",
        "arguments": {},
        "priority": 4,
        "max_attempts": 1,
        "timeout_s": None,
        "missed": "latest",
        "grace_s": 60,
        "jitter_s": 0,
        "paused": False,
        "next_at": next_at,
        "last_planned_at": None,
        "skipped": 0,
        "created_by": "operator",
        "created_at": NOON,
        "changed_at": None,
        **fields,
    }
    return Schedule(**values)


def hours(*given: int) -> list[datetime]:
    return [NOON + timedelta(hours=n) for n in given]


def test_not_yet_due_is_nothing() -> None:
    plan = planning.plan(schedule(next_at=NOON), NOON - timedelta(microseconds=1))
    assert (plan.times, plan.skipped, plan.next_at) == ((), 0, NOON)


@pytest.mark.parametrize(
    ("missed", "times", "skipped"),
    [("all", [0, 1, 2, 3], 0), ("latest", [3], 3), ("skip", [], 4)],
)
def test_what_was_missed_is_made_up_for_as_chosen(
    missed: Missed, times: list[int], skipped: int
) -> None:
    now = NOON + timedelta(hours=3, minutes=30)
    plan = planning.plan(schedule(next_at=NOON, missed=missed), now)
    assert list(plan.times) == hours(*times)
    assert (plan.skipped, plan.last, plan.next_at) == (skipped, *hours(3, 4))


@pytest.mark.parametrize(("late_s", "runs"), [(60, True), (61, False)])
def test_a_time_within_its_grace_is_not_missed(late_s: int, runs: bool) -> None:
    now = NOON + timedelta(seconds=late_s)
    plan = planning.plan(schedule(next_at=NOON, missed="skip"), now)
    assert bool(plan.times) is runs
    assert plan.skipped == (0 if runs else 1)


def test_while_a_job_of_it_is_not_done_only_all_adds_more() -> None:
    assert planning.plan(schedule(next_at=NOON), NOON, busy=True).times == ()
    every = planning.plan(schedule(next_at=NOON, missed="all"), NOON, busy=True)
    assert every.times == (NOON,)


def test_all_of_very_many_come_in_rounds_and_none_is_left_out() -> None:
    now = NOON + timedelta(minutes=250)
    at: datetime | None = NOON
    found: list[datetime] = []
    while at is not None and at <= now:
        plan = planning.plan(schedule("* * * * *", next_at=at, missed="all"), now)
        assert len(plan.times) <= planning.MOST_AT_ONCE
        found += plan.times
        at = plan.next_at
    assert found == [NOON + timedelta(minutes=n) for n in range(251)]


def test_the_latest_of_a_year_of_seconds_is_found_at_once() -> None:
    now = NOON + timedelta(days=365, microseconds=5)
    plan = planning.plan(schedule("* * * * * *", next_at=NOON), now)
    assert plan.times == (NOON + timedelta(days=365),)
    assert plan.next_at == NOON + timedelta(days=365, seconds=1)


def test_the_zone_is_that_of_the_fields_over_the_change_of_the_clocks() -> None:
    zone = "Europe/Berlin"
    before = datetime(2026, 3, 28, 1, 30, tzinfo=UTC)
    days = [next(iter(cron.times_after("30 2 * * *", zone, before)))]
    for _ in range(3):
        days.append(next(iter(cron.times_after("30 2 * * *", zone, days[-1]))))
    local = [day.astimezone(ZoneInfo(zone)) for day in days]
    # 29 March has no half past two: it runs right after the gap.
    assert [(at.day, at.hour) for at in local[:1]] == [(29, 3)]
    assert [(at.day, at.hour, at.minute) for at in local[1:]] == [
        (30, 2, 30), (31, 2, 30), (1, 2, 30),
    ]  # fmt: skip


def test_a_time_of_day_that_comes_twice_counts_once() -> None:
    zone = "Europe/Berlin"
    times = cron.times_after("30 2 * * *", zone, datetime(2026, 10, 24, 12, tzinfo=UTC))
    first, second = next(times), next(times)
    assert (first.day, second.day) == (25, 26)
    # Every minute goes by time that passed: the hour that comes twice has 120 of them.
    minutes = cron.times_after("* * * * *", zone, datetime(2026, 10, 24, 23, 59, tzinfo=UTC))
    found = [next(minutes) for _ in range(180)]
    assert {b - a for a, b in itertools.pairwise(found)} == {timedelta(minutes=1)}


@given(
    st.sampled_from(["*/7 * * * *", "0 */5 * * *", "30 2 * * 1-5", "0 0 1 * *", "*/20 * * * * *"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"]),
    st.datetimes(
        min_value=datetime.fromisoformat("2020-01-01"),
        max_value=datetime.fromisoformat("2035-01-01"),
        timezones=st.just(UTC),
    ),
)
def test_times_only_go_forward(expression: str, zone: str, after: datetime) -> None:
    last = after
    times = cron.times_after(expression, zone, after)
    for _ in range(20):
        at = next(times)
        assert at > last
        last = at


@pytest.mark.parametrize(
    ("expression", "zone", "message"),
    [
        ("", "UTC", "cron"),
        ("* * * *", "UTC", "cron"),
        ("61 * * * *", "UTC", "cron"),
        ("0 0 30 2 *", "UTC", "cron"),
        ("* * * * *", "Mars/Olympus", "IANA"),
        ("* * * * *", "../../etc/passwd", "IANA"),
        ("* * * * *", "", "IANA"),
        ("*\n* * * *", "UTC", "cron"),
    ],
)
def test_what_is_no_time_is_refused(expression: str, zone: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        cron.check(expression, zone)


def test_jitter_is_the_same_for_whoever_asks_and_within_its_bounds() -> None:
    late = schedule(next_at=NOON, jitter_s=300)
    due = [planning.due_at(late, at) - at for at in hours(*range(50))]
    assert due == [planning.due_at(late, at) - at for at in hours(*range(50))]
    assert all(timedelta(0) <= delay < timedelta(seconds=300) for delay in due)
    assert len(set(due)) > 40
    assert planning.due_at(schedule(next_at=NOON), NOON) == NOON
