"""Every column that a table of memory has comes back from an export; the schema says which.

A column that a revision adds is filled here by itself. One that exports do not carry fails, until
it is carried or named below with the reason.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from aegis.memory import Memory
from aegis.memory.exporting import export_file
from aegis.memory.importing import import_path

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.db import Connection, Database
    from aegis.memory.exporting import Format

pytestmark = pytest.mark.servers("18", "16")

#: Columns that are another one elsewhere, by table, and why; references are compared below.
NOT_CARRIED: dict[str, dict[str, str]] = {
    "episodic_memory": {
        "id": "a new one",
        "namespace": "the one that it is imported into",
        "search": "made of the others",
        "graphiti_synced_at": "no copy of the new row is in the graph",
    },
    "semantic_memory": {"id": "a new one", "namespace": "the one that it is imported into"},
    "decision_outcomes": {"id": "a new one", "namespace": "the one that it is imported into"},
    "decision_episodes": {},
    "fact_history": {
        "id": "a new one",
        "namespace": "the one that it is imported into",
        "before": "a whole row with its numbers, which test_export_identity compares",
    },
    "fact_sources": {"id": "a new one", "namespace": "the one that it is imported into"},
    "store_items": {
        "id": "a new one",
        "namespace": "the one that it is imported into",
        "episode_id": "of an item that is remembered as an episode as well",
    },
}
#: Columns that lead to rows of a table.
REFERENCES = {
    ("episodic_memory", "related_memories"): "episodic_memory",
    ("semantic_memory", "superseded_by"): "semantic_memory",
    ("decision_outcomes", "decision_id"): "episodic_memory",
    ("decision_episodes", "decision_id"): "decision_outcomes",
    ("decision_episodes", "episode_id"): "episodic_memory",
    ("fact_history", "fact_id"): "semantic_memory",
    ("fact_history", "undoes"): "fact_history",
    ("fact_sources", "fact_id"): "semantic_memory",
    ("fact_sources", "step"): "fact_history",
}
#: What a column may hold where its type alone does not say so.
CHOICES: dict[tuple[str, str], list[Any]] = {
    ("episodic_memory", "importance"): ["low", "medium", "high", "critical"],
    ("decision_outcomes", "outcome_status"): ["pending", "success", "partial", "failure"],
    ("decision_outcomes", "user_feedback"): ["positive", "negative", "neutral"],
    ("decision_outcomes", "alternatives"): [Jsonb(["a", {"name": "b", "n": 1.5}])],
    ("decision_outcomes", "confidence"): [0.0, 0.25, 1.0],
    ("decision_episodes", "role"): ["trigger", "support", "against", "context"],
    ("fact_history", "action"): ["updated", "merged", "superseded"],
    ("semantic_memory", "confidence"): [0.0, 0.125, 1.0],
    ("fact_sources", "confidence"): [0.0, 0.5, 1.0],
    ("store_items", "ttl_minutes"): [0.5, 90.0],
    ("store_items", "value"): [Jsonb({"likes": "tea"}), Jsonb({"n": 1})],
    ("store_items", "verbatim"): [None],
}
#: Of several rows of a table, one each time.
ROWS = 5
START = datetime(2025, 5, 1, 12, tzinfo=UTC)


async def columns_of(conn: Connection, table: str) -> dict[str, tuple[str, bool]]:
    """Return (type, whether it is left open) of a table's columns that are written, by name.

    One with a default is always filled: nothing in it reads as the default.
    """
    cursor = await conn.execute(
        """
        SELECT c.column_name, c.udt_name, c.is_nullable = 'YES' AND c.column_default IS NULL
        FROM information_schema.columns c
        WHERE c.table_schema = current_schema()
          AND c.table_name = %s
          AND c.is_generated = 'NEVER'
        ORDER BY c.ordinal_position
        """,
        [table],
    )
    return {row[0]: (row[1], row[2]) for row in await cursor.fetchall()}


def value_of(kind: str, name: str, number: int, rng: random.Random) -> Any:
    """Return a value of a type that is nothing that a column would have by itself."""
    match kind:
        case "text" | "varchar":
            return f"{name} {number} {rng.randrange(10**6)}"
        case "timestamptz":
            return START + timedelta(days=number, microseconds=rng.randrange(10**9))
        case "jsonb":
            return Jsonb({name: [number, rng.random(), None], "x": {"y": "ä\u2028"}})
        case "_text":
            return [f"{name}{number}", "b"]
        case "int4" | "int8":
            return 1_000 + number
        case "float8":
            return rng.random()
        case "bool":
            return rng.random() < 0.5
        case "vector":
            return str([rng.randrange(-8, 8) / 4 for _ in range(6)])
        case _:
            raise AssertionError(f"{name} is of type {kind}: say here what it may hold.")


async def fill(conn: Connection, table: str, rng: random.Random, ids: dict[str, list[int]]) -> None:
    """Insert rows with a value in nearly every column; note their ids."""
    columns = await columns_of(conn, table)
    for number in range(ROWS):
        row: dict[str, Any] = {}
        for name, (kind, nullable) in columns.items():
            if name == "id" or (name == "episode_id" and table == "store_items"):
                continue
            if name == "namespace":
                row[name] = "here"
            elif name == "before":
                row[name] = None
            elif (table, name) in REFERENCES:
                there = ids.get(REFERENCES[table, name], [])
                row[name] = _reference(table, name, number, there)
            # Without a key of its source, the export is its source elsewhere.
            elif nullable and number and name != "source_id" and rng.random() < 0.3:
                row[name] = None
            elif (table, name) in CHOICES:
                row[name] = rng.choice(CHOICES[table, name])
            else:
                row[name] = value_of(kind, name, number, rng)
        _fit(table, row)
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING {}").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(sql.Placeholder() * len(row)),
            sql.SQL("id" if "id" in columns else "0"),
        )
        made = await (await conn.execute(statement, list(row.values()))).fetchone()
        assert made is not None
        ids.setdefault(table, []).append(made[0])


def _reference(table: str, name: str, number: int, there: list[int]) -> Any:
    if name == "related_memories":
        return []
    if table == "semantic_memory":
        return there[0] if number else None
    if name == "undoes":
        # Of the same fact, each step once.
        return there[number - 1] if number % 2 else None
    if table in ("fact_history", "fact_sources") and name == "fact_id":
        return there[number // 2]
    return there[number]


def _fit(table: str, row: dict[str, Any]) -> None:
    """Let what goes together go together."""
    if table in ("episodic_memory", "semantic_memory"):
        # Nobody compares a vector of which the model is not known: it is made anew elsewhere.
        if row["embedding"] is None or row["embedding_model"] is None:
            row["embedding"] = row["embedding_model"] = None
        # No tags are none, whichever way they are written.
        row["tags"] = row["tags"] or []
    if table == "semantic_memory" and None not in (row["valid_from"], row["valid_to"]):
        row["valid_from"], row["valid_to"] = sorted((row["valid_from"], row["valid_to"]))
    if table == "store_items":
        row["path"] = ["people", row["key"]]
        if row["ttl_minutes"] is None or row["expires_at"] is None:
            row["ttl_minutes"] = row["expires_at"] = None


async def rows_of(
    conn: Connection, table: str, place: str
) -> tuple[list[dict[str, Any]], dict[int, int]]:
    """Return a namespace's rows in the order of their ids, and the place of each id."""
    statement = sql.SQL(
        "SELECT to_jsonb(t) FROM {} t WHERE {} ORDER BY {}"
        if table != "decision_episodes"
        else "SELECT to_jsonb(t) FROM {} t JOIN decision_outcomes d ON d.id = t.decision_id "
        "WHERE d.{} ORDER BY {}"
    ).format(
        sql.Identifier(table),
        sql.SQL("namespace = %s"),
        sql.SQL("t.decision_id, t.episode_id" if table == "decision_episodes" else "t.id"),
    )
    found = [row[0] for row in await (await conn.execute(statement, [place])).fetchall()]
    return found, {row["id"]: n for n, row in enumerate(found) if "id" in row}


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
@pytest.mark.parametrize("seed", range(3))
async def test_each_column_comes_back_as_it_was(
    db: Database, tmp_path: Path, format: Format, seed: int
) -> None:
    await there_and_back(db, tmp_path, format, seed)


