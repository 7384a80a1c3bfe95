"""A report as a memory, once, with where it is from."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aegis.errors import InvalidInput
from aegis.research.reading import mapping, text
from aegis.research.store import claims
from aegis.research.store import jobs as store

if TYPE_CHECKING:
    from aegis.memory import Memory
    from aegis.research.models import JobRow

__all__ = ["remember"]

_log = logging.getLogger("aegis.research")

#: Characters of the report in the summary, which is what recall searches, and in the details.
_SUMMARY, _REPORT = 4_000, 200_000
_LISTED = 50


async def remember(memory: Memory, job: JobRow) -> None:
    """Record a completed job's report and note its memory; nothing is left to do afterwards.

    Its `source_id` is the job's, so that a crash between the two records it no second time.
    """
    episode_id = None
    if job.remember and job.episode_id is None:
        async with memory.database.transaction() as conn:
            result = mapping(await store.find_result(conn, job.id))
            sources = await store.list_sources(conn, job.id)
            citations = await store.list_citations(conn, job.id)
        report = text(result.get("report")) or ""
        provenance: dict[str, Any] = {
            "job_id": job.id,
            "provider": job.provider,
            "model": result.get("model"),
            "sources": [s.url or f"e{s.episode_id}" for s in sources[:_LISTED]],
            "citations": len(citations),
            "unverified_citations": sum(1 for c in citations if not c.verified),
            # Whoever reads it back must know: pages of the web speak in it.
            "trust": "web" if job.provider != "local" else "memory",
        }
        try:
            episode = await memory.record(
                "research",
                f"Research by {job.provider}: {job.query}\n\n{report[:_SUMMARY]}".strip(),
                details={"report": report[:_REPORT], "warnings": result.get("warnings")},
                metadata={"provenance": provenance},
                tags=["research", job.provider],
                related_memories=[s.episode_id for s in sources[:_LISTED] if s.episode_id],
                source_id=f"research:{job.id}",
                namespace=job.namespace,
            )
            episode_id = episode.id
        except InvalidInput as error:
            # A report that memory does not take must not be tried for ever.
            _log.warning("research.not_remembered", extra={"job": job.id, "why": error.message})
    async with memory.database.transaction() as conn:
        await claims.set_remembered(conn, job, episode_id)
