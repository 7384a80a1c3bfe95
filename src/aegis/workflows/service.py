"""Executions of workflows as one object: start, look, tell, stop, mend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime

    from aegis.db import Database
    from aegis.workflows.execution import Change, Execution, ExecutionDetail, Status, StepRecord

__all__ = ["Workflows"]


class Workflows:
    """Workflows of one database."""

    def __init__(self, db: Database, *, namespace: str = "default") -> None:
        self._db = db
        self._namespace = namespace

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
        raise NotImplementedError

    async def execution(self, id: str) -> ExecutionDetail:
        """Return one execution with its context and what it waits for (`NotFound`)."""
        raise NotImplementedError

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
        raise NotImplementedError

    async def history(self, id: str, *, after: int = 0, limit: int = 1_000) -> list[StepRecord]:
        """Return steps numbered above `after`, in order; none after pruning (`NotFound`)."""
        raise NotImplementedError

    def watch(self, id: str, *, after: int = 0) -> AsyncIterator[Change]:
        """Yield how it stands now, with steps above `after`, then each change until it ends.

        Changes that come fast are yielded as one. An execution that ended is yielded once.
        """
        raise NotImplementedError

    async def signal(
        self, id: str, name: str, payload: Any = None, *, key: str | None = None
    ) -> bool:
        """Tell an execution something, before or while a node waits for it.

        The same `key` again is the same signal: False is returned and nothing happens.

        Raises:
            NotFound: no such execution.
            Conflict: it has ended.
        """
        raise NotImplementedError

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
        raise NotImplementedError

    async def pause(self, id: str) -> Execution:
        """Interrupt: steps under way end and are recorded, no other begins.

        Times that nodes wait for go on.
        """
        raise NotImplementedError

    async def resume(self, id: str, input: Mapping[str, Any] | None = None) -> Execution:
        """Go on with an interrupted execution; `input` is laid over its own.

        Raises:
            Conflict: it is not interrupted.
        """
        raise NotImplementedError

    async def cancel(self, id: str, *, reason: str | None = None) -> Execution:
        """Fail it and its children now, with reason `cancelled`; steps under way are cancelled.

        Cancelling what has ended changes nothing.
        """
        raise NotImplementedError

    async def retry(self, id: str, from_node: str | None = None) -> Execution:
        """Run a failed execution again from the nodes that failed, or from `from_node`.

        What is recorded stays; steps that failed keep their idempotency keys.

        Raises:
            Conflict: it has not failed, or its steps were pruned.
            InvalidInput: the graph has no node `from_node`.
        """
        raise NotImplementedError

    async def fork(
        self, id: str, from_step: int, input: Mapping[str, Any] | None = None
    ) -> Execution:
        """Start another execution that shares the steps below `from_step` and runs that anew.

        `input` is laid over the original's.

        Raises:
            Conflict: the steps were pruned.
            InvalidInput: it has no such step.
        """
        raise NotImplementedError

    async def prune(self, *, keep_days: float) -> int:
        """Remove steps and signals of executions that ended longer ago; return of how many.

        Executions stay, with their context and output.
        """
        raise NotImplementedError
