"""Reranker on a local cross-encoder, run by fastembed on the CPU. Extra `fastembed`.

The model is read from `reranker_path`, and nothing is ever downloaded. A run cannot be stopped once
it has begun: when a budget is over, the thread goes on by itself, and until it is done the
reranker says that it is busy rather than queue behind it.
"""

from __future__ import annotations

import math
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from aegis.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.config import Settings

__all__ = ["CrossEncoder"]

DEFAULT_MODEL = "Xenova/ms-marco-MiniLM-L-6-v2"
#: Pairs that are run at once; more only takes more memory.
_BATCH = 16


class CrossEncoder:
    """Reranker on `fastembed.rerank.cross_encoder`."""

    def __init__(self, settings: Settings) -> None:
        """Take model and folder from `settings`; load at first use.

        Raises:
            ConfigError: the folder is not set or not there (`reranker_path`).
        """
        path = settings.reranker_path
        if path is None or not path.is_dir():
            shown = "not set" if path is None else f"{path}, which is no folder"
            raise ConfigError(
                f"AEGIS_RERANKER_PATH is {shown}; set it to the folder of the model, with its "
                "ONNX file and tokenizer.",
                code="reranker_path",
            )
        self._path = path
        self._model = settings.reranker_model or DEFAULT_MODEL
        self._running = threading.Lock()
        self._encoder: Any = None

    async def score(self, question: str, texts: Sequence[str]) -> list[float]:
        """Return one score per text, logits as a rule; see `Reranker.score`.

        Raises:
            Unavailable: it is busy, or the run failed (`reranker_unavailable`).
            ConfigError: fastembed is not installed, or does not know the model.
        """
        # Abandoned when the budget is over: the thread ends by itself, and gives the model back.
        scores = await anyio.to_thread.run_sync(
            self._run, question, list(texts), abandon_on_cancel=True
        )
        if len(scores) != len(texts) or not all(map(math.isfinite, scores)):
            raise _failed("gave no usable scores")
        return scores

    async def aclose(self) -> None:
        """Release the model's memory; the next `score` loads it again."""
        self._encoder = None

    def _run(self, question: str, texts: list[str]) -> list[float]:
        if not self._running.acquire(blocking=False):
            raise _failed("is busy with another question; a smaller AEGIS_RERANKER_TOP is quicker")
        try:
            if self._encoder is None:
                self._encoder = self._load()
            scores = self._encoder.rerank(question, texts, batch_size=_BATCH)
            return [float(score) for score in scores]
        except _errors() as error:
            raise _failed(f"failed ({type(error).__name__})") from error
        finally:
            self._running.release()

    def _load(self) -> Any:
        try:
            module = import_module("fastembed.rerank.cross_encoder")
        except ImportError:
            raise ConfigError(
                "AEGIS_RERANKER=fastembed needs a package that is not installed; "
                "run `pip install 'aegis-core[fastembed]'`.",
                code="reranker_extra",
            ) from None
        try:
            return module.TextCrossEncoder(
                model_name=self._model,
                specific_model_path=str(self._path),
                local_files_only=True,
            )
        except (OSError, *_errors()) as error:
            raise ConfigError(
                f"fastembed cannot load {self._model} from {self._path} "
                f"({type(error).__name__}); check AEGIS_RERANKER_MODEL and AEGIS_RERANKER_PATH.",
                code="reranker_model",
            ) from error


def _failed(trouble: str) -> Unavailable:
    return Unavailable(f"The cross-encoder {trouble}.", code="reranker_unavailable")


def _errors() -> tuple[type[Exception], ...]:
    # onnxruntime's errors have no common base, and its package does not export them.
    state = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    names = ("Fail", "RuntimeException", "InvalidArgument", "InvalidGraph", "NotImplemented")
    known = tuple(getattr(state, name) for name in (*names, "NoSuchFile", "InvalidProtobuf"))
    return (ValueError, TypeError, RuntimeError, MemoryError, *known)
