"""Items for a caller: `memory.items`.

A call is one batch: what is read is read before anything is put, what is put is put in one
transaction, and of several puts to one place the last one counts. The embedder is asked before.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from aegis.errors import AegisError, ConfigError, NotFound
from aegis.memory import validate
from aegis.memory.items.check import check_operation, verbatim_of
from aegis.memory.items.encoding import OwnEncoder
from aegis.memory.items.filters import read_filter
from aegis.memory.items.models import GetItem, ListPaths, PathMatch, PutItem, SearchItems
from aegis.memory.items.remembering import forget_items, prepare_episodes, remember_items
from aegis.memory.store import item_search, item_vectors
from aegis.memory.store import items as store
from aegis.memory.store.item_paths import list_paths
from aegis.memory.store.search_sql import Space

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Mapping, Sequence

    from aegis.db import Connection, Database
    from aegis.memory.embedding import Embedder
    from aegis.memory.items.models import Encoder, Item, ItemHit, Operation
    from aegis.memory.items.remembering import Remembered

__all__ = ["Items"]

_log = logging.getLogger("aegis.memory")

#: Items that one transaction of a sweep removes.
_SWEEP = 1_000
#: Texts that are embedded at once by the backfill.
_FILL = 128
#: A deeper page is read exactly: the graph does not know what comes so late.
_GRAPH_REACH = 1_000
#: How wide the graph is searched where the settings leave it open; exact distances rank afterwards.
_EF_SEARCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Vectors:
    """What the encoder made of one batch."""

    #: Vector of each text; of those that wait, none.
    texts: Mapping[str, str]
    queries: Mapping[str, str]


class Items:
    """Items of one client; `namespace` is where a call that names none goes."""

    def __init__(self, db: Database, embedder: Embedder | None, *, namespace: str) -> None:
        self._db = db
        self._embedder = embedder
        self.namespace = namespace
        #: Makes vectors with the client's embedder; None where there is none.
        self.encoder: Encoder | None = None if embedder is None else OwnEncoder(embedder)

    async def put(
        self,
        path: Sequence[str],
        key: str,
        value: Mapping[str, Any],
        *,
        texts: Sequence[tuple[str, str]] = (),
        ttl_minutes: float | None = None,
        namespace: str | None = None,
    ) -> None:
        """Put a JSON object into its place, over what is there.

        `texts` are the fields that it is found by, each with its text.

        Raises:
            InvalidInput: a value cannot be accepted.
        """
        put = PutItem(
            path=tuple(path), key=key, value=value, texts=tuple(texts), ttl_minutes=ttl_minutes
        )
        await self.batch([put], namespace=namespace)

    async def get(
        self, path: Sequence[str], key: str, *, refresh: bool = True, namespace: str | None = None
    ) -> Item:
        """Return one item.

        Raises:
            NotFound: there is none in this place.
        """
        get = GetItem(path=tuple(path), key=key, refresh=refresh)
        (item,) = await self.batch([get], namespace=namespace)
        if item is None:
            raise NotFound(f"There is no item {key!r} at {'/'.join(path)!r}.")
        return item

    async def delete(self, path: Sequence[str], key: str, *, namespace: str | None = None) -> None:
        """Remove an item; nothing happens where there is none."""
        put = PutItem(path=tuple(path), key=key, value=None)
        await self.batch([put], namespace=namespace)

    async def search(
        self,
        prefix: Sequence[str] = (),
        *,
        query: str | None = None,
        filter: Mapping[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh: bool = True,
        namespace: str | None = None,
    ) -> builtins.list[ItemHit]:
        """Return items below a path, nearest in meaning first, or without `query` newest first.

        As many come back as were asked for, as long as there are as many.

        Raises:
            InvalidInput: a value cannot be accepted.
            Unavailable: the embedder does not answer.
        """
        search = SearchItems(
            prefix=tuple(prefix),
            query=query,
            filter=filter,
            limit=limit,
            offset=offset,
            refresh=refresh,
        )
        (hits,) = await self.batch([search], namespace=namespace)
        return hits

    async def list_paths(
        self,
        *,
        prefix: Sequence[str] = (),
        suffix: Sequence[str] = (),
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
        namespace: str | None = None,
    ) -> builtins.list[tuple[str, ...]]:
        """Return the paths that hold items, in order; `*` in a condition is any label."""
        matches = (
            PathMatch(kind="prefix", labels=tuple(prefix)),
            PathMatch(kind="suffix", labels=tuple(suffix)),
        )
        listing = ListPaths(matches=matches, max_depth=max_depth, limit=limit, offset=offset)
        (paths,) = await self.batch([listing], namespace=namespace)
        return paths

    async def batch(
        self,
        operations: Sequence[Operation],
        *,
        encoder: Encoder | None = None,
        semantic: bool = True,
        omit_expired: bool = True,
        remember: bool = False,
        namespace: str | None = None,
    ) -> builtins.list[Any]:
        """Do several things at once and return what each comes to, in order.

        `encoder` makes the vectors instead of the client's embedder; none are made, nor asked for,
        where `semantic` is false. `remember` keeps an episode
        for each item as well, so that recall finds it; it goes with the item.

        Raises:
            InvalidInput: a value cannot be accepted; nothing was changed.
            Unavailable: the embedder does not answer a search, or is not the client's own.
        """
        place = validate.namespace_of(namespace, self.namespace)
        for operation in operations:
            check_operation(operation)
        filters = [
            read_filter(op.filter) if isinstance(op, SearchItems) else () for op in operations
        ]
        # The last put to a place is the one that counts, and where it comes is its place.
        puts = {(op.path, op.key): op for op in operations if isinstance(op, PutItem)}
        chosen = (encoder or self.encoder) if semantic else None
        vectors = await _encode(chosen, list(puts.values()), operations)
        episodes = await prepare_episodes(self._embedder, list(puts.values())) if remember else None
        results: list[Any] = [None] * len(operations)
        # Apart, so that who lengthens lives by reading holds nothing while waiting to put.
        if len(puts) < len(operations):
            async with self._db.transaction() as conn:
                results = await self._read(
                    conn, operations, filters, chosen, vectors, place, omit_expired=omit_expired
                )
        if puts:
            async with self._db.transaction() as conn:
                await _write(conn, list(puts.values()), chosen, vectors, episodes, place)
        return results

    async def sweep(self) -> int:
        """Delete what has expired, of every namespace, and return how many items it were."""
        swept = 0
        while True:
            async with self._db.transaction() as conn:
                gone = await store.sweep_items(conn, limit=_SWEEP)
            swept += gone
            if gone < _SWEEP:
                return swept

    async def backfill(
        self,
        *,
        limit: int | None = None,
        on_progress: Callable[[int], object] | None = None,
    ) -> int:
        """Make the vectors that wait for the client's embedder and return how many they were.

        Raises:
            ConfigError: no embedder is configured.
            Unavailable: the embedder does not answer; what was filled so far stays.
        """
        if self.encoder is None:
            raise ConfigError("AEGIS_EMBEDDER is 'none'; choose one to fill in vectors.")
        filled, after = 0, (0, "")
        while limit is None or filled < limit:
            size = _FILL if limit is None else min(_FILL, limit - filled)
            async with self._db.transaction() as conn:
                rows = await item_vectors.list_pending(
                    conn, model=self.encoder.model, after=after, limit=size
                )
            if not rows:
                break
            made = await self.encoder.encode_texts([text for _, _, text in rows])
            async with self._db.transaction() as conn:
                filled += await item_vectors.set_pending(conn, rows, made)
            after = rows[-1][:2]
            if on_progress is not None:
                on_progress(filled)
        return filled

    async def _read(
        self,
        conn: Connection,
        operations: Sequence[Operation],
        filters: Sequence[Any],
        encoder: Encoder | None,
        vectors: _Vectors,
        namespace: str,
        *,
        omit_expired: bool,
    ) -> builtins.list[Any]:
        results: builtins.list[Any] = [None] * len(operations)
        gets = {n: op for n, op in enumerate(operations) if isinstance(op, GetItem)}
        if gets:
            found = await store.find_items(
                conn, list(gets.values()), namespace=namespace, omit_expired=omit_expired
            )
            for number, item in zip(gets, found, strict=True):
                results[number] = item
        searches = {n: op for n, op in enumerate(operations) if isinstance(op, SearchItems)}
        if searches:
            sizes = await item_search.measure(
                conn,
                [op.prefix for op in searches.values()],
                namespace=namespace,
                ef_search=self._db.settings.hnsw_ef_search or _EF_SEARCH,
            )
            plans = [
                _plan(op, filters[number], encoder, vectors, items, iterative=sizes.iterative)
                for (number, op), items in zip(searches.items(), sizes.items, strict=True)
            ]
            found = await _search(conn, plans, namespace, omit_expired=omit_expired)
            for number, hits in zip(searches, found, strict=True):
                results[number] = hits
        for number, op in enumerate(operations):
            if isinstance(op, ListPaths):
                results[number] = await list_paths(
                    conn, op, namespace=namespace, omit_expired=omit_expired
                )
        return results


async def _encode(
    encoder: Encoder | None, puts: Sequence[PutItem], operations: Sequence[Operation]
) -> _Vectors:
    """Return the vectors of all texts and questions, each asked for once."""
    if encoder is None:
        return _Vectors(texts={}, queries={})
    texts = list(
        dict.fromkeys(text for put in puts if put.value is not None for _, text in put.texts)
    )
    queries = list(
        dict.fromkeys(op.query for op in operations if isinstance(op, SearchItems) and op.query)
    )
    made: Sequence[str] = ()
    if texts:
        try:
            made = await encoder.encode_texts(texts)
        except AegisError as error:
            if not encoder.catches_up:
                raise
            _log.warning(
                "memory.embed_failed",
                extra={"code": error.code, "texts": len(texts), "why": str(error)},
            )
    asked = await encoder.encode_queries(queries) if queries else ()
    return _Vectors(
        texts=dict(zip(texts, made, strict=False)), queries=dict(zip(queries, asked, strict=True))
    )


def _plan(
    search: SearchItems,
    conditions: Any,
    encoder: Encoder | None,
    vectors: _Vectors,
    items: int,
    *,
    iterative: bool,
) -> item_search.Plan:
    small = items <= item_search.SMALL_PATH
    plan = item_search.Plan(
        way="newest_small" if small else "newest",
        prefix=search.prefix,
        conditions=conditions,
        limit=search.limit,
        offset=search.offset,
        refresh=search.refresh,
    )
    if not search.query or encoder is None:
        return plan
    graph = iterative and not small and search.limit + search.offset <= _GRAPH_REACH
    return replace(
        plan,
        way="graph" if graph else "exact",
        vector=vectors.queries[search.query],
        space=Space(model=encoder.model, dimensions=encoder.dimensions),
    )


async def _search(
    conn: Connection, plans: Sequence[item_search.Plan], namespace: str, *, omit_expired: bool
) -> list[list[ItemHit]]:
    found = await item_search.run_searches(
        conn, plans, namespace=namespace, omit_expired=omit_expired
    )
    # The graph gives up after so many vectors, and knows only those: what is missing is looked for.
    short = [
        number
        for number, plan in enumerate(plans)
        if plan.way == "graph" and len(found[number]) < plan.limit
    ]
    if short:
        again = [replace(plans[number], way="exact") for number in short]
        more = await item_search.run_searches(
            conn, again, namespace=namespace, omit_expired=omit_expired
        )
        for number, hits in zip(short, more, strict=True):
            found[number] = hits
    return found


async def _write(
    conn: Connection,
    puts: Sequence[PutItem],
    encoder: Encoder | None,
    vectors: _Vectors,
    episodes: Remembered | None,
    namespace: str,
) -> None:
    gone = [put for put in puts if put.value is None]
    kept = [put for put in puts if put.value is not None]
    if len(puts) > 1:
        await store.lock_places(conn, puts, namespace=namespace)
    if gone:
        await store.delete_items(conn, gone, namespace=namespace)
    if kept:
        verbatim = [verbatim_of(cast("Mapping[str, Any]", put.value)) for put in kept]
        ids = await store.put_items(conn, kept, verbatim, namespace=namespace)
        rows: list[tuple[int, str, str | None, str | None]] = []
        for item_id, put in zip(ids, kept, strict=True):
            for field, text in dict(put.texts).items() if encoder is not None else ():
                vector = vectors.texts.get(text)
                rows.append((item_id, field, vector, text if vector is None else None))
        model = "" if encoder is None else encoder.model
        await item_vectors.put_vectors(conn, ids, rows, model=model)
    if episodes is not None:
        await forget_items(conn, gone, namespace=namespace)
        await remember_items(conn, episodes, namespace=namespace)
