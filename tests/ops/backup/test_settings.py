"""Settings of a database and of roles in it come back as they were stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from aegis.ops.restore.models import Wanted
from aegis.ops.restore.settings import setting_value
from tests.db.rows import execute

if TYPE_CHECKING:
    from aegis.ops.backup.service import Backups
    from tests.conftest import Cluster

_QUERY = """
SELECT r.rolname, s.setconfig
FROM pg_db_role_setting s
JOIN pg_database d ON d.oid = s.setdatabase
LEFT JOIN pg_roles r ON r.oid = s.setrole
WHERE d.datname = %s
ORDER BY 1 NULLS FIRST
"""


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("work_mem", "8MB", "'8MB'"),
        ("DateStyle", "ISO, MDY", "'ISO, MDY'"),
        ("search_path", "public", "'public'"),
        ("search_path", 'public, "$user"', "'public', '$user'"),
        ("Search_Path", '"a, b", "c""d",e', "'a, b', 'c\"d', 'e'"),
        ("search_path", '""', "''"),
        ("search_path", "", "''"),
        ("temp_tablespaces", '"it\'s"', "'it''s'"),
        ("search_path", 'a"b', "'a\"b'"),
    ],
)
def test_lists_of_names_are_said_name_by_name(name: str, value: str, said: str) -> None:
    assert setting_value(name, value).as_string(None) == said


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "beside"])
async def test_settings_are_stored_again_as_they_were(
    backups: Backups, full_dsn: str, cluster: Cluster, dropped: None, in_place: bool
) -> None:
    live = str(conninfo_to_dict(full_dsn)["dbname"])
    role = f"r{live}"
    cluster.admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
    try:
        execute(
            full_dsn,
            'CREATE SCHEMA "odd, one"',
            f'ALTER DATABASE "{live}" SET search_path = public, "odd, one", "$user"',
            f"ALTER DATABASE \"{live}\" SET DateStyle = 'ISO, DMY'",
            f'ALTER ROLE "{role}" IN DATABASE "{live}" SET search_path = "odd, one", pg_temp',
            f'ALTER ROLE "{role}" IN DATABASE "{live}" SET work_mem = \'9MB\'',
            f'GRANT CONNECT ON DATABASE "{live}" TO "{role}"',
            f'REVOKE CONNECT ON DATABASE "{live}" FROM PUBLIC',
        )
        before = cluster.admin.execute(_QUERY, (live,)).fetchall()
        assert len(before) == 2
        entry = await backups.create()
        done = await backups.restore(
            entry.name, Wanted(in_place=in_place, into=None if in_place else f"{live}_beside")
        )
        assert cluster.admin.execute(_QUERY, (done.database,)).fetchall() == before
        # Nobody gets into it who could not get into the first.
        assert cluster.admin.execute(
            "SELECT has_database_privilege(%s, %s, 'CONNECT'), "
            "has_database_privilege('pg_monitor', %s, 'CONNECT')",
            (role, done.database, done.database),
        ).fetchone() == (True, False)
    finally:
        for (name,) in cluster.admin.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (live,)
        ).fetchall():
            cluster.admin.execute(
                sql.SQL("REVOKE ALL ON DATABASE {} FROM {}").format(
                    sql.Identifier(name), sql.Identifier(role)
                )
            )
        cluster.admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
