"""A real PgBouncer in front of a test's server, with the pgbouncer.ini of our own page."""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import subprocess
import time
from configparser import ConfigParser
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aegis.db.account import RunAs, account_for, run_as
from aegis.db.cluster import own_folder
from aegis.db.opening import server_pid
from tests.cluster import reachable_folder
from tests.serving import free_port

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.debian.root import Root

PAGE: Final = Path(__file__).parents[1] / "docs/howto/pgbouncer.md"
PASSWORD: Final = "let-me-through"
_STARTS_S: Final = 15.0
#: What a client of the pooler finds, by `connect_query` of the page's pgbouncer.ini.
UNTOUCHED: Final = ("30s", "5s", "off", "off", None, "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooler:
    """A running PgBouncer and the database behind it."""

    #: The address that leads through it, as a superuser of the server.
    url: str
    #: The address of the server itself.
    direct: str
    folder: Path

    def url_of(self, user: str, password: str = PASSWORD) -> str:
        """Return the address for another user, whom `users` of `pooled` named."""
        return make_conninfo(self.url, user=user, password=password)

    def processes(self) -> int:
        """Return how many of the server's processes the pooler holds for this database."""
        with psycopg.connect(self.direct) as conn:
            row: Any = conn.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND backend_type = 'client backend'"
            ).fetchone()
        return int(row[0])


def ini_of_page() -> ConfigParser:
    """Return the pgbouncer.ini that the page shows."""
    found = re.search(r"```ini\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    ini = ConfigParser(interpolation=None)
    ini.read_string(found[1])
    return ini


@contextmanager
def pooled(
    dsn: str,
    mode: str = "transaction",
    *,
    users: dict[str, str] | None = None,
    database: dict[str, str] | None = None,
    inside: Root | None = None,
    **settings: str | int,
) -> Generator[Pooler]:
    """Yield a PgBouncer before the server of `dsn`, as the account that servers run as.

    `inside` has the program of another version, which then runs there.

    `database` and `settings` go over what the page has, in the line of the database and below
    `[pgbouncer]`.
    """
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    parts = conninfo_to_dict(dsn)
    with reachable_folder(Path("/tmp") if inside is None else inside.share) as parent:
        account = account_for(parent)
        folder = parent / "pgbouncer"
        own_folder(folder, account)
        port = free_port()
        ini = ini_of_page()
        line = dict(word.split("=", 1) for word in shlex.split(ini["databases"]["aegis"]))
        line |= {"host": str(parts["host"]), "port": str(parts.get("port") or 5432)}
        line |= database or {}
        del line["dbname"]
        quoted = " ".join(
            f"{name}='{value}'" if " " in value else f"{name}={value}"
            for name, value in line.items()
        )
        ini["databases"] = {"*": quoted}
        ini["pgbouncer"].update(
            {
                "listen_port": str(port),
                "unix_socket_dir": str(folder),
                "auth_file": str(folder / "userlist.txt"),
                "logfile": str(folder / "log"),
                "pidfile": str(folder / "pid"),
                "pool_mode": mode,
                **{name: str(value) for name, value in settings.items()},
            }
        )
        known = {str(parts["user"]): PASSWORD, **(users or {})}
        (folder / "userlist.txt").write_text(
            "".join(f'"{name}" "{password}"\n' for name, password in known.items())
        )
        with (folder / "pgbouncer.ini").open("w") as file:
            ini.write(file)
        command = [program, "--quiet", str(folder / "pgbouncer.ini")]
        user = run_as(account)
        if inside is not None:
            # Its account of that name may have another number.
            folder.chmod(0o777)
            command, user = inside.inside("pgbouncer", "--user=postgres", *command[1:]), RunAs()
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **user,
        )
        try:
            _await_start(process, folder, port)
            url = make_conninfo(
                dsn, host="127.0.0.1", port=port, user=parts["user"], password=PASSWORD
            )
            yield Pooler(url=url, direct=dsn, folder=folder)
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def taking_turns(dsn: str, processes: int = 3) -> Generator[Pooler]:
    """Yield one by transactions, each of which gets the process that was not used for longest."""
    name = str(conninfo_to_dict(dsn)["dbname"])
    with psycopg.connect(dsn) as conn:
        # What a client finds that does not ask for another one.
        conn.execute(
            sql.SQL("ALTER DATABASE {} SET TimeZone = 'Asia/Tokyo'").format(sql.Identifier(name))
        )
    with pooled(dsn, server_round_robin=1, default_pool_size=processes) as pooler:
        yield pooler


async def warm(pooler: Pooler, processes: int = 3) -> None:
    """Have the pooler open so many connections, by as many transactions at once."""
    async with AsyncExitStack() as stack:
        conns = [
            await stack.enter_async_context(await psycopg.AsyncConnection.connect(pooler.url))
            for _ in range(processes)
        ]
        await asyncio.gather(*(server_pid(conn) for conn in conns))
    assert pooler.processes() == processes


async def left_in(pooler: Pooler, processes: int = 3) -> set[Any]:
    """Return what the settings are in each process, as another client meets them."""
    seen: dict[int, Any] = {}
    async with await psycopg.AsyncConnection.connect(
        pooler.url, autocommit=True, prepare_threshold=None
    ) as conn:
        for _ in range(20 * processes):
            row: Any = await (
                await conn.execute(
                    """
                    SELECT pg_backend_pid(),
                           current_setting('statement_timeout'),
                           current_setting('lock_timeout'),
                           current_setting('default_transaction_read_only'),
                           current_setting('jit'),
                           nullif(current_setting('hnsw.ef_search', true), '40'),
                           current_setting('idle_in_transaction_session_timeout')
                    """
                )
            ).fetchone()
            seen[row[0]] = row[1:]
    assert len(seen) == processes
    return set(seen.values())


def _await_start(process: subprocess.Popen[bytes], folder: Path, port: int) -> None:
    until = time.monotonic() + _STARTS_S
    while not (folder / f".s.PGSQL.{port}").exists():
        log = folder / "log"
        said = log.read_text() if log.exists() else ""
        assert process.poll() is None, f"PgBouncer ended: {said}"
        assert time.monotonic() < until, f"PgBouncer does not start: {said}"
        time.sleep(0.02)
