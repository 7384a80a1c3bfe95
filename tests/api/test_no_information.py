"""Errors say what the caller did wrong, and nothing of what is inside."""

from __future__ import annotations

import json
import logging
import random
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import httpx2
import psycopg
import pytest

import aegis
from aegis.api.app import create_app, create_routes
from aegis.client import Aegis
from aegis.errors import ConfigError, OpsError, Unavailable
from tests.api.conftest import TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.config import Settings
    from aegis.db import Database

#: No word of these is one of ours: what an answer repeats is the caller's own.
HOSTILE: list[Any] = [
    "'", '"; --', "x\x00y", "\ud800", "%00", "../../..", "1e999", "é" * 400, "", " ", "null",
    -1, 0, 2**31, 2**63, -(2**63) - 1, 10**400, 1e308, 0.1, True, None, [], {}, [[]], {"a": {}},
    ["x", None, 1], "9999-12-31T23:59:59Z", "0001-01-01", "2026-02-30", "P1D", "inf",
    "00000000-0000-0000-0000-000000000000", "0" * 36, "x" * 3_000,
]  # fmt: skip
PLAIN: dict[Any, list[Any]] = {
    "integer": [1, 5, 2**31 - 1, 2**62],
    "number": [0.5, 1, 1e300],
    "boolean": [True],
    "string": ["a", "note", "2026-05-01", "2026-05-01T00:00:00Z", "x" * 3_000],
}
#: What is never said: where code runs, what it is, and what it asked.
INSIDE = re.compile(
    r"Traceback|File \"|line \d+, in |\.py\b|site-packages|psycopg|asyncpg|sqlalchemy|pydantic"
    r"|starlette|fastapi|uvicorn|h11\b|0x[0-9a-f]{8}|object at|NoneType|KeyError|TypeError"
    r"|PostgreSQL \d|Python/|\bSELECT\b|\bINSERT\b|\bUPDATE\b|\bFROM\b|\bWHERE\b|relation \""
    r"|constraint \"|column \"|SQLSTATE|/(?:root|home|tmp|usr|var|work|dev|etc)/|pg_catalog"
    + re.escape(f"|{aegis.__version__}").replace(r"\|", "|")
)


def calls(seed: int) -> Iterator[tuple[str, str, dict[str, Any], Any]]:
    """Yield a few hostile calls of every route."""
    chance = random.Random(seed)
    description = create_routes().openapi()
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            for _ in range(5):
                url = re.sub(r"{[^}]*}", lambda _: _path(chance), path)
                query = {
                    p["name"]: _text(chance)
                    for p in operation.get("parameters", [])
                    if p["in"] == "query" and chance.random() < 0.4
                }
                yield method.upper(), url, query, _body(operation, description, chance)


def _path(chance: random.Random) -> str:
    from urllib.parse import quote

    return quote(_text(chance)[:200], safe="") or "x"


def _text(chance: random.Random) -> str:
    return str(chance.choice(HOSTILE)).encode("utf-8", "replace").decode()


def _body(operation: Any, description: Any, chance: random.Random) -> Any:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    if chance.random() < 0.1:
        return chance.choice(HOSTILE)
    return _sample(content["schema"], description, chance, 0)


