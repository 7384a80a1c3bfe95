"""How well recall finds the evidence: recall@k and MRR on conversations with labels.

Every message is an episode, one namespace a conversation; every question is asked through
`Memory.recall` with the default embedder. Beside it, on the same rows: vectors alone, BM25 alone
(exact, without neighbours), and PostgreSQL's `ts_rank` over OR-ed words. With `--peers`
other stores of memories are asked instead, each in a process of its own (`benchmarks/peers/`).
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from aegis.config import load_settings
from aegis.memory.embedding import open_embedder
from aegis.memory.service import Memory
from benchmarks.baselines import bm25, ts_rank
from benchmarks.conversations import CUTS, Conversation, read_conversations, recall_at, record
from benchmarks.database import migrated_database
from benchmarks.report import percentile, progress

if TYPE_CHECKING:
    import argparse

    from aegis.db import Database
    from aegis.memory.embedding import Embedder
    from benchmarks.report import Outcome

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled conversations")
    parser.add_argument(
        "--peers",
        nargs="?",
        const="all",
        metavar="NAMES",
        help="compare with other stores: all, or some of pgvector,langgraph,mem0,chroma",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="keeps the peers' virtual environment (default: the platform's cache folder)",
    )


def run(args: argparse.Namespace) -> dict[str, float] | Outcome:
    """Return the figures."""
    conversations = read_conversations(args.data)
    if args.peers is None:
        return asyncio.run(_measure(conversations))
    from benchmarks.peers import comparison, environment

    peers = environment.choose(args.peers)
    cache = args.cache or environment.default_cache()
    return asyncio.run(comparison.compare(conversations, peers, cache.resolve()))


class _Tally:
    """Means of what was measured, by name."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = defaultdict(list)

    def add(self, prefix: str, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self.values[f"{prefix}.{name}"].append(value)

    def means(self) -> dict[str, float]:
        return {name: sum(values) / len(values) for name, values in self.values.items()}


async def _measure(conversations: list[Conversation]) -> dict[str, float]:
    embedder = open_embedder(load_settings({}))
    assert embedder is not None
    tally, timings = _Tally(), defaultdict[str, list[float]](list)
    async with migrated_database() as db:
        memory = Memory(db, embedder, namespace="default")
        await embedder.warm()
        stored, seconds = 0, 0.0
        for conversation in progress(conversations, "Recording"):
            started = time.perf_counter()
            stored += len(await record(memory, conversation))
            seconds += time.perf_counter() - started
        for conversation in progress(conversations, "Asking"):
            await _ask(db, memory, embedder, conversation, tally, timings)
    await embedder.aclose()
    figures = tally.means()
    for name, values in timings.items():
        figures[f"{name}.p50_ms"] = percentile(values, 50)
        figures[f"{name}.p95_ms"] = percentile(values, 95)
    return dict(sorted(figures.items())) | {"texts_stored_per_s": stored / seconds}


async def _ask(
    db: Database,
    memory: Memory,
    embedder: Embedder,
    conversation: Conversation,
    tally: _Tally,
    timings: dict[str, list[float]],
) -> None:
    name, deepest = conversation.name, max(CUTS)
    for question in conversation.questions:
        # Timed as people ask; how deep the evidence lies is another question.
        started = time.perf_counter()
        await memory.recall(question.text, namespace=name, k=10)
        answered = time.perf_counter()
        vector = (await embedder.embed([question.text]))[0].tolist()
        embedded = time.perf_counter()
        await memory.recall(question.text, vector=vector, namespace=name, k=10)
        done = time.perf_counter()
        hits = await memory.recall(question.text, vector=vector, namespace=name, k=deepest)
        timings[f"{conversation.source}.with_embedding"].append((answered - started) * 1000)
        timings[f"{conversation.source}.without_embedding"].append((done - embedded) * 1000)
        near = await memory.recall(mode="vector", vector=vector, namespace=name, k=deepest)
        answers = {
            "": [hit.episode.source_id or "" for hit in hits],
            "vectors_alone.": [hit.episode.source_id or "" for hit in near],
            "bm25_alone.": await bm25(db, question.text, name, deepest),
            "ts_rank.": await ts_rank(db, question.text, name, deepest),
        }
        for arm, answer in answers.items():
            figures = recall_at(answer, question.evidence)
            tally.add(f"{conversation.source}.{arm}".rstrip("."), figures)
            if not arm:
                tally.add(f"{conversation.source}.{question.category}", figures)
