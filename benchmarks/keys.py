"""How many calls a second are verified, and how long one waits: in SQL alone and over HTTP.

`verify` looks at a key and counts nothing; `limit` counts the call against the key's rate; `quota`
also against its month, which waits for the disk. `plain` is what people write by hand for the same
work, one SELECT of the key and one INSERT of the call in a transaction: it limits nothing. It is
measured in turns with the others, with and without waiting for the disk. `redis` is the key and its
limit in Redis, where that is installed (`redis_limits.py`). Clients are tasks of one process: each
asks again as soon as it has its answer.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aegis.config import load_settings
from aegis.db import Database
from aegis.keys import Keys
from aegis.keys.secret import make_key, prefix_of
from aegis.vault import Vault
from benchmarks.database import server
from benchmarks.redis_limits import installed, redis_server
from benchmarks.report import percentile, progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from aegis.config import Settings

__all__ = ["add_arguments", "run"]

_SCOPES = "{keys:verify,status:read}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--keys", type=int, default=100_000, help="keys, beside one alone")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--no-http", action="store_true", help="SQL alone")


def run(args: argparse.Namespace) -> dict[str, float]:
    """Return the figures."""
    return asyncio.run(_measure(args))


async def _measure(args: argparse.Namespace) -> dict[str, float]:
    from aegis.db import migrate

    figures: dict[str, float] = {}
    with server() as dsn, tempfile.TemporaryDirectory() as folder:
        await asyncio.to_thread(migrate.upgrade, dsn)
        settings = load_settings({}, data_dir=Path(folder), keys_timeout_s=30.0)
        async with await Database.open(dsn, settings) as db:
            free = await _fill(db, settings, "enterprise", args.keys)
            billed = await _fill(db, settings, "pro", args.keys)
            client = Keys(db, settings)
            cells = [(few, n) for few in (True, False) for n in args.clients]
            for few, clients in progress(cells, "SQL"):
                name = f"{'1_key' if few else f'{args.keys}_keys'}.{clients}_clients"
                chosen = free[:1] if few else free
                months = billed[:1] if few else billed
                works = {
                    "verify": _verifying(client, chosen, cost=0),
                    "limit": _verifying(client, chosen, cost=1),
                    "plain": _plain(db, settings, chosen, durable=False),
                    "quota": _verifying(client, months, cost=1),
                    "plain_durable": _plain(db, settings, months, durable=True),
                }
                for work, call in works.items():
                    await _forget(db)
                    found = await _clients(call, clients, args.seconds)
                    figures |= {f"sql.{work}.{name}.{k}": v for k, v in found.items()}
                for work, base in (("limit", "plain"), ("quota", "plain_durable")):
                    figures[f"sql.{work}_vs_{base}.{name}.ratio"] = (
                        figures[f"sql.{work}.{name}.per_s"] / figures[f"sql.{base}.{name}.per_s"]
                    )
            if installed():
                figures |= await _redis(settings, free, args)
            if not args.no_http:
                figures |= await _over_http(dsn, folder, free, args)
    return figures


async def _redis(
    settings: Settings, keys: Sequence[str], args: argparse.Namespace
) -> dict[str, float]:
    figures: dict[str, float] = {}
    (secret,) = Vault(settings).secrets()
    async with redis_server([secret.hash(key) for key in keys]) as over:
        for clients in progress(args.clients, "Redis"):
            for name, count in (("1_key", 1), (f"{args.keys}_keys", args.keys)):
                found = await _clients(over(count), clients, args.seconds)
                figures |= {f"redis.{name}.{clients}_clients.{k}": v for k, v in found.items()}
    return figures


async def _fill(db: Database, settings: Settings, tier: str, count: int) -> list[str]:
    """Issue keys as fast as COPY takes them; their rate limit is out of reach."""
    secret = Vault(settings).ensure()[-1]
    keys = [make_key("live", random.randbytes(32)) for _ in range(count)]
    async with db.transaction() as conn:
        await conn.execute(
            "INSERT INTO api_key_secrets (id) VALUES (%s) ON CONFLICT DO NOTHING", (secret.id,)
        )
        async with (
            conn.cursor() as cursor,
            cursor.copy(
                "COPY api_keys (customer_id, key_hash, key_prefix, tier, rate_limit, "
                "monthly_quota, scopes) FROM STDIN"
            ) as copy,
        ):
            for number, key in enumerate(keys):
                quota = None if tier == "enterprise" else 2**31 - 1
                row = (
                    f"customer {number % 1000}", secret.hash(key), prefix_of(key), tier,
                    2**31 - 1, quota, _SCOPES,
                )  # fmt: skip
                await copy.write_row(row)
        await conn.execute(
            "INSERT INTO api_key_meters (api_key_id) SELECT id FROM api_keys ON CONFLICT DO NOTHING"
        )
    async with db.connection() as conn:
        await conn.execute("VACUUM ANALYZE api_keys, api_key_meters")
    return keys


async def _forget(db: Database) -> None:
    async with db.connection() as conn:
        await conn.execute("TRUNCATE api_usage_events")
        await conn.execute("CHECKPOINT")


def _verifying(client: Keys, keys: Sequence[str], *, cost: int) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        found = await client.verify(random.choice(keys), cost=cost)
        assert found.valid, found

    return call


def _plain(
    db: Database, settings: Settings, keys: Sequence[str], *, durable: bool
) -> Callable[[], Awaitable[None]]:
    (secret,) = Vault(settings).secrets()

    async def call() -> None:
        hashed = secret.hash(random.choice(keys))
        async with db.transaction() as conn:
            if not durable:
                await conn.execute("SET LOCAL synchronous_commit = off")
            cursor = await conn.execute(
                """
                SELECT id, customer_id
                FROM api_keys
                WHERE key_hash = %s
                  AND enabled
                  AND (expires_at IS NULL OR expires_at > now())
                """,
                (hashed,),
            )
            row: Any = await cursor.fetchone()
            await conn.execute(
                """
                INSERT INTO api_usage_events
                    (api_key_id, customer_id, endpoint, method, status_code)
                VALUES (%s, %s, '/reports', 'GET', 200)
                """,
                row,
            )

    return call


async def _clients(
    call: Callable[[], Awaitable[None]], clients: int, seconds: float
) -> dict[str, float]:
    taken: list[float] = []
    # A first round, not counted: statements are prepared, connections opened.
    await asyncio.gather(*(call() for _ in range(clients)))
    began = time.perf_counter()
    stop = began + seconds

    async def client() -> None:
        while (at := time.perf_counter()) < stop:
            await call()
            taken.append(time.perf_counter() - at)

    await asyncio.gather(*(client() for _ in range(clients)))
    passed = time.perf_counter() - began
    return {
        "per_s": len(taken) / passed,
        "p50_ms": percentile(taken, 50) * 1000,
        "p99_ms": percentile(taken, 99) * 1000,
    }


async def _over_http(
    dsn: str, folder: str, keys: Sequence[str], args: argparse.Namespace
) -> dict[str, float]:
    from tests.serving import serving

    figures: dict[str, float] = {}
    data_dir = Path(folder)
    with serving(data_dir, database_url=dsn, embedder="none", keys_timeout_s="30") as served:
        token = served.token
        for clients in progress(args.clients, "HTTP"):
            for name, chosen in (("1_key", keys[:1]), (f"{args.keys}_keys", keys)):
                async with _connections(served.url, clients) as ask:

                    async def verify(ask: Any = ask, chosen: Sequence[str] = chosen) -> None:
                        body = json.dumps({"key": random.choice(chosen)})
                        await ask("POST", "/v1/keys/verify", token, body)

                    found = await _clients(verify, clients, args.seconds)
                figures |= {f"http.limit.{name}.{clients}_clients.{k}": v for k, v in found.items()}
        # What the check adds to a request of our own: by turns, so that a busy machine slows both.
        rounds: dict[str, list[float]] = {"operator_token": [], "key": []}
        async with _connections(served.url, 1) as ask:
            for _ in range(5):
                for who, credential in (("operator_token", token), ("key", keys[0])):

                    async def status(ask: Any = ask, credential: str = credential) -> None:
                        await ask("GET", "/v1/status", credential, "")

                    found = await _clients(status, 1, args.seconds / 5)
                    rounds[who].append(found["p50_ms"])
        p50 = {who: percentile(values, 50) for who, values in rounds.items()}
        figures |= {f"http.status.{who}.p50_ms": value for who, value in p50.items()}
        figures["http.key_check.p50_ms"] = p50["key"] - p50["operator_token"]
    return figures


@asynccontextmanager
async def _connections(url: str, count: int) -> AsyncGenerator[Any]:
    """Yield a call over kept-alive connections, as little of a client as HTTP allows."""
    parts = urlsplit(url)
    free: asyncio.Queue[Any] = asyncio.Queue()
    opened = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(count)]
    for pair in opened:
        free.put_nowait(pair)

    async def ask(method: str, path: str, credential: str, body: str) -> None:
        reader, writer = pair = await free.get()
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Authorization: Bearer {credential}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        (length,) = (
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        )
        answer = await reader.readexactly(length)
        assert path != "/v1/keys/verify" or b'"code":"VALID"' in answer, answer
        free.put_nowait(pair)

    try:
        yield ask
    finally:
        for _, writer in opened:
            writer.close()
