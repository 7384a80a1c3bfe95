"""Chosen tables go back into the live database, all of them or none."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.conninfo import make_conninfo

from aegis.db.admin import admin_connection
from aegis.db.translate import translated
from aegis.errors import Conflict, OpsError
from aegis.ops.backup.programs import environment, find_program, first_error, run_program
from aegis.ops.restore.loading import compare_database
from aegis.ops.restore.models import Restored

if TYPE_CHECKING:
    import threading

    from aegis.ops.restore.running import Job
    from aegis.ops.restore.selecting import Selection

__all__ = ["fill_live", "filled_tables"]


def filled_tables(dsn: str, chosen: Selection) -> dict[str, int]:
    """Return, of the chosen tables that are in the live database, 1 for those with rows."""
    found: dict[str, int] = {}
    with translated(dsn=dsn), admin_connection(dsn, application_name="aegis-restore") as conn:
        for item in chosen.tables:
            name = f"{item.schema}.{item.name}"
            row = conn.execute(
                "SELECT to_regclass(format('%%I.%%I', %s::text, %s::text)) IS NOT NULL",
                (item.schema, item.name),
            ).fetchone()
            if row and row[0]:
                query = sql.SQL("SELECT EXISTS (SELECT FROM ONLY {})").format(
                    sql.Identifier(item.schema, item.name)
                )
                full = conn.execute(query).fetchone()
                found[name] = int(bool(full and full[0]))
    return found


def fill_live(job: Job, stop: threading.Event | None) -> Restored:
    """Restore chosen tables into the live database, all in one transaction."""
    assert job.chosen is not None
    there = filled_tables(job.dsn, job.chosen)
    absent = [t for t in job.chosen.tables if f"{t.schema}.{t.name}" not in there]
    if absent and there:
        raise Conflict(
            f"Nothing was restored: {', '.join(t.title for t in absent)} are missing in "
            f"{job.plan.database} and others are there; choose them apart.",
            code="restore_refused",
        )
    kinds = {i.kind for i in job.chosen.items} - {"SCHEMA", "EXTENSION", "TYPE", "DOMAIN"}
    listing = job.chosen.listing(kinds) if absent else job.chosen.rows_listing()
    before, after = ("", "") if absent else _quieting(job.dsn, job.chosen)
    if not absent:
        after += _raising(job.dsn, job.chosen)
    with job.timed("load"), tempfile.TemporaryDirectory() as place:
        status, said = _in_one_transaction(job, listing, before, after, Path(place), stop)
    if status != 0:
        raise OpsError(
            f"pg_restore failed, and {job.plan.database} is as it was: {first_error(said)}",
            code="restore_failed",
        )
    detail, verified = "restored; the file has no manifest to compare with", False
    if job.source.manifest is not None:
        with job.timed("compare"):
            detail = compare_database(job.dsn, job.source.manifest, only=job.chosen, stop=stop)
        verified = True
    return Restored(
        database=job.plan.database,
        kept_as=None,
        verdict="verified" if verified else "not_verified",
        detail=detail,
        timings=job.timings,
    )


def _in_one_transaction(
    job: Job,
    listing: str,
    before: str,
    after: str,
    place: Path,
    stop: threading.Event | None,
) -> tuple[int, str]:
    """Restore entries between two texts, all or none; return psql's exit status and what it said.

    By way of a script: pg_restore would begin with a setting that servers before 17 refuse, and
    the transaction would be over.
    """
    chosen, script = place / "list", place / "script"
    chosen.write_text(listing)
    plain = ["--no-owner", "--no-privileges"] if job.wanted.no_owner else []
    with script.open("wb") as out:
        status, said = run_program(
            [job.source.pg_restore, "--file=-", f"--use-list={chosen}", *plain, job.source.archive],
            {"LC_ALL": "C"},
            stop=stop,
            stdout=out,
        )
    if status != 0:
        return status, said
    _take_out_newer_settings(script)
    psql, _ = find_program("psql", 16)
    first, last = place / "first", place / "last"
    first.write_text(before)
    last.write_text(after)
    with environment(job.dsn) as variables:
        return run_program(
            [psql, "--no-psqlrc", "--quiet", "--single-transaction", "--no-password",
             "--set=ON_ERROR_STOP=1", f"--dbname={make_conninfo(dbname=job.plan.database)}",
             f"--file={first}", f"--file={script}", f"--file={last}"],
            variables | {"PGAPPNAME": "aegis-restore"},
            dsn=job.dsn,
            stop=stop,
        )  # fmt: skip


def _quieting(dsn: str, chosen: Selection) -> tuple[str, str]:
    """Return what keeps triggers of tables from firing while rows go back, and what undoes that.

    The rows are as they were when the triggers had fired: they would count them once more. Keys
    are looked at all the same.
    """
    off: list[str] = []
    on: list[str] = []
    with translated(dsn=dsn), admin_connection(dsn, application_name="aegis-restore") as conn:
        for item in chosen.tables:
            found = conn.execute(
                """
                SELECT t.tgname::text, t.tgenabled = 'A'
                FROM pg_trigger t
                WHERE t.tgrelid = to_regclass(format('%%I.%%I', %s::text, %s::text))
                  AND NOT t.tgisinternal
                  AND t.tgenabled IN ('O', 'A')
                ORDER BY t.tgname
                """,
                (item.schema, item.name),
            ).fetchall()
            table = sql.Identifier(item.schema, item.name)
            for name, always in found:
                trigger = sql.Identifier(name)
                how = sql.SQL("ENABLE ALWAYS" if always else "ENABLE")
                alter = sql.SQL("ALTER TABLE ONLY {} {} TRIGGER {};\n")
                off.append(alter.format(table, sql.SQL("DISABLE"), trigger).as_string(conn))
                on.append(alter.format(table, how, trigger).as_string(conn))
    return "".join(off), "".join(on)


def _raising(dsn: str, chosen: Selection) -> str:
    """Return what brings the tables' own sequences past the rows that went back.

    As the archive has them they might go back behind what was drawn since.
    """
    raised: list[str] = []
    with translated(dsn=dsn), admin_connection(dsn, application_name="aegis-restore") as conn:
        for item in chosen.tables:
            found = conn.execute(
                """
                SELECT a.attname::text, n.nspname::text, s.relname::text, q.seqmax
                FROM pg_depend d
                JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                JOIN pg_class s ON s.oid = d.objid
                JOIN pg_sequence q ON q.seqrelid = s.oid AND q.seqincrement > 0
                JOIN pg_namespace n ON n.oid = s.relnamespace
                WHERE d.classid = 'pg_class'::regclass
                  AND d.refclassid = 'pg_class'::regclass
                  AND d.refobjid = to_regclass(format('%%I.%%I', %s::text, %s::text))
                  AND d.deptype IN ('a', 'i')
                  -- Others, such as texts with a number in them, have no highest one.
                  AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
                ORDER BY a.attname
                """,
                (item.schema, item.name),
            ).fetchall()
            for column, schema, sequence, most in found:
                raise_it = sql.SQL(
                    "SELECT setval({name}::regclass, r.highest)\n"
                    "FROM (SELECT max({column}) AS highest FROM {table}) AS r, {sequence} AS s\n"
                    "WHERE r.highest BETWEEN s.last_value AND {most};\n"
                ).format(
                    name=sql.Literal(sql.Identifier(schema, sequence).as_string(conn)),
                    column=sql.Identifier(column),
                    table=sql.Identifier(item.schema, item.name),
                    sequence=sql.Identifier(schema, sequence),
                    most=sql.Literal(most),
                )
                raised.append(raise_it.as_string(conn))
    return "".join(raised)


def _take_out_newer_settings(script: Path) -> None:
    """Overwrite what older servers do not know by a comment of the same length, in the head."""
    newer = b"SET transaction_timeout = 0;"
    with script.open("r+b") as file:
        at = file.read(16_384).find(b"\n" + newer)
        if at >= 0:
            file.seek(at + 1)
            file.write(b"-" * len(newer))
