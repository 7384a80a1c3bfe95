"""`/v1/memory/forget`, `/v1/memory/policies`, `/v1/memory/holds`, archives and erasures."""

from __future__ import annotations

from typing import Any

from fastapi import Response

from aegis.api import retention_shapes as shapes
from aegis.api.route import Router
from aegis.api.state import KnownParameters, MemoryOf, answer

__all__ = ["router"]

router = Router(prefix="/v1/memory", tags=["forgetting"], dependencies=[KnownParameters])


@router.get("/forget", response_model=shapes.ForgetPlan)
async def plan_forgetting(memory: MemoryOf, sample: int = 20, namespace: str | None = None) -> Any:
    """Say what would be archived and why, and what has expired; changes nothing."""
    return answer(await memory.retention.plan(sample=sample, namespace=namespace))


@router.post("/forget", response_model=shapes.ForgetReport)
async def forget(memory: MemoryOf, body: shapes.ForgetBody) -> Any:
    """Archive what has faded."""
    return answer(await memory.retention.run(**body.given()))


@router.post("/sweep", response_model=shapes.SweepReport)
async def sweep(memory: MemoryOf, body: shapes.SweepBody) -> Any:
    """Delete or archive what has expired."""
    return answer(await memory.retention.sweep(**body.given()))


@router.get("/policies", response_model=shapes.Policies)
async def list_policies(memory: MemoryOf, namespace: str | None = None) -> Any:
    """List how long which memories live."""
    return answer({"items": await memory.retention.policies(namespace=namespace)})


@router.put("/policies", response_model=shapes.PolicySet)
async def set_policy(memory: MemoryOf, body: shapes.PolicyBody) -> Any:
    """Set how long memories of a kind live, counted from their recording."""
    policy, applied = await memory.retention.set_policy(**body.given())
    return answer({"policy": policy, "applied": applied})


@router.delete("/policies", status_code=204)
async def remove_policy(
    memory: MemoryOf,
    event_type: str | None = None,
    importance: str | None = None,
    namespace: str | None = None,
) -> Response:
    """Remove a policy; what has an end by it keeps that."""
    await memory.retention.remove_policy(
        event_type=event_type,
        importance=importance,  # pyright: ignore[reportArgumentType]
        namespace=namespace,
    )
    return Response(status_code=204)


@router.get("/holds", response_model=shapes.Holds)
async def list_holds(memory: MemoryOf, limit: int = 100, namespace: str | None = None) -> Any:
    """List episodes that neither fade nor expire."""
    return answer({"items": await memory.retention.holds(limit=limit, namespace=namespace)})


@router.put("/holds/{episode_id}", response_model=shapes.Hold)
async def hold(
    memory: MemoryOf, episode_id: int, body: shapes.HoldBody, namespace: str | None = None
) -> Any:
    """Keep an episode, whatever fades or expires."""
    return answer(await memory.retention.hold(episode_id, body.reason, namespace=namespace))


@router.delete("/holds/{episode_id}", status_code=204)
async def release(memory: MemoryOf, episode_id: int, namespace: str | None = None) -> Response:
    """End a hold."""
    await memory.retention.release(episode_id, namespace=namespace)
    return Response(status_code=204)


@router.get("/archives", response_model=shapes.Archives)
async def list_archives(
    memory: MemoryOf,
    kind: str | None = None,
    memory_id: int | None = None,
    limit: int = 100,
    namespace: str | None = None,
) -> Any:
    """List archives, the newest first; `memory_id`: those that hold this memory."""
    found = await memory.archives.list(
        kind=kind,  # pyright: ignore[reportArgumentType]
        memory_id=memory_id,
        limit=limit,
        namespace=namespace,
    )
    return answer({"items": found})


@router.post("/archives/{archive_id}/verify", response_model=shapes.ArchiveChecks)
async def verify_archive(memory: MemoryOf, archive_id: int, namespace: str | None = None) -> Any:
    """Read an archive and say whether it is what was written."""
    return answer({"items": await memory.archives.verify(archive_id, namespace=namespace)})


@router.post("/archives/{archive_id}/restore", response_model=shapes.Restored)
async def restore_archive(memory: MemoryOf, archive_id: int, body: shapes.RestoreBody) -> Any:
    """Put an archive's memories back, with their ids and every field."""
    return answer(await memory.archives.restore(archive_id, **body.given()))


@router.post("/erasures/plan", response_model=shapes.ErasurePlan)
async def plan_erasure(memory: MemoryOf, body: shapes.SubjectBody) -> Any:
    """Say what an erasure would delete; changes nothing."""
    return answer(await memory.erasures.plan(**body.given()))


@router.post("/erasures", status_code=201, response_model=shapes.Erasure)
async def erase(memory: MemoryOf, body: shapes.ErasureBody) -> Any:
    """Delete everything about a subject for ever, in every namespace unless one is named."""
    return answer(await memory.erasures.run(**body.given()), 201)


@router.get("/erasures", response_model=shapes.Erasures)
async def list_erasures(memory: MemoryOf, limit: int = 100) -> Any:
    """List the proofs, the newest first, without their digests."""
    return answer({"items": await memory.erasures.list(limit=limit)})


@router.get("/erasures/{erasure_id}", response_model=shapes.Erasure)
async def get_erasure(memory: MemoryOf, erasure_id: int) -> Any:
    """Return one proof."""
    return answer(await memory.erasures.get(erasure_id))


@router.post("/erasures/{erasure_id}/verify", response_model=shapes.ErasureCheck)
async def verify_erasure(memory: MemoryOf, erasure_id: int, body: shapes.VerifyBody) -> Any:
    """Check a proof; with the names, texts are searched for them as well."""
    return answer(await memory.erasures.verify(erasure_id, **body.given()))
