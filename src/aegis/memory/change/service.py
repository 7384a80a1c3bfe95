"""The embedding models of a database and the change between two, for an operator."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import anyio

from aegis.errors import ConfigError, Conflict, Unavailable
from aegis.memory import validate
from aegis.memory.change.figures import ChangeStatus, Phase
from aegis.memory.store import registry, spares

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable

    from aegis.db import Database
    from aegis.memory.active import ActiveEmbedder
    from aegis.memory.change.figures import ChangePlan, ListedModel, RecallCheck
    from aegis.memory.change.work import Places, Worked
    from aegis.memory.embedding import Embedder
    from aegis.memory.store.registry import EmbeddingModel

__all__ = ["Models"]

_log = logging.getLogger("aegis.memory")

#: Rows of a round; between rounds whoever waits for the lock gets it.
_ROUND = 2_000
_BETWEEN_S = 0.3
_MOST_FAILURES = 6
_MOST_SAMPLES = 1_000


class Models:
    """The models of one client's database."""

    def __init__(self, db: Database, embedder: ActiveEmbedder | None) -> None:
        from aegis.memory.change.work import PAUSES

        self._db = db
        self._embedder = embedder
        self._pauses = PAUSES
        self._wanted = asyncio.Event()

    @property
    def disagreement(self) -> str | None:
        """What is wrong between the settings and the active model, as far as is known."""
        return None if self._embedder is None else self._embedder.disagreement

    async def find_disagreement(self) -> str | None:
        """Return what is wrong between the settings and the active model, asking the database."""
        await self._known()
        return self.disagreement

    async def flush(self) -> None:
        """Write down what calls of endpoints came to; done now and then by itself."""
        if self._embedder is not None:
            await self._embedder.flush()

    async def list(self) -> builtins.list[ListedModel]:
        """Return the models with their rows, calls and cost, those in use first."""
        from aegis.memory.change.planning import list_all

        await self._known()
        return await list_all(self._db)

    async def plan(self, target: Embedder | None = None) -> ChangePlan:
        """Return what a change to `target`, the next embedder otherwise, would take.

        Raises:
            ConfigError: there is no embedder to change to.
        """
        from aegis.memory.change.planning import make_plan

        chosen = await self._target(target)
        async with self._db.transaction() as conn:
            models = await registry.list_used(conn)
        active = next((m for m in models if m.state == "active"), None)
        if active is None:
            raise Conflict(
                "No embedding model is active yet; nothing has a vector.", code="change_none"
            )
        return await make_plan(self._db, active, chosen)

    async def begin(self, target: Embedder | None = None) -> ChangeStatus:
        """Begin a change to `target`, or to the next embedder; `aegis up` or `fill` works on it.

        Raises:
            ConfigError: there is no embedder to change to, or it refuses.
            InvalidInput: it is the active one.
            Conflict: another change is under way.
            Unavailable: it does not answer.
        """
        from aegis.memory.change import steps

        chosen = await self._target(target)
        await steps.begin(self._db, chosen)
        self._needed().add(chosen)
        self._wanted.set()
        return await self.status()

    async def status(self) -> ChangeStatus:
        """Return where the change stands; reads both tables once while there is one."""
        await self._known()
        async with self._db.transaction() as conn:
            models = await registry.list_used(conn)
            active = next((m for m in models if m.state == "active"), None)
            other = next((m for m in models if m.state != "active"), None)
            counts: builtins.list[tuple[int, int]] = [(0, 0), (0, 0)]
            if active is not None and other is not None:
                to, of = (active, other) if other.mixed else (other, active)
                if other.state == "standby":
                    to, of = active, other
                counts = []
                for table in spares.TABLES:
                    carrying, have, moved = await spares.count_rows(
                        conn, table, carried=of.model, wanted=to.model
                    )
                    done = moved if other.mixed or other.state == "standby" else have + moved
                    counts.append((carrying + moved, done))
        remaining = sum(rows - done for rows, done in counts)
        phase = _phase(other, remaining)
        return ChangeStatus(
            phase=phase,
            active=None if active is None else active.model,
            other=None if other is None else other.model,
            episodes=counts[0][0],
            facts=counts[1][0],
            episodes_done=counts[0][1],
            facts_done=counts[1][1],
            remaining=remaining,
            mixed=other is not None and other.mixed,
            since=None if other is None else other.changed_at,
            advice=_ADVICE[phase],
            disagreement=self.disagreement,
        )

    async def pause(self) -> ChangeStatus:
        """Hold the work on the change up after the batch that is being done (`Conflict`)."""
        return await self._set_paused(True)

    async def resume(self) -> ChangeStatus:
        """Let the work on the change go on (`Conflict`)."""
        return await self._set_paused(False)

    async def work(self, *, limit: int | None = None, places: Places | None = None) -> Worked:
        """Do what the change needs, up to about `limit` rows; nothing where another worker does.

        Raises:
            ConfigError: this process has no embedder of a model that is needed.
            Unavailable: the embedder does not answer; what was done stays.
        """
        from aegis.memory.change import work as working

        if self._embedder is None:
            return working.Worked()
        return await working.work(
            self._db, self._embedder, places=places, limit=limit, pauses=self._pauses
        )

    async def wait_for_work(self, *, most_s: float) -> None:
        """Wait until this client takes a step of a change, `most_s` seconds at most."""
        with anyio.move_on_after(most_s):
            await self._wanted.wait()
        self._wanted.clear()

    async def fill(
        self, *, on_progress: Callable[[int, int], object] | None = None
    ) -> ChangeStatus:
        """Work until every memory has a vector of the other model, and return the status.

        Ends early where the change is paused, cancelled or switched. Another worker's progress
        counts. An endpoint that does not answer is asked again for about a minute.

        Raises:
            ConfigError: this process has no embedder of the model.
            Unavailable: the endpoint does not answer; what was done stays.
        """
        from aegis.memory.change.work import Places

        places, failures, gained, looked = Places(), 0, 0, False
        while True:
            status = await self.status()
            if on_progress is not None:
                total = status.episodes + status.facts
                on_progress(total - status.remaining, total)
            if status.phase != "filling" or looked:
                return status
            try:
                done = await self.work(limit=_ROUND, places=places)
            except Unavailable as error:
                failures += 1
                if failures == _MOST_FAILURES:
                    raise
                _log.warning("memory.change_waits", extra={"why": error.message})
                await anyio.sleep(2.0**failures)
                continue
            failures = 0
            gained += done.rows
            if not done.busy and not done.rows and not done.refused:
                # What is left after a look from the beginning that gained nothing stays so.
                looked = not gained
                gained = 0
                places.after.clear()
            await anyio.sleep(_BETWEEN_S)

    async def check(
        self,
        *,
        k: int = 10,
        samples: int = 100,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> RecallCheck:
        """Ask both spaces the same questions, and return what speaks against the switch.

        Raises:
            Conflict: no change waits for its switch.
            Unavailable: the embedder of the other model does not answer.
        """
        from aegis.memory.change import steps

        _check_sample(k, samples)
        return await steps.check(
            self._db, self._needed(), k=k, samples=samples, on_progress=on_progress
        )

    async def switch(
        self,
        *,
        force: bool = False,
        k: int = 10,
        samples: int = 100,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> RecallCheck:
        """Make the other model the active one, unless it finds clearly less or is incomplete.

        Every process notices within seconds. `force` switches whatever the check says.

        Raises:
            Conflict: there is nothing to switch to, or `change_refused` with the reasons.
            Unavailable: the embedder of the other model does not answer.
        """
        from aegis.memory.change import steps

        _check_sample(k, samples)
        found = await steps.switch(
            self._db,
            self._needed(),
            force=force,
            k=k,
            samples=samples,
            on_progress=on_progress,
        )
        self._wanted.set()
        return found

    async def cancel(self, *, force: bool = False) -> ChangeStatus:
        """Give the change up; after the switch, go back to the model before.

        Going back keeps the vectors: the change waits, paused, for another switch or a second
        `cancel`. `force` goes back even where memories recorded since lack a vector.

        Raises:
            Conflict: no change is under way, or rows are still moving.
        """
        from aegis.memory.change import steps

        await steps.cancel(self._db, self._needed(), force=force, pauses=self._pauses)
        await self._sweep()
        return await self.status()

    async def finish(self) -> ChangeStatus:
        """End a switched change: drop the vectors of the model before. There is no way back.

        Raises:
            Conflict: nothing was switched, or rows are still moving.
        """
        from aegis.memory.change import steps

        await steps.finish(self._db, self._needed(), pauses=self._pauses)
        await self._sweep()
        return await self.status()

    async def _sweep(self) -> None:
        """Delete what the change left behind; what a kill leaves, the next round deletes."""
        await self._needed().registry(fresh=True)
        await self.work()

    async def _set_paused(self, paused: bool) -> ChangeStatus:
        async with self._db.transaction() as conn:
            if await registry.set_paused(conn, paused=paused) is None:
                raise Conflict("No change of the embedding model is under way.", code="change_none")
        self._wanted.set()
        return await self.status()

    async def _known(self) -> None:
        """Learn whether settings and database agree, and be the active model of a new one."""
        if self._embedder is not None:
            try:
                await self._embedder.resolve()
            except ConfigError:
                return  # told as `disagreement`

    async def _target(self, target: Embedder | None) -> Embedder:
        embedder = self._needed()
        await self._known()
        chosen = target or embedder.next_embedder()
        if chosen is None:
            raise ConfigError(
                "There is no embedder to change to: name it with AEGIS_NEXT_EMBEDDER, and "
                "AEGIS_NEXT_EMBEDDING_MODEL, _DIMENSIONS, _URL and _API_KEY where it is remote."
            )
        return chosen

    def _needed(self) -> ActiveEmbedder:
        if self._embedder is None:
            raise ConfigError(
                "AEGIS_EMBEDDER is 'none'; without vectors there is no model to change."
            )
        return self._embedder


_ADVICE: dict[Phase, str] = {
    "none": "No change is under way.",
    "filling": "Vectors of the other model are being made by `aegis up`, or by "
    "`aegis memory models change --wait`; switch when none remain.",
    "paused": "The work is held up; `aegis memory models resume` lets it go on.",
    "ready": "Every memory has a vector of the other model: `aegis memory models switch` checks "
    "recall and switches. Give AEGIS_NEXT_EMBEDDER to every process first.",
    "moving": "Both spaces are searched while rows are moved to the active model.",
    "switched": "Name the active model with AEGIS_EMBEDDER, then `aegis memory models finish` "
    "drops the vectors of the one before; `cancel` goes back to it.",
}


def _phase(other: EmbeddingModel | None, remaining: int) -> Phase:
    if other is None:
        return "none"
    if other.mixed:
        return "moving"
    if other.state == "standby":
        return "switched"
    if not remaining:
        return "ready"
    return "paused" if other.paused else "filling"


def _check_sample(k: int, samples: int) -> None:
    validate.check_limit("k", k, most=100)
    validate.check_limit("samples", samples, most=_MOST_SAMPLES)
