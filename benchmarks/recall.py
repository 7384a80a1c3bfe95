"""How fast recall answers at N episodes, and how near its vectors are to exact.

The question's vector is given, so embedding is not counted. Beside it, in the same run: the
question with a time in it (a month, a day); the same hybrid question answered by one pass over the
table without any index (words, neighbours and vectors of every row); an exact scan of the vectors
alone; and plain pgvector `ORDER BY embedding <=> q LIMIT 10` on the HNSW index. After that a
namespace of 5,000 is added to the table and asked the same: with several N the growth of that shows
what the others cost it. Then thousands of tiny namespaces (`namespaces.py`), and single writes
beside a build of the vector index (`writing.py`).
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from psycopg import sql

from aegis.memory.ranking import FEATURES, load_weights
from aegis.memory.service import Memory
from benchmarks.baselines import exact_hybrid
from benchmarks.corpus import Corpus
from benchmarks.database import migrated_database
from benchmarks.loading import KnownModel, copy_episodes, literal, moment
from benchmarks.namespaces import beside_many
from benchmarks.report import Grid, Outcome, progress, shown, timed
from benchmarks.writing import beside_a_build

if TYPE_CHECKING:
    import argparse

    from aegis.db import Database

__all__ = ["add_arguments", "run"]

#: The size of the namespace that is added to every table.
_NAMESPACE_ROWS = 5_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--rows", type=_numbers, default=[20_000], help="one number, or several")
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--namespaces", type=int, default=10_000, help="tiny namespaces beside it")
    parser.add_argument("--writes", type=int, default=200, help="single writes, 0 for none")


def run(args: argparse.Namespace) -> dict[str, float] | Outcome:
    """Return the figures."""
    found: dict[int, dict[str, float]] = {}
    for rows in args.rows:
        corpus = Corpus(rows=rows, dimensions=args.dimensions)
        found[rows] = asyncio.run(_measure(corpus, args))
    if len(found) == 1:
        return found[args.rows[0]]
    return _side_by_side(found)


def _side_by_side(found: dict[int, dict[str, float]]) -> Outcome:
    """Return the figures of several sizes, a column each."""
    figures = {f"{rows}.{name}": v for rows, some in found.items() for name, v in some.items()}
    names = list(dict.fromkeys(name for some in found.values() for name in some if name != "rows"))
    lines = [
        (name, *(shown(some[name]) if name in some else "" for some in found.values()))
        for name in names
    ]
    least, most = min(found), max(found)
    name = "namespace_hybrid.p50_ms"
    growth = found[most][name] / found[least][name]
    blanks = [""] * (len(found) - 1)
    lines.append(("namespace_growth_ratio", *blanks, shown(growth)))
    columns = ("figure", *(f"{rows:,} rows" for rows in found))
    return Outcome(
        figures=figures | {"namespace_growth_ratio": growth},
        tables=[Grid(title="recall", columns=columns, rows=lines)],
    )


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


async def _measure(corpus: Corpus, args: argparse.Namespace) -> dict[str, float]:
    count: int = args.questions
    figures: dict[str, float] = {"rows": corpus.rows}
    embedder = KnownModel(corpus.dimensions)
    async with migrated_database() as db:
        figures |= await _load(db, corpus, embedder)
        memory = Memory(db, embedder, namespace="default")
        asked = [(text, vector.tolist()) for text, vector in corpus.questions(count)]
        # The first question samples the namespace's words.
        for text, vector in asked[:10]:
            await memory.recall(text, vector=vector)
        near: list[list[int]] = []

        async def vector_arm(_text: str, vector: list[float]) -> list[int]:
            hits = await memory.recall(mode="vector", vector=vector)
            near.append([hit.episode.id for hit in hits])
            return near[-1]

        async def hybrid(text: str, vector: list[float]) -> list[int]:
            return [hit.episode.id for hit in await memory.recall(text, vector=vector)]

        async def text_arm(text: str, _vector: list[float]) -> list[int]:
            return [hit.episode.id for hit in await memory.recall(text, mode="text")]

        async def plain(_text: str, vector: list[float]) -> list[int]:
            return await _plain(db, corpus.dimensions, vector, model=embedder.model)

        async def scan(_text: str, vector: list[float]) -> list[int]:
            return await _scan(db, vector)

        async def one_pass(text: str, vector: list[float]) -> list[int]:
            weights = load_weights().at(figures["mean_terms"])
            return await exact_hybrid(
                db, text, literal(vector), dict(zip(FEATURES, weights, strict=True))
            )

        # The seconds of a scan grow with the rows: fewer of them then.
        few = asked[: max(5, min(count // 10, 2_000_000 // corpus.rows))]
        # Of all of the corpus: what a graph does not reach lies together.
        step = max(1, count // max(50, min(count, 20_000_000 // corpus.rows)))
        some = asked[::step]
        figures |= await timed("hybrid", hybrid, asked)
        figures |= await timed("dated_hybrid", hybrid, _dated(asked, corpus.rows))
        figures |= await timed("vector", vector_arm, asked)
        figures |= await timed("text", text_arm, asked)
        figures |= await timed("plain_pgvector", plain, asked)
        figures |= await timed("seqscan_vector", scan, few)
        figures |= await timed("seqscan_hybrid", one_pass, few)
        exact = [set(await scan(text, vector)) for text, vector in progress(some, "Exact")]
        figures["vector.recall_at_10"] = _overlap(near[: len(asked) : step], exact)
        figures["plain_pgvector.recall_at_10"] = _overlap([await plain(*q) for q in some], exact)
        whole = [set(await one_pass(*q)) for q in few]
        figures["hybrid.overlap_with_one_pass"] = _overlap([await hybrid(*q) for q in few], whole)
        figures |= await _namespace(db, corpus.dimensions, embedder, count)
        figures |= await beside_many(db, embedder, args.namespaces, count)
        figures |= await beside_a_build(db, embedder, args.writes)
    hybrid_p50 = figures["hybrid.p50_ms"]
    figures["dated_over_undated_ratio"] = figures["dated_hybrid.p50_ms"] / hybrid_p50
    figures["speedup_over_seqscan_ratio"] = figures["seqscan_hybrid.p50_ms"] / hybrid_p50
    figures["speedup_over_vector_seqscan_ratio"] = figures["seqscan_vector.p50_ms"] / hybrid_p50
    return figures


async def _namespace(
    db: Database, dimensions: int, embedder: KnownModel, count: int
) -> dict[str, float]:
    """Add a namespace of its own and return how fast it answers, from the first question on."""
    corpus = Corpus(rows=_NAMESPACE_ROWS, dimensions=dimensions, seed=8)
    async with db.connection() as conn:
        await conn.execute("SET statement_timeout = 0")
        await copy_episodes(conn, corpus, embedder.model, lambda _: "agent")
        await conn.execute("RESET statement_timeout")
    memory = Memory(db, embedder, namespace="agent")
    asked = [(text, vector.tolist()) for text, vector in corpus.questions(count)]

    async def hybrid(text: str, vector: list[float]) -> list[int]:
        return [hit.episode.id for hit in await memory.recall(text, vector=vector)]

    return await timed("namespace_hybrid", hybrid, asked)


def _dated(asked: list[tuple[str, list[float]]], rows: int) -> list[tuple[str, list[float]]]:
    """Return the questions with a time that some of the corpus is from: a month, or a day."""
    dated: list[tuple[str, list[float]]] = []
    for place, (text, vector) in enumerate(asked):
        at = moment(place * rows // len(asked))
        when = f"in {at:%B %Y}" if place % 2 else f"on {at.day} {at:%B %Y}"
        dated.append((f"{text.rstrip('?')} {when}?", vector))
    return dated


def _overlap(found: list[list[int]], exact: list[set[int]]) -> float:
    shares = [len(set(f) & e) / max(len(e), 1) for f, e in zip(found, exact, strict=True)]
    return sum(shares) / len(shares)


async def _load(db: Database, corpus: Corpus, embedder: KnownModel) -> dict[str, float]:
    """Copy the corpus, then build the vector index: row by row takes many times as long."""
    dimensions = sql.Literal(corpus.dimensions)
    async with db.connection() as conn:
        await conn.execute("SET statement_timeout = 0")
        await conn.execute("DROP INDEX idx_episodic_embedding_minilm")
        await copy_episodes(conn, corpus, embedder.model, lambda _: "default")
        started = time.perf_counter()
        await conn.execute("SET maintenance_work_mem = '2GB'")
        await conn.execute(
            sql.SQL(
                "CREATE INDEX idx_episodic_embedding_minilm ON episodic_memory USING hnsw "
                "((embedding::halfvec({})) halfvec_cosine_ops) WHERE embedding_model = {}"
            ).format(dimensions, sql.Literal(embedder.model))
        )
        built = time.perf_counter() - started
        await conn.execute("VACUUM (ANALYZE) episodic_memory, episodic_sketches")
        cursor = await conn.execute(
            """
            SELECT (
                       pg_total_relation_size('episodic_memory')
                       + pg_total_relation_size('episodic_sketches')
                   )::float8,
                   avg(length(search) - 1)::float8,
                   avg(length(summary))::float8
            FROM episodic_memory
            """
        )
        row: Any = await cursor.fetchone()
        await conn.execute("RESET statement_timeout")
    return {
        "hnsw_build_s": built,
        "bytes_per_episode": row[0] / corpus.rows,
        "mean_terms": row[1],
        "mean_characters": row[2],
    }


async def _plain(db: Database, dimensions: int, vector: list[float], *, model: str) -> list[int]:
    statement = sql.SQL(
        """
        SELECT id
        FROM episodic_memory
        WHERE embedding_model = {model}
        ORDER BY embedding::halfvec({dimensions}) <=> %(vector)s::halfvec({dimensions})
        LIMIT 10
        """
    ).format(model=sql.Literal(model), dimensions=sql.Literal(dimensions))
    async with db.transaction() as conn:
        cursor = await conn.execute(statement, {"vector": literal(vector)})
        return [row[0] for row in await cursor.fetchall()]


async def _scan(db: Database, vector: list[float]) -> list[int]:
    async with db.transaction() as conn:
        cursor = await conn.execute(
            """
            SELECT id
            FROM episodic_memory
            ORDER BY embedding <=> %(vector)s::vector
            LIMIT 10
            """,
            {"vector": literal(vector)},
        )
        return [row[0] for row in await cursor.fetchall()]
