"""Definitions of workflows as methods; what they do is in `definitions.py`."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aegis.db import Database
    from aegis.workflows.models import Definition, Graph

__all__ = ["Definitions"]

#: The class has a method of this name.
_list = builtins.list


class Definitions:
    """Workflows as data: saved in versions, looked at, compared, put away."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def save(
        self, given: str | Mapping[str, Any] | Graph, *, name: str | None = None
    ) -> tuple[Definition, bool]:
        """Save YAML, an object or a graph as the newest version; return it and whether it is new.

        What the newest version says already makes no other. `name` replaces the one inside.

        Raises:
            InvalidWorkflow: it cannot be; `problems` names each node and field.
        """
        from aegis.workflows import definitions

        return await definitions.save(self._db, given, name=name)

    async def check(self, given: str | Mapping[str, Any], *, name: str | None = None) -> Graph:
        """Return the graph if it could be saved (`InvalidWorkflow`)."""
        from aegis.workflows import definitions

        return definitions.read(given, name=name)

    async def get(self, name: str, version: int | None = None) -> Definition:
        """Return a version of a workflow, the newest if none is named (`NotFound`)."""
        from aegis.workflows import definitions

        return await definitions.get(self._db, name, version)

    async def list(
        self, *, after: str | None = None, limit: int = 100, archived: bool = False
    ) -> _list[Definition]:
        """Return the newest version of each workflow by name; `after` is the last name seen."""
        from aegis.workflows import definitions

        return await definitions.list_definitions(
            self._db, after=after, limit=limit, archived=archived
        )

    async def versions(self, name: str) -> _list[Definition]:
        """Return every version of a workflow, the newest first (`NotFound`)."""
        from aegis.workflows import definitions

        return await definitions.versions(self._db, name)

    async def export(self, name: str, version: int | None = None) -> str:
        """Return a version as YAML (`NotFound`)."""
        from aegis.workflows import definitions

        return await definitions.export(self._db, name, version)

    async def diff(self, name: str, old: int, new: int | None = None) -> str:
        """Return the unified diff of two versions' YAML; `new` is the newest (`NotFound`)."""
        from aegis.workflows import definitions

        return await definitions.diff(self._db, name, old, new)

    async def graph(self, name: str, version: int | None = None) -> str:
        """Return a version as a Mermaid flowchart (`NotFound`)."""
        from aegis.workflows.mermaid import mermaid

        return mermaid((await self.get(name, version)).graph)

    async def archive(self, name: str, version: int | None = None) -> None:
        """Start no more executions of a version, or of any; those that run go on (`NotFound`)."""
        from aegis.workflows import definitions

        await definitions.set_status(self._db, name, "archived", version)

    async def activate(self, name: str, version: int | None = None) -> None:
        """Take back `archive` (`NotFound`)."""
        from aegis.workflows import definitions

        await definitions.set_status(self._db, name, "active", version)

    async def delete(self, name: str) -> None:
        """Delete a workflow that was never started.

        Raises:
            Conflict: there are executions of it; archive it instead.
        """
        from aegis.workflows import definitions

        await definitions.delete(self._db, name)
