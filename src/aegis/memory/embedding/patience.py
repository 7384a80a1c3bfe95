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

__all__ = ["Patience", "Patient"]


class Patience:
    """The budget of questions: each embedder is left alone for its own failures."""

    def __init__(self, budget_ms: int) -> None:
        self._budget_ms = budget_ms
        self._patients: dict[str, Patient] = {}

    def of(self, embedder: Embedder) -> Patient:
        """Return `embedder` with the budget."""
        patient = self._patients.get(embedder.model)
        if patient is None or patient.embedder is not embedder:
            patient = Patient(embedder, budget_ms=self._budget_ms)
            self._patients[embedder.model] = patient
        return patient


class Patient:
    """`embedder`, with a budget of `budget_ms` milliseconds a call."""

    def __init__(self, embedder: Embedder, *, budget_ms: int) -> None:
        self.embedder = embedder
        self._budget_ms = budget_ms
        self._breaker = Breaker()

    @property
    def model(self) -> str:
        """See `Embedder.model`."""
        return self.embedder.model

    @property
    def dimensions(self) -> int:
        """See `Embedder.dimensions`."""
        return self.embedder.dimensions

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
                vectors = await self.embedder.embed(texts)
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
        await self.embedder.warm()

    async def aclose(self) -> None:
        """See `Embedder.aclose`."""
        await self.embedder.aclose()
