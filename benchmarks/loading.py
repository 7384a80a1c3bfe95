"""Putting made-up episodes into a database, and the embedder whose vectors they pretend to have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from benchmarks.corpus import vector_literal
from benchmarks.report import progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from aegis.db import Connection
    from benchmarks.corpus import Corpus

__all__ = ["MINILM", "KnownModel", "copy_episodes", "literal", "moment"]

MINILM = "all-MiniLM-L6-v2-onnx-int8"


class KnownModel:
    """Stands for the embedder whose vectors the corpus pretends to have; it is never asked."""

    model = MINILM

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        if dimensions != 384:
            self.model = f"made-up-{dimensions}"

    async def embed(self, texts: Any) -> Any:
        raise AssertionError(f"{len(texts)} texts were to be embedded")

    async def warm(self) -> None: ...

    async def aclose(self) -> None: ...


async def copy_episodes(
    conn: Connection, corpus: Corpus, model: str, namespace: Callable[[int], str]
) -> None:
    """Copy a corpus in; `namespace` says where the episode of a number goes."""
    async with conn.cursor() as cursor, cursor.copy(_COPY) as copy:
        episodes = corpus.episodes()
        for number in progress(range(corpus.rows), "Loading"):
            session, text, vector = next(episodes)
            await copy.write_row(
                (moment(number).isoformat(), "message", text, namespace(number), session,
                 vector_literal(vector), model)
            )  # fmt: skip


def literal(vector: list[float]) -> str:
    """Return a list of numbers in pgvector's text form."""
    return "[" + ",".join(map(str, vector)) + "]"


_COPY = """
COPY episodic_memory (
    timestamp, event_type, summary, namespace, session_id, embedding, embedding_model
) FROM STDIN
"""


def moment(number: int) -> datetime:
    """Return a time of its own for each episode, a minute after the one before."""
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
