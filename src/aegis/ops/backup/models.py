"""What a backup says of itself: the manifest, written once; its state, which changes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "Check",
    "Copy",
    "Drill",
    "Entry",
    "FileEntry",
    "Format",
    "Level",
    "Manifest",
    "State",
    "TableEntry",
    "Verdict",
    "Verification",
]

#: `not_verified` is no verdict on the backup: it could not be looked at, or not yet. An alarm too.
Verdict = Literal["verified", "failed", "not_verified"]
#: `fast` read every byte; `full` restored it into a throw-away server.
Level = Literal["fast", "full"]
Format = Literal["custom", "directory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file as it is stored, encrypted if the backup is."""

    #: Path below the backup's folder, with `/`.
    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableEntry:
    """One table as the snapshot saw it."""

    schema: str
    name: str
    rows: int
    #: Sum of the hashes of all rows, see `digest.py`.
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup contains; sealed when it is made and never changed."""

    name: str
    #: Rises by one with each backup of this folder: order that no clock can turn round.
    number: int
    label: str
    database: str
    format: Format
    #: As pg_dump takes it, such as `zstd:1`.
    compression: str
    jobs: int
    encrypted: bool
    server_version: str
    server_version_num: int
    #: Of the pg_dump that wrote it, such as 18.
    client_major: int
    aegis_version: str
    schema_revision: str | None
    started_at: datetime
    #: Everything committed before is in it, nothing after.
    snapshot_at: datetime
    finished_at: datetime
    #: Size of the database, bytes.
    database_bytes: int
    large_objects: int
    digest_method: str
    files: tuple[FileEntry, ...]
    tables: tuple[TableEntry, ...]
    #: Name to version.
    extensions: dict[str, str]
    #: Roles that own something or were granted something.
    roles: tuple[str, ...]
    #: `encoding`, `collate`, `ctype`, `provider`, `locale`, and `settings`: a list of `name=value`.
    properties: dict[str, Any]
    #: Seconds by step.
    timings: dict[str, float]
    #: Where the audit log stood, signed; None without one, and in backups of before there were any.
    audit_anchor: dict[str, Any] | None = None

    @property
    def bytes(self) -> int:
        """Return the size of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def rows(self) -> int:
        """Return the number of rows of all tables."""
        return sum(table.rows for table in self.tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that a verification looked at."""

    name: str
    verdict: Verdict
    #: What was found, one line.
    detail: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The outcome of looking at a backup."""

    verdict: Verdict
    level: Level
    at: datetime
    seconds: float
    checks: tuple[Check, ...]

    @property
    def problem(self) -> str | None:
        """Return the first finding that is not as it should be."""
        return next((f"{c.name}: {c.detail}" for c in self.checks if c.verdict != "verified"), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A copy elsewhere that was read back and found equal."""

    #: Address without secrets.
    destination: str
    pushed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What changes about a backup."""

    #: The last fast look, and the last restore into a throw-away server.
    fast: Verification | None = None
    full: Verification | None = None
    #: Why it may not be pruned; None where it may.
    hold: str | None = None
    copies: tuple[Copy, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A backup of the catalogue."""

    name: str
    path: Path
    #: None where the manifest itself is damaged; `damage` then says how.
    manifest: Manifest | None
    damage: str | None = None
    state: State = field(default_factory=State)
    #: Whether its files are here; otherwise only a copy elsewhere has them.
    local: bool = True

    @property
    def verdict(self) -> Verdict:
        """Return the verdict on it: a failure of either kind is one."""
        if self.manifest is None:
            return "failed"
        looks = [look for look in (self.state.fast, self.state.full) if look is not None]
        if not looks:
            return "not_verified"
        newest = max(looks, key=lambda look: look.at)
        if newest.verdict != "not_verified":
            return newest.verdict
        # It could not be looked at this time; what an earlier look found still stands.
        return "failed" if any(look.verdict == "failed" for look in looks) else "not_verified"

    @property
    def level(self) -> Level | None:
        """Return the deepest look that verified it, None where none did."""
        if self.verdict != "verified":
            return None
        full = self.state.full
        return "full" if full is not None and full.verdict == "verified" else "fast"

    @property
    def problem(self) -> str | None:
        """Return why it is not verified, None where it is or nobody looked."""
        if self.verdict == "verified":
            return None
        looks = [look for look in (self.state.fast, self.state.full) if look is not None]
        # What failed says more than what could not be looked at later.
        looks.sort(key=lambda look: (look.verdict == "failed", look.at), reverse=True)
        return self.damage or next((look.problem for look in looks if look.problem), None)

    @property
    def proven_at(self) -> datetime | None:
        """Return when it was restored on trial and found good, None where it was not."""
        return self.state.full.at if self.level == "full" and self.state.full else None

    def with_state(self, state: State) -> Entry:
        """Return the same entry in another state."""
        return replace(self, state=state)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """One recovery that was timed from the backup to a database that answers."""

    backup: str
    started_at: datetime
    verdict: Verdict
    #: Seconds until Aegis answered from the restored database (recovery time).
    rto_s: float
    #: Seconds of work that would have been lost at that moment (recovery point).
    rpo_s: float
    #: Where it was taken from: `local`, or a destination.
    source: str
    detail: str
    #: Seconds by step.
    timings: dict[str, float]
