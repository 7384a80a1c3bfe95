"""How Alembic compares a database with `schema.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["COMPARISON", "drift"]

COMPARISON: Final[dict[str, Any]] = {"compare_type": True}


def drift(connection: sa.Connection) -> list[str]:
    """Return how the database differs from `schema.metadata`."""
    raise NotImplementedError
