"""A worker in a process: beside the requests of `aegis up`, or as all that `aegis worker` does."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING

from aegis.errors import AegisError, InvalidInput
from aegis.worker.defaults import ensure_defaults
from aegis.worker.kinds import kinds_of
from aegis.worker.loop import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from aegis.client import Aegis
    from aegis.config import Settings

__all__ = ["run_worker", "work_beside"]

_log = logging.getLogger("aegis.serve")

_PAUSE_S = 5.0


def worker_of(client: Aegis, *, kinds: frozenset[str] = frozenset()) -> Worker:
    """Return a worker as the settings say; of some kinds only, if they are named.

    Raises:
        InvalidInput: there is no such kind.
    """
    known = kinds_of(client, client.functions)
    names = [kind.name for kind in known]
    for name in sorted(kinds - set(names)):
        raise InvalidInput(f"kind is {name[:60]!r}; use one of {', '.join(names)}.")
    offered = [kind for kind in known if not kinds or kind.name in kinds]
    return Worker(
        client.db,
        offered,
        concurrency=client.settings.worker_concurrency,
        grace_s=client.settings.worker_grace_s,
    )


async def work_beside(client: Aegis) -> None:
    """Make the default schedules and work until cancelled; hand back what is not done then."""
    # The packages of the environment are looked through once, beside the requests.
    await asyncio.to_thread(client.functions.names)
    await _ensure_defaults(client)
    await worker_of(client).run()


async def _ensure_defaults(client: Aegis) -> None:
    while True:
        try:
            await ensure_defaults(client.db, client.settings)
        except AegisError as error:
            _log.warning("serve.defaults_failed", extra={"code": error.code, "why": error.message})
            await asyncio.sleep(_PAUSE_S)
        else:
            return


def run_worker(
    settings: Settings, *, kinds: frozenset[str], on_ready: Callable[[str], object]
) -> None:
    """Work until SIGINT or SIGTERM; `on_ready` is told the worker's id.

    Raises:
        AegisError: the database cannot be reached, or is not at this revision.
    """
    asyncio.run(_run(settings, kinds, on_ready))


async def _run(
    settings: Settings, kinds: frozenset[str], on_ready: Callable[[str], object]
) -> None:
    from aegis.client import connect

    async with connect(settings=settings) as client:
        await ensure_defaults(client.db, settings)
        worker = worker_of(client, kinds=kinds)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, worker.stop)
        on_ready(worker.id)
        await worker.run()
