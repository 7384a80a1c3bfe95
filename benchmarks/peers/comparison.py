"""Aegis and its peers on the same conversations: the same vectors, rows, questions and server.

All take turns, question by question, so that a busy machine slows all of them. Vectors are made
beforehand: neither times nor ingest count the embedder. Of each question the best ten are timed,
and twenty looked at.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections import defaultdict
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
from psycopg import conninfo, sql

from aegis.config import load_settings
from aegis.db import Database
from aegis.errors import InvalidInput, OpsError
from aegis.memory.embedding import open_embedder
from aegis.memory.service import Memory
from benchmarks.conversations import recall_at, record
from benchmarks.database import server
from benchmarks.peers.environment import install
from benchmarks.peers.process import PeerProcess, started
from benchmarks.report import Grid, Outcome, percentile, progress

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.conversations import Conversation
    from benchmarks.peers.environment import Peer

__all__ = ["KnownVectors", "Measured", "compare", "measure", "open_peer", "outcome"]

_TIMED, _DEEPEST = 10, 20
#: Texts that are embedded at once.
_BATCH = 64
_NOTES = (
    "Embeddings were made beforehand by Aegis's own embedder, and all have the same; times and "
    "ingest are without it. All took turns, one question at a time.",
    "Aegis ranks by words, vectors and neighbours in the conversation; its weights were learned on "
    "conversations of these sources. `python -m benchmarks.train_fusion --data DIR` prints what "
    "they are worth on conversations left out.",
)


@dataclass(slots=True)
class Measured:
    """What one system did; `source` is the set that a conversation is from."""

    name: str
    title: str
    versions: dict[str, str] = field(default_factory=dict[str, str])
    recalls: dict[str, list[dict[str, float]]] = field(
        default_factory=lambda: defaultdict[str, list[dict[str, float]]](list)
    )
    times_ms: dict[str, list[float]] = field(
        default_factory=lambda: defaultdict[str, list[float]](list)
    )
    ingest_s: dict[str, float] = field(default_factory=lambda: defaultdict[str, float](float))
    #: Why there are no figures, or not all; None when there are.
    failure: str | None = None

    def figures(self, source: str) -> dict[str, float]:
        """Return the means and percentiles of one set."""
        rows, times = self.recalls[source], self.times_ms[source]
        means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        return {
            **{name: value for name, value in means.items() if name != "recall_at_50"},
            "p50_ms": percentile(times, 50),
            "p95_ms": percentile(times, 95),
            "ingest_s": self.ingest_s[source],
        }


class System(Protocol):
    """What is measured: Aegis itself, or a peer's process."""

    #: Where its figures go.
    found: Measured
    #: Its own database.
    dsn: str

    async def add(self, conversation: Conversation) -> float:
        """Store a conversation and return the seconds."""
        ...

    async def search(self, scope: str, question: str, k: int) -> tuple[list[str], float]:
        """Return ids of messages, best first, and the seconds."""
        ...


