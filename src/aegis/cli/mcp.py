"""`aegis mcp`: the MCP server on standard input and output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.cli.options import Namespace
from aegis.cli.running import with_client

if TYPE_CHECKING:
    from aegis.client import Aegis

__all__ = ["mcp"]


def mcp(namespace: Namespace = None) -> None:
    """Serve MCP on standard input and output.

    For an agent that starts it. Standard output carries the protocol alone; logs go to
    standard error.
    """

    async def work(client: Aegis) -> None:
        from aegis.mcp.server import serve_stdio

        await serve_stdio(client)

    with_client(work, namespace=namespace)
