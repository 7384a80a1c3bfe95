"""LangGraph's `PostgresStore`, as its documentation sets it up: HNSW, cosine, one field indexed."""

# pyright: reportMissingImports=false
# These packages are in the peers' environment, not in Aegis's.

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from langgraph.store.base import PutOp
from langgraph.store.postgres import PostgresStore
from lines import Setup, serve

_BATCH = 200


class LangGraphStore:
    """A namespace a scope."""

    def __init__(self, setup: Setup) -> None:
        self._open = ExitStack()
        self._store: Any = self._open.enter_context(
            PostgresStore.from_conn_string(
                setup.dsn,
                index={
                    "dims": setup.dimensions,
                    "embed": setup.vectors.many,
                    "fields": ["text"],
                    "ann_index_config": {"kind": "hnsw", "vector_type": "vector"},
                    "distance_type": "cosine",
                },
            )
        )
        self._store.setup()

    def add(self, scope: str, messages: list[dict[str, str]]) -> None:
        for at in range(0, len(messages), _BATCH):
            self._store.batch(
                [
                    PutOp(namespace=(scope,), key=m["id"], value={"text": m["text"]})
                    for m in messages[at : at + _BATCH]
                ]
            )

    def search(self, scope: str, question: str, k: int) -> list[str]:
        return [item.key for item in self._store.search((scope,), query=question, limit=k)]


if __name__ == "__main__":
    serve(LangGraphStore, "langgraph-checkpoint-postgres", "langgraph-checkpoint")