class KnownVectors:
    """Stands for the embedder that made the vectors, and looks them up."""

    def __init__(self, model: str, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        self.model = model
        self.dimensions = vectors.shape[1]
        self.texts = texts
        self.vectors = vectors
        # Questions are stripped on their way here.
        self._places = {text.strip(): place for place, text in enumerate(texts)}

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.vectors[[self._places[text.strip()] for text in texts]]

    async def warm(self) -> None: ...

    async def aclose(self) -> None: ...

    def write(self, folder: Path) -> None:
        """Write what `adapters/lines.py` reads."""
        (folder / "texts.json").write_text(json.dumps(self.texts), encoding="utf-8")
        (folder / "vectors.f32").write_bytes(self.vectors.astype("=f4").tobytes())


async def compare(
    conversations: Sequence[Conversation], peers: Sequence[Peer], cache: Path
) -> Outcome:
    """Measure Aegis and the peers and return the table.

    Raises:
        InvalidInput: no conversation has a question whose evidence is among its messages.
    """
    sources = sorted({c.source for c in conversations if c.questions})
    if not sources:
        raise InvalidInput("No question names evidence that is there; there is nothing to ask.")
    pythons: dict[str, Path | OpsError] = {}
    for peer in progress(peers, "Installing"):
        try:
            pythons[peer.name] = install(peer, cache)
        except OpsError as error:
            pythons[peer.name] = error
    vectors = await _embed(conversations)
    async with AsyncExitStack() as stack:
        dsn = stack.enter_context(server())
        systems = [await _open_aegis(stack, dsn, vectors)]
        measured = [systems[0].found]
        for peer in progress(peers, "Starting"):
            found = Measured(name=peer.name, title=peer.title)
            measured.append(found)
            python = pythons[peer.name]
            if isinstance(python, OpsError):
                found.failure = f"not installed: {python}"
                continue
            own = _create_database(dsn, f"peer_{peer.name}")
            with _noted(found):
                systems.append(open_peer(stack, found, peer.adapter, python, own, vectors))
        await measure(systems, conversations)
    return outcome(measured, sources, [*_NOTES, *(peer.note for peer in peers)])


def open_peer(
    stack: AsyncExitStack,
    found: Measured,
    adapter: Path,
    python: Path,
    dsn: str,
    vectors: KnownVectors,
    *,
    patience_s: float = 900,
) -> System:
    """Start a peer's process on `dsn`, an empty database of its own, until the stack ends.

    Raises:
        OpsError: it does not start.
    """
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aegis-peer-")))
    (home / "store").mkdir()
    vectors.write(home)
    process = stack.enter_context(started(python, adapter, home, patience_s=patience_s))
    opened = process.call(
        "open",
        dsn=dsn,
        folder=str(home / "store"),
        vectors=str(home),
        dimensions=vectors.dimensions,
    )
    found.versions = opened["versions"]
    return _Process(found, dsn, process)


async def measure(systems: Sequence[System], conversations: Sequence[Conversation]) -> None:
    """Store everything in each system and ask each every question; one that fails is left out."""
    for conversation in progress(conversations, "Storing"):
        for system in _running(systems):
            with _noted(system.found) as found:
                found.ingest_s[conversation.source] += await system.add(conversation)
    for system in systems:
        # What autovacuum would do a minute later, for everybody alike.
        await asyncio.to_thread(_settle, system.dsn)
    asked = [(c, question) for c in conversations for question in c.questions]
    for conversation, question in progress(asked, "Asking"):
        for system in _running(systems):
            with _noted(system.found) as found:
                _, seconds = await system.search(conversation.name, question.text, _TIMED)
                ids, _ = await system.search(conversation.name, question.text, _DEEPEST)
                found.times_ms[conversation.source].append(seconds * 1000)
                found.recalls[conversation.source].append(recall_at(ids, question.evidence))


def _running(systems: Sequence[System]) -> list[System]:
    return [system for system in systems if system.found.failure is None]


@contextmanager
def _noted(found: Measured) -> Generator[Measured]:
    """Make a failure part of what was found."""
    try:
        yield found
    except OpsError as error:
        found.failure = str(error)


def outcome(measured: Sequence[Measured], sources: Sequence[str], notes: Sequence[str]) -> Outcome:
    """Return the table of all systems, set by set, with what failed."""
    columns = ("R@5", "R@10", "R@20", "MRR", "p50 ms", "p95 ms", "ingest s")
    rows: list[tuple[str, ...]] = []
    figures: dict[str, float] = {}
    for source in sources:
        for system in measured:
            if system.failure is not None:
                rows.append((source, system.title, "failed", *[""] * (len(columns) - 1)))
                continue
            found = system.figures(source)
            figures |= {f"{source}.{system.name}.{name}": v for name, v in found.items()}
            recalls = [f"{found[f'recall_at_{cut}']:.3f}" for cut in (5, 10, 20)]
            times = [f"{found[name]:.1f}" for name in ("p50_ms", "p95_ms", "ingest_s")]
            rows.append((source, system.title, *recalls, f"{found['mrr']:.3f}", *times))
    grid = Grid(title="retrieval, against peers", columns=("set", "system", *columns), rows=rows)
    return Outcome(
        figures=figures,
        tables=[grid],
        notes=list(notes),
        failures={s.name: s.failure for s in measured if s.failure is not None},
        versions={
            f"{s.name}: {package}": version
            for s in measured
            for package, version in s.versions.items()
        },
    )


class _Process:
    """A peer behind the pipe; it takes its own time, without the pipe's."""

    def __init__(self, found: Measured, dsn: str, process: PeerProcess) -> None:
        self.found = found
        self.dsn = dsn
        self._process = process
        # Names of files may hold what a peer refuses in a name, such as a full stop.
        self._scopes: dict[str, str] = {}

    async def add(self, conversation: Conversation) -> float:
        scope = self._scopes.setdefault(conversation.name, f"c{len(self._scopes)}")
        messages = [
            {"id": episode.source_id, "text": episode.summary}
            for episode in conversation.episodes()
        ]
        return self._process.call("add", scope=scope, messages=messages)["seconds"]

    async def search(self, scope: str, question: str, k: int) -> tuple[list[str], float]:
        answer = self._process.call("search", scope=self._scopes[scope], question=question, k=k)
        return answer["ids"], answer["seconds"]


class _Aegis:
    def __init__(self, dsn: str, memory: Memory) -> None:
        self.found = Measured(name="aegis", title="Aegis")
        self.dsn = dsn
        self._memory = memory

    async def add(self, conversation: Conversation) -> float:
        started_at = time.perf_counter()
        await record(self._memory, conversation)
        return time.perf_counter() - started_at

    async def search(self, scope: str, question: str, k: int) -> tuple[list[str], float]:
        started_at = time.perf_counter()
        hits = await self._memory.recall(question, namespace=scope, k=k)
        seconds = time.perf_counter() - started_at
        return [hit.episode.source_id or "" for hit in hits], seconds


async def _open_aegis(stack: AsyncExitStack, dsn: str, vectors: KnownVectors) -> System:
    from aegis.db import migrate

    own = _create_database(dsn, "aegis")
    await asyncio.to_thread(migrate.upgrade, own)
    db = await stack.enter_async_context(await Database.open(own, load_settings({})))
    return _Aegis(own, Memory(db, vectors, namespace="default"))


async def _embed(conversations: Sequence[Conversation]) -> KnownVectors:
    import numpy as np

    embedder = open_embedder(load_settings({}))
    assert embedder is not None
    texts = sorted(
        {episode.summary for c in conversations for episode in c.episodes()}
        | {question.text for c in conversations for question in c.questions}
    )
    batches = [texts[at : at + _BATCH] for at in range(0, len(texts), _BATCH)]
    made: list[Any] = [await embedder.embed(batch) for batch in progress(batches, "Embedding")]
    await embedder.aclose()
    return KnownVectors(embedder.model, texts, np.concatenate(made))


def _create_database(dsn: str, name: str) -> str:
    """Create an empty database beside the one of `dsn`, and return its DSN."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return conninfo.make_conninfo(dsn, dbname=name)


def _settle(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("VACUUM (ANALYZE)")
