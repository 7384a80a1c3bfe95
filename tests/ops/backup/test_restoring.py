"""A restore is complete and compared, or nothing happened."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aegis.db.dump import find_pg_dump, libpq_environment
from aegis.errors import Conflict, InvalidInput, OpsError
from aegis.ops.backup.creating import Wish
from aegis.ops.backup.service import Backups
from aegis.ops.restore import running
from aegis.ops.restore.models import Wanted
from aegis.ops.restore.server import drop_leftovers
from tests.db.rows import execute, value

if TYPE_CHECKING:
    from tests.conftest import Cluster

pytestmark = [pytest.mark.servers("18", "16"), pytest.mark.usefixtures("dropped")]


def _name(dsn: str) -> str:
    return str(conninfo_to_dict(dsn)["dbname"])


def _databases(cluster: Cluster) -> set[str]:
    return {name for (name,) in cluster.admin.execute("SELECT datname FROM pg_database")}


@pytest.mark.parametrize("encrypt", [False, True])
async def test_beside_the_database_it_has_every_row(
    backups: Backups, full_dsn: str, cluster: Cluster, encrypt: bool
) -> None:
    entry = await backups.create(Wish(encrypt=encrypt))
    execute(full_dsn, "DELETE FROM store_items", "TRUNCATE semantic_memory CASCADE")
    plan = await backups.plan_restore(entry.name, Wanted(into="beside"))
    assert (plan.mode, plan.problems, plan.kept_as) == ("new", (), None)
    before = _databases(cluster)
    done = await backups.restore(entry.name, Wanted(into="beside"))
    assert (done.database, done.verdict) == ("beside", "verified")
    assert _databases(cluster) - before == {"beside"}
    new = make_conninfo(full_dsn, dbname="beside")
    assert value(new, "SELECT count(*) FROM semantic_memory") == 5
    assert value(full_dsn, "SELECT count(*) FROM semantic_memory") == 0
    index = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
    assert value(new, index) == 0
    assert value(new, "SELECT nextval('semantic_memory_id_seq')") > 5
    with pytest.raises(Conflict, match="already"):
        await backups.restore(entry.name, Wanted(into="beside"))


async def test_in_place_the_old_one_is_kept_and_clients_find_the_new_one(
    backups: Backups, full_dsn: str, cluster: Cluster
) -> None:
    name = _name(full_dsn)
    execute(full_dsn, f"ALTER DATABASE \"{name}\" SET work_mem TO '7MB'")
    role = f"owner_{name}"
    execute(
        full_dsn,
        f"CREATE ROLE {role}",
        f'GRANT CREATE ON DATABASE "{name}" TO {role}',
        f"ALTER ROLE {role} IN DATABASE \"{name}\" SET work_mem TO '9MB'",
        f'ALTER DATABASE "{name}" OWNER TO {role}',
    )
    about = (
        "SELECT concat(datdba::regrole, array(SELECT a::text FROM"
        " unnest(datacl) AS a ORDER BY 1), (SELECT string_agg(concat(setrole, setconfig),"
        " ' ' ORDER BY setrole) FROM pg_db_role_setting WHERE setdatabase = d.oid))"
        " FROM pg_database d WHERE datname = current_database()"
    )
    looks = value(full_dsn, about)
    entry = await backups.create()
    execute(full_dsn, "TRUNCATE semantic_memory CASCADE")
    client = psycopg.connect(full_dsn, autocommit=True)
    done = await backups.restore(entry.name, Wanted(in_place=True))
    assert done.verdict == "verified"
    assert done.kept_as is not None
    with pytest.raises(psycopg.OperationalError):
        client.execute("SELECT 1")
    assert value(full_dsn, "SELECT count(*) FROM semantic_memory") == 5
    assert value(full_dsn, "SHOW work_mem") == "7MB"
    assert value(full_dsn, about) == looks
    kept = make_conninfo(full_dsn, dbname=done.kept_as)
    assert value(kept, "SELECT count(*) FROM semantic_memory") == 0
    # The table of backups is the one of now again, not of the snapshot.
    assert value(full_dsn, "SELECT name FROM backups") == entry.name
    me = value(full_dsn, "SELECT current_user")
    for other in (name, done.kept_as):
        execute(full_dsn, f'ALTER DATABASE "{other}" OWNER TO {me}')
        execute(make_conninfo(full_dsn, dbname=other), f"DROP OWNED BY {role}")
    execute(full_dsn, f"DROP ROLE {role}")


async def test_what_differs_after_the_restore_switches_nothing(
    backups: Backups, full_dsn: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = await backups.create()
    real: Any = running.load

    def lossy(*arguments: Any, **more: Any) -> None:
        real(*arguments, **more)
        execute(arguments[3], "DELETE FROM semantic_memory WHERE content = 'modern 1'")

    monkeypatch.setattr(running, "load", lossy)
    before = _databases(cluster)
    execute(full_dsn, "CREATE TABLE newer ()")
    for wanted in (Wanted(in_place=True), Wanted(into="never")):
        with pytest.raises(OpsError) as failed:
            await backups.restore(entry.name, wanted)
        assert failed.value.code == "restore_differs"
        assert _databases(cluster) == before
    assert value(full_dsn, "SELECT to_regclass('newer') IS NOT NULL")


async def test_what_the_server_lacks_is_named_before_anything_is_made(
    backups: Backups, full_dsn: str, cluster: Cluster
) -> None:
    from dataclasses import replace

    from aegis.ops.backup.sealed import write_sealed

    role = f"owner_of_{_name(full_dsn)}"
    execute(full_dsn, f"CREATE ROLE {role}", f"ALTER TABLE semantic_memory OWNER TO {role}")
    entry = await backups.create()
    execute(full_dsn, f"REASSIGN OWNED BY {role} TO CURRENT_USER", f"DROP ROLE {role}")
    before = _databases(cluster)
    plan = await backups.plan_restore(entry.name, Wanted(into="lacking"))
    assert any(role in problem for problem in plan.problems)
    with pytest.raises(Conflict, match="Nothing was restored"):
        await backups.restore(entry.name, Wanted(into="lacking"))
    assert _databases(cluster) == before
    done = await backups.restore(entry.name, Wanted(into="lacking", no_owner=True))
    assert done.verdict == "verified"
    assert entry.manifest is not None
    newer = replace(
        entry.manifest, server_version="99.1", database_bytes=1 << 60, server_version_num=990_000
    )
    write_sealed(entry.path / "manifest.json", newer)
    plan = await backups.plan_restore(entry.name, Wanted(into="other", no_owner=True))
    text = " ".join(plan.problems)
    assert "PostgreSQL 99" in text
    assert "MiB left" in text


async def test_an_extension_that_the_server_lacks_is_named(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from aegis.ops.restore import server

    entry = await backups.create()
    real = server.look

    def without(dsn: str) -> Any:
        found = real(dsn)
        rest = {n: v for n, v in found.extensions.items() if n != "vector"}
        return replace(found, extensions=rest)

    monkeypatch.setattr(server, "look", without)
    plan = await backups.plan_restore(entry.name, Wanted(into="x"))
    assert any("no vector" in problem for problem in plan.problems)


async def test_chosen_tables_come_with_what_they_refer_to_or_not_at_all(
    backups: Backups, full_dsn: str, cluster: Cluster
) -> None:
    entry = await backups.create()
    alone = Wanted(into="some", tables=("decision_episodes",))
    with pytest.raises(InvalidInput) as refused:
        await backups.restore(entry.name, alone)
    assert refused.value.code == "restore_references"
    assert "decision_outcomes" in refused.value.message
    assert "episodic_memory" in refused.value.message
    both = Wanted(into="some", tables=("decision_episodes",), with_references=True)
    done = await backups.restore(entry.name, both)
    assert done.verdict == "verified"
    new = make_conninfo(full_dsn, dbname="some")
    tables = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 2200"
    assert value(new, "SELECT count(*) FROM decision_episodes") == 1
    assert value(new, "SELECT count(*) FROM episodic_memory") == 20
    assert value(new, "SELECT to_regclass('api_keys')") is None
    assert 3 <= value(new, tables) < 20
    keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated"
    assert value(new, keys) >= 2
    with pytest.raises(InvalidInput, match="no table 'nonsense'"):
        await backups.plan_restore(entry.name, Wanted(into="x", tables=("nonsense",)))


async def test_a_partitioned_table_comes_with_its_partitions(
    backups: Backups, full_dsn: str
) -> None:
    execute(
        full_dsn,
        "CREATE TABLE parted (d int) PARTITION BY RANGE (d)",
        "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10)",
        "INSERT INTO parted SELECT generate_series(0, 9)",
    )
    entry = await backups.create()
    await backups.restore(entry.name, Wanted(into="parts", tables=("parted",)))
    assert value(make_conninfo(full_dsn, dbname="parts"), "SELECT count(*) FROM parted") == 10


async def test_tables_go_back_into_the_live_database_where_they_are_empty_or_gone(
    backups: Backups, full_dsn: str
) -> None:
    execute(full_dsn, "CREATE TABLE lone (n int PRIMARY KEY)", "INSERT INTO lone VALUES (1), (2)")
    entry = await backups.create()
    wanted = Wanted(in_place=True, tables=("lone",))
    with pytest.raises(Conflict, match="have rows"):
        await backups.restore(entry.name, wanted)
    assert value(full_dsn, "SELECT count(*) FROM lone") == 2
    execute(full_dsn, "TRUNCATE lone")
    assert (await backups.restore(entry.name, wanted)).verdict == "verified"
    assert value(full_dsn, "SELECT count(*) FROM lone") == 2
    execute(full_dsn, "DROP TABLE lone")
    assert (await backups.restore(entry.name, wanted)).verdict == "verified"
    assert value(full_dsn, "SELECT count(*) FROM lone") == 2
    assert value(full_dsn, "SELECT count(*) FROM pg_constraint WHERE conname = 'lone_pkey'") == 1


@pytest.mark.parametrize("kind", ["serial", "int GENERATED ALWAYS AS IDENTITY"])
async def test_rows_that_went_back_do_not_meet_the_numbers_of_new_ones(
    backups: Backups, full_dsn: str, kind: LiteralString
) -> None:
    execute(
        full_dsn,
        'CREATE TABLE "Odd Name" (id ' + kind + " PRIMARY KEY, word text)",
        "INSERT INTO \"Odd Name\" (word) VALUES ('one'), ('two'), ('three')",
    )
    entry = await backups.create()
    wanted = Wanted(in_place=True, tables=("Odd Name",))
    execute(full_dsn, 'TRUNCATE "Odd Name" RESTART IDENTITY')
    assert (await backups.restore(entry.name, wanted)).verdict == "verified"
    execute(full_dsn, "INSERT INTO \"Odd Name\" (word) VALUES ('four')")
    assert value(full_dsn, "SELECT id FROM \"Odd Name\" WHERE word = 'four'") == 4
    # Numbers that were drawn since are not drawn again.
    execute(
        full_dsn,
        "INSERT INTO \"Odd Name\" (word) VALUES ('five')",
        'TRUNCATE "Odd Name"',
    )
    assert (await backups.restore(entry.name, wanted)).verdict == "verified"
    execute(full_dsn, "INSERT INTO \"Odd Name\" (word) VALUES ('six')")
    assert value(full_dsn, "SELECT id FROM \"Odd Name\" WHERE word = 'six'") == 6


async def test_numbers_that_no_sequence_gives_are_no_hindrance(
    backups: Backups, full_dsn: str
) -> None:
    execute(
        full_dsn,
        "CREATE TABLE odd (code text, n int)",
        "CREATE SEQUENCE codes OWNED BY odd.code",
        "CREATE SEQUENCE few MAXVALUE 10 OWNED BY odd.n",
        "INSERT INTO odd VALUES ('X' || nextval('codes'), 1000)",
    )
    entry = await backups.create()
    execute(full_dsn, "TRUNCATE odd")
    done = await backups.restore(entry.name, Wanted(in_place=True, tables=("odd",)))
    assert done.verdict == "verified"
    assert value(full_dsn, "SELECT n FROM odd") == 1000
    assert value(full_dsn, "SELECT nextval('few')") == 1


async def test_a_plain_file_of_pg_dump_is_restored_and_gets_no_verdict(
    backups: Backups, full_dsn: str, cluster: Cluster, tmp_path: Path
) -> None:
    """As the seed's script writes it: `pg_dump -F c -b`."""
    file = tmp_path / "aegis_2024-01-25.dump"
    subprocess.run(
        [find_pg_dump(int(cluster.major)), "-F", "c", "-b", "-f", file],
        env={**libpq_environment(full_dsn), "LC_ALL": "C"},
        check=True,
    )
    plan = await backups.plan_restore(file, Wanted(into="seed"))
    assert any("no manifest" in text for text in plan.warnings)
    done = await backups.restore(file, Wanted(into="seed"))
    assert (done.verdict, done.database) == ("not_verified", "seed")
    new = make_conninfo(full_dsn, dbname="seed")
    assert value(new, "SELECT count(*) FROM episodic_memory") == 20
    cut = tmp_path / "cut.dump"
    cut.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(OpsError):
        await backups.restore(cut, Wanted(into="cut"))
    (tmp_path / "text.dump").write_text("SELECT 1;")
    with pytest.raises(OpsError, match="cannot be read as an archive"):
        await backups.plan_restore(tmp_path / "text.dump", Wanted(into="text"))
    assert {"cut", "text"} & _databases(cluster) == set()


