"""`AegisStore`: LangGraph's `BaseStore`, kept in `memory.items`.

Every operation, also of the synchronous form, is done in the event loop of the client, so that one
store serves graphs that run with and without `async`, in any thread. The synchronous form cannot be
called in that event loop itself: it would wait for itself, and says so.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Any, Literal, cast

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    PutOp,
    SearchItem,
    SearchOp,
    validate_op_namespace,
)

from aegis.client import connect, unwrap
from aegis.errors import AegisError, InvalidInput
from aegis.langgraph.gathering import Gathering
from aegis.langgraph.indexing import read_index
from aegis.memory.items import GetItem, ListPaths, PathMatch, PutItem, SearchItems

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from langgraph.store.base import IndexConfig, Op, Result, TTLConfig

    from aegis.config import Settings
    from aegis.memory import items

__all__ = ["AegisStore", "ConnectingStore"]

_log = logging.getLogger("aegis.langgraph")

#: Operations of calls that come at once that go together. What is read may begin lives anew, and is
#: locked until all of them are through: whoever puts there waits so long.
_READS, _PUTS = 20, 500
#: Minutes between sweeps where nobody says.
_SWEEP_MINUTES = 5.0


class AegisStore(BaseStore):
    """A LangGraph store in the client's database, below one namespace of Aegis.

    `client` is what `aegis.connect()` gives, entered with or without `async`. Items are embedded by
    the client's own embedder, as a whole or by `index["fields"]`; `index["embed"]` takes another
    one, and `index=False` embeds nothing. `ttl` is LangGraph's; what has expired is read until it
    is swept, unless it says `omit_expired: True`. `remember` keeps an episode for each item, so
    that recall finds it, too.
    """

    supports_ttl = True

    __slots__ = (
        "_bridge",
        "_indexing",
        "_items",
        "_namespace",
        "_reading",
        "_remember",
        "_sweeper",
        "_writing",
        "index_config",
        "ttl_config",
    )

    def __init__(
        self,
        client: Any,
        *,
        index: IndexConfig | Literal[False] | None = None,
        ttl: TTLConfig | None = None,
        remember: bool = False,
        namespace: str | None = None,
        embedding_model: str | None = None,
    ) -> None:
        """Keep items of `namespace` (the client's if None).

        `embedding_model` names the vectors of `index["embed"]`; those of another name are not
        compared with them.

        Raises:
            ConfigError: `index` does not fit.
            InvalidInput: `client` is no open client.
        """
        opened = unwrap(client)
        self._bridge = opened.bridge
        self._items = opened.memory.items
        # Half of the connections: others ask the database, too.
        lanes = max(1, opened.memory.database.settings.pool_max_size // 2)
        self._reading: Gathering[Op, Result] = Gathering(self._do, lanes=lanes, most=_READS)
        # One: what waits goes together, and would only wait for the locks of one another.
        self._writing: Gathering[Op, Result] = Gathering(self._do, lanes=1, most=_PUTS)
        self._namespace = opened.memory.namespace if namespace is None else namespace
        self._indexing = (
            None if index is False else read_index(index, self._items.encoder, embedding_model)
        )
        #: As it was given, for those who look.
        self.index_config = index or None
        self.ttl_config = None if ttl is None else cast("TTLConfig", dict(ttl))
        self._remember = remember
        self._sweeper: concurrent.futures.Future[None] | None = None

    @classmethod
    def connect(
        cls,
        database_url: str | None = None,
        *,
        settings: Settings | None = None,
        **options: Any,
    ) -> ConnectingStore:
        """Prepare a store with a client of its own; enter it with `with` or `async with`.

        `options` are those of the class.
        """
        return ConnectingStore(cls, database_url, settings, options)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do several operations at once and return what each comes to, in order.

        What is read is read before anything is put; of several puts to one place the last counts.
        """
        return self._bridge.call(self._batch, list(ops))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Do several operations at once and return what each comes to, in order."""
        return await self._bridge.run(self._batch, list(ops))

    def sweep_ttl(self) -> int:
        """Delete what has expired and return how many items it were."""
        return self._bridge.call(self._items.sweep)

    async def asweep_ttl(self) -> int:
        """Delete what has expired and return how many items it were."""
        return await self._bridge.run(self._items.sweep)

    def start_ttl_sweeper(
        self, sweep_interval_minutes: float | None = None
    ) -> concurrent.futures.Future[None]:
        """Sweep now and then beside everything else, until stopped; return what can be cancelled.

        The interval is the argument, else that of `ttl`, else 5 minutes. `aegis up` sweeps as well:
        beside it none is needed. Waits for nothing, so that it may be called in any loop.
        """
        if self._sweeper is None or self._sweeper.done():
            configured = (self.ttl_config or {}).get("sweep_interval_minutes")
            minutes = sweep_interval_minutes or configured or _SWEEP_MINUTES
            if not 0 < minutes < float("inf"):
                raise InvalidInput(f"sweep_interval_minutes is {minutes!r}; use more than 0.")
            self._sweeper = self._bridge.start(_sweep_for_ever(self._items, minutes * 60))
        return self._sweeper

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """End the sweeper; return whether it has ended within `timeout` seconds."""
        sweeper, self._sweeper = self._sweeper, None
        if sweeper is None:
            return True
        sweeper.cancel()
        return bool(concurrent.futures.wait([sweeper], timeout).done)

    async def _batch(self, ops: list[Op]) -> list[Result]:
        # Its own faults are a call's own: what others ask at the same time goes on.
        for op in ops:
            validate_op_namespace(op)
        writes = any(isinstance(op, PutOp) for op in ops)
        return await (self._writing if writes else self._reading).do(ops)

    async def _do(self, ops: list[Op]) -> list[Result]:
        done = await self._items.batch(
            [self._operation(op) for op in ops],
            encoder=None if self._indexing is None else self._indexing.encoder,
            semantic=self._indexing is not None,
            omit_expired=bool(self.ttl_config and self.ttl_config.get("omit_expired")),
            remember=self._remember,
            namespace=self._namespace,
        )
        return [_result(op, value) for op, value in zip(ops, done, strict=True)]

    def _operation(self, op: Op) -> GetItem | PutItem | SearchItems | ListPaths:
        if isinstance(op, GetOp):
            return GetItem(path=tuple(op.namespace), key=op.key, refresh=op.refresh_ttl)
        if isinstance(op, SearchOp):
            return SearchItems(
                prefix=tuple(op.namespace_prefix),
                filter=op.filter,
                query=op.query,
                limit=op.limit,
                offset=op.offset,
                refresh=op.refresh_ttl,
            )
        if isinstance(op, ListNamespacesOp):
            return ListPaths(
                matches=tuple(
                    PathMatch(kind=match.match_type, labels=tuple(match.path))
                    for match in op.match_conditions or ()
                ),
                max_depth=op.max_depth,
                limit=op.limit,
                offset=op.offset,
            )
        if not isinstance(cast("object", op), PutOp):
            raise InvalidInput(f"Unknown operation {type(op).__name__}; use those of LangGraph.")
        texts: list[tuple[str, str]] = []
        if op.value is not None and self._indexing is not None:
            texts = self._indexing.texts_of(op.value, op.index)
        return PutItem(
            path=tuple(op.namespace), key=op.key, value=op.value, ttl_minutes=op.ttl, texts=texts
        )


class ConnectingStore:
    """A store that opens and closes its client: enter it with `with` or `async with`."""

    def __init__(
        self,
        kind: type[AegisStore],
        database_url: str | None,
        settings: Settings | None,
        options: dict[str, Any],
    ) -> None:
        self._kind = kind
        self._client = connect(
            database_url, namespace=options.pop("namespace", None), settings=settings
        )
        self._options = options
        self._stack: ExitStack | None = None
        self._async_stack: AsyncExitStack | None = None

    def __enter__(self) -> AegisStore:
        with ExitStack() as stack:
            store = self._kind(stack.enter_context(self._client), **self._options)
            stack.callback(store.stop_ttl_sweeper)
            self._stack = stack.pop_all()
        return store

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stack is not None:
            self._stack.close()

    async def __aenter__(self) -> AegisStore:
        async with AsyncExitStack() as stack:
            store = self._kind(await stack.enter_async_context(self._client), **self._options)
            # Without waiting: this is the loop in which it ends.
            stack.callback(store.stop_ttl_sweeper, 0)
            self._async_stack = stack.pop_all()
        return store

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._async_stack is not None:
            await self._async_stack.aclose()


async def _sweep_for_ever(items: items.Items, pause_s: float) -> None:
    while True:
        await asyncio.sleep(pause_s)
        try:
            swept = await items.sweep()
        except AegisError as error:
            _log.warning("langgraph.sweep_failed", extra={"code": error.code, "why": str(error)})
        else:
            if swept:
                _log.info("langgraph.swept", extra={"items": swept})


def _result(op: Op, value: Any) -> Result:
    if isinstance(op, GetOp):
        return None if value is None else Item(**_fields(value))
    if isinstance(op, SearchOp):
        return [SearchItem(**_fields(hit.item), score=hit.score) for hit in value]
    return value


def _fields(item: items.Item) -> dict[str, Any]:
    return {
        "namespace": item.path,
        "key": item.key,
        "value": item.value,
        "created_at": item.created_at,
        "updated_at": item.updated_at,
    }
