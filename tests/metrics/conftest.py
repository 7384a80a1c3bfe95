"""Metrics on a database of the test's own, with a clock that stands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from aegis.metrics.models import Sample
from aegis.metrics.service import Metrics
from tests.metrics.lab import Lab

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database

#: Noon of today, so that a day behind and ahead has a partition of its own.
NOW = datetime.now(UTC).replace(hour=12, minute=0, second=7, microsecond=0)


@pytest.fixture
def metrics(db: Database) -> Metrics:
    return Metrics(db, now=lambda: NOW)


def sample(
    name: str = "web", *, ago: timedelta = timedelta(0), cpu: float | None = 10.0, net: float = 0.0
) -> Sample:
    return Sample(
        container_name=name,
        timestamp=NOW - ago,
        cpu_percent=cpu,
        mem_usage_mb=512.0,
        mem_percent=25.0,
        net_io_mb=net,
        block_io_mb=None,
    )


@pytest.fixture
async def lab(db: Database, settings: Settings) -> Lab:
    """Six usual hours of one container are learned."""
    made = Lab(db, settings)
    await made.run(360)
    await made.watch()
    assert await made.found() == []
    return made
