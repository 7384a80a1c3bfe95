"""One step of a job: ask its provider, write down what it says, and hand the job back.

What may be paid is noted (`sent_at`) and committed before it is sent, and the note goes when the
answer is stored. A step that finds the note of another one knows that a request was sent whose
answer nobody stored: it is sent again only where the provider pays it once, under one key.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import anyio

from aegis.errors import AegisError, ConfigError
from aegis.research.ending import End, end, store_calls
from aegis.research.models import Progress
from aegis.research.remembering import remember
from aegis.research.store import claims
from aegis.research.store import ending as ending_store
from aegis.research.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from aegis.memory import Memory
    from aegis.research.models import JobRow
    from aegis.research.providers import Provider

__all__ = ["MAX_ATTEMPTS", "Runner"]

_log = logging.getLogger("aegis.research")

#: Failures in a row after which a job is given up; with their pauses about twenty minutes.
MAX_ATTEMPTS: Final = 10
_LONGEST_PAUSE_S: Final = 300.0
#: How often a long request looks whether somebody wants it to end.
_WATCH_S: Final = 2.0
#: Requests of up to this length are waited for when the worker stops.
_SHORT_S: Final = 60.0
_MOST_CHECKPOINT: Final = 24 * 2**20


class Runner:
    """What runs jobs; `pace` is what pauses are multiplied with, for those who test."""

    def __init__(
        self,
        memory: Memory,
        providers: Mapping[str, Provider],
        *,
        now: Callable[[], datetime],
        pace: float = 1.0,
    ) -> None:
        self._memory = memory
        self._db = memory.database
        self._providers = providers
        self._now = now
        self._pace = pace

    def unready(self) -> list[str]:
        """Return the providers that this process cannot ask, for want of a key."""
        return [name for name, provider in self._providers.items() if provider.missing()]

    async def step(self, job_id: str, token: int) -> None:
        """Take the next step of a job that is held under `token`; nothing if it is not."""
        async with self._db.transaction() as conn:
            job = await claims.find_held(conn, job_id, token)
        if job is None:
            return
        if job.status == "completed":
            await remember(self._memory, job)
            return
        provider = self._providers[job.provider]
        now = self._now()
        if job.cancel_requested_at is not None and await self._cancelled(job, provider):
            return
        if job.deadline_at is not None and now >= job.deadline_at:
            await self._give_up(job, provider)
            return
        if provider.pays_next(job):
            if job.sent_at is not None and provider.restart == "never":
                await self._lost(job, "The worker ended while it waited for the answer.")
                return
            if await self._is_spent(job):
                return
        await self._ask(job, provider)

    async def _ask(self, job: JobRow, provider: Provider) -> None:
        """Send the next request and store its answer, also when the worker stops meanwhile."""
        if provider.ceilings.request_s > _SHORT_S or not provider.pays_next(job):
            await self._ask_now(job, provider)
            return
        task = asyncio.create_task(self._ask_now(job, provider))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            # It is paid: a few seconds for its id are better spent than its price once more.
            with anyio.CancelScope(shield=True):
                await asyncio.wait({task}, timeout=_SHORT_S)
            raise

    async def _ask_now(self, job: JobRow, provider: Provider) -> None:
        pays = provider.pays_next(job)
        async with self._db.transaction() as conn:
            held = await claims.mark_sent(conn, job, paid=pays, ceiling_s=provider.ceilings.total_s)
        if not held:
            return
        begun = job.remote_id is not None or bool((job.checkpoint or {}).get("turns"))
        ask = provider.poll if begun else provider.start
        try:
            progress = await self._watched(job, provider, lambda: ask(job, now=self._now()))
        except Trouble as trouble:
            await self._failed(job, provider, trouble, pays=pays)
        except ConfigError as error:
            # A key that is refused for a poll may be put right; a start has cost nothing yet.
            trouble = Trouble(
                error.message, code=error.code, retry=job.remote_id is not None and not pays
            )
            await self._failed(job, provider, trouble, pays=pays)
        else:
            if progress is None:
                await self._lost(job, "It was cancelled while it waited.", status="cancelled")
                return
            await self._store(job, provider, progress)

    async def _watched(
        self, job: JobRow, provider: Provider, ask: Callable[[], Awaitable[Progress]]
    ) -> Progress | None:
        """Return the answer, None where somebody wanted the job to end during a long request."""
        if provider.ceilings.request_s <= _SHORT_S:
            return await ask()
        task = asyncio.ensure_future(ask())
        try:
            while True:
                done, _ = await asyncio.wait({task}, timeout=_WATCH_S)
                if done:
                    return task.result()
                if await self._wants_end(job):
                    return None
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _wants_end(self, job: JobRow) -> bool:
        try:
            async with self._db.transaction() as conn:
                return await claims.is_cancelled(conn, job.id)
        except AegisError:
            # A database that is away for a moment ends no request that is paid.
            return False

    async def _store(self, job: JobRow, provider: Provider, progress: Progress) -> None:
        if progress.state != "running":
            status = "cancelled" if job.cancel_requested_at is not None else progress.state
            await self._end(
                job,
                End(
                    status=status,
                    calls=progress.calls,
                    report=progress.report,
                    remote_id=progress.remote_id,
                    error=progress.error,
                    error_code=progress.error_code,
                ),
            )
            return
        checkpoint = progress.checkpoint
        if checkpoint is not None:
            # What was there and is not spoken of stays, such as that it was cancelled.
            checkpoint = {**(job.checkpoint or {}), **checkpoint}
        slower = min(1.0 + job.polls / 10, 3.0)
        wait_s = min(progress.poll_after_s * slower, max(provider.ceilings.longest_poll_s, 1.0))
        async with self._db.transaction() as conn:
            await store_calls(conn, job, progress.calls, now=self._now())
            await claims.save_progress(
                conn,
                job,
                remote_id=progress.remote_id,
                checkpoint=checkpoint,
                keep_sent=False,
                attempts=0,
                error=None,
                wait_s=wait_s * self._pace,
            )

    async def _failed(
        self, job: JobRow, provider: Provider, trouble: Trouble, *, pays: bool
    ) -> None:
        """Try again later, or end the job: by what failed, how often, and what may be paid."""
        if pays and trouble.uncertain and provider.restart == "never":
            await self._lost(job, trouble.message)
            return
        attempts = job.attempts + 1
        # An earlier request of this step may have been taken on, too.
        open_end = pays and (trouble.uncertain or job.sent_at is not None)
        if not trouble.retry or attempts >= MAX_ATTEMPTS:
            paid = open_end or job.remote_id is not None
            await self._end(
                job,
                End(
                    status="failed" if job.cancel_requested_at is None else "cancelled",
                    error=trouble.message,
                    error_code=trouble.code,
                    unpaid=not paid,
                    uncertain="its end is not known" if paid else None,
                ),
            )
            return
        pause = min(2.0**attempts, _LONGEST_PAUSE_S)
        if trouble.retry_after_s is not None:
            pause = max(trouble.retry_after_s, 1.0)
        _log.warning(
            "research.retry", extra={"job": job.id, "attempt": attempts, "why": trouble.message}
        )
        async with self._db.transaction() as conn:
            await claims.save_progress(
                conn,
                job,
                remote_id=None,
                checkpoint=None,
                keep_sent=open_end,
                attempts=attempts,
                error=trouble.message[:500],
                wait_s=pause * self._pace,
            )

    async def _lost(self, job: JobRow, why: str, *, status: str = "failed") -> None:
        """End a job whose paid request has no answer and must not be sent again."""
        await self._end(
            job,
            End(
                status=status,
                error=f"{why} A paid request was sent and has no answer; it was not sent again, "
                f"since {job.provider} would be paid twice. Start the question again if you want.",
                error_code="research_start_unknown",
                uncertain="a request was sent and its answer was not stored",
            ),
        )

    async def _cancelled(self, job: JobRow, provider: Provider) -> bool:
        """End a job that nothing goes on of; otherwise have the provider end it, once."""
        if job.remote_id is None or provider.pays_next(job):
            uncertain = "a request was sent and its answer was not stored" if job.sent_at else None
            async with self._db.transaction() as conn:
                known = await ending_store.sum_calls(conn, job.id)
            unpaid = uncertain is None
            await self._end(
                job,
                End(status="cancelled", unpaid=unpaid, uncertain=uncertain),
            )
            _log.info("research.cancelled", extra={"job": job.id, "known_usd": str(known)})
            return True
        if (job.checkpoint or {}).get("cancelled"):
            return False
        try:
            await provider.cancel(job, now=self._now())
        except ConfigError as error:
            # Without a key that is taken, nobody can end it there.
            trouble = Trouble(error.message, code=error.code)
            await self._failed(job, provider, trouble, pays=False)
            return True
        except Trouble as trouble:
            if trouble.retry:
                await self._failed(job, provider, trouble, pays=False)
                return True
            # It has ended already, or is not known: the next poll tells.
        async with self._db.transaction() as conn:
            await claims.save_progress(
                conn,
                job,
                remote_id=None,
                checkpoint={**(job.checkpoint or {}), "cancelled": True},
                keep_sent=False,
                attempts=0,
                error=None,
                wait_s=self._pace,
            )
        return True

    async def _give_up(self, job: JobRow, provider: Provider) -> None:
        """End a job at its ceiling: have the provider end it, and read what it cost, if it can."""
        calls = ()
        if job.remote_id is not None and not provider.pays_next(job):
            try:
                await provider.cancel(job, now=self._now())
                # Read as one that was read often enough.
                last = replace(job, checkpoint={**(job.checkpoint or {}), "reads": 99})
                progress = await provider.poll(last, now=self._now())
            except (Trouble, ConfigError) as error:
                _log.warning("research.not_ended", extra={"job": job.id, "why": error.message})
            else:
                if progress.state == "completed":
                    await self._store(job, provider, progress)
                    return
                calls = progress.calls
        minutes = provider.ceilings.total_s / 60
        await self._end(
            job,
            End(
                status="failed",
                calls=calls,
                error=f"{provider.name} had no report within {minutes:g} minutes.",
                error_code="research_ceiling",
                uncertain=None if calls else "it was given up before its usage was known",
            ),
        )

    async def _is_spent(self, job: JobRow) -> bool:
        """End a job whose calls have used up its budget before the next one."""
        if job.budget_usd is None or job.remote_id is None:
            return False
        async with self._db.transaction() as conn:
            known = await ending_store.sum_calls(conn, job.id)
        if known < job.budget_usd:
            return False
        await self._end(
            job,
            End(
                status="failed",
                unpaid=True,
                error=f"Its budget of {job.budget_usd.normalize():f} USD is used up "
                f"({known.normalize():f}); start it again with a larger one.",
                error_code="research_job_budget",
            ),
        )
        return True

    async def _end(self, job: JobRow, how: End) -> None:
        if await end(self._db, job, how, now=self._now()) and how.status == "completed":
            async with self._db.transaction() as conn:
                left = await claims.find_held(conn, job.id, job.token)
            if left is not None:
                await remember(self._memory, left)
