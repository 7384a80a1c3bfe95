"""What a question asks of the rows that it may find, as conditions on `e`."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.memory.models import EpisodeFilter

__all__ = ["asked_for", "conditions_of", "formatted", "inside", "one_line"]

#: Each filter as a condition on `e`; a statement has those asked for: each costs planning time.
_CONDITIONS: dict[str, LiteralString] = {
    "session_id": "e.session_id = %(session_id)s",
    "since": "e.timestamp >= %(since)s",
    "until": "e.timestamp < %(until)s",
    "event_types": "e.event_type = ANY(%(event_types)s::text[])",
    "tags": "e.tags @> %(tags)s::text[]",
    "alive": "(e.expires_at IS NULL OR e.expires_at > now())",
    "min_importance": (
        "coalesce(e.importance, 'medium') = ANY(%(importances)s::text[]::memory_importance[])"
    ),
}


#: Lets an echo through that says more than its originals do, or whose originals the filter keeps
#: out. Anybody may write `echo_of`, so only what can be an id is taken from it.
_NO_ECHO: LiteralString = """
    (
        (e.metadata ? 'echo_of') IS NOT TRUE
        OR e.metadata ? 'echo_adds'
        OR NOT EXISTS (
            SELECT 1
            FROM jsonb_path_query(
                e.metadata,
                '$.echo_of[*] ? (@.type() == "number" && @ >= 1 && @ < 2147483647)'
            ) AS n (id)
            JOIN episodic_memory o ON o.id = n.id::int
            WHERE o.id <> e.id
              AND {original}
        )
    )
"""

#: Says what `e.namespace = …` says, but no index takes it, and the planner expects half of the rows
#: whatever the value, so that one plan serves all namespaces. The words have their own index.
_IN_NAMESPACE: LiteralString = "CASE WHEN e.namespace = %(namespace)s THEN true END"


def asked_for(where: EpisodeFilter) -> tuple[str, ...]:
    """Return the names of the filters that are set, beside the namespace."""
    return tuple(name for name in _CONDITIONS if getattr(where, name) not in (None, (), []))


def conditions_of(filters: tuple[str, ...], *, echoes: bool = False) -> sql.Composable:
    """Return the conditions of the namespace and these filters; `echoes` lets those through."""
    parts: list[LiteralString] = [
        "e.namespace = %(namespace)s",
        *(_CONDITIONS[name] for name in filters),
    ]
    conditions: list[sql.Composable] = [*map(sql.SQL, parts)]
    if not echoes:
        conditions.append(_no_echo(parts))
    return sql.SQL(" AND ").join(conditions)


def inside(*, echoes: bool) -> sql.Composable:
    """Return the condition of the namespace alone, as no index takes it; `echoes` lets those in."""
    place = sql.SQL(_IN_NAMESPACE)
    return place if echoes else sql.SQL(" AND ").join([place, _no_echo([_IN_NAMESPACE])])


def _no_echo(parts: Sequence[LiteralString]) -> sql.Composable:
    original: list[LiteralString] = [part.replace("e.", "o.") for part in parts]
    return sql.SQL(one_line(_NO_ECHO)).format(
        original=sql.SQL(" AND ").join(map(sql.SQL, original))
    )


def formatted(text: LiteralString, /, **parts: sql.Composable) -> bytes:
    """Return a statement on one line: shorter, and remembered by psycopg."""
    return sql.SQL(one_line(text)).format(**parts).as_bytes(None)


def one_line(text: LiteralString) -> LiteralString:
    """Return a statement without the layout of its source."""
    return " ".join(text.split())
