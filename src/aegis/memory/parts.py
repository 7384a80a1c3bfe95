"""What hangs on a memory: facts, decisions, the graph and the rest, each under its name.

A part is loaded when it is asked for: most programs use two or three of them, and a command has
150 ms for all that it imports.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from aegis.memory import validate
from aegis.memory.active import ActiveEmbedder
from aegis.memory.change import Models
from aegis.memory.retention.usage import Usage

if TYPE_CHECKING:
    from aegis.db import Database
    from aegis.memory.audit.service import Audit
    from aegis.memory.consolidation.service import Consolidation
    from aegis.memory.decisions import Decisions, Recall
    from aegis.memory.embedding import Embedder
    from aegis.memory.facts import Facts
    from aegis.memory.graph.service import Graph
    from aegis.memory.graphiti.service import GraphitiSync
    from aegis.memory.items.service import Items
    from aegis.memory.retention.archives import Archives
    from aegis.memory.retention.erasures import Erasures
    from aegis.memory.retention.service import Retention
    from aegis.memory.vectors import VectorSearch

__all__ = ["Parts"]


class Parts:
    """The parts of one client's memory, on one pool, with one embedder."""

    def __init__(
        self,
        db: Database,
        embedder: Embedder | None,
        *,
        namespace: str,
        next_embedder: Embedder | None,
        recall: Recall,
    ) -> None:
        validate.check_namespace(namespace)
        active = None if embedder is None else ActiveEmbedder(db, embedder, next_embedder)
        self._db = db
        self._embedder: Embedder | None = active
        self._recall = recall
        self.namespace = namespace
        self.models = Models(db, active)
        self.usage = Usage(db)

    @property
    def database(self) -> Database:
        """The pool beneath, for what reads and writes memory wholesale (import, export)."""
        return self._db

    @property
    def embedder(self) -> Embedder | None:
        """What makes the vectors; None where the settings name none."""
        return self._embedder

    @cached_property
    def facts(self) -> Facts:
        """What is known."""
        from aegis.memory.facts import Facts

        return Facts(self._db, self._embedder, namespace=self.namespace)

    @cached_property
    def decisions(self) -> Decisions:
        """What was decided, and how it turned out."""
        from aegis.memory.decisions import Decisions

        return Decisions(self._db, self._embedder, namespace=self.namespace, recall=self._recall)

    @cached_property
    def items(self) -> Items:
        """What frameworks keep in their stores."""
        from aegis.memory.items.service import Items

        return Items(self._db, self._embedder, namespace=self.namespace)

    @cached_property
    def graph(self) -> Graph:
        """Entities, and relations between them and memories."""
        from aegis.memory.graph.service import Graph

        return Graph(self._db, namespace=self.namespace)

    @cached_property
    def graphiti(self) -> GraphitiSync:
        """A copy in Graphiti."""
        from aegis.memory.graphiti.service import GraphitiSync

        return GraphitiSync(self._db, self._embedder, namespace=self.namespace)

    @cached_property
    def consolidation(self) -> Consolidation:
        """What many episodes say, proposed as facts."""
        from aegis.memory.consolidation.service import Consolidation

        return Consolidation(self._db, self._embedder, namespace=self.namespace)

    @cached_property
    def audit(self) -> Audit:
        """What is wrong with the memory, and its repair."""
        from aegis.memory.audit.service import Audit

        return Audit(self._db, self._embedder)

    @cached_property
    def vectors(self) -> VectorSearch:
        """The search of vectors and its indexes."""
        from aegis.memory.vectors import VectorSearch

        return VectorSearch(self._db, self._embedder, namespace=self.namespace)

    @cached_property
    def retention(self) -> Retention:
        """How long what lives."""
        from aegis.memory.retention.service import Retention

        return Retention(self._db, namespace=self.namespace)

    @cached_property
    def archives(self) -> Archives:
        """What was forgotten and can be restored."""
        from aegis.memory.retention.archives import Archives

        return Archives(self._db, namespace=self.namespace)

    @cached_property
    def erasures(self) -> Erasures:
        """What was deleted for good, with its proof."""
        from aegis.memory.retention.erasures import Erasures

        return Erasures(self._db, namespace=self.namespace)
