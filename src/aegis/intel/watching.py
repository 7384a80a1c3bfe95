"""What checks pages and looks for them, put together: one HTTP client, one browser, one model."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from aegis.errors import AegisError
from aegis.intel import telling
from aegis.intel.browser import Browser
from aegis.intel.checking import Checker
from aegis.intel.discovering import Discoverer
from aegis.intel.fetching import Fetcher
from aegis.intel.robots import Polite
from aegis.intel.summing import Summing

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database
    from aegis.intel.discovering import Discovered
    from aegis.intel.telling import Alerting
    from aegis.memory import Memory

__all__ = ["Watching"]

_log = logging.getLogger("aegis.intel")


class Watching:
    """Checks and discovers; whoever opens it holds the leases."""

    def __init__(
        self,
        db: Database,
        settings: Settings,
        *,
        memory: Memory | None = None,
        alerting: Alerting | None = None,
    ) -> None:
        from aegis.memory.llm import open_language_model

        self._db = db
        self._memory = memory
        self._alerting = alerting
        self._model = open_language_model(settings)
        self._fetcher = Fetcher(db, settings)
        self.polite = Polite(db, self._fetcher, settings)
        self._browser = Browser(settings, self._fetcher, self.polite)
        self.discoverer = Discoverer(db, self.polite)
        self.checker = Checker(
            db,
            settings,
            self.polite,
            browser=self._browser,
            summing=None if self._model is None else Summing(self._model),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close connections and browser; the next use opens new ones."""
        async with AsyncExitStack() as stack:
            if self._model is not None:
                stack.push_async_callback(self._model.aclose)
            stack.push_async_callback(self._fetcher.aclose)
            stack.push_async_callback(self._browser.aclose)

    async def try_discover(self, competitor_id: int, token: int | None = None) -> Discovered | None:
        """Look for a competitor's pages; None where that failed, which is recorded."""
        try:
            return await self.discoverer.discover(competitor_id, token)
        except AegisError as error:
            _log.info("intel.discovery_failed", extra={"id": competitor_id, "why": error.code})
            return None

    async def tell(self) -> int:
        """Tell memory and alerts what is due, and return how many changes were told."""
        return await telling.tell(self._db, self._memory, self._alerting)
