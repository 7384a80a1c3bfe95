"""The SDK's own client, over either transport, and calls that must succeed or be refused."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests.serving import environment, serving

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from mcp_types import CallToolResult


async def call(client: Client, name: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(name, arguments)
    assert not result.is_error, text_of(result)
    assert result.structured_content is not None
    return result.structured_content


async def refused(client: Client, name: str, **arguments: Any) -> str:
    result = await client.call_tool(name, arguments)
    assert result.is_error
    return text_of(result)


def text_of(result: CallToolResult) -> str:
    return "".join(block.text for block in result.content if block.type == "text")


@asynccontextmanager
async def over_stdio(data_dir: Path, dsn: str, mode: Any) -> AsyncGenerator[Client]:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "aegis.cli", "mcp"],
        env=environment(data_dir, database_url=dsn, embedder="none"),
    )
    async with Client(server, mode=mode) as client:
        yield client


@asynccontextmanager
async def over_http(
    data_dir: Path, dsn: str, mode: Any, key: str | None = None
) -> AsyncGenerator[Client]:
    with serving(data_dir, database_url=dsn, embedder="none") as served:
        headers = {"Authorization": f"Bearer {key or served.token}"}
        async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
            transport = streamable_http_client(f"{served.url}/mcp", http_client=http)
            async with Client(transport, mode=mode) as client:
                yield client
