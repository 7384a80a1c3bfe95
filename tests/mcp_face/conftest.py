"""An agent of a server in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mcp import Client

from aegis.mcp.server import create_server
from aegis.memory import Memory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aegis.db import Database


@pytest.fixture
def agent_memory(db: Database) -> Memory:
    return Memory(db, None, namespace="default")


@pytest.fixture
async def agent(agent_memory: Memory) -> AsyncIterator[Client]:
    """A client of a server in this process."""
    async with Client(create_server(agent_memory)) as client:
        yield client
