"""What is to be restored, what that means, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

__all__ = ["Plan", "Restored", "Wanted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a restore is asked for."""

    #: Name of the new database; None for one named after the backup, or in place.
    into: str | None = None
    #: Take the place of the database that the backup is of (chosen tables: go into it).
    in_place: bool = False
    #: Only these tables, `schema.name` or of `public`; None for all.
    tables: tuple[str, ...] | None = None
    #: Bring what the tables refer to.
    with_references: bool = False
    #: Give everything to who restores, and leave grants out.
    no_owner: bool = False
    jobs: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a restore would do; nothing has been done yet."""

    source: str
    mode: Literal["new", "in_place", "tables_new", "tables_in_place"]
    #: Address without password.
    server: str
    #: Name of the database at the end.
    database: str
    #: What the database that is there now will be called; None where none is replaced.
    kept_as: str | None
    snapshot_at: datetime | None
    #: What is restored, one line each.
    steps: tuple[str, ...]
    #: What forbids it, one line each.
    problems: tuple[str, ...]
    #: What should be known.
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """How a restore ended."""

    database: str
    #: Where the database is that was there before; None if none was replaced.
    kept_as: str | None
    #: `verified` where counts and digests were compared with a manifest.
    verdict: Literal["verified", "not_verified"]
    detail: str
    #: Seconds by step: `load`, `analyze`, `compare`, `switch`.
    timings: dict[str, float]
