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

__all__ = ["Embedder", "open_embedder", "vector_bytes", "vector_text"]


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
