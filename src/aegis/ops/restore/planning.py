"""What a restore would do, and what forbids it, looked up before anything is touched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from psycopg.conninfo import conninfo_to_dict

from aegis.db.translate import redact
from aegis.errors import InvalidInput
from aegis.ops.restore.loading import needed, of_the_server
from aegis.ops.restore.models import Plan, Wanted
from aegis.ops.restore.selecting import select

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.ops.backup.models import Manifest
    from aegis.ops.restore.archive import Contents
    from aegis.ops.restore.selecting import Selection
    from aegis.ops.restore.server import Facts

__all__ = ["Source", "choose", "plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An archive to restore from; a plain file of pg_dump has no manifest."""

    name: str
    archive: Path
    contents: Contents
    manifest: Manifest | None
    pg_restore: Path


def choose(source: Source, wanted: Wanted) -> Selection | None:
    """Return what is chosen of the archive, None for all of it (`InvalidInput`)."""
    if wanted.tables is None:
        return None
    if not wanted.tables:
        raise InvalidInput("tables is empty; name at least one.")
    return select(source.contents, wanted.tables, with_references=wanted.with_references)


def plan(
    dsn: str,
    source: Source,
    wanted: Wanted,
    server: Facts,
    chosen: Selection | None,
    filled: dict[str, int],
    now: datetime,
) -> Plan:
    """Return the plan; `filled` has the tables of the live database and whether they have rows."""
    if wanted.into is not None and wanted.in_place:
        raise InvalidInput("A restore goes into a new name or in place, not both.")
    live = str(conninfo_to_dict(dsn).get("dbname") or "")
    mode: Literal["new", "in_place", "tables_new", "tables_in_place"]
    if chosen is None:
        mode = "in_place" if wanted.in_place else "new"
    else:
        mode = "tables_in_place" if wanted.in_place else "tables_new"
    stamp = f"{now:%Y%m%dT%H%M%SZ}"
    database = live if wanted.in_place else wanted.into or _fit(live, f"_restored_{stamp}")
    manifest = source.manifest
    kept = (
        _fit(live, f"_before_{stamp}") if mode == "in_place" and live in server.databases else None
    )
    return Plan(
        source=source.name,
        mode=mode,
        server=redact(dsn).rpartition("/")[0],
        database=database,
        kept_as=kept,
        snapshot_at=manifest.snapshot_at if manifest else None,
        steps=tuple(_steps(source, mode, database, kept, chosen)),
        problems=tuple(_problems(source, mode, database, server, wanted, chosen, filled)),
        warnings=tuple(_warnings(source, mode, now, server, chosen, wanted)),
    )


def _fit(name: str, end: str) -> str:
    # Names have 63 bytes; a longer one would be cut silently.
    head = name.encode()[: 63 - len(end)].decode(errors="ignore")
    return head + end


def _steps(
    source: Source, mode: str, database: str, kept: str | None, chosen: Selection | None
) -> list[str]:
    items = source.contents.items if chosen is None else chosen.items
    tables = [i for i in items if i.kind == "TABLE DATA"]
    what = f"{len(tables)} tables" if chosen is None else ", ".join(t.title for t in chosen.tables)
    if mode == "tables_in_place":
        return [f"Fill {what} in {database}, in one transaction: all or nothing."]
    lines = [f"Restore {what} into a new database."]
    if source.manifest is not None:
        lines.append("Compare row counts and digests with the manifest.")
    if mode == "in_place":
        if kept:
            lines.append(f"Disconnect clients; {database} becomes {kept} and is kept.")
        lines.append(f"The restored database becomes {database}, in the same transaction.")
    else:
        lines.append(f"Call it {database}; what is there stays as it is.")
    return lines


def _problems(
    source: Source,
    mode: str,
    database: str,
    server: Facts,
    wanted: Wanted,
    chosen: Selection | None,
    filled: dict[str, int],
) -> list[str]:
    found: list[str] = []
    if mode == "tables_in_place":
        assert chosen is not None
        full = [t.title for t in chosen.tables if filled.get(f"{t.schema}.{t.name}")]
        if full:
            found.append(
                f"{', '.join(full)} have rows in {database}; restore into a new name and copy from "
                "there, or empty them first"
            )
    else:
        found += _forbidden(source, mode, server, chosen)
        if database in server.databases and mode != "in_place":
            found.append(f"there is a database {database} already; choose another name")
        if len(database.encode()) > 63 or not database or "\0" in database:
            found.append(f"a database cannot be called {database!r}: 1 to 63 bytes")
    major = _major(source)
    if major is not None and major > server.version_num // 10_000:
        found.append(
            f"the backup is of PostgreSQL {major}, and the server is "
            f"{server.version_num // 10_000}: an older server cannot take it"
        )
    found += _lacking(source, server, wanted, chosen)
    size = source.manifest.database_bytes if source.manifest else None
    if (
        size
        and server.free_bytes is not None
        and chosen is None
        and needed(size) > server.free_bytes
    ):
        found.append(
            f"the server's disk has {server.free_bytes >> 20} MiB left, and the restored database "
            f"needs about {needed(size) >> 20} MiB"
        )
    return found


