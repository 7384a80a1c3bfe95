"""Jobs as work that a worker runs: claimed in batches, each a function's call, finished in batches.

Invariant: of one key one job runs at a time, over all workers; an index sees to it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any, Final

from aegis.db.lease import Claim, notify
from aegis.errors import AegisError, Conflict
from aegis.security.audit.actor import Actor, act_as
from aegis.worker.backoff import is_final, retry_delay
from aegis.worker.finishing import Finisher
from aegis.worker.functions import current_job
from aegis.worker.store import claims as store
from aegis.worker.validate import check_result

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from aegis.db import Database
    from aegis.worker.functions import Client, Functions
    from aegis.worker.store.claims import Claimed

__all__ = ["NAME", "JobsKind"]

_log = logging.getLogger("aegis.worker")

NAME: Final = "jobs"
#: Tries of a claim that met another of the same key.
_TRIES: Final = 5
_LONGEST_ERROR: Final = 2_000


class JobsKind:
    """The kind `jobs`. `client` is what functions are called with."""

    name = NAME

    def __init__(
        self,
        db: Database,
        client: Client,
        functions: Functions,
        *,
        rng: Callable[[], random.Random] = random.SystemRandom,
    ) -> None:
        self._db = db
        self._client = client
        self._functions = functions
        self._rng = rng()
        self._finisher = Finisher(db)
        #: By id and token: an attempt that was lost may still be on its way out.
        self._claimed: dict[tuple[str, int], Claimed] = {}

    async def claim(
        self, owner: str, *, limit: int, lease_s: float, without_keys: Collection[str] = ()
    ) -> list[Claim]:
        """Take up to `limit` due jobs, those of dead workers first."""
        for last in range(_TRIES):
            try:
                async with self._db.transaction() as conn:
                    taken = await store.claim(
                        conn,
                        owner,
                        limit=limit,
                        lease_s=lease_s,
                        functions=self._functions.names(),
                        without_keys=without_keys,
                    )
            except Conflict:
                if last == _TRIES - 1:
                    return []
                continue
            break
        else:
            return []
        taken.sort(key=lambda job: (-job.priority, job.due_at, job.id))
        self._claimed.update({(str(job.id), job.token): job for job in taken})
        return [
            Claim(
                kind=NAME,
                id=str(job.id),
                token=job.token,
                key=job.key,
                provider=job.provider,
                priority=job.priority,
            )
            for job in taken
        ]

    async def renew(self, claims: Sequence[Claim], *, lease_s: float) -> set[str]:
        """Extend leases; what is being finished counts as held, it is the finish that decides."""
        finishing = self._finisher.pending()
        async with self._db.transaction() as conn:
            still = await store.renew(
                conn, [int(c.id) for c in claims], [c.token for c in claims], lease_s=lease_s
            )
        return {str(number) for number in still | finishing}

    async def release(self, claims: Sequence[Claim]) -> None:
        """Hand jobs back, due at once for other workers."""
        async with self._db.transaction() as conn:
            back = await store.release(conn, [int(c.id) for c in claims], [c.token for c in claims])
            if back:
                await notify(conn, NAME)
        for claim in claims:
            self._claimed.pop((claim.id, claim.token), None)

    async def next_due(self) -> float | None:
        """Return seconds until a job is due or a lease runs out."""
        async with self._db.transaction() as conn:
            return await store.seconds_to_next(conn, self._functions.names())

    async def run(self, claim: Claim) -> None:
        """Call the function and record how that ended."""
        job = self._claimed.pop((claim.id, claim.token))
        outcome = await self._attempt(claim, job)
        try:
            held = await self._finisher.write(outcome)
        except AegisError as error:
            # What the function returned cannot be stored; that it ran is known all the same.
            held = await self._finisher.write(self._failed(job, error))
        if not held:
            _log.warning("worker.outcome_refused", extra={"job": job.id, "token": job.token})

    async def _attempt(self, claim: Claim, job: Claimed) -> store.Outcome:
        current_job.set(claim)
        act_as(Actor(kind="worker", face="worker", id=f"job:{job.id} {job.function}"))
        try:
            function = self._functions.get(job.function)
            async with asyncio.timeout(job.timeout_s):
                result = await function(self._client, job.arguments)
            check_result(result)
        except asyncio.CancelledError:
            raise
        except TimeoutError as error:
            if job.timeout_s is None:
                return self._failed(job, error)
            return self._failed(job, _TooLong(job.timeout_s))
        except Exception as error:  # noqa: BLE001 (whatever a function raises is its outcome)
            return self._failed(job, error)
        return store.Outcome(id=job.id, token=job.token, state="completed", result=result)

    def _failed(self, job: Claimed, error: BaseException) -> store.Outcome:
        final = is_final(error) or job.attempts >= job.max_attempts
        text = _line(error)
        told: dict[str, Any] = {
            "job": job.id,
            "function": job.function,
            "attempt": job.attempts,
            "final": final,
            "why": text,
        }
        expected = isinstance(error, AegisError)
        _log.warning("worker.job_failed", extra=told, exc_info=None if expected else error)
        return store.Outcome(
            id=job.id,
            token=job.token,
            state="failed" if final else "waiting",
            delay_s=0.0 if final else retry_delay(job.attempts, self._rng),
            error=text,
        )


class _TooLong(Exception):
    """An attempt took longer than it may."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"It took longer than {seconds} s.")


def _line(error: BaseException) -> str:
    if isinstance(error, AegisError):
        text = f"{error.message} [{error.code}]"
    elif isinstance(error, _TooLong):
        text = f"{error} [timeout]"
    else:
        text = f"{type(error).__name__}: {error}"
    # PostgreSQL's text has no NUL.
    return " ".join(text.replace("\0", " ").split())[:_LONGEST_ERROR]
