"""Column types, the shared metadata, and the columns that many tables have."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import BigInteger, Column, Integer, MetaData, text
from sqlalchemy.dialects.postgresql import TIMESTAMP, UUID
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

__all__ = [
    "TIMESTAMPTZ",
    "Vector",
    "bigserial_id",
    "metadata",
    "serial_id",
    "timestamp_now",
    "uuid_id",
]

metadata = MetaData()

TIMESTAMPTZ = TIMESTAMP(timezone=True)


class Vector(UserDefinedType[str]):
    """pgvector's `vector`, with or without a number of dimensions."""

    cache_ok = True

    def __init__(self, dimensions: int | None = None) -> None:
        self.dimensions = dimensions

    def get_col_spec(self, **_: Any) -> str:
        """Return the type as PostgreSQL prints it."""
        return "vector" if self.dimensions is None else f"vector({self.dimensions})"


# Reflection asks this table what a column's type is; SQLAlchemy does not know pgvector.
known: dict[str, Any] = cast("dict[str, Any]", ischema_names)
known["vector"] = Vector


def serial_id() -> Column[Any]:
    """Return `id SERIAL PRIMARY KEY`."""
    return Column("id", Integer, primary_key=True)


def bigserial_id() -> Column[Any]:
    """Return `id BIGSERIAL PRIMARY KEY`."""
    return Column("id", BigInteger, primary_key=True)


def uuid_id() -> Column[Any]:
    """Return `id UUID PRIMARY KEY DEFAULT uuid_generate_v4()`."""
    return Column("id", UUID, primary_key=True, server_default=text("uuid_generate_v4()"))


def timestamp_now(name: str, *, nullable: bool = True) -> Column[Any]:
    """Return a time whose default is the start of the inserting transaction."""
    return Column(name, TIMESTAMPTZ, nullable=nullable, server_default=text("now()"))
