"""`aegis backup`: made, verified, copied, restored, pruned, practised."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Yes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aegis.ops.backup.models import Entry
    from aegis.ops.backup.service import Backups

__all__ = ["app", "with_backups"]

app = App("Backups: made, verified, copied elsewhere, restored.")

T = TypeVar("T")
Name = Annotated[str, Argument(metavar="[BACKUP]", help="Its name; `latest` if left out.")]


def with_backups(what: str, work: Callable[[Backups], Awaitable[T]]) -> T:
    """Run `work` on the backups that the environment names, with its progress shown."""
    import logging

    from aegis.cli.progress import stages
    from aegis.client import ask_aegis
    from aegis.config import load_settings
    from aegis.ops.backup.service import Backups
    from aegis.wire.log import log_to_stderr

    log_to_stderr(logging.WARNING, libraries=logging.CRITICAL)

    async def run(tell: Callable[[str, int, int], None]) -> T:
        return await work(Backups(load_settings(), smoke=ask_aegis, tell=tell))

    with stages(what) as tell:
        return asyncio.run(run(tell))


@app.add
def create(
    label: Annotated[str, Option(help="What it is for; part of its name.")] = "manual",
    format: Annotated[
        str | None, Option(help="custom (one file) or directory (several processes).")
    ] = None,
    jobs: Annotated[int | None, Option(help="Processes, with the format directory.")] = None,
    compression: Annotated[str | None, Option(help="auto, none, or such as gzip:6.")] = None,
    encrypt: Annotated[bool, Option(help="Encrypt it by the newest of AEGIS_BACKUP_KEYS.")] = False,
    verify: Annotated[bool, Option(help="Read it back when it is made.")] = True,
    push: Annotated[bool, Option(help="Copy it to the destination, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a backup at one moment of the database, with a manifest to prove it by."""
    from dataclasses import replace

    from aegis.errors import InvalidInput

    if format not in (None, "custom", "directory"):
        raise InvalidInput(f"format is {format!r}; use custom or directory.")

    async def work(backups: Backups) -> Entry:
        wish = backups.wish(label)
        chosen = format or wish.format
        count = jobs or (backups.settings.backup_jobs if chosen == "directory" else 1)
        wish = replace(
            wish,
            format="directory" if chosen == "directory" else "custom",
            jobs=count,
            compression=compression or wish.compression,
            encrypt=encrypt or wish.encrypt,
        )
        entry = await backups.create(wish, verify=verify)
        return await backups.push(entry.name) if push and entry.verdict == "verified" else entry

    _show(with_backups("Making a backup", work), as_json, judge=verify)


@app.add
def list_(
    remote: Annotated[bool, Option(help="Ask the destination what it has.")] = False,
    as_json: AsJson = False,
) -> None:
    """List backups, newest first, with their verdicts."""
    from aegis.cli.backup_render import show_entries
    from aegis.cli.render import line, show_json

    if remote:
        names = with_backups("Asking", lambda backups: backups.remote())
        if as_json:
            show_json({"items": names})
        for name in () if as_json else names:
            line(name)
        return
    show_entries(with_backups("Reading", lambda backups: backups.list()), as_json)


@app.add
def show(name: Name = "latest", as_json: AsJson = False) -> None:
    """Show one backup: what is in it, what was looked at, where copies are."""
    from aegis.cli.backup_render import show_entry

    show_entry(with_backups("Reading", lambda backups: backups.get(name)), as_json)


@app.add
def status(as_json: AsJson = False) -> None:
    """Show what doctor's checks say of the folder of backups; status 9 if one is critical."""
    from aegis.cli.backup_render import show_checks
    from aegis.ops.health.of_backups import check_backups

    show_checks(with_backups("Reading", check_backups), as_json)


