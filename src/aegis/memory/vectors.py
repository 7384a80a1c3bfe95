"""The search of vectors and its indexes, for an operator: `memory.vectors`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.errors import InvalidInput
from aegis.memory import validate
from aegis.memory.models import EpisodeFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.db import Database
    from aegis.memory.embedding import Embedder
    from aegis.memory.indexing import Rebuilt
    from aegis.memory.store.search_sql import Space
    from aegis.memory.tuning import Curve

__all__ = ["VectorSearch"]


class VectorSearch:
    """The vectors of one client's embedder; `namespace` is what a call that names none means."""

    def __init__(self, db: Database, embedder: Embedder | None, *, namespace: str) -> None:
        self._db = db
        self._embedder = embedder
        self.namespace = namespace

    async def tune(
        self,
        *,
        k: int = 10,
        samples: int = 100,
        target: float = 0.97,
        namespace: str | None = None,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> Curve:
        """Return how much of the exact answer each width of the search finds, and how fast.

        Asks `samples` made-up questions of the namespace, each once exactly. Writes nothing.

        Raises:
            InvalidInput: a value out of range, or there is no embedder whose vectors to search.
        """
        from aegis.memory import tuning

        space = await self._space()
        validate.check_limit("k", k, most=100)
        validate.check_limit("samples", samples, most=10_000)
        if not 0 < target <= 1:
            raise InvalidInput(f"target is {target:g}; it is a share, above 0 and up to 1.")
        return await tuning.measure(
            self._db,
            where=EpisodeFilter(namespace=validate.namespace_of(namespace, self.namespace)),
            space=space,
            k=k,
            samples=samples,
            target=target,
            on_progress=on_progress,
        )

    async def reindex(
        self,
        *,
        m: int = 16,
        ef_construction: int = 64,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> Sequence[Rebuilt]:
        """Build the indexes of the embedder's model anew; readers and writers go on.

        `m` and `ef_construction` are HNSW's: greater ones find more, and take longer to build.

        Raises:
            InvalidInput: a value out of range, or there is no embedder.
            Conflict: another build is under way.
            Unavailable: no quiet moment was found for the swap; call it again.
        """
        from aegis.memory import indexing

        return await indexing.rebuild(
            self._db,
            await self._space(),
            m=m,
            ef_construction=ef_construction,
            on_progress=on_progress,
        )

    async def _space(self) -> Space:
        from aegis.memory.active import resolved
        from aegis.memory.store.search_sql import Space

        if self._embedder is None:
            raise InvalidInput("There is no embedder, so that no vectors are searched.")
        embedder = await resolved(self._embedder)
        return Space(model=embedder.model, dimensions=embedder.dimensions)
