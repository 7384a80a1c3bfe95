"""Executions of workflows as one object: start, look, tell, stop, mend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from aegis.errors import AegisError, Conflict, InvalidInput, LimitExceeded
from aegis.workflows import check, mending, starting, watching
from aegis.workflows.advance import approval_name
from aegis.workflows.batches import Batches
from aegis.workflows.control import APPROVAL
from aegis.workflows.defining import Definitions
from aegis.workflows.execution import ENDED, STATUSES, ExecutionDetail
from aegis.workflows.listening import Listener
from aegis.workflows.payload import encode, shorten
from aegis.workflows.store import executions, families, steps, writes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from aegis.db import Connection, Database
    from aegis.workflows.execution import Change, Execution, Status, StepRecord
    from aegis.workflows.store.writes import NewExecution

    #: The execution that there is now, and the one that was to be.
    _Started: TypeAlias = tuple[Execution, NewExecution] | AegisError

__all__ = ["Workflows"]

_PRUNED_AT_ONCE: Final = 500
#: Signals of one execution that no step has taken.
_MOST_SIGNALS: Final = 1_000


class Workflows(Definitions):
    """Workflows of one database: their definitions, and their executions."""

    def __init__(self, db: Database, *, namespace: str = "default") -> None:
        super().__init__(db)
        self._namespace = namespace
        self._changes = Listener(db, "aegis_workflow_changes")
        self._starts: Batches[starting.Asked, _Started] = Batches(db, self._start)

    async def start(
        self,
        name: str,
        input: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        version: int | None = None,
        priority: int = 0,
        deadline: datetime | None = None,
        namespace: str | None = None,
    ) -> Execution:
        """Start an execution and return it; with a `key` that was used, the one it started.

        The newest active version runs unless `version` names another.

        Raises:
            NotFound: no such workflow, or no such version.
            Conflict: the version is archived; or the key started one with other input.
            InvalidInput: `input` lacks a required name, or a value cannot be.
            LimitExceeded: `input` is too large.
        """
        values = check.check_input(input)
        number = check.check_number(priority, "priority", -10, 10)
        if key is not None:
            check.check_line(key, "key")
        asked = starting.Asked(
            name=name,
            version=version,
            input=values,
            namespace=namespace or self._namespace,
            key=key,
            priority=number,
            deadline=check.check_time(deadline, "deadline"),
        )
        started = await self._starts.put(asked)
        if isinstance(started, AegisError):
            raise started
        execution, new = started
        if execution.id != new.id:
            await self._same_start(execution, new)
        return execution

    async def execution(self, id: str) -> ExecutionDetail:
        """Return one execution with its context and what it waits for (`NotFound`)."""
        known_id = check.check_id(id)
        async with self._db.transaction() as conn:
            found = await mending.get(conn, known_id)
            carried = await executions.read_carried(conn, known_id)
            waiting: list[StepRecord] = []
            if found.version is not None and found.status in ("running", "interrupted"):
                known = await mending.know(conn, found)
                open_ = {
                    (p.branch, p.node, p.visit)
                    for p in known.flow.places.values()
                    if p.state == "waiting"
                }
                waiting = [
                    r
                    for r in known.records
                    if r.status == "waiting" and (r.branch, r.node, r.visit) in open_
                ]
        context: Any = carried.context if carried is not None else {}
        return ExecutionDetail(
            execution=found,
            context=cast("dict[str, Any]", context)
            if isinstance(context, dict)
            else {"value": context},
            output=carried.output if carried is not None else None,
            waiting=waiting,
        )

    async def executions(
        self,
        *,
        workflow: str | None = None,
        status: Status | None = None,
        namespace: str | None = None,
        before: tuple[datetime, str] | None = None,
        limit: int = 50,
    ) -> list[Execution]:
        """Return executions, the latest started first; `before` is time and id of the last seen.

        Without a namespace, of all. `limit` is 1 to 1,000.
        """
        check.check_number(limit, "limit", 1, 1_000)
        if status is not None and status not in STATUSES:
            raise InvalidInput(f"status is {status!r}; it is one of {', '.join(STATUSES)}.")
        async with self._db.transaction() as conn:
            return await executions.list_executions(
                conn,
                workflow=workflow,
                status=status,
                namespace=namespace,
                before=before,
                limit=limit,
            )

    async def history(self, id: str, *, after: int = 0, limit: int = 1_000) -> list[StepRecord]:
        """Return steps numbered above `after`, in order; none after pruning (`NotFound`)."""
        check.check_number(limit, "limit", 1, 100_000)
        async with self._db.transaction() as conn:
            await mending.get(conn, check.check_id(id))
            return await steps.list_steps(conn, check.check_id(id), after=after, limit=limit)

    def watch(self, id: str, *, after: int = 0) -> AsyncIterator[Change]:
        """Yield how it stands now, with steps above `after`, then each change until it ends.

        Changes that come fast are yielded as one. An execution that ended is yielded once.
        """
        return watching.watch(self._db, self._changes, check.check_id(id), after=after)

    async def signal(
        self, id: str, name: str, payload: Any = None, *, key: str | None = None
    ) -> bool:
        """Tell an execution something, before or while a node waits for it.

        The same `key` again is the same signal: False is returned and nothing happens.

        Raises:
            NotFound: no such execution.
            Conflict: it has ended.
            LimitExceeded: too many signals wait for it.
        """
        check.check_line(name, "name")
        if name.startswith(approval_name("")):
            raise InvalidInput(f"{name!r} answers an approval; approve it.")
        if key is not None:
            check.check_line(key, "key")
        encode(payload, "The payload")
        async with self._db.transaction() as conn:
            found = await mending.get(conn, check.check_id(id), lock=True)
            _require_open(found)
            if await steps.count_untaken(conn, found.id) >= _MOST_SIGNALS:
                raise LimitExceeded(
                    f"{_MOST_SIGNALS:,} signals wait for {found.id}; let it take some.",
                    code="too_many_signals",
                )
            return bool(
                await steps.send_signal(conn, found.id, name=name, payload=payload, key=key)
            )

    async def approve(
        self,
        id: str,
        node: str,
        *,
        approved: bool = True,
        by: str | None = None,
        comment: str | None = None,
        branch: str = "",
    ) -> None:
        """Answer an approval that waits now.

        Raises:
            NotFound: no such execution.
            Conflict: the node does not wait, or was answered already.
        """
        payload = {"approved": approved, "by": by, "comment": comment}
        encode(payload, "The answer")
        async with self._db.transaction() as conn:
            found = await mending.get(conn, check.check_id(id), lock=True)
            _require_open(found)
            known = await mending.know(conn, found)
            place = known.flow.places.get(branch)
            name = approval_name(node, branch)
            asks = place is not None and place.state == "waiting" and place.node == node
            if place is None or not asks or known.flow.node(place).type != APPROVAL:
                raise Conflict(f"{node} of {id} waits for no approval now.", code="not_waiting")
            if any(s.name == name for s in await steps.list_signals(conn, found.id)):
                raise Conflict(f"{node} of {id} was answered already.", code="answered")
            await steps.send_signal(conn, found.id, name=name, payload=payload, key=None)

    async def pause(self, id: str) -> Execution:
        """Interrupt it and what it started: steps under way end and are recorded, no other begins.

        Times that nodes wait for go on.
        """
        known = check.check_id(id)
        async with self._db.transaction() as conn:
            found = await mending.get(conn, known, lock=True)
            if found.status == "interrupted":
                return found
            _require_open(found)
            await families.pause(conn, known)
            return await mending.get(conn, known)

    async def resume(self, id: str, input: Mapping[str, Any] | None = None) -> Execution:
        """Go on with an interrupted execution and its children; `input` is laid over its own.

        Raises:
            Conflict: it is not interrupted.
        """
        async with self._db.transaction() as conn:
            return await mending.resume(conn, check.check_id(id), check.check_input(input))

    async def cancel(self, id: str, *, reason: str | None = None) -> Execution:
        """Fail it and its children now, with reason `cancelled`; steps under way are cancelled.

        Cancelling what has ended changes nothing.
        """
        known = check.check_id(id)
        error = f"Cancelled: {shorten(reason, 500)}" if reason else "Cancelled."
        async with self._db.transaction() as conn:
            found = await mending.get(conn, known)
            cancelled = await executions.cancel(conn, [known], error=error)
            if known in cancelled and found.parent_id is not None:
                await writes.tell_parents(conn, [known])
            return await mending.get(conn, known)

    async def retry(self, id: str, from_node: str | None = None) -> Execution:
        """Run a failed execution again from the nodes that failed, or from `from_node`.

        What is recorded stays; steps that failed keep their idempotency keys.

        Raises:
            Conflict: it has not failed, or its steps were pruned.
            InvalidInput: the graph has no node `from_node`.
        """
        async with self._db.transaction() as conn:
            return await mending.retry(conn, check.check_id(id), from_node)

    async def fork(
        self, id: str, from_step: int, input: Mapping[str, Any] | None = None
    ) -> Execution:
        """Start another execution that shares the steps below `from_step` and runs that anew.

        `input` is laid over the original's.

        Raises:
            Conflict: the steps were pruned.
            InvalidInput: it has no such step.
        """
        async with self._db.transaction() as conn:
            return await mending.fork(conn, check.check_id(id), from_step, check.check_input(input))

    async def prune(self, *, keep_days: float) -> int:
        """Remove steps and signals of executions that ended longer ago; return of how many.

        Executions stay, with their context and output.
        """
        return await self._by_and_by(steps.prune, keep_days)

    async def forget(self, *, keep_days: float) -> int:
        """Delete executions that ended longer ago and have no steps any more; return how many.

        One that is part of another stays as long as that. Their idempotency keys may start others.
        """
        return await self._by_and_by(executions.forget, keep_days)

    async def _start(self, conn: Connection, asked: Sequence[starting.Asked]) -> Sequence[_Started]:
        """Start executions, those that come together in one transaction."""
        async with conn.transaction():
            new = await starting.prepare(conn, asked)
            fine = [one for one in new if not isinstance(one, AegisError)]
            await writes.insert_executions(conn, fine)
            by_id = {e.id: e for e in await executions.find_executions(conn, [n.id for n in fine])}
            for one in fine:
                if one.id not in by_id and one.idempotency_key is not None:
                    first = await executions.find_by_key(
                        conn, workflow_id=one.workflow_id, key=one.idempotency_key
                    )
                    if first is not None:
                        by_id[one.id] = first
        return [one if isinstance(one, AegisError) else (by_id[one.id], one) for one in new]

    async def _by_and_by(self, work: Callable[..., Awaitable[int]], keep_days: float) -> int:
        """Do it to some at a time, so that no transaction is long; return to how many."""
        if not 0 <= keep_days <= 36_500:
            raise InvalidInput(f"keep_days is {keep_days:g}; it is 0 to 36,500.")
        done = 0
        while True:
            async with self._db.transaction() as conn:
                count = await work(conn, keep_days=keep_days, limit=_PRUNED_AT_ONCE)
            done += count
            if count < _PRUNED_AT_ONCE:
                return done

    async def _same_start(self, found: Execution, new: NewExecution) -> None:
        """Refuse a key that was used for something else: the caller would not get what it asked."""
        async with self._db.transaction() as conn:
            carried = await executions.read_carried(conn, found.id)
            resumed = await steps.was_resumed(conn, found.id)
        context: Any = carried.context if carried is not None else {}
        # Whoever resumed it may have changed its input.
        if not resumed and context.get("input") != new.context["input"]:
            raise Conflict(
                f"The key {new.idempotency_key!r} started {found.id} with other input; "
                "use another.",
                code="key_reused",
            )


def _require_open(found: Execution) -> None:
    if found.status in ENDED:
        raise Conflict(f"{found.id} has ended: it is {found.status}.", code="execution_ended")
    if found.version is None:
        raise Conflict(f"{found.id} was not started by Aegis.", code="execution_foreign")
