"""Research and checks of competitors' pages as nodes: they call the services of the same client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from aegis.errors import ConfigError, Conflict
from aegis.workflows.nodes.kind import Kind
from aegis.workflows.nodes.params import Param

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aegis.workflows.models import JSON
    from aegis.workflows.nodes.contract import Step

__all__ = ["PageCheck", "Research"]

#: A result is kept in the database; see `payload.MOST_RESULT_BYTES`.
_MOST_CHARACTERS = 120_000
_MOST_LISTED = 100
#: Seconds that a step of research is left to the worker's own place for research, which keeps the
#: rates of providers and no time limit of a node cuts off.
_PATIENCE_S = 5.0


class _Researching(Protocol):
    """What is asked of `client.research`."""

    async def start(
        self,
        query: str,
        *,
        provider: str | None = None,
        model: str | None = None,
        options: Mapping[str, Any] | None = None,
        budget_usd: float | None = None,
        idempotency_key: str | None = None,
        remember: bool | None = None,
        namespace: str | None = None,
    ) -> Any: ...

    async def wait(
        self,
        job_id: str,
        *,
        within_s: float | None = None,
        patience_s: float = 0.0,
        namespace: str | None = None,
    ) -> Any: ...


class _Watching(Protocol):
    """What is asked of `client.intel`."""

    async def check(
        self,
        competitor: str | None = None,
        *,
        page_id: int | None = None,
        everything: bool = False,
    ) -> Sequence[Any]: ...

    async def changes(
        self,
        competitor: str | None = None,
        *,
        page_id: int | None = None,
        importance: str | None = None,
        since: datetime | None = None,
        limit: int = 50,
    ) -> Sequence[Any]: ...


class Research(Kind):
    """Has a question researched."""

    name = "research"
    doc = (
        "Has a provider research a question and waits for its report. Attempts of one step are one "
        "job: it is paid once."
    )
    result = (
        '`{"job_id", "markdown", "sources": [{"url", "title"}], "cost_usd", "warnings"}`; a '
        "stranger's text"
    )
    params: ClassVar[Mapping[str, Param]] = {
        "query": Param("text", "The question.", required=True, least=1, most=20_000),
        "provider": Param("text", "`local`, `gemini`, `perplexity` or `claude`.", most=50),
        "model": Param("text", "The provider's model.", most=200),
        "options": Param("object", "The provider's own options."),
        "budget_usd": Param("number", "What it may cost at most.", most=10_000),
        "remember": Param("boolean", "Whether its report becomes a memory."),
        "within_s": Param(
            "number",
            "Seconds to wait in one attempt; the next attempt goes on with the same job. Give the "
            "node a `timeout_s` above it.",
            default=240,
            least=1,
            most=86_400,
        ),
    }

    async def act(self, step: Step, **params: Any) -> JSON:
        """Start the job, or find the one of an earlier attempt, and wait for it."""
        service = cast("_Researching", _part(step, "research"))
        within_s: float = params.pop("within_s")
        own: Any = step.scope.get("execution") or {}
        place: str | None = own.get("namespace")
        started = await service.start(
            **params, idempotency_key=step.idempotency_key, namespace=place
        )
        found = await service.wait(
            started.job.id, within_s=within_s, patience_s=_PATIENCE_S, namespace=place
        )
        job = found.job
        if job.status != "completed":
            raise Conflict(
                f"Research job {job.id} is {job.status}: {getattr(job, 'error', None) or ''}"
                " Start another execution, or fork from this step.",
                code="research_failed",
            )
        markdown: str = found.markdown or ""
        cost: Any = job.cost_usd
        return {
            "job_id": str(job.id),
            "markdown": markdown[:_MOST_CHARACTERS],
            "sources": [
                {"url": source.url, "title": source.title, "episode_id": source.episode_id}
                for source in found.sources[:_MOST_LISTED]
            ],
            "cost_usd": None if cost is None else str(cost),
            "warnings": list(found.warnings),
        }


class PageCheck(Kind):
    """Checks pages of competitors."""

    name = "page_check"
    doc = "Checks watched pages of competitors now, and says what changed."
    result = (
        '`{"checked": [{"page_id", "url", "outcome"}], "changes": [{"id", "url", "change_type", '
        '"importance", "summary"}]}`'
    )
    params: ClassVar[Mapping[str, Param]] = {
        "competitor": Param("text", "Domain or name; all that are due if left out.", most=300),
        "page_id": Param("whole", "One page.", least=1),
        "everything": Param("boolean", "Also pages that are not due.", default=False),
        "importance": Param("text", "Changes of this importance at least.", most=20),
    }

    async def act(self, step: Step, **params: Any) -> JSON:
        """Check them, and list what these checks stored."""
        service = cast("_Watching", _part(step, "intel"))
        checked = await service.check(
            params["competitor"], page_id=params["page_id"], everything=params["everything"]
        )
        stored = {number for done in checked for number in done.changes}
        changes: Sequence[Any] = ()
        if stored:
            changes = await service.changes(
                params["competitor"],
                page_id=params["page_id"],
                importance=params["importance"],
                limit=500,
            )
        return {
            "checked": [
                {"page_id": done.page_id, "url": done.url, "outcome": done.outcome}
                for done in checked[:_MOST_LISTED]
            ],
            "changes": [
                {
                    "id": change.id,
                    "url": change.url,
                    "change_type": change.change_type,
                    "importance": change.importance,
                    "summary": change.summary,
                }
                for change in changes
                if change.id in stored
            ][:_MOST_LISTED],
        }


def _part(step: Step, name: str) -> Any:
    service = getattr(step.parts, name, None)
    if service is None:
        raise ConfigError(
            f"This client has no {name}; nodes of type {step.node} need it.", code="workflow_part"
        )
    return service
