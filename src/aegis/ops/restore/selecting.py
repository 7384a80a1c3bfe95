"""Choosing tables of an archive, with all that they need; pure.

A chosen table brings its partitions, columns' defaults, sequences, constraints, indexes, triggers
and comments, and the types and functions that those need. What its foreign keys refer to comes
along if that is wanted; otherwise it is named, and nothing is restored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from aegis.ops.restore.archive import Contents, Item

__all__ = ["Selection", "references", "select"]

_TABLES = ("TABLE",)
#: What belongs to a table and goes with it.
_PARTS = frozenset(
    {
        "TABLE DATA", "DEFAULT", "CONSTRAINT", "CHECK CONSTRAINT", "INDEX", "TRIGGER", "RULE",
        "POLICY", "ROW SECURITY", "COMMENT", "ACL", "SEQUENCE", "SEQUENCE OWNED BY",
        "SEQUENCE SET", "TABLE ATTACH", "INDEX ATTACH", "STATISTICS", "FK CONSTRAINT",
        "STATISTICS DATA",
    }
)  # fmt: skip
_ALWAYS = frozenset({"SCHEMA", "EXTENSION", "TYPE", "DOMAIN", "SHELL TYPE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Entries to restore, in the archive's order."""

    tables: tuple[Item, ...]
    items: tuple[Item, ...]
    #: The tables' rows: what others refer to first, since constraints that are there are asked.
    rows: tuple[Item, ...]

    def listing(self, kinds: Iterable[str] | None = None) -> str:
        """Return the list that pg_restore takes, of some kinds or of all."""
        wanted = None if kinds is None else frozenset(kinds)
        return "".join(
            f"{item.line}\n" for item in self.items if wanted is None or item.kind in wanted
        )

    def rows_listing(self) -> str:
        """Return the list for rows alone, in an order in which tables that are there take them."""
        return "".join(f"{item.line}\n" for item in self.rows)


def select(contents: Contents, names: Sequence[str], *, with_references: bool) -> Selection:
    """Return what has to be restored for the tables `names` (`schema.name`, or in `public`).

    Raises:
        InvalidInput: a table is not in the archive, or refers to others that were not chosen.
    """
    chosen = {item.id: item for item in (_find(contents, name) for name in names)}
    _add_partitions(contents, chosen)
    asked = sorted(item.title for item in chosen.values())
    missing = references(contents, chosen.values())
    while missing and with_references:
        chosen |= {item.id: item for item in missing}
        _add_partitions(contents, chosen)
        missing = references(contents, chosen.values())
    if missing:
        others = ", ".join(sorted(item.title for item in missing))
        raise InvalidInput(
            f"{', '.join(asked)} refer to {others}. Choose those too, or add --with-references.",
            code="restore_references",
        )
    tables = tuple(item for item in contents.items if item.id in chosen)
    items = _closure(contents, set(chosen))
    return Selection(tables=tables, items=items, rows=_in_order(contents, tables, items))


def references(contents: Contents, chosen: Iterable[Item]) -> list[Item]:
    """Return the tables that foreign keys of `chosen` refer to and that are not among them."""
    by_id = {item.id: item for item in contents.items}
    inside = {item.id for item in chosen}
    found: dict[int, Item] = {}
    for own, others in _keys(contents, by_id):
        if own.id in inside:
            found |= {t.id: t for t in others if t.id not in inside}
    return list(found.values())


def _keys(contents: Contents, by_id: dict[int, Item]) -> Iterator[tuple[Item, list[Item]]]:
    """Yield each table that has a foreign key, with what that refers to."""
    for item in contents.of_kind("FK CONSTRAINT"):
        tables = _tables_of(item, by_id)
        own = next((t for t in tables if item.name.startswith(f"{t.name} ")), None)
        if own is not None:
            yield own, [t for t in tables if t is not own]


