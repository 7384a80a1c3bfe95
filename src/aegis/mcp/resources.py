"""Resources: what is remembered, at an address that a client may read or attach.

`aegis://episode/{id}`, `aegis://fact/{id}`, `aegis://decision/{id}`, `aegis://session/{session_id}`
and `aegis://namespace/{name}`; lists are `aegis://episodes`, `aegis://facts` and
`aegis://decisions`. Each is a JSON document. What is not there is not found, never empty.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.server.mcpserver.resources.templates import ResourceSecurity

from aegis.errors import AegisError, InvalidInput, NotFound
from aegis.wire.plain import json_text

if TYPE_CHECKING:
    from collections.abc import Generator

    from mcp.server import MCPServer

    from aegis.memory import Memory
    from aegis.memory.models import Episode, Fact

    Expiring = Episode | Fact

__all__ = ["add_resources"]

_JSON = "application/json"
#: A list, and what an overview shows of each kind.
_NEWEST, _SHOWN = 50, 10
#: The most of a session; a longer one says so.
_MOST = 1_000
#: Names of sessions and namespaces are no files: a slash or dots in them lead nowhere.
_NAMES = ResourceSecurity(reject_path_traversal=False, reject_absolute_paths=False)


def add_resources(server: MCPServer, memory: Memory) -> None:
    """Add the resources that read `memory`."""
    _add_rows(server, memory)
    _add_lists(server, memory)
    _add_overviews(server, memory)


def _add_rows(server: MCPServer, memory: Memory) -> None:
    @server.resource(
        "aegis://episode/{id}{?namespace}", name="episode", title="A memory", mime_type=_JSON
    )
    async def episode(id: str, namespace: str | None = None) -> str:  # pyright: ignore[reportUnusedFunction]
        """One episode in full: what happened, with its details."""
        with _read():
            return json_text(_alive("episode", await memory.get(_number(id), namespace=namespace)))

    @server.resource("aegis://fact/{id}{?namespace}", name="fact", title="A fact", mime_type=_JSON)
    async def fact(id: str, namespace: str | None = None) -> str:  # pyright: ignore[reportUnusedFunction]
        """One fact: what is known, how surely, and since when."""
        with _read():
            found = await memory.facts.get(_number(id), namespace=namespace)
            return json_text(_alive("fact", found))

    @server.resource(
        "aegis://decision/{id}{?namespace}", name="decision", title="A decision", mime_type=_JSON
    )
    async def decision(id: str, namespace: str | None = None) -> str:  # pyright: ignore[reportUnusedFunction]
        """One decision: its options, its reasons, and how it turned out."""
        with _read():
            return json_text(await memory.decisions.get(_number(id), namespace=namespace))


def _add_lists(server: MCPServer, memory: Memory) -> None:
    @server.resource("aegis://episodes", name="episodes", title="Newest memories", mime_type=_JSON)
    async def episodes() -> str:  # pyright: ignore[reportUnusedFunction]
        """The newest episodes of the default namespace."""
        with _read():
            return json_text({"items": await memory.list(limit=_NEWEST)})

    @server.resource("aegis://facts", name="facts", title="Newest facts", mime_type=_JSON)
    async def facts() -> str:  # pyright: ignore[reportUnusedFunction]
        """The facts of the default namespace that hold now, last updated first."""
        with _read():
            return json_text({"items": await memory.facts.list(limit=_NEWEST)})

    @server.resource(
        "aegis://decisions", name="decisions", title="Newest decisions", mime_type=_JSON
    )
    async def decisions() -> str:  # pyright: ignore[reportUnusedFunction]
        """The newest decisions of the default namespace."""
        with _read():
            return json_text({"items": await memory.decisions.list(limit=_NEWEST)})


def _add_overviews(server: MCPServer, memory: Memory) -> None:
    @server.resource(
        "aegis://session/{session_id}{?namespace}",
        name="session",
        title="A session",
        mime_type=_JSON,
        security=_NAMES,
    )
    async def session(session_id: str, namespace: str | None = None) -> str:  # pyright: ignore[reportUnusedFunction]
        """What happened in a conversation or run, in order; of a long one, its last part."""
        with _read():
            rows = await memory.list(limit=_MOST, session_id=session_id, namespace=namespace)
            if not rows:
                raise NotFound(f"There is no episode of session {session_id!r}.")
        return json_text(
            {"session_id": session_id, "complete": len(rows) < _MOST, "episodes": rows[::-1]}
        )

    @server.resource(
        "aegis://namespace/{name}",
        name="namespace",
        title="A namespace",
        mime_type=_JSON,
        security=_NAMES,
    )
    async def namespace(name: str) -> str:  # pyright: ignore[reportUnusedFunction]
        """What a namespace holds: how many episodes, the newest, facts and open decisions."""
        with _read():
            overview = await _overview(memory, name)
            if not any((overview["episodes"], overview["facts"], overview["decisions"])):
                raise NotFound(f"Nothing is remembered in namespace {name!r}.")
        return json_text(overview)


async def _overview(memory: Memory, name: str) -> dict[str, Any]:
    return {
        "namespace": name,
        "episodes": await memory.count(namespace=name),
        "newest": await memory.list(limit=_SHOWN, namespace=name),
        "facts": await memory.facts.list(limit=_SHOWN, namespace=name),
        "decisions": await memory.decisions.list(limit=_SHOWN, namespace=name),
        "due": await memory.decisions.due(limit=_SHOWN, namespace=name),
    }


@contextmanager
def _read() -> Generator[None]:
    """Run a block and let the client read an error of ours in one line."""
    try:
        yield
    except (NotFound, InvalidInput) as error:
        # An address that cannot be one is the address of nothing.
        raise ResourceNotFoundError(f"{error.told} [{error.code}]") from error
    except AegisError as error:
        raise ResourceError(f"{error.told} [{error.code}]") from error


def _alive(kind: str, row: Expiring) -> Expiring:
    """Return a row that has not expired: one that waits for the sweep is told to nobody."""
    if row.expires_at is not None and row.expires_at <= datetime.now(UTC):
        raise NotFound(f"The {kind} {row.id} has expired.")
    return row


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 10:
        raise NotFound(f"There is nothing with the id {text[:40]!r}; ids are whole numbers.")
    return int(text)
