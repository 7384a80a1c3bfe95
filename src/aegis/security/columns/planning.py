"""What is to be done to which columns; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.errors import Conflict
from aegis.security.columns.catalogue import CATALOGUE, find_column, with_copies
from aegis.security.columns.models import ColumnPlan, ColumnStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.security.columns.catalogue import Sealable
    from aegis.security.columns.models import EncryptedColumn

__all__ = ["chosen_for", "plan_of", "refuse_look_alikes", "status_of"]


def chosen_for(
    action: str,
    names: Sequence[str],
    known: dict[str, EncryptedColumn],
    all_columns: bool,
) -> list[Sealable]:
    """Return the columns that an action is about, those that hold copies among them.

    Raises:
        InvalidInput: `column_not_encryptable`.
        Conflict: `column_has_original`.
    """
    if all_columns:
        return [*CATALOGUE] if action == "enable" else [find_column(name) for name in known]
    if action == "enable":
        return [*with_copies(names)]
    chosen = {name: find_column(name) for name in names}
    for entry in CATALOGUE:
        stays = entry.name in known and entry.name not in chosen
        for copy in entry.copies if stays else ():
            if copy in chosen and known[entry.name].writes_sealed:
                raise Conflict(
                    f"{copy} holds copies of {entry.name}, which is encrypted; decrypt that "
                    "one, too.",
                    code="column_has_original",
                )
    return [*chosen.values()]


def refuse_look_alikes(entry: Sealable, column: EncryptedColumn | None, sealed: int) -> None:
    """Refuse to take values for encrypted ones that nobody encrypted."""
    if column is None and sealed:
        raise Conflict(
            f"{sealed} value(s) of {entry.name} begin with 'aegis:v1:' though it is not encrypted. "
            "Either they came with rows of an encrypted database, then bring its row of "
            "encrypted_columns, too, or somebody typed them, then change them.",
            code="column_looks_encrypted",
        )


def status_of(entry: Sealable, column: EncryptedColumn | None, here: Sequence[str]) -> ColumnStatus:
    """Return what is shown of a column; `here` are the keys of the ring."""
    keys = () if column is None else (column.key_id, *column.older_keys)
    return ColumnStatus(
        column=entry.name,
        state=column.state if column else None,
        searchable=entry.hash_column is not None,
        copies=entry.copies,
        key_id=column.key_id if column else None,
        older_keys=column.older_keys if column else (),
        missing_keys=[key for key in keys if key not in here],
        verified_at=column.verified_at if column else None,
        clear_values=column.clear_values if column else None,
        damaged_values=column.damaged_values if column else None,
    )


def plan_of(
    action: str, entry: Sealable, column: EncryptedColumn | None, clear: int, sealed: int
) -> ColumnPlan:
    """Return what an action would do to a column of so many values."""
    what, count = {
        "enable": ("encrypt", clear),
        "disable": ("decrypt", sealed),
        "rotate": ("rotate", clear + sealed),
    }[action]
    if action == "disable" and column is None:
        what, count = "none", 0
    return ColumnPlan(
        column=entry.name,
        state=column.state if column else None,
        action=what,  # pyright: ignore[reportArgumentType]
        values=count,
        key_id=column.key_id if column else None,
    )
