"""One execution, run by the worker that holds it.

Steps are run as tasks, several where branches are open; what they came to is recorded before what
follows begins. When nothing is left to run, the execution is let go until its next time, a signal,
an answer or the end of a child.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from aegis.errors import AegisError, LimitExceeded, Unavailable
from aegis.workflows import advance as moves
from aegis.workflows import outcomes
from aegis.workflows.attempt import RECORDED, Attempt, Lost, Unsure, perform
from aegis.workflows.control import CONTROL
from aegis.workflows.ending import Verdict, judge, write_of
from aegis.workflows.flow import Flow
from aegis.workflows.payload import MOST_CONTEXT_BYTES, encode
from aegis.workflows.store import claims, steps

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.db import Connection
    from aegis.workflows.engine import Engine
    from aegis.workflows.execution import StepRecord
    from aegis.workflows.flow import Place
    from aegis.workflows.models import JSON
    from aegis.workflows.store.claims import Held
    from aegis.workflows.store.writes import NewExecution, Write, Written

__all__ = ["Run"]

#: Records that one turn of control nodes may make.
_RECORDS: Final = 500
#: Times that an execution is read anew after an answer that was lost with its connection.
_UNSURE: Final = 5
#: How long a cancelled step may take to end.
_CANCEL_S: Final = 5.0


class Run:
    """The work on one execution, from its claim to its end or until it has to wait."""

    def __init__(self, engine: Engine, held: Held) -> None:
        self._engine = engine
        self._held = held
        self._about: dict[str, Any] = {
            "id": held.id,
            "workflow": held.workflow,
            "version": held.version,
            "namespace": held.namespace,
            "started_at": held.started_at.isoformat(),
        }
        self._flow: Flow
        self._world = moves.World(
            execution_id=held.id, about=self._about, language=engine.language, rng=engine.rng
        )
        #: Held from the numbering of records until they are committed.
        self._lock = asyncio.Lock()
        self._attempts: dict[str, Attempt] = {}
        self._sizes: dict[str, int] = {}
        self._stir = asyncio.Event()
        self._told = False

    async def drive(self) -> None:
        """Work until it ended, has to wait, or was taken away.

        Raises:
            Unavailable: the database stayed away; the lease runs out.
        """
        fresh = self._held.steps == 0 and self._held.signals == 0
        with self._engine.told.calling(self._held.id, self._tell):
            for _ in range(_UNSURE):
                try:
                    await self._load(fresh=fresh)
                    while await self._turn():
                        pass
                    return
                except Lost:
                    return
                except Unsure:
                    # What is recorded says whether the step is.
                    fresh = False
                finally:
                    await self._cancel(list(self._attempts))

    def _tell(self) -> None:
        self._told = True
        self._stir.set()

    def _hear(self, written: Written) -> None:
        """Have the next turn look where more was told, or it was paused, before a write."""
        if written.signals > self._held.signals or written.status != self._held.status:
            self._tell()

    async def _load(self, *, fresh: bool) -> None:
        graph = await self._engine.graph(self._held.workflow_id, self._held.version)
        recorded: list[StepRecord] = []
        if not fresh:
            async with self._engine.db.transaction() as conn:
                await self._look(conn)
                recorded = await steps.list_steps(conn, self._held.id)
        self._flow = Flow.of(graph, _input(self._held), recorded)
        self._sizes = {
            name: len(encode(value, name, most=1 << 40))
            for name, value in self._flow.results[""].items()
        }
        if not fresh:
            async with self._engine.db.transaction() as conn:
                await self._look_at_children(conn)

    async def _look(self, conn: Connection) -> None:
        """Read how the execution stands by now, and what it was told."""
        held = await claims.read_held(conn, id=self._held.id, token=self._held.token)
        if not held:
            raise Lost
        self._held = held[0]
        self._world.signals = await steps.list_signals(conn, self._held.id)

    async def _look_at_children(self, conn: Connection) -> None:
        asked = [
            p.waits_for["child"]
            for p in self._flow.places.values()
            if p.state == "waiting" and p.waits_for and "child" in p.waits_for
        ]
        if asked:
            for child in await steps.list_ended(conn, asked):
                self._world.ended[child.id] = moves.Ended(
                    completed=child.status == "completed", output=child.output, error=child.error
                )

    async def _listen(self) -> None:
        """Take in what the execution was told while it ran."""
        self._told = False
        async with self._engine.db.transaction() as conn:
            await self._look(conn)
            if self._held.steps > self._flow.seq or _input(self._held) != self._flow.input:
                # A person resumed it meanwhile, maybe under the number of what was written here.
                recorded = await steps.list_steps(conn, self._held.id)
                self._flow = Flow.of(self._flow.graph, _input(self._held), recorded)
            await self._look_at_children(conn)

    async def _turn(self) -> bool:
        """Record what happened, begin what follows, wait; return whether there is more to do."""
        self._stir.clear()
        async with self._lock:
            if self._told:
                await self._listen()
            now = self._engine.now()
            records = self._collect(now)
            advanced, children = await self._advance(now)
            records.extend(advanced.records)
            await self._cancel(
                [b for b, a in self._attempts.items() if not a.is_of(self._flow.places.get(b))]
            )
            verdict = self._judge(now)
            if records or verdict.ends or verdict.release:
                write = self._write(verdict, records, children, advanced.taken)
                written = await self._engine.write(write)
                if written is None:
                    raise Lost
                if verdict.ends or verdict.release:
                    return False
                self._hear(written)
            if self._held.status == "running" and not self._told:
                self._launch()
        if not self._full():
            await self._wait(verdict.wake_at if self._held.status == "running" else None)
        return True

    def _full(self) -> bool:
        """Return whether control nodes are still to be carried out: a turn has its limit."""
        places = self._flow.places.values()
        return self._held.status == "running" and any(
            p.state == "ready" and self._flow.node(p).type in CONTROL for p in places
        )

    def _judge(self, now: datetime) -> Verdict:
        ready = any(p.state == "ready" for p in self._flow.places.values())
        return judge(
            self._engine,
            self._held,
            self._flow,
            self._about,
            now=now,
            busy=bool(self._attempts),
            ready=ready,
        )

    def _write(
        self,
        verdict: Verdict,
        records: list[StepRecord],
        children: list[NewExecution],
        taken: list[tuple[int, str]],
    ) -> Write:
        return write_of(self._held, self._flow, verdict, records, children, taken)

    def _collect(self, now: datetime) -> list[StepRecord]:
        """Apply what attempts that ended came to, and return their records."""
        records: list[StepRecord] = []
        for branch, attempt in list(self._attempts.items()):
            if not attempt.task.done():
                continue
            del self._attempts[branch]
            error = None if attempt.task.cancelled() else attempt.task.exception()
            if isinstance(error, Lost | Unsure):
                raise error
            place = self._flow.places.get(branch)
            if place is None or not attempt.is_of(place):
                continue
            record = self._record(attempt, place, error, now)
            if record is not None:
                self._flow.apply(record)
                records.append(record)
        return records

    def _record(
        self, attempt: Attempt, place: Place, error: BaseException | None, now: datetime
    ) -> StepRecord | None:
        if attempt.task.cancelled():
            error = Unavailable(f"{place.node} cancelled itself.", code="cancelled_itself")
        if error is None:
            if attempt.task.result() is RECORDED:
                return None
            try:
                return self._completed(place, attempt.task.result(), attempt.started_at)
            except AegisError as trouble:
                error = trouble
        return outcomes.failed(
            self._flow,
            place,
            error,
            self._engine.language,
            self._about,
            started_at=attempt.started_at,
            now=now,
            rng=self._engine.rng,
        )

    def _completed(self, place: Place, output: JSON, started_at: datetime) -> StepRecord:
        size = len(encode(output, f"The result of {place.node}"))
        if not place.branch:
            total = sum(self._sizes.values()) - self._sizes.get(place.node, 0) + size
            if total > MOST_CONTEXT_BYTES:
                raise LimitExceeded(
                    f"With the result of {place.node} the context has {total:,} bytes, "
                    f"{MOST_CONTEXT_BYTES:,} are kept; store results elsewhere, pass their names.",
                    code="context_too_large",
                )
        record = outcomes.completed(
            self._flow,
            place,
            output,
            self._engine.language,
            self._about,
            started_at=started_at,
            now=self._engine.now(),
        )
        if not place.branch:
            self._sizes[place.node] = size
        return record

    async def _advance(self, now: datetime) -> tuple[moves.Advanced, list[NewExecution]]:
        """Move on through control nodes, and prepare the executions that they start."""
        children: list[NewExecution] = []
        done = moves.Advanced()
        while self._held.status == "running":
            most = min(_RECORDS, self._engine.most_steps - self._flow.seq)
            found = moves.advance(self._flow, self._world, now, most=most)
            done.records.extend(found.records)
            done.taken.extend(found.taken)
            refused = False
            for child in found.children:
                try:
                    children.append(await self._engine.child(self._held, child))
                except Unavailable:
                    raise
                except AegisError as error:
                    refused = True
                    self._world.ended[child.id] = moves.Ended(
                        completed=False, output=None, error=error.message
                    )
            if not refused:
                break
        return done, children

    def _launch(self) -> None:
        for branch, place in self._flow.places.items():
            if (
                place.state != "ready"
                or branch in self._attempts
                or self._flow.node(place).type in CONTROL
            ):
                continue
            started_at = self._engine.now()

            def record(place: Place, output: JSON, started_at: datetime = started_at) -> Write:
                return self._record_here(place, output, started_at)

            task = asyncio.create_task(
                perform(
                    self._engine, self._flow, place, self._about, self._lock, record, self._hear
                )
            )
            task.add_done_callback(lambda _: self._stir.set())
            self._attempts[branch] = Attempt(place, place.attempt, started_at, task)

    def _record_here(self, place: Place, output: JSON, started_at: datetime) -> Write:
        """Apply a database step's result, and return what its transaction writes."""
        attempt = self._attempts.get(place.branch)
        if attempt is None or not attempt.is_of(self._flow.places.get(place.branch)):
            raise asyncio.CancelledError
        record = self._completed(self._flow.places[place.branch], output, started_at)
        self._flow.apply(record)
        return write_of(self._held, self._flow, Verdict(), [record], [], [])

    async def _wait(self, until: datetime | None) -> None:
        if until is None:
            await self._stir.wait()
            return
        seconds = max(0.0, (until - self._engine.now()) / timedelta(seconds=1))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stir.wait()

    async def _cancel(self, branches: list[str]) -> None:
        tasks = [self._attempts.pop(branch).task for branch in branches]
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        done, _ = await asyncio.wait(tasks, timeout=_CANCEL_S)
        for task in done:
            if not task.cancelled():
                # What a step had to say on its way out is nobody's concern any more.
                task.exception()


def _input(held: Held) -> dict[str, JSON]:
    given: Any = held.context.get("input")
    return cast("dict[str, JSON]", given) if isinstance(given, dict) else {}