@pytest.mark.parametrize("table", NOT_CARRIED)
async def test_a_column_that_a_revision_adds_and_exports_forget_is_seen(
    db: Database, tmp_path: Path, table: str
) -> None:
    async with db.transaction() as conn:
        await conn.execute(
            sql.SQL("ALTER TABLE {} ADD COLUMN mood TEXT").format(sql.Identifier(table))
        )
    with pytest.raises(AssertionError, match=f"{table}.mood"):
        await there_and_back(db, tmp_path, "jsonl", 1)


async def there_and_back(db: Database, tmp_path: Path, format: Format, seed: int) -> None:
    """Export what is in every column, import it, and compare."""
    rng = random.Random(seed)
    ids: dict[str, list[int]] = {}
    async with db.transaction() as conn:
        for table in NOT_CARRIED:
            await fill(conn, table, rng, ids)
        await conn.execute(
            "UPDATE fact_history h SET before = to_jsonb(f) FROM semantic_memory f "
            "WHERE f.id = h.fact_id"
        )
        await conn.execute(
            "UPDATE episodic_memory SET related_memories = ARRAY[%s]::int[] WHERE id = %s",
            [ids["episodic_memory"][3], ids["episodic_memory"][1]],
        )
    here, there = Memory(db, None, namespace="here"), Memory(db, None, namespace="there")
    path = tmp_path / f"all.{format}"
    await export_file(here, path, format=format, vectors=True)
    await import_path(there, format, path)
    compared = 0
    async with db.transaction() as conn:
        # Those of both ends of a relation are as they were.
        places = {
            (table, place): await rows_of(conn, table, place)
            for table in NOT_CARRIED
            for place in ("here", "there")
        }
        for table, left_out in NOT_CARRIED.items():
            was, came = (places[table, place][0] for place in ("here", "there"))
            assert len(was) == len(came) == ROWS, table
            for name in (await columns_of(conn, table)).keys() - left_out.keys():
                to = REFERENCES.get((table, name))
                for one, other in zip(was, came, strict=True):
                    mine = _placed(one[name], None if to is None else places[to, "here"][1])
                    theirs = _placed(other[name], None if to is None else places[to, "there"][1])
                    assert theirs == mine, f"{table}.{name}"
                    compared += mine is not None
    assert compared > 200


def _placed(value: Any, order: dict[int, int] | None) -> Any:
    """Return a reference as the place of the row that it leads to."""
    if order is None or value is None:
        return value
    return [order[i] for i in value] if isinstance(value, list) else order[value]
