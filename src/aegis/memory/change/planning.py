"""What a change would take: texts, tokens, money, time and room, before anything begins."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING

from aegis.memory.change.figures import ChangePlan, ListedModel
from aegis.memory.store import registry, spares
from aegis.memory.tokens import estimate_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Database
    from aegis.memory.embedding import Embedder
    from aegis.memory.store.registry import EmbeddingModel

__all__ = ["list_all", "make_plan"]

_SAMPLE = 200
#: Texts a request (`aegis.memory.embedding.openai`).
_REQUEST_TEXTS = 128
#: Beside the vector: header, id, name of the model, and its entry in the primary key.
_ROW_BYTES = 110


async def make_plan(db: Database, source: EmbeddingModel, target: Embedder) -> ChangePlan:
    """Return the plan of a change; reads both tables once."""
    counts: list[int] = []
    characters = 0
    sampled: list[str] = []
    async with db.transaction() as conn:
        for table in spares.TABLES:
            rows, length = await spares.measure_texts(conn, table, carried=source.model)
            counts.append(rows)
            characters += length
            drawn = await spares.sample_texts(
                conn, table, carried=source.model, count=_SAMPLE, seed=0.5
            )
            sampled += [text for _, _, text in drawn]
        carried = await registry.list_carried(conn)
    texts = sum(counts)
    tokens = _tokens(characters, sampled, texts)
    requests = math.ceil(texts / _REQUEST_TEXTS)
    price = price_of(target)
    return ChangePlan(
        source=source.model,
        target=target.model,
        dimensions=target.dimensions,
        episodes=counts[0],
        facts=counts[1],
        texts=texts,
        characters=characters,
        tokens=tokens,
        requests=requests,
        cost_usd=None if price is None else (tokens * price / 1_000_000).quantize(Decimal("1e-6")),
        usd_per_million_tokens=price,
        minutes_at_least=_minutes(target, requests, tokens),
        bytes=texts * (4 * target.dimensions + _ROW_BYTES),
        others=sum(e + f for model, e, f in carried if model not in (source.model, target.model)),
    )


def price_of(embedder: Embedder) -> Decimal | None:
    """Return what a million tokens cost; 0 for what runs here, None where nobody said."""
    price: float | None = getattr(embedder, "usd_per_million_tokens", None)
    if price is not None:
        return Decimal(repr(price))
    return Decimal(0) if getattr(embedder, "provider", "") == "builtin" else None


async def list_all(db: Database) -> list[ListedModel]:
    """Return all models: those registered, and those that rows carry beside them."""
    async with db.transaction() as conn:
        models = await registry.list_models(conn)
        carried = {model: (e, f) for model, e, f in await registry.list_carried(conn)}
    known = {model.model for model in models}
    listed = [_listed(model, *carried.get(model.model, (0, 0))) for model in models]
    for name in sorted(carried.keys() - known, key=lambda name: name or ""):
        listed.append(_unregistered(name, *carried[name]))
    return listed


def _listed(model: EmbeddingModel, episodes: int, facts: int) -> ListedModel:
    return ListedModel(
        model=model.model,
        state=model.state,
        dimensions=model.dimensions,
        provider=model.provider,
        paused=model.paused,
        episodes=episodes,
        facts=facts,
        calls=model.calls,
        texts=model.texts,
        tokens=model.tokens,
        cost_usd=model.cost_usd,
        usd_per_million_tokens=model.usd_per_million_tokens,
        failures=model.failures,
        last_error=model.last_error,
        last_used_at=model.last_used_at,
        created_at=model.created_at,
    )


def _unregistered(model: str | None, episodes: int, facts: int) -> ListedModel:
    return ListedModel(
        model=model,
        state=None,
        dimensions=None,
        provider=None,
        paused=False,
        episodes=episodes,
        facts=facts,
        calls=0,
        texts=0,
        tokens=0,
        cost_usd=Decimal(0),
        usd_per_million_tokens=None,
        failures=0,
        last_error=None,
        last_used_at=None,
        created_at=None,
    )


def _tokens(characters: int, sampled: Sequence[str], texts: int) -> int:
    length = sum(map(len, sampled))
    share = sum(map(estimate_tokens, sampled)) / length if length else 0.25
    # No request counts less than a token a text.
    return max(math.ceil(characters * share), texts)


def _minutes(embedder: Embedder, requests: int, tokens: int) -> float | None:
    limits: list[float] = []
    for name, amount in (("requests_per_minute", requests), ("tokens_per_minute", tokens)):
        limit: int = getattr(embedder, name, 0)
        if limit:
            limits.append(amount / limit)
    return max(limits) if limits else None
