"""`AegisRetriever`: recall as a LangChain retriever."""

from __future__ import annotations

# pydantic reads the annotations of fields when the class is made.
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field, field_validator

from aegis.client import Aegis, unwrap
from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from aegis.memory import Hit

__all__ = ["AegisRetriever"]

_FILTERS = (
    *("k", "mode", "namespace", "session_id", "since", "until"),
    *("event_types", "episode_tags", "min_importance"),
)


class AegisRetriever(BaseRetriever):
    """The memories that answer a question best, each as a document with its score and reasons.

    `client` is what `aegis.connect()` gives, entered with or without `async`; `invoke` and
    `ainvoke` work with either. The filters are those of recall, and any of them may be given to a
    single call: `retriever.invoke(question, k=3)`. (`tags` and `metadata` are LangChain's own, for
    tracing: the tags of memories are `episode_tags`.)
    """

    client: Any = Field(exclude=True, repr=False)
    k: int = 10
    mode: str = "hybrid"
    namespace: str | None = None
    session_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    event_types: Sequence[str] = ()
    episode_tags: Sequence[str] = ()
    min_importance: str | None = None

    @field_validator("client")
    @classmethod
    def _open_client(cls, value: Any) -> Aegis:
        try:
            return unwrap(value)
        except InvalidInput as error:
            raise ValueError(error.message) from None

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002
        **filters: Any,
    ) -> list[Document]:
        hits = self.client.bridge.call(self.client.memory.recall, query, **self._asked(filters))
        return [_document(hit) for hit in hits]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002
        **filters: Any,
    ) -> list[Document]:
        hits = await self.client.bridge.run(
            self.client.memory.recall, query, **self._asked(filters)
        )
        return [_document(hit) for hit in hits]

    def _asked(self, filters: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(filters) - set(_FILTERS))
        if unknown:
            raise InvalidInput(
                f"{', '.join(unknown)} cannot be asked of memories; use {', '.join(_FILTERS)}."
            )
        asked = {name: getattr(self, name) for name in _FILTERS} | filters
        asked["tags"] = asked.pop("episode_tags")
        return asked


def _document(hit: Hit) -> Document:
    episode = hit.episode
    return Document(
        id=str(episode.id),
        page_content=episode.summary,
        metadata={
            "id": episode.id,
            "score": float(hit.score),
            "why": hit.why,
            "timestamp": episode.timestamp.isoformat(),
            "event_type": episode.event_type,
            "importance": episode.importance,
            "tags": list(episode.tags),
            "namespace": episode.namespace,
            "session_id": episode.session_id,
            "source_id": episode.source_id,
            "decision": episode.decision,
            "details": episode.details,
            "source": f"aegis://episode/{episode.id}",
        },
    )
