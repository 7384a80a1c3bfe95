"""One page held by whoever checks it by hand, as a worker holds it: nobody else does meanwhile."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from aegis.errors import Conflict
from aegis.intel.store import work

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aegis.db import Database
    from aegis.intel.store.work import Claimed

__all__ = ["held"]

#: Longer than any check: fetches, turns, a browser.
_LEASE_S: Final = 300.0


@asynccontextmanager
async def held(db: Database, page_id: int) -> AsyncGenerator[int]:
    """Hold a page and yield its token; it is handed back whatever ends the block.

    Raises:
        Conflict: somebody else holds it, or it is not there any more (`page_busy`).
    """
    claiming = asyncio.ensure_future(_claim(db, page_id))
    claim: Claimed | None = None
    try:
        # A claim that is cut off may be committed all the same.
        claim = await asyncio.shield(claiming)
        if claim is None:
            raise Conflict(f"Page {page_id} is being checked just now.", code="page_busy")
        yield claim.lease_token
    finally:
        with anyio.CancelScope(shield=True):
            await asyncio.wait({claiming})
            known = None if claiming.cancelled() or claiming.exception() else claiming.result()
            if known is not None:
                async with db.transaction() as conn:
                    await work.release_pages(conn, [(page_id, known.lease_token)])


async def _claim(db: Database, page_id: int) -> Claimed | None:
    owner = f"client-{uuid.uuid4()}"
    async with db.transaction() as conn:
        return await work.claim_page(conn, page_id, owner, lease_s=_LEASE_S)
