"""Files for a native server, loaded by one: PostgreSQL of Debian, which is built with TLS."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from aegis.db.account import account_for, run_as
from aegis.db.cluster import own_folder
from aegis.db.postmaster import wait_until
from aegis.db.scram import make_verifier
from aegis.errors import InvalidInput
from aegis.security.roles.description import ROLES, names
from aegis.security.roles.hba import hba_file, tls_settings
from tests.certificates import self_signed
from tests.cluster import reachable_folder
from tests.serving import free_port

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

PASSWORD = "a-password-of-this-test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Native:
    """A server with the generated files."""

    port: int
    folder: Path
    certificate: Path
    #: The administrator, connected before the files were written.
    admin: psycopg.Connection

    def url(self, user: str, host: str = "127.0.0.1", **more: str) -> str:
        values = {"password": PASSWORD, "dbname": "aegis", "connect_timeout": "5", **more}
        return make_conninfo("", host=host, port=self.port, user=user, **values)  # type: ignore[arg-type]


def programs_with_tls() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    assert found, "this needs the package postgresql of Debian or Ubuntu, built with TLS"
    return found[-1]


@pytest.fixture(scope="module")
def native() -> Iterator[Native]:
    with reachable_folder() as place:
        account = account_for(place)
        server = place / "server"
        own_folder(server, account)
        pem = self_signed(place, "localhost")
        user = run_as(account)
        for name in ("server.crt", "server.key"):
            shutil.copy(pem, server / name)
            (server / name).chmod(0o600)
            if account is not None:
                shutil.chown(server / name, account.uid, account.gid)
        with _running(server, user) as (port, admin):
            yield Native(port=port, folder=server, certificate=pem, admin=admin)


@contextmanager
def _running(server: Path, user: object) -> Generator[tuple[int, psycopg.Connection]]:
    programs, data, port = programs_with_tls(), server / "data", free_port()

    def call(program: str, *arguments: str | Path) -> None:
        command = [programs / program, "-D", data, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=server, **user)  # type: ignore[call-overload]

    call("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
    with (data / "postgresql.conf").open("a") as conf:
        conf.write(f"port = {port}\nfsync = off\nunix_socket_directories = '{server}'\n")
        conf.write(
            tls_settings(
                certificate=str(server / "server.crt"),
                key=str(server / "server.key"),
                listen=["127.0.0.1"],
            )
        )
    call("pg_ctl", "-w", "-l", server / "log", "start")
    try:
        where = make_conninfo("", host=str(server), port=port, user="postgres", dbname="postgres")
        with psycopg.connect(where, autocommit=True) as conn:
            conn.execute("CREATE DATABASE aegis")
            for kind, name in names("aegis").items():
                login = sql.SQL("LOGIN" if ROLES[kind].login else "NOLOGIN")
                conn.execute(sql.SQL("CREATE ROLE {} {}").format(sql.Identifier(name), login))
            conn.execute("CREATE ROLE aegis_tenant_a LOGIN IN ROLE aegis_tenant")
            conn.execute("CREATE ROLE stranger LOGIN")
            for name in (*names("aegis").values(), "aegis_tenant_a", "stranger"):
                # As `apply` sends it: made here, whole.
                conn.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                        sql.Identifier(name), sql.Literal(make_verifier(PASSWORD))
                    )
                )
            # Loopback in place of a network, so that the line for others can be tried here.
            text = hba_file(database="aegis", prefix="aegis", networks=["127.0.0.0/8"])
            lines = [line for line in text.splitlines() if "127.0.0.1/32" not in line]
            (data / "pg_hba.conf").write_text("\n".join(lines) + "\n")
            conn.execute("SELECT pg_reload_conf()")
            found = conn.execute(
                "SELECT error FROM pg_hba_file_rules WHERE error IS NOT NULL"
            ).fetchall()
            assert found == []
            rules = conn.execute("SELECT count(*) FROM pg_hba_file_rules").fetchone()
            assert rules is not None
            assert rules[0] > 15
            weak = conn.execute(
                "SELECT count(*) FROM pg_hba_file_rules"
                " WHERE auth_method NOT IN ('scram-sha-256', 'reject', 'peer')"
            ).fetchone()
            assert weak == (0,)
            yield port, conn
    finally:
        call("pg_ctl", "-m", "immediate", "stop")


@pytest.mark.parametrize("user", ["aegis_app", "aegis_readonly", "aegis_monitor", "aegis_tenant_a"])
def test_a_login_over_tls_gets_in(native: Native, user: str) -> None:
    url = native.url(
        user, "localhost", hostaddr="127.0.0.1", sslmode="verify-full",
        sslrootcert=str(native.certificate),
    )  # fmt: skip
    with psycopg.connect(url) as conn:
        row = conn.execute(
            "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        ).fetchone()
    assert row is not None
    assert row[0]
    assert row[1] in ("TLSv1.2", "TLSv1.3")


@pytest.mark.parametrize(
    ("user", "more", "why"),
    [
        ("aegis_app", {"sslmode": "disable"}, "rejects connection"),
        ("aegis_app", {"sslmode": "require", "password": "wrong"}, "password authentication"),
        ("aegis_app", {"sslmode": "require", "password": ""}, "no password supplied"),
        ("aegis_app", {"sslmode": "require", "dbname": "postgres"}, "rejects connection"),
        ("aegis_owner", {"sslmode": "require"}, "rejects connection"),
        ("aegis_backup", {"sslmode": "require"}, "rejects connection"),
        ("stranger", {"sslmode": "require"}, "rejects connection"),
        ("postgres", {"sslmode": "require"}, "rejects connection"),
        ("aegis_app", {"sslmode": "require", "ssl_max_protocol_version": "TLSv1.1",
                       "ssl_min_protocol_version": "TLSv1"}, "SSL|ssl|protocol"),
    ],
)  # fmt: skip
def test_any_other_login_is_refused(
    native: Native, user: str, more: dict[str, str], why: str
) -> None:
    with pytest.raises(psycopg.OperationalError, match=why):
        psycopg.connect(native.url(user, **more))


def test_the_socket_asks_for_a_password_and_the_administrator_for_himself(native: Native) -> None:
    with psycopg.connect(native.url("aegis_owner", str(native.folder))) as conn:
        assert conn.execute("SELECT current_user").fetchone() == ("aegis_owner",)
    with pytest.raises(psycopg.OperationalError, match="password authentication"):
        psycopg.connect(native.url("aegis_owner", str(native.folder), password="wrong"))
    with pytest.raises(psycopg.OperationalError, match="rejects connection"):
        psycopg.connect(native.url("stranger", str(native.folder)))


def test_a_single_login_gets_in_as_the_specification_has_it_and_no_other(native: Native) -> None:
    """As `local all agent peer` and `host all agent 127.0.0.1/32 md5`, less md5 and all others."""
    file = native.folder / "data" / "pg_hba.conf"
    before = file.read_text()
    conn = native.admin
    conn.execute("CREATE ROLE agent LOGIN CREATEDB")
    conn.execute(
        sql.SQL("ALTER ROLE agent PASSWORD {}").format(sql.Literal(make_verifier(PASSWORD)))
    )
    file.write_text(hba_file(database="aegis", prefix="aegis", single="agent"))
    conn.execute("SELECT pg_reload_conf()")
    try:
        # The old rules hold for connections until the server has read the new ones.
        assert wait_until(lambda: _refuses(native.url("aegis_app", sslmode="require")), 10)
        for database in ("aegis", "postgres"):
            with psycopg.connect(native.url("agent", dbname=database)) as own:
                assert own.execute("SELECT current_user").fetchone() == ("agent",)
        with pytest.raises(psycopg.OperationalError, match="password authentication"):
            psycopg.connect(native.url("agent", password="wrong"))
        # By the socket it is who the system says, whatever password it has.
        with pytest.raises(psycopg.OperationalError, match=r"[Pp]eer authentication"):
            psycopg.connect(native.url("agent", str(native.folder)))
        for other in ("aegis_owner", "stranger", "postgres"):
            assert _refuses(native.url(other))
    finally:
        file.write_text(before)
        conn.execute("SELECT pg_reload_conf()")
        conn.execute("DROP ROLE agent")
    with pytest.raises(InvalidInput):
        hba_file(database="aegis", prefix="aegis", single="a\nhost all all all trust")


def _refuses(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError as error:
        return "rejects connection" in str(error)
    return False


@pytest.mark.parametrize("network", ["10.0.0.1/8", "all", "0.0.0.0/0 trust\n", "", "10.0.0.0/33"])
def test_what_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(InvalidInput):
        hba_file(database="aegis", prefix="aegis", networks=[network])


def test_a_name_cannot_bring_a_line_of_its_own() -> None:
    with pytest.raises(InvalidInput):
        hba_file(database="a\nhost all all all trust", prefix="aegis")
    text = hba_file(database='a" all', prefix="aegis")
    assert '"a"" all"' in text
    with pytest.raises(InvalidInput):
        tls_settings(certificate="a\nfsync = off", key="k")
    assert "ssl_key_file = 'it''s'" in tls_settings(certificate="c", key="it's")
