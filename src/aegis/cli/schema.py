"""`aegis db upgrade|rollback|downgrade|current|revision|check|adopt`: the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from aegis.cli.command import Argument, Option
from aegis.cli.options import AsJson, Yes

if TYPE_CHECKING:
    from aegis.cli.command import App
    from aegis.db.adopt import AdoptionReport
    from aegis.db.revision import SchemaStatus
    from aegis.security.audit.actions import ActionId

__all__ = ["add_to"]

#: Labels of backups that are made before the schema changes; `rollback` goes back to the last.
_UPGRADE, _DOWNGRADE, _ADOPTION = "before-upgrade", "before-downgrade", "before-adoption"
_BEFORE = (_UPGRADE, _DOWNGRADE, _ADOPTION)


def add_to(app: App) -> None:
    """Give `app` the commands of this module."""
    for command in (upgrade, rollback, downgrade, current, revision, check, adopt):
        app.add(command)


def upgrade(
    target: Annotated[str, Argument(metavar="[REVISION]")] = "head",
    backup: Annotated[bool, Option(help="Make a backup first if there are rows.")] = True,
    as_json: AsJson = False,
) -> None:
    """Bring the schema up to date, or up to REVISION."""
    from aegis.cli.render import line, show_json
    from aegis.config import load_settings
    from aegis.db import migrate
    from aegis.errors import InvalidInput
    from aegis.security.roles.after import regrant_after_upgrade

    dsn = _dsn()
    goal, at = _goal(migrate.status(dsn), target)
    if (goal or "") < (at or ""):
        raise InvalidInput(
            f"The schema is at revision {at}, and {target} is before it: that is a downgrade; "
            f"use `aegis db downgrade {goal or 'base'}`."
        )
    kept = _backup(dsn, _UPGRADE) if backup and at is not None and goal != at else None
    before = migrate.upgrade(dsn, target)
    after = migrate.current(dsn)
    if after == migrate.HEAD and before != after:
        regrant_after_upgrade(dsn, load_settings())
    if before is not None and before != after:
        _log(dsn, "db.upgrade", before=before, after=after)
    if as_json:
        show_json({"before": before, "after": after, "backup": kept})
    elif before == after:
        line(f"The schema is at revision {after} already.")
    else:
        line(f"Upgraded from {before or 'nothing'} to revision {after}.")


def rollback(
    name: Annotated[
        str | None, Argument(metavar="[BACKUP]", help="The last before a change if left out.")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Go back to the backup from before the schema last changed; what is there now is kept."""
    from aegis.cli.backup import with_backups
    from aegis.cli.backup_render import plan_text, show_restored
    from aegis.cli.running import confirm
    from aegis.errors import Conflict, NotFound
    from aegis.ops.backup.service import Backups
    from aegis.ops.restore.models import Plan, Restored, Wanted

    async def look(backups: Backups) -> tuple[str, Plan]:
        chosen = name
        if chosen is None:
            found = [
                entry.name
                for entry in await backups.list()
                if entry.manifest is not None
                and entry.manifest.label in _BEFORE
                and entry.local
                and entry.verdict != "failed"
            ]
            if not found:
                raise NotFound(
                    "There is no backup from before a change of the schema; `aegis backup list` "
                    "shows others, and `aegis backup restore` takes one.",
                    code="backup_not_found",
                )
            chosen = found[0]
        wanted = Wanted(in_place=True, jobs=backups.settings.backup_jobs)
        return chosen, await backups.plan_restore(chosen, wanted)

    chosen, plan = with_backups("Looking", look)
    if plan.problems:
        raise Conflict(f"Nothing was restored: {'; '.join(plan.problems)}.", code="restore_refused")
    confirm(plan_text(plan), yes=yes)

    async def work(backups: Backups) -> Restored:
        wanted = Wanted(in_place=True, jobs=backups.settings.backup_jobs)
        return await backups.restore(chosen, wanted)

    show_restored(with_backups("Going back", work), as_json)


