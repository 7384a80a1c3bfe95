"""What the worker and the domains whose work it runs agree on: claims, leases, fencing tokens.

A row of work carries a lease (`lease_owner`, `lease_until`) and a fencing token that rises with
each claim. Whoever writes to the row names the token it claimed with, so a worker that was taken
for dead changes nothing any more. A domain offers its work as a `Kind`; it does not know the
worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from psycopg import sql

from aegis.db.translate import translated

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Sequence

    from aegis.db.database import Connection, Database

__all__ = ["CHANNEL", "LOST", "Claim", "Kind", "listen", "notify"]

#: `pg_notify(CHANNEL, name of the kind)` in the transaction that makes work due wakes the workers.
CHANNEL = "aegis_work"
#: After the name of the kind in a notification: leases were taken away, as by a cancellation, and
#: whoever holds some looks at them now.
LOST = "!"


async def notify(conn: Connection, kind: str, *, lost: bool = False) -> None:
    """Wake the workers for a kind when the transaction commits; `lost` has them look at leases."""
    await conn.execute("SELECT pg_notify(%s, %s)", [CHANNEL, kind + LOST if lost else kind])


async def listen(db: Database) -> AsyncGenerator[str | None]:
    """Yield None once notifications come, by a connection of its own, and then each payload.

    Raises:
        Unavailable: the connection could not be made, or broke; what was notified since is lost.
    """
    conn = await db.dedicated()
    try:
        with translated():
            await conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
            yield None
            async for notification in conn.notifies():
                yield notification.payload
    finally:
        await conn.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One piece of work that a worker holds for the length of its lease."""

    kind: str
    id: str
    #: Fencing token; a write that names an older one changes nothing.
    token: int
    #: What the limit of things at once per key counts, such as a host or a workflow.
    key: str | None = None
    #: What the rate limit per provider counts.
    provider: str | None = None
    #: Higher first.
    priority: int = 0


class Kind(Protocol):
    """Work of one kind, as the worker sees it.

    It may have `concurrency` and `per_key`, whole numbers: how much of it, and how much of one
    key, a worker runs at once. Without them a worker's own limit is all.
    """

    @property
    def name(self) -> str:
        """What claims, settings and notifications call it: `workflows`, `research`, …"""
        ...

    async def claim(
        self, owner: str, *, limit: int, lease_s: float, without_keys: Collection[str] = ()
    ) -> list[Claim]:
        """Take up to `limit` due pieces, also those whose lease ran out, most urgent first.

        `without_keys` have as much going on as they may. One statement with `FOR UPDATE SKIP
        LOCKED`, committed before it returns.
        """
        ...

    async def renew(self, claims: Sequence[Claim], *, lease_s: float) -> set[str]:
        """Extend the leases of what is still held, and return the ids of that."""
        ...

    async def release(self, claims: Sequence[Claim]) -> None:
        """Hand back what is not done, due at once, without counting it as an attempt."""
        ...

    async def run(self, claim: Claim) -> None:
        """Do one piece and record how it ended, failure included, under the claim's token.

        It is cancelled when the worker stops or the lease is lost. What it raises is a defect or
        an outage: the worker logs it and the lease runs out.
        """
        ...

    async def next_due(self) -> float | None:
        """Return seconds until the next piece is due, 0 for now, None where nothing waits."""
        ...
