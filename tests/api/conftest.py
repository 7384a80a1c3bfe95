"""The HTTP application on a database of the test's own, asked without a network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import httpx2
import pytest

from aegis.api.app import create_app
from aegis.client import Aegis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aegis.config import Settings
    from aegis.db import Database

TOKEN = "aegis_op_" + "t" * 43


@pytest.fixture
async def client(db: Database, settings: Settings) -> Aegis:
    return Aegis(db, None, replace(settings, embedder="none"))


@pytest.fixture
async def http(client: Aegis) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the application that knows the token."""
    transport = httpx2.ASGITransport(app=create_app(client, token=TOKEN))
    async with httpx2.AsyncClient(
        transport=transport,
        base_url="http://127.0.0.1:8734",
        headers={"Authorization": f"Bearer {TOKEN}"},
    ) as asked:
        yield asked
