"""Removing what retention lets go, here and elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from aegis.ops.backup.copying import drop_copy
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
    """Remove what may go and return what became of each; copies only where `place` is given."""
    done: list[Pruned] = []
    with catalogue.alone():
        for item in plan_prune(catalogue, settings):
            if not item.choice.goes or (item.place == "remote" and place is None):
                done.append(item)
                continue
            entry = catalogue.get(item.choice.name)
            if item.place == "local":
                gone = catalogue.remove(entry, keep_entry=bool(entry.state.copies))
            else:
                assert place is not None
                gone = any(c.destination == place.title for c in entry.state.copies)
                if gone:
                    drop_copy(catalogue, entry, place)
            done.append(Pruned(place=item.place, choice=item.choice, done=gone))
    return done