async def test_two_restores_at_once_follow_one_another(backups: Backups, full_dsn: str) -> None:
    from aegis.ops.restore.server import LOCK_KEY

    entry = await backups.create()
    with psycopg.connect(make_conninfo(full_dsn, dbname="postgres")) as conn:
        conn.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
        with pytest.raises(Conflict, match="Another restore"):
            await backups.restore(entry.name, Wanted(into="second"))


async def test_what_a_killed_restore_left_is_dropped_by_the_next(
    backups: Backups, full_dsn: str, cluster: Cluster
) -> None:
    from aegis.ops.restore.server import MARK

    entry = await backups.create()
    cluster.admin.execute('CREATE DATABASE "aegis_restoring_dead"')
    cluster.admin.execute(f"COMMENT ON DATABASE aegis_restoring_dead IS '{MARK}'".encode())
    cluster.admin.execute('CREATE DATABASE "aegis_restoring_of_mine"')
    await backups.restore(entry.name, Wanted(into="next_one"))
    assert "aegis_restoring_dead" not in _databases(cluster)
    assert "aegis_restoring_of_mine" in _databases(cluster)


async def test_names_that_are_strange_are_taken_as_they_are(
    backups: Backups, full_dsn: str, cluster: Cluster
) -> None:
    entry = await backups.create()
    strange = 'o\'dd "name" = x; --'
    done = await backups.restore(entry.name, Wanted(into=strange))
    assert done.database == strange
    assert strange in _databases(cluster)
    cluster.admin.execute(b'DROP DATABASE "o\'dd ""name"" = x; --"')
    plan = await backups.plan_restore(entry.name, Wanted(into="x" * 64))
    assert any("63" in problem for problem in plan.problems)


def test_leftovers_of_killed_restores_go_and_what_others_made_stays(cluster: Cluster) -> None:
    ours = {"aegis_restoring_0123456789ab": None, "marked": "aegis restore, unfinished: x"}
    theirs = {
        "aegis_restoring_0123456789ac": "somebody's own",
        "aegis_restoring_soon": None,
        "old_aegis_restoring_0123456789ab": None,
    }
    for name, comment in (ours | theirs).items():
        cluster.admin.execute(f'CREATE DATABASE "{name}"'.encode())
        if comment is not None:
            text = comment.replace("'", "''")
            cluster.admin.execute(f"COMMENT ON DATABASE \"{name}\" IS '{text}'".encode())
    try:
        assert set(drop_leftovers(cluster.admin)) == {*ours}
        assert drop_leftovers(cluster.admin) == []
    finally:
        for name in theirs:
            cluster.admin.execute(f'DROP DATABASE "{name}"'.encode())
