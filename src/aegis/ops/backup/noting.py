"""What the audit log is told of backups: files, which no transaction of the database holds.

So a row is written once the files are as it says. Backups are kept and removed without a database,
too: where there is none to write to, that is a line of the process's log.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from aegis.errors import AegisError
from aegis.security.audit.recording import make_note, record_now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.config import Settings
    from aegis.ops.backup.pruning import Pruned
    from aegis.ops.restore.running import Job
    from aegis.security.audit.recording import Note

__all__ = ["note_files", "noted_prune", "noted_restore", "noter_of"]


def note_files(address: Callable[[], str | None], settings: Settings, *notes: Note) -> None:
    """Write rows to the log of the database at `address`, if it is there."""
    if not notes:
        return
    try:
        dsn = address()
        if dsn is None or record_now(dsn, settings, *notes) is None:
            actions = ",".join(sorted({one.action for one in notes}))
            logging.getLogger("aegis.backup").warning("audit_not_written: %s", actions)
    except AegisError as error:
        logging.getLogger("aegis.backup").warning("audit_not_written: %s", error)


def noted_prune(done: Sequence[Pruned]) -> list[Note]:
    """Return what is to be said of backups that are gone."""
    return [
        make_note("backup.delete", "backup", one.choice.name, place=one.place)
        for one in done
        if one.done
    ]


def noted_restore(job: Job) -> Note:
    """Return what is to be said of a restore."""
    return make_note(
        "restore.run",
        "database",
        job.plan.database,
        backup=Path(job.source.name).name,
        mode=job.plan.mode,
        kept_as=job.plan.kept_as,
    )


def noter_of(job: Job, settings: Settings) -> Callable[[str], None]:
    """Return what writes into the log of a restored database, at an address, that it was."""
    made = noted_restore(job)

    def write(dsn: str) -> None:
        record_now(dsn, settings, made)

    return write