def _sample(schema: Any, description: Any, chance: random.Random, depth: int) -> Any:
    """Return a value that nearly fits: what is refused at once tells nothing."""
    if chance.random() < 0.12 or depth > 6:
        return chance.choice(HOSTILE)
    if "$ref" in schema:
        named = description["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return _sample(named, description, chance, depth + 1)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return _sample(chance.choice(schema[several]), description, chance, depth + 1)
    if "enum" in schema:
        return chance.choice(schema["enum"])
    if "properties" in schema:
        required = schema.get("required", [])
        return {
            name: _sample(part, description, chance, depth + 1)
            for name, part in schema["properties"].items()
            if name in required or chance.random() < 0.5
        }
    if schema.get("type") == "array":
        return [_sample(schema.get("items", {}), description, chance, depth + 1)]
    return chance.choice(PLAIN.get(schema.get("type"), HOSTILE))


@pytest.mark.parametrize("who", ["operator", "customer"])
async def test_no_error_of_any_route_tells_of_the_inside(
    db: Database, settings: Settings, who: str
) -> None:
    client = Aegis(db, None, replace(settings, embedder="none", http_failures_per_minute=0))
    token = TOKEN
    if who == "customer":
        issued = await client.keys.issue("acme", scopes=["*"], rate_limit=10**6)
        token = issued.key
    async with db.transaction() as conn:
        cursor = await conn.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "AND relkind IN ('r', 'p') AND relname LIKE '%\\_%'"
        )
        tables = re.compile("|".join(rf"\b{name}\b" for (name,) in await cursor.fetchall()))
    transport = httpx2.ASGITransport(
        app=create_app(client, token=TOKEN), raise_app_exceptions=False, client=("192.0.2.1", 1)
    )
    statuses: dict[int, int] = {}
    loose: list[str] = []
    async with httpx2.AsyncClient(
        transport=transport,
        base_url="http://127.0.0.1",
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    ) as http:
        for method, path, query, body in calls(seed=len(who)):
            if path == "/v1/backups" and method == "POST":
                continue
            content = b"" if body is None else json.dumps(body).encode()
            http._transport = transport
            answer = await http.request(method, path, params=query, content=content)
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
            if answer.status_code < 400:
                continue
            said = answer.text
            for own in (json.dumps(list(query.values())), content.decode(), path):
                # What the caller sent is no secret from him.
                said = said.replace(own, "")
            document = answer.json()
            assert answer.headers["content-type"] == "application/problem+json"
            assert document["request_id"] == answer.headers["x-request-id"]
            found = INSIDE.search(said) or tables.search(said)
            if found or document["code"] in ("unexpected", "db_error", "error"):
                loose.append(f"{method} {path} {query} {str(body)[:300]}: {said[:300]}")
    assert not loose, f"{len(loose)}\n" + "\n".join(loose[:15])
    # The calls got somewhere: some were taken, most were refused for what they are.
    assert statuses.get(200, 0) > 20 and statuses.get(422, 0) > 100


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("the secret is in /var/lib/aegis/key-secret"),
        ConfigError("/var/lib/aegis/key-secret cannot be read"),
        OpsError("/var/lib/aegis/backups is full"),
        Unavailable("PostgreSQL at aegis@10.0.0.5:5432/aegis does not answer"),
        RecursionError(),
        psycopg.OperationalError("could not connect to /var/run/postgresql"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_fails_here_is_told_to_the_log_alone(
    db: Database, settings: Settings, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="aegis.api")
    client = Aegis(db, None, replace(settings, embedder="none"))
    key = (await client.keys.issue("acme", scopes=["*"])).key

    async def fail(*_: Any, **__: Any) -> Any:
        raise error

    client.memory.recall = fail
    transport = httpx2.ASGITransport(
        app=create_app(client, token=TOKEN), raise_app_exceptions=False
    )
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        answer = await http.post(
            "/v1/memory/recall", json={"query": "x"}, headers={"Authorization": f"Bearer {key}"}
        )
    assert answer.status_code in (500, 503)
    assert "/var" not in answer.text and "10.0.0.5" not in answer.text
    document = answer.json()
    assert document["request_id"] == answer.headers["x-request-id"]
    told = [r for r in caplog.records if r.msg in ("api.failed", "api.unexpected")]
    assert len(told) == 1
    reason = getattr(told[0], "why", None) or repr(cast("Any", told[0].exc_info)[1])
    assert str(error) in reason


async def test_schema_that_does_not_fit_is_said_without_naming_its_tables(
    http: httpx2.AsyncClient, db: Database
) -> None:
    async with db.transaction() as conn:
        await conn.execute("ALTER TABLE semantic_memory RENAME TO other_name")
    answer = await http.get("/v1/memory/facts")
    assert answer.status_code == 503
    assert answer.json()["code"] == "schema_mismatch"
    assert "semantic_memory" not in answer.text and "column" not in answer.text


async def test_readiness_tells_strangers_no_reason(db: Database, settings: Settings) -> None:
    client = Aegis(db, None, replace(settings, embedder="none"))
    async with db.transaction() as conn:
        await conn.execute("UPDATE alembic_version SET version_num = '0001'")
    transport = httpx2.ASGITransport(app=create_app(client, token=TOKEN))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert "0001" not in answer.text and "upgrade" not in answer.text