@app.add
def verify(
    name: Name = "latest",
    full: Annotated[
        bool, Option(help="Restore it into a throw-away server and compare every table.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look whether a backup is good; status 9 unless it is verified."""
    entry = with_backups("Verifying", lambda backups: backups.verify(name, full=full))
    _show(entry, as_json, judge=True)


@app.add
def restore(
    source: Annotated[
        str, Argument(metavar="BACKUP|FILE", help="A backup, `latest`, or a file of pg_dump -Fc.")
    ],
    into: Annotated[
        str | None, Option(help="Name of the new database; one is made up if left out.")
    ] = None,
    in_place: Annotated[
        bool, Option(help="Take the place of the database that is there, which is kept.")
    ] = False,
    table: Annotated[list[str] | None, Option(help="Only this table; may be repeated.")] = None,
    with_references: Annotated[
        bool, Option(help="Bring the tables that the chosen ones refer to.")
    ] = False,
    no_owner: Annotated[bool, Option(help="Leave owners and grants out.")] = False,
    jobs: Annotated[int | None, Option(help="Processes that restore.")] = None,
    dry_run: Annotated[bool, Option(help="Show the plan and do nothing.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Restore a backup: beside the database, or in its place once all rows were compared."""
    from aegis.cli.backup_render import plan_text, show_plan, show_restored
    from aegis.cli.running import confirm
    from aegis.errors import Conflict
    from aegis.ops.restore.models import Plan, Restored, Wanted

    path = Path(source)
    what: str | Path = path if "/" in source or path.suffix == ".dump" else source

    def wanted(backups: Backups) -> Wanted:
        return Wanted(
            into=into,
            in_place=in_place,
            tables=None if table is None else tuple(table),
            with_references=with_references,
            no_owner=no_owner,
            jobs=jobs or backups.settings.backup_jobs,
        )

    async def look(backups: Backups) -> Plan:
        return await backups.plan_restore(what, wanted(backups))

    async def work(backups: Backups) -> Restored:
        return await backups.restore(what, wanted(backups))

    plan = with_backups("Looking", look)
    if dry_run:
        show_plan(plan, as_json)
        return
    if plan.problems:
        raise Conflict(f"Nothing was restored: {'; '.join(plan.problems)}.", code="restore_refused")
    confirm(plan_text(plan), yes=yes)
    show_restored(with_backups("Restoring", work), as_json)


@app.add
def prune(yes: Yes = False, as_json: AsJson = False) -> None:
    """Show what is too old to keep, and with --yes remove it, here and at the destination."""
    from aegis.cli.backup_render import show_pruned

    async def work(backups: Backups) -> Any:
        return await (backups.prune() if yes else backups.plan_prune())

    show_pruned(with_backups("Pruning", work), as_json, done=yes)


@app.add
def hold(
    name: Annotated[str, Argument(metavar="BACKUP")],
    reason: Annotated[str | None, Option(help="Why it has to stay.")] = None,
    release: Annotated[bool, Option(help="Let it go again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Keep a backup from being pruned."""
    from aegis.errors import InvalidInput

    if release == (reason is not None):
        raise InvalidInput("Give either --reason or --release.")
    _show(with_backups("Holding", lambda backups: backups.hold(name, reason)), as_json)


@app.add
def push(name: Name = "latest", as_json: AsJson = False) -> None:
    """Copy a backup to the destination; it counts once it was read back and compared."""
    _show(with_backups("Copying", lambda backups: backups.push(name)), as_json)


@app.add
def pull(name: Annotated[str, Argument(metavar="BACKUP")], as_json: AsJson = False) -> None:
    """Fetch a backup from the destination."""
    _show(with_backups("Fetching", lambda backups: backups.pull(name)), as_json)


@app.add
def drill(
    name: Name = "latest",
    remote: Annotated[bool, Option(help="Recover from the copy elsewhere.")] = False,
    history: Annotated[bool, Option(help="Show earlier drills, and make none.")] = False,
    as_json: AsJson = False,
) -> None:
    """Time a full recovery into a throw-away server: how long, and how much would be lost."""
    from aegis.cli.backup_render import show_drills
    from aegis.errors import OpsError

    if history:
        show_drills(with_backups("Reading", lambda backups: backups.drills()), as_json)
        return
    done = with_backups("Drilling", lambda backups: backups.drill(name, remote=remote))
    show_drills([done], as_json)
    if done.verdict != "verified":
        raise OpsError(f"The drill failed: {done.detail}", code="backup_failed")


@app.add
def key() -> None:
    """Print a new key for AEGIS_BACKUP_KEYS; keep it where the backups are not."""
    from aegis.cli.render import line
    from aegis.ops.backup.crypto import new_key

    line(new_key())


@app.add
def rekey(as_json: AsJson = False) -> None:
    """Wrap the data keys of all backups here by the newest of AEGIS_BACKUP_KEYS."""
    from aegis.cli.render import line, show_json

    changed = with_backups("Wrapping keys", lambda backups: backups.rekey())
    if as_json:
        show_json({"changed": changed})
    else:
        line(f"{changed} backups have the newest key now; push them again to change their copies.")


def _show(entry: Entry, as_json: bool, *, judge: bool = False) -> None:
    from aegis.cli.backup_render import show_entry
    from aegis.errors import OpsError

    show_entry(entry, as_json)
    if judge and entry.verdict != "verified":
        looks = [look for look in (entry.state.full, entry.state.fast) if look is not None]
        problem = entry.damage or next((look.problem for look in looks if look.problem), "")
        raise OpsError(
            f"The backup {entry.name} is {entry.verdict.replace('_', ' ')}: {problem}",
            code="backup_failed" if entry.verdict == "failed" else "backup_not_verified",
        )
