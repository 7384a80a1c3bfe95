"""The real verification: a backup is restored into a throw-away server and compared.

Steps that cannot be taken here (no programs, no extension, no key, no space) make the verdict
`not_verified`, which is an alarm, and no word on the backup.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from typing import TYPE_CHECKING

import psycopg

from aegis.db.admin import admin_connection
from aegis.db.translate import translated
from aegis.errors import AegisError, OpsError, Unavailable
from aegis.ops.backup.programs import environment, find_program, first_error, run_program
from aegis.ops.backup.reading import plain_archive, summary, timed_check, verify_fast
from aegis.ops.backup.sandbox import sandbox
from aegis.ops.restore.archive import read_contents
from aegis.ops.restore.loading import analyze, compare_database, load, needed

if TYPE_CHECKING:
    import threading
    from collections.abc import Awaitable, Callable

    from aegis.config import Settings
    from aegis.db.embedded import Endpoint
    from aegis.ops.backup.crypto import KeyRing
    from aegis.ops.backup.models import Check, Entry, Manifest, Verification

__all__ = ["verify_full"]


def verify_full(
    entry: Entry,
    keys: KeyRing,
    settings: Settings,
    *,
    smoke: Callable[[str], Awaitable[str]] | None = None,
    stop: threading.Event | None = None,
    tell: Callable[[str, int, int], None] | None = None,
    ready: Callable[[], None] | None = None,
) -> Verification:
    """Restore a backup into a throw-away server, compare, check, ask; changes nothing else.

    `smoke` asks Aegis itself on the restored database and returns what was answered; `ready` is
    called when it has.
    """
    began = time.monotonic()
    checks = list(verify_fast(entry, keys, stop=stop, tell=tell).checks)
    manifest = entry.manifest
    if manifest is not None and all(check.verdict == "verified" for check in checks):
        checks += _in_sandbox(entry, manifest, keys, settings, smoke, stop, tell, ready)
    return summary(checks, "full", began)


def _in_sandbox(
    entry: Entry,
    manifest: Manifest,
    keys: KeyRing,
    settings: Settings,
    smoke: Callable[[str], Awaitable[str]] | None,
    stop: threading.Event | None,
    tell: Callable[[str, int, int], None] | None,
    ready: Callable[[], None] | None,
) -> list[Check]:
    checks: list[Check] = []
    try:
        with sandbox(settings) as server:
            steps: list[tuple[str, Callable[[], str]]] = [
                ("server", lambda: _fits(server, manifest, settings)),
                ("restore", lambda: _load(entry, manifest, keys, server, settings, stop)),
                (
                    "contents",
                    lambda: compare_database(
                        server.dsn,
                        manifest,
                        stop=stop,
                        tell=_comparing(tell),
                    ),
                ),
            ]
            if smoke is not None:
                steps.append(("smoke", lambda: _ask(server, smoke, ready)))
            steps.append(("amcheck", lambda: _amcheck(server, settings, stop)))
            for name, step in steps:
                checks.append(timed_check(name, step))
                if checks[-1].verdict != "verified":
                    break
    except AegisError as error:
        if error.code == "backup_stopped":
            raise
        checks.append(timed_check("server", _raiser(error)))
    return checks


def _comparing(
    tell: Callable[[str, int, int], None] | None,
) -> Callable[[int, int], None] | None:
    return None if tell is None else lambda n, of: tell("Comparing", n, of)


def _raiser(error: AegisError) -> Callable[[], str]:
    def again() -> str:
        raise OpsError(error.message, code="sandbox_failed") from error

    return again


def _fits(server: Endpoint, manifest: Manifest, settings: Settings) -> str:
    """Return what the server is, if the backup can be restored there (`OpsError`)."""
    with translated(), admin_connection(server.dsn) as conn:
        major = conn.info.server_version // 10_000
        rows = conn.execute("SELECT name::text FROM pg_available_extensions").fetchall()
    if manifest.server_version_num // 10_000 > major:
        raise OpsError(
            f"the backup is of PostgreSQL {manifest.server_version}, and this machine's own "
            f"server is {major}",
            code="sandbox_too_old",
        )
    missing = sorted(set(manifest.extensions) - {name for (name,) in rows})
    if missing:
        raise OpsError(
            f"this machine's own server has no {', '.join(missing)}", code="sandbox_extension"
        )
    free, size = shutil.disk_usage(settings.data_dir).free, needed(manifest.database_bytes)
    if size > free:
        raise OpsError(
            f"{settings.data_dir} has {free >> 20} MiB left, and the restored database needs about "
            f"{size >> 20} MiB",
            code="sandbox_space",
        )
    return f"PostgreSQL {major}"


def _load(
    entry: Entry,
    manifest: Manifest,
    keys: KeyRing,
    server: Endpoint,
    settings: Settings,
    stop: threading.Event | None,
) -> str:
    pg_restore, _ = find_program(
        "pg_restore", manifest.client_major, compression=manifest.compression
    )
    with plain_archive(entry, keys) as archive:
        contents = read_contents(pg_restore, archive)
        load(
            pg_restore, archive, contents, server.dsn,
            size=manifest.database_bytes, jobs=settings.backup_jobs, owners=False, stop=stop,
        )  # fmt: skip
    analyze(server.dsn, stop=stop)
    return f"{len(contents.items)} entries"


def _amcheck(server: Endpoint, settings: Settings, stop: threading.Event | None) -> str:
    pg_amcheck = server.bin_dir / "pg_amcheck"
    with environment(server.dsn) as variables:
        status, said = run_program(
            [pg_amcheck, "--install-missing", "--heapallindexed", "--no-password",
             f"--jobs={settings.backup_jobs}", server.database],
            variables,
            dsn=server.dsn,
            stop=stop,
        )  # fmt: skip
    if status == 2:
        raise OpsError(
            "pg_amcheck found corruption in the restored database", code="restored_unsound"
        )
    if status != 0:
        raise OpsError(f"pg_amcheck: {first_error(said)}", code="amcheck_failed")
    return "tables and B-tree indexes are sound"


def _ask(
    server: Endpoint, smoke: Callable[[str], Awaitable[str]], ready: Callable[[], None] | None
) -> str:
    async def ask() -> str:
        return await smoke(server.dsn)

    try:
        answer = asyncio.run(ask())
    except (AegisError, psycopg.Error) as error:
        if isinstance(error, Unavailable):
            raise
        if isinstance(error, AegisError) and error.code in ("schema_behind", "schema_ahead"):
            raise OpsError(
                f"its schema is another revision's than this Aegis: {error.message}",
                code="smoke_other_revision",
            ) from error
        raise OpsError(f"Aegis does not work on it: {error}", code="smoke_failed") from error
    if ready is not None:
        ready()
    return answer
