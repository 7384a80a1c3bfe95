"""Ask the embedder without ever losing a memory: a failure is logged, the vector comes later."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aegis.errors import AegisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.memory.embedding import Embedder
    from aegis.memory.embedding.patience import Patience

__all__ = ["embed_or_none"]

_log = logging.getLogger("aegis.memory")


async def embed_or_none(
    embedder: Embedder | None, texts: Sequence[str], patience: Patience | None = None
) -> tuple[list[str | None], str | None]:
    """Return a vector in pgvector's text form for each text, and the model that made them.

    Without an embedder, or when it fails, every vector is None and so is the model. `patience`
    bounds the wait for it.
    """
    if embedder is None or not texts:
        return [None] * len(texts), None
    from aegis.memory.active import resolved
    from aegis.memory.embedding import vector_text

    try:
        embedder = await resolved(embedder)
        asked = embedder if patience is None else patience.of(embedder)
        vectors = await asked.embed(texts)
    except AegisError as error:
        _log.warning(
            "memory.embed_failed",
            extra={"code": error.code, "texts": len(texts), "why": str(error)},
        )
        return [None] * len(texts), None
    return [vector_text(vector) for vector in vectors], embedder.model
