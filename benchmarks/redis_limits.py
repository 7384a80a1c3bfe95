"""The same work with Redis: a look at the key's hash, then `limits` counts the call.

What many services run beside their database. Nothing is durable here: Redis keeps it in memory, and
a month's quota or a bill is somebody else's business.
"""

from __future__ import annotations

import asyncio
import importlib.util
import random
import shutil
import subprocess
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

__all__ = ["installed", "redis_server"]

_PATIENCE_S = 10.0
_PER_MINUTE = 2**31 - 1


def installed() -> bool:
    """Return whether the server and both packages are here."""
    packages = all(importlib.util.find_spec(name) for name in ("limits", "redis"))
    return packages and shutil.which("redis-server") is not None


@asynccontextmanager
async def redis_server(
    hashes: Sequence[str],
) -> AsyncGenerator[Callable[[int], Callable[[], Awaitable[None]]]]:
    """Start a server that holds `hashes`; yield what makes a call over the first `n` of them."""
    from limits import parse
    from limits.aio.storage import RedisStorage
    from limits.aio.strategies import SlidingWindowCounterRateLimiter
    from redis.asyncio import Redis

    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "redis.sock"
        server = await asyncio.create_subprocess_exec(
            "redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "",
            "--appendonly", "no", "--dir", folder,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        redis: Any = Redis(unix_socket_path=str(socket))
        try:
            await _wait(redis)
            for start in range(0, len(hashes), 5_000):
                pipe = redis.pipeline(transaction=False)
                for hashed in hashes[start : start + 5_000]:
                    pipe.hset(f"key:{hashed}", mapping={"id": 1, "customer": "c", "enabled": 1})
                await pipe.execute()
            storage = RedisStorage(f"async+redis+unix://{socket}", implementation="redispy")
            limiter = SlidingWindowCounterRateLimiter(storage)
            rate = parse(f"{_PER_MINUTE}/minute")

            def over(count: int) -> Callable[[], Awaitable[None]]:
                async def call() -> None:
                    hashed = hashes[random.randrange(count)]
                    found = await redis.hgetall(f"key:{hashed}")
                    assert found[b"enabled"] == b"1"
                    assert await limiter.hit(rate, hashed)

                return call

            yield over
            await redis.aclose()
        finally:
            server.terminate()
            await server.wait()


async def _wait(redis: Any) -> None:
    from redis.exceptions import ConnectionError as NotYet

    stop = asyncio.get_running_loop().time() + _PATIENCE_S
    while True:
        try:
            await redis.ping()
        except NotYet:
            if asyncio.get_running_loop().time() > stop:
                raise
            await asyncio.sleep(0.05)
        else:
            return
