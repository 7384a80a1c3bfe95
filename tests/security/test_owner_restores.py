"""Restores by the owner's role, which is no superuser, behind the pg_hba.conf that is generated.

What he may, works; what he may not is said in the plan, before anything is made.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from aegis.client import ask_aegis
from aegis.config import load_settings
from aegis.db import migrate
from aegis.db.scram import make_verifier
from aegis.errors import ConfigError, Conflict
from aegis.ops.backup.service import Backups
from aegis.ops.restore.models import Wanted
from aegis.security.roles.description import ROLES, names
from aegis.security.roles.hba import hba_file
from aegis.security.roles.service import Roles
from tests.cluster import Handle, handled_cluster, reachable_folder, wheel_bin_dir
from tests.db.rows import MODERN_ROWS, execute

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.config import Settings

PASSWORD = "a-password-of-this-test"
TRIGGERS = "SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger ORDER BY 1, 2"
TABLES = ("decision_episodes", "decision_outcomes", "episodic_memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A server with roles, and its administrator, who comes by the socket."""

    server: Handle
    settings: Settings
    #: The control file of the extension `vector` that the server reads.
    control: Path

    def admin(self, database: str = "aegis") -> psycopg.Connection:
        return psycopg.connect(make_conninfo(self.server.dsn, dbname=database), autocommit=True)

    def url(self, role: str, database: str = "aegis") -> str:
        return make_conninfo(self.server.dsn, user=role, password=PASSWORD, dbname=database)

    def backups(self, **changes: object) -> Backups:
        return Backups(replace(self.settings, **changes), smoke=ask_aegis)  # type: ignore[arg-type]

    def databases(self) -> set[str]:
        with self.admin() as conn:
            return {name for (name,) in conn.execute("SELECT datname::text FROM pg_database")}

    def run(self, statement: str) -> None:
        with self.admin() as conn:
            conn.execute(statement.encode())

    def let_in(self, text: str) -> None:
        """Take a pg_hba.conf; the test itself comes in whatever it says."""
        (self.server.data / "pg_hba.conf").write_text(f"local all aegis trust\n{text}")
        self.run("SELECT pg_reload_conf()")


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with reachable_folder() as folder:
        control = _own_control_file(folder / "own" / "extension")
        path = {"extension_control_path": f"{folder / 'own'}:$system"}
        with handled_cluster(wheel_bin_dir(), settings=path) as server:
            with psycopg.connect(server.dsn, autocommit=True) as conn:
                conn.execute("CREATE DATABASE aegis TEMPLATE template0")
            dsn = make_conninfo(server.dsn, dbname="aegis")
            migrate.upgrade(dsn)
            execute(dsn, MODERN_ROWS)
            settings = load_settings(
                {}, data_dir=folder / "data", database_url=dsn, embedder="none"
            )
            asyncio.run(Roles(dsn, settings).apply())
            made = Place(server=server, settings=settings, control=control)
            for kind, name in names("aegis").items():
                if ROLES[kind].login:
                    verifier = sql.Literal(make_verifier(PASSWORD)).as_string()
                    made.run(f"ALTER ROLE {name} PASSWORD {verifier}")
            made.let_in(hba_file(database="aegis", prefix="aegis"))
            settings = replace(
                settings,
                database_url=made.url("aegis_app"),
                owner_url=made.url("aegis_owner"),
                backup_url=made.url("aegis_backup"),
            )
            yield replace(made, settings=settings)


def _own_control_file(folder: Path) -> Path:
    """Lay the extension's files where a test may change them."""
    folder.mkdir(parents=True)
    source = Path(wheel_bin_dir()).parent / "share" / "extension"
    for file in source.glob("vector*"):
        shutil.copy(file, folder)
    control = folder / "vector.control"
    assert "trusted" not in control.read_text()
    for file in (folder.parent, folder, *folder.iterdir()):
        file.chmod(0o755)
    return control


@pytest.fixture
async def made(place: Place) -> str:
    return (await place.backups().create()).name


async def test_the_plan_names_each_privilege_that_is_missing_and_nothing_is_made(
    place: Place, made: str
) -> None:
    before = place.databases()
    owner = place.backups()
    beside = await owner.plan_restore(made, Wanted(into="beside"))
    assert [p.split(":")[0] for p in beside.problems] == [
        "the user aegis_owner may not create databases; `ALTER ROLE aegis_owner CREATEDB` "
        "allows it",
        "only a superuser may create the extension vector in a new database",
    ]
    with psycopg.connect(place.url("aegis_app")):
        inside = await owner.plan_restore(made, Wanted(in_place=True))
    text = "; ".join(inside.problems)
    assert "`ALTER DATABASE … OWNER TO aegis_owner`" in text
    assert "aegis_app" in text
    assert "`GRANT pg_signal_backend TO aegis_owner`" in text
    assert "AEGIS_OWNER_URL" in text
    for wanted in (Wanted(into="beside"), Wanted(in_place=True)):
        with pytest.raises(Conflict) as refused:
            await owner.restore(made, wanted)
        assert refused.value.code == "restore_refused"
        assert "\n" not in refused.value.message
    assert place.databases() == before


