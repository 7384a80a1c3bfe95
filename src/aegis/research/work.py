"""Research as work of the worker: a job holds a slot while it is asked about, not between polls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.db.lease import Claim, notify
from aegis.research.models import PROVIDERS
from aegis.research.store import claims as store

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from aegis.db import Database
    from aegis.research.running import Runner

__all__ = ["ResearchWork"]


class ResearchWork:
    """The kind `research`; a claim's key and provider is the provider's name."""

    def __init__(self, db: Database, runner: Runner) -> None:
        self._db = db
        self._runner = runner

    @property
    def name(self) -> str:
        """What claims, settings and notifications call it."""
        return "research"

    async def claim(
        self,
        owner: str,
        *,
        limit: int,
        lease_s: float,
        without_keys: Collection[str] = (),
        only: str | None = None,
    ) -> list[Claim]:
        """Take up to `limit` due jobs, also those whose lease ran out; `only` the one named.

        Jobs of a provider whose key this process lacks are for others.
        """
        async with self._db.transaction() as conn:
            taken = await store.claim_jobs(
                conn,
                owner,
                limit=limit,
                lease_s=lease_s,
                without=without_keys,
                unready=self._runner.unready(),
                only=only,
            )
        return [
            Claim(
                kind=self.name,
                id=one.id,
                token=one.token,
                key=one.provider if one.provider in PROVIDERS else None,
                provider=one.provider,
                priority=one.priority,
            )
            for one in taken
        ]

    async def renew(self, claims: Sequence[Claim], *, lease_s: float) -> set[str]:
        """Extend the leases of what is still held, and return the ids of that."""
        async with self._db.transaction() as conn:
            return await store.renew_jobs(conn, _held(claims), lease_s=lease_s)

    async def release(self, claims: Sequence[Claim]) -> None:
        """Hand back what is not done, due at once for other workers."""
        async with self._db.transaction() as conn:
            if await store.release_jobs(conn, _held(claims)):
                # They sleep until the leases would have run out.
                await notify(conn, self.name)

    async def run(self, claim: Claim) -> None:
        """Take one step: start it, poll it, end it or remember it."""
        await self._runner.step(claim.id, claim.token)

    async def next_due(self) -> float | None:
        """Return seconds until the next job is due, 0 for now, None where nothing waits."""
        async with self._db.transaction() as conn:
            return await store.seconds_to_next(conn, unready=self._runner.unready())


def _held(claims: Sequence[Claim]) -> list[tuple[str, int]]:
    return [(claim.id, claim.token) for claim in claims]
