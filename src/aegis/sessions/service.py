"""Sessions of one client: what hooks report, and what came of it.

Reads see what hooks have put into this machine's spool: they drain it first.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aegis.config import spool_folder
from aegis.errors import AegisError, InvalidInput, Unavailable
from aegis.memory import validate
from aegis.memory.binding import bound
from aegis.sessions import answering, sweeping
from aegis.sessions.events import MAX_SESSION_ID, read_record
from aegis.sessions.models import STATUSES, SessionDetail, Swept
from aegis.sessions.recording import drain, record_events
from aegis.sessions.store import reading as store

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from aegis.memory import Memory
    from aegis.sessions.models import Session, SessionEvent, SessionImport
    from aegis.sessions.prices import Prices

__all__ = ["Sessions"]

MAX_PAGE = 1_000
#: Seconds that a read waits for somebody else's drain.
_DRAIN_S = 10.0
#: Seconds that a hook waits until its event is written, and until it is answered.
_WRITE_S, _HOOK_S = 0.8, 1.2
#: Seconds in which nobody is kept waiting for a database that has just not answered.
_PAUSE_S = 5.0


class Sessions:
    """Agent sessions; `namespace` is what a call that names none means."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._down_until = 0.0

    @property
    def namespace(self) -> str:
        """Whose sessions a call without a namespace means."""
        return self._memory.namespace

    @property
    def spool(self) -> Path:
        """Where hooks of this machine put what they were told."""
        settings = self._memory.database.settings
        return spool_folder(settings.data_dir, settings.database_url)

    async def hook(
        self, record: Mapping[str, Any], *, spooled: bool = False, within_s: float = _HOOK_S
    ) -> str | None:
        """Record an event and return what the agent ought to be told, None for nothing.

        For hooks, which wait for it: where the database is away it fails at once, and what is
        not remembered `within_s` is not waited for. `spooled` events are in this machine's spool.

        Raises:
            InvalidInput: it is no event.
            Unavailable: the database does not answer in time; the spool has the event.
        """
        event = read_record(dict(record))
        if time.monotonic() < self._down_until:
            raise Unavailable("The database did not answer a moment ago.")
        budget = self._memory.database.settings.hook_budget_tokens
        try:
            async with asyncio.timeout(_WRITE_S):
                drained = await drain(self._memory.database, self.spool, wait_s=_WRITE_S / 2)
                if not spooled or drained is None:
                    await record_events(self._memory.database, [event])
        except TimeoutError:
            self._down_until = time.monotonic() + _PAUSE_S
            raise Unavailable("The database does not answer in time.") from None
        except Unavailable:
            self._down_until = time.monotonic() + _PAUSE_S
            raise
        if budget == 0:
            return None
        try:
            async with asyncio.timeout(within_s):
                return await answering.answer(self._memory, event, budget_tokens=budget)
        except TimeoutError:
            return None

    async def drain(self) -> int:
        """Write what waits in the spool and return how many events that were.

        Raises:
            AegisError: the database is not there; the spool keeps everything.
        """
        try:
            # Whoever asks: hooks spooled for any namespace.
            with bound(None):
                written = await drain(self._memory.database, self.spool, wait_s=_DRAIN_S)
        except AegisError:
            self._down_until = time.monotonic() + _PAUSE_S
            raise
        return written or 0

    async def list(
        self,
        *,
        limit: int = 50,
        before: tuple[datetime, str] | None = None,
        status: Sequence[str] = (),
        cwd: str | None = None,
        namespace: str | None = None,
    ) -> builtins.list[Session]:
        """Return a page of sessions without sub-agents, the latest start first.

        `before` is the start and the id of the last session of the page before this one.
        """
        validate.check_limit("limit", limit, most=MAX_PAGE)
        for each in status:
            validate.check_choice("status", each, STATUSES)
        place = validate.namespace_of(namespace, self.namespace)
        await self.drain()
        async with self._memory.database.transaction() as conn:
            return await store.list_sessions(
                conn, namespace=place, statuses=status, cwd=cwd, before=before, limit=limit
            )

    async def get(self, session_id: str, *, namespace: str | None = None) -> SessionDetail:
        """Return a session with its tools, files and sub-agents.

        Raises:
            NotFound: the namespace has none of this id.
        """
        _check_session_id(session_id)
        place = validate.namespace_of(namespace, self.namespace)
        await self.drain()
        async with self._memory.database.transaction() as conn:
            return SessionDetail(
                session=await store.get_session(conn, session_id, namespace=place),
                tools=await store.list_tools(conn, session_id),
                files=await store.list_files(conn, session_id),
                agents=await store.list_agents(conn, session_id),
            )

    async def events(
        self,
        session_id: str | None = None,
        *,
        after: int | None = None,
        limit: int = 50,
        namespace: str | None = None,
    ) -> builtins.list[SessionEvent]:
        """Return events in the order they came: the last ones, or those after the id `after`."""
        validate.check_limit("limit", limit, most=MAX_PAGE)
        if session_id is not None:
            _check_session_id(session_id)
        if after is not None and not 0 <= after < 2**63:
            raise InvalidInput(f"after is {after}; give the id of an event, or 0.")
        place = validate.namespace_of(namespace, self.namespace)
        await self.drain()
        async with self._memory.database.transaction() as conn:
            return await store.list_events(
                conn, namespace=place, session_id=session_id, after=after, limit=limit
            )

    async def sweep(self, *, idle_minutes: int | None = None) -> Swept:
        """Drain the spool, read transcripts, and close what has been silent, of every namespace."""
        minutes = self._memory.database.settings.session_idle_minutes
        if idle_minutes is not None:
            validate.check_limit("idle_minutes", idle_minutes, most=525_600)
            minutes = idle_minutes
        drained = await self.drain()
        read, remembered = await sweeping.read_due(self._memory)
        closed, more = await sweeping.close_silent(
            self._memory, now=datetime.now(UTC), idle_minutes=minutes
        )
        return Swept(
            drained=drained,
            read=read,
            remembered=remembered + more,
            closed=closed,
            dropped=await self.drop_events(),
        )

    async def drop_events(self, *, keep_days: int | None = None) -> int:
        """Drop single events of sessions that ended, older than is kept; return how many.

        The sessions, their counts and their costs stay. In batches, each a transaction of its own.
        """
        days = self._memory.database.settings.session_events_keep_days
        if keep_days is not None:
            validate.check_limit("keep_days", keep_days, most=36_500)
            days = keep_days
        if days == 0:
            return 0
        return await sweeping.drop_events(
            self._memory.database, before=datetime.now(UTC) - timedelta(days=days)
        )

    @property
    def prices(self) -> Prices:
        """What models cost."""
        from aegis.sessions.prices import Prices

        return Prices(self._memory.database)

    async def import_path(
        self,
        path: Path,
        *,
        namespace: str | None = None,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> SessionImport:
        """Import a transcript, or all below a folder; again adds only what is new.

        Raises:
            InvalidInput: there is no transcript at `path`.
        """
        from aegis.sessions.importing import import_transcripts

        place = validate.namespace_of(namespace, self.namespace)
        await self.drain()
        report = await import_transcripts(
            self._memory, path, namespace=place, on_progress=on_progress
        )
        await self.sweep()
        return report


def _check_session_id(value: Any) -> None:
    validate.check_text("session_id", value, most=MAX_SESSION_ID)
