"""Quiet times: days, zones, clocks that change, and times that follow one another."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.alerts.quiet import from_text, parse_quiet
from aegis.alerts.service import Alerts
from aegis.errors import InvalidInput
from tests.alerts.conftest import bad, good

if TYPE_CHECKING:
    from tests.alerts.conftest import Bench

BERLIN = ZoneInfo("Europe/Berlin")


def berlin(*when: int) -> datetime:
    return datetime(*when, tzinfo=BERLIN)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("at", "until"),
    [
        (berlin(2027, 1, 5, 21, 59), None),
        (berlin(2027, 1, 5, 22, 0), berlin(2027, 1, 6, 7, 0)),
        (berlin(2027, 1, 6, 6, 59), berlin(2027, 1, 6, 7, 0)),
        (berlin(2027, 1, 6, 7, 0), None),
        # The night in which clocks go forward, and that in which they go back.
        (berlin(2027, 3, 27, 23, 0), berlin(2027, 3, 28, 7, 0)),
        (berlin(2027, 10, 30, 23, 0), berlin(2027, 10, 31, 7, 0)),
    ],
)
def test_night_is_a_night_of_the_zone(at: datetime, until: datetime | None) -> None:
    quiet = parse_quiet(["22:00-07:00"], "Europe/Berlin")
    assert quiet.until(at.astimezone(UTC)) == until


def test_night_of_a_day_belongs_to_the_day_on_which_it_begins() -> None:
    quiet = parse_quiet(["mon-thu@22:00-07:00"])
    # 2027-01-04 is a Monday.
    assert quiet.until(datetime(2027, 1, 4, 3, tzinfo=UTC)) is None
    assert quiet.until(datetime(2027, 1, 8, 3, tzinfo=UTC)) == datetime(2027, 1, 8, 7, tzinfo=UTC)
    assert quiet.until(datetime(2027, 1, 8, 23, tzinfo=UTC)) is None


def test_times_that_meet_are_one() -> None:
    quiet = parse_quiet(["22:00-07:00", "sat,sun@00:00-24:00"])
    friday = datetime(2027, 1, 8, 23, tzinfo=UTC)
    assert quiet.until(friday) == datetime(2027, 1, 11, 7, tzinfo=UTC)


def test_always_quiet_is_told_once_in_a_week() -> None:
    quiet = parse_quiet(["00:00-24:00"])
    now = datetime(2027, 1, 8, 23, tzinfo=UTC)
    until = quiet.until(now)
    assert until is not None and timedelta(days=6) < until - now <= timedelta(days=7)


@pytest.mark.parametrize("days", ["mon-fri", "fri-mon", "sun", "tue,thu,sat-sun"])
def test_what_is_written_is_read_again(days: str) -> None:
    quiet = parse_quiet([f"{days}@22:30-06:15", "12:00-24:00"], "America/New_York")
    assert from_text(str(quiet)) == quiet


@pytest.mark.parametrize(
    "text", ["", "22:00", "24:00-07:00", "7:00-8:00", "@22:00-07:00", "mo@22:00-07:00", "x" * 99]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_quiet([text])


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.integers(0, 1_439),
    st.integers(1, 1_440),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia"]),
)
def test_end_lies_ahead_and_is_not_quiet(now: datetime, begin: int, end: int, zone: str) -> None:
    if (end - begin) % 1_440 == 0:
        return
    times = [f"{minute // 60:02}:{minute % 60:02}" for minute in (begin, end)]
    quiet = parse_quiet(["-".join(times)], zone)
    until = quiet.until(now)
    if until is None:
        return
    assert until > now
    assert quiet.until(until) is None
    assert quiet.until(until - timedelta(seconds=1)) == until


async def _seen(bench: Bench, at: str) -> None:
    """Say that the channels were named then; processes say so by the machine's clock."""
    async with bench.db.transaction() as conn:
        await conn.execute("UPDATE alert_channels SET seen_at = %(at)s", {"at": at})


async def test_what_a_night_held_back_is_one_message_with_how_it_stands(bench: Bench) -> None:
    address = "ops=https://a.example#quiet=22:00-07:00&quiet=sat-sun@00:00-24:00&zone=Asia/Tokyo"
    await Alerts(bench.db, replace(bench.settings, alert_channels=address)).channels.announce()
    # A Friday: 23:30 in Tokyo is 14:30 in UTC; Saturday and Sunday follow, and a night.
    bench.clock.now = datetime(2027, 1, 8, 14, 30, tzinfo=UTC)
    await _seen(bench, "2027-01-10")
    for number in range(30):
        await bench.see(bad(f"c{number}", hold_s=0.0, group=f"g{number}"))
        bench.clock.pass_(60)
    for number in range(10):
        await bench.see(good(f"c{number}"))
        bench.clock.pass_(180)
        await bench.see(good(f"c{number}"))
    (waits,) = await bench.alerts.channels.deliveries()
    assert waits.next_at == datetime(2027, 1, 10, 22, 0, tzinfo=UTC)
    await bench.see(bad("now", "critical", hold_s=0.0))
    assert len(await bench.alerts.channels.deliveries()) == 2
    bench.clock.now = waits.next_at
    subjects = await bench.deliver()
    assert len(subjects) == 2
    assert "[box] while it was quiet, 20 still so and 10 over: c10 is bad" in subjects
    told = [e["condition"] for _, m in bench.receiver.got for e in m.entries]
    assert sorted(told) == sorted([*(f"c{number}" for number in range(30)), "now"])
    # By day each comes when it comes.
    await _seen(bench, "2027-01-10")
    await bench.see(bad("day", hold_s=0.0))
    assert (await bench.deliver())[0] == "[box] warning: day is bad"
