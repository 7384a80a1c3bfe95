"""What memory tests share: the real embedder, one that is away, and a memory of one's own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aegis.config import load_settings
from aegis.memory import Memory
from aegis.memory.embedding import Embedder, open_embedder

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    """The default embedder, loaded once."""
    embedder = open_embedder(load_settings({}))
    assert embedder is not None
    return embedder


@pytest.fixture
def absent_embedder(settings: Settings) -> Embedder:
    """An embedder whose endpoint nobody answers: port 9 of this machine is closed."""
    embedder = open_embedder(
        replace(
            settings,
            embedder="openai",
            embedding_url="http://127.0.0.1:9/v1",
            embedding_timeout_s=0.5,
            embedding_dimensions=384,
        )
    )
    assert embedder is not None
    return embedder


@pytest.fixture
def memory(db: Database, embedder: Embedder) -> Memory:
    """A memory on a database of the test's own, with the default embedder."""
    return Memory(db, embedder, namespace="default")


@pytest.fixture
def plain_memory(db: Database) -> Memory:
    """A memory without an embedder, for what has nothing to do with vectors."""
    return Memory(db, None, namespace="default")
