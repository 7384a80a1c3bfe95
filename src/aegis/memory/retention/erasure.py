"""What is known of an erasure (`memory_erasures`), and what one would do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Erasure", "ErasureCheck", "ErasurePlan", "ErasureState", "Mention"]

ErasureState = Literal["running", "complete"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """A row that speaks of the subject."""

    table: str
    #: The key of the row: a number, or a namespace where rows are told by that.
    id: int | str
    #: Its first words.
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasurePlan:
    """What an erasure would delete."""

    #: The one namespace that is searched; None for all.
    namespace: str | None
    #: Rows by table.
    rows: dict[str, int]
    #: Rows of archives, by archive.
    archived: dict[int, int]
    #: Archives whose file is not to be read here.
    unreadable: list[int]
    #: Lines of our own log files.
    log_lines: int
    #: Lines that hooks spooled and that are not in the database yet, or were refused.
    spool_lines: int
    #: Transcripts of agents; they are theirs and stay, but are not read again.
    transcripts: int
    #: Rows outside of memory that speak of the subject, by table; they are not deleted.
    elsewhere: dict[str, int]
    #: Episodes among `rows` that are held, and deleted all the same.
    held: int
    #: Episodes among `rows` of which Graphiti has a copy, which its owner has to delete.
    graphiti_copies: int
    sample: list[Mention]


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """The proof of an erasure; nothing of what was deleted is in it."""

    id: int
    namespace: str | None
    state: ErasureState
    #: What is being done, or was when it was interrupted.
    stage: str
    #: HMAC-SHA256 of the subject's names.
    subject: str
    actor: str | None
    #: Rows deleted or cleared, by table; `archives`, `log_lines` and `spool_lines`, too.
    counts: dict[str, int]
    #: HMAC digests of the deleted rows' ids, by table.
    digests: dict[str, list[str]]
    #: Replaced archive files that are still to be removed.
    files: list[str]
    verification: dict[str, Any] | None
    #: HMAC-SHA256 of all of this.
    signature: str | None
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureCheck:
    """What a later look at an erasure found."""

    id: int
    #: The proof is as it was signed, nothing came back and nothing was found.
    ok: bool
    signature_ok: bool
    #: Whether the names were given, and texts searched for them.
    searched: bool
    #: Rows that speak of the subject now, by table.
    found: dict[str, int]
    #: Deleted rows that are there again, from a backup for instance, by table or archive.
    came_back: dict[str, int]
