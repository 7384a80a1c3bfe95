"""What tests of the store share: an embedding that knows nothing, and stores of one database."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.embeddings import Embeddings

import aegis
from aegis.config import load_settings
from aegis.langgraph import AegisStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Cluster

DIMS = 12


class HashEmbeddings(Embeddings):
    """Vectors that depend on the text alone and are never alike."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls.append(list(texts))
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        digest = hashlib.sha256(text.encode()).digest()
        return [byte - 127.5 for byte in digest[:DIMS]]


@pytest.fixture(scope="module")
def client(
    cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A client without `async` that the tests of a module share; each takes its own namespace."""
    settings = load_settings({}, data_dir=tmp_path_factory.mktemp("store"))
    with cluster.database(template) as dsn, aegis.connect(dsn, settings=settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def make_store(client: Any) -> Callable[..., AegisStore]:
    """Make a store in a namespace that nobody else has."""
    numbers = itertools.count()

    def make(**options: Any) -> AegisStore:
        options.setdefault("namespace", f"store-{next(numbers)}")
        return AegisStore(client, **options)

    return make


@pytest.fixture
def store(make_store: Callable[..., AegisStore]) -> AegisStore:
    """A store that embeds with the client's own embedder, as it comes."""
    return make_store()
