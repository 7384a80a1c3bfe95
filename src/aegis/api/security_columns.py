"""`/v1/security/columns`: which columns are encrypted; changing that is the command line's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from aegis.api.route import Router
from aegis.api.shapes import Answer
from aegis.api.state import ClientOf, answer
from aegis.security.columns.models import ColumnState

__all__ = ["router"]

router = Router(prefix="/v1/security", tags=["security"])


class EncryptableColumn(Answer):
    """A column that may be encrypted; `state` is null where it is clear."""

    column: str
    state: ColumnState | None
    searchable: bool
    copies: list[str]
    key_id: str | None
    older_keys: list[str]
    missing_keys: list[str]
    verified_at: datetime | None
    clear_values: int | None
    damaged_values: int | None


class EncryptableColumns(Answer):
    """Columns that may be encrypted, and the ids of the keys that are here."""

    keys: list[str]
    items: list[EncryptableColumn]


@router.get("/columns", response_model=EncryptableColumns)
async def list_columns(client: ClientOf) -> Any:
    """List columns that may be encrypted, which are, and whether their keys are here."""
    items = await client.encryption.list()
    return answer({"keys": client.encryption.keys.ring().ids, "items": items})
