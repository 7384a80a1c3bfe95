"""An embedder that is waited for only so long: the vector of a question is worth no more.

What words find is found in milliseconds, so recall does not wait seconds for a vector. An embedder
that fails three times in a row is left alone for half a minute. Work in a thread that has begun
is not thrown away: the built-in embedder is awaited, however cold it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from aegis.errors import AegisError, Unavailable
from aegis.memory.breaker import Breaker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.memory.embedding import Embedder, Vectors

__all__ = ["Patient"]


class Patient:
    """`embedder`, with a budget of `budget_ms` milliseconds a call."""

    def __init__(self, embedder: Embedder, *, budget_ms: int) -> None:
        self._embedder = embedder
        self._budget_ms = budget_ms
        self._breaker = Breaker()

    @property
    def model(self) -> str:
        """See `Embedder.model`."""
        return self._embedder.model

    @property
    def dimensions(self) -> int:
        """See `Embedder.dimensions`."""
        return self._embedder.dimensions

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row per text; see `Embedder.embed`.

        Raises:
            Unavailable: no answer within the budget, or it is left alone after failing.
            ConfigError: as the embedder says.
        """
        if not self._breaker.admits(anyio.current_time()):
            raise Unavailable(
                f"The embedder failed three times in a row and is left alone for "
                f"{self._breaker.rest_s:g} s.",
                code="embedder_unavailable",
            )
        vectors: Vectors | None = None
        try:
            with anyio.move_on_after(self._budget_ms / 1000):
                vectors = await self._embedder.embed(texts)
        except AegisError:
            self._breaker.failed(anyio.current_time())
            raise
        if vectors is None:
            self._breaker.failed(anyio.current_time())
            raise Unavailable(
                f"The embedder did not answer within {self._budget_ms} ms "
                "(AEGIS_EMBEDDING_BUDGET_MS).",
                code="embedder_unavailable",
            )
        self._breaker.succeeded()
        return vectors

    async def warm(self) -> None:
        """See `Embedder.warm`."""
        await self._embedder.warm()

    async def aclose(self) -> None:
        """See `Embedder.aclose`."""
        await self._embedder.aclose()
