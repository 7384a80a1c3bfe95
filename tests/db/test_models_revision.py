"""Revision 0009: the model that rows carry becomes active; going back waits for a change's end."""

from __future__ import annotations

import psycopg
import pytest

from aegis.db import migrate
from aegis.errors import AegisError

pytestmark = pytest.mark.servers("18", "16")

MODELS = "SELECT model, dimensions, provider, state FROM embedding_models ORDER BY model"


def run(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn) as conn:
        for statement in statements:
            conn.execute(statement)  # pyright: ignore[reportArgumentType, reportCallIssue]


def models(dsn: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as conn:
        return conn.execute(MODELS).fetchall()


def test_the_model_that_most_rows_carry_becomes_the_active_one(empty_dsn: str) -> None:
    migrate.upgrade(empty_dsn, "0008")
    run(
        empty_dsn,
        """
        INSERT INTO episodic_memory (event_type, summary, embedding, embedding_model)
        SELECT 'n', 'many ' || n, array_fill(n::float4, ARRAY[384])::vector,
               'all-MiniLM-L6-v2-onnx-int8'
        FROM generate_series(1, 20) AS n
        """,
        """
        INSERT INTO episodic_memory (event_type, summary, embedding, embedding_model)
        VALUES ('n', 'few', '[1,2]', 'few/2'), ('n', 'no name', '[1,2]', NULL)
        """,
    )
    migrate.upgrade(empty_dsn)
    assert models(empty_dsn) == [("all-MiniLM-L6-v2-onnx-int8", 384, "builtin", "active")]


def test_without_vectors_no_model_is_active(dsn: str) -> None:
    assert models(dsn) == []


def test_the_registry_comes_back_with_its_counters(dsn: str) -> None:
    run(
        dsn,
        """
        INSERT INTO embedding_models (model, dimensions, provider, state, tokens)
        VALUES ('m/8', 8, 'openai', 'active', 77)
        """,
    )
    migrate.downgrade(dsn, "0008")
    migrate.upgrade(dsn)
    assert models(dsn) == [("m/8", 8, "openai", "active")]
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT tokens FROM embedding_models").fetchone() == (77,)
    assert migrate.check(dsn) == []


@pytest.mark.parametrize("state", ["filling", "standby"])
def test_going_back_waits_for_the_end_of_a_change(dsn: str, state: str) -> None:
    run(
        dsn,
        "INSERT INTO embedding_models (model, dimensions, provider, state) "
        f"VALUES ('a', 8, 'custom', 'active'), ('b', 8, 'custom', '{state}')",
    )
    with pytest.raises(AegisError, match="A change of the embedding model is under way"):
        migrate.downgrade(dsn, "0008")
    assert migrate.current(dsn) == "0009"


def test_only_one_model_is_active_and_one_beside_it(dsn: str) -> None:
    row = "INSERT INTO embedding_models (model, dimensions, provider, state) VALUES "
    run(dsn, row + "('a', 8, 'custom', 'active'), ('b', 8, 'custom', 'filling')")
    for state in ("active", "filling", "standby"):
        with pytest.raises(psycopg.errors.UniqueViolation):
            run(dsn, row + f"('c', 8, 'custom', '{state}')")
