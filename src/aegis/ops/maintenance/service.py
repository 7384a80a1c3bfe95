"""Maintenance as one object: the plan, a run of it, what was done."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.ops.maintenance import doing, finding, history, measuring, planning
from aegis.ops.maintenance.models import Outcome
from aegis.ops.maintenance.window import closes_at

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.config import Settings
    from aegis.db import Connection, Database
    from aegis.ops.maintenance.models import Done, Partitioned, Progress, RunState, Step

__all__ = ["Maintenance"]

_KEEP: Final = timedelta(days=400)


def _clock() -> datetime:
    return datetime.now(UTC)


class Maintenance:
    """Maintenance of one database. `now` is the clock, for those who test."""

    def __init__(
        self,
        db: Database,
        settings: Settings,
        *,
        now: Callable[[], datetime] = _clock,
        rules: planning.Rules | None = None,
    ) -> None:
        self._db = db
        self._settings = settings
        self._now = now
        self._rules = rules or planning.Rules()

    async def plan(self) -> Sequence[Step]:
        """Return what would be done now, in this order; nothing is changed."""
        async with self._db.transaction() as conn:
            return await self._plan(conn)

    async def partitions(self) -> Sequence[Partitioned]:
        """Return the tables that are parted by time, and how far ahead each is."""
        async with self._db.transaction() as conn:
            return await finding.list_partitioned(conn, self._now())

    async def history(self, *, limit: int = 50, object: str | None = None) -> Sequence[Done]:
        """Return what was done, the newest first."""
        if not 1 <= limit <= 10_000:
            raise InvalidInput(f"limit is {limit}; it is 1 to 10,000.")
        async with self._db.transaction() as conn:
            return await history.list_runs(conn, limit=limit, object=object)

    async def run(
        self,
        *,
        outside_window: bool = False,
        tell: Callable[[Step | Progress], None] | None = None,
    ) -> Outcome:
        """Take the steps of the plan, one after the other, until done or the window closes.

        Raises:
            Conflict: another process maintains the database, or no window is open.
        """
        closes = closes_at(self._settings.maintenance_window, self._now())
        if outside_window:
            closes = closes or self._now() + timedelta(days=1)
        if closes is None:
            raise Conflict(
                f"It is no time for maintenance (AEGIS_MAINTENANCE_WINDOW is "
                f"{self._settings.maintenance_window}, UTC); --now does it all the same.",
                code="maintenance_window_closed",
            )
        async with self._db.owner("Maintenance") as conn:
            interrupted = await self._alone(conn)
            try:
                steps = await self._plan(conn)
                outcome = await self._take(conn, steps, closes, tell, interrupted)
                await history.drop_old(conn, self._now() - _KEEP)
            finally:
                await self._leave(conn)
        return outcome

    async def rewrite(
        self,
        table: str,
        *,
        anyway: bool = False,
        tell: Callable[[Step | Progress], None] | None = None,
    ) -> Outcome:
        """Rewrite a table with VACUUM FULL, which locks it until it is done.

        Without `anyway` only in the window, and only where at least a third of the table is proven
        to be empty, by `pgstattuple` where it is installed, by reading the table otherwise.

        Raises:
            NotFound: there is no such table.
            Conflict: it is not bloated, no window is open, or another process is at work.
        """
        closes = closes_at(self._settings.maintenance_window, self._now())
        if closes is None and not anyway:
            raise Conflict(
                "VACUUM FULL locks the table: it is done in AEGIS_MAINTENANCE_WINDOW "
                f"({self._settings.maintenance_window}, UTC), or with --now.",
                code="maintenance_window_closed",
            )
        async with self._db.owner("Maintenance") as conn:
            interrupted = await self._alone(conn)
            try:
                need = await finding.find_table(conn, table)
                if need is None:
                    raise NotFound(f"There is no table {table!r}.")
                empty = await measuring.empty_share(conn, need.schema, need.name)
                if empty < 1 / 3 and not anyway:
                    raise Conflict(
                        f"{need.schema}.{need.name} is {empty:.0%} empty, which VACUUM FULL is "
                        "not worth; --now does it all the same.",
                        code="not_bloated",
                    )
                reason = f"{empty:.0%} empty, measured"
                step = planning.full_step(need, reason=reason)
                closes = closes or self._now() + timedelta(days=1)
                return await self._take(conn, [step], closes, tell, interrupted)
            finally:
                await self._leave(conn)

    async def _plan(self, conn: Connection) -> list[Step]:
        needs = await finding.find_needs(conn, least_index_bytes=self._rules.least_index_bytes)
        return planning.make_plan(needs, now=self._now(), rules=self._rules)

    async def _alone(self, conn: Connection) -> int:
        """Take the lock and mark what a process left that is gone (`Conflict`)."""
        if not await history.try_alone(conn):
            raise Conflict(
                "Another process maintains this database; `aegis maintenance history` shows it.",
                code="maintenance_running",
            )
        # Should we be gone in the middle of a long step, the server notices, and lets the lock go.
        await conn.execute("SELECT set_config('client_connection_check_interval', '1s', false)")
        return await history.mark_interrupted(conn)

    async def _leave(self, conn: Connection) -> None:
        if not (conn.broken or conn.closed):
            await conn.execute("RESET client_connection_check_interval")
            await conn.execute("SELECT pg_advisory_unlock_all()")

    async def _take(
        self,
        conn: Connection,
        steps: Sequence[Step],
        closes: datetime,
        tell: Callable[[Step | Progress], None] | None,
        interrupted: int,
    ) -> Outcome:
        # What is left of the window is counted by a clock that nobody sets.
        until = time.monotonic() + (closes - self._now()).total_seconds()
        ends: list[RunState] = []
        freed = 0
        for step in steps:
            left_s = until - time.monotonic()
            if left_s <= 0:
                break
            if tell is not None:
                tell(step)
            state, bytes_freed = await doing.do_step(
                self._db, conn, step, settings=self._settings, left_s=left_s, tell=tell
            )
            ends.append(state)
            freed += bytes_freed
        return Outcome(
            done=ends.count("done"),
            failed=ends.count("failed"),
            deferred=ends.count("deferred"),
            left=len(steps) - len(ends),
            interrupted=interrupted,
            freed_bytes=freed,
        )