def _forbidden(source: Source, mode: str, server: Facts, chosen: Selection | None) -> list[str]:
    """Return what the user may not do, with the command by which an administrator allows it."""
    user, found = server.user, list[str]()
    if server.kept_out is not None:
        found.append(
            f"a restore makes a database of its own, and {user} is let into none but the one that "
            f"is there ({server.kept_out}): write pg_hba.conf anew with `aegis security hba`, and "
            "reload it"
        )
    if not server.may_create:
        found.append(
            f"the user {user} may not create databases; `ALTER ROLE {user} CREATEDB` allows it"
        )
    items = source.contents.items if chosen is None else chosen.items
    forbidden = sorted({i.name for i in items if i.kind == "EXTENSION"} & server.forbidden)
    if forbidden:
        found.append(
            f"only a superuser may create the extension {', '.join(forbidden)} in a new database: "
            "restore with an administrator's address in AEGIS_OWNER_URL, or set `trusted = true` "
            "in its control file"
        )
    if mode == "in_place":
        found += _forbidden_in_place(server)
    return found


def _forbidden_in_place(server: Facts) -> list[str]:
    user, found = server.user, list[str]()
    if not server.owns_live:
        found.append(
            f"the database is not {user}'s to rename; `ALTER DATABASE … OWNER TO {user}` allows it"
        )
    if server.tied:
        found.append(
            f"{', '.join(server.tied)} have settings in the database that {user} cannot give the "
            "restored one: restore with an administrator's address in AEGIS_OWNER_URL"
        )
    if server.strangers:
        found.append(
            f"{user} may not disconnect {', '.join(server.strangers)}; "
            f"`GRANT pg_signal_backend TO {user}` allows it, except for superusers"
        )
    return found


def _lacking(source: Source, server: Facts, wanted: Wanted, chosen: Selection | None) -> list[str]:
    """Return what the server has to have and does not: extensions and roles."""
    found: list[str] = []
    items = source.contents.items if chosen is None else chosen.items
    needed = {i.name for i in items if i.kind == "EXTENSION"}
    missing = sorted(needed - set(server.extensions))
    if missing:
        found.append(f"the server has no {', '.join(missing)}: install the extension there first")
    if not wanted.no_owner:
        roles = {i.owner for i in items if i.owner and i.kind not in ("EXTENSION", "COMMENT")}
        if source.manifest is not None:
            roles |= set(source.manifest.roles)
        absent = sorted(roles - server.roles - {""})
        if absent:
            found.append(
                f"the server has no role {', '.join(absent)}: create it, or restore with --no-owner"
            )
    return found


def _warnings(
    source: Source,
    mode: str,
    now: datetime,
    server: Facts,
    chosen: Selection | None,
    wanted: Wanted,
) -> list[str]:
    found: list[str] = []
    items = source.contents.items if chosen is None else chosen.items
    if not (server.superuser or wanted.no_owner) and any(map(of_the_server, items)):
        found.append(
            "Rights on PostgreSQL's own views are left out, as only a superuser gives them: "
            "`aegis security apply` does"
        )
    manifest = source.manifest
    if manifest is None:
        found.append("The file has no manifest: there is nothing to compare the restored rows with")
    elif mode == "in_place":
        gone = now - manifest.snapshot_at
        found.append(
            f"What was written since {manifest.snapshot_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC "
            f"({gone.total_seconds() / 3600:.1f} hours) is then only in the database that is kept"
        )
    if manifest is not None:
        other = sorted(
            name
            for name, version in manifest.extensions.items()
            if name in server.extensions and server.extensions[name] != version
        )
        if other:
            found.append(
                "Other versions than in the backup: "
                + ", ".join(
                    f"{n} {server.extensions[n]} instead of {manifest.extensions[n]}" for n in other
                )
            )
    return found


def _major(source: Source) -> int | None:
    text: Any = (
        source.manifest.server_version if source.manifest else source.contents.server_version
    )
    match = re.match(r"\d+", text or "")
    return int(match.group()) if match else None
