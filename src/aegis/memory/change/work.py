"""The work on a change: embed what lacks a vector, move vectors in, tidy up. One worker at a time.

Who works holds the lock of `alone.py`. Every batch is a transaction and leaves a state that
recall is complete in. Between batches the state is read again: a pause, a cancellation or a switch
ends the round.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from aegis.errors import AegisError, ConfigError, Conflict
from aegis.memory.change.alone import could_work, holding_lock
from aegis.memory.change.figures import PAUSES, Pauses, Places, Worked
from aegis.memory.change.indexes import build_index_of_rows, drop_index_of_rows, drop_indexes_beside
from aegis.memory.store import moving, registry, spares

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.db import Connection, Database
    from aegis.memory.active import ActiveEmbedder
    from aegis.memory.embedding import Embedder
    from aegis.memory.store.registry import EmbeddingModel
    from aegis.memory.store.spares import SpareTable

__all__ = [
    "PAUSES",
    "Pauses",
    "Places",
    "Worked",
    "copy_beside",
    "work",
    "work_holding",
]

_log = logging.getLogger("aegis.memory")

#: Rows that move are locked for the batch: about half a second. Fewer where they are put into the
#: graph of vectors.
_BATCH_MOVED, _BATCH_MOVED_INDEXED = 500, 100
_BATCH_COPIED = 2_000
_BATCH_LOCAL, _BATCH_REMOTE, _BATCH_DROPPED = 128, 512, 5_000

#: Ids that a transaction may have taken and not committed yet; a look from the start misses none.
_LATE_IDS = 1_000
#: Place that says that rows of retired models were looked for.
_LOOKED = ("", "", "retired")


async def work(
    db: Database,
    embedder: ActiveEmbedder,
    *,
    places: Places | None = None,
    limit: int | None = None,
    pauses: Pauses = PAUSES,
    on_progress: Callable[[int], object] | None = None,
) -> Worked:
    """Do what a change needs, up to about `limit` rows, and return what that was.

    Looks from `places` on, at everything without them.

    Raises:
        ConfigError: this process has no embedder of a model that is needed.
        Unavailable: the embedder does not answer; what was done stays.
    """
    try:
        if not await could_work(db):
            return Worked()
        async with holding_lock(db, wait_s=0.0) as guard:
            step = _Round(db, guard, embedder, places or Places(), limit, pauses, on_progress)
            return await step.run()
    except Conflict:
        return Worked(busy=True)
    finally:
        await embedder.flush()


async def work_holding(
    db: Database,
    guard: Connection,
    embedder: ActiveEmbedder,
    *,
    limit: int | None = None,
    pauses: Pauses = PAUSES,
    back: bool = False,
) -> Worked:
    """Do what `work` does, for who holds the lock; `back` embeds what going back needs."""
    step = _Round(db, guard, embedder, Places(), limit, pauses, None)
    return await (step.run_back() if back else step.run())


async def copy_beside(db: Database, model: str) -> None:
    """Put vectors of episodes that carry the model beside them, too: a search there finds all.

    What is recorded from now on is copied by a trigger.
    """
    after: int | None = 0
    while after is not None:
        async with db.transaction() as conn:
            _, after = await moving.add_copies(
                conn, "episodic_memory", model=model, after_id=after, limit=_BATCH_COPIED
            )


class _Round:
    def __init__(
        self,
        db: Database,
        guard: Connection,
        embedder: ActiveEmbedder,
        places: Places,
        limit: int | None,
        pauses: Pauses,
        on_progress: Callable[[int], object] | None,
    ) -> None:
        self._db = db
        self._guard = guard
        self._embedder = embedder
        self._places = places
        self._limit = limit
        self._pauses = pauses
        self._on_progress = on_progress
        self._done = Worked()

    async def run(self) -> Worked:
        active, other = await self._models()
        if active is None:
            return self._done
        if not (active.beside or (other is not None and other.mixed)):
            await self._drop_copies(active)
        if other is None:
            await self._sweep(active)
            if self._embedder.embedder_of(active.model) is not None:
                await self._forget_retired()
            return self._done
        if other.mixed:
            await self._settle(active, other)
        if other.state == "filling" and not other.paused:
            await self._fill(active, other, carried=active.model, wanted=other.model)
        return self._done

    async def run_back(self) -> Worked:
        """Give what was recorded since the switch a vector of the model before it."""
        active, other = await self._models()
        if active is None or other is None or other.state != "standby":
            return self._done
        if self._embedder.embedder_of(other.model) is not None:
            await self._fill(active, other, carried=active.model, wanted=other.model)
        return self._done

    async def _settle(self, active: EmbeddingModel, other: EmbeddingModel) -> None:
        """Bring every row to the active model, whose vector it has beside its own or lacks."""
        if other.state == "standby" and other.paused:
            return
        waited = await registry.seconds_since_change(self._guard, other.model)
        noticed = waited >= self._pauses.move_s
        carried = active.beside and await spares.any_carries(
            self._guard, "episodic_memory", other.model
        )
        if noticed and carried:
            # Everything is found beside the rows: no row that moves needs to go into a graph.
            await drop_index_of_rows(self._db, active.model)
        for table in spares.TABLES if noticed else ():
            await self._move(table, active, other)
        # What was recorded by who had not noticed the switch, and lacks a vector.
        await self._fill(active, other, carried=other.model, wanted=active.model)
        for table in spares.TABLES if noticed else ():
            await self._move(table, active, other)
        if waited < self._pauses.settle_s or not await self._unchanged(active, other):
            return
        for table in spares.TABLES:
            if await spares.any_carries(self._guard, table, other.model):
                return
        if active.beside:
            await build_index_of_rows(self._db, active.model, active.dimensions)
            await registry.end_beside(self._guard, active.model, after_s=self._pauses.leave_s)
        await registry.set_mixed(self._guard, other.model, mixed=False)
        if not active.beside:
            await drop_indexes_beside(self._db, active.model)

    async def _drop_copies(self, active: EmbeddingModel) -> None:
        """Delete the vectors beside rows that carry them, once nobody searches there."""
        if await registry.beside_state(self._guard, active.model) != "over":
            return
        await drop_indexes_beside(self._db, active.model)
        while True:
            async with self._db.transaction() as conn:
                dropped = await moving.drop_copies(
                    conn, "episodic_memory", model=active.model, limit=_BATCH_DROPPED
                )
            if not dropped:
                break
            self._add(dropped=dropped)
        await registry.forget_beside(self._guard, active.model)

    async def _move(self, table: SpareTable, active: EmbeddingModel, other: EmbeddingModel) -> None:
        after, copies = 0, active.beside and table == "episodic_memory"
        while self._more() and await self._unchanged(active, other):
            async with self._db.transaction() as conn:
                moved, last = await moving.move_in(
                    conn,
                    table,
                    carried=other.model,
                    wanted=active.model,
                    after_id=after,
                    limit=_BATCH_MOVED if copies else _BATCH_MOVED_INDEXED,
                    copies=copies,
                )
            if last is None:
                return
            after = last
            self._add(moved=moved)

    async def _fill(
        self, active: EmbeddingModel, other: EmbeddingModel, *, carried: str, wanted: str
    ) -> None:
        embedder = self._embedder.embedder_of(wanted)
        for table in spares.TABLES:
            place = (table, carried, wanted)
            last = await spares.last_id(self._guard, table)
            while self._more() and await self._unchanged(active, other):
                rows = await spares.list_gaps(
                    self._guard,
                    table,
                    carried=carried,
                    wanted=wanted,
                    after_id=self._places.after.get(place, 0),
                    limit=_batch_of(embedder, self._left()),
                )
                if not rows:
                    # Ids are not committed in order: the next round looks a little before.
                    looked = max(self._places.after.get(place, 0), last - _LATE_IDS)
                    self._places.after[place] = looked
                    break
                if embedder is None:
                    raise ConfigError(
                        f"This process has no embedder of {wanted}, which memories are to get "
                        "vectors of; name it with AEGIS_NEXT_EMBEDDER, or let the process work "
                        "that has it.",
                        code="embedding_model_differs",
                    )
                await self._embed(table, embedder, rows)
                self._places.after[place] = rows[-1][0]

    async def _embed(
        self, table: SpareTable, embedder: Embedder, rows: Sequence[tuple[int, str]]
    ) -> None:
        from aegis.memory.embedding import vector_text

        try:
            vectors = await embedder.embed([text for _, text in rows])
        except AegisError as error:
            if error.code != "embedder_refused":
                raise
            await self._embed_apart(table, embedder, rows, error)
            return
        async with self._db.transaction() as conn:
            stored = await spares.add_spares(
                conn,
                table,
                ids=[row_id for row_id, _ in rows],
                texts=[text for _, text in rows],
                vectors=[vector_text(vector) for vector in vectors],
                model=embedder.model,
            )
        self._add(embedded=stored)

    async def _embed_apart(
        self,
        table: SpareTable,
        embedder: Embedder,
        rows: Sequence[tuple[int, str]],
        error: AegisError,
    ) -> None:
        """Embed the halves of what was refused, so that one text does not stop the others."""
        if len(rows) == 1:
            _log.warning(
                "memory.text_refused",
                extra={"table": table, "id": rows[0][0], "why": error.message},
            )
            self._add(refused=1)
            return
        middle = len(rows) // 2
        await self._embed(table, embedder, rows[:middle])
        await self._embed(table, embedder, rows[middle:])

    async def _sweep(self, active: EmbeddingModel) -> None:
        """Delete the vectors that a change left behind, in batches, but where some search them."""
        searched = await registry.beside_state(self._guard, active.model) is not None
        kept = [active.model] if searched else []
        for table in spares.TABLES:
            while True:
                async with self._db.transaction() as conn:
                    dropped = await moving.drop_spares(conn, table, kept=kept, limit=_BATCH_DROPPED)
                if not dropped:
                    break
                self._add(dropped=dropped)

    async def _forget_retired(self) -> None:
        """Hand what carries a retired model to the backfill; once a look from the start.

        Imported with its vectors, or recorded by a process that slept through the change.
        """
        if _LOOKED in self._places.after:
            return
        for table in spares.TABLES:
            while True:
                async with self._db.transaction() as conn:
                    rows = await moving.forget_retired(conn, table, limit=_BATCH_COPIED)
                if not rows:
                    break
                self._add(dropped=rows)
        self._places.after[_LOOKED] = 1

    async def _models(self) -> tuple[EmbeddingModel | None, EmbeddingModel | None]:
        models = await registry.list_used(self._guard)
        return (
            next((m for m in models if m.state == "active"), None),
            next((m for m in models if m.state != "active"), None),
        )

    async def _unchanged(self, active: EmbeddingModel, other: EmbeddingModel) -> bool:
        now_active, now_other = await self._models()
        return (
            now_active is not None
            and now_other is not None
            and now_active.model == active.model
            and now_other.model == other.model
            and now_other.state == other.state
            and now_other.paused == other.paused
        )

    def _left(self) -> int | None:
        return None if self._limit is None else self._limit - self._done.rows - self._done.refused

    def _more(self) -> bool:
        left = self._left()
        return left is None or left > 0

    def _add(
        self, *, embedded: int = 0, moved: int = 0, dropped: int = 0, refused: int = 0
    ) -> None:
        done = self._done
        self._done = replace(
            done,
            embedded=done.embedded + embedded,
            moved=done.moved + moved,
            dropped=done.dropped + dropped,
            refused=done.refused + refused,
        )
        if self._on_progress is not None:
            self._on_progress(self._done.embedded)


def _batch_of(embedder: Embedder | None, left: int | None) -> int:
    local = getattr(embedder, "provider", "") == "builtin"
    size = _BATCH_LOCAL if local else _BATCH_REMOTE
    return size if left is None else max(1, min(size, left))
