"""Removing what retention lets go, here and elsewhere.

A verdict is of the day it was found, and files rot afterwards. So before a good backup goes, the
newest one that stays is read once more; where it is bad by now, that is noted, and chosen anew.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from aegis.errors import OpsError
from aegis.ops.backup.copying import drop_copy
from aegis.ops.backup.reading import check_files, summary, timed_check
from aegis.ops.backup.retention import Candidate, Choice, choose

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.ops.backup.catalogue import Catalogue
    from aegis.ops.backup.destinations.place import Destination
    from aegis.ops.backup.models import Entry

__all__ = ["Pruned", "plan_prune", "prune"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What becomes of one backup in one place."""

    place: Literal["local", "remote"]
    choice: Choice
    #: Whether it is gone now; False in a plan, and where somebody reads it.
    done: bool


def plan_prune(catalogue: Catalogue, settings: Settings) -> list[Pruned]:
    """Return what would go and what stays, with the reasons; changes nothing."""
    entries = [entry for entry in catalogue.entries() if entry.manifest is not None]
    here = [_candidate(e, settings, here=True) for e in entries if e.local]
    there = [_candidate(e, settings, here=False) for e in entries if e.state.copies]
    least = settings.backup_keep_at_least
    local = choose(here, keep=timedelta(days=settings.backup_keep_days), at_least=least)
    remote = choose(there, keep=timedelta(days=settings.backup_keep_remote_days), at_least=least)
    return [Pruned(place="local", choice=choice, done=False) for choice in local] + [
        Pruned(place="remote", choice=choice, done=False) for choice in remote
    ]


def _candidate(entry: Entry, settings: Settings, *, here: bool) -> Candidate:
    manifest = entry.manifest
    assert manifest is not None
    alone = here and settings.backup_destination is not None and not entry.state.copies
    return Candidate(
        name=entry.name,
        number=manifest.number,
        at=manifest.snapshot_at,
        verdict=entry.verdict,
        level=entry.level,
        hold=entry.state.hold,
        needed="it has no copy elsewhere yet" if alone and entry.verdict != "failed" else None,
    )


def prune(catalogue: Catalogue, settings: Settings, place: Destination | None) -> list[Pruned]:
    """Remove what may go and return what became of each; copies only where `place` is given.

    Raises:
        OpsError: `backup_unreadable`, the newest good one cannot be read now: nothing goes.
    """
    done: list[Pruned] = []
    # A place that is slow is no reason not to make the next backup.
    with catalogue.alone() if place is None else catalogue.pruning():
        for item in _sure_plan(catalogue, settings):
            if not item.choice.goes or (item.place == "remote" and place is None):
                done.append(item)
                continue
            entry = catalogue.get(item.choice.name)
            if item.place == "local":
                gone = _remove(catalogue, entry, settings, place)
            else:
                assert place is not None
                gone = any(c.destination == place.title for c in entry.state.copies)
                if gone:
                    drop_copy(catalogue, entry, place)
            done.append(Pruned(place=item.place, choice=item.choice, done=gone))
    return done


def _sure_plan(catalogue: Catalogue, settings: Settings) -> list[Pruned]:
    """Return the plan once the newest good backup that stays is good by its files, too."""
    while True:
        plan = plan_prune(catalogue, settings)
        here = [catalogue.get(p.choice.name) for p in plan if p.place == "local"]
        goes = {p.choice.name for p in plan if p.place == "local" and p.choice.goes}
        if not any(e.verdict != "failed" for e in here if e.name in goes):
            return plan
        stays = next((e for e in here if e.name not in goes and e.verdict == "verified"), None)
        if stays is None or _reads_well(catalogue, stays):
            return plan


def _reads_well(catalogue: Catalogue, entry: Entry) -> bool:
    """Compare the files of a backup with its manifest; note it where they differ."""
    began = time.monotonic()
    manifest = entry.manifest
    assert manifest is not None
    with catalogue.in_use(entry):
        found = timed_check("files", lambda: check_files(entry.path, manifest))
    if found.verdict == "not_verified":
        raise OpsError(
            f"Nothing was pruned: {entry.name}, the newest good backup, cannot be read now: "
            f"{found.detail}.",
            code="backup_unreadable",
        )
    if found.verdict == "failed":
        catalogue.note_verification(entry.name, summary([found], "fast", began))
    return found.verdict == "verified"


def _remove(
    catalogue: Catalogue, entry: Entry, settings: Settings, place: Destination | None
) -> bool:
    """Remove a backup's files here; of one that has no copy, what an upload of it left, too."""
    if settings.backup_destination is not None and not entry.state.copies:
        if place is None:
            return False
        for name in place.files(entry.name):
            place.forget(name.removesuffix(".part"))
    return catalogue.remove(entry, keep_entry=bool(entry.state.copies))
