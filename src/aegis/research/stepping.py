"""One step of a job, taken by whoever waits for it instead of by a worker.

Invariant: whoever is cut off hands back what it held, so that nobody waits for its lease to run
out. Only a process that is killed leaves one behind.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from typing import TYPE_CHECKING, Final

import anyio

from aegis.errors import AegisError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aegis.db.lease import Claim
    from aegis.research.work import ResearchWork

__all__ = ["take_step"]

_log = logging.getLogger("aegis.research")

#: Seconds that a process which waits for a job holds it at a time.
_LEASE_S: Final = 60.0
#: Seconds that handing back may take of somebody who was told to end.
_HAND_BACK_S: Final = 5.0


async def take_step(
    work: ResearchWork,
    *,
    only: str | None = None,
    turn: Callable[[str], Awaitable[None]] | None = None,
) -> int:
    """Take the next step of one due job, or of the one named, and return how many that were.

    `turn` waits until a provider may be asked; the job is held meanwhile.
    """
    claims = await _claim(work, only)
    for claim in claims:
        await _run(work, claim, turn)
    return len(claims)


async def _claim(work: ResearchWork, only: str | None) -> Sequence[Claim]:
    # Another process of the same host and number is another owner.
    owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"[:200]
    claiming = asyncio.ensure_future(work.claim(owner, limit=1, lease_s=_LEASE_S, only=only))
    try:
        return await asyncio.shield(claiming)
    except asyncio.CancelledError:
        # A claim that is cut off may be committed all the same.
        with anyio.move_on_after(_HAND_BACK_S, shield=True):
            await asyncio.wait({claiming})
            if not claiming.cancelled() and claiming.exception() is None:
                await _hand_back(work, claiming.result())
        raise


async def _run(
    work: ResearchWork, claim: Claim, turn: Callable[[str], Awaitable[None]] | None
) -> None:
    async def in_turn() -> None:
        if turn is not None and claim.provider is not None:
            await turn(claim.provider)
        await work.run(claim)

    step = asyncio.ensure_future(in_turn())
    lost = False
    try:
        while not step.done() and not lost:
            await asyncio.wait({step}, timeout=_LEASE_S / 3)
            lost = not step.done() and not await _still_held(work, claim)
    finally:
        step.cancel()
        await asyncio.gather(step, return_exceptions=True)
        # A step that was cut for its lease belongs to somebody else by now.
        if step.cancelled() and not lost:
            with anyio.move_on_after(_HAND_BACK_S, shield=True):
                await _hand_back(work, [claim])
    if not step.cancelled():
        # A defect or an outage.
        step.result()


async def _still_held(work: ResearchWork, claim: Claim) -> bool:
    try:
        return bool(await work.renew([claim], lease_s=_LEASE_S))
    except AegisError:
        return True


async def _hand_back(work: ResearchWork, claims: Sequence[Claim]) -> None:
    try:
        await work.release(claims)
    except AegisError as error:
        # The lease runs out, which comes to the same.
        _log.warning("research.release_failed", extra={"code": error.code, "why": error.message})
