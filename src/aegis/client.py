"""The Python client: `async with aegis.connect() as a`, and the same without `async`.

`connect` opens nothing by itself; entering does. The synchronous form runs the asynchronous one in
a thread of its own (anyio's blocking portal), so there is one implementation. `aegis.bridge` is the
one way into the event loop of a client from elsewhere.
"""

from __future__ import annotations

import functools
import inspect
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from aegis.bridge import Bridge
from aegis.config import load_settings
from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from types import TracebackType

    from aegis.alerts.service import Alerts
    from aegis.billing import Billing
    from aegis.config import Settings
    from aegis.db import Database
    from aegis.intel.service import Intel
    from aegis.keys import Keys
    from aegis.memory import Memory
    from aegis.memory.embedding import Embedder
    from aegis.memory.reranking import Reranker
    from aegis.metrics.telemetry import Telemetry
    from aegis.ops.backup.service import Backups
    from aegis.ops.health import Health
    from aegis.ops.maintenance import Maintenance
    from aegis.ops.stats import Stats
    from aegis.research.service import Research
    from aegis.security.audit.service import AuditLog
    from aegis.security.columns import Encryption
    from aegis.security.service import Security
    from aegis.sessions.service import Sessions
    from aegis.usage import Usage
    from aegis.worker.functions import Functions
    from aegis.worker.service import Jobs, Schedules, Workers
    from aegis.workflows.service import Workflows

__all__ = ["Aegis", "Bridge", "Connecting", "ask_aegis", "connect", "unwrap"]

T = TypeVar("T")

if TYPE_CHECKING:
    # To whoever asks, a part is there; protocols do not know `cached_property`.
    lazy = property
else:
    lazy = functools.cached_property


class Aegis:
    """An open client: an agent's `memory`, `sessions`, `workflows`, `research` and `intel`, the
    `metrics` of its containers; an API's `keys`, `usage` and `billing`; and the database's own
    `health`, `maintenance`, `backups`, `alerts`, `security`, `audit_log` and `encryption`. `db` is
    the pool beneath.
    """

    def __init__(
        self,
        db: Database,
        embedder: Embedder | None,
        settings: Settings,
        *,
        reranker: Reranker | None = None,
        next_embedder: Embedder | None = None,
    ) -> None:
        from aegis.billing import Billing
        from aegis.keys import Keys
        from aegis.memory import Memory
        from aegis.metrics.service import Metrics
        from aegis.sessions.service import Sessions
        from aegis.usage import Usage

        #: Into the event loop in which this was opened.
        self.bridge = Bridge()
        self.db = db
        self.settings = settings
        self.memory: Memory = Memory(
            db,
            embedder,
            namespace=settings.namespace,
            reranker=reranker,
            next_embedder=next_embedder,
        )
        #: The one whose model is active, of those that the settings name.
        self.embedder: Embedder | None = self.memory.embedder
        self.keys: Keys = Keys(db, settings)
        self.sessions: Sessions = Sessions(self.memory)
        self.usage: Usage = Usage(db, settings)
        self.billing: Billing = Billing(db, settings)
        self.metrics: Metrics = Metrics(db, keep_days=settings.metrics_keep_days)
        self._research: Research | None = None

    @property
    def research(self) -> Research:
        """Questions that somebody else looks into; loaded when it is first asked for."""
        if self._research is None:
            from functools import partial

            from aegis.research.service import Research
            from aegis.worker.pacing import take_turn

            turn = partial(take_turn, self.db)
            self._research = Research(self.memory, self.settings, turn=turn)
        return self._research

    async def aclose(self) -> None:
        """Close what was opened on the way, beside the pool."""
        if self._research is not None:
            await self._research.aclose()

    @lazy
    def functions(self) -> Functions:
        """The functions that jobs may call; `functions.add(name, coroutine function)`."""
        from aegis.worker.functions import Functions

        return Functions()

    @lazy
    def jobs(self) -> Jobs:
        """Calls of functions that workers make."""
        from aegis.worker.service import Jobs

        return Jobs(self.db, self.functions)

    @lazy
    def schedules(self) -> Schedules:
        """Functions that are called at times of a cron expression."""
        from aegis.worker.service import Schedules

        return Schedules(self.db, self.functions)

    @lazy
    def workers(self) -> Workers:
        """The processes that run work."""
        from aegis.worker.service import Workers

        return Workers(self.db)

    @lazy
    def workflows(self) -> Workflows:
        """Durable work that is data: its definitions and executions."""
        from aegis.workflows.service import Workflows

        return Workflows(self.db, namespace=self.settings.namespace)

    @lazy
    def intel(self) -> Intel:
        """Competitors: their pages, and what changed on them."""
        from aegis.intel.alerting import ChangeAlerts
        from aegis.intel.service import Intel

        return Intel(self.db, self.settings, memory=self.memory, alerting=ChangeAlerts(self.alerts))

    @lazy
    def backups(self) -> Backups:
        """Backups of the database."""
        from aegis.ops.backup.service import Backups

        return Backups(self.settings, smoke=ask_aegis)

    @lazy
    def health(self) -> Health:
        """Whether the database is well."""
        from aegis.ops.health import Health

        return Health(self.db, self.settings)

    @lazy
    def stats(self) -> Stats:
        """Figures of the database, now and over time."""
        from aegis.ops.stats import Stats

        return Stats(self.db)

    @lazy
    def maintenance(self) -> Maintenance:
        """What keeps the database in shape."""
        from aegis.ops.maintenance import Maintenance

        return Maintenance(self.db, self.settings)

    @lazy
    def security(self) -> Security:
        """Who may do what in the database."""
        from aegis.security.service import Security

        return Security(self.db, self.settings)

    @lazy
    def alerts(self) -> Alerts:
        """What people have to be told."""
        from aegis.alerts.service import Alerts
        from aegis.metrics.telemetry import marked

        alerts = Alerts(self.db, self.settings)
        alerts.on_mark("metrics", marked)
        return alerts

    @lazy
    def audit_log(self) -> AuditLog:
        """Who changed what through Aegis."""
        from aegis.security.audit.service import AuditLog

        return AuditLog(self.db, self.settings)

    @lazy
    def encryption(self) -> Encryption:
        """Columns that are encrypted."""
        from aegis.security.columns import Encryption

        return Encryption(self.db, self.settings)

    @lazy
    def telemetry(self) -> Telemetry:
        """Measuring containers, and watching what is measured."""
        from aegis.metrics.telemetry import Telemetry

        return Telemetry(self.db, self.metrics, self.alerts, self.settings)


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
        from aegis.memory.embedding import open_embedder, open_next_embedder
        from aegis.memory.reranking import open_reranker

        dsn = await ready(self.settings)
        db = await Database.open(
            dsn, self.settings, min_size=self._pool_min_size, find_dsn=finder(self.settings)
        )
        async with AsyncExitStack() as stack:
            stack.push_async_callback(db.close)
            reranker = open_reranker(self.settings)
            if reranker is not None:
                stack.push_async_callback(reranker.aclose)
            client = Aegis(
                db,
                open_embedder(self.settings),
                self.settings,
                reranker=reranker,
                next_embedder=open_next_embedder(self.settings),
            )
            stack.push_async_callback(client.aclose)
            stack.push_async_callback(client.keys.close)
            stack.push_async_callback(client.memory.models.flush)
            stack.push_async_callback(client.memory.usage.flush)
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
        return _Blocking(client, client.bridge)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stack is not None:
            self._stack.close()


