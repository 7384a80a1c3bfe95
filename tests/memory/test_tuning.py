"""Tuning: what the widths of the vector search give, on real vectors."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from aegis.db import Database
from aegis.errors import InvalidInput
from aegis.memory import Memory
from aegis.memory.tuning import WIDTHS
from tests.memory.conftest import LARGE
from tests.serving import aegis, answer

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.memory.embedding import Embedder

pytestmark = pytest.mark.servers("18", "16")


async def test_a_wider_search_finds_more_and_the_least_that_does_is_advised(
    large_db: Database, embedder: Embedder
) -> None:
    memory = Memory(large_db, embedder, namespace="default")
    seen: list[tuple[int, int]] = []
    curve = await memory.vectors.tune(
        samples=20, target=0.9, on_progress=lambda done, of: seen.append((done, of))
    )
    assert [point.ef_search for point in curve.points] == list(WIDTHS)
    assert (curve.episodes, curve.samples, curve.reason) == (LARGE, 20, None)
    # Wider may lose one neighbour of two hundred, as the graph has it; never more.
    assert all(b.recall >= a.recall - 0.01 for a, b in pairwise(curve.points))
    assert curve.points[-1].recall > 0.9
    assert curve.advised == next(p.ef_search for p in curve.points if p.recall >= 0.9)
    assert seen == [(n, 20 * (1 + len(WIDTHS))) for n in range(1, 1 + 20 * (1 + len(WIDTHS)))]


async def test_a_target_out_of_reach_advises_nothing(
    large_db: Database, embedder: Embedder
) -> None:
    memory = Memory(large_db, embedder, namespace="default")
    with pytest.raises(InvalidInput, match="above 0 and up to 1"):
        await memory.vectors.tune(target=1.2)
    await _break_graph(large_db)
    curve = await memory.vectors.tune(samples=20, target=1.0)
    assert curve.advised is None
    assert len(curve.points) == len(WIDTHS)


async def test_a_small_namespace_has_nothing_to_tune(
    large_db: Database, embedder: Embedder
) -> None:
    curve = await Memory(large_db, embedder, namespace="small").vectors.tune()
    assert (curve.points, curve.advised, curve.samples) == ((), None, 0)
    assert curve.reason is not None
    assert "searched exactly" in curve.reason


async def test_without_an_embedder_there_is_no_space_to_tune(large_db: Database) -> None:
    with pytest.raises(InvalidInput, match="no embedder"):
        await Memory(large_db, None, namespace="default").vectors.tune()


def test_the_command_shows_the_curve(tmp_path: Path, large_dsn: str) -> None:
    shown = aegis(tmp_path, "memory", "tune", "--samples", "5", database_url=large_dsn)
    assert shown.returncode == 0, shown.stderr
    assert "ef_search" in shown.stdout
    assert "AEGIS_HNSW_EF_SEARCH=" in shown.stdout or "No width finds" in shown.stdout
    more = ("memory", "tune", "--samples", "5", "--json")
    found = answer(aegis(tmp_path, *more, database_url=large_dsn))
    assert isinstance(found, dict)
    assert [point["ef_search"] for point in found["points"]] == list(WIDTHS)
    assert json.dumps(found)


async def _break_graph(db: Database) -> None:
    """Build the graph so sparsely that no width finds everything."""
    async with db.connection() as conn:
        cursor = await conn.execute(
            "SELECT pg_get_indexdef('idx_episodic_embedding_minilm'::regclass)"
        )
        row = await cursor.fetchone()
        assert row is not None
        await conn.execute("DROP INDEX idx_episodic_embedding_minilm")
        sparse = row[0].replace(" WHERE ", " WITH (m = 2, ef_construction = 4) WHERE ")
        await conn.execute(sparse)
