"""Vectors of items from the client's own embedder."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.memory.embedding import Embedder

__all__ = ["OwnEncoder"]


class OwnEncoder:
    """Encodes with the embedder that makes the vectors of episodes, too."""

    #: The backfill has the same embedder.
    catches_up = True

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def model(self) -> str:
        """Name stored beside every vector."""
        return self._embedder.model

    @property
    def dimensions(self) -> int:
        """Length of every vector."""
        return self._embedder.dimensions

    async def encode_texts(self, texts: Sequence[str]) -> list[str]:
        """Return a vector in pgvector's text form for each text (`Unavailable`)."""
        from aegis.memory.embedding import vector_text

        return [vector_text(vector) for vector in await self._embedder.embed(texts)]

    async def encode_queries(self, queries: Sequence[str]) -> list[str]:
        """Return a vector in pgvector's text form for each question (`Unavailable`)."""
        return await self.encode_texts(queries)
