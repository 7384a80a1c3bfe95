"""Pushing episodes into Graphiti: `memory.graphiti`.

In the order of time, one after the other, as Graphiti wants it. What was taken is noted at once, so
that a run that is killed goes on where it was. A server that is away ends the run; an episode that
Graphiti does not take is noted and passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from aegis.errors import Conflict, Unavailable
from aegis.memory import validate
from aegis.memory.graphiti.models import Forgotten, Synced
from aegis.memory.retention.erasing import COPIES
from aegis.memory.store import graphiti as store
from aegis.memory.store.erasure_jobs import get_erasure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from aegis.db import Database
    from aegis.memory.embedding import Embedder
    from aegis.memory.graphiti.client import GraphitiClient
    from aegis.memory.graphiti.models import Failure, Pending, SyncState

__all__ = ["GraphitiSync"]

_PAGE = 50
_ATTEMPTS = 3
_FIRST_DELAY_S = 1.0
_MAX_ERROR = 500


class GraphitiSync:
    """Graphiti's copy of a client's episodes; `namespace` is what a call that names none means."""

    def __init__(
        self,
        db: Database,
        embedder: Embedder | None,
        *,
        namespace: str,
        first_delay_s: float = _FIRST_DELAY_S,
    ) -> None:
        self._db = db
        self._embedder = embedder
        self._first_delay_s = first_delay_s
        self.namespace = namespace

    async def sync(
        self,
        *,
        retry: bool = False,
        limit: int | None = None,
        namespace: str | None = None,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> Synced:
        """Push episodes that Graphiti does not have as they are now, the oldest first.

        `retry` tries those again that it did not take; `limit` pushes at most so many.

        Raises:
            ConfigError: a setting or a package is missing, or the model refuses the key.
            Conflict: another synchronisation of the namespace is under way.
            Unavailable: the graph or the model does not answer; what was pushed so far stays.
        """
        from aegis.memory.graphiti.client import open_graphiti

        if limit is not None:
            validate.check_limit("limit", limit, most=2**31 - 1)
        place = validate.namespace_of(namespace, self.namespace)
        client = await open_graphiti(self._db.settings, self._embedder, namespace=place)
        try:
            async with self._db.session("Synchronising with Graphiti") as lock:
                if not await store.try_lock(lock, place):
                    raise Conflict(
                        f"Namespace {place!r} is being synchronised with Graphiti already.",
                        code="graphiti_busy",
                    )
                try:
                    return await self._push_all(client, place, retry, limit, on_progress)
                finally:
                    await store.unlock(lock, place)
        finally:
            await client.aclose()

    async def forget(self, erasure_id: int, *, namespace: str | None = None) -> Forgotten:
        """Take the copies that an erasure named out of the graph; may be repeated.

        Raises:
            NotFound: there is no such erasure.
            ConfigError: a setting or a package is missing.
            Unavailable: the graph does not answer; what was removed so far stays so.
        """
        from aegis.memory.graphiti.client import failures, open_graphiti

        validate.check_limit("erasure", erasure_id, most=2**63 - 1)
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            copies = (await get_erasure(conn, erasure_id)).digests.get(COPIES, ())
        removed = 0
        client = await open_graphiti(self._db.settings, self._embedder, namespace=place)
        try:
            for uuid in copies:
                removed += await client.remove(uuid)
        except failures() as error:
            raise Unavailable(
                f"The graph of AEGIS_GRAPHITI_URL does not answer ({type(error).__name__}); "
                f"{removed} of {len(copies)} copies are removed, run it again later.",
                code="graphiti_unavailable",
            ) from None
        finally:
            await client.aclose()
        return Forgotten(removed=removed, absent=len(copies) - removed)

    async def state(self, *, namespace: str | None = None) -> SyncState:
        """Return how many episodes Graphiti has, waits for and did not take."""
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            return await store.read_state(conn, namespace=place)

    async def failures(self, *, limit: int = 50, namespace: str | None = None) -> Sequence[Failure]:
        """Return the episodes that Graphiti did not take, the last first."""
        validate.check_limit("limit", limit, most=1_000)
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            return await store.list_failures(conn, namespace=place, limit=limit)

    async def _push_all(
        self,
        client: GraphitiClient,
        place: str,
        retry: bool,
        limit: int | None,
        on_progress: Callable[[int, int], object] | None,
    ) -> Synced:
        before = await self.state(namespace=place)
        total = before.pending + (before.failed if retry else 0)
        total = total if limit is None else min(total, limit)
        pushed = failed = 0
        async for episode in self._pending(place, retry):
            if limit is not None and pushed + failed >= limit:
                break
            trouble = await self._push(client, episode)
            async with self._db.transaction() as conn:
                if trouble is None:
                    await store.mark_synced(conn, episode)
                    pushed += 1
                else:
                    await store.mark_failed(conn, episode.id, attempts=_ATTEMPTS, error=trouble)
                    failed += 1
            if on_progress is not None:
                on_progress(pushed + failed, max(total, pushed + failed))
        return Synced(pushed=pushed, failed=failed)

    async def _pending(self, place: str, retry: bool) -> AsyncIterator[Pending]:
        """Yield what is to be pushed; each once, also if it changes meanwhile."""
        after = None
        while True:
            async with self._db.transaction() as conn:
                page = await store.list_pending(
                    conn, namespace=place, retry=retry, after=after, limit=_PAGE
                )
            for episode in page:
                yield episode
            if len(page) < _PAGE:
                break
            after = page[-1].at, page[-1].id
        last = 0
        while True:
            async with self._db.transaction() as conn:
                page = await store.list_undated_pending(
                    conn, namespace=place, retry=retry, after=last, limit=_PAGE
                )
            for episode in page:
                yield episode
            if len(page) < _PAGE:
                break
            last = page[-1].id

    async def _push(self, client: GraphitiClient, episode: Pending) -> str | None:
        """Push one episode and return None, or why Graphiti does not take it."""
        from aegis.memory.graphiti.client import failures, is_away, refusal

        delay = self._first_delay_s
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await client.push(episode)
                return None
            except (*failures(), Unavailable) as error:
                wrong = refusal(error)
                if wrong is not None:
                    raise wrong from None
                if attempt == _ATTEMPTS:
                    if is_away(error):
                        raise Unavailable(
                            f"Graphiti's graph or its language model does not answer "
                            f"({type(error).__name__}) at episode {episode.id}; what was pushed "
                            "stays, run it again later.",
                            code="graphiti_unavailable",
                        ) from None
                    return self._told(error)
            await anyio.sleep(delay)
            delay *= 2
        raise AssertionError("unreachable")

    def _told(self, error: BaseException) -> str:
        text = " ".join(f"{type(error).__name__}: {error}".replace("\x00", " ").split())
        key = self._db.settings.llm_api_key
        # Replaced before it is cut: a cut key would no longer be recognised.
        return (text.replace(key, "…") if key else text)[:_MAX_ERROR]
