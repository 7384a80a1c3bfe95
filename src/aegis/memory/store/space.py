"""Vectors that may be compared with one another, and where they are.

Usually a row carries its vector. While the model is changed (`mixed`), a row carries the vector of
one model and the other one's is in `episodic_vectors`: a mixed space is the union of both places,
and every statement here looks at them in one snapshot, because rows move between them. After a
switch all vectors of the new model are also `beside` the rows until every row carries its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql

__all__ = [
    "Space",
    "comparable",
    "mixed_exact",
    "mixed_nearest",
    "sampled_nearer",
    "similarity_of",
    "sketched_nearest",
    "vector_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Vectors that may be compared with one another."""

    #: None for vectors that nobody named the model of.
    model: str | None
    dimensions: int
    #: Whether a row that carries another model's vector may have one of this space beside it.
    mixed: bool = False
    #: While it is mixed: whether the vectors of all rows of this space stand beside them, those of
    #: rows that carry one of it, too, so that one index finds everything.
    beside: bool = False


def comparable(space: Space, alias: LiteralString = "e") -> sql.Composable:
    """Return the condition that a row's vector may be compared; what partial indexes ask for."""
    if space.model is None:
        return sql.SQL(
            "{alias}.embedding_model IS NULL AND vector_dims({alias}.embedding) = {dimensions}"
        ).format(alias=sql.SQL(alias), dimensions=sql.Literal(space.dimensions))
    return sql.SQL("{alias}.embedding_model = {model}").format(
        alias=sql.SQL(alias), model=sql.Literal(space.model)
    )


def vector_of(space: Space) -> sql.Composable:
    """Return the vector of the row `e` in this space, wherever it is."""
    if not space.mixed:
        return sql.SQL("e.embedding")
    return sql.SQL(
        "CASE WHEN {comparable} THEN e.embedding ELSE (SELECT v.embedding FROM episodic_vectors v "
        "WHERE v.id = e.id AND v.model = {model}) END"
    ).format(comparable=comparable(space), model=sql.Literal(space.model))


def similarity_of(space: Space | None) -> sql.Composable:
    """Return the cosine of the row `e` with the question `a`; NULL where they have none."""
    if space is None:
        return sql.SQL("NULL")
    if space.mixed:
        return sql.SQL("1 - (({vector}) <=> a.vector)").format(vector=vector_of(space))
    return sql.SQL("CASE WHEN {comparable} THEN 1 - (e.embedding <=> a.vector) END").format(
        comparable=comparable(space)
    )


def sketched_nearest(
    conditions: sql.Composable, space: Space, *, sketches: int, limit: int
) -> sql.Composable:
    """Return the statement of the nearest ids by their vectors, of so many nearest by sketches.

    An index holds the sketches of a namespace side by side; the best of them are worth reading, by
    their ids: CASE, because an index of namespaces must not take the conditions. Of one that came
    after the last ANALYZE the planner expects a single row, and would read all of it 200 times.
    """
    return sql.SQL(
        """
        SELECT e.id
        FROM (
            SELECT s.id
            FROM episodic_sketches s
            WHERE s.namespace = %(namespace)s
              AND s.model = {model}
            ORDER BY bit_count(s.signs # aegis_signs(%(vector)s::text::vector))
            LIMIT {sketches}
        ) AS s
        JOIN episodic_memory e ON e.id = s.id
        WHERE CASE WHEN {conditions} AND {comparable} THEN true END
        ORDER BY e.embedding::vector <=> %(vector)s::text::vector,
                 e.timestamp DESC NULLS LAST, e.id DESC
        LIMIT {limit}
        """
    ).format(
        conditions=conditions,
        comparable=comparable(space),
        model=sql.Literal(space.model),
        sketches=sql.Literal(sketches),
        limit=sql.Literal(limit),
    )


def sampled_nearer(conditions: sql.Composable, space: Space) -> sql.Composable:
    """Return the statement that tells whether a sample has something nearer than all of `ids`.

    An index holds every thirty-second sketch; the best of them are compared by their vectors.
    """
    return sql.SQL(
        """
        SELECT coalesce(
            (
                SELECT min(e.embedding <=> %(vector)s::text::vector)
                FROM (
                    SELECT s.id
                    FROM episodic_sketches s
                    WHERE s.namespace = %(namespace)s
                      AND s.model = {model}
                      AND s.id %% 32 = 0
                    ORDER BY bit_count(s.signs # aegis_signs(%(vector)s::text::vector))
                    LIMIT 10
                ) AS s
                JOIN episodic_memory e ON e.id = s.id
                WHERE CASE WHEN {conditions} AND {comparable} THEN true END
            ) < (
                SELECT min(e.embedding <=> %(vector)s::text::vector)
                FROM episodic_memory e
                WHERE e.id = ANY(%(ids)s::int[])
            ),
            false
        )
        """
    ).format(conditions=conditions, comparable=comparable(space), model=sql.Literal(space.model))


def mixed_exact(
    conditions: sql.Composable, space: Space, *, operator: sql.Composable, limit: sql.Composable
) -> sql.Composable:
    """Return the statement of the nearest ids by comparing every vector.

    Row by row, each with its own vector or the one beside it: as a join it would be planned as a
    sort of all vectors beside the rows, of every namespace.
    """
    return sql.SQL(
        """
        SELECT n.id
        FROM (
            SELECT e.id, e.timestamp, ({vector}) {operator} %(vector)s::text::vector AS distance
            FROM episodic_memory e
            WHERE {conditions}
            OFFSET 0
        ) AS n
        WHERE n.distance IS NOT NULL
        ORDER BY n.distance, n.timestamp DESC NULLS LAST, n.id DESC
        LIMIT {limit}
        """
    ).format(vector=vector_of(space), operator=operator, conditions=conditions, limit=limit)


def mixed_nearest(
    conditions: sql.Composable,
    space: Space,
    *,
    kind: sql.Composable,
    operator: sql.Composable,
    limit: sql.Composable,
) -> sql.Composable:
    """Return the statement of the nearest ids by the graphs; each place has its own index."""
    if space.beside:
        return sql.SQL(
            """
            SELECT v.id
            FROM episodic_vectors v
            JOIN episodic_memory e ON e.id = v.id
            WHERE v.model = {model}
              AND {conditions}
            ORDER BY v.embedding::{kind} {operator} %(vector)s::text::{kind}
            LIMIT {limit}
            """
        ).format(
            conditions=conditions,
            model=sql.Literal(space.model),
            kind=kind,
            operator=operator,
            limit=limit,
        )
    return sql.SQL(
        """
        SELECT n.id
        FROM (
            (
                SELECT e.id, e.embedding::{kind} {operator} %(vector)s::text::{kind} AS distance
                FROM episodic_memory e
                WHERE {conditions}
                  AND {comparable}
                ORDER BY e.embedding::{kind} {operator} %(vector)s::text::{kind}
                LIMIT {limit}
            )
            UNION ALL
            (
                SELECT v.id, v.embedding::{kind} {operator} %(vector)s::text::{kind} AS distance
                FROM episodic_vectors v
                JOIN episodic_memory e ON e.id = v.id
                WHERE v.model = {model}
                  AND e.embedding_model IS DISTINCT FROM {model}
                  AND {conditions}
                ORDER BY v.embedding::{kind} {operator} %(vector)s::text::{kind}
                LIMIT {limit}
            )
        ) AS n
        ORDER BY n.distance
        LIMIT {limit}
        """
    ).format(
        conditions=conditions,
        comparable=comparable(space),
        model=sql.Literal(space.model),
        kind=kind,
        operator=operator,
        limit=limit,
    )
