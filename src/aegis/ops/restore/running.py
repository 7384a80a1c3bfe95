"""Doing what the plan says, so that a failure at any line leaves everything as it was."""

from __future__ import annotations

import secrets
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aegis.errors import AegisError, Conflict, NotFound, OpsError
from aegis.ops.backup.programs import find_program, first_error, run_program
from aegis.ops.backup.reading import plain_archive, require_sound
from aegis.ops.restore import planning, server
from aegis.ops.restore.archive import read_contents
from aegis.ops.restore.likeness import take_after
from aegis.ops.restore.live import fill_live, filled_tables
from aegis.ops.restore.loading import analyze, compare_database, load
from aegis.ops.restore.models import Plan, Restored, Wanted
from aegis.ops.restore.planning import Source

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator

    from aegis.ops.backup.crypto import KeyRing
    from aegis.ops.backup.models import Entry
    from aegis.ops.restore.selecting import Selection

__all__ = ["Job", "open_entry", "open_file", "prepare", "run"]

#: Seconds that a look at how far a restore is may wait for a connection.
_GLANCE_S = 2.0


@dataclass(slots=True, kw_only=True)
class Job:
    """A restore that was planned."""

    dsn: str
    source: Source
    wanted: Wanted
    chosen: Selection | None
    plan: Plan
    superuser: bool = True
    timings: dict[str, float] = field(default_factory=dict[str, float])

    @contextmanager
    def timed(self, step: str) -> Generator[None]:
        """Note how long a step takes."""
        began = time.monotonic()
        yield
        self.timings[step] = round(time.monotonic() - began, 3)


@contextmanager
def open_entry(entry: Entry, keys: KeyRing) -> Generator[Source]:
    """Yield a backup to restore from; its files are compared with the manifest first.

    Raises:
        OpsError: `backup_damaged`, or there is no pg_restore that reads it.
        ConfigError: `backup_key_missing`.
    """
    require_sound(entry, keys)
    assert entry.manifest is not None
    manifest = entry.manifest
    pg_restore, _ = find_program(
        "pg_restore", manifest.client_major, compression=manifest.compression
    )
    with plain_archive(entry, keys) as archive:
        yield Source(
            name=entry.name,
            archive=archive,
            contents=read_contents(pg_restore, archive),
            manifest=manifest,
            pg_restore=pg_restore,
        )


@contextmanager
def open_file(path: Path) -> Generator[Source]:
    """Yield a plain archive of pg_dump to restore from, such as `pg_dump -Fc` writes.

    Raises:
        NotFound: there is no such file.
        OpsError: it is none, or cut off: all of it is read first.
    """
    if not path.exists():
        raise NotFound(f"There is no file {path}.", code="backup_not_found")
    # The newest that there is reads what any older pg_dump wrote.
    pg_restore, major = find_program("pg_restore", 16)
    contents = read_contents(pg_restore, path)
    if contents.client_major > major or contents.compression not in ("none", "gzip"):
        pg_restore, _ = find_program(
            "pg_restore", contents.client_major, compression=contents.compression
        )
    status, said = run_program([pg_restore, "--file=/dev/null", path], {"LC_ALL": "C"})
    if status != 0:
        raise OpsError(
            f"{path} is damaged, and nothing was done: {first_error(said)}.", code="backup_damaged"
        )
    yield Source(
        name=str(path), archive=path, contents=contents, manifest=None, pg_restore=pg_restore
    )


def prepare(dsn: str, source: Source, wanted: Wanted) -> Job:
    """Look at source and server and return what would be done; changes nothing."""
    chosen = planning.choose(source, wanted)
    facts = server.look(dsn)
    filled: dict[str, int] = {}
    live = str(conninfo_to_dict(dsn).get("dbname") or "")
    if wanted.in_place and chosen is not None and live in facts.databases:
        filled = filled_tables(dsn, chosen)
    made = planning.plan(dsn, source, wanted, facts, chosen, filled, datetime.now(UTC))
    return Job(
        dsn=dsn, source=source, wanted=wanted, chosen=chosen, plan=made, superuser=facts.superuser
    )


