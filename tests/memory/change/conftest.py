"""Two embedders without a network, and memories whose clients notice a switch at once."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aegis.errors import Unavailable
from aegis.memory import Memory
from aegis.memory.change.work import Pauses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Database
    from aegis.memory.embedding import Embedder, Vectors

#: For clients that read the state before every call, rows may move at once.
AT_ONCE = Pauses(move_s=0.0, settle_s=0.0, leave_s=0.0)


class WordEmbedder:
    """A text is the sum of its words' directions, which depend on the model's name."""

    provider = "custom"

    def __init__(self, model: str, dimensions: int, *, blind: bool = False) -> None:
        self.model = model
        self.dimensions = dimensions
        #: Sees no difference between texts.
        self.blind = blind
        self.asked: list[str] = []
        self.away = False
        #: A text that is refused.
        self.poison: str | None = None

    async def embed(self, texts: Sequence[str]) -> Vectors:
        if self.away:
            raise Unavailable("The embedder is away.", code="embedder_unavailable")
        if self.poison is not None and self.poison in texts:
            raise Unavailable("The embedder refuses.", code="embedder_refused")
        self.asked += texts
        return np.stack([self._vector(text) for text in texts])

    async def warm(self) -> None:
        pass

    async def aclose(self) -> None:
        pass

    def _vector(self, text: str) -> Vectors:
        words = ["same"] if self.blind else text.lower().split() or [""]
        total = np.zeros(self.dimensions)
        for word in words:
            seed = hashlib.sha256(f"{self.model} {word}".encode()).digest()
            total += np.random.default_rng(list(seed)).standard_normal(self.dimensions)
        return (total / np.linalg.norm(total)).astype(np.float32)


def client(db: Database, embedder: Embedder | None, following: Embedder | None = None) -> Memory:
    """Return a memory that believes nothing it read before, and moves rows at once."""
    memory = Memory(db, embedder, namespace="default", next_embedder=following)
    if memory.embedder is not None:
        memory.embedder._fresh_s = 0.0  # pyright: ignore
    memory.models._pauses = AT_ONCE  # pyright: ignore
    return memory


async def remember(memory: Memory, rows: int) -> list[str]:
    texts = [f"memory n{n} about t{n % 3} with w{n * 7}" for n in range(rows)]
    for text in texts:
        await memory.record("note", text)
    return texts


async def found(memory: Memory, texts: list[str]) -> bool:
    for text in texts:
        (hit,) = await memory.recall(text, k=1, mode="vector")
        if hit.episode.summary != text:
            return False
    return True


@pytest.fixture
def old() -> WordEmbedder:
    return WordEmbedder("old-model", 16)


@pytest.fixture
def new() -> WordEmbedder:
    return WordEmbedder("new-model", 24)


@pytest.fixture
def both(db: Database, old: WordEmbedder, new: WordEmbedder) -> Memory:
    """A memory of a process that has both embedders, before any change."""
    return client(db, old, new)
