"""`/v1/memory/models`: embedding models, and the change between two."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import Field

from aegis.api.route import Router
from aegis.api.shapes import Answer, Body
from aegis.api.state import KnownParameters, MemoryOf, answer
from aegis.memory.change import Phase
from aegis.memory.store.registry import ModelState

__all__ = ["router"]

router = Router(prefix="/v1/memory/models", tags=["models"], dependencies=[KnownParameters])


class SwitchBody(Body):
    """How to check before a switch, and whether to switch whatever the check says."""

    force: bool = False
    k: int = Field(10, description="Results that are looked at, 1 to 100.")
    samples: int = Field(100, description="Questions to ask, 1 to 1000.")


class CancelBody(Body):
    """Whether to go back even where memories lack a vector."""

    force: bool = False


class EmbeddingModel(Answer):
    """A model, the rows that carry its vectors, and what its calls came to."""

    model: str | None
    state: ModelState | None
    dimensions: int | None
    provider: str | None
    paused: bool
    episodes: int
    facts: int
    calls: int
    texts: int
    tokens: int
    cost_usd: Decimal
    usd_per_million_tokens: Decimal | None
    failures: int
    last_error: str | None
    last_used_at: datetime | None
    created_at: datetime | None


class EmbeddingModels(Answer):
    """All models, those in use first."""

    items: list[EmbeddingModel]


class ModelChange(Answer):
    """Where a change of the model stands."""

    phase: Phase
    active: str | None
    other: str | None
    episodes: int
    facts: int
    episodes_done: int
    facts_done: int
    remaining: int
    mixed: bool
    since: datetime | None
    advice: str
    disagreement: str | None


class ModelPlan(Answer):
    """What a change to the next embedder would take."""

    source: str
    target: str
    dimensions: int
    episodes: int
    facts: int
    texts: int
    characters: int
    tokens: int
    requests: int
    cost_usd: Decimal | None
    usd_per_million_tokens: Decimal | None
    minutes_at_least: float | None
    bytes: int
    others: int


class Interval95(Answer):
    """Where the true share lies, with 95 % confidence."""

    low: float
    high: float


class SpaceRecall(Answer):
    """How many questions found what they were made of, in one space."""

    model: str
    found: int
    recall: float | None
    interval: Interval95 | None


class RecallCheck(Answer):
    """Both spaces asked the same questions."""

    k: int
    samples: int
    source: SpaceRecall | None
    target: SpaceRecall
    agreement: float | None
    missing: int
    objections: list[str]


@router.get("", response_model=EmbeddingModels)
async def list_models(memory: MemoryOf) -> Any:
    """List the models with their rows, calls and cost, those in use first."""
    return answer({"items": await memory.models.list()})


@router.get("/status", response_model=ModelChange)
async def model_status(memory: MemoryOf) -> Any:
    """Say where the change of the model stands."""
    return answer(await memory.models.status())


@router.get("/plan", response_model=ModelPlan)
async def plan_change(memory: MemoryOf) -> Any:
    """Estimate texts, tokens and cost of a change to the next embedder of this process."""
    return answer(await memory.models.plan())


@router.get("/check", response_model=RecallCheck)
async def check_change(memory: MemoryOf, k: int = 10, samples: int = 100) -> Any:
    """Ask both spaces the same questions, and say what speaks against the switch."""
    return answer(await memory.models.check(k=k, samples=samples))


@router.post("/change", status_code=201, response_model=ModelChange)
async def begin_change(memory: MemoryOf) -> Any:
    """Begin a change to the next embedder of this process, which works on it from now on."""
    return answer(await memory.models.begin(), 201)


@router.post("/pause", response_model=ModelChange)
async def pause_change(memory: MemoryOf) -> Any:
    """Hold the work on the change up."""
    return answer(await memory.models.pause())


@router.post("/resume", response_model=ModelChange)
async def resume_change(memory: MemoryOf) -> Any:
    """Let the work on the change go on."""
    return answer(await memory.models.resume())


@router.post("/switch", response_model=RecallCheck)
async def switch_model(memory: MemoryOf, body: SwitchBody) -> Any:
    """Make the other model the active one, unless it finds clearly less or is incomplete."""
    given = {name: getattr(body, name) for name in body.model_fields_set}
    return answer(await memory.models.switch(**given))


@router.post("/cancel", response_model=ModelChange)
async def cancel_change(memory: MemoryOf, body: CancelBody) -> Any:
    """Give the change up; after the switch, go back to the model before."""
    return answer(await memory.models.cancel(force=body.force))


@router.post("/finish", response_model=ModelChange)
async def finish_change(memory: MemoryOf) -> Any:
    """End a switched change for good: drop the vectors of the model before."""
    return answer(await memory.models.finish())
