"""What is known of encrypted columns, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = [
    "ColumnPlan",
    "ColumnState",
    "ColumnStatus",
    "Damaged",
    "EncryptedColumn",
    "Forms",
    "Verified",
]

#: `encrypting`: clear values are left; `decrypting`: encrypted ones are, and new ones are clear.
ColumnState = Literal["encrypting", "encrypted", "decrypting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptedColumn:
    """A row of `encrypted_columns`; a column without one is clear."""

    table_name: str
    column_name: str
    state: ColumnState
    #: Key that new values are encrypted with.
    key_id: str
    #: Keys that values may still be encrypted with.
    older_keys: Sequence[str]
    began_at: datetime
    changed_at: datetime
    verified_at: datetime | None
    clear_values: int | None
    damaged_values: int | None

    @property
    def name(self) -> str:
        """`table.column`."""
        return f"{self.table_name}.{self.column_name}"

    @property
    def writes_sealed(self) -> bool:
        """Whether what is written now is encrypted."""
        return self.state != "decrypting"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnStatus:
    """A column that may be encrypted, and whether it is."""

    column: str
    #: None for clear.
    state: ColumnState | None
    #: Whether equality is searched by a keyed hash.
    searchable: bool
    #: Columns that are encrypted with it, as they hold copies.
    copies: Sequence[str]
    key_id: str | None
    older_keys: Sequence[str]
    #: Keys of these that are not in the ring here: their values cannot be read.
    missing_keys: Sequence[str]
    verified_at: datetime | None
    clear_values: int | None
    damaged_values: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forms:
    """How many values of a column have which form."""

    clear: int
    sealed: int
    #: Of `sealed`, those of another key than the one asked for.
    other_key: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnPlan:
    """What would be done to one column."""

    column: str
    state: ColumnState | None
    action: Literal["encrypt", "decrypt", "rotate", "none"]
    #: Values that would be written.
    values: int
    key_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """A value that cannot be read."""

    row: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What decrypting every value of a column has shown."""

    column: str
    state: ColumnState
    #: Values that decrypted, by the id of their key.
    by_key: dict[str, int]
    #: Values that are clear, and should not be where the state is `encrypted`.
    clear: int
    damaged: int
    #: The first of them.
    examples: Sequence[Damaged]

    @property
    def good(self) -> bool:
        """Whether every value is as it should be."""
        return not self.damaged and not (self.state == "encrypted" and self.clear)
