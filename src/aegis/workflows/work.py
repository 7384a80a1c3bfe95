"""Executions as a kind of work: what is due is claimed by batches, and driven one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.db.lease import Claim
from aegis.workflows.run import Run
from aegis.workflows.store import claims as store

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from aegis.workflows.engine import Engine
    from aegis.workflows.store.claims import Held

__all__ = ["WorkflowsKind"]


class WorkflowsKind:
    """The `Kind` of workflow executions; the key of a claim is its workflow's id."""

    name = "workflows"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: dict[tuple[str, int], Held] = {}

    async def claim(
        self, owner: str, *, limit: int, lease_s: float, without_keys: Collection[str] = ()
    ) -> list[Claim]:
        """Take up to `limit` due executions, also those whose lease ran out."""
        async with self._engine.db.connection() as conn:
            found = await store.claim(
                conn, owner=owner, limit=limit, lease_s=lease_s, without_keys=without_keys
            )
        for held in found:
            self._held[held.id, held.token] = held
        return [
            Claim(
                kind=self.name,
                id=held.id,
                token=held.token,
                key=held.workflow_id,
                priority=held.priority,
            )
            for held in sorted(found, key=lambda h: -h.priority)
        ]

    async def renew(self, claims: Sequence[Claim], *, lease_s: float) -> set[str]:
        """Extend the leases of what is still held, and return the ids of that."""
        async with self._engine.db.connection() as conn:
            return await store.renew(
                conn,
                ids=[claim.id for claim in claims],
                tokens=[claim.token for claim in claims],
                lease_s=lease_s,
            )

    async def release(self, claims: Sequence[Claim]) -> None:
        """Hand back what is not done, due at once."""
        for claim in claims:
            self._held.pop((claim.id, claim.token), None)
        async with self._engine.db.connection() as conn:
            await store.release(
                conn,
                ids=[claim.id for claim in claims],
                tokens=[claim.token for claim in claims],
            )

    async def run(self, claim: Claim) -> None:
        """Drive an execution until it ended, has to wait, or was taken away.

        Raises:
            Unavailable: the database stayed away.
        """
        held = self._held.pop((claim.id, claim.token), None)
        if held is None:
            async with self._engine.db.transaction() as conn:
                found = await store.read_held(conn, id=claim.id, token=claim.token)
            if not found:
                return
            held = found[0]
        await Run(self._engine, held).drive()

    async def next_due(self) -> float | None:
        """Return seconds until the next execution is due, 0 for now, None where none waits."""
        async with self._engine.db.connection() as conn:
            return await store.find_due_s(conn)
