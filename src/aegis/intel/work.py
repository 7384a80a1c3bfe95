"""Checks and looks for pages as work of a worker, the host as key: `intel`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aegis.db.lease import CHANNEL, Claim, notify
from aegis.intel.store import work

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.intel.watching import Watching

__all__ = ["CHANNEL", "IntelWork"]

_PAGE, _COMPETITOR = "page:", "competitor:"
#: Seconds between looks for changes that are still to be told.
_TELL_S = 30.0


class IntelWork:
    """Due pages and competitors; `watching` does them."""

    def __init__(self, db: Database, settings: Settings, watching: Watching) -> None:
        self._db = db
        self._per_host = settings.intel_per_host
        self._watching = watching
        self._told_at = float("-inf")

    @property
    def name(self) -> str:
        """Return what claims and settings call it."""
        return "intel"

    async def claim(
        self, owner: str, *, limit: int, lease_s: float, without_keys: Collection[str] = ()
    ) -> list[Claim]:
        """Take up to `limit` due pages and competitors, the longest due first."""
        async with self._db.transaction() as conn:
            pages = await work.claim_pages(
                conn,
                owner,
                limit=limit,
                lease_s=lease_s,
                per_host=self._per_host,
                without_hosts=without_keys,
            )
            left = limit - len(pages)
            found = (
                await work.claim_competitors(
                    conn, owner, limit=left, lease_s=lease_s, without_hosts=without_keys
                )
                if left
                else []
            )
        return [
            Claim(kind=self.name, id=f"{begin}{row.id}", token=row.lease_token, key=row.host)
            for begin, rows in ((_PAGE, pages), (_COMPETITOR, found))
            for row in rows
        ]

    async def renew(self, claims: Sequence[Claim], *, lease_s: float) -> set[str]:
        """Extend leases, and return the ids of what is still held."""
        async with self._db.transaction() as conn:
            pages = await work.renew_pages(conn, _held(claims, _PAGE), lease_s=lease_s)
            found = await work.renew_competitors(conn, _held(claims, _COMPETITOR), lease_s=lease_s)
        return {f"{_PAGE}{n}" for n in pages} | {f"{_COMPETITOR}{n}" for n in found}

    async def release(self, claims: Sequence[Claim]) -> None:
        """Hand back what is not done, due at once for other workers."""
        async with self._db.transaction() as conn:
            pages = await work.release_pages(conn, _held(claims, _PAGE))
            found = await work.release_competitors(conn, _held(claims, _COMPETITOR))
            if pages or found:
                # They sleep until the leases would have run out.
                await notify(conn, self.name)

    async def run(self, claim: Claim) -> None:
        """Check one page or look for one competitor's pages, and tell what is to be told."""
        if claim.id.startswith(_PAGE):
            page_id = int(claim.id.removeprefix(_PAGE))
            done = await self._watching.checker.check(page_id, claim.token)
            news = bool(done.changes)
        else:
            number = int(claim.id.removeprefix(_COMPETITOR))
            found = await self._watching.try_discover(number, claim.token)
            news = found is not None and bool(found.changes)
        # What another worker left untold is found now and then.
        if news or time.monotonic() - self._told_at > _TELL_S:
            self._told_at = time.monotonic()
            await self._watching.tell()

    async def next_due(self) -> float | None:
        """Return seconds until the next piece is due, 0 for now, None where nothing waits."""
        async with self._db.transaction() as conn:
            return await work.seconds_until_due(conn)


def _held(claims: Sequence[Claim], begin: str) -> list[tuple[int, int]]:
    return [
        (int(claim.id.removeprefix(begin)), claim.token)
        for claim in claims
        if claim.id.startswith(begin)
    ]
