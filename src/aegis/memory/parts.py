"""What hangs on a memory: facts, decisions, the graph and the rest, each under its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.memory import validate
from aegis.memory.active import ActiveEmbedder
from aegis.memory.audit.service import Audit
from aegis.memory.change import Models
from aegis.memory.consolidation.service import Consolidation
from aegis.memory.decisions import Decisions
from aegis.memory.facts import Facts
from aegis.memory.graph.service import Graph
from aegis.memory.graphiti.service import GraphitiSync
from aegis.memory.items.service import Items
from aegis.memory.retention.archives import Archives
from aegis.memory.retention.erasures import Erasures
from aegis.memory.retention.service import Retention
from aegis.memory.retention.usage import Usage
from aegis.memory.vectors import VectorSearch

if TYPE_CHECKING:
    from aegis.db import Database
    from aegis.memory.decisions import Recall
    from aegis.memory.embedding import Embedder

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
        self.namespace = namespace
        self.models = Models(db, active)
        self.facts = Facts(db, active, namespace=namespace)
        self.items = Items(db, active, namespace=namespace)
        self.audit = Audit(db, active)
        self.consolidation = Consolidation(db, active, namespace=namespace)
        self.vectors = VectorSearch(db, active, namespace=namespace)
        self.usage = Usage(db)
        self.retention = Retention(db, namespace=namespace)
        self.archives = Archives(db, namespace=namespace)
        self.erasures = Erasures(db, namespace=namespace)
        self.decisions = Decisions(db, active, namespace=namespace, recall=recall)
        self.graph = Graph(db, namespace=namespace)
        self.graphiti = GraphitiSync(db, active, namespace=namespace)

    @property
    def database(self) -> Database:
        """The pool beneath, for what reads and writes memory wholesale (import, export)."""
        return self._db

    @property
    def embedder(self) -> Embedder | None:
        """What makes the vectors; None where the settings name none."""
        return self._embedder
