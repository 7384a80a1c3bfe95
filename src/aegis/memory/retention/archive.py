"""What is known of an archive (`memory_archives`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["KINDS", "TABLES", "Archive", "ArchiveKind", "ArchiveReason", "ArchiveState"]

ArchiveKind = Literal["episode", "fact"]
ArchiveReason = Literal["decay", "expired"]
#: `writing`: the rows are still in their table; `complete`: in the file alone; `restored`: back.
ArchiveState = Literal["writing", "complete", "restored"]

KINDS: tuple[ArchiveKind, ...] = ("episode", "fact")
TABLES: dict[str, str] = {"episode": "episodic_memory", "fact": "semantic_memory"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A Parquet file that holds what was forgotten."""

    id: int
    namespace: str
    kind: ArchiveKind
    reason: ArchiveReason
    state: ArchiveState
    #: On the machine that wrote it.
    path: str
    rows: int
    size_bytes: int
    #: Of the file, and of the rows' values; hexadecimal.
    sha256: str | None
    digest: str | None
    #: Time of the oldest and of the newest row.
    oldest_at: datetime | None
    newest_at: datetime | None
    started_at: datetime
    completed_at: datetime | None
    restored_at: datetime | None