async def test_whom_pg_hba_keeps_in_one_database_is_told_so_and_fills_tables_there(
    place: Place, made: str
) -> None:
    """As files that were generated before do."""
    new = hba_file(database="aegis", prefix="aegis")
    old = "\n".join(
        line.replace(" all ", ' "aegis" ') if '"aegis_owner"' in line else line
        for line in new.splitlines()
    )
    place.let_in(old + "\n")
    try:
        with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf rejects"):
            psycopg.connect(place.url("aegis_owner", "postgres"))
        beside = await place.backups().plan_restore(made, Wanted(into="beside"))
        assert "`aegis security hba`" in beside.problems[0]
        assert "pg_hba.conf rejects connection" in beside.problems[0]
        await _tables_go_back(place, made)
    finally:
        place.let_in(new)


async def _tables_go_back(place: Place, made: str) -> None:
    with place.admin() as conn:
        counts = {t: conn.execute(f"SELECT count(*) FROM {t}".encode()).fetchone() for t in TABLES}
        assert all(count != (0,) for count in counts.values())
        triggers = conn.execute(TRIGGERS).fetchall()
        conn.execute("SET session_replication_role = replica")
        for table in TABLES:
            conn.execute(f"DELETE FROM {table}".encode())
    wanted = Wanted(in_place=True, tables=TABLES, with_references=True)
    done = await place.backups().restore(made, wanted)
    assert done.verdict == "verified"
    with place.admin() as conn:
        for table, count in counts.items():
            assert conn.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() == count
        # They did not fire, and will again.
        assert conn.execute(TRIGGERS).fetchall() == triggers


async def test_with_what_the_plan_asks_for_the_owner_restores_beside_the_database(
    place: Place, made: str
) -> None:
    text = place.control.read_text()
    place.control.write_text(text + "trusted = true\n")
    place.run("ALTER ROLE aegis_owner CREATEDB")
    try:
        for wanted in (
            Wanted(into="beside", jobs=2),
            Wanted(into="chosen", tables=("decision_episodes",), with_references=True),
        ):
            done = await place.backups().restore(made, wanted)
            assert done.verdict == "verified"
            assert done.database in place.databases()
            with place.admin(done.database) as conn:
                owner = conn.execute(
                    "SELECT tableowner FROM pg_tables WHERE tablename = 'decision_episodes'"
                ).fetchone()
            assert owner == ("aegis_owner",)
            place.run(f"DROP DATABASE {done.database}")
    finally:
        place.run("ALTER ROLE aegis_owner NOCREATEDB")
        place.control.write_text(text)


async def test_in_place_it_is_for_the_administrator_whose_roles_keep_what_they_had(
    place: Place, made: str
) -> None:
    administrator = make_conninfo(place.server.dsn, dbname="aegis")
    wanted = Wanted(in_place=True, jobs=2)
    done = await place.backups(owner_url=administrator).restore(made, wanted)
    assert (done.verdict, done.database) == ("verified", "aegis")
    left = [step.what for step in await Roles(administrator, place.settings).plan()]
    # Passwords are the server's; these ones were set beside Aegis.
    assert [what for what in left if "password" not in what] == []
    with psycopg.connect(place.url("aegis_app")) as app:
        assert app.execute("SHOW statement_timeout").fetchone() == ("5min",)
    place.run(f'DROP DATABASE "{done.kept_as}" WITH (FORCE)')


async def test_the_owner_verifies_drills_and_moves_the_schema(place: Place, made: str) -> None:
    backups = place.backups()
    assert (await backups.verify(made, full=True)).verdict == "verified"
    assert (await backups.drill(made)).verdict == "verified"
    dsn = place.url("aegis_owner")
    migrate.downgrade(dsn, "0030")
    assert migrate.upgrade(dsn) == "0030"
    assert migrate.check(dsn) == []
    with place.admin() as conn:
        owners = conn.execute(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
    assert owners == [("aegis_owner",)]


async def test_a_login_that_is_refused_is_told_as_that(place: Place) -> None:
    backups = place.backups(owner_url=place.url("aegis_readonly"), backup_url=None)
    place.run("ALTER ROLE aegis_readonly NOLOGIN")
    try:
        with pytest.raises(ConfigError) as refused:
            await backups.create()
        assert refused.value.code == "db_login_refused"
    finally:
        place.run("ALTER ROLE aegis_readonly LOGIN")
