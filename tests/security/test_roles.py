"""`aegis security apply`: one transaction that may be repeated, and what the roles do with it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from aegis.db.scram import matches
from aegis.errors import ConfigError, InvalidInput, OpsError
from aegis.security.roles import passwords
from aegis.security.roles.after import regrant_after_upgrade
from aegis.security.roles.service import Roles
from aegis.security.roles.store import role_steps
from aegis.security.service import Security
from tests.serving import CALL, environment

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.db import Connection
    from aegis.security.roles.models import CheckReport
    from aegis.security.roles.store.role_steps import Act
    from tests.security.conftest import Guarded

pytestmark = pytest.mark.servers("18", "16")


def verdicts(report: CheckReport) -> dict[str, str]:
    return {found.id: found.verdict for found in report.checks}


async def test_a_second_apply_finds_nothing_to_do(bare: Guarded) -> None:
    roles = bare.roles()
    planned = await roles.plan()
    done = await roles.apply()
    assert [s.what for s in planned if "password" not in s.what] == [
        s.what for s in done.steps if "password" not in s.what
    ]
    assert await roles.plan() == []
    assert (await roles.apply()).steps == []


async def test_what_fails_in_the_middle_leaves_nothing_and_is_repeated(
    bare: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = len(await bare.roles().plan())
    for stop_at in (0, 1, count // 3, count // 2, count - 1):
        done = 0

        async def perform(conn: Connection, act: Act, stop_at: int = stop_at) -> None:
            nonlocal done
            if done == stop_at:
                raise KeyboardInterrupt
            done += 1
            await conn.execute(act.statement)

        monkeypatch.setattr(role_steps, "perform", perform)
        with pytest.raises(KeyboardInterrupt):
            await bare.roles().apply()
        assert done == stop_at
        monkeypatch.undo()
        assert len(await bare.roles().plan()) == count
    await bare.roles().apply()
    assert await bare.roles().plan() == []


def test_one_that_is_killed_is_finished_by_the_next(bare: Guarded, tmp_path: Path) -> None:
    settings = environment(
        bare.settings.data_dir, database_url=bare.dsn, role_prefix=bare.settings.role_prefix
    )
    for _ in range(3):
        process = subprocess.Popen([*CALL, "security", "apply", "--yes"], env=settings)
        with psycopg.connect(bare.dsn, autocommit=True) as conn:
            # Killed once it is at work: while it holds the lock, or at once when it is over.
            while process.poll() is None:
                held = conn.execute(
                    "SELECT count(*) FROM pg_stat_activity a JOIN pg_locks l USING (pid)"
                    " WHERE a.application_name = 'aegis-security' AND l.locktype = 'advisory'"
                    " AND a.datname = current_database()"
                ).fetchone()
                if held != (0,):
                    process.send_signal(signal.SIGKILL)
                    break
        process.wait()
    command = [*CALL, "security", "apply", "--yes", "--json"]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
    for name in bare.names.values():
        if not name.endswith("tenant"):
            assert passwords.read_file(bare.roles().folder / name) not in (None, "")
            assert str(passwords.read_file(bare.roles().folder / name)) not in done.stdout
    assert asyncio.run(bare.roles().plan()) == []
    assert [p for p in bare.roles().folder.iterdir() if p.name.startswith(".")] == []


async def test_two_at_once_end_with_one_state(bare: Guarded) -> None:
    await asyncio.gather(*(bare.roles().apply() for _ in range(3)))
    assert await bare.roles().plan() == []


async def test_a_password_is_known_to_its_file_and_the_server_keeps_its_verifier(
    bare: Guarded,
) -> None:
    roles = bare.roles()
    mine = "chosen-by-a-person-1"
    passwords.write_file(roles.password_file("app"), mine)
    applied = await roles.apply()
    assert all(mine not in step.statement for step in applied.steps)
    with bare.admin() as admin:
        kept = admin.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname = %s", (bare.names["app"],)
        ).fetchone()
    assert kept is not None
    assert matches(kept[0], mine)
    assert not matches(kept[0], mine + "x")
    for path in applied.passwords.values():
        assert path.stat().st_mode & 0o777 == 0o600
    before = passwords.read_file(roles.password_file("readonly"))
    await roles.apply(rotate=["readonly"])
    after = passwords.read_file(roles.password_file("readonly"))
    assert after not in (None, before)
    assert passwords.read_file(roles.password_file("app")) == mine
    with bare.admin() as admin:
        admin.execute("SET log_statement = 'none'")
        # As libpq makes it: the server takes ours for one of its own.
        own = admin.pgconn.encrypt_password(b"abcdefghijkl", b"x", b"scram-sha-256").decode()
    assert matches(own, "abcdefghijkl")
    with pytest.raises(InvalidInput):
        await roles.apply(rotate=["tenant"])
    # From a machine that has no files: nobody is locked out.
    elsewhere = replace(bare.settings, roles_dir=bare.settings.data_dir / "elsewhere")
    assert (await Roles(bare.dsn, elsewhere).apply()).steps == []
    assert await Roles(bare.dsn, elsewhere).plan() == []


@pytest.mark.parametrize("content", ["", "short", "has a blank in it", "ümlaut-and-more-letters"])
async def test_a_file_that_holds_no_password_is_refused_before_anything_is_done(
    bare: Guarded, content: str
) -> None:
    folder = bare.roles().folder
    folder.mkdir(parents=True)
    path = folder / bare.names["app"]
    path.touch(mode=0o600)
    path.write_text(content)
    with pytest.raises(ConfigError) as error:
        await bare.roles().apply()
    assert error.value.code == "role_password"
    path.write_text("long-enough-password")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        await bare.roles().apply()
    with bare.admin() as admin:
        assert admin.execute(
            "SELECT count(*) FROM pg_roles WHERE starts_with(rolname, %s)", (bare.names["app"],)
        ).fetchone() == (0,)


async def test_who_may_not_make_roles_is_told_so_in_one_line(guarded: Guarded) -> None:
    with guarded.admin() as admin:
        admin.execute(
            sql.SQL("REVOKE SELECT ON jobs FROM {}").format(
                sql.Identifier(guarded.names["readonly"])
            )
        )
        admin.execute(
            sql.SQL("ALTER ROLE {} CREATEDB").format(sql.Identifier(guarded.names["app"]))
        )
    app = Roles(guarded.url("app"), guarded.settings)
    with pytest.raises(OpsError) as error:
        await app.apply()
    assert error.value.code == "roles_forbidden"
    assert "\n" not in error.value.message
    # The owner gives rights on its tables; what needs a superuser is left.
    owner = Roles(guarded.url("owner"), guarded.settings)
    with pytest.raises(OpsError, match="no superuser"):
        await owner.apply()
    given = await owner.regrant()
    assert [step.what for step in given] == [f"give SELECT on jobs to {guarded.names['readonly']}"]


async def test_check_finds_what_is_too_much_and_too_little(guarded: Guarded) -> None:
    security = Security.of(guarded.settings)
    well = await security.check()
    mine = {
        "roles", "rights-missing", "rights-excess", "public-database", "owners", "later", "rows",
        "tenants", "tls", "definer-functions", "public-grants", "public-schema",
    }  # fmt: skip
    assert {k: v for k, v in verdicts(well).items() if k in mine} == dict.fromkeys(mine, "ok")
    assert well.mode == "roles"
    names = guarded.names
    damage = {
        "roles": f"ALTER ROLE {names['app']} CREATEROLE",
        "rights-missing": f"REVOKE INSERT ON jobs FROM {names['app']}",
        "rights-excess": f"GRANT TRUNCATE ON jobs TO {names['app']}",
        "public-database": f"GRANT CONNECT ON DATABASE {guarded.admin().info.dbname} TO PUBLIC",
        "owners": "ALTER TABLE jobs OWNER TO aegis",
        "later": f"ALTER DEFAULT PRIVILEGES FOR ROLE {names['owner']} IN SCHEMA public"
        f" REVOKE INSERT ON TABLES FROM {names['app']}",
        "rows": "ALTER POLICY aegis_tenant ON episodic_memory USING (true)",
        "definer-functions": "CREATE FUNCTION leak() RETURNS int LANGUAGE sql SECURITY DEFINER"
        " AS 'SELECT 1'",
        "public-grants": "GRANT SELECT ON jobs TO PUBLIC",
        "public-schema": "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "tenants": "INSERT INTO security_tenants (role_name, namespace) VALUES ('nobody', 'a')",
    }
    with guarded.admin() as admin:
        for statement in damage.values():
            admin.execute(statement)  # type: ignore[call-overload]
    found = await security.check()
    assert {k for k, v in verdicts(found).items() if v == "bad"} >= {*damage}
    assert found.verdict == "bad"
    said = {f.id: " ".join(f.findings) for f in found.checks}
    assert "CREATEROLE" in said["roles"]
    assert "TRUNCATE on table jobs" in said["rights-excess"]
    assert "episodic_memory" in said["rows"]
    await guarded.roles().apply()
    mended = verdicts(await security.check())
    left = {k for k in damage if mended[k] == "bad"}
    # What no role of ours is about is for people to decide.
    assert left == {"definer-functions", "tenants"}


async def test_a_database_with_a_single_role_is_no_error(bare: Guarded) -> None:
    report = await Security.of(bare.settings).check()
    assert report.mode == "single"
    assert verdicts(report)["roles"] == "ok"
    assert "rights-missing" not in verdicts(report)


async def test_who_may_not_look_says_so(guarded: Guarded) -> None:
    settings = replace(guarded.settings, database_url=guarded.url("readonly"))
    found = verdicts(await Security.of(settings).check())
    assert found["hba-trust"] == "unknown"
    assert found["tenants"] == "unknown"
    settings = replace(guarded.settings, database_url=guarded.url("monitor"))
    found = verdicts(await Security.of(settings).check())
    # The tests' servers trust whoever comes: the monitoring role sees it.
    assert found["hba-trust"] == "bad"


async def test_a_database_that_others_use_keeps_what_everybody_may(bare: Guarded) -> None:
    await bare.roles().apply(shared=True)
    with bare.admin() as admin:
        acl = admin.execute(
            "SELECT has_database_privilege('public', current_database(), 'CONNECT'),"
            " has_schema_privilege('public', 'public', 'USAGE'),"
            " has_schema_privilege('public', 'public', 'CREATE')"
        ).fetchone()
        assert acl == (True, True, False)
        admin.execute("CREATE TABLE theirs (id int)")
        admin.execute("GRANT ALL ON theirs TO PUBLIC")
    assert await bare.roles().plan(shared=True) == []
    await bare.roles().apply()
    with bare.admin() as admin:
        assert admin.execute(
            "SELECT has_database_privilege('public', current_database(), 'CONNECT'),"
            " has_table_privilege('public', 'theirs', 'INSERT')"
        ).fetchone() == (False, True)


def test_what_a_later_revision_makes_is_covered(guarded: Guarded) -> None:
    with guarded.connect("owner") as owner:
        owner.execute("CREATE TABLE later (id bigserial PRIMARY KEY, secret text)")
        owner.execute("CREATE FUNCTION later_still() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    with guarded.connect("app") as app:
        app.execute("INSERT INTO later (secret) VALUES ('s')")
        app.execute("SELECT later_still()")
    with guarded.connect("readonly") as reader:
        for statement in ("SELECT * FROM later", "SELECT later_still()"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement)  # type: ignore[call-overload]


def test_an_upgrade_by_a_superuser_leaves_everything_the_owners(guarded: Guarded) -> None:
    from aegis.db import migrate

    migrate.downgrade(guarded.dsn, "0018")
    migrate.upgrade(guarded.dsn)
    settings = guarded.settings
    assert regrant_after_upgrade(guarded.dsn, settings) != ()
    with guarded.admin() as admin:
        strangers = admin.execute(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'p') AND pg_get_userbyid(relowner) <> %s",
            (guarded.names["owner"],),
        ).fetchone()
    assert strangers == (0,)
    # The revision that made the table of roles forgot which is which: rows of it were kept.
    assert asyncio.run(guarded.roles().plan()) == []


def test_the_owner_upgrades_and_the_application_goes_on(guarded: Guarded) -> None:
    from aegis.db import migrate
    from aegis.serve.database import prepare

    migrate.downgrade(guarded.dsn, "0024")
    said: list[str] = []
    alone = replace(guarded.settings, database_url=guarded.url("app"), backup_before_upgrade="no")
    with pytest.raises(OpsError) as error:
        prepare(alone, said.append)
    assert error.value.code == "schema_needs_owner"
    prepare(replace(alone, owner_url=guarded.url("owner")), said.append)
    assert migrate.state(guarded.url("app")) == "current"
    assert asyncio.run(guarded.roles().plan()) == []


PLANS = (
    "SELECT id FROM episodic_memory WHERE namespace = 'a' AND search @@ to_tsquery('b')",
    "SELECT id FROM episodic_memory WHERE namespace = 'a' ORDER BY timestamp DESC LIMIT 5",
    "SELECT id FROM semantic_memory WHERE namespace = 'a' AND concept = 'c'",
    "SELECT id FROM api_usage_events WHERE customer_id = 'c' AND created_at > '2026-11-01'",
    "SELECT id FROM episodic_memory WHERE namespace = 'a' AND embedding_model = 'm'"
    " ORDER BY embedding <=> (SELECT embedding FROM episodic_memory LIMIT 1) LIMIT 5",
)


def test_rules_of_rows_change_no_plan_of_the_owner_and_the_application(bare: Guarded) -> None:
    def plans(url: str) -> list[list[tuple[str]]]:
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("SET enable_seqscan = off")
            return [conn.execute(f"EXPLAIN (COSTS OFF, VERBOSE) {p}").fetchall() for p in PLANS]  # type: ignore[call-overload]

    before = plans(bare.dsn)
    assert any("Index" in line for plan in before for (line,) in plan)
    asyncio.run(bare.roles().apply())
    assert plans(bare.url("app")) == before
    assert plans(bare.url("owner")) == before
    assert plans(bare.url("readonly")) == before
    assert not any("aegis_is_tenant" in line for plan in before for (line,) in plan)
