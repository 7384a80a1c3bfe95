"""What a store embeds, and with what: LangGraph's `index` in the terms of `memory.items`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from langgraph.store.base import ensure_embeddings, get_text_at_path, tokenize_path

from aegis.errors import ConfigError, Unavailable
from aegis.memory import validate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.embeddings import Embeddings
    from langgraph.store.base import IndexConfig

    from aegis.memory.items import Encoder

__all__ = ["Indexing", "read_index"]

#: The whole value as JSON.
_WHOLE = "$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexing:
    """What is embedded of an item where its put does not say."""

    encoder: Encoder
    fields: tuple[str, ...]

    def texts_of(self, value: Mapping[str, Any], index: Any) -> list[tuple[str, str]]:
        """Return field and text of each vector; `index` is what the put says of it.

        A field with several texts is named with the number of each.
        """
        if index is False:
            return []
        # Before it is walked: nesting without end, or what is no JSON, is named so.
        validate.check_json_object("value", value)
        found: list[tuple[str, str]] = []
        for field in self.fields if index is None else cast("Sequence[str]", index):
            validate.check_key("index", field)
            texts = get_text_at_path(dict(value), _tokens(field))
            many = len(texts) > 1
            found += [(f"{field}.{n}" if many else field, text) for n, text in enumerate(texts)]
        return found


def read_index(
    index: IndexConfig | None, own: Encoder | None, embedding_model: str | None
) -> Indexing | None:
    """Return what a store embeds; None where it has nothing to embed with.

    Raises:
        ConfigError: the configuration does not fit.
    """
    given: dict[str, Any] = dict(index or {})
    distance = given.get("distance_type", "cosine")
    if distance != "cosine":
        raise ConfigError(f"index has the distance_type {distance!r}; this store knows cosine.")
    fields = tuple(given.get("fields") or (_WHOLE,))
    dims, embed = given.get("dims"), given.get("embed")
    if embed is None:
        if own is None:
            return None
        if dims is not None and dims != own.dimensions:
            raise ConfigError(
                f"index has dims {dims!r}, but no embed; {own.model} makes vectors of "
                f"{own.dimensions}. Leave dims out."
            )
        return Indexing(encoder=own, fields=fields)
    if not isinstance(dims, int) or isinstance(dims, bool) or not 1 <= dims <= 16_000:
        raise ConfigError(f"index has dims {dims!r}; give the length of embed's vectors.")
    name = embedding_model or f"{_name_of(embed)}/{dims}"
    validate.check_key("embedding_model", name)
    encoder = _Foreign(ensure_embeddings(embed), model=name, dimensions=dims)
    return Indexing(encoder=encoder, fields=fields)


class _Foreign:
    """Encodes with what the caller brought."""

    #: Nobody else has it.
    catches_up = False

    def __init__(self, embeddings: Embeddings, *, model: str, dimensions: int) -> None:
        self._embeddings = embeddings
        self.model = model
        self.dimensions = dimensions

    async def encode_texts(self, texts: Sequence[str]) -> list[str]:
        vectors = await self._embeddings.aembed_documents(list(texts))
        if len(vectors) != len(texts):
            raise Unavailable(
                f"embed made {len(vectors)} vectors of {len(texts)} texts; nothing was stored.",
                code="embedder_unavailable",
            )
        return [self._text(vector) for vector in vectors]

    async def encode_queries(self, queries: Sequence[str]) -> list[str]:
        return [self._text(await self._embeddings.aembed_query(query)) for query in queries]

    def _text(self, vector: Sequence[float]) -> str:
        numbers = [float(number) for number in vector]
        validate.check_vector("embed's vector", numbers, dimensions=self.dimensions)
        return "[" + ",".join(f"{number:.9g}" for number in numbers) + "]"


def _tokens(field: str) -> Any:
    return _WHOLE if field == _WHOLE else tokenize_path(field)


def _name_of(embed: Any) -> str:
    """Return a name of what embeds that is the same in another process."""
    if isinstance(embed, str):
        return embed
    named: Any = embed if hasattr(embed, "__qualname__") else cast("Any", type(embed))
    name = f"{named.__module__}.{named.__qualname__}"
    model = getattr(embed, "model", None) or getattr(embed, "model_name", None)
    return f"{name}/{model}" if isinstance(model, str) else name
