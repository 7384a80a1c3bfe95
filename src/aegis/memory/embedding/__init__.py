"""Embedders: what turns texts into vectors, behind one small protocol.

Invariant: a vector depends on its text and on the embedder's `model`, and on nothing else (not on
what else was in the call, nor on the order). A failed embedder raises `Unavailable` or
`ConfigError` and nothing else, so that the caller can store the memory and fill the vector in
later. Importing this package imports neither numpy nor onnxruntime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from aegis.config import Settings

    #: float32, shape (number of texts, dimensions) or (dimensions,); rows of unit length.
    Vectors: TypeAlias = NDArray[np.float32]

__all__ = ["Embedder", "open_embedder", "open_next_embedder", "vector_bytes", "vector_text"]


class Embedder(Protocol):
    """Turns texts into unit vectors of one model."""

    @property
    def model(self) -> str:
        """Name stored beside every vector; vectors of different models are never compared."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of every vector."""
        ...

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row per text, in order: float32, shape (len(texts), dimensions), unit length.

        Raises:
            Unavailable: the embedder cannot answer now (code `embedder_unavailable`).
            ConfigError: it cannot answer until a setting or the installation is corrected.
        """
        ...

    async def warm(self) -> None:
        """Load what the first `embed` would load; raises what `embed` raises."""
        ...

    async def aclose(self) -> None:
        """Release memory and connections; the next `embed` takes them up again."""
        ...


def open_embedder(settings: Settings) -> Embedder | None:
    """Return the embedder that the settings name, or None for `none`; nothing is loaded yet.

    Raises:
        ConfigError: the URL or the key of the endpoint cannot be sent.
    """
    if settings.embedder == "none":
        return None
    if settings.embedder == "openai":
        from aegis.memory.embedding.openai import OpenAI

        return OpenAI(settings)
    from aegis.memory.embedding.minilm import MiniLM

    return MiniLM()


def open_next_embedder(settings: Settings) -> Embedder | None:
    """Return the embedder that the model is changed to, or None where the settings name none.

    Raises:
        ConfigError: the URL or the key of the endpoint cannot be sent.
    """
    if settings.next_embedder == "none":
        return None
    if settings.next_embedder == "openai":
        from aegis.memory.embedding.openai import OpenAI

        return OpenAI(_of_next(settings), prefix="AEGIS_NEXT_EMBEDDING")
    from aegis.memory.embedding.minilm import MiniLM

    return MiniLM()


def _of_next(settings: Settings) -> Settings:
    """Return the settings of the next embedder under the names of the first."""
    from dataclasses import replace

    # A key is for the endpoint that it was given for, and is sent to no other.
    url, key = settings.next_embedding_url, settings.next_embedding_api_key
    same = url is None or url == settings.embedding_url
    return replace(
        settings,
        embedding_url=url or settings.embedding_url,
        embedding_api_key=key or (settings.embedding_api_key if same else None),
        embedding_model=settings.next_embedding_model,
        embedding_dimensions=settings.next_embedding_dimensions,
        embedding_requests_per_minute=settings.next_embedding_requests_per_minute,
        embedding_tokens_per_minute=settings.next_embedding_tokens_per_minute,
        embedding_usd_per_million_tokens=settings.next_embedding_usd_per_million_tokens,
    )


def vector_text(vector: Vectors) -> str:
    """Return one vector in pgvector's text form, such as `[0.1,-0.25]`."""
    # Nine digits read back as the same float32.
    return "[" + ",".join(f"{value:.9g}" for value in vector.tolist()) + "]"


def vector_bytes(vector: Vectors) -> bytes:
    """Return one vector in pgvector's binary form, for COPY and binary parameters.

    Layout (vector_send in pgvector's src/vector.c): int16 dimensions, int16 0, float32 each, all
    big-endian.
    """
    return len(vector).to_bytes(2, "big") + b"\0\0" + vector.astype(">f4").tobytes()
