"""What adoption thinks: how a table that was found compares with the first revision.

Missing indexes and tables can be created, what the owner added can stay; anything else differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.db.revision import SchemaStatus
    from aegis.db.shape import TableShape

__all__ = ["SET_ASIDE", "UNPUBLISHED", "AdoptionReport", "TableReport", "compare_table"]

#: The table whose columns were never published: its owner's may look like anything.
UNPUBLISHED: Final = "infra_anomaly_alerts"

#: Schema that `adopt(set_aside=True)` moves such a table to, with its rows, indexes and sequence.
SET_ASIDE: Final = "aegis_set_aside"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableReport:
    """How one table compares with the first revision."""

    name: str
    #: `missing` will be created; `differs` forbids adoption.
    state: Literal["same", "missing", "differs"]
    #: What forbids adoption.
    differences: tuple[str, ...] = ()
    #: What will be created, renamed, or left as the owner made it.
    notes: tuple[str, ...] = ()
    #: Indexes to create, by name.
    missing_indexes: tuple[str, ...] = ()
    #: Indexes that exist under another name, and the name they get.
    renamed_indexes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptionReport:
    """What `inspect` found, and so what `adopt` would do."""

    status: SchemaStatus
    #: In the order of the first revision.
    tables: tuple[TableReport, ...] = ()
    #: What forbids adoption and belongs to no one table.
    differences: tuple[str, ...] = ()
    #: What the operator should know, such as an old pgvector.
    notes: tuple[str, ...] = ()
    #: The owner's own tables; left alone.
    extra_tables: tuple[str, ...] = ()

    @property
    def adoptable(self) -> bool:
        """Return whether nothing forbids adoption."""
        return not any(self.all_differences())

    def all_differences(self) -> Iterator[str]:
        """Yield everything that forbids adoption, a line each."""
        yield from self.differences
        for table in self.tables:
            yield from (f"{table.name}: {line}" for line in table.differences)


def compare_table(wanted: TableShape, found: TableShape | None) -> TableReport:
    """Return how the table `found` compares with the first revision's; None if there is none."""
    if found is None:
        return TableReport(name=wanted.name, state="missing", notes=("will be created",))
    differences = [*_column_differences(wanted, found), *_constraint_differences(wanted, found)]
    if differences and wanted.name == UNPUBLISHED:
        differences.append(
            "its columns were never published, so this one is its owner's; "
            "`aegis db adopt --set-aside` moves it, with its rows, to the schema " + SET_ASIDE
        )
    missing, renamed, notes = _index_plan(wanted, found)
    notes += [
        f"column {name} is the owner's and stays"
        for name in found.columns
        if name not in wanted.columns
    ]
    return TableReport(
        name=wanted.name,
        state="differs" if differences else "same",
        differences=tuple(differences),
        notes=tuple(notes),
        missing_indexes=tuple(missing),
        renamed_indexes=tuple(renamed),
    )


def _column_differences(wanted: TableShape, found: TableShape) -> Iterator[str]:
    for name, column in wanted.columns.items():
        actual = found.columns.get(name)
        if actual is None:
            yield f"column {name} {column.type} is missing"
        elif actual != column:
            yield f"column {name} is {actual}, expected {column}"
    ours = _later_columns(wanted.name)
    for name, column in found.columns.items():
        if name in wanted.columns:
            continue
        if name in ours:
            yield f"column {name} has a name that a later revision adds; rename yours"
        elif not column.nullable and column.default is None:
            yield f"column {name} is extra and must be given a value; give it a default"


def _constraint_differences(wanted: TableShape, found: TableShape) -> Iterator[str]:
    actual = set(found.constraints.values())
    for definition in wanted.constraints.values():
        if definition not in actual:
            yield f"constraint {definition} is missing"
    for name in found.constraints:
        if name.startswith("ck_") and name in _later_constraints(wanted.name):
            yield f"constraint {name} has a name that a later revision adds; rename yours"


def _index_plan(
    wanted: TableShape, found: TableShape
) -> tuple[list[str], list[tuple[str, str]], list[str]]:
    """Return the indexes to create, those to rename, and a line for each."""
    missing: list[str] = []
    renamed: list[tuple[str, str]] = []
    notes: list[str] = []
    spare = dict(found.indexes)
    for name, definition in wanted.indexes.items():
        if name in spare:
            if spare.pop(name) != definition:
                notes.append(f"index {name} is defined otherwise and stays")
            continue
        twin = next((other for other, text in spare.items() if text == definition), None)
        if twin is None:
            missing.append(name)
            notes.append(f"index {name} will be created")
        else:
            del spare[twin]
            renamed.append((twin, name))
            notes.append(f"index {twin} will be called {name}")
    return missing, renamed, notes


def _later_columns(table: str) -> set[str]:
    from aegis.db.schema import metadata

    return set(metadata.tables[table].columns.keys())


def _later_constraints(table: str) -> set[str]:
    from aegis.db.schema import metadata

    return {str(constraint.name) for constraint in metadata.tables[table].constraints}