def run(
    job: Job,
    *,
    stop: threading.Event | None = None,
    tell: Callable[[str, int, int], None] | None = None,
    filled: Callable[[str], None] | None = None,
) -> Restored:
    """Do what was planned; `filled` is called with the address of what was restored, to note it.

    A database of its own is noted in before it has its name, the live one as soon as it is changed.

    Raises:
        Conflict: `restore_refused`, the plan has problems; `restore_running`.
        OpsError: it failed; the database that was there is as it was, and nothing else is left.
    """
    if job.plan.problems:
        raise Conflict(
            f"Nothing was restored: {'; '.join(job.plan.problems)}.", code="restore_refused"
        )
    if job.plan.mode == "tables_in_place":
        done = fill_live(job, stop)
        if filled is not None:
            filled(make_conninfo(job.dsn, dbname=job.plan.database))
        return done
    with server.maintenance(job.dsn) as conn, server.alone(conn):
        server.drop_leftovers(conn)
        temporary = f"{server.TEMPORARY}{secrets.token_hex(6)}"
        manifest = job.source.manifest
        properties: dict[str, Any] = dict(manifest.properties) if manifest else {}
        server.create_database(conn, temporary, properties)
        try:
            detail, verified = _fill(job, make_conninfo(job.dsn, dbname=temporary), stop, tell)
            if filled is not None:
                filled(make_conninfo(job.dsn, dbname=temporary))
            text = f"Restored by Aegis from {Path(job.source.name).name}"
            with job.timed("switch"):
                detail += _name(job, conn, temporary, list(properties.get("settings") or []), text)
        except BaseException:
            server.drop_unfinished(conn, job.dsn, temporary)
            raise
    return Restored(
        database=job.plan.database,
        kept_as=job.plan.kept_as,
        verdict="verified" if verified else "not_verified",
        detail=detail,
        timings=job.timings,
    )


def _fill(
    job: Job,
    dsn: str,
    stop: threading.Event | None,
    tell: Callable[[str, int, int], None] | None,
) -> tuple[str, bool]:
    """Restore into an empty database and compare; return what was found, and whether it could."""
    source = job.source
    size = source.manifest.database_bytes if source.manifest else 0
    with job.timed("load"):
        load(
            source.pg_restore, source.archive, source.contents, dsn, jobs=job.wanted.jobs,
            owners=not job.wanted.no_owner, superuser=job.superuser, selection=job.chosen,
            size=size if job.chosen is None else None, stop=stop,
            tick=None if tell is None else _size_teller(dsn, size, tell),
        )  # fmt: skip
    with job.timed("analyze"):
        analyze(dsn, stop=stop)
    if source.manifest is None:
        return "restored; the file has no manifest to compare with", False
    with job.timed("compare"):
        detail = compare_database(
            dsn, source.manifest, only=job.chosen, stop=stop,
            tell=None if tell is None else (lambda n, of: tell("Comparing", n, of)),
        )  # fmt: skip
    return detail, True


def _size_teller(dsn: str, size: int, tell: Callable[[str, int, int], None]) -> Callable[[], None]:
    last = time.monotonic()

    def tick() -> None:
        nonlocal last
        if size and time.monotonic() - last > 1.0:
            # Whether it stands still is not for who only shows how far it is.
            with suppress(AegisError), server.maintenance(dsn, connect_s=_GLANCE_S) as conn:
                name = str(conninfo_to_dict(dsn).get("dbname"))
                row = conn.execute("SELECT pg_database_size(%s)", (name,)).fetchone()
                tell("Restoring", min(row[0] if row else 0, size), size)
            last = time.monotonic()

    return tick


def _name(
    job: Job, conn: psycopg.Connection, temporary: str, settings: list[str], text: str
) -> str:
    """Give the restored database its name; in place, the old one gets another in the same step.

    Returns what has to be added to what was found.
    """
    beside = ""

    def finish() -> None:
        nonlocal beside
        server.finish_database(conn, temporary, settings, text)
        if job.plan.kept_as is not None:
            take_after(conn, job.plan.database, temporary)
        elif job.source.manifest is not None:
            beside = _take_after_first(conn, job.source.manifest.database, temporary)

    server.switch(
        conn, job.dsn, new=temporary, name=job.plan.database, kept_as=job.plan.kept_as,
        prepare=finish,
    )  # fmt: skip
    return beside


def _take_after_first(conn: psycopg.Connection, first: str, copy: str) -> str:
    """Have a copy beside its database be as closed as that: who may connect, what roles begin with.

    Where the user may not, the copy is made all the same; returns what has to be said then.
    """
    try:
        with conn.transaction():
            take_after(conn, first, copy)
    except pg.InsufficientPrivilege as error:
        return (
            f"; rights and settings of {first} itself were not taken over "
            f"({error.diag.message_primary}): `aegis security apply` gives them"
        )
    return ""
