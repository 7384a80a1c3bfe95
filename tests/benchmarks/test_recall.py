from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aegis.errors import OpsError
from benchmarks.corpus import Corpus
from benchmarks.loading import KnownModel, copy_episodes
from benchmarks.namespaces import beside_many
from benchmarks.recall import _side_by_side
from benchmarks.writing import _require_vectors, beside_a_build

if TYPE_CHECKING:
    from aegis.db import Database


async def test_tiny_namespaces_give_all_they_have(db: Database) -> None:
    figures = await beside_many(db, KnownModel(384), namespaces=60, count=20)
    for when in ("few", "many"):
        assert figures[f"tiny_namespace.{when}.found_share"] == 1
        assert figures[f"tiny_namespace.{when}.vector_share"] == 1
    async with db.transaction() as conn:
        cursor = await conn.execute(
            "SELECT count(DISTINCT namespace), count(*) FROM episodic_memory"
        )
        assert await cursor.fetchone() == (60, 120)


async def test_writes_are_measured_with_vectors_and_beside_a_build(db: Database) -> None:
    known = KnownModel(384)
    async with db.connection() as conn:
        await copy_episodes(conn, Corpus(rows=2_000, dimensions=384), known.model, lambda _: "x")
    figures = await beside_a_build(db, known, writes=5)
    assert set(figures) == {
        "write_alone.p50_ms",
        "write_alone.p95_ms",
        "write_beside_build.p50_ms",
        "write_beside_build.p95_ms",
        "write_beside_build.max_ms",
    }
    assert figures["write_beside_build.max_ms"] >= figures["write_beside_build.p50_ms"] > 0
    async with db.transaction() as conn:
        cursor = await conn.execute(
            "SELECT count(*) FROM episodic_memory WHERE namespace = 'writer' AND embedding IS NULL"
        )
        assert await cursor.fetchone() == (0,)


async def test_writes_without_vectors_are_not_passed_off_as_whole(db: Database) -> None:
    with pytest.raises(OpsError, match="3 episodes were written, but 0 have a vector"):
        await _require_vectors(db, 3)


async def test_a_made_up_model_has_no_index_to_build(db: Database) -> None:
    assert await beside_a_build(db, KnownModel(8), writes=5) == {}


def test_several_sizes_stand_side_by_side() -> None:
    small = {"rows": 10, "hybrid.p95_ms": 2.0, "namespace_hybrid.p50_ms": 4.0}
    large = {"rows": 20, "hybrid.p95_ms": 3.0, "namespace_hybrid.p50_ms": 6.0, "extra": 1.0}
    found = _side_by_side({10: small, 20: large})
    assert found.figures["20.hybrid.p95_ms"] == 3.0
    assert found.figures["namespace_growth_ratio"] == 1.5
    (grid,) = found.tables
    assert grid.columns == ("figure", "10 rows", "20 rows")
    assert [list(row) for row in grid.rows] == [
        ["hybrid.p95_ms", "2.000", "3.000"],
        ["namespace_hybrid.p50_ms", "4.000", "6.000"],
        ["extra", "", "1.000"],
        ["namespace_growth_ratio", "", "1.500"],
    ]