def _in_order(
    contents: Contents, tables: Sequence[Item], items: Sequence[Item]
) -> tuple[Item, ...]:
    """Return the entries of rows, those of a table after those of the tables that it refers to."""
    by_id = {item.id: item for item in contents.items}
    whole = _wholes(contents, by_id)
    needs: dict[int, list[int]] = {}
    for own, others in _keys(contents, by_id):
        needs.setdefault(whole.get(own.id, own.id), []).extend(
            whole.get(other.id, other.id) for other in others
        )
    order: dict[int, None] = {}
    under_way: set[int] = set()

    def place(table: int) -> None:
        # Tables that refer to one another have no such order; any will do.
        if table not in under_way:
            under_way.add(table)
            for other in needs.get(table, ()):
                place(other)
            order[table] = None

    for table in tables:
        place(whole.get(table.id, table.id))
    rank = {table: number for number, table in enumerate(order)}
    names = {(t.schema, t.name): rank[whole.get(t.id, t.id)] for t in tables}
    rows = [item for item in items if item.kind == "TABLE DATA"]
    return tuple(sorted(rows, key=lambda item: names.get((item.schema, item.name), len(rank))))


def _wholes(contents: Contents, by_id: dict[int, Item]) -> dict[int, int]:
    """Return, of each partition, the id of the table whose keys hold for its rows."""
    above: dict[int, int] = {}
    for item in contents.of_kind("TABLE ATTACH"):
        tables = _tables_of(item, by_id)
        part = next((t for t in tables if t.name == item.name), None)
        parent = next((t for t in tables if t is not part), None)
        if part is not None and parent is not None:
            above[part.id] = parent.id
    return {part: _topmost(part, above) for part in above}


def _topmost(part: int, above: dict[int, int]) -> int:
    while part in above:
        part = above[part]
    return part


def _find(contents: Contents, name: str) -> Item:
    schema, _, table = name.rpartition(".")
    for item in contents.of_kind(*_TABLES):
        if item.name == table and item.schema == (schema or "public"):
            return item
    raise InvalidInput(f"The backup has no table {name!r}.", code="table_not_in_backup")


def _add_partitions(contents: Contents, chosen: dict[int, Item]) -> None:
    by_id = {item.id: item for item in contents.items}
    grown = True
    while grown:
        grown = False
        for item in contents.of_kind("TABLE ATTACH"):
            tables = _tables_of(item, by_id)
            if any(t.id in chosen and t.name != item.name for t in tables):
                for table in tables:
                    grown = grown or table.id not in chosen
                    chosen[table.id] = table


def _tables_of(item: Item, by_id: dict[int, Item]) -> list[Item]:
    """Return the tables that an entry speaks of: directly, or by a key or index of one."""
    found: dict[int, Item] = {}
    for need in item.needs:
        other = by_id.get(need)
        if other is None:
            continue
        if other.kind in _TABLES:
            found[other.id] = other
        elif other.kind in ("CONSTRAINT", "INDEX"):
            found |= {t.id: t for n in other.needs if (t := by_id.get(n)) and t.kind in _TABLES}
    return list(found.values())


def _closure(contents: Contents, chosen: set[int]) -> tuple[Item, ...]:
    by_id = {item.id: item for item in contents.items}
    inside = chosen | {item.id for item in contents.items if item.kind in _ALWAYS}
    size = -1
    while size != len(inside):
        size = len(inside)
        for item in contents.items:
            if item.id not in inside and item.kind in _PARTS and _belongs(item, inside, by_id):
                inside.add(item.id)
        for id in list(inside):
            inside |= _needs(by_id[id], by_id) if id in by_id else set()
    return tuple(item for item in contents.items if item.id in inside)


def _belongs(item: Item, inside: set[int], by_id: dict[int, Item]) -> bool:
    """Tell whether a part is of something inside, and of no table that is not."""
    known = [by_id[n] for n in item.needs if n in by_id]
    if not known or any(t.id not in inside for t in known if t.kind in _TABLES):
        return False
    if item.kind == "FK CONSTRAINT":
        return all(t.id in inside for t in _tables_of(item, by_id))
    anchors = [n for n in known if n.id in inside and n.kind not in ("SCHEMA", "EXTENSION")]
    return bool(anchors)


def _needs(item: Item, by_id: dict[int, Item]) -> set[int]:
    return {n for n in item.needs if n in by_id and by_id[n].kind not in _TABLES}
