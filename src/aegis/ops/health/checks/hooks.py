"""Whether what agents' hooks report reaches the database."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from aegis.config import spool_folder
from aegis.ops.health.looking import check, seconds, size
from aegis.ops.health.models import CouldNotCheck, Limits, Seen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from aegis.db import Connection
    from aegis.ops.health.models import Ask

__all__ = ["CHECKS"]

#: Lines that no database takes; everything else in the folder waits to be written.
_REJECTED: Final = "rejected.jsonl"
_MOST_LINE: Final = 100_000


@check(
    "hook-spool",
    "data",
    "Events of agents' hooks that wait on this machine",
    means="What agents do is not in the database: sessions stand still, none is remembered.",
    advice="`aegis up` writes them as they come; `aegis sessions sweep` says why it cannot.",
    limits=Limits(warning=1, critical=24),
    unit="hours",
)
async def hook_spool(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say since when the oldest event waits, and whether events were put aside."""
    del conn
    folder = spool_folder(ask.settings.data_dir, ask.settings.database_url)
    try:
        return await asyncio.to_thread(_look, folder, ask.now)
    except FileNotFoundError:
        # It was written a moment ago.
        return []
    except OSError as error:
        raise CouldNotCheck(f"{folder} cannot be read ({error.strerror})") from error


def _look(folder: Path, now: datetime) -> list[Seen]:
    if not folder.is_dir():
        return []
    files = [file for file in folder.glob("[!.]*.jsonl") if file.stat().st_size]
    waiting = [file for file in files if file.name != _REJECTED]
    seen: list[Seen] = []
    if waiting:
        age_s = max(0.0, now.timestamp() - min(_first_at(file) for file in waiting))
        held = sum(file.stat().st_size for file in waiting)
        seen.append(
            Seen(
                object=str(folder),
                observed=f"{size(held)}, the oldest {seconds(age_s)} old",
                value=age_s / 3_600,
                fix="aegis sessions sweep",
            )
        )
    rejected = folder / _REJECTED
    if rejected in files:
        with rejected.open("rb") as lines:
            count = sum(1 for _ in lines)
        seen.append(
            Seen(
                object=str(rejected),
                observed=f"{count} events that no database takes; each says why",
                state="warning",
                fix=f"less {rejected}",
            )
        )
    return seen


def _first_at(file: Path) -> float:
    """Return when the oldest event of a file happened; of one that is torn, when it was written."""
    with file.open("rb") as lines:
        line = lines.readline(_MOST_LINE)
    try:
        event: Any = json.loads(line)
        return float(event["at"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return file.stat().st_mtime


CHECKS = (hook_spool,)
