"""The steps of a change that an operator takes: begin, switch, cancel, finish.

A switch is one short transaction: the other model becomes the active one. Every row has a vector of
it by then, beside its own, so that the moment before and the moment after answer alike; what moves
afterwards is housekeeping. Whatever is killed, the state in `embedding_models` says what is true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.errors import Conflict, InvalidInput
from aegis.memory.active import provider_of
from aegis.memory.change.alone import WORK, holding_lock
from aegis.memory.change.checking import check_recall, count_missing
from aegis.memory.change.indexes import build_index_of_rows, build_indexes, drop_indexes_of
from aegis.memory.change.work import copy_beside, work_holding
from aegis.memory.store import registry, spares

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.db import Connection, Database
    from aegis.memory.active import ActiveEmbedder
    from aegis.memory.change.figures import RecallCheck
    from aegis.memory.change.work import Pauses
    from aegis.memory.embedding import Embedder
    from aegis.memory.store.registry import EmbeddingModel

__all__ = ["begin", "cancel", "check", "finish", "models_in_use", "switch"]

_PATIENCE_S = 60.0
#: Rows that a switch embeds itself: what was recorded while it was asked for.
_LAST_ROWS = 5_000


async def begin(db: Database, target: Embedder) -> None:
    """Register the model that is changed to.

    Raises:
        InvalidInput: it is the active one.
        Conflict: another change is under way (`change_under_way`).
        ConfigError, Unavailable: the target does not answer, or nobody could work on the change
            (`db_needs_session`); nothing was begun.
    """
    db.require_session(WORK)
    async with db.transaction() as conn:
        _check_begin(await registry.list_used(conn), target)
    # Key, address and dimensions are tried before anything begins.
    await target.embed(["A change of the embedding model begins."])
    async with db.transaction() as conn:
        _check_begin(await registry.lock_models(conn), target)
        await registry.register(
            conn,
            target.model,
            dimensions=target.dimensions,
            provider=provider_of(target),
            state="filling",
        )


def _check_begin(models: Sequence[EmbeddingModel], target: Embedder) -> None:
    for model in models:
        if model.state == "active" and model.model == target.model:
            raise InvalidInput(
                f"{target.model} is the active model already; name the one to change to with "
                "AEGIS_NEXT_EMBEDDER."
            )
        if model.state != "active":
            what = "to" if model.state == "filling" else "from"
            raise Conflict(
                f"A change {what} {model.model} is under way; finish or cancel it first.",
                code="change_under_way",
            )


async def check(
    db: Database,
    embedder: ActiveEmbedder,
    *,
    k: int,
    samples: int,
    on_progress: Callable[[int, int], object] | None,
) -> RecallCheck:
    """Ask both spaces (`Conflict` where no change waits for its switch)."""
    async with db.transaction() as conn:
        active, other = _before_switch(await registry.list_used(conn))
    return await check_recall(
        db, embedder, source=active, target=other, k=k, samples=samples, on_progress=on_progress
    )


async def switch(
    db: Database,
    embedder: ActiveEmbedder,
    *,
    force: bool,
    k: int,
    samples: int,
    on_progress: Callable[[int, int], object] | None,
) -> RecallCheck:
    """Make the other model the active one, if both spaces answer about alike.

    Raises:
        Conflict: there is nothing to switch to; or what speaks against it (`change_refused`).
    """
    async with holding_lock(db, wait_s=_PATIENCE_S) as guard:
        active, other = _before_switch(await registry.list_used(guard))
        await _catch_up(db, guard, embedder, other)
        await build_indexes(db, other.model, other.dimensions, of_rows=False)
        await copy_beside(db, other.model)
        found = await check_recall(
            db, embedder, source=active, target=other, k=k, samples=samples, on_progress=on_progress
        )
        if found.objections and not force:
            raise Conflict(
                f"The model was not switched. {' '.join(found.objections)} Force it to switch "
                "all the same.",
                code="change_refused",
            )
        await _catch_up(db, guard, embedder, other)
        await _flip(db, active, other, leaving="standby", beside=True)
    await embedder.registry(fresh=True)
    return found


async def cancel(db: Database, embedder: ActiveEmbedder, *, force: bool, pauses: Pauses) -> None:
    """Give a change up before its switch; after it, go back to the model before.

    Raises:
        Conflict: no change is under way, or rows have not moved back yet, or would be without a
            vector.
    """
    async with db.transaction() as conn:
        active, other = models_in_use(await registry.list_used(conn))
    if other.state == "standby":
        await _go_back(db, embedder, force=force)
        return
    if other.mixed:
        async with holding_lock(db, wait_s=_PATIENCE_S) as guard:
            await work_holding(db, guard, embedder, pauses=pauses)
            await _refuse_while_carried(guard, other)
    await _retire(db, active, other, "filling")


async def finish(db: Database, embedder: ActiveEmbedder, *, pauses: Pauses) -> None:
    """End a switched change for good: the vectors of the model before are dropped.

    Raises:
        Conflict: nothing was switched, or rows have not moved yet (`change_moving`).
    """
    async with holding_lock(db, wait_s=_PATIENCE_S) as guard:
        active, other = models_in_use(await registry.list_used(guard))
        if other.state != "standby":
            raise Conflict(
                f"The change to {other.model} was not switched; switch or cancel it.",
                code="change_not_switched",
            )
        await work_holding(db, guard, embedder, pauses=pauses)
        await _refuse_while_carried(guard, other)
    await _retire(db, active, other, "standby")


def models_in_use(models: Sequence[EmbeddingModel]) -> tuple[EmbeddingModel, EmbeddingModel]:
    """Return the active model and the other one (`Conflict` where no change is under way)."""
    active = next((m for m in models if m.state == "active"), None)
    other = next((m for m in models if m.state != "active"), None)
    if active is None or other is None:
        raise Conflict("No change of the embedding model is under way.", code="change_none")
    return active, other


def _before_switch(models: Sequence[EmbeddingModel]) -> tuple[EmbeddingModel, EmbeddingModel]:
    active, other = models_in_use(models)
    if other.state == "standby":
        raise Conflict(
            f"{active.model} is active already; cancel to go back to {other.model}, or finish.",
            code="change_switched",
        )
    if other.mixed:
        raise _moving(other)
    return active, other


async def _catch_up(
    db: Database, guard: Connection, embedder: ActiveEmbedder, wanted: EmbeddingModel
) -> None:
    """Embed what was recorded a moment ago; without the embedder it stays missing, and counts."""
    if embedder.embedder_of(wanted.model) is not None:
        await work_holding(db, guard, embedder, limit=_LAST_ROWS)


async def _flip(
    db: Database,
    active: EmbeddingModel,
    other: EmbeddingModel,
    *,
    leaving: registry.ModelState,
    beside: bool,
) -> None:
    """Let both models change places, if they are what they were."""
    async with db.transaction() as conn:
        now_active, now_other = models_in_use(await registry.lock_models(conn))
        if (now_active.model, now_other.model, now_other.state) != (
            active.model,
            other.model,
            other.state,
        ):
            raise Conflict("The change was changed by somebody else meanwhile.", code="change_busy")
        # There is one active model at any moment, and one beside it.
        await registry.set_state(conn, other.model, "retired")
        await registry.set_state(
            conn, active.model, leaving, paused=leaving == "filling", mixed=True
        )
        await registry.set_state(conn, other.model, "active", beside=beside)


async def _go_back(db: Database, embedder: ActiveEmbedder, *, force: bool) -> None:
    async with holding_lock(db, wait_s=_PATIENCE_S) as guard:
        active, other = models_in_use(await registry.list_used(guard))
        await work_holding(db, guard, embedder, limit=_LAST_ROWS, back=True)
        rows, missing = await count_missing(guard, carried=active.model, wanted=other.model)
        if missing and not force:
            raise Conflict(
                f"The model was not switched back: {missing:,} of {rows:,} memories have no vector "
                f"of {other.model}. Give this process its embedder, call again, or force it.",
                code="change_refused",
            )
        await build_indexes(db, other.model, other.dimensions)
        # Rows that have moved are asked as well until they have moved back.
        await build_index_of_rows(db, active.model, active.dimensions)
        await _flip(db, active, other, leaving="filling", beside=False)
    await embedder.registry(fresh=True)


async def _refuse_while_carried(guard: Connection, other: EmbeddingModel) -> None:
    _, now = models_in_use(await registry.list_used(guard))
    if now.mixed:
        raise _moving(other)
    for table in spares.TABLES:
        if await spares.any_carries(guard, table, other.model):
            # Put back from a history, or recorded by a process that was asleep.
            await registry.set_mixed(guard, other.model, mixed=True)
            raise _moving(other)


def _moving(other: EmbeddingModel) -> Conflict:
    return Conflict(
        f"Rows that carry vectors of {other.model} are still being moved; try again when "
        "`aegis memory models status` says that they are.",
        code="change_moving",
    )


async def _retire(
    db: Database, active: EmbeddingModel, other: EmbeddingModel, state: registry.ModelState
) -> None:
    async with db.transaction() as conn:
        now_active, now = models_in_use(await registry.lock_models(conn))
        if (now_active.model, now.model, now.state, now.mixed) != (
            active.model,
            other.model,
            state,
            False,
        ):
            raise Conflict("The change was changed by somebody else meanwhile.", code="change_busy")
        await registry.set_state(conn, other.model, "retired")
    await drop_indexes_of(db, other.model)