class _Blocking:
    """The same object for code without `async`: every coroutine is awaited through the bridge."""

    def __init__(self, target: Any, bridge: Bridge) -> None:
        self._target = target
        self._bridge = bridge

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if inspect.iscoroutinefunction(value):

            @functools.wraps(value)
            def call(*args: Any, **kwargs: Any) -> Any:
                return self._bridge.call(value, *args, **kwargs)

            return call
        if type(value).__module__.startswith("aegis.") and not hasattr(value, "__slots__"):
            return _Blocking(value, self._bridge)
        return value

    def __repr__(self) -> str:
        return f"<blocking {self._target!r}>"

    def __dir__(self) -> list[str]:
        return dir(self._target)


async def ask_aegis(dsn: str) -> str:
    """Use a restored database as an agent would, and return what was answered; writes nothing.

    Raises:
        AegisError: it does not work.
    """
    from dataclasses import replace

    settings = replace(load_settings(), database_url=dsn, embedder="none", reranker="none")
    async with connect(settings=settings, pool_min_size=1) as client:
        count = await client.memory.count()
        page = await client.memory.list(limit=3)
        await client.memory.recall("what was decided", k=3, count=False)
        keys = await client.keys.list()
        columns = await client.encryption.probe()
    return (
        f"Aegis answers: {count} episodes of {settings.namespace}, {len(page)} listed, "
        f"{len(keys)} keys{columns}"
    )


def unwrap(client: Any) -> Aegis:
    """Return the asynchronous client behind one that was entered with or without `async`.

    Raises:
        InvalidInput: it is no open client.
    """
    target = client._target if isinstance(client, _Blocking) else client  # pyright: ignore[reportPrivateUsage]
    if not isinstance(target, Aegis):
        raise InvalidInput(
            f"client is {type(target).__name__}; give what `with aegis.connect() as client` gives."
        )
    return target


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
