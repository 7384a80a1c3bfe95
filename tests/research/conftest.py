"""Research against servers of the test's own."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from aegis.memory import Memory
from aegis.research.service import Research
from tests.research.servers import Script, serving

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aegis.config import Settings
    from aegis.db import Database

#: What the tests reckon Gemini's agent with.
GEMINI_PRICES = {
    "input_tokens": ("2", 1_000_000),
    "cached_input_tokens": ("0.2", 1_000_000),
    "output_tokens": ("12", 1_000_000),
    "searches": ("14", 1_000),
}


class Desk:
    """Research of one database: `asking` opens it on a script, as another process would."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self.db = db
        self.settings = settings
        self.memory = Memory(db, None, namespace="default")

    def open(self, url: str, **more: Any) -> Research:
        """Open research whose providers are all at `url`."""
        given: dict[str, Any] = {"research_claude_model": "claude-sonnet-4-5"}
        for name in ("gemini", "perplexity", "claude"):
            given |= {f"research_{name}_url": url, f"research_{name}_api_key": f"key-of-{name}"}
        settings = replace(self.settings, **{**given, **more})
        return Research(self.memory, settings, pace=0.0)

    @asynccontextmanager
    async def asking(self, script: Script, **more: Any) -> AsyncGenerator[Research]:
        """Serve a script and open research on it."""
        async with serving(script):
            research = self.open(script.url, **more)
            try:
                for meter, (usd, per) in GEMINI_PRICES.items():
                    await research.set_price(
                        "gemini",
                        "deep-research",
                        meter,
                        usd,
                        per=per,
                        source="test",
                        valid_from=date(2026, 1, 1),
                    )
                yield research
            finally:
                await research.aclose()

    async def expire(self) -> None:
        """Let the leases of a killed process run out, and what waits be due."""
        async with self.db.transaction() as conn:
            await conn.execute(
                "UPDATE deep_briefing_jobs SET lease_until = now() - INTERVAL '1 second', "
                "next_poll_at = least(next_poll_at, now()) WHERE next_poll_at IS NOT NULL"
            )

    async def value(self, query: str, *params: Any) -> Any:
        """Return the first column of the first row."""
        async with self.db.transaction() as conn:
            cursor = await conn.execute(query.encode(), params)
            row = await cursor.fetchone()
            return None if row is None else row[0]

    async def month(self, namespace: str = "*") -> tuple[Decimal, Decimal]:
        """Return what was spent, and what is kept free."""
        async with self.db.transaction() as conn:
            cursor = await conn.execute(
                "SELECT spent_usd, reserved_usd FROM research_months WHERE namespace = %s",
                (namespace,),
            )
            row = await cursor.fetchone()
            assert row is not None
            return row[0], row[1]


@pytest.fixture
def desk(db: Database, settings: Settings) -> Desk:
    return Desk(db, settings)


@pytest.fixture
def memory(desk: Desk) -> Memory:
    return desk.memory
