"""Which indexes might help a plan: columns that sequential scans filter by. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Scan", "candidates", "scans"]

#: A column compared in a way that a B-tree serves, as EXPLAIN prints it; casts and parentheses may
#: stand around it.
_COMPARED: Final = re.compile(
    r'\(?(?:[A-Za-z_]\w*\.|"[^"]+"\.)?(?P<column>[A-Za-z_]\w*|"(?:[^"]|"")+")\)?'
    r"(?:::[a-z ]+(?:\(\d+\))?)?\s*(?P<operator>=|<=|>=|<|>|IS NULL)(?![=~<>])"
)
_MOST_COLUMNS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A sequential scan in a plan, with what it filters by."""

    schema: str
    table: str
    filter: str


def scans(plan: Mapping[str, Any]) -> Iterator[Scan]:
    """Yield the filtered sequential scans of a plan in EXPLAIN's JSON form."""
    if plan.get("Node Type") == "Seq Scan" and plan.get("Filter"):
        yield Scan(
            schema=plan.get("Schema", "public"),
            table=plan["Relation Name"],
            filter=plan["Filter"],
        )
    for part in plan.get("Plans", ()):
        yield from scans(part)


def candidates(text: str, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the lists of columns that an index might have, for a filter of a table.

    `columns` are the table's. Those that are compared for equality come first in an index; one
    that is compared by order may follow.
    """
    known = set(columns)
    equal: list[str] = []
    ordered: list[str] = []
    for match in _COMPARED.finditer(text):
        raw = match["column"]
        name = raw[1:-1].replace('""', '"') if raw.startswith('"') else raw
        if name not in known:
            continue
        place = equal if match["operator"] in ("=", "IS NULL") else ordered
        if name not in equal and name not in ordered:
            place.append(name)
    found: list[tuple[str, ...]] = [(name,) for name in (*equal, *ordered)]
    whole = (*equal, *ordered[:1])[:_MOST_COLUMNS]
    if len(whole) > 1:
        found.append(whole)
    return found
