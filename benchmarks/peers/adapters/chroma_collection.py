"""A Chroma collection on disk, in the process: HNSW, cosine, a filter on metadata."""

# pyright: reportMissingImports=false
# These packages are in the peers' environment, not in Aegis's.

from __future__ import annotations

from typing import Any

import chromadb
from lines import Setup, serve

_BATCH = 1_000


class Chroma:
    """One collection; a scope is a value in the metadata."""

    def __init__(self, setup: Setup) -> None:
        client = chromadb.PersistentClient(
            path=str(setup.folder), settings=chromadb.Settings(anonymized_telemetry=False)
        )
        self._vectors = setup.vectors
        # Without an embedding function: the default one downloads a model.
        self._collection: Any = client.create_collection(
            "memories",
            embedding_function=None,
            configuration={"hnsw": {"space": "cosine"}},
        )

    def add(self, scope: str, messages: list[dict[str, str]]) -> None:
        for at in range(0, len(messages), _BATCH):
            some = messages[at : at + _BATCH]
            texts = [m["text"] for m in some]
            self._collection.add(
                # An id is unique in a collection, a message's only in its conversation.
                ids=[f"{scope}/{m['id']}" for m in some],
                embeddings=self._vectors.many(texts),
                documents=texts,
                metadatas=[{"scope": scope, "message": m["id"]} for m in some],
            )

    def search(self, scope: str, question: str, k: int) -> list[str]:
        found = self._collection.query(
            query_embeddings=[self._vectors.of(question)],
            n_results=k,
            where={"scope": scope},
            include=["metadatas", "documents", "distances"],
        )
        return [metadata["message"] for metadata in found["metadatas"][0]]


if __name__ == "__main__":
    serve(Chroma, "chromadb")
