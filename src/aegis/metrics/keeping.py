"""Upkeep: days ahead, roll-ups up to now, and what is old goes.

Each step is a short transaction of its own and may be repeated, so that a crash between two leaves
nothing to repair: the next round goes on from the watermark. Several processes may do it at once;
a row lock and an advisory lock let one at a time work.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from aegis.errors import Unavailable
from aegis.metrics.models import Kept
from aegis.metrics.steps import QUARTERS_KEPT_DAYS
from aegis.metrics.store import partitions, rollups, starts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

    from aegis.db import Connection, Database
    from aegis.metrics.store.partitions import Parted

__all__ = ["ensure_days", "keep"]

_AHEAD_DAYS: Final = 3
#: Hours are kept for two years and a bit.
_HOURS_KEPT: Final = timedelta(days=800)
#: What was rolled up is looked at again for so long, for samples that were committed meanwhile.
_OVERLAP: Final = timedelta(minutes=10)
#: Time of samples that one transaction rolls up.
_CHUNK: Final = timedelta(hours=6)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
#: Chunks and late hours of one round; what is left waits for the next.
_MOST_ROUNDS: Final = 400


async def ensure_days(db: Database, table: Parted, days: Iterable[date]) -> dict[date, str]:
    """Return the partition of each day, made where it is missing."""
    wanted = list(days)
    async with db.transaction() as conn:
        known = await partitions.list_partitions(conn, table)
    places = {day: _place(known, table, day) for day in wanted}
    if all(places.values()):
        return {day: place for day, place in places.items() if place is not None}
    found: dict[date, str] = {}
    for day in wanted:
        # A transaction a day: its locks are short.
        async with db.transaction() as conn:
            await partitions.lock(conn)
            place = _place(await partitions.list_partitions(conn, table), table, day)
            found[day] = place or await partitions.attach_day(conn, table, day)
    return found


def _place(known: dict[str, date], table: Parted, day: date) -> str | None:
    name = partitions.name_of(table, day)
    if name in known:
        return name
    return next(
        (other for other, ends in known.items() if "_before_" in other and day < ends), None
    )


async def keep(db: Database, *, now: datetime, keep_days: int) -> Kept:
    """Do one round of upkeep; `now` is taken as the time throughout."""
    today = now.astimezone(UTC).date()
    ahead = [today + timedelta(days=number) for number in range(_AHEAD_DAYS + 1)]
    oldest = datetime.combine(today, datetime.min.time(), UTC) - timedelta(days=keep_days)
    tables: tuple[Parted, ...] = ("container_metrics", "container_metrics_1m")
    # One look for all of it: most rounds find nothing to make and nothing to drop.
    async with db.transaction() as conn:
        sure = await _is_sure(conn, now, keep_days=keep_days)
        if sure:
            await partitions.delete_strays(conn, before=oldest)
            await rollups.delete_before(
                conn,
                fives=oldest,
                quarters=now - timedelta(days=QUARTERS_KEPT_DAYS),
                hours=now - _HOURS_KEPT,
            )
            await starts.delete_before(conn, oldest)
        strays = await partitions.list_stray_days(conn, since=oldest, until=now)
        known: dict[Parted, dict[str, date]] = {}
        for table in tables:
            known[table] = await partitions.list_partitions(conn, table)
    created: list[str] = []
    for table in tables:
        days = {*ahead, *strays} if table == "container_metrics" else set(ahead)
        if all(_place(known[table], table, day) for day in days):
            continue
        try:
            places = await ensure_days(db, table, sorted(days))
        except Unavailable:
            if _place(known[table], table, today) is None:
                raise
            # Somebody reads the whole table for long; there are days to spare until the next round.
            continue
        created += sorted(set(places.values()) - set(known[table]))
    dropped = await _drop_old(db, known, oldest=oldest) if sure else []
    minutes = await _roll_forward(db, oldest=oldest, now=now)
    late, done = await _roll_late(db, oldest=oldest, now=now)
    return Kept(created=created, dropped=dropped, minutes=minutes + late, done_until=done)


async def _is_sure(conn: Connection, now: datetime, *, keep_days: int) -> bool:
    """Return whether the clock is to be believed when it says that something is old.

    One that jumps a year ahead must not cost a month of samples: who measures today measured
    yesterday and the day before, too, or has begun again and may wait with it for two days.
    """
    done = await rollups.get_done_until(conn)
    if done is not None and now - done > _DAY:
        return False
    today = datetime.combine(now.astimezone(UTC).date(), datetime.min.time(), UTC)
    measured, yesterday, before = await rollups.measured_days(conn, today)
    if not (measured or yesterday or before):
        # Nothing is measured any more.
        return True
    return yesterday and (before or keep_days == 1)


async def _drop_old(
    db: Database, known: Mapping[Parted, Mapping[str, date]], *, oldest: datetime
) -> list[str]:
    dropped: list[str] = []
    for table, ends_of in known.items():
        for name, ends in ends_of.items():
            if ends > oldest.date():
                continue
            try:
                async with db.transaction() as conn:
                    await partitions.lock(conn)
                    if name in await partitions.list_partitions(conn, table):
                        await partitions.drop(conn, name)
                        dropped.append(name)
            except Unavailable:
                # Somebody reads the table for long; the next round drops it.
                break
    return dropped


async def _roll_forward(db: Database, *, oldest: datetime, now: datetime) -> int:
    """Roll up from the watermark to `now`; the minute that is not over yet, too."""
    total = 0
    for _ in range(_MOST_ROUNDS):
        async with db.transaction() as conn:
            done = await rollups.get_done_until(conn)
            if done is None:
                done = await rollups.oldest_sample(conn, since=oldest, until=now)
                if done is None:
                    return total
            if done - _OVERLAP > now:
                # The clock was put back: what is measured now must not wait for it.
                done = now - _CHUNK
                await rollups.put_back(conn, done)
        since = max(_minute(done - _OVERLAP), oldest)
        until = min(since + _CHUNK, _minute(now) + timedelta(minutes=1))
        if since >= until:
            return total
        await ensure_days(db, "container_metrics_1m", sorted({since.date(), until.date()}))
        async with db.transaction() as conn:
            # Another process may have come farther meanwhile: then this is done twice, as well.
            await rollups.lock_done_until(conn)
            total += await rollups.roll_minutes(conn, since=since, until=until)
            await rollups.roll_coarser(conn, since=since, until=until)
            await rollups.set_done_until(conn, min(until, now))
        if until > now:
            return total
    return total


async def _roll_late(
    db: Database, *, oldest: datetime, now: datetime
) -> tuple[int, datetime | None]:
    """Roll up hours whose samples came late; return the minutes, and until when all is done."""
    total, done = 0, None
    for _ in range(_MOST_ROUNDS):
        async with db.transaction() as conn:
            hour = await rollups.find_late_hour(conn)
            done = await rollups.get_done_until(conn)
        if hour is None:
            break
        kept = oldest <= hour <= now
        if kept:
            days = {hour.astimezone(UTC).date(), (hour + _HOUR + _OVERLAP).astimezone(UTC).date()}
            await ensure_days(db, "container_metrics_1m", sorted(days))
        async with db.transaction() as conn:
            if not await rollups.take_late_hour(conn, hour) or not kept:
                continue
            await rollups.lock_done_until(conn)
            until = min(hour + _HOUR + _OVERLAP, _minute(now) + timedelta(minutes=1))
            total += await rollups.roll_minutes(conn, since=hour, until=until)
            await rollups.roll_coarser(conn, since=hour, until=until)
    return total, done


def _minute(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(second=0, microsecond=0)
