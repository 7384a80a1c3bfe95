"""Which embedder is asked: the one whose model the database says is active.

A process has one embedder, or two while the model is changed. The database says which model is
active; every process reads that every few seconds, so that a switch reaches them all without a
restart. One that has no embedder of the active model stores memories without a vector, and says
so: it never splits memory into two spaces. The first embedder that is used on a new database
becomes the active one.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aegis.errors import AegisError, ConfigError
from aegis.memory.embedding.minilm import MODEL as MINILM
from aegis.memory.store import registry as store
from aegis.memory.store.space import Space

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.db import Database
    from aegis.memory.embedding import Embedder, Vectors
    from aegis.memory.embedding.usage import Usage
    from aegis.memory.store.registry import EmbeddingModel

__all__ = ["FRESH_S", "ActiveEmbedder", "Registry", "provider_of", "resolved", "settings_for"]

_log = logging.getLogger("aegis.memory")

#: Seconds that what the database said about models is believed.
FRESH_S = 5.0
#: Seconds between looks whether a model that no setting names is really in use.
_ASK_AGAIN_S = 60.0
#: Seconds between writing down what calls came to, while there are calls.
_FLUSH_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """The models in use, as the database said."""

    active: EmbeddingModel | None
    #: The model that is changed to or was changed from.
    other: EmbeddingModel | None

    @property
    def mixed(self) -> bool:
        """Whether rows may carry vectors of either model."""
        return self.other is not None and self.other.mixed


class ActiveEmbedder:
    """The embedder of the active model, out of those that this process has."""

    def __init__(
        self,
        db: Database,
        embedder: Embedder,
        following: Embedder | None = None,
        *,
        fresh_s: float = FRESH_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Choose between `embedder` and, if there is one, `following`, the next one."""
        self._db = db
        self._first = embedder
        self.following = following
        self._fresh_s = fresh_s
        self._clock = clock
        self._known: Registry | None = None
        self._read_at = self._asked_at = self._flushed_at = float("-inf")
        self._of: dict[str, Embedder] = {embedder.model: embedder}
        if following is not None:
            self._of.setdefault(following.model, following)

    @property
    def model(self) -> str:
        """Model of the embedder that is asked, as far as is known."""
        return self._chosen().model

    @property
    def dimensions(self) -> int:
        """Length of its vectors."""
        return self._chosen().dimensions

    @property
    def disagreement(self) -> str | None:
        """What is wrong between settings and database, as far as is known; None for nothing."""
        active = None if self._known is None else self._known.active
        if active is None or active.model in self._of:
            return None
        return (
            f"This memory's embedding model is {active.model}, the settings name "
            f"{self._first.model}: what is recorded gets its vector later, and recall goes by "
            f"words. Set {settings_for(active.model)}; or change the model of the memory with "
            "`aegis memory models change`."
        )

    def embedder_of(self, model: str) -> Embedder | None:
        """Return this process's embedder of a model."""
        return self._of.get(model)

    def add(self, embedder: Embedder) -> None:
        """Have one more embedder: the one that the model is changed to."""
        self._of[embedder.model] = embedder
        self.following = embedder

    def next_embedder(self) -> Embedder | None:
        """Return what the model would be changed to: an embedder that is not the active one."""
        active = None if self._known is None else self._known.active
        name = self._first.model if active is None else active.model
        for embedder in (self.following, self._first):
            if embedder is not None and embedder.model != name:
                return embedder
        return None

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row per text from the active model; see `Embedder.embed`."""
        return await (await self.resolve()).embed(texts)

    async def warm(self) -> None:
        """Load what the first `embed` would load."""
        await (await self.resolve()).warm()

    async def aclose(self) -> None:
        """Release what the embedders hold."""
        for embedder in self._of.values():
            await embedder.aclose()

    async def resolve(self) -> Embedder:
        """Return the embedder of the active model.

        Raises:
            ConfigError: the settings name none of that model (`embedding_model_differs`).
        """
        known = await self.registry()
        if known.active is None:
            known = await self._claim()
        elif known.active.model not in self._of:
            known = await self._take_over(known)
        trouble = self.disagreement
        if trouble is not None:
            raise ConfigError(trouble, code="embedding_model_differs")
        return self._of[known.active.model] if known.active is not None else self._first

    async def registry(self, *, fresh: bool = False) -> Registry:
        """Return the models in use, at most a few seconds old; `fresh`: as of now."""
        now = self._clock()
        if self._known is None or fresh or now - self._read_at >= self._fresh_s:
            async with self._db.transaction() as conn:
                models = await store.list_used(conn)
            self._known = Registry(
                active=next((m for m in models if m.state == "active"), None),
                other=next((m for m in models if m.state != "active"), None),
            )
            self._read_at = now
            if now - self._flushed_at >= _FLUSH_S:
                await self.flush()
        return self._known

    async def space_of(self, model: str, dimensions: int) -> Space:
        """Return where vectors of a model are at this moment."""
        known = await self.registry()
        active = known.active is not None and known.active.model == model
        mixed = known.mixed and active
        beside = mixed and known.active is not None and known.active.beside
        return Space(model=model, dimensions=dimensions, mixed=mixed, beside=beside)

    async def flush(self) -> None:
        """Write down what calls came to; what cannot be written is kept for the next time."""
        self._flushed_at = self._clock()
        taken = [(e, u) for e in self._of.values() if (u := _usage_of(e)) is not None]
        rows = [
            (embedder, usage, counted) for embedder, usage in taken if (counted := usage.take())
        ]
        if not rows:
            return
        try:
            async with self._db.transaction() as conn:
                await store.add_usage(conn, [_row(e, counted) for e, _, counted in rows])
        except AegisError as error:
            for _, usage, counted in rows:
                usage.give_back(counted)
            _log.warning(
                "memory.usage_not_counted", extra={"code": error.code, "why": error.message}
            )

    def _chosen(self) -> Embedder:
        active = None if self._known is None else self._known.active
        return self._first if active is None else self._of.get(active.model, self._first)

    async def _claim(self) -> Registry:
        first, now = self._first, self._clock()
        if self._known is not None and now - self._asked_at < _ASK_AGAIN_S:
            return self._known
        self._asked_at = now
        try:
            async with self._db.transaction() as conn:
                await store.claim_active(
                    conn, first.model, dimensions=first.dimensions, provider=provider_of(first)
                )
        except AegisError as error:
            # A server that takes no writes is no reason not to answer.
            _log.debug("memory.model_not_claimed", extra={"code": error.code})
        known = await self.registry(fresh=True)
        if known.active is not None:
            self._asked_at = float("-inf")
        return known

    async def _take_over(self, known: Registry) -> Registry:
        """Become active where no row carries the active model: then nothing is split."""
        now = self._clock()
        if now - self._asked_at < _ASK_AGAIN_S:
            return known
        self._asked_at = now
        first = self._first
        try:
            async with self._db.transaction() as conn:
                await store.hand_over(
                    conn, first.model, dimensions=first.dimensions, provider=provider_of(first)
                )
        except AegisError as error:
            _log.debug("memory.model_not_claimed", extra={"code": error.code})
        return await self.registry(fresh=True)


async def resolved(embedder: Embedder) -> Embedder:
    """Return the embedder to ask now: it stays the same between its answer and its name."""
    return await embedder.resolve() if isinstance(embedder, ActiveEmbedder) else embedder


def provider_of(embedder: Embedder) -> str:
    """Return where an embedder runs: `builtin`, `openai`, or `custom` for what others wrote."""
    return getattr(embedder, "provider", "custom")


def settings_for(model: str) -> str:
    """Return the settings that name a model, as far as its name tells."""
    if model == MINILM:
        return "AEGIS_EMBEDDER=minilm"
    name, _, dimensions = model.rpartition("/")
    if name and dimensions.isdigit():
        return (
            f"AEGIS_EMBEDDER=openai, AEGIS_EMBEDDING_MODEL={name} and "
            f"AEGIS_EMBEDDING_DIMENSIONS={dimensions}"
        )
    return "the settings to that model"


def _usage_of(embedder: Embedder) -> Usage | None:
    return getattr(embedder, "usage", None)


def _row(embedder: Embedder, counted: Usage) -> dict[str, Any]:
    price: float | None = getattr(embedder, "usd_per_million_tokens", None)
    return {
        "model": embedder.model,
        "provider": provider_of(embedder),
        "usd_per_million_tokens": None if price is None else Decimal(repr(price)),
        "calls": counted.calls,
        "texts": counted.texts,
        "tokens": counted.tokens,
        "failures": counted.failures,
        "last_error": counted.last_error,
    }
