"""The Python client: `async with aegis.connect() as a`, and the same without `async`.

`connect` opens nothing by itself; entering does. The synchronous form runs the asynchronous one in
a thread of its own through anyio's blocking portal, so there is one implementation.
"""

from __future__ import annotations

import functools
import inspect
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Any

from aegis.config import load_settings

if TYPE_CHECKING:
    from types import TracebackType

    from anyio.from_thread import BlockingPortal

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.keys import Keys
    from aegis.memory import Memory
    from aegis.memory.embedding import Embedder

__all__ = ["Aegis", "Connecting", "connect"]


class Aegis:
    """An open client: `memory` is the agent's memory, `keys` the API's keys, `db` the pool."""

    def __init__(self, db: Database, embedder: Embedder | None, settings: Settings) -> None:
        from aegis.keys import Keys
        from aegis.memory import Memory

        self.db = db
        self.embedder = embedder
        self.settings = settings
        self.memory: Memory = Memory(db, embedder, namespace=settings.namespace)
        self.keys: Keys = Keys(db, settings)


class Connecting:
    """What `connect` returns: enter it with `async with`, or with plain `with`."""

    def __init__(self, settings: Settings, *, pool_min_size: int | None) -> None:
        self.settings = settings
        self._pool_min_size = pool_min_size
        self._async_stack: AsyncExitStack | None = None
        self._stack: ExitStack | None = None

    async def __aenter__(self) -> Aegis:
        from aegis.db import Database
        from aegis.db.server import finder, ready
        from aegis.memory.embedding import open_embedder

        dsn = await ready(self.settings)
        db = await Database.open(
            dsn, self.settings, min_size=self._pool_min_size, find_dsn=finder(self.settings)
        )
        async with AsyncExitStack() as stack:
            stack.push_async_callback(db.close)
            client = Aegis(db, open_embedder(self.settings), self.settings)
            self._async_stack = stack.pop_all()
        return client

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._async_stack is not None:
            await self._async_stack.aclose()

    def __enter__(self) -> Any:
        from anyio.from_thread import start_blocking_portal

        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal("asyncio"))
            client = stack.enter_context(portal.wrap_async_context_manager(self))
            self._stack = stack.pop_all()
        return _Blocking(client, portal)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stack is not None:
            self._stack.close()


class _Blocking:
    """The same object for code without `async`: every coroutine is awaited in the portal."""

    def __init__(self, target: Any, portal: BlockingPortal) -> None:
        self._target = target
        self._portal = portal

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if inspect.iscoroutinefunction(value):

            @functools.wraps(value)
            def call(*args: Any, **kwargs: Any) -> Any:
                return self._portal.call(functools.partial(value, *args, **kwargs))

            return call
        if type(value).__module__.startswith("aegis.") and not hasattr(value, "__slots__"):
            return _Blocking(value, self._portal)
        return value

    def __repr__(self) -> str:
        return f"<blocking {self._target!r}>"

    def __dir__(self) -> list[str]:
        return dir(self._target)


def connect(
    database_url: str | None = None,
    *,
    namespace: str | None = None,
    settings: Settings | None = None,
    pool_min_size: int | None = None,
) -> Connecting:
    """Prepare a client of `database_url`, of `AEGIS_DATABASE_URL`, or of the embedded server.

    Use it as `async with aegis.connect() as a: await a.memory.record(…)`, or in code without
    `async` as `with aegis.connect() as a: a.memory.record(…)`. `settings` replaces what the
    environment says; `namespace` and `database_url` replace its fields.

    Raises:
        ConfigError: a setting is wrong. Entering raises what the server and the schema have to say.
    """
    from dataclasses import replace

    chosen = settings or load_settings()
    if database_url is not None:
        chosen = replace(chosen, database_url=database_url)
    if namespace is not None:
        chosen = replace(chosen, namespace=namespace)
    return Connecting(chosen, pool_min_size=pool_min_size)
