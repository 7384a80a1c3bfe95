"""mem0's `Memory` on pgvector with HNSW, storing what it is given (`infer=False`)."""

# pyright: reportMissingImports=false, reportUntypedBaseClass=false
# These packages are in the peers' environment, not in Aegis's.

from __future__ import annotations

from typing import Any

from lines import Setup, Vectors, serve
from mem0 import Memory
from mem0.embeddings.base import EmbeddingBase


class _Known(EmbeddingBase):
    def __init__(self, vectors: Vectors) -> None:
        super().__init__()
        self._vectors = vectors

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:
        del memory_action
        return self._vectors.of(text)


class Mem0:
    """A user a scope."""

    def __init__(self, setup: Setup) -> None:
        store = {
            "connection_string": setup.dsn,
            "collection_name": "memories",
            "embedding_model_dims": setup.dimensions,
            "hnsw": True,
            "diskann": False,
        }
        self._memory: Any = Memory.from_config(
            {
                "vector_store": {"provider": "pgvector", "config": store},
                "history_db_path": str(setup.folder / "history.db"),
                # Neither is ever asked: `infer=False`, and the vectors are known.
                "llm": {"provider": "openai", "config": {"api_key": "unused"}},
                "embedder": {"provider": "openai", "config": {"api_key": "unused"}},
            }
        )
        # The configuration takes no callable; this is where the embedder is read from.
        self._memory.embedding_model = _Known(setup.vectors)

    def add(self, scope: str, messages: list[dict[str, str]]) -> None:
        for message in messages:
            self._memory.add(
                [{"role": "user", "content": message["text"]}],
                user_id=scope,
                metadata={"message": message["id"]},
                infer=False,
            )

    def search(self, scope: str, question: str, k: int) -> list[str]:
        found = self._memory.search(question, filters={"user_id": scope}, top_k=k, threshold=0.0)
        return [hit["metadata"]["message"] for hit in found["results"]]


if __name__ == "__main__":
    serve(Mem0, "mem0ai")
