"""A drill: the newest backup becomes a database that answers, and a clock runs beside it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aegis.ops.backup.catalogue import require_local
from aegis.ops.backup.models import Drill
from aegis.ops.backup.proving import verify_full

if TYPE_CHECKING:
    import threading
    from collections.abc import Awaitable, Callable

    from aegis.config import Settings
    from aegis.ops.backup.catalogue import Catalogue
    from aegis.ops.backup.crypto import KeyRing
    from aegis.ops.backup.models import Entry

__all__ = ["drill"]


def drill(
    catalogue: Catalogue,
    keys: KeyRing,
    settings: Settings,
    fetch: Callable[[], Entry],
    *,
    source: str,
    smoke: Callable[[str], Awaitable[str]] | None,
    stop: threading.Event | None = None,
    tell: Callable[[str, int, int], None] | None = None,
) -> Drill:
    """Time a recovery from nothing: fetch the backup, restore it, ask it; remember the figures.

    What would be lost is counted from the backup's snapshot to the beginning of the drill.
    """
    started = datetime.now(UTC)
    began = time.monotonic()
    entry = fetch()
    timings = {"fetch": round(time.monotonic() - began, 3)}
    answered: list[float] = []
    with catalogue.in_use(entry):
        found = verify_full(
            entry,
            keys,
            settings,
            smoke=smoke,
            stop=stop,
            tell=tell,
            ready=lambda: answered.append(time.monotonic()),
        )
    manifest = require_local(entry)
    timings |= {check.name: check.seconds for check in found.checks}
    done = Drill(
        backup=entry.name,
        started_at=started,
        verdict=found.verdict,
        rto_s=round((answered[0] if answered else time.monotonic()) - began, 3),
        rpo_s=round((started - manifest.snapshot_at).total_seconds(), 3),
        source=source,
        detail=found.problem or "recovered, compared, sound",
        timings=timings,
    )
    catalogue.note_verification(entry.name, found)
    catalogue.note_drill(done)
    return done
