"""Ctrl-C ends a command whose server stands still, and leaves nothing half done."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from aegis.db import migrate
from aegis.db.postmaster import wait_until
from aegis.ops.backup import creating
from aegis.ops.backup.creating import Wish
from aegis.ops.backup.service import Backups
from aegis.ops.restore.models import Wanted
from tests.serving import CALL, environment
from tests.trouble.freezing import (
    DUMPING,
    MIGRATING,
    RESTORING,
    VACUUMING,
    databases,
    free,
    frozen,
    middle,
    run_sql,
)
from tests.trouble.frozen.conftest import KEY

if TYPE_CHECKING:
    from aegis.config import Settings
    from tests.cluster import Handle

pytestmark = pytest.mark.timeout(600)

COMMANDS: dict[str, tuple[list[str], str]] = {
    "create": (["backup", "create", "--compression=gzip:9"], DUMPING),
    "encrypted": (["backup", "create", "--compression=gzip:9", "--encrypt"], DUMPING),
    "restore": (["backup", "restore", "latest", "--yes", "--into=cut_off"], RESTORING),
    "maintenance": (["maintenance", "run", "--now"], VACUUMING),
    "upgrade": (["db", "upgrade"], MIGRATING),
}


@pytest.mark.parametrize("command", list(COMMANDS))
async def test_ctrl_c_ends_a_command_while_the_server_stands_still(
    server: Handle, url: str, settings: Settings, command: str
) -> None:
    arguments, doing = COMMANDS[command]
    target = url
    if command == "restore":
        await Backups(settings).create(Wish(compression="none"))
    elif command == "maintenance":
        run_sql(url, "UPDATE big SET i = i + 1")
        run_sql(url, "ALTER DATABASE still SET vacuum_cost_delay = '20ms'")
    elif command == "upgrade":
        run_sql(server.dsn, "CREATE DATABASE rising TEMPLATE template0")
        target = make_conninfo(server.dsn, dbname="rising")
        migrate.upgrade(target, "0010")
    before = databases(server)
    listed = [entry.name for entry in await Backups(settings).list()]
    with subprocess.Popen(
        [*CALL, *arguments],
        env=environment(
            settings.data_dir, database_url=target, embedder="none", backup_keys=KEY,
            backup_jobs="2",
        ),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            await middle(server, doing)
            with frozen(server):
                process.send_signal(signal.SIGINT)
                # Nobody waits for what will not come: the patience of commands is longer.
                said = await asyncio.to_thread(process.communicate, timeout=25)
        finally:
            process.kill()
    assert process.returncode == 130, said
    assert "Traceback" not in said[1]
    assert "cancel" not in said[1]
    assert wait_until(lambda: free(server), 60)
    assert [entry.name for entry in await Backups(settings).list()] == listed
    left = databases(server) - before
    assert all(name.startswith("aegis_restoring_") for name in left)
    if command == "upgrade":
        migrate.upgrade(target)
        run_sql(server.dsn, "DROP DATABASE rising")
    elif command == "restore":
        await Backups(settings).restore("latest", Wanted(into="cut_off", jobs=2))
        assert databases(server) - before == {"cut_off"}
        run_sql(server.dsn, "DROP DATABASE cut_off")


async def test_whoever_wants_no_backup_any_more_is_not_held_by_one_process_of_the_server(
    server: Handle, url: str, settings: Settings
) -> None:
    """The server answers others; what stands still is the process that works for us."""
    with psycopg.connect(url, autocommit=True) as holder:
        # The lock that every backup wants first: it waits in the server.
        holder.execute("SELECT pg_advisory_lock(%s)", (creating.LOCK_KEY,))
        making = asyncio.create_task(Backups(settings).create())
        await middle(server, "query LIKE '%pg_advisory_lock%' AND wait_event_type = 'Lock'")
        row = holder.execute(
            "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        ).fetchone()
        assert row is not None
        os.kill(row[0], signal.SIGSTOP)
        try:
            making.cancel()
            async with asyncio.timeout(60):
                with pytest.raises(asyncio.CancelledError):
                    await making
        finally:
            os.kill(row[0], signal.SIGCONT)
    assert wait_until(lambda: free(server), 60)
    assert await Backups(settings).list() == []
