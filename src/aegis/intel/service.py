"""Watching competitors as one object: who, which pages, what changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio

from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.intel import digest as digests
from aegis.intel import validate
from aegis.intel.extracting import check_selectors
from aegis.intel.holding import held
from aegis.intel.models import Checked, Found
from aegis.intel.store import changes, competitors, pages
from aegis.intel.telling import key_of
from aegis.intel.urls import clean, page_type, start_url
from aegis.intel.watching import Watching
from aegis.security.audit.recording import audited, note

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.intel.discovering import Discovered
    from aegis.intel.models import Change, Competitor, Page
    from aegis.intel.telling import Alerting
    from aegis.intel.work import IntelWork
    from aegis.memory import Memory

__all__ = ["Intel"]

_MOST_SETTLING = 10


def _clock() -> datetime:
    return datetime.now(UTC)


class Intel:
    """The competitors of one database. `now` is the clock, for those who test."""

    def __init__(
        self,
        db: Database,
        settings: Settings,
        *,
        memory: Memory | None = None,
        alerting: Alerting | None = None,
        now: Callable[[], datetime] = _clock,
    ) -> None:
        self._db = db
        self._settings = settings
        self._memory = memory
        self._alerting = alerting
        self._now = now

    def watching(self) -> Watching:
        """Return what checks pages and looks for them; open it with `async with`."""
        return Watching(self._db, self._settings, memory=self._memory, alerting=self._alerting)

    def work(self) -> IntelWork:
        """Return what a worker runs."""
        from aegis.intel.work import IntelWork

        return IntelWork(self._db, self._settings, self.watching())

    async def add(
        self,
        domain: str,
        *,
        name: str | None = None,
        category: str | None = None,
        every: str | int | None = None,
        discover: bool = True,
    ) -> tuple[Competitor, Discovered | None]:
        """Add a competitor and look for its pages: some are watched, the others proposed.

        A site that cannot be reached is added all the same, and looked at again later.

        Raises:
            InvalidInput: a value cannot be accepted.
            Conflict: the domain is there already.
        """
        place, url = start_url(domain)
        chosen = validate.check_name(name or place.removeprefix("www."))
        if len(place) > 200:
            raise InvalidInput(f"domain has {len(place)} characters; up to 200 are kept.")
        async with self._db.transaction() as conn:
            await competitors.lock_domains(conn)
            for known in await competitors.find_competitors(conn, place):
                if known.domain.lower() == place.lower():
                    raise Conflict(
                        f"{place} is watched already, as {known.name!r} ({known.id}).",
                        code="competitor_exists",
                    )
            made = await competitors.add_competitor(
                conn,
                name=chosen,
                domain=place,
                url=url,
                category=validate.check_category(category),
                check_every_s=validate.check_every(every) or 86_400,
            )
        found: Discovered | None = None
        if discover:
            async with self.watching() as watching:
                found = await watching.try_discover(made)
        return await self.competitor(str(made)), found

    async def competitor(self, text: str) -> Competitor:
        """Return the competitor of this id, name or domain.

        Raises:
            NotFound: there is none.
            Conflict: there are several of the name.
        """
        async with self._db.transaction() as conn:
            found = await competitors.find_competitors(conn, text.strip())
        exact = [c for c in found if str(c.id) == text.strip()] or found
        if not exact:
            raise NotFound(f"There is no competitor {text[:60]!r}; `aegis intel list` names them.")
        if len(exact) > 1:
            ids = ", ".join(str(c.id) for c in exact)
            raise Conflict(f"{text[:60]!r} names several competitors; give an id of {ids}.")
        return exact[0]

    async def list(self) -> Sequence[Competitor]:
        """Return all competitors by name."""
        async with self._db.transaction() as conn:
            return await competitors.list_competitors(conn)

    async def configure(
        self,
        competitor: str,
        *,
        enabled: bool | None = None,
        every: str | int | None = None,
        category: str | None = None,
    ) -> Competitor:
        """Set what is not None of a competitor, and return it."""
        found = await self.competitor(competitor)
        async with self._db.transaction() as conn:
            await competitors.configure_competitor(
                conn,
                found.id,
                enabled=enabled,
                check_every_s=validate.check_every(every),
                category=validate.check_category(category),
                discover=False,
            )
        return await self.competitor(str(found.id))

    async def remove(self, competitor: str) -> dict[str, int]:
        """Delete a competitor with its pages and changes, and return how many of each."""
        found = await self.competitor(competitor)
        async with audited(self._db) as conn:
            gone = await competitors.remove_competitor(conn, found.id)
            note(conn, "intel.remove", "competitor", found.id, rows=gone)
            return gone

    async def discover(self, competitor: str) -> Discovered:
        """Look for a competitor's pages now (`Unavailable`, `PermissionDenied`)."""
        found = await self.competitor(competitor)
        async with self.watching() as watching:
            return await watching.discoverer.discover(found.id)

    async def pages(
        self,
        competitor: str | None = None,
        *,
        states: Sequence[str] = (),
        page_type: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Sequence[Page]:
        """Return pages by id, those after the id `after`."""
        chosen = [validate.check_state(state) for state in states]
        kind = None if page_type is None else validate.check_type(page_type)
        found = None if competitor is None else (await self.competitor(competitor)).id
        async with self._db.transaction() as conn:
            return await pages.list_pages(
                conn,
                competitor_id=found,
                states=chosen,
                page_type=kind,
                after=after,
                limit=validate.check_limit(limit),
            )

    async def page(self, page_id: int) -> Page:
        """Return one page (`NotFound`)."""
        async with self._db.transaction() as conn:
            return await pages.get_page(conn, page_id)

    async def watch(
        self, competitor: str, url: str, *, kind: str | None = None, browser: bool = False
    ) -> Page:
        """Watch a page of a competitor by its address (`InvalidInput`, `NotFound`)."""
        found = await self.competitor(competitor)
        address = clean(url)
        chosen = page_type(address) if kind is None else validate.check_type(kind)
        page = Found(url=address, page_type=chosen, listed=False)
        async with self._db.transaction() as conn:
            await competitors.lock_competitor(conn, found.id)
            made = await pages.add_pages(conn, found.id, [page], state="watched")
            known = await pages.list_pages(
                conn, competitor_id=found.id, states=[], page_type=None, after=0, limit=100_000
            )
            page_id = made[0] if made else next(p.id for p in known if p.url == address)
            await pages.choose_pages(conn, [page_id], state="watched")
            if browser:
                await pages.configure_page(conn, page_id, browser=True)
            return await pages.get_page(conn, page_id)

    async def choose(self, ids: Sequence[int], state: str) -> list[int]:
        """Watch, propose or ignore pages, and return the ids that exist (`InvalidInput`)."""
        chosen = validate.check_state(state)
        if chosen == "gone":
            raise InvalidInput("state is 'gone'; that is for checks to say.")
        async with self._db.transaction() as conn:
            return await pages.choose_pages(conn, ids, state=chosen)

    async def configure_page(
        self,
        page_id: int,
        *,
        kind: str | None = None,
        browser: bool | None = None,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        every: str | int | None = None,
    ) -> Page:
        """Set what is not None of a page; it is checked again at once, without a false change."""
        chosen = None if kind is None else validate.check_type(kind)
        every_s = validate.check_every(every)
        included = None if include is None else check_selectors(include)
        excluded = None if exclude is None else check_selectors(exclude)
        async with self._db.transaction() as conn:
            await pages.get_page(conn, page_id)
            await pages.configure_page(
                conn,
                page_id,
                page_type=chosen,
                browser=browser,
                include=included,
                exclude=excluded,
                check_every_s=every_s,
            )
            return await pages.get_page(conn, page_id)

    async def check(
        self,
        competitor: str | None = None,
        *,
        page_id: int | None = None,
        everything: bool = False,
        settle: bool = False,
        progress: Callable[[Checked], None] | None = None,
    ) -> Sequence[Checked]:
        """Check pages now: one, those of a competitor, or those that are due.

        `everything` takes those that are not due, too; `settle` waits and fetches again until
        nothing is left to be confirmed or learned. Of several, one that somebody else is checking
        just now is left to them (`lost`).

        Raises:
            Conflict: somebody else is checking the one that was named.
        """
        ids = await self._chosen(competitor, page_id, everything)
        found: list[Checked] = []
        async with self.watching() as watching:
            for one in ids:
                try:
                    done = await self._check_one(watching, one, settle=settle)
                except Conflict as busy:
                    if page_id is not None:
                        raise
                    done = await self._left(one, busy.message)
                found.append(done)
                if progress is not None:
                    progress(done)
            await watching.tell()
        return found

    async def changes(
        self,
        competitor: str | None = None,
        *,
        page_id: int | None = None,
        types: Sequence[str] = (),
        importance: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        unseen: bool = False,
        before: int | None = None,
        limit: int = 50,
    ) -> Sequence[Change]:
        """Return changes, the newest first; `before` is the id of the last of the page before."""
        found = None if competitor is None else (await self.competitor(competitor)).id
        async with self._db.transaction() as conn:
            return await changes.list_changes(
                conn,
                competitor_id=found,
                page_id=page_id,
                change_types=validate.check_change_types(types),
                importances=validate.least_importance(importance),
                since=since,
                until=until,
                unseen=unseen,
                before=before,
                limit=validate.check_limit(limit),
            )

    async def change(self, change_id: int) -> Change:
        """Return one change with both texts and both diffs (`NotFound`)."""
        async with self._db.transaction() as conn:
            return await changes.get_change(conn, change_id)

    async def acknowledge(
        self, ids: Sequence[int] = (), *, competitor: str | None = None
    ) -> list[int]:
        """Take note of changes, by id or all of a competitor; return those that were new."""
        found = None if competitor is None else (await self.competitor(competitor)).id
        async with self._db.transaction() as conn:
            noted = await changes.acknowledge(conn, ids, competitor_id=found)
        if self._alerting is not None:
            # Those of before as well: their alerts may not have ended then.
            await self._alerting.over([key_of(change) for change in {*ids, *noted}])
        return noted

    async def digest(
        self, *, days: float = 7.0, competitor: str | None = None, importance: str | None = None
    ) -> str:
        """Return what changed in the last days as Markdown: the weekly digest."""
        if not 0 < days <= 366:
            raise InvalidInput(f"days is {days:g}; it is above 0 and up to 366.")
        until = self._now()
        since = until - timedelta(days=days)
        found = await self.changes(
            competitor, since=since, until=until, importance=importance, limit=1_000
        )
        watched = await self.pages(competitor, states=["watched", "gone"], limit=1_000)
        failing = [page for page in watched if page.failures >= 3]
        return digests.render(found, failing, since=since, until=until)

    async def _chosen(
        self, competitor: str | None, page_id: int | None, everything: bool
    ) -> Sequence[int]:
        if page_id is not None:
            return [(await self.page(page_id)).id]
        found = None if competitor is None else (await self.competitor(competitor)).id
        async with self._db.transaction() as conn:
            return await pages.list_due(conn, competitor_id=found, only_due=not everything)

    async def _check_one(self, watching: Watching, page_id: int, *, settle: bool) -> Checked:
        made: tuple[int, ...] = ()
        left = _MOST_SETTLING if settle else 1
        done: Checked | None = None
        while True:
            try:
                async with held(self._db, page_id) as token:
                    done = await watching.checker.check(page_id, token)
                made += done.changes
            except Conflict:
                # A worker came first to the fetch that confirms: one of the next is ours.
                if done is None:
                    raise
            left -= 1
            waits = done.outcome in ("first", "pending") or await self._learning(page_id)
            if left == 0 or not waits:
                return replace(done, changes=made)
            await anyio.sleep(self._settings.intel_confirm_s)

    async def _left(self, page_id: int, why: str) -> Checked:
        async with self._db.connection() as conn:
            row = await pages.get_row(conn, page_id)
        url = "" if row is None else row.url
        return Checked(page_id=page_id, url=url, outcome="lost", detail=why)

    async def _learning(self, page_id: int) -> bool:
        async with self._db.transaction() as conn:
            row = await pages.get_row(conn, page_id)
        return row is not None and bool(row.noise.get("learning"))