def downgrade(
    target: Annotated[str, Argument(metavar="REVISION", help="`base` drops everything.")],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Take the schema back to REVISION; the database is backed up first."""
    from aegis.cli.render import line, show_json
    from aegis.cli.running import confirm
    from aegis.db import migrate
    from aegis.db.translate import redact
    from aegis.errors import InvalidInput, OpsError

    dsn = _dsn()
    goal, at = _goal(migrate.status(dsn), target)
    if at is None:
        raise OpsError("The database has no Aegis tables to downgrade.", code="schema_empty")
    if (goal or "") > at:
        raise InvalidInput(
            f"The schema is at revision {at}, and {target} is after it: that is an upgrade; "
            f"use `aegis db upgrade {goal}`."
        )
    if goal == at:
        if as_json:
            show_json({"before": at, "after": at, "backup": None})
        else:
            line(f"Nothing to do: the schema is at revision {at} already.")
        return
    what = "every table of Aegis is dropped" if goal is None else "newer tables and columns go"
    confirm(
        f"{redact(dsn)} goes back from revision {at} to {goal or 'nothing'}: {what}. "
        "It is backed up first.",
        yes=yes,
    )
    kept = _backup(dsn, _DOWNGRADE)
    # Before: the log may be among what goes.
    _log(dsn, "db.downgrade", before=at, after=goal)
    before = migrate.downgrade(dsn, goal or "base")
    after = migrate.current(dsn)
    if as_json:
        show_json({"before": before, "after": after, "backup": kept})
    else:
        line(f"Downgraded from {before} to {after or 'nothing'}.")


def current(as_json: AsJson = False) -> None:
    """Show the database's revision, and the one that this Aegis needs."""
    from aegis.cli.render import line, show_json
    from aegis.db import migrate
    from aegis.db.revision import HEAD

    status = migrate.status(_dsn())
    if as_json:
        show_json({"revision": status.revision, "head": HEAD, "state": status.state})
    else:
        line(f"{status.revision or 'none'} ({status.state}; this Aegis needs {HEAD})")


def revision(
    message: Annotated[str, Option("--message", "-m", help="What it changes.")],
    autogenerate: Annotated[
        bool, Option("--autogenerate", help="Fill in what differs from db/schema.")
    ] = False,
) -> None:
    """Write a new revision file; for those who develop Aegis."""
    from aegis.cli.render import line
    from aegis.db import migrate

    line(str(migrate.revision(message, autogenerate=autogenerate, dsn=_dsn())))


def check(as_json: AsJson = False) -> None:
    """Compare the database with the schema that this Aegis expects; status 9 if they differ."""
    from aegis.cli.render import line, show_json
    from aegis.db import migrate
    from aegis.errors import OpsError

    differences = migrate.check(_dsn())
    if as_json:
        show_json({"differences": differences})
    elif not differences:
        line("The database is as this Aegis expects it.")
    for difference in differences if not as_json else ():
        line(difference)
    if differences:
        raise OpsError(
            f"The schema differs in {len(differences)} places; undo what was changed by hand.",
            code="schema_drift",
        )


def adopt(
    set_aside: Annotated[
        bool,
        Option(help="Move a different infra_anomaly_alerts to the schema aegis_set_aside."),
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Take over a database that has Aegis's tables already; it is backed up first.

    Without --yes it shows what it found and asks; on a table that differs it changes nothing.
    """
    from aegis.cli.render import line, show_json
    from aegis.cli.running import confirm
    from aegis.db import adopt as adoption
    from aegis.db import migrate
    from aegis.db.revision import require_current

    dsn = _dsn()
    report = adoption.inspect(dsn)
    if report.status.state == "current":
        if as_json:
            show_json({"report": report, "after": report.status.revision, "backup": None})
        else:
            line(f"Nothing to do: {report.notes[0]}, at revision {report.status.revision}.")
        return
    if report.status.state == "ahead":
        require_current(report.status)
    if report.adoptable or set_aside:
        confirm(_plan(report), yes=yes)
        kept = _backup(dsn, _ADOPTION)
    else:
        # It is refused below, in the words of who refuses; there is nothing to lose.
        kept = None
    report = adoption.adopt(dsn, set_aside=set_aside)
    after = migrate.current(dsn)
    _log(dsn, "db.adopt", after=after, tables=len(report.tables))
    if as_json:
        show_json({"report": report, "after": after, "backup": kept})
    else:
        # A database of ours that was behind has no tables to compare.
        done = f"Adopted: {len(report.tables)} tables" if report.tables else "Upgraded"
        line(f"{done}, now at revision {after}.")


def _log(dsn: str, action: ActionId, **details: object) -> None:
    """Tell the audit log of the database, if it has one."""
    from aegis.config import load_settings
    from aegis.security.audit.recording import make_note, record_now

    record_now(dsn, load_settings(), make_note(action, "schema", None, **details))


def _goal(status: SchemaStatus, target: str) -> tuple[str | None, str | None]:
    """Return what `target` means, and where the database is, so that no backup is made in vain.

    Raises:
        OpsError: the schema is not one that this Aegis may change.
        InvalidInput: `target` is no revision.
    """
    from aegis.db import migrate
    from aegis.db.revision import require_current

    if status.state not in ("empty", "behind", "current"):
        require_current(status)
    return migrate.destination(status.revision, target), status.revision


def _plan(report: AdoptionReport) -> str:
    lines = [f"{len(report.tables)} tables were looked at:"]
    for table in report.tables:
        lines.append(f"  {table.name}: {_STATES[table.state]}")
        lines += [f"    differs: {text}" for text in table.differences]
        lines += [f"    {text}" for text in table.notes]
    lines += [f"  {text}" for text in (*report.differences, *report.notes)]
    if report.extra_tables:
        lines.append(f"Left alone: {', '.join(report.extra_tables)}.")
    lines.append("The database will be backed up, stamped and upgraded; every row stays.")
    return "\n".join(lines)


_STATES = {"same": "as expected", "missing": "will be created", "differs": "DIFFERS"}


def _dsn() -> str:
    import logging

    from aegis.config import load_settings
    from aegis.db.server import owner_endpoint
    from aegis.wire.log import log_to_stderr

    # What a driver grumbles about, as where Ctrl-C meets a server that stands still, is no news.
    log_to_stderr(logging.WARNING, libraries=logging.CRITICAL)
    return owner_endpoint(load_settings())


def _backup(dsn: str, label: str) -> str | None:
    """Make and read back a backup, and return its name; None where there is nothing to lose."""
    from aegis.cli.backup import with_backups
    from aegis.cli.render import note
    from aegis.config import load_settings
    from aegis.db.dump import has_rows
    from aegis.errors import OpsError

    # That setting is for upgrades, which only add: the others take something away.
    if label == _UPGRADE and load_settings().backup_before_upgrade == "no":
        return None
    if not has_rows(dsn):
        return None
    made = with_backups("Making a backup", lambda backups: backups.create(backups.wish(label)))
    if made.verdict == "failed":
        raise OpsError(
            f"The backup {made.name} does not verify, and nothing was changed: see "
            f"`aegis backup show {made.name}`.",
            code="backup_failed",
        )
    note(f"Backup: {made.name}; `aegis db rollback` goes back to it.")
    return made.name
