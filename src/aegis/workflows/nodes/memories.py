"""The agent's memory as nodes: recording exactly once, and recalling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from aegis.memory import validate
from aegis.memory.models import IMPORTANCE, MODES, NewEpisode
from aegis.memory.recording import record_without_vector
from aegis.workflows.nodes.kind import Kind
from aegis.workflows.nodes.params import Param

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aegis.workflows.models import JSON
    from aegis.workflows.nodes.contract import Runs, Step

__all__ = ["MemoryRecall", "MemoryRecord"]

_NAMESPACE = Param("text", "Namespace of memories; the execution's if left out.", most=200)


class MemoryRecord(Kind):
    """Records an episode."""

    name = "memory_record"
    runs: ClassVar[Runs] = "database"
    doc = (
        "Records an episode in the transaction that records the step: exactly once. Its vector is "
        "filled in a little later."
    )
    result = '`{"id", "namespace"}`'
    params: ClassVar[Mapping[str, Param]] = {
        "event_type": Param("text", "Type, such as `learning`.", required=True, least=1, most=100),
        "summary": Param(
            "text", "What happened, in words.", required=True, least=1, most=1_000_000
        ),
        "details": Param("object", "More of it, as an object."),
        "importance": Param("text", "Importance.", default="medium", choices=IMPORTANCE),
        "tags": Param("texts", "Tags.", default=[]),
        "session_id": Param("text", "Conversation or run it belongs to.", most=200),
        "source_id": Param(
            "text", "The source's own key: a known one is not recorded again.", most=1_000
        ),
        "ttl": Param("text", "How long it is kept, such as `30d`.", most=20),
        "namespace": _NAMESPACE,
    }

    async def act(self, step: Step, **params: Any) -> JSON:
        """Record it in the transaction of the step's record."""
        assert step.conn is not None
        namespace = _namespace(step, params.pop("namespace"))
        told = {"execution_id": step.execution_id, "node": step.node}
        episode = NewEpisode(**params, metadata={"workflow": told})
        stored = await record_without_vector(step.conn, episode, namespace=namespace)
        return {"id": stored.id, "namespace": namespace}


class MemoryRecall(Kind):
    """Recalls episodes."""

    name = "memory_recall"
    doc = "Recalls the episodes that answer a question best, or the newest where none is asked."
    result = (
        '`{"episodes": [{"id", "timestamp", "event_type", "summary", "importance", "tags", '
        '"score"}], "warnings"}`'
    )
    params: ClassVar[Mapping[str, Param]] = {
        "query": Param("text", "What to recall; the newest if left out.", most=10_000),
        "k": Param("whole", "How many at most.", default=10, least=1, most=200),
        "mode": Param("text", "Which arms search.", choices=MODES),
        "since_hours": Param("number", "Only of so many last hours.", least=0.001, most=1_000_000),
        "event_types": Param("texts", "Only of these types.", default=[]),
        "tags": Param("texts", "Only with all of these tags.", default=[]),
        "min_importance": Param("text", "Only as important as that.", choices=IMPORTANCE),
        "session_id": Param("text", "Only of this conversation.", most=200),
        "count": Param("boolean", "Whether they count as used.", default=True),
        "namespace": _NAMESPACE,
    }

    async def act(self, step: Step, **params: Any) -> JSON:
        """Search, and return what a later node needs of what was found."""
        from datetime import UTC, datetime, timedelta

        query = params["query"] or None
        hours: float | None = params["since_hours"]
        hits = await step.parts.memory.recall(
            query,
            k=params["k"],
            mode=params["mode"] or ("hybrid" if query else "time"),
            namespace=_namespace(step, params["namespace"]),
            session_id=params["session_id"],
            since=None if hours is None else datetime.now(UTC) - timedelta(hours=hours),
            event_types=params["event_types"],
            tags=params["tags"],
            min_importance=params["min_importance"],
            count=params["count"],
        )
        return {
            "episodes": [
                {
                    "id": hit.episode.id,
                    "timestamp": hit.episode.timestamp.isoformat(),
                    "event_type": hit.episode.event_type,
                    "summary": hit.episode.summary,
                    "importance": hit.episode.importance,
                    "tags": list(hit.episode.tags),
                    "score": float(hit.score),
                }
                for hit in hits
            ],
            "warnings": list(hits.warnings),
        }


def _namespace(step: Step, named: str | None) -> str:
    own: Any = step.scope.get("execution") or {}
    return validate.namespace_of(named or own.get("namespace"), step.parts.memory.namespace)
