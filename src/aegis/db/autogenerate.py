"""How Alembic compares a database with the metadata, and the comparison that leaves nothing out.

Alembic knows no operator class, no condition of a partial index and no check constraint. So `drift`
compares what the catalog prints; Alembic's own comparison serves `--autogenerate`, and has to
agree.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ENUM
from sqlalchemy.schema import CreateIndex, CreateTable

from aegis.db.schema import metadata
from aegis.db.shape import TableShape, read_shapes, scratch_schema

if TYPE_CHECKING:
    import psycopg

__all__ = ["COMPARISON", "alembic_differences", "drift"]

#: Vector indexes of models that the schema does not know are their builder's business, and how
#: densely one is linked is a choice (`aegis memory reindex`).
_OF_A_MODEL: Final = re.compile(
    r"idx_(episodic|semantic|store)_embedding_((m|spare)_[0-9a-f]{12}|\w+_new)$"
)
_DENSITY: Final = re.compile(r" WITH \(m='\d+', ef_construction='\d+'\)")


def _include_object(
    item: Any, _name: str | None, kind: str, reflected: bool, compare_to: Any
) -> bool:
    if kind == "table":
        # A table that is not ours is its owner's business.
        return not (reflected and compare_to is None)
    if kind == "column":
        # Alembic takes a number with a sequence of its own for SERIAL and forgets its default, and
        # a partitioned table's has to be written out; `drift` compares it.
        return (item.table.name, item.name) not in (
            ("api_usage_events", "id"),
            ("container_metrics", "id"),
        )
    if kind == "index":
        options = item.dialect_options["postgresql"]
        # Alembic cannot read expressions with an operator class back; `drift` compares these.
        return options["using"] != "hnsw"
    return True


#: Arguments of Alembic's `context.configure`.
COMPARISON: Final[dict[str, Any]] = {
    "compare_type": True,
    # Equal as text for ours, which are written as PostgreSQL prints them.
    "compare_server_default": True,
    "include_object": _include_object,
}


def drift(connection: sa.Connection) -> list[str]:
    """Return how the database differs from the metadata, one line each; empty means not at all."""
    conn: Any = connection.connection.driver_connection
    with connection.begin():
        found = read_shapes(conn, list(metadata.tables))
        wanted = _expected(connection, conn)
    lines = [line for name, shape in wanted.items() for line in _compare(shape, found.get(name))]
    return lines or alembic_differences(connection)


def alembic_differences(connection: sa.Connection) -> list[str]:
    """Return what Alembic itself would write into a new revision."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    context = MigrationContext.configure(connection, opts=COMPARISON)
    with warnings.catch_warnings():
        # Reflection warns about expressions in indexes, which are compared above.
        warnings.simplefilter("ignore")
        found: Any = compare_metadata(context, metadata)
    connection.rollback()
    return [str(difference) for difference in found]


def _expected(connection: sa.Connection, conn: psycopg.Connection) -> dict[str, TableShape]:
    """Create the metadata's tables for a moment and return what the server prints of them."""
    with scratch_schema(conn) as schema:
        for enum in _enums():
            enum.create(connection, checkfirst=False)
        has_halfvec = connection.scalar(sa.text("SELECT to_regtype('halfvec') IS NOT NULL"))
        for table in metadata.sorted_tables:
            connection.execute(CreateTable(table))
            for index in table.indexes:
                # pgvector before 0.7 has no halfvec; the migration leaves these indexes out too.
                if has_halfvec or not index.info.get("needs_halfvec"):
                    connection.execute(CreateIndex(index))
        return read_shapes(conn, list(metadata.tables), schema=schema)


def _enums() -> list[ENUM]:
    types = (column.type for table in metadata.sorted_tables for column in table.columns)
    return list({t.name: t for t in types if isinstance(t, ENUM)}.values())


def _without_density(part: Any) -> Any:
    return _DENSITY.sub("", part) if isinstance(part, str) else part


def _compare(wanted: TableShape, found: TableShape | None) -> list[str]:
    if found is None:
        return [f"table {wanted.name} is missing"]
    lines: list[str] = []
    parts = (
        ("column", wanted.columns, found.columns),
        ("constraint", wanted.constraints, found.constraints),
        ("index", wanted.indexes, found.indexes),
    )
    for kind, expected, actual in parts:
        for name in expected.keys() | actual.keys():
            what = f"{kind} {wanted.name}.{name}"
            if name not in actual:
                lines.append(f"{what} is missing")
            elif name not in expected and _OF_A_MODEL.match(name):
                continue
            elif name not in expected:
                lines.append(f"{what} is extra: {actual[name]}")
            elif expected[name] != _without_density(actual[name]):
                lines.append(f"{what} is {actual[name]}, expected {expected[name]}")
    return sorted(lines)
